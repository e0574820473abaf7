/*
 * host/instance/linkage.h: a sandbox's links to the host, for the module that it holds: the
 * definitions of its imports, the states of import groups (WASI), room for host calls. A linkage is
 * made before anything of the sandbox changes, and replaced as a whole.
 */
#ifndef HOST_LINKAGE_H
#define HOST_LINKAGE_H

#include "imports.h"

/* A linked host function: the data that a host call needs, so that it need not read the
 * definition. */
struct linked_func {
    husk_host_fn fn;
    void *user;
    const struct husk_functype *type;
    const struct import_def *def;
    uint32_t memory_idx; /* of the instance that imports it */
};

struct group_state {
    struct import_group *group; /* the definitions hold it */
    void *state;
};

struct linkage {
    struct import_def **defs; /* one per import, referenced */
    uint32_t defs_count;
    const struct import_def **memory_defs, **table_defs; /* of the imported ones, by index */
    struct linked_func *linked; /* by function index; imported_count[FUNC] of them */
    struct group_state *groups;
    uint32_t groups_count;
    /* arguments, results and exceptions of the host calls in progress, one after another: room for
     * depth_max calls of the largest arity */
    struct husk_value *values;
    uint32_t values_count;
    /* Of the exception that ended the last call: room for the image's largest; behind `values`. */
    struct husk_value *thrown;
};

/* Link an image. HUSK_E_LINK names the import that is missing or of another type. Group states are
 * fresh; see linkage_load_states(). */
int linkage_init(struct linkage *linkage, const husk_image *image, const husk_imports *imports,
                 uint32_t depth_max, struct husk_error *err);
/* Link another image of the same module to the same definitions, with new group states. */
int linkage_copy(struct linkage *linkage, const struct linkage *from, const husk_image *image,
                 uint32_t depth_max, struct husk_error *err);
void linkage_done(struct linkage *linkage); /* a zeroed or half-made one is fine */

/* Check that the group states can be made as the image says. HUSK_E_BAD_IMAGE,
 * HUSK_E_IMAGE_VERSION, HUSK_E_NOMEM. Changes nothing that a guest can see. */
int linkage_check_states(const struct linkage *linkage, const husk_image *image,
                         struct husk_error *err);
/* Make the group states as the image says: as saved in a snapshot, or fresh. The image was
 * checked. */
void linkage_load_states(struct linkage *linkage, const husk_image *image);
/* The most that a private layer may have: what the linked groups want; not rounded. */
uint64_t linkage_files_bytes(const struct linkage *linkage);
/* Append the records of abi/image.h (struct husk_image_host_state) to a buffer. */
struct buf;
int linkage_save_states(const struct linkage *linkage, struct buf *buf, struct husk_error *err);

#endif
