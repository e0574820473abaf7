/*
 * compiler/plan/program_join.h: internal header of program_link.c and its parts: the program while
 * it is put together. program_link.c finds what each import is, program_match.c judges whether it
 * fits, program_types.c joins the types, program_flat.c numbers everything.
 */
#ifndef COMPILER_PROGRAM_JOIN_H
#define COMPILER_PROGRAM_JOIN_H

#include "program.h"

#define JOIN_KINDS 5 /* enum wasm_kind */

/* One index space of one instance. */
struct join_space {
    uint32_t count, imported_count;
    /* By index: the definition, which for an import may be an import of another instance. An import
     * of the image is its own definition. */
    struct program_def *defs;
    uint32_t *flat; /* by index */
};

struct join_instance {
    const struct program_source *source;
    struct join_space spaces[JOIN_KINDS];
    uint32_t *types;          /* type index → flat */
    struct join_key *exports; /* by name; value: index in the module's exports */
    struct join_key *aliases; /* by names; value: index in the source's aliases */
    bool *alias_is_used;      /* by index in the source's aliases */
};

/* Names, sorted with join_sort(). */
struct join_key {
    struct wasm_bytes first, second;
    uint32_t value;
};

/* An import of the image. */
struct join_import {
    uint32_t instance;
    const struct wasm_import *import;
};

struct join {
    const struct program_sources *sources;
    struct join_instance *instances;
    struct join_key *names; /* of the instances */
    struct join_import *imports;
    uint32_t imports_count;
    struct program *program; /* the result */
    struct wasm_arena *arena;
    struct husk_error *err;
};

/* program_names.c */
int join_nomem(struct join *join);
/* By their names, not by their values. */
int join_keys_order(const struct join_key *a, const struct join_key *b);
/* Equal names are in the order of their values. */
void join_sort(struct join_key *keys, uint32_t count);
/* The first key with these names, or NULL. */
const struct join_key *join_find(const struct join_key *keys, uint32_t count,
                                 struct wasm_bytes first, struct wasm_bytes second);
bool join_names_equal(struct wasm_bytes a, struct wasm_bytes b);
/* The definition behind imports of imports. */
struct program_def join_definition(const struct join *join, enum wasm_kind kind,
                                   struct program_def at);

static inline const struct wasm_module *join_module(const struct join *join, uint32_t instance) {
    return join->instances[instance].source->module;
}

/* program_types.c: the function types of all instances, each once, and the maps to them. Two types
 * are the same type if they have the same structure. */
int join_types(struct join *join);

/* program_match.c: may `def` stand for the import (core spec 3.2.7)? HUSK_E_LINK names both. */
int join_match(struct join *join, struct join_import wanted, struct program_def def,
               const struct wasm_export *export);
/* Two imports of the image with the same name: are they one memory, table, global or tag?
 * HUSK_E_LINK: they should be, but are declared in two ways. */
int join_same(struct join *join, struct join_import first, struct join_import second);

/* program_flat.c: flat indices, the maps to them, and the exports. */
int join_flatten(struct join *join);

#endif
