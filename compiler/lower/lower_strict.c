/*
 * compiler/lower/lower_strict.c: keeps the optimiser from deleting loads that may trap. Runs after
 * SROA, which puts locals in SSA form, and before every pass that simplifies (codegen_passes.c).
 *
 * LLVM deletes a load whose value is not needed, and the load's trap with it (core spec 4.4.7: any
 * load may trap). Such loads become volatile. The search follows a value through arithmetic and
 * phis to a store, call, branch, return or address. It tracks the bits that depend on the load. A
 * mask, a shift, a remainder of 1, or a comparison with a constant outcome may leave none. The
 * search is cheap and does not find all such loads: LLVM may know more. LLVM may also delay a load
 * to the paths that need its value. codegen_options.strict keeps these loads, too.
 */
#include "lower_identity.h"
#include "lower_lanes.h"

/* A value with more to follow than this is taken for unneeded: volatile is always right. */
#define VALUES_MAX 128
#define STEPS_MAX 1024
#define DEPTH_MAX 5
#define SUCCESSORS_MAX 64

struct followed {
    LLVMValueRef value;
    uint64_t bits; /* those that depend on the load; of a vector: lower_lanes.h */
};

struct search {
    struct followed values[VALUES_MAX];
    uint32_t count, next, steps;
};

/* ---- numbers ---- */

static bool is_int(LLVMValueRef value) {
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMIntegerTypeKind;
}

static unsigned width_of(LLVMValueRef value) {
    return is_int(value) ? LLVMGetIntTypeWidth(LLVMTypeOf(value)) : 64;
}

static uint64_t mask_of(unsigned bits) {
    return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

static uint64_t all_of(LLVMValueRef value) {
    return lower_is_vector(value) ? lower_lanes_all(value) : mask_of(width_of(value));
}

static bool get_constant(LLVMValueRef value, uint64_t *ret_number) {
    if (LLVMIsAConstantInt(value) == NULL)
        return false;
    *ret_number = LLVMConstIntGetZExtValue(value);
    return true;
}

/* The bits that are not 0 for sure. */
static uint64_t possible_bits(LLVMValueRef value, int depth) {
    uint64_t number;
    if (get_constant(value, &number))
        return number;
    if (depth == 0 || LLVMIsAInstruction(value) == NULL)
        return all_of(value);
    switch (LLVMGetInstructionOpcode(value)) {
    case LLVMZExt: return possible_bits(LLVMGetOperand(value, 0), depth - 1);
    case LLVMTrunc: return possible_bits(LLVMGetOperand(value, 0), depth - 1) & all_of(value);
    case LLVMAnd:
        return possible_bits(LLVMGetOperand(value, 0), depth - 1) &
               possible_bits(LLVMGetOperand(value, 1), depth - 1);
    case LLVMOr:
    case LLVMXor:
        return possible_bits(LLVMGetOperand(value, 0), depth - 1) |
               possible_bits(LLVMGetOperand(value, 1), depth - 1);
    case LLVMShl:
        if (!get_constant(LLVMGetOperand(value, 1), &number))
            return all_of(value);
        return possible_bits(LLVMGetOperand(value, 0), depth - 1) << (number & 63) & all_of(value);
    case LLVMLShr:
        if (!get_constant(LLVMGetOperand(value, 1), &number))
            return all_of(value);
        return possible_bits(LLVMGetOperand(value, 0), depth - 1) >> (number & 63);
    default: return all_of(value);
    }
}

/* ---- comparisons that always come out the same way ---- */

struct range {
    __int128 low, high;
};

static struct range value_range(LLVMValueRef value, bool is_signed) {
    uint64_t possible = possible_bits(value, DEPTH_MAX);
    unsigned bits = width_of(value);
    if (!is_signed || (possible >> (bits - 1) & 1) == 0)
        return (struct range){
            0, (__int128)mask_of(possible == 0 ? 0 : 64 - (unsigned)__builtin_clzll(possible))};
    if (LLVMIsAInstruction(value) && LLVMGetInstructionOpcode(value) == LLVMSExt)
        bits = width_of(LLVMGetOperand(value, 0));
    return (struct range){-((__int128)1 << (bits - 1)), ((__int128)1 << (bits - 1)) - 1};
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

static LLVMIntPredicate swapped_predicate(LLVMIntPredicate predicate) {
    static const LLVMIntPredicate swapped[] = {
        [LLVMIntEQ] = LLVMIntEQ,   [LLVMIntNE] = LLVMIntNE,   [LLVMIntUGT] = LLVMIntULT,
        [LLVMIntUGE] = LLVMIntULE, [LLVMIntULT] = LLVMIntUGT, [LLVMIntULE] = LLVMIntUGE,
        [LLVMIntSGT] = LLVMIntSLT, [LLVMIntSGE] = LLVMIntSLE, [LLVMIntSLT] = LLVMIntSGT,
        [LLVMIntSLE] = LLVMIntSGE};
    return swapped[predicate];
}

static bool compare_is_needless(LLVMValueRef compare, LLVMValueRef value) {
    if (LLVMGetOperand(compare, 0) == LLVMGetOperand(compare, 1))
        return true;
    LLVMValueRef other = LLVMGetOperand(compare, 1);
    LLVMIntPredicate predicate = LLVMGetICmpPredicate(compare);
    if (LLVMGetOperand(compare, 0) != value) {
        other = LLVMGetOperand(compare, 0);
        predicate = swapped_predicate(predicate);
    }
    uint64_t number;
    if (!get_constant(other, &number) || !is_int(value))
        return false;
    bool is_equality = predicate == LLVMIntEQ || predicate == LLVMIntNE;
    if (is_equality && (number & ~possible_bits(value, DEPTH_MAX)) != 0)
        return true;
    bool is_signed = predicate >= LLVMIntSGT ||
                     (LLVMIsAInstruction(value) && LLVMGetInstructionOpcode(value) == LLVMSExt);
    __int128 constant = is_signed ? (__int128)LLVMConstIntGetSExtValue(other) : (__int128)number;
    return compare_is_decided(predicate, value_range(value, is_signed), constant);
}

/* ---- which bits of a result depend on the load? ---- */

/* A carry reaches all bits above. */
static uint64_t with_carry(uint64_t bits) {
    return bits == 0 ? 0 : ~((bits & -bits) - 1);
}

static uint64_t sign_extended(uint64_t bits, unsigned width) {
    bool has_sign = (bits >> (width - 1) & 1) != 0;
    return has_sign ? bits | ~mask_of(width) : bits;
}

static uint64_t shifted(LLVMOpcode opcode, uint64_t bits, unsigned width, uint64_t count) {
    if (count >= width)
        return 0;
    if (opcode == LLVMShl)
        return bits << count;
    return (opcode == LLVMAShr ? sign_extended(bits, width) : bits) >> count;
}

/* `other` is a constant. */
static uint64_t with_constant(LLVMValueRef user, LLVMOpcode opcode, bool is_left, uint64_t bits,
                              uint64_t other) {
    bool is_power = other != 0 && (other & (other - 1)) == 0;
    LLVMValueRef left = LLVMGetOperand(user, 0);
    switch (opcode) {
    case LLVMAnd: return bits & other;
    case LLVMOr: return bits & ~other;
    case LLVMXor: return bits;
    case LLVMAdd:
    case LLVMSub: return with_carry(bits);
    case LLVMMul: return other == 0 ? 0 : with_carry(bits << __builtin_ctzll(other));
    case LLVMShl:
    case LLVMLShr:
    case LLVMAShr: return is_left ? shifted(opcode, bits, width_of(user), other) : UINT64_MAX;
    case LLVMURem: return is_left && is_power ? bits & (other - 1) : UINT64_MAX;
    case LLVMSRem: return is_left && other == 1 ? 0 : UINT64_MAX;
    case LLVMUDiv:
        if (is_left && other > possible_bits(left, DEPTH_MAX))
            return 0;
        return is_left && is_power ? bits >> __builtin_ctzll(other) : UINT64_MAX;
    default: return UINT64_MAX;
    }
}

static uint64_t binary_bits(LLVMValueRef user, LLVMOpcode opcode, LLVMValueRef value,
                            uint64_t bits) {
    LLVMValueRef left = LLVMGetOperand(user, 0), right = LLVMGetOperand(user, 1);
    uint64_t number;
    if (left == right)
        return opcode == LLVMXor || opcode == LLVMSub ? 0 : UINT64_MAX;
    if (get_constant(left == value ? right : left, &number))
        return with_constant(user, opcode, left == value, bits, number);
    switch (opcode) {
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor: return bits;
    case LLVMAdd:
    case LLVMSub:
    case LLVMMul: return with_carry(bits);
    default: return UINT64_MAX;
    }
}

static uint64_t select_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    uint64_t choice;
    if (get_constant(LLVMGetOperand(user, 0), &choice) &&
        LLVMGetOperand(user, choice != 0 ? 1 : 2) != value)
        return 0;
    if (LLVMGetOperand(user, 0) != value)
        return bits;
    return LLVMGetOperand(user, 1) == LLVMGetOperand(user, 2) ? 0 : UINT64_MAX;
}

static uint64_t result_bits(LLVMValueRef user, LLVMValueRef value, uint64_t bits) {
    LLVMOpcode opcode = LLVMGetInstructionOpcode(user);
    if (lower_is_vector(user) || lower_is_vector(value))
        return lower_lanes_result(user, value, bits);
    switch (opcode) {
    case LLVMICmp: return compare_is_needless(user, value) ? 0 : 1;
    case LLVMAdd:
    case LLVMSub:
    case LLVMMul:
    case LLVMUDiv:
    case LLVMURem:
    case LLVMSRem:
    case LLVMAnd:
    case LLVMOr:
    case LLVMXor:
    case LLVMShl:
    case LLVMLShr:
    case LLVMAShr: return binary_bits(user, opcode, value, bits) & all_of(user);
    case LLVMTrunc:
    case LLVMZExt:
    case LLVMBitCast:
    case LLVMPHI: return bits & all_of(user);
    case LLVMSExt: return sign_extended(bits, width_of(value)) & all_of(user);
    case LLVMSelect: return select_bits(user, value, bits) & all_of(user);
    default: return all_of(user);
    }
}

/* ---- does anything need a value? ---- */

static bool is_pure_intrinsic(LLVMValueRef call) {
    LLVMValueRef callee = LLVMGetCalledValue(call);
    return LLVMIsAFunction(callee) != NULL && LLVMGetIntrinsicID(callee) != 0 &&
           LLVMGetTypeKind(LLVMTypeOf(call)) != LLVMVoidTypeKind;
}

/* The same address, computed twice. */
static bool is_same_address(LLVMValueRef one, LLVMValueRef other, int depth) {
    if (one == other)
        return true;
    if (depth == 0 || LLVMIsAInstruction(one) == NULL || LLVMIsAInstruction(other) == NULL)
        return false;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(one);
    int count = LLVMGetNumOperands(one);
    if ((opcode != LLVMGetElementPtr && opcode != LLVMZExt) ||
        opcode != LLVMGetInstructionOpcode(other) || count != LLVMGetNumOperands(other))
        return false;
    for (int i = 0; i < count; i++)
        if (!is_same_address(LLVMGetOperand(one, (unsigned)i), LLVMGetOperand(other, (unsigned)i),
                             depth - 1))
            return false;
    return true;
}

/* Writing back what was just read there writes nothing. */
static bool is_written_back(LLVMValueRef store, LLVMValueRef value) {
    return LLVMIsALoadInst(value) != NULL && LLVMGetOperand(store, 0) == value &&
           is_same_address(LLVMGetOperand(store, 1), LLVMGetOperand(value, 0), DEPTH_MAX);
}

static LLVMBasicBlockRef behind_empty(LLVMBasicBlockRef block) {
    LLVMValueRef first = LLVMGetFirstInstruction(block);
    bool is_empty = LLVMIsABranchInst(first) && LLVMGetNumSuccessors(first) == 1;
    return is_empty ? LLVMGetSuccessor(first, 0) : block;
}

/* Whichever way it takes, it comes to the same place, and nothing there asks from where. */
static bool leads_one_way(LLVMValueRef branch) {
    LLVMBasicBlockRef place = behind_empty(LLVMGetSuccessor(branch, 0));
    unsigned count = LLVMGetNumSuccessors(branch);
    if (count > SUCCESSORS_MAX || LLVMIsAPHINode(LLVMGetFirstInstruction(place)))
        return false;
    for (unsigned i = 1; i < count; i++)
        if (behind_empty(LLVMGetSuccessor(branch, i)) != place)
            return false;
    return true;
}

static bool is_end(LLVMValueRef user, LLVMValueRef value) {
    switch (LLVMGetInstructionOpcode(user)) {
    case LLVMCall: return !is_pure_intrinsic(user);
    case LLVMStore: return !is_written_back(user, value);
    case LLVMInvoke:
    case LLVMLoad: /* as an address: that load's own trap needs it */
    case LLVMAtomicRMW:
    case LLVMAtomicCmpXchg:
    case LLVMRet:
    case LLVMUnreachable: return true;
    case LLVMBr:
    case LLVMSwitch: return !leads_one_way(user);
    default: return false;
    }
}

/* False: there is no more room. */
static bool search_add(struct search *search, LLVMValueRef value, uint64_t bits) {
    uint32_t i = 0;
    while (i < search->count && search->values[i].value != value)
        i++;
    if (i == search->count) {
        if (search->count == VALUES_MAX)
            return false;
        search->values[search->count++] = (struct followed){value, bits};
    } else if ((bits & ~search->values[i].bits) != 0) {
        search->values[i].bits |= bits;
        search->next = i < search->next ? i : search->next; /* its users once more */
    }
    return true;
}

static bool value_is_needed(LLVMValueRef value) {
    struct search search = {.count = 0};
    search_add(&search, value, all_of(value));
    while (search.next < search.count) {
        struct followed seen = search.values[search.next++];
        for (LLVMUseRef use = LLVMGetFirstUse(seen.value); use != NULL; use = LLVMGetNextUse(use)) {
            LLVMValueRef user = LLVMGetUser(use);
            if (is_end(user, seen.value))
                return true;
            uint64_t bits = result_bits(user, seen.value, seen.bits);
            if (++search.steps > STEPS_MAX || (bits != 0 && !search_add(&search, user, bits)))
                return false;
        }
    }
    return false;
}

void lower_keep_loads(struct lower_module *lm) {
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
             block = LLVMGetNextBasicBlock(block))
            for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
                 at = LLVMGetNextInstruction(at))
                if (LLVMIsALoadInst(at) != NULL && LLVMGetVolatile(at) == 0 &&
                    LLVMGetAlignment(at) == 1 && !value_is_needed(at))
                    LLVMSetVolatile(at, true);
}
