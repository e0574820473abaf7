/*
 * host/instance/imports.h: the definitions that the host gives to a module. A set (husk_imports)
 * holds reference-counted definitions. Linking (imports_link.c) finds the definition of each import
 * of an image. A sandbox then holds the definitions that it uses, so the set may be freed or
 * changed afterwards.
 *
 * A family of host functions (WASI) may need state for each sandbox. File offsets, for example,
 * belong to the instance and not to the set. Such a family is a group. Every sandbox that links a
 * function of a group gets one state of that group, made when the sandbox is made. The functions
 * get that state as their `user` argument.
 */
#ifndef HOST_IMPORTS_H
#define HOST_IMPORTS_H

#include <stdatomic.h>

#include "husk.h"

struct buf;

struct import_group_ops {
    /* "wasi": for messages, and for its record in snapshots; no set has two groups of one name */
    const char *name;
    /* Make a fresh state for one sandbox. `shared` belongs to the group, and outlives every
     * state. */
    int (*state_new)(void *shared, void **ret_state, struct husk_error *err);
    void (*state_free)(void *state); /* NULL is fine */
    /* For snapshots: the part of the state that a guest can observe, and a snapshot must bring
     * back. All three NULL: there is none. save: append it to the buffer; an error says by name
     *   what no snapshot can hold.
     * check: check that these bytes can be brought back. They are hostile, because they may come
     *   from a file. Makes room for them in the state, and changes nothing else.
     * load: bring the state back from bytes that were checked on this state; NULL: make it fresh.
     *   It cannot fail, so it can come after all steps that can. */
    int (*state_save)(const void *state, struct buf *buf, struct husk_error *err);
    int (*state_check)(void *state, const uint8_t *bytes, size_t count, struct husk_error *err);
    void (*state_load)(void *state, const uint8_t *bytes, size_t count);
    /* The size of the private layer in which the group's functions keep files (sandbox_files());
     * 0, or NULL: they need none. A sandbox has one layer, with room for what the groups want at
     * most. */
    uint64_t (*files_bytes)(const void *shared);
    /* Called once no set and no sandbox refers to the group; may be NULL. */
    void (*shared_free)(void *shared);
};

struct import_group {
    atomic_uint refs;
    const struct import_group_ops *ops; /* static storage */
    void *shared;
};

/* Make a group. Takes over `shared` on success only. Drop the caller's reference with
 * import_group_unref(). */
int import_group_new(const struct import_group_ops *ops, void *shared,
                     struct import_group **ret_group, struct husk_error *err);
struct import_group *import_group_ref(struct import_group *group);
void import_group_unref(struct import_group *group); /* NULL is fine */

/* Define a function of a group, as husk_imports_funcs() does: fn's `user` is the calling sandbox's
 * state of the group. The definition takes a reference to the group. */
struct import_grouped_func {
    const struct husk_functype *type;
    husk_host_fn fn;
    struct import_group *group;
};
int imports_func_grouped(husk_imports *imports, const char *module, const char *name,
                         const struct import_grouped_func *func, struct husk_error *err);

/* Make an empty set of the same engine. */
int imports_new_like(const husk_imports *imports, husk_imports **ret_imports,
                     struct husk_error *err);
/* Move all definitions of another set into this one, or none. On success `from` is empty. */
int imports_move(husk_imports *imports, husk_imports *from, struct husk_error *err);

/* A sandbox's state of the group with these ops; NULL if it linked none of the group's
 * functions. */
void *sandbox_group_state(const husk_sandbox *sandbox, const struct import_group_ops *ops);

struct import_def {
    atomic_uint refs;
    uint32_t kind; /* enum husk_abi_kind */
    uint32_t hash;
    char *module, *name; /* each followed by a NUL; they may hold more NULs */
    size_t module_bytes, name_bytes;
    struct husk_functype func; /* FUNC, TAG: points into `types` */
    husk_type *types;
    husk_host_fn fn;
    void *user;
    void (*user_free)(void *user);
    /* FUNC: fn gets the sandbox's state of this group instead of `user`; or NULL */
    struct import_group *group;
    struct husk_value value; /* GLOBAL */
    bool is_mutable;         /* GLOBAL */
    bool is_shared;          /* MEMORY */
    bool is_64;              /* MEMORY: addresses, TABLE: indices are i64 */
    bool has_max;
    uint64_t min, max; /* MEMORY: wasm pages; TABLE: entries; without has_max, UINT64_MAX */
    husk_type elem_type;
};

struct import_def *import_def_ref(struct import_def *def);
void import_def_unref(struct import_def *def); /* NULL is fine */

/* Free a definition without calling user_free: the maker of the definition still owns `user`. NULL
 * is fine. */
void import_def_discard(struct import_def *def);

/* imports.c: make room for `more` definitions. */
int imports_reserve(husk_imports *imports, uint32_t more, struct husk_error *err);
/* Add a definition, and take it over on success. Fails only if there is no room. */
int imports_add(husk_imports *imports, struct import_def *def, struct husk_error *err);

/* Find a definition. NULL if the set does not have it; the set may be NULL. Borrowed. */
struct import_def *imports_find(const husk_imports *imports, const char *module,
                                size_t module_bytes, const char *name, size_t name_bytes);

/* The set's choice for unknown imports. `imports` NULL: refused. */
enum husk_unknown imports_unknown(const husk_imports *imports);

/* Make a definition that belongs to no set: a function that ends the guest's call with this message
 * (copied). */
int import_stub_new(const struct husk_extern *wanted, const char *message,
                    struct import_def **ret_def, struct husk_error *err);
/* The same for a tag. */
int import_stub_tag_new(const struct husk_extern *wanted, struct import_def **ret_def,
                        struct husk_error *err);

/* imports_link.c: find the definition of every import of the image. ret_defs: the caller's array of
 * husk_image_imports_count(image) pointers, all NULL. It gets one definition per import, in the
 * image's order, each with a reference for the caller; on failure, those found so far. HUSK_E_LINK
 * names the imports that are missing, or the first of another type. */
int imports_link(const husk_imports *imports, const husk_image *image, struct import_def **ret_defs,
                 struct husk_error *err);

#endif
