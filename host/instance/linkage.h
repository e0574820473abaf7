/*
 * host/instance/linkage.h: what a sandbox has of the host's side for the module it holds: resolved
 * imports, the states of import groups (WASI), room for host calls. Made before anything of the
 * sandbox is changed, exchanged as a whole.
 */
#ifndef HOST_LINKAGE_H
#define HOST_LINKAGE_H

#include "imports.h"

/* A host function as linked: what a host call needs, without looking into the definition. */
struct linked_func {
    husk_host_fn fn;
    void *user;
    const struct husk_functype *type;
    const struct import_def *def;
};

struct group_state {
    struct import_group *group; /* kept by the definitions */
    void *state;
};

struct linkage {
    struct import_def **defs; /* one per import, referenced */
    uint32_t defs_count;
    const struct import_def **memory_defs, **table_defs; /* of the imported ones, by index */
    struct linked_func *linked; /* by function index; imported_count[FUNC] of them */
    struct group_state *groups;
    uint32_t groups_count;
    /* arguments and results of host calls in progress, one above the other: depth_max calls of the
     * largest arity */
    struct husk_value *values;
    uint32_t values_count;
};

/* HUSK_E_LINK names the import that is missing or of another type. Group states are fresh; see
 * linkage_load_states(). */
int linkage_init(struct linkage *linkage, const husk_image *image, const husk_imports *imports,
                 uint32_t depth_max, struct husk_error *err);
/* The same definitions for another image of the same module, with group states of its own. */
int linkage_copy(struct linkage *linkage, const struct linkage *from, const husk_image *image,
                 uint32_t depth_max, struct husk_error *err);
void linkage_done(struct linkage *linkage); /* a zeroed or half-made one is fine */

/* Can the group states be brought to what the image says? HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION,
 * HUSK_E_NOMEM. Nothing that a guest can see is changed. */
int linkage_check_states(const struct linkage *linkage, const husk_image *image,
                         struct husk_error *err);
/* Bring them to it: as saved in a snapshot, or fresh. The image was checked. */
void linkage_load_states(struct linkage *linkage, const husk_image *image);
/* Append the records of abi/image.h (struct husk_image_host_state) to a buffer. */
struct buf;
int linkage_save_states(const struct linkage *linkage, struct buf *buf, struct husk_error *err);

#endif
