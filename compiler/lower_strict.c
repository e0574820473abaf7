/*
 * compiler/lower_strict.c: what the optimiser must not lose. Runs between SROA, which puts locals in SSA
 * form, and every pass that simplifies (codegen_passes.c).
 *
 * 1. A load whose value nothing needs would be deleted, and its trap with it (core spec 4.4.7: any load may
 *    trap). Such loads become volatile. "Needs" follows the value through arithmetic and phis to a store,
 *    call, branch, return or address, and does not count comparisons that always come out the same way (a
 *    byte is never 300). A load whose value is needed on some paths only may still be delayed to them;
 *    codegen_options.strict keeps even those.
 * 2. LLVM takes x + -0, x - 0, x * 1, x / 1 and a demotion of a promotion for x, which would pass a
 *    signalling NaN through (core spec 4.3.3: the result of arithmetic is a quiet one). A fence hides the
 *    operand; it costs no instruction.
 */
#include <string.h>

#include "lower.h"

#define VISITED_MAX                                                                                          \
    256 /* a value with more to follow than this is taken for unneeded: volatile is always right */

struct search {
    LLVMValueRef visited[VISITED_MAX];
    uint32_t count;
};

static bool search_add(struct search *search, LLVMValueRef value) {
    for (uint32_t i = 0; i < search->count; i++)
        if (search->visited[i] == value)
            return true;
    if (search->count == VISITED_MAX)
        return false;
    search->visited[search->count++] = value;
    return true;
}

/* ---- comparisons that a load's width decides
 * ------------------------------------------------------------------------ */

struct range {
    __int128 low, high;
};

/* What the value can be, read as signed or unsigned. */
static struct range value_range(LLVMValueRef value, bool is_signed) {
    unsigned bits = LLVMGetIntTypeWidth(LLVMTypeOf(value));
    LLVMOpcode opcode = LLVMIsAInstruction(value) ? LLVMGetInstructionOpcode(value) : LLVMAdd;
    if (opcode == LLVMZExt) {
        unsigned narrow = LLVMGetIntTypeWidth(LLVMTypeOf(LLVMGetOperand(value, 0)));
        return (struct range){0, ((__int128)1 << narrow) - 1};
    }
    if (opcode == LLVMSExt && is_signed)
        bits = LLVMGetIntTypeWidth(LLVMTypeOf(LLVMGetOperand(value, 0)));
    if (is_signed)
        return (struct range){-((__int128)1 << (bits - 1)), ((__int128)1 << (bits - 1)) - 1};
    return (struct range){0, ((__int128)1 << bits) - 1};
}

static bool compare_is_decided(LLVMIntPredicate predicate, struct range range, __int128 constant) {
    switch (predicate) {
    case LLVMIntEQ:
    case LLVMIntNE: return constant < range.low || constant > range.high;
    case LLVMIntULT:
    case LLVMIntUGE:
    case LLVMIntSLT:
    case LLVMIntSGE: return constant <= range.low || constant > range.high;
    default: return constant < range.low || constant >= range.high;
    }
}

static bool compare_is_needless(LLVMValueRef compare, LLVMValueRef value) {
    if (LLVMGetOperand(compare, 0) == LLVMGetOperand(compare, 1))
        return true;
    LLVMValueRef constant = LLVMGetOperand(compare, 1);
    LLVMIntPredicate predicate = LLVMGetICmpPredicate(compare);
    if (LLVMGetOperand(compare, 0) != value) {
        constant = LLVMGetOperand(compare, 0);
        static const LLVMIntPredicate swapped[] = {
            [LLVMIntEQ] = LLVMIntEQ,   [LLVMIntNE] = LLVMIntNE,   [LLVMIntUGT] = LLVMIntULT,
            [LLVMIntUGE] = LLVMIntULE, [LLVMIntULT] = LLVMIntUGT, [LLVMIntULE] = LLVMIntUGE,
            [LLVMIntSGT] = LLVMIntSLT, [LLVMIntSGE] = LLVMIntSLE, [LLVMIntSLT] = LLVMIntSGT,
            [LLVMIntSLE] = LLVMIntSGE};
        predicate = swapped[predicate];
    }
    if (!LLVMIsAConstantInt(constant))
        return false;
    bool is_signed = predicate >= LLVMIntSGT || LLVMGetInstructionOpcode(value) == LLVMSExt;
    __int128 number = is_signed ? (__int128)LLVMConstIntGetSExtValue(constant)
                                : (__int128)LLVMConstIntGetZExtValue(constant);
    return compare_is_decided(predicate, value_range(value, is_signed), number);
}

/* ---- does anything need a value?
 * --------------------------------------------------------------------------------------- */

enum use_kind { USE_NEEDS, USE_PASSES_ON, USE_IGNORES };

static bool is_pure_intrinsic(LLVMValueRef call) {
    LLVMValueRef callee = LLVMGetCalledValue(call);
    if (LLVMIsAFunction(callee) == NULL)
        return false;
    size_t bytes;
    const char *name = LLVMGetValueName2(callee, &bytes);
    return bytes > 5 && memcmp(name, "llvm.", 5) == 0 &&
           LLVMGetTypeKind(LLVMTypeOf(call)) != LLVMVoidTypeKind;
}

static bool is_zero(LLVMValueRef value) {
    return LLVMIsAConstantInt(value) && LLVMConstIntGetZExtValue(value) == 0;
}

static enum use_kind binary_use(LLVMValueRef user, LLVMOpcode opcode) {
    LLVMValueRef left = LLVMGetOperand(user, 0);
    LLVMValueRef right = LLVMGetOperand(user, 1);
    if ((opcode == LLVMAnd || opcode == LLVMMul) && (is_zero(left) || is_zero(right)))
        return USE_IGNORES;
    if ((opcode == LLVMXor || opcode == LLVMSub) && left == right)
        return USE_IGNORES;
    return USE_PASSES_ON;
}

static enum use_kind use_of(LLVMValueRef user, LLVMValueRef value) {
    LLVMOpcode opcode = LLVMGetInstructionOpcode(user);
    switch (opcode) {
    case LLVMICmp: return compare_is_needless(user, value) ? USE_IGNORES : USE_PASSES_ON;
    case LLVMAnd:
    case LLVMMul:
    case LLVMXor:
    case LLVMSub: return binary_use(user, opcode);
    case LLVMCall: return is_pure_intrinsic(user) ? USE_PASSES_ON : USE_NEEDS;
    case LLVMStore:
    case LLVMLoad: /* as an address: that load's own trap needs it */
    case LLVMRet:
    case LLVMBr:
    case LLVMSwitch:
    case LLVMUnreachable: return USE_NEEDS;
    default: return USE_PASSES_ON;
    }
}

static bool value_is_needed(LLVMValueRef value) {
    struct search search = {.count = 0};
    search_add(&search, value);
    for (uint32_t i = 0; i < search.count; i++) {
        LLVMValueRef seen = search.visited[i];
        for (LLVMUseRef use = LLVMGetFirstUse(seen); use != NULL; use = LLVMGetNextUse(use)) {
            LLVMValueRef user = LLVMGetUser(use);
            enum use_kind kind = use_of(user, seen);
            if (kind == USE_NEEDS)
                return true;
            if (kind == USE_PASSES_ON && !search_add(&search, user))
                return false;
        }
    }
    return false;
}

/* ---- signalling NaNs ----------------------------------------------------------------------------------- */

static void fence_operand(struct lower_module *lm, LLVMValueRef instruction, unsigned idx) {
    LLVMValueRef operand = LLVMGetOperand(instruction, idx);
    LLVMTypeRef type = LLVMTypeOf(operand);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(lm->mod, lm->intrinsic_ids[LOWER_FENCE], &type, 1);
    LLVMPositionBuilderBefore(lm->builder, instruction);
    LLVMSetOperand(instruction, idx,
                   LLVMBuildCall2(lm->builder, LLVMGlobalGetValueType(fn), fn, &operand, 1, ""));
}

static bool is_zero_or_one(LLVMValueRef value) {
    if (LLVMIsAConstantFP(value) == NULL)
        return false;
    LLVMBool loses;
    double number = LLVMConstRealGetDouble(value, &loses);
    return number == 0 || number == 1 || number == -1;
}

/* A value that may be a promotion's result, as it came. */
static bool is_promoted(LLVMValueRef value, int depth) {
    if (LLVMIsAInstruction(value) == NULL || depth == 0)
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode == LLVMFPExt)
        return true;
    if (opcode != LLVMFNeg && opcode != LLVMSelect && opcode != LLVMPHI && opcode != LLVMCall)
        return false;
    for (int i = 0; i < LLVMGetNumOperands(value); i++)
        if (is_promoted(LLVMGetOperand(value, (unsigned)i), depth - 1))
            return true;
    return false;
}

static void protect_instruction(struct lower_module *lm, LLVMValueRef instruction) {
    switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMLoad:
        if (!LLVMGetVolatile(instruction) && LLVMGetAlignment(instruction) == 1 &&
            !value_is_needed(instruction))
            LLVMSetVolatile(instruction, true);
        break;
    case LLVMFAdd:
    case LLVMFSub:
    case LLVMFMul:
    case LLVMFDiv:
        for (unsigned i = 0; i < 2; i++)
            if (is_zero_or_one(LLVMGetOperand(instruction, i)))
                fence_operand(lm, instruction, i);
        break;
    case LLVMFPTrunc:
        if (is_promoted(LLVMGetOperand(instruction, 0), 3))
            fence_operand(lm, instruction, 0);
        break;
    default: break;
    }
}

void lower_protect(struct lower_module *lm) {
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
             block = LLVMGetNextBasicBlock(block))
            for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
                 at = LLVMGetNextInstruction(at))
                protect_instruction(lm, at);
}
