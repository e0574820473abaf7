/* compiler/plan/program_names.c: names in order, and what several parts of linking use; see
 * program_join.h. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "program_join.h"

int join_nomem(struct join *join) {
    return error_set(join->err, HUSK_E_NOMEM, "no memory to link the modules");
}

/* ---- sorted names ---- */

static int name_order(struct wasm_bytes a, struct wasm_bytes b) {
    uint32_t common = a.count < b.count ? a.count : b.count;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.count > b.count) - (a.count < b.count);
}

bool join_names_equal(struct wasm_bytes a, struct wasm_bytes b) {
    return name_order(a, b) == 0;
}

int join_keys_order(const struct join_key *a, const struct join_key *b) {
    int order = name_order(a->first, b->first);
    return order != 0 ? order : name_order(a->second, b->second);
}

static int key_order(const void *left, const void *right) {
    const struct join_key *a = left, *b = right;
    int order = join_keys_order(a, b);
    return order != 0 ? order : (a->value > b->value) - (a->value < b->value);
}

void join_sort(struct join_key *keys, uint32_t count) {
    if (count > 1)
        qsort(keys, count, sizeof *keys, key_order);
}

const struct join_key *join_find(const struct join_key *keys, uint32_t count,
                                 struct wasm_bytes first, struct wasm_bytes second) {
    const struct join_key wanted = {.first = first, .second = second};
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (join_keys_order(&keys[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && join_keys_order(&keys[low], &wanted) == 0 ? &keys[low] : NULL;
}

struct program_def join_definition(const struct join *join, enum wasm_kind kind,
                                   struct program_def at) {
    for (;;) {
        struct program_def next = join->instances[at.instance].spaces[kind].defs[at.idx];
        if (next.instance == at.instance && next.idx == at.idx)
            return at;
        at = next;
    }
}
