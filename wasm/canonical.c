/*
 * wasm/canonical.c: which types are the same, over several modules (core specification 3.0, section
 * 3.3.12). The decoder uses it for one module, the program for all instances.
 *
 * Recursion groups are the same if their types are, where a reference into the own group counts as
 * a distance from its start. The level of a group is one more than the highest level of the groups
 * that it refers to. So equal groups have equal levels. Level by level, each group is written as a
 * list of words (its key), which has the ids of referenced types instead of their indices. The keys
 * of a level are sorted, and equal ones are neighbours. Deliberately not a hash table, because a
 * hostile module could choose its collisions.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "types.h"

struct group {
    uint32_t module, first, count; /* first type in the module */
    uint32_t flat_first;
    uint32_t level;
    size_t key_first, key_count; /* in the words of the level */
};

struct canon {
    const struct wasm_module *const *modules;
    uint32_t *const *ids;
    struct group *groups;
    struct group **sorted; /* by level, then by index */
    uint32_t groups_count;
    uint32_t *words; /* keys of the current level */
    size_t words_count, words_cap;
};

/* ---- groups and levels ---- */

static uint32_t level_at(uint32_t level, const uint32_t *levels, uint32_t idx, uint32_t first) {
    return idx < first && levels[idx] >= level ? levels[idx] + 1 : level;
}

/* `levels`: of the module's types before the group. */
static uint32_t group_level(const struct wasm_module *module, const struct group *group,
                            const uint32_t *levels) {
    uint32_t level = 0;
    for (uint32_t i = group->first; i < group->first + group->count; i++) {
        const struct wasm_functype *type = &module->types[i];
        for (uint32_t k = 0; k < type->params_count; k++)
            if (wasm_has_index(type->params[k]))
                level = level_at(level, levels, wasm_type_idx(type->params[k]), group->first);
        for (uint32_t k = 0; k < type->results_count; k++)
            if (wasm_has_index(type->results[k]))
                level = level_at(level, levels, wasm_type_idx(type->results[k]), group->first);
        if (module->subtypes[i].has_super)
            level = level_at(level, levels, module->subtypes[i].super_idx, group->first);
    }
    return level;
}

/* The levels of types are kept in ret_ids until the ids are known. */
static void find_groups(struct canon *canon, uint32_t modules_count) {
    uint32_t flat_first = 0;
    for (uint32_t m = 0; m < modules_count; m++) {
        const struct wasm_module *module = canon->modules[m];
        for (uint32_t i = 0; i < module->types_count;) {
            struct group *group = &canon->groups[canon->groups_count++];
            *group = (struct group){.module = m,
                                    .first = i,
                                    .count = module->subtypes[i].group_count,
                                    .flat_first = flat_first + i};
            group->level = group_level(module, group, canon->ids[m]);
            for (uint32_t end = i + group->count; i < end; i++)
                canon->ids[m][i] = group->level;
        }
        flat_first += module->types_count;
    }
}

/* A counting sort: stable, so that groups of a level stay in order. */
static int sort_by_level(struct canon *canon) {
    uint32_t *starts = calloc((size_t)canon->groups_count + 2, sizeof *starts);
    if (starts == NULL)
        return HUSK_E_NOMEM;
    for (uint32_t i = 0; i < canon->groups_count; i++)
        starts[canon->groups[i].level + 1]++;
    for (uint32_t i = 1; i <= canon->groups_count; i++)
        starts[i] += starts[i - 1];
    for (uint32_t i = 0; i < canon->groups_count; i++)
        canon->sorted[starts[canon->groups[i].level]++] = &canon->groups[i];
    free(starts);
    return 0;
}

/* ---- keys ---- */

#define KEY_OUTSIDE 0u /* an id follows */
#define KEY_INSIDE 1u  /* the distance from the group's first type follows */
#define KEY_UNKNOWN 2u /* an index that does not exist follows; such a module is invalid */

static void put_idx(struct canon *canon, const struct group *group, uint32_t idx) {
    bool is_outside = idx < group->first;
    bool is_inside = !is_outside && idx - group->first < group->count;
    canon->words[canon->words_count++] = is_outside  ? KEY_OUTSIDE
                                         : is_inside ? KEY_INSIDE
                                                     : KEY_UNKNOWN;
    canon->words[canon->words_count++] = is_outside  ? canon->ids[group->module][idx]
                                         : is_inside ? idx - group->first
                                                     : idx;
}

static void put_types(struct canon *canon, const struct group *group, const valtype_t *types,
                      uint32_t count) {
    canon->words[canon->words_count++] = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!wasm_has_index(types[i])) {
            canon->words[canon->words_count++] = types[i];
            continue;
        }
        canon->words[canon->words_count++] = types[i] & ((1u << VALTYPE_IDX_SHIFT) - 1);
        put_idx(canon, group, wasm_type_idx(types[i]));
    }
}

static size_t types_words(const valtype_t *types, uint32_t count) {
    size_t words = 1;
    for (uint32_t i = 0; i < count; i++)
        words += wasm_has_index(types[i]) ? 3 : 1;
    return words;
}

/* At least the number of words that put_group() writes. */
static size_t group_words(const struct wasm_module *module, const struct group *group) {
    size_t words = 0;
    for (uint32_t i = group->first; i < group->first + group->count; i++)
        words += 3 + types_words(module->types[i].params, module->types[i].params_count) +
                 types_words(module->types[i].results, module->types[i].results_count);
    return words;
}

static void put_group(struct canon *canon, struct group *group) {
    const struct wasm_module *module = canon->modules[group->module];
    group->key_first = canon->words_count;
    for (uint32_t i = group->first; i < group->first + group->count; i++) {
        const struct wasm_functype *type = &module->types[i];
        const struct wasm_subtype *subtype = &module->subtypes[i];
        canon->words[canon->words_count++] =
            type->form | (type->is_open ? 0x100u : 0) | (subtype->has_super ? 0x200u : 0);
        if (subtype->has_super)
            put_idx(canon, group, subtype->super_idx);
        put_types(canon, group, type->params, type->params_count);
        put_types(canon, group, type->results, type->results_count);
    }
    group->key_count = canon->words_count - group->key_first;
}

/* ---- levels ---- */

/* For qsort(), which has no argument for it: keys are pointed to while a level is sorted. */
struct keyed {
    const uint32_t *key;
    struct group *group;
};

static int keyed_compare(const void *left, const void *right) {
    const struct keyed *a = left;
    const struct keyed *b = right;
    if (a->group->key_count != b->group->key_count)
        return a->group->key_count < b->group->key_count ? -1 : 1;
    int order = memcmp(a->key, b->key, a->group->key_count * sizeof *a->key);
    return order != 0 ? order : (a->group > b->group) - (a->group < b->group);
}

static bool keyed_equal(const struct keyed *a, const struct keyed *b) {
    return a->group->key_count == b->group->key_count &&
           memcmp(a->key, b->key, a->group->key_count * sizeof *a->key) == 0;
}

static int reserve_words(struct canon *canon, struct group *const *groups, uint32_t count) {
    size_t needed = 0;
    for (uint32_t i = 0; i < count; i++)
        needed += group_words(canon->modules[groups[i]->module], groups[i]);
    canon->words_count = 0;
    if (needed <= canon->words_cap)
        return 0;
    free(canon->words);
    canon->words_cap = needed;
    canon->words = malloc(canon->words_cap * sizeof *canon->words);
    return canon->words != NULL ? 0 : HUSK_E_NOMEM;
}

static void give_ids(const struct canon *canon, const struct keyed *level, uint32_t count) {
    const struct group *same = NULL; /* the first group that is like the current one */
    for (uint32_t i = 0; i < count; i++) {
        const struct group *group = level[i].group;
        if (i == 0 || !keyed_equal(&level[i - 1], &level[i]))
            same = group;
        for (uint32_t k = 0; k < group->count; k++)
            canon->ids[group->module][group->first + k] = same->flat_first + k;
    }
}

static int canonicalise_level(struct canon *canon, struct group **groups, uint32_t count) {
    struct keyed *level = malloc(count * sizeof *level);
    if (level == NULL || reserve_words(canon, groups, count) != 0) {
        free(level);
        return HUSK_E_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        put_group(canon, groups[i]);
        level[i] = (struct keyed){canon->words + groups[i]->key_first, groups[i]};
    }
    qsort(level, count, sizeof *level, keyed_compare);
    give_ids(canon, level, count);
    free(level);
    return 0;
}

static int canonicalise_levels(struct canon *canon) {
    int status = sort_by_level(canon);
    for (uint32_t i = 0; status == 0 && i < canon->groups_count;) {
        uint32_t end = i + 1;
        while (end < canon->groups_count && canon->sorted[end]->level == canon->sorted[i]->level)
            end++;
        status = canonicalise_level(canon, canon->sorted + i, end - i);
        i = end;
    }
    return status;
}

int wasm_types_canonicalise(const struct wasm_module *const *modules, uint32_t modules_count,
                            uint32_t *const *ret_ids, struct husk_error *err) {
    struct canon canon = {.modules = modules, .ids = ret_ids};
    size_t types_count = 1;
    for (uint32_t i = 0; i < modules_count; i++)
        types_count += modules[i]->types_count;
    canon.groups = calloc(types_count, sizeof *canon.groups);
    canon.sorted = calloc(types_count, sizeof(struct group *));
    int status = HUSK_E_NOMEM;
    if (canon.groups != NULL && canon.sorted != NULL) {
        find_groups(&canon, modules_count);
        status = canonicalise_levels(&canon);
    }
    free(canon.groups);
    free(canon.sorted);
    free(canon.words);
    return status == 0 ? 0 : error_set(err, status, "out of memory for the types of the module");
}
