/* compiler/plan/program_types.c: the types of all instances; see program_join.h. */
#include <stdlib.h>

#include "arena.h"
#include "program_join.h"
#include "types.h"

/* The maps of the instances have the ids of wasm_types_canonicalise(), which have gaps: number the
 * types without gaps, in the order of their first appearance. numbers: by id. */
static void number_types(struct join *join, uint32_t *numbers, struct wasm_functype *types) {
    uint32_t flat = 0, count = 0;
    for (uint32_t i = 0; i < join->sources->count; i++) {
        const struct wasm_module *module = join_module(join, i);
        for (uint32_t k = 0; k < module->types_count; k++, flat++) {
            uint32_t *idx = &join->instances[i].types[k];
            if (*idx == flat) {
                types[count] = module->types[k];
                types[count].canonical_idx = count;
                numbers[flat] = count++;
            }
            *idx = numbers[*idx];
        }
    }
    join->program->types = types;
    join->program->types_count = count;
}

int join_types(struct join *join) {
    const uint32_t count = join->sources->count;
    uint64_t total = 0;
    const struct wasm_module **modules = calloc(count, sizeof *modules);
    uint32_t **ids = calloc(count, sizeof *ids);
    for (uint32_t i = 0; i < count && modules != NULL && ids != NULL; i++) {
        modules[i] = join_module(join, i);
        ids[i] = join->instances[i].types;
        total += modules[i]->types_count;
    }
    uint32_t *numbers = calloc(total + 1, sizeof *numbers);
    struct wasm_functype *types = wasm_arena_alloc(join->arena, total, sizeof *types);
    int status = 0;
    if (modules == NULL || ids == NULL || numbers == NULL || types == NULL)
        status = join_nomem(join);
    if (status == 0)
        status = wasm_types_canonicalise(modules, count, ids, join->err);
    if (status == 0)
        number_types(join, numbers, types);
    free(numbers);
    free(ids);
    free(modules);
    return status;
}
