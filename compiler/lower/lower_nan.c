/*
 * compiler/lower/lower_nan.c: keeps signalling NaNs from passing through arithmetic (core spec
 * 4.3.3: the result is a quiet NaN). Runs with lower_strict.c, in SSA form.
 *
 * LLVM replaces x + -0, x - 0, x * 1, x / 1 and the demotion of a promotion by x, and x * -1 by -x.
 * So if x may be a signalling NaN, the other operand must never become such a constant. A fence
 * hides the operand and costs no instruction. But LLVM does not vectorise a loop that has a fence
 * in it. So a constant that reaches the operand by phis and selects or through memory gets its
 * fence in the entry block. If x cannot be a signalling NaN, there is no fence.
 */
#include <string.h>

#include "lower_fence.h"
#include "lower_identity.h"

#define WALK_MAX 32
#define UNFOLD_DEPTH_MAX 8

/* The values that a search has met: loops end it. Full: the caller assumes the worst. */
struct walk {
    LLVMValueRef met[WALK_MAX];
    LLVMTypeRef met_for[WALK_MAX];
    LLVMTypeRef lane; /* the type of float that a value is used for; NULL if it does not matter */
    uint32_t count;
    bool is_full, constants_are_stored;
};

static bool walk_enter(struct walk *walk, LLVMValueRef value) {
    for (uint32_t i = 0; i < walk->count; i++)
        if (walk->met[i] == value && walk->met_for[i] == walk->lane)
            return false;
    walk->is_full = walk->is_full || walk->count == WALK_MAX;
    if (!walk->is_full) {
        walk->met_for[walk->count] = walk->lane;
        walk->met[walk->count++] = value;
    }
    return !walk->is_full;
}

/* Operands that come from memory, where LLVM may know what is: bits of the masks are 1 <<
 * identity. */
struct quiet {
    struct lower_module *lm;
    LLVMValueRef fn;
    unsigned floats_read, integers_read; /* integers: to be converted */
    bool is_demoted_read;                /* a double from memory is made a float */
    bool is_at_writes;
    struct lower_hidden hidden;
};

/* ---- fences ---- */

/* The fast tier keeps no value in a register from one block to the next: there, it is hidden where
 * it is used. */
static LLVMValueRef hidden_at(struct quiet *quiet, LLVMValueRef place, LLVMValueRef value) {
    if (LLVMIsConstant(value) && quiet->lm->tier != LOWER_TIER_FAST)
        return lower_hidden_constant(quiet->lm, quiet->fn, &quiet->hidden, value);
    LLVMPositionBuilderBefore(quiet->lm->builder, place);
    return lower_fence(quiet->lm, value);
}

static void hide_operand(struct quiet *quiet, LLVMValueRef user, unsigned idx) {
    if (!LLVMIsAPHINode(user)) {
        LLVMSetOperand(user, idx, hidden_at(quiet, user, LLVMGetOperand(user, idx)));
        return;
    }
    LLVMBasicBlockRef from = LLVMGetIncomingBlock(user, idx);
    LLVMValueRef end = LLVMGetBasicBlockTerminator(from);
    LLVMValueRef value = hidden_at(quiet, end, LLVMGetOperand(user, idx));
    LLVMSetOperand(user, idx, value);
    /* a switch may have several edges there: all bring the same */
    for (unsigned i = 0; LLVMGetNumSuccessors(end) > 1 && i < LLVMCountIncoming(user); i++)
        if (LLVMGetIncomingBlock(user, i) == from)
            LLVMSetOperand(user, i, value);
}

/* ---- what a value may be ---- */

/* Could what is read from memory where this constant was written be the identity? */
static bool holds_identity(const struct quiet *quiet, LLVMValueRef constant,
                           enum identity identity) {
    return ((quiet->integers_read >> identity & 1) != 0 &&
            lower_holds_integer(quiet->lm, constant, identity)) ||
           ((quiet->floats_read >> identity & 1) != 0 &&
            lower_holds_identity(quiet->lm, constant, identity));
}

static unsigned intrinsic_of(LLVMValueRef value) {
    LLVMValueRef callee = LLVMIsACallInst(value) ? LLVMGetCalledValue(value) : NULL;
    return callee != NULL && LLVMIsAFunction(callee) ? LLVMGetIntrinsicID(callee) : 0;
}

/* Does it change nothing but the sign? */
static bool is_sign_change(struct lower_module *lm, LLVMValueRef call) {
    unsigned id = intrinsic_of(call);
    return id != 0 &&
           (id == lm->intrinsic_ids[LOWER_FABS] || id == lm->intrinsic_ids[LOWER_COPYSIGN]);
}

/* What the CPU's minimum or maximum of vectors makes when no operand is a NaN (lower_simd_float.c,
 * emit_min_max()). */
static bool is_vector_extreme(struct lower_module *lm, LLVMValueRef value) {
    LLVMValueRef one = LLVMGetOperand(value, 0);
    unsigned id = LLVMIsABitCastInst(one) ? intrinsic_of(LLVMGetOperand(one, 0)) : 0;
    for (int i = LOWER_X86_MINPS; id != 0 && i <= LOWER_X86_MAXPD; i++)
        if (id == lm->intrinsic_ids[i])
            return true;
    return false;
}

static bool may_signal(struct lower_module *lm, struct walk *walk, LLVMValueRef value);

static bool any_may_signal(struct lower_module *lm, struct walk *walk, LLVMValueRef value,
                           int first, int end) {
    for (int i = first; i < end; i++)
        if (may_signal(lm, walk, LLVMGetOperand(value, (unsigned)i)))
            return true;
    return false;
}

/* Lanes that are put elsewhere; as halves of floats they might make others. */
static bool moves_whole_lanes(const struct walk *walk, LLVMValueRef value) {
    LLVMTypeRef lane = lower_lane_of(LLVMGetOperand(value, 0));
    if (LLVMGetTypeKind(lane) == LLVMIntegerTypeKind)
        return LLVMGetIntTypeWidth(lane) ==
               (LLVMGetTypeKind(walk->lane) == LLVMFloatTypeKind ? 32 : 64);
    return lane == walk->lane;
}

/* What a promotion is made of. */
static bool source_may_signal(struct lower_module *lm, struct walk *walk, LLVMValueRef value) {
    LLVMTypeRef lane = walk->lane;
    walk->lane = lower_lane_of(LLVMGetOperand(value, 0));
    bool may = any_may_signal(lm, walk, value, 0, 1);
    walk->lane = lane;
    return may;
}

/* May the bits be those of a signalling NaN, as a walk->lane? Arithmetic makes none, if this file
 * does its work. A promotion's counts: if LLVM takes arithmetic on it for nothing, and then meets a
 * demotion, it takes both for nothing. Vectors pass through casts between them: the bits are the
 * same, but what is quiet as two floats may signal as a double. */
static bool may_signal(struct lower_module *lm, struct walk *walk, LLVMValueRef value) {
    if (LLVMIsConstant(value) && (LLVMIsAConstantFP(value) || lower_is_vector(value)))
        return lower_may_be_nan(lm, value);
    if (LLVMIsAInstruction(value) == NULL ||
        (lower_is_float(value) && lower_lane_of(value) != walk->lane))
        return true;
    if (!walk_enter(walk, value))
        return walk->is_full;
    int count = LLVMGetNumOperands(value);
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMFAdd:
    case LLVMFSub:
    case LLVMFMul:
    case LLVMFDiv:
    case LLVMFPTrunc:
    case LLVMSIToFP:
    case LLVMUIToFP: return false;
    case LLVMCall:
        if (is_sign_change(lm, value))
            return any_may_signal(lm, walk, value, 0, 1);
        return intrinsic_of(value) == 0 || !lower_is_float(value);
    case LLVMFPExt: return source_may_signal(lm, walk, value);
    case LLVMFNeg:
    case LLVMPHI: return any_may_signal(lm, walk, value, 0, count);
    case LLVMSelect: return any_may_signal(lm, walk, value, 1, count);
    case LLVMBitCast:
        return !lower_is_vector(value) || !lower_is_vector(LLVMGetOperand(value, 0)) ||
               any_may_signal(lm, walk, value, 0, 1);
    case LLVMExtractElement:
        return !moves_whole_lanes(walk, value) || any_may_signal(lm, walk, value, 0, 1);
    case LLVMInsertElement:
    case LLVMShuffleVector:
        return !moves_whole_lanes(walk, value) || any_may_signal(lm, walk, value, 0, 2);
    case LLVMAnd:
    case LLVMOr: return !is_vector_extreme(lm, value);
    default: return true;
    }
}

/* Where an integer, or what a step or two made of it, is compared, LLVM may know it on one side. */
static bool is_compared(LLVMValueRef value, int depth) {
    int uses_left = 16;
    for (LLVMUseRef use = LLVMGetFirstUse(value); use != NULL; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        if (uses_left-- == 0 || LLVMIsAICmpInst(user) || LLVMIsASwitchInst(user))
            return true;
        bool is_step = LLVMIsACastInst(user) || LLVMIsABinaryOperator(user);
        if (depth > 0 && is_step && !lower_is_float(user) && is_compared(user, depth - 1))
            return true;
    }
    return false;
}

static bool may_fold(struct lower_module *lm, struct walk *walk, LLVMValueRef value);

static bool all_may_fold(struct lower_module *lm, struct walk *walk, LLVMValueRef value,
                         int count) {
    for (int i = 0; i < count; i++)
        if (!may_fold(lm, walk, LLVMGetOperand(value, (unsigned)i)))
            return false;
    return true;
}

static bool any_may_fold(struct lower_module *lm, struct walk *walk, LLVMValueRef value, int first,
                         int end) {
    for (int i = first; i < end; i++)
        if (may_fold(lm, walk, LLVMGetOperand(value, (unsigned)i)))
            return true;
    return false;
}

/* A vector that is put together of lanes of others; not a lane taken out. */
static bool is_mix(LLVMValueRef value) {
    return LLVMIsAShuffleVectorInst(value) || LLVMIsAInsertElementInst(value);
}

/* May LLVM find out that it is a constant, or that a lane of it is one, by whatever it does to
 * loops and branches? Of a load: if `constants_are_stored`. */
static bool may_fold(struct lower_module *lm, struct walk *walk, LLVMValueRef value) {
    if (LLVMIsConstant(value) || LLVMIsACmpInst(value))
        return !LLVMIsUndef(value);
    if (LLVMIsALoadInst(value) && walk->constants_are_stored)
        return true;
    if (!lower_is_float(value) && !lower_is_vector(value) && is_compared(value, 2))
        return true;
    if (LLVMIsAInstruction(value) == NULL)
        return false;
    if (!walk_enter(walk, value))
        return walk->is_full;
    int count = LLVMGetNumOperands(value);
    if (LLVMIsAPHINode(value) || LLVMIsASelectInst(value))
        return any_may_fold(lm, walk, value, LLVMIsAPHINode(value) ? 0 : 1, count);
    if (is_mix(value))
        return any_may_fold(lm, walk, value, 0, 2);
    if (LLVMIsACallInst(value)) {
        unsigned id = intrinsic_of(value);
        return id != 0 && all_may_fold(lm, walk, value, count - 1);
    }
    bool is_computed = LLVMIsACastInst(value) || LLVMIsABinaryOperator(value) ||
                       LLVMIsAUnaryOperator(value) || LLVMIsAExtractElementInst(value);
    return is_computed && all_may_fold(lm, walk, value, count);
}

/* ---- guarding operands ---- */

static void guard(struct quiet *quiet, struct walk *walk, LLVMValueRef user, unsigned idx,
                  enum identity identity);

static void guard_operands(struct quiet *quiet, struct walk *walk, LLVMValueRef value, int first,
                           int end, enum identity identity) {
    for (int i = first; i < end; i++)
        guard(quiet, walk, value, (unsigned)i, identity);
}

/* A float that was made of an integer in memory. */
static void note_converted(struct quiet *quiet, LLVMValueRef value, enum identity identity) {
    bool is_bits = LLVMIsABitCastInst(value) != NULL;
    while (LLVMIsACastInst(value) || is_mix(value) || LLVMIsAExtractElementInst(value))
        value = LLVMGetOperand(value, LLVMIsAInsertElementInst(value) ? 1 : 0);
    if (LLVMIsALoadInst(value))
        *(is_bits ? &quiet->floats_read : &quiet->integers_read) |= 1u << identity;
}

/* A float that is made of an integer that is computed. LLVM knows so much about those (known bits,
 * ranges, x - x) that each may turn out to be a constant. */
static bool is_of_computed_integer(LLVMValueRef value) {
    if (LLVMIsACastInst(value) ? lower_is_float(LLVMGetOperand(value, 0)) : lower_is_float(value))
        return false;
    while (LLVMIsACastInst(value))
        value = LLVMGetOperand(value, 0);
    return LLVMIsABinaryOperator(value) || intrinsic_of(value) != 0 || lower_is_float(value);
}

/* By arithmetic on what is in memory. */
static bool is_computed_float(LLVMValueRef value) {
    return !LLVMIsACastInst(value) || lower_is_float(LLVMGetOperand(value, 0));
}

/* Adds a zero that LLVM does not know. A fence of the sum would keep loops that count with it
 * from being vectorised. */
static void hide_integer(struct quiet *quiet, LLVMValueRef user) {
    LLVMBuilderRef builder = quiet->lm->builder;
    LLVMValueRef value = LLVMGetOperand(user, 0);
    LLVMPositionBuilderBefore(builder,
                              LLVMGetBasicBlockTerminator(LLVMGetEntryBasicBlock(quiet->fn)));
    LLVMValueRef zero = lower_fence(quiet->lm, LLVMConstNull(LLVMTypeOf(value)));
    LLVMPositionBuilderBefore(builder, user);
    LLVMSetOperand(user, 0, LLVMBuildAdd(builder, value, zero, ""));
}

/* An operand that may fold no longer does: one constant or integer that it is made of is hidden. */
static void unfold(struct quiet *quiet, LLVMValueRef user, unsigned idx, int depth) {
    LLVMValueRef value = LLVMGetOperand(user, idx);
    bool is_computed = LLVMIsACastInst(value) || LLVMIsABinaryOperator(value);
    if (!is_computed || depth == 0 || lower_is_vector(value)) {
        hide_operand(quiet, user, idx);
        return;
    }
    LLVMValueRef first = LLVMGetOperand(value, 0);
    bool is_whole = LLVMGetTypeKind(LLVMTypeOf(first)) == LLVMIntegerTypeKind;
    if (LLVMIsACastInst(value) && is_whole && !LLVMIsConstant(first))
        hide_integer(quiet, value);
    else
        unfold(quiet, value, LLVMIsConstant(first) && LLVMIsABinaryOperator(value) ? 1 : 0,
               depth - 1);
}

/* The end of the operands that a value passes on, with their bits or some of their lanes; 0: it
 * passes on none. */
static int passed_operands(struct lower_module *lm, LLVMValueRef value, int *ret_first) {
    *ret_first = LLVMIsASelectInst(value) ? 1 : 0;
    if (LLVMIsAPHINode(value))
        return LLVMGetNumOperands(value);
    if (LLVMIsASelectInst(value))
        return 3;
    if (is_mix(value))
        return 2;
    bool is_cast = LLVMIsABitCastInst(value) && lower_is_vector(value) &&
                   lower_is_vector(LLVMGetOperand(value, 0));
    bool is_one = is_cast || LLVMGetInstructionOpcode(value) == LLVMFNeg ||
                  LLVMIsAExtractElementInst(value) || is_sign_change(lm, value);
    return is_one ? 1 : 0;
}

/* Sees to it that LLVM never takes the operand for the identity. */
static void guard(struct quiet *quiet, struct walk *walk, LLVMValueRef user, unsigned idx,
                  enum identity identity) {
    LLVMValueRef value = LLVMGetOperand(user, idx);
    bool is_identity_now = lower_is_identity(quiet->lm, value, identity);
    if (LLVMIsAInstruction(value) == NULL && !is_identity_now)
        return; /* another constant, or a parameter */
    if (!is_identity_now && !walk_enter(walk, value) && !walk->is_full)
        return;
    int first, end = passed_operands(quiet->lm, value, &first);
    if (is_identity_now || walk->is_full) {
        hide_operand(quiet, user, idx);
    } else if (LLVMIsALoadInst(value)) {
        quiet->floats_read |= 1u << identity;
    } else if (end != 0) {
        guard_operands(quiet, walk, value, first, end, identity);
    } else {
        struct walk inner = {.count = 0}, loaded = {.constants_are_stored = true};
        note_converted(quiet, value, identity);
        if (may_fold(quiet->lm, &inner, value) || is_of_computed_integer(value))
            unfold(quiet, user, idx, UNFOLD_DEPTH_MAX);
        else if (!quiet->is_at_writes && is_computed_float(value) &&
                 may_fold(quiet->lm, &loaded, value))
            quiet->floats_read |= 1u << IDENTITY_PART;
    }
}

/* Strict: whatever LLVM may find out about an operand, it never is one of its constants. */
static void hide_unless_other_constant(struct quiet *quiet, LLVMValueRef user, unsigned idx,
                                       enum identity identity) {
    LLVMValueRef value = LLVMGetOperand(user, idx);
    if (!LLVMIsConstant(value) || lower_is_identity(quiet->lm, value, identity))
        hide_operand(quiet, user, idx);
}

static void guard_arithmetic(struct quiet *quiet, LLVMValueRef instruction,
                             enum identity identity) {
    for (unsigned i = 0; i < 2; i++) {
        struct walk other = {.lane = lower_lane_of(instruction)}, walk = {.count = 0};
        if (!may_signal(quiet->lm, &other, LLVMGetOperand(instruction, 1 - i)))
            continue;
        if (quiet->lm->is_strict)
            hide_unless_other_constant(quiet, instruction, i, identity);
        else
            guard(quiet, &walk, instruction, i, identity);
    }
}

/* Where x == 1 was found true, LLVM takes x for 1; it makes that of x <= 1 and x >= 1, too. (Not so
 * of 0, of which there are two.) In strict mode x is hidden where it is used, whatever is known of
 * it. */
static void guard_compare(struct quiet *quiet, LLVMValueRef compare) {
    struct walk walk = {.count = 0};
    const LLVMRealPredicate predicate = LLVMGetFCmpPredicate(compare);
    bool may_show_one = predicate == LLVMRealOEQ || predicate == LLVMRealUNE ||
                        predicate == LLVMRealOLE || predicate == LLVMRealOGE;
    if (may_show_one && !quiet->lm->is_strict)
        guard_operands(quiet, &walk, compare, 0, 2, IDENTITY_ONE);
}

/* A value that may be a promotion's result, as it came. */
static bool is_promoted(struct quiet *quiet, struct walk *walk, LLVMValueRef value) {
    if (LLVMIsAInstruction(value) == NULL)
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode == LLVMFPExt)
        return true;
    quiet->is_demoted_read = quiet->is_demoted_read || opcode == LLVMLoad;
    if (opcode != LLVMFNeg && opcode != LLVMSelect && opcode != LLVMPHI && opcode != LLVMCall &&
        opcode != LLVMBitCast && opcode != LLVMShuffleVector && opcode != LLVMInsertElement &&
        opcode != LLVMExtractElement)
        return false;
    if (!walk_enter(walk, value))
        return walk->is_full;
    for (int i = 0; i < LLVMGetNumOperands(value); i++)
        if (is_promoted(quiet, walk, LLVMGetOperand(value, (unsigned)i)))
            return true;
    return false;
}

static void guard_instruction(struct quiet *quiet, LLVMValueRef instruction) {
    struct walk walk = {.count = 0};
    switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMFAdd:
    case LLVMFSub: guard_arithmetic(quiet, instruction, IDENTITY_ZERO); break;
    case LLVMFMul:
    case LLVMFDiv: guard_arithmetic(quiet, instruction, IDENTITY_ONE); break;
    case LLVMFCmp: guard_compare(quiet, instruction); break;
    case LLVMFPTrunc:
        if (is_promoted(quiet, &walk, LLVMGetOperand(instruction, 0)))
            hide_operand(quiet, instruction, 0);
        break;
    default: break;
    }
}

/* ---- through memory ---- */

/* A variable that counts: were its start hidden, LLVM could count no more. */
static bool is_counter(LLVMValueRef phi) {
    for (unsigned i = 0; i < LLVMCountIncoming(phi); i++) {
        LLVMValueRef next = LLVMGetIncomingValue(phi, i);
        if (LLVMIsABinaryOperator(next) &&
            (LLVMGetOperand(next, 0) == phi || LLVMGetOperand(next, 1) == phi))
            return true;
    }
    return false;
}

/* An integer that is written: a constant, or one of several. */
static void guard_bits(struct quiet *quiet, struct walk *walk, LLVMValueRef user, unsigned idx,
                       enum identity identity) {
    LLVMValueRef value = LLVMGetOperand(user, idx);
    if (LLVMIsConstant(value)) {
        if (holds_identity(quiet, value, identity))
            hide_operand(quiet, user, idx);
        return;
    }
    bool is_select = LLVMIsASelectInst(value) != NULL;
    if ((!is_select && (LLVMIsAPHINode(value) == NULL || is_counter(value))) ||
        !walk_enter(walk, value))
        return;
    for (int i = is_select ? 1 : 0; i < LLVMGetNumOperands(value); i++)
        guard_bits(quiet, walk, value, (unsigned)i, identity);
}

static void guard_memset(struct quiet *quiet, LLVMValueRef memset, enum identity identity) {
    LLVMValueRef byte = LLVMGetOperand(memset, 1);
    if (LLVMIsAConstantInt(byte) == NULL)
        return;
    bool is_zeroing = (LLVMConstIntGetZExtValue(byte) & 0x7f) == 0;
    if (identity == IDENTITY_PART || (is_zeroing && identity == IDENTITY_ZERO) ||
        holds_identity(quiet, byte, identity))
        hide_operand(quiet, memset, 1);
}

/* LLVM takes what is read for what was written: a store's operand 0, a memset's operand 1. */
static void guard_write(struct quiet *quiet, LLVMValueRef instruction, enum identity identity) {
    struct walk walk = {.count = 0};
    if (LLVMIsAMemSetInst(instruction))
        guard_memset(quiet, instruction, identity);
    if (LLVMIsAStoreInst(instruction) == NULL)
        return;
    LLVMValueRef value = LLVMGetOperand(instruction, 0);
    if (!lower_is_float(value) || LLVMIsConstant(value))
        guard_bits(quiet, &walk, instruction, 0, identity);
    struct walk whole = {.count = 0};
    if ((lower_is_float(value) || lower_is_vector(value)) && !LLVMIsConstant(value))
        guard(quiet, &whole, instruction, 0, identity);
}

static void guard_writes(struct quiet *quiet, LLVMValueRef instruction) {
    struct walk walk = {.count = 0};
    for (int identity = IDENTITY_ZERO; identity < IDENTITIES_COUNT; identity++)
        if (((quiet->floats_read | quiet->integers_read) >> identity & 1) != 0)
            guard_write(quiet, instruction, (enum identity)identity);
    if (quiet->is_demoted_read && LLVMIsAStoreInst(instruction) &&
        is_promoted(quiet, &walk, LLVMGetOperand(instruction, 0)))
        hide_operand(quiet, instruction, 0);
}

static void for_each_instruction(struct quiet *quiet, void (*visit)(struct quiet *, LLVMValueRef)) {
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(quiet->fn); block != NULL;
         block = LLVMGetNextBasicBlock(block))
        for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
             at = LLVMGetNextInstruction(at))
            visit(quiet, at);
}

void lower_quiet_nans(struct lower_module *lm) {
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL;
         fn = LLVMGetNextFunction(fn)) {
        struct quiet quiet = {.lm = lm, .fn = fn};
        for_each_instruction(&quiet, guard_instruction);
        if (lm->tier == LOWER_TIER_FAST)
            continue; /* nobody looks through memory there */
        quiet.is_at_writes = true;
        /* what is written may have been read, too */
        unsigned before = quiet.is_demoted_read ? ~0u : 0;
        while ((quiet.floats_read | quiet.integers_read) != before) {
            before = quiet.floats_read | quiet.integers_read;
            for_each_instruction(&quiet, guard_writes);
        }
    }
}
