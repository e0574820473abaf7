/*
 * compiler/lower/lower_facts.c: addresses that do not wrap. Runs when locals are in SSA form,
 * before the passes, and once more when loops have been unrolled (codegen_passes.c).
 *
 * A wasm address is the zero-extended 32-bit sum of what the module adds up, such as p + 28. That
 * sum may wrap. So machine code must add in 32 bits, by an instruction of its own, and neither LLVM
 * nor the CPU's addressing modes see that p and p + 28 are neighbours.
 *
 * But an access at zext(p) that did not trap lies below the memory's size, and that is at most
 * 4 GiB - 64 KiB (program_memory_ends_early()). So behind it zext(p + 28) is zext(p) + 28. This
 * file writes the second form where the first access dominates the second. The same holds if a
 * small value is added, such as a byte times 4, and for distances below zero: where p - 8 wraps,
 * the access traps, and zext(p) - 8 is below the memory, where nothing is mapped, either
 * (HUSK_MEM_BELOW_BYTES). That needs an access without a static offset, which would lead back into
 * the memory.
 *
 * Deliberately no flags (nuw, nsw) and no assumptions, because LLVM would use them elsewhere. It
 * would drop the first access, whose value is not needed, and then the module's own check
 * (p + 28 < p) with the store behind it. Here nothing but the address of the second access changes,
 * and LLVM learns nothing from it. Whatever LLVM drops or moves, there are two cases. If p is below
 * 4 GiB - 64 KiB, both forms are the same address, or both trap. Else the standard wants a trap
 * before the second access; its new address traps by itself, or is the old one.
 */
#include <stdlib.h>

#include "layout.h"
#include "lower.h"
#include "lower_dominators.h"

/* What may lie between an address and the one that proves it. Together with the memory's end,
 * below 2^32. */
#define DISTANCE_MAX HUSK_MEM_BELOW_BYTES
#define ANCHORS_MAX 8 /* for one root */
#define DEPTH_MAX 8   /* of sums that are looked through */

/* roots + constant, in 32 bits: `index`, of which an access has taken the address. */
struct anchor {
    LLVMValueRef index, wide; /* wide: zext(index) */
    uint32_t constant;
    uint32_t place; /* of its block */
    uint32_t next;  /* place in `anchors` plus 1; 0: the last one of this root */
};

struct facts {
    struct lower_module *lm;
    struct dominators dominators;
    struct anchor *anchors;
    uint32_t anchors_count, anchors_cap;
    /* By root: anchors, oldest first. */
    struct root {
        LLVMValueRef values[2];
        uint32_t first, last, count;
    } * roots;
    uint32_t roots_mask, roots_count;
    bool is_failed;
};

/* ---- sums ---- */

/* roots + small + constant, in 32 bits. */
struct sum {
    LLVMValueRef roots[2]; /* the second may be NULL */
    LLVMValueRef small;    /* NULL: none */
    uint64_t small_max;
    uint32_t constant;
};

static bool is_constant(LLVMValueRef value, uint32_t *ret_number) {
    if (LLVMIsAConstantInt(value) == NULL)
        return false;
    *ret_number = (uint32_t)LLVMConstIntGetZExtValue(value);
    return true;
}

/* The most that an i32 can be, as far as one sees. */
static uint64_t most_of(LLVMValueRef value, int depth) {
    uint32_t number;
    if (is_constant(value, &number))
        return number;
    if (LLVMIsAInstruction(value) == NULL || depth == 0)
        return UINT32_MAX;
    LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
    if (opcode == LLVMZExt) {
        unsigned bits = LLVMGetIntTypeWidth(LLVMTypeOf(LLVMGetOperand(value, 0)));
        return bits < 32 ? (UINT64_C(1) << bits) - 1 : UINT32_MAX;
    }
    if ((opcode != LLVMAnd && opcode != LLVMShl && opcode != LLVMLShr && opcode != LLVMMul) ||
        !is_constant(LLVMGetOperand(value, 1), &number))
        return UINT32_MAX;
    uint64_t most = most_of(LLVMGetOperand(value, 0), depth - 1);
    switch (opcode) {
    case LLVMAnd: return most < number ? most : number;
    case LLVMLShr: return number < 32 ? most >> number : UINT32_MAX;
    case LLVMShl: most = number < 32 ? most << number : UINT64_MAX; break;
    default: most *= number; break;
    }
    return most < UINT32_MAX ? most : UINT32_MAX;
}

/* Takes constants off a value, and adds them to the sum's. */
static LLVMValueRef without_constants(LLVMValueRef value, struct sum *sum) {
    uint32_t number;
    for (int depth = 0; depth < DEPTH_MAX && LLVMIsAInstruction(value) != NULL; depth++) {
        const LLVMOpcode opcode = LLVMGetInstructionOpcode(value);
        if ((opcode != LLVMAdd && opcode != LLVMSub) ||
            !is_constant(LLVMGetOperand(value, 1), &number))
            break;
        sum->constant += opcode == LLVMAdd ? number : 0u - number;
        value = LLVMGetOperand(value, 0);
    }
    return value;
}

static struct sum sum_of(LLVMValueRef index) {
    struct sum sum = {.constant = 0};
    LLVMValueRef value = without_constants(index, &sum);
    sum.roots[0] = value;
    if (LLVMIsAInstruction(value) == NULL || LLVMGetInstructionOpcode(value) != LLVMAdd)
        return sum;
    LLVMValueRef left = without_constants(LLVMGetOperand(value, 0), &sum);
    LLVMValueRef right = without_constants(LLVMGetOperand(value, 1), &sum);
    sum.roots[0] = (uintptr_t)left < (uintptr_t)right ? left : right;
    sum.roots[1] = sum.roots[0] == left ? right : left;
    return sum;
}

/* The same with one of two roots as the small value; false: both are large. */
static bool sum_make_small(struct sum *sum) {
    for (int i = 0; i < 2 && sum->roots[1] != NULL; i++) {
        const uint64_t most = most_of(sum->roots[i], DEPTH_MAX);
        if (most >= DISTANCE_MAX)
            continue;
        sum->small = sum->roots[i];
        sum->small_max = most;
        sum->roots[0] = sum->roots[1 - i];
        sum->roots[1] = NULL;
        return true;
    }
    return false;
}

/* ---- anchors by root ---- */

static bool has_values(const struct root *root, const LLVMValueRef *values) {
    return root->values[0] == values[0] && root->values[1] == values[1];
}

static struct root *root_slot(const struct facts *facts, const LLVMValueRef *values) {
    uint64_t hash = (uint64_t)(uintptr_t)values[0] + 31 * (uint64_t)(uintptr_t)values[1];
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    uint32_t slot = (uint32_t)(hash >> 32) & facts->roots_mask;
    while (facts->roots[slot].values[0] != NULL && !has_values(&facts->roots[slot], values))
        slot = (slot + 1) & facts->roots_mask;
    return &facts->roots[slot];
}

static bool roots_grow(struct facts *facts) {
    struct facts old = *facts;
    const uint32_t count = facts->roots == NULL ? 64 : (facts->roots_mask + 1) * 2;
    struct root *roots = calloc(count, sizeof *roots);
    if (roots == NULL)
        return false;
    facts->roots = roots;
    facts->roots_mask = count - 1;
    for (uint32_t i = 0; old.roots != NULL && i <= old.roots_mask; i++)
        if (old.roots[i].values[0] != NULL)
            *root_slot(facts, old.roots[i].values) = old.roots[i];
    free(old.roots);
    return true;
}

static bool anchors_grow(struct facts *facts) {
    const uint32_t cap = facts->anchors_cap == 0 ? 64 : facts->anchors_cap * 2;
    struct anchor *anchors = realloc(facts->anchors, cap * sizeof *anchors);
    if (anchors == NULL)
        return false;
    facts->anchors = anchors;
    facts->anchors_cap = cap;
    return true;
}

static void anchor_add(struct facts *facts, struct anchor anchor, const LLVMValueRef *values) {
    if ((facts->anchors_count == facts->anchors_cap && !anchors_grow(facts)) ||
        (facts->roots_count * 2 >= facts->roots_mask && !roots_grow(facts))) {
        facts->is_failed = true;
        return;
    }
    struct root *root = root_slot(facts, values);
    if (root->count == ANCHORS_MAX)
        return;
    facts->anchors[facts->anchors_count++] = anchor;
    if (root->count++ == 0) {
        facts->roots_count++;
        root->values[0] = values[0];
        root->values[1] = values[1];
        root->first = facts->anchors_count;
    } else {
        facts->anchors[root->last - 1].next = facts->anchors_count;
    }
    root->last = facts->anchors_count;
}

/* ---- accesses ---- */

/* A load or store of memory 0 at zext(index) + offset. Deliberately not with an offset below zero,
 * which this file itself has made: the index may lie behind the memory's end. */
struct access {
    LLVMValueRef instruction, wide, index;
    uint64_t offset;
    unsigned pointer_operand;
    uint32_t place;
};

static bool is_memory(const struct lower_module *lm, LLVMValueRef value) {
    return value == LLVMGetNamedGlobal(lm->mod, "i0.mem");
}

static bool is_pointer_step(const struct lower_module *lm, LLVMValueRef value) {
    return LLVMIsAGetElementPtrInst(value) != NULL && LLVMGetNumOperands(value) == 2 &&
           LLVMGetGEPSourceElementType(value) == lm->i8;
}

static bool access_find(const struct lower_module *lm, LLVMValueRef instruction,
                        struct access *ret_access) {
    struct access access = {.instruction = instruction};
    if (LLVMIsAStoreInst(instruction) != NULL)
        access.pointer_operand = 1;
    else if (LLVMIsALoadInst(instruction) == NULL)
        return false;
    LLVMValueRef pointer = LLVMGetOperand(instruction, access.pointer_operand);
    if (!is_pointer_step(lm, pointer))
        return false;
    LLVMValueRef step = LLVMGetOperand(pointer, 1);
    if (LLVMIsAConstantInt(step) != NULL) {
        const int64_t offset = LLVMConstIntGetSExtValue(step);
        if (offset < 0)
            return false;
        access.offset = (uint64_t)offset;
        pointer = LLVMGetOperand(pointer, 0);
        if (!is_pointer_step(lm, pointer))
            return false;
        step = LLVMGetOperand(pointer, 1);
    }
    if (!is_memory(lm, LLVMGetOperand(pointer, 0)) || LLVMIsAZExtInst(step) == NULL ||
        LLVMTypeOf(LLVMGetOperand(step, 0)) != lm->i32)
        return false;
    access.wide = step;
    access.index = LLVMGetOperand(step, 0);
    *ret_access = access;
    return true;
}

/* The distance from an anchor to a sum; false: it is not proved. */
static bool distance_get(const struct anchor *anchor, const struct sum *sum, uint64_t offset,
                         int64_t *ret_distance) {
    const int64_t distance = (int32_t)(sum->constant - anchor->constant);
    if (distance <= -(int64_t)DISTANCE_MAX || (distance < 0 && offset != 0) ||
        distance + (int64_t)sum->small_max >= (int64_t)DISTANCE_MAX)
        return false;
    *ret_distance = distance;
    return true;
}

static const struct anchor *anchor_find(const struct facts *facts, const struct access *access,
                                        const struct sum *sum, int64_t *ret_distance) {
    uint32_t at = facts->roots == NULL ? 0 : root_slot(facts, sum->roots)->first;
    for (; at != 0; at = facts->anchors[at - 1].next) {
        const struct anchor *anchor = &facts->anchors[at - 1];
        if (dominators_above(&facts->dominators, anchor->place, access->place) &&
            distance_get(anchor, sum, access->offset, ret_distance))
            return anchor;
    }
    return NULL;
}

static void access_rewrite(const struct facts *facts, const struct access *access,
                           const struct anchor *anchor, const struct sum *sum, int64_t distance) {
    struct lower_module *lm = facts->lm;
    LLVMValueRef memory = LLVMGetNamedGlobal(lm->mod, "i0.mem"), wide = anchor->wide;
    LLVMPositionBuilderBefore(lm->builder, access->instruction);
    LLVMSetCurrentDebugLocation2(lm->builder, LLVMInstructionGetDebugLoc(access->instruction));
    if (sum->small != NULL)
        wide = LLVMBuildAdd(lm->builder, wide, LLVMBuildZExt(lm->builder, sum->small, lm->i64, ""),
                            "");
    LLVMValueRef pointer = LLVMBuildGEP2(lm->builder, lm->i8, memory, &wide, 1, "");
    const int64_t all = distance + (int64_t)access->offset;
    if (all != 0) {
        LLVMValueRef step = lower_const_i64(lm, (uint64_t)all);
        pointer = LLVMBuildGEPWithNoWrapFlags(lm->builder, lm->i8, pointer, &step, 1, "",
                                              all > 0 ? LLVMGEPFlagNUW : 0);
    }
    LLVMSetOperand(access->instruction, access->pointer_operand, pointer);
}

static bool is_rewritten(const struct facts *facts, const struct access *access,
                         const struct sum *sum) {
    int64_t distance;
    const struct anchor *anchor = anchor_find(facts, access, sum, &distance);
    if (anchor == NULL)
        return false;
    if (anchor->index != access->index)
        access_rewrite(facts, access, anchor, sum, distance);
    return true;
}

/* The address without a small part is tried first: if that is proved by an access at a constant
 * distance, the two share a register. */
static void access_use(struct facts *facts, const struct access *access) {
    const struct sum sum = sum_of(access->index);
    if (is_rewritten(facts, access, &sum))
        return;
    struct sum split = sum;
    if (sum_make_small(&split))
        is_rewritten(facts, access, &split);
    anchor_add(facts,
               (struct anchor){.index = access->index,
                               .wide = access->wide,
                               .constant = sum.constant,
                               .place = access->place},
               sum.roots);
}

static void function_use(struct facts *facts) {
    struct dominators *dominators = &facts->dominators;
    for (uint32_t i = 0; i < dominators->count && !facts->is_failed; i++)
        for (LLVMValueRef at = LLVMGetFirstInstruction(dominators->order[i]);
             at != NULL && !facts->is_failed; at = LLVMGetNextInstruction(at)) {
            struct access access;
            if (!access_find(facts->lm, at, &access))
                continue;
            access.place = i;
            access_use(facts, &access);
        }
}

void lower_use_facts(struct lower_module *lm) {
    if (LLVMGetNamedGlobal(lm->mod, "i0.mem") == NULL || !program_memory_ends_early(lm->program, 0))
        return;
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL;
         fn = LLVMGetNextFunction(fn)) {
        struct facts facts = {.lm = lm};
        if (LLVMIsDeclaration(fn) || !dominators_init(&facts.dominators, fn))
            continue;
        function_use(&facts);
        dominators_done(&facts.dominators);
        free(facts.anchors);
        free(facts.roots);
    }
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
}
