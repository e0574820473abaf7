/*
 * compiler/lower/lower_inline.c: inlines calls of small functions (codegen_small.c), also of those
 * in other chunks and instances. It works in three steps. emit_call() marks the calls. When the
 * chunk's functions are lowered, the missing small functions follow, as copies that are not
 * emitted. LLVM's always-inline pass does the rest, and the copies go.
 *
 * The pass runs before SROA, when locals are in memory and LLVM can fold nothing into the inlined
 * code. So lower_keep_loads() and lower_quiet_nans() see the code as if the module had had it
 * there.
 *
 * Backtraces show inlined calls. After optimisation, every instruction of an inlined function gets
 * a column in the line table: the number of the call that it came in by. The linker turns it into
 * rows of the image. A tail call that was inlined is a call by its function's caller: had it been a
 * jump, backtraces would not show the function that it left.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "lower.h"

/* Calls are inlined as long as a caller grows by no more than a part of itself. */
#define GROWTH_COST(code_bytes) (64u + (code_bytes) / 16)
/* Bodies of copies in one chunk, in bytes of wasm. */
#define COPIES_BYTES_MAX 16384u
/* What a column of LLVM can hold. */
#define INLINED_MAX 65535u

/* ---- a map from pointers to numbers ---- */

struct pointer_entry {
    const void *key; /* NULL: free */
    uint32_t value;
};

static struct pointer_entry *map_slot(const struct lower_pointer_map *map, const void *key) {
    size_t at = (size_t)((uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u >> 32);
    for (;; at++) {
        struct pointer_entry *entry = &map->entries[at & (map->capacity - 1)];
        if (entry->key == NULL || entry->key == key)
            return entry;
    }
}

static bool map_grow(struct lower_pointer_map *map) {
    struct lower_pointer_map bigger = {.capacity = map->capacity == 0 ? 256 : map->capacity * 2,
                                       .count = map->count};
    bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
    if (bigger.entries == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->entries[i].key != NULL)
            *map_slot(&bigger, map->entries[i].key) = map->entries[i];
    free(map->entries);
    *map = bigger;
    return true;
}

static bool map_set(struct lower_pointer_map *map, const void *key, uint32_t value) {
    if (map->count * 2 >= map->capacity && !map_grow(map))
        return false;
    *map_slot(map, key) = (struct pointer_entry){key, value};
    map->count++;
    return true;
}

static bool map_get(const struct lower_pointer_map *map, const void *key, uint32_t *ret_value) {
    const struct pointer_entry *entry = map->capacity == 0 ? NULL : map_slot(map, key);
    if (entry == NULL || entry->key == NULL)
        return false;
    *ret_value = entry->value;
    return true;
}

/* ---- marks and copies ---- */

static LLVMAttributeRef always_inline(struct lower_module *lm) {
    return LLVMCreateEnumAttribute(lm->ctx, LLVMGetEnumAttributeKindForName("alwaysinline", 12), 0);
}

void lower_inline_begin(struct lower_func *lf, uint32_t func_idx) {
    struct lower_module *lm = lf->lm;
    if (lm->smalls == NULL)
        return;
    lf->small_rank = lm->smalls[func_idx].rank;
    lf->growth_left = GROWTH_COST(program_func(lm->program, func_idx)->code.count);
    if (!map_set(&lm->inlining.scopes, lf->di_scope, func_idx))
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
}

void lower_inline_call(struct lower_func *lf, uint32_t func_idx, LLVMValueRef call) {
    struct lower_module *lm = lf->lm;
    if (lm->smalls == NULL || call == NULL)
        return;
    struct lower_small callee = lm->smalls[func_idx];
    if (callee.rank == 0 || callee.cost > lf->growth_left ||
        (lf->small_rank != 0 && callee.rank >= lf->small_rank))
        return;
    lf->growth_left -= callee.cost;
    LLVMAddCallSiteAttribute(call, LOWER_ATTRIBUTES, always_inline(lm));
    buf_append(&lm->inlining.wanted, &func_idx, sizeof func_idx);
}

bool lower_inline_next(struct lower_module *lm, uint32_t *ret_func_idx) {
    struct lower_inlining *inlining = &lm->inlining;
    uint32_t func_idx;
    while (inlining->wanted_at < inlining->wanted.count) {
        memcpy(&func_idx, inlining->wanted.data + inlining->wanted_at, sizeof func_idx);
        inlining->wanted_at += sizeof func_idx;
        uint32_t bytes = (uint32_t)program_func(lm->program, func_idx)->code.count;
        if (!LLVMIsDeclaration(lower_func_symbol(lm, func_idx)) ||
            bytes > COPIES_BYTES_MAX - inlining->copied_bytes)
            continue;
        inlining->copied_bytes += bytes;
        *ret_func_idx = func_idx;
        return true;
    }
    return false;
}

/* ---- numbers of inlined calls ---- */

/* The number of the call at `place` (a location that has code inlined); 0: none. Inlining is not
 * deep: see codegen_small.c. */
static uint32_t call_number(struct lower_module *lm, LLVMMetadataRef place, LLVMMetadataRef scope) {
    struct lower_inlining *inlining = &lm->inlining;
    struct codegen_inlined row = {.wasm_offset = LLVMDILocationGetLine(place)};
    LLVMMetadataRef outer = LLVMDILocationGetInlinedAt(place),
                    caller = LLVMDILocationGetScope(place);
    uint32_t number;
    if (map_get(&inlining->numbers, place, &number))
        return number;
    if (!map_get(&inlining->scopes, scope, &row.callee_idx) ||
        !map_get(&inlining->scopes, caller, &row.caller_idx))
        return 0;
    if (outer != NULL)
        row.outer = call_number(lm, outer, caller);
    number = (uint32_t)(inlining->calls.count / sizeof row) + 1;
    if (number > INLINED_MAX || !map_set(&inlining->numbers, place, number))
        return 0;
    buf_append(&inlining->calls, &row, sizeof row);
    return number;
}

static void number_instruction(struct lower_module *lm, LLVMValueRef instruction) {
    LLVMMetadataRef location = LLVMInstructionGetDebugLoc(instruction);
    LLVMMetadataRef place = location == NULL ? NULL : LLVMDILocationGetInlinedAt(location);
    if (place != NULL && lower_was_tail_call(instruction)) {
        LLVMInstructionSetDebugLoc(instruction, place);
        location = place;
        place = LLVMDILocationGetInlinedAt(location);
    }
    if (place == NULL)
        return;
    LLVMMetadataRef scope = LLVMDILocationGetScope(location);
    uint32_t number = call_number(lm, place, scope);
    if (number != 0)
        LLVMInstructionSetDebugLoc(
            instruction, LLVMDIBuilderCreateDebugLocation(lm->ctx, LLVMDILocationGetLine(location),
                                                          number, scope, place));
}

int lower_inline_finish(struct lower_module *lm) {
    if (lm->inlining.wanted.count == 0)
        return 0;
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
             block = LLVMGetNextBasicBlock(block))
            for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
                 at = LLVMGetNextInstruction(at))
                number_instruction(lm, at);
    return lm->inlining.calls.failed || lm->inlining.wanted.failed
               ? error_set(lm->err, HUSK_E_NOMEM, "out of memory")
               : 0;
}

void lower_inline_done(struct lower_module *lm) {
    free(lm->inlining.scopes.entries);
    free(lm->inlining.numbers.entries);
    buf_done(&lm->inlining.wanted);
    buf_done(&lm->inlining.calls);
}
