/*
 * compiler/lower/lower_widths.c: hides integers from the loop vectoriser. Runs right before it
 * (codegen_passes.c).
 *
 * LLVM's ScalarEvolution meets extended counters, such as zext({0,+,1}) in an address. It assumes
 * that the counter does not wrap, and the vectoriser checks this before its loop. LLVM leaves out a
 * check that another check implies. LLVM 20 to 22 wrongly take a check of a wide counter to imply
 * that of a narrow counter (SCEVWrapPredicate::implies; fixed by LLVM's pull request 191498). An
 * address below 2^32 says nothing about `i & 255`, which ScalarEvolution sees as a counter of 8
 * bits. A loop without the check ends too early, or reads and writes at wrong addresses.
 *
 * So inside loops, ScalarEvolution sees extensions from one width only: 32 bits, that of wasm
 * addresses. Then all checks are of one width, for which the implication holds. (Checks of pointers
 * are kept apart.) A `freeze` hides an extension from another width. ScalarEvolution takes it for
 * an unknown value; in machine code it is nothing. Only values that come from a counter and go to
 * an address, a comparison, or back to the counter are hidden. A loop that counts with such a value
 * is no longer vectorised.
 *
 * Extensions are not only zext and sext. ScalarEvolution also makes them from a mask (and), from
 * shl + ashr, and from a remainder by a power of two.
 *
 * instcombine, afterwards, moves every freeze as far up as it goes, replaces other uses on its way,
 * and numbers the block's instructions anew for each: with 2,000 freezes in a block that takes
 * minutes. So a function with too many is given up: it is not vectorised.
 */
#include "lower.h"

#define SEARCH_MAX 64 /* values; a longer search counts as "found": to hide more is always right */
#define ADDRESS_BITS 32
#define HIDDEN_MAX 512 /* of a function */

/* The freezes of a function. */
struct hidden {
    struct lower_module *lm;
    LLVMValueRef frozen[HIDDEN_MAX];
    uint32_t count;
    bool is_full;
};

struct search {
    LLVMValueRef values[SEARCH_MAX];
    uint32_t count;
    bool is_full;
};

static void search_add(struct search *search, LLVMValueRef value) {
    for (uint32_t i = 0; i < search->count; i++)
        if (search->values[i] == value)
            return;
    if (search->count == SEARCH_MAX)
        search->is_full = true;
    else
        search->values[search->count++] = value;
}

/* ---- the value's way through what ScalarEvolution understands ---- */

static bool is_scalar_integer(LLVMValueRef value) {
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMIntegerTypeKind;
}

static bool is_intrinsic(LLVMValueRef call) {
    LLVMValueRef callee = LLVMGetCalledValue(call);
    return LLVMIsAFunction(callee) != NULL && LLVMGetIntrinsicID(callee) != 0;
}

/* Its result is, or may be, a function of its operands to ScalarEvolution. */
static bool is_followed(LLVMValueRef instruction) {
    switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMAdd:
    case LLVMSub:
    case LLVMMul:
    case LLVMUDiv:
    case LLVMSDiv:
    case LLVMURem:
    case LLVMSRem:
    case LLVMShl:
    case LLVMLShr:
    case LLVMAShr:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMTrunc:
    case LLVMZExt:
    case LLVMSExt:
    case LLVMSelect:
    case LLVMPHI:
    case LLVMExtractValue: return true; /* the last: of an addition with overflow */
    case LLVMCall: return is_intrinsic(instruction);
    default: return false;
    }
}

static void search_operands(struct search *search, LLVMValueRef instruction) {
    for (int i = 0; i < LLVMGetNumOperands(instruction); i++) {
        LLVMValueRef operand = LLVMGetOperand(instruction, (unsigned)i);
        if (LLVMIsAInstruction(operand) != NULL && is_followed(operand))
            search_add(search, operand);
    }
}

/* The value of an instruction depends on itself, an iteration earlier. */
static bool is_in_cycle(LLVMValueRef instruction) {
    struct search search = {.count = 0};
    search_operands(&search, instruction);
    for (uint32_t i = 0; i < search.count && !search.is_full; i++) {
        if (search.values[i] == instruction)
            return true;
        search_operands(&search, search.values[i]);
    }
    return search.is_full;
}

static bool depends_on_cycle(LLVMValueRef instruction) {
    struct search search = {.count = 0};
    search_operands(&search, instruction);
    for (uint32_t i = 0; i < search.count && !search.is_full; i++) {
        if (LLVMIsAPHINode(search.values[i]) != NULL && is_in_cycle(search.values[i]))
            return true;
        search_operands(&search, search.values[i]);
    }
    return search.is_full;
}

/* Uses by which ScalarEvolution counts iterations or computes addresses. */
static bool is_counted_use(LLVMValueRef user) {
    switch (LLVMGetInstructionOpcode(user)) {
    case LLVMICmp:
    case LLVMSwitch:
    case LLVMGetElementPtr:
    case LLVMIntToPtr: return true;
    default: return false;
    }
}

static bool is_counted(LLVMValueRef instruction) {
    struct search search = {.count = 0};
    search_add(&search, instruction);
    for (uint32_t i = 0; i < search.count && !search.is_full; i++) {
        LLVMUseRef use = LLVMGetFirstUse(search.values[i]);
        for (; use != NULL && !search.is_full; use = LLVMGetNextUse(use)) {
            LLVMValueRef user = LLVMGetUser(use);
            if (is_counted_use(user))
                return true;
            if (is_followed(user))
                search_add(&search, user);
        }
    }
    return search.is_full;
}

/* ---- extensions ---- */

static bool constant_get(LLVMValueRef value, uint64_t *ret_number) {
    if (LLVMIsAConstantInt(value) == NULL || LLVMGetIntTypeWidth(LLVMTypeOf(value)) > 64)
        return false;
    *ret_number = LLVMConstIntGetZExtValue(value);
    return true;
}

/* From its lowest to its highest bit; what lies between is ScalarEvolution's to know. */
static unsigned mask_bits(uint64_t mask) {
    return mask == 0 ? 0 : 64 - (unsigned)__builtin_clzll(mask) - (unsigned)__builtin_ctzll(mask);
}

/* (x << a) >> b, or ((x << a) + c) >> b. */
static unsigned shifted_bits(LLVMValueRef shift) {
    LLVMValueRef shl = LLVMGetOperand(shift, 0);
    if (LLVMIsAInstruction(shl) != NULL && LLVMGetInstructionOpcode(shl) == LLVMAdd)
        shl = LLVMGetOperand(shl, 0);
    uint64_t left, right;
    if (LLVMIsAInstruction(shl) == NULL || LLVMGetInstructionOpcode(shl) != LLVMShl ||
        !constant_get(LLVMGetOperand(shl, 1), &left) ||
        !constant_get(LLVMGetOperand(shift, 1), &right))
        return 0;
    return LLVMGetIntTypeWidth(LLVMTypeOf(shift)) - (unsigned)left;
}

/* The width that a value is extended from; 0 if it is none to ScalarEvolution. */
static unsigned extended_bits(LLVMValueRef instruction) {
    uint64_t number;
    switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMZExt:
    case LLVMSExt: return LLVMGetIntTypeWidth(LLVMTypeOf(LLVMGetOperand(instruction, 0)));
    case LLVMAnd:
        return constant_get(LLVMGetOperand(instruction, 1), &number) ? mask_bits(number) : 0;
    case LLVMURem:
    case LLVMSRem:
        if (!constant_get(LLVMGetOperand(instruction, 1), &number) || number == 0)
            return 0;
        return mask_bits(number - 1);
    case LLVMAShr: return shifted_bits(instruction);
    default: return 0;
    }
}

/* How many low bits are surely zero: at most 63, and 0 where it does not look. */
static unsigned low_zeros(LLVMValueRef value, int depth) {
    uint64_t number;
    if (constant_get(value, &number))
        return number != 0 ? (unsigned)__builtin_ctzll(number) : 63;
    if (LLVMIsAInstruction(value) == NULL || depth == 0)
        return 0;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode != LLVMShl && opcode != LLVMMul && opcode != LLVMAdd)
        return 0;
    LLVMValueRef right = LLVMGetOperand(value, 1);
    if (opcode == LLVMShl)
        return constant_get(right, &number) && number < 64 ? (unsigned)number : 0;
    if (opcode == LLVMMul)
        return low_zeros(right, 0);
    unsigned left_zeros = low_zeros(LLVMGetOperand(value, 0), depth - 1);
    unsigned right_zeros = low_zeros(right, depth - 1);
    return left_zeros < right_zeros ? left_zeros : right_zeros;
}

/* An address that was computed in 64 bits: (x << 2) & 0xfffffffc, which is the zero-extended low
 * half of x << 2, but reads as an extension from 30 bits. Returns NULL if it is something else. */
static LLVMValueRef as_zero_extension(struct lower_module *lm, LLVMValueRef instruction) {
    uint64_t mask;
    if (LLVMGetInstructionOpcode(instruction) != LLVMAnd || LLVMTypeOf(instruction) != lm->i64 ||
        !constant_get(LLVMGetOperand(instruction, 1), &mask))
        return NULL;
    LLVMValueRef value = LLVMGetOperand(instruction, 0);
    if ((mask | ((UINT64_C(1) << low_zeros(value, 3)) - 1)) != UINT32_MAX)
        return NULL;
    LLVMPositionBuilderBefore(lm->builder, instruction);
    return LLVMBuildZExt(lm->builder, LLVMBuildTrunc(lm->builder, value, lm->i32, ""), lm->i64, "");
}

static bool is_to_be_hidden(LLVMValueRef instruction) {
    unsigned bits = extended_bits(instruction);
    if (bits == 0)
        return false;
    if (is_in_cycle(instruction))
        return true;
    return bits != ADDRESS_BITS && depends_on_cycle(instruction) && is_counted(instruction);
}

static void freeze(struct hidden *hidden, LLVMValueRef instruction) {
    if (hidden->count == HIDDEN_MAX) {
        hidden->is_full = true;
        return;
    }
    LLVMBuilderRef builder = hidden->lm->builder;
    LLVMPositionBuilderBefore(builder, LLVMGetNextInstruction(instruction));
    LLVMValueRef frozen = LLVMBuildFreeze(builder, instruction, "");
    LLVMReplaceAllUsesWith(instruction, frozen);
    LLVMSetOperand(frozen, 0, instruction);
    hidden->frozen[hidden->count++] = frozen;
}

static void hide_instruction(struct hidden *hidden, LLVMValueRef instruction) {
    LLVMValueRef wide = as_zero_extension(hidden->lm, instruction);
    if (wide != NULL)
        LLVMReplaceAllUsesWith(instruction, wide);
    else if (is_to_be_hidden(instruction))
        freeze(hidden, instruction);
}

/* ---- strides ---- */

/* Is an address made of it, directly or behind a constant, to which something is stored? */
static bool is_stored_to(LLVMValueRef value, int depth) {
    LLVMUseRef use = LLVMGetFirstUse(value);
    for (int i = 0; use != NULL && i < SEARCH_MAX; use = LLVMGetNextUse(use), i++) {
        LLVMValueRef user = LLVMGetUser(use);
        if (LLVMIsAStoreInst(user) != NULL && LLVMGetOperand(user, 1) == value)
            return true;
        bool is_step = LLVMIsAZExtInst(user) != NULL || LLVMIsAGetElementPtrInst(user) != NULL;
        if (is_step && depth > 0 && is_stored_to(user, depth - 1))
            return true;
    }
    return false;
}

/* The vectoriser takes stores at a distance that varies for cheap, because it does not recognise
 * extended counters as strides: it computes a vector of addresses, and takes it apart for single
 * stores (sieve: 1.2 times as slow). A counter whose next value is hidden is no counter to it. */
static void hide_stride(struct hidden *hidden, LLVMValueRef phi) {
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
        LLVMValueRef next = LLVMGetIncomingValue(phi, i);
        if (LLVMIsAInstruction(next) == NULL || LLVMGetInstructionOpcode(next) != LLVMAdd)
            continue;
        LLVMValueRef step = LLVMGetOperand(next, LLVMGetOperand(next, 0) == phi ? 1 : 0);
        if (LLVMGetOperand(next, LLVMGetOperand(next, 0) == phi ? 0 : 1) != phi ||
            LLVMIsAConstantInt(step) != NULL || !is_stored_to(phi, 3))
            continue;
        freeze(hidden, next);
    }
}

static void hide_strides(struct hidden *hidden, LLVMBasicBlockRef block) {
    LLVMValueRef at = LLVMGetFirstInstruction(block);
    for (; at != NULL && LLVMIsAPHINode(at) != NULL; at = LLVMGetNextInstruction(at))
        if (LLVMTypeOf(at) == hidden->lm->i32)
            hide_stride(hidden, at);
}

static void hide_all(struct hidden *hidden, LLVMValueRef fn) {
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
         block = LLVMGetNextBasicBlock(block)) {
        for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL && !hidden->is_full;
             at = LLVMGetNextInstruction(at))
            if (is_scalar_integer(at))
                hide_instruction(hidden, at);
        hide_strides(hidden, block);
    }
}

/* Too many: none is left. */
static void give_up(struct hidden *hidden, LLVMValueRef fn) {
    for (uint32_t i = 0; i < hidden->count; i++) {
        LLVMReplaceAllUsesWith(hidden->frozen[i], LLVMGetOperand(hidden->frozen[i], 0));
        LLVMInstructionEraseFromParent(hidden->frozen[i]);
    }
    LLVMAddTargetDependentFunctionAttr(fn, LOWER_NOT_VECTORISED, "");
}

void lower_hide_widths(struct lower_module *lm) {
    struct hidden hidden = {.lm = lm};
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL;
         fn = LLVMGetNextFunction(fn)) {
        hidden.count = 0;
        hidden.is_full = false;
        hide_all(&hidden, fn);
        if (hidden.is_full)
            give_up(&hidden, fn);
    }
}
