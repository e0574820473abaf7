/* compiler/plan/program_types.c: the function types of all instances; see program_join.h. */
#include <stdlib.h>

#include "arena.h"
#include "program_join.h"

struct type_place {
    const struct wasm_functype *type;
    uint32_t instance, idx;
};

static int lists_compare(const valtype_t *a, const valtype_t *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int structure_compare(const struct wasm_functype *a, const struct wasm_functype *b) {
    if (a->params_count != b->params_count)
        return a->params_count < b->params_count ? -1 : 1;
    if (a->results_count != b->results_count)
        return a->results_count < b->results_count ? -1 : 1;
    int order = lists_compare(a->params, b->params, a->params_count);
    return order != 0 ? order : lists_compare(a->results, b->results, a->results_count);
}

static int place_compare(const void *left, const void *right) {
    const struct type_place *a = left, *b = right;
    int order = structure_compare(a->type, b->type);
    if (order == 0)
        order = (a->instance > b->instance) - (a->instance < b->instance);
    return order != 0 ? order : (a->idx > b->idx) - (a->idx < b->idx);
}

/* By sorting: a hash table would let a hostile module choose its collisions. */
int join_types(struct join *join) {
    uint64_t total = 0;
    uint32_t used = 0, unique = 0;
    for (uint32_t i = 0; i < join->sources->count; i++)
        total += join_module(join, i)->types_count;
    struct type_place *places = calloc(total + 1, sizeof *places);
    struct wasm_functype *types = wasm_arena_alloc(join->arena, total, sizeof *types);
    if (places == NULL || types == NULL) {
        free(places);
        return join_nomem(join);
    }
    for (uint32_t i = 0; i < join->sources->count; i++)
        for (uint32_t k = 0; k < join_module(join, i)->types_count; k++)
            places[used++] = (struct type_place){&join_module(join, i)->types[k], i, k};
    qsort(places, used, sizeof *places, place_compare);
    for (uint32_t i = 0; i < used; i++) {
        if (i == 0 || structure_compare(places[i - 1].type, places[i].type) != 0) {
            types[unique] = *places[i].type;
            types[unique].canonical_idx = unique;
            unique++;
        }
        join->instances[places[i].instance].types[places[i].idx] = unique - 1;
    }
    free(places);
    join->program->types = types;
    join->program->types_count = unique;
    return 0;
}
