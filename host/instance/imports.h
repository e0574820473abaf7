/*
 * host/instance/imports.h: what the host gives a module. A set (husk_imports) holds
 * reference-counted definitions; linking (imports_link.c) resolves an image's imports to them, and
 * a sandbox then holds the definitions it uses, so that the set may be freed or changed afterwards.
 *
 * A group is how a family of host functions (WASI) keeps state per sandbox: file offsets and the
 * like belong to the instance, not to the set. Every sandbox that links a function of a group gets
 * one state of that group, made when the sandbox is made; the functions get that state as their
 * `user` argument.
 */
#ifndef HOST_IMPORTS_H
#define HOST_IMPORTS_H

#include <stdatomic.h>

#include "husk.h"

struct buf;

struct import_group_ops {
    /* "wasi": for messages, and for its record in snapshots: no set has two groups of one name */
    const char *name;
    /* A fresh state for one sandbox. `shared` is the group's; it outlives every state. */
    int (*state_new)(void *shared, void **ret_state, struct husk_error *err);
    void (*state_free)(void *state); /* NULL is fine */
    /* What of the state a guest can observe and a snapshot must bring back. All three NULL:
     * nothing. save: append it to the buffer.
     * check: can these bytes be brought back? They are hostile, for they may come from a file.
     *   Makes room in the state for what they say, and changes nothing else.
     * load: bring it back from bytes that were checked on this state; NULL: make it fresh. It
     *   cannot fail, so that it can come after what can. */
    void (*state_save)(const void *state, struct buf *buf);
    int (*state_check)(void *state, const uint8_t *bytes, size_t count, struct husk_error *err);
    void (*state_load)(void *state, const uint8_t *bytes, size_t count);
    void (*shared_free)(
        void *shared); /* once no set and no sandbox refers to the group any more; may be NULL */
};

struct import_group {
    atomic_uint refs;
    const struct import_group_ops *ops; /* static storage */
    void *shared;
};

/* Takes over `shared` on success only. The caller's reference is dropped with
 * import_group_unref(). */
int import_group_new(const struct import_group_ops *ops, void *shared,
                     struct import_group **ret_group, struct husk_error *err);
struct import_group *import_group_ref(struct import_group *group);
void import_group_unref(struct import_group *group); /* NULL is fine */

/* Define a function of a group, like husk_imports_funcs(): fn's `user` is the calling sandbox's
 * state of the group. The definition takes its own reference to the group. */
struct import_grouped_func {
    const struct husk_functype *type;
    husk_host_fn fn;
    struct import_group *group;
};
int imports_func_grouped(husk_imports *imports, const char *module, const char *name,
                         const struct import_grouped_func *func, struct husk_error *err);

/* An empty set of the same engine. */
int imports_new_like(const husk_imports *imports, husk_imports **ret_imports,
                     struct husk_error *err);
/* Move all definitions of another set into this one, or none: `from` is empty afterwards. */
int imports_move(husk_imports *imports, husk_imports *from, struct husk_error *err);

/* The state that a sandbox has of the group whose ops are these, or NULL if it linked none of its
 * functions. */
void *sandbox_group_state(const husk_sandbox *sandbox, const struct import_group_ops *ops);

struct import_def {
    atomic_uint refs;
    uint32_t kind; /* enum husk_abi_kind */
    uint32_t hash;
    char *module, *name; /* with a NUL behind them; they may hold more */
    size_t module_bytes, name_bytes;
    struct husk_functype func; /* FUNC: points into `types` */
    husk_type *types;
    husk_host_fn fn;
    void *user;
    void (*user_free)(void *user);
    /* FUNC: fn gets the sandbox's state of it instead of `user`; or NULL */
    struct import_group *group;
    struct husk_value value; /* GLOBAL */
    bool is_mutable;
    uint64_t min, max; /* MEMORY: wasm pages; TABLE: entries; max UINT64_MAX: none */
    husk_type elem_type;
};

struct import_def *import_def_ref(struct import_def *def);
void import_def_unref(struct import_def *def); /* NULL is fine */

/* Frees a definition without calling user_free: its maker still answers for `user`. NULL is
 * fine. */
void import_def_discard(struct import_def *def);

/* imports.c: room for `more` definitions. */
int imports_reserve(husk_imports *imports, uint32_t more, struct husk_error *err);
/* Takes over the definition on success. Fails only for want of room. */
int imports_add(husk_imports *imports, struct import_def *def, struct husk_error *err);

/* NULL if the set (which may be NULL) does not define it. Borrowed. */
struct import_def *imports_find(const husk_imports *imports, const char *module,
                                size_t module_bytes, const char *name, size_t name_bytes);

/* NULL: refused. */
enum husk_unknown imports_unknown(const husk_imports *imports);

/* A definition that belongs to no set, of a function that ends the guest's call with this message
 * (copied). */
int import_stub_new(const struct husk_extern *wanted, const char *message,
                    struct import_def **ret_def, struct husk_error *err);

/* imports_link.c: resolve every import of the image. ret_defs: one definition per import, in the
 * image's order, each with a reference that is the caller's (on failure those found so far); the
 * array of husk_image_imports_count(image) pointers, all NULL, is the caller's, too. HUSK_E_LINK
 * names the imports that are missing, or the first of another type. */
int imports_link(const husk_imports *imports, const husk_image *image, struct import_def **ret_defs,
                 struct husk_error *err);

#endif
