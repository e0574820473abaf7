/*
 * compiler/lower/lower_clamps.c: keeps LLVM from taking a clamp for another one that came before.
 * Runs before the first instcombine (codegen_passes.c).
 *
 * To instcombine, min(min(x, k), k) is min(x, k), also where min is a comparison of floats and a
 * choice (foldSPFofSPF()). But where one operand is a NaN, or both are zeros, such a choice gives
 * its second operand. So k < x ? k : x may be a NaN or -0, of which the outer min makes k. LLVM
 * only looks where k is a constant that is no NaN. So k gets a fence where a function clamps by it
 * more than once, or does it in a loop, which may be unrolled.
 *
 * All zeros count as one constant. In machine code such a clamp is a minimum or maximum as before,
 * with k in a register.
 */
#include "lower_dominators.h"
#include "lower_fence.h"
#include "lower_identity.h"

#define CLAMPS_MAX 64

/* Comparisons that clamp, by their constant. More than that: each has its fence. */
struct clamps {
    struct lower_module *lm;
    LLVMValueRef fn;
    LLVMValueRef bounds[CLAMPS_MAX];
    uint32_t uses[CLAMPS_MAX];
    uint32_t count;
    bool has_loop, is_counted;
    struct lower_hidden hidden;
};

static bool is_zero(LLVMValueRef constant) {
    LLVMBool loses;
    if (LLVMIsNull(constant))
        return true;
    return LLVMIsAConstantFP(constant) && LLVMConstRealGetDouble(constant, &loses) == 0;
}

static bool is_same(LLVMValueRef constant, LLVMValueRef bound) {
    return constant == bound ||
           (LLVMTypeOf(constant) == LLVMTypeOf(bound) && is_zero(constant) && is_zero(bound));
}

/* ---- what clamps ---- */

static bool selects(LLVMValueRef select, LLVMValueRef bound) {
    return LLVMGetOperand(select, 1) == bound || LLVMGetOperand(select, 2) == bound;
}

static bool has_phi_of(LLVMBasicBlockRef block, LLVMValueRef bound) {
    for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL && LLVMIsAPHINode(at);
         at = LLVMGetNextInstruction(at))
        for (unsigned i = 0; i < LLVMCountIncoming(at); i++)
            if (LLVMGetIncomingValue(at, i) == bound)
                return true;
    return false;
}

/* A branch that may become a select: its two sides meet where the bound may come in. */
static bool may_select(LLVMValueRef branch, LLVMValueRef bound) {
    for (unsigned i = 0; i < LLVMGetNumSuccessors(branch); i++) {
        LLVMBasicBlockRef next = LLVMGetSuccessor(branch, i);
        LLVMValueRef end = LLVMGetBasicBlockTerminator(next);
        if (has_phi_of(next, bound) ||
            (LLVMGetNumSuccessors(end) == 1 && has_phi_of(LLVMGetSuccessor(end, 0), bound)))
            return true;
    }
    return false;
}

static bool is_clamp(LLVMValueRef compare, LLVMValueRef bound) {
    for (LLVMUseRef use = LLVMGetFirstUse(compare); use != NULL; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        if ((LLVMIsASelectInst(user) && selects(user, bound)) ||
            (LLVMIsABranchInst(user) && may_select(user, bound)))
            return true;
    }
    return false;
}

/* The operand of a comparison that is a constant, and no NaN; or 2. */
static unsigned bound_of(struct lower_module *lm, LLVMValueRef compare) {
    for (unsigned i = 0; i < 2; i++) {
        LLVMValueRef operand = LLVMGetOperand(compare, i);
        if (LLVMIsConstant(operand) && !lower_may_be_nan(lm, operand))
            return i;
    }
    return 2;
}

/* ---- fences ---- */

static void hide_selected(LLVMValueRef compare, LLVMValueRef bound, LLVMValueRef hidden) {
    for (LLVMUseRef use = LLVMGetFirstUse(compare); use != NULL; use = LLVMGetNextUse(use)) {
        LLVMValueRef user = LLVMGetUser(use);
        for (unsigned i = 1; LLVMIsASelectInst(user) && i < 3; i++)
            if (LLVMGetOperand(user, i) == bound)
                LLVMSetOperand(user, i, hidden);
    }
}

static uint32_t place_of(const struct clamps *clamps, LLVMValueRef bound) {
    uint32_t i = 0;
    while (i < clamps->count && !is_same(clamps->bounds[i], bound))
        i++;
    return i;
}

/* The first walk counts, the second one hides. */
static void visit(struct clamps *clamps, LLVMValueRef compare) {
    const unsigned idx = bound_of(clamps->lm, compare);
    LLVMValueRef bound = idx < 2 ? LLVMGetOperand(compare, idx) : NULL;
    if (bound == NULL || !is_clamp(compare, bound))
        return;
    const uint32_t place = place_of(clamps, bound);
    if (!clamps->is_counted) {
        if (place == clamps->count && place < CLAMPS_MAX)
            clamps->bounds[clamps->count++] = bound;
        if (place < CLAMPS_MAX)
            clamps->uses[place]++;
        return;
    }
    if (place < clamps->count && clamps->uses[place] == 1 && !clamps->has_loop)
        return;
    LLVMValueRef hidden = lower_hidden_constant(clamps->lm, clamps->fn, &clamps->hidden, bound);
    LLVMSetOperand(compare, idx, hidden);
    hide_selected(compare, bound, hidden);
}

static void visit_all(struct clamps *clamps) {
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(clamps->fn); block != NULL;
         block = LLVMGetNextBasicBlock(block))
        for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
             at = LLVMGetNextInstruction(at))
            if (LLVMIsAFCmpInst(at))
                visit(clamps, at);
}

/* In the order of struct dominators, only a loop's edge leads back. A function that is too big for
 * the order counts as one with a loop: a fence too many is always right. */
static bool has_loop(LLVMValueRef fn) {
    struct dominators dominators;
    bool is_known = dominators_init(&dominators, fn), has_one = !is_known;
    for (uint32_t place = 0; is_known && place < dominators.count && !has_one; place++) {
        LLVMValueRef end = LLVMGetBasicBlockTerminator(dominators.order[place]);
        for (unsigned i = 0; i < LLVMGetNumSuccessors(end); i++)
            has_one = has_one || dominators_place(&dominators, LLVMGetSuccessor(end, i)) <= place;
    }
    dominators_done(&dominators);
    return has_one;
}

void lower_keep_clamps(struct lower_module *lm) {
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL;
         fn = LLVMGetNextFunction(fn)) {
        struct clamps clamps = {.lm = lm, .fn = fn};
        visit_all(&clamps);
        if (clamps.count == 0)
            continue;
        clamps.has_loop = has_loop(fn);
        clamps.is_counted = true;
        visit_all(&clamps);
    }
}
