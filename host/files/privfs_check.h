/* host/files/privfs_check.h: what the two parts of the check share. */
#ifndef HOST_PRIVFS_CHECK_H
#define HOST_PRIVFS_CHECK_H

#include "privfs_internal.h"

struct check {
    struct privfs fs; /* only read */
    uint8_t *owned;   /* a bit for each page that has an owner */
    uint32_t *names;  /* of each inode, counted */
    uint8_t *marks;   /* of each inode: MARK_… */
    uint64_t used, entries, nameless;
    const char *what; /* the fault, or NULL */
    uint64_t offset;
};

#define MARK_FREE 1u /* in the list of free inodes */
#define MARK_ROOT 2u
#define MARK_PATH 4u /* on the way up from a directory that is being looked at */
#define MARK_TREE 8u /* below a root, or without a name */

/* Is it a page of the map of pages? */
static inline bool check_is_map(uint32_t page) {
    return page == space_map_of(page);
}
/* Note a fault, at this place in the region. Returns false. */
bool check_fails(struct check *check, const void *place, const char *what);
/* The page gets an owner: it is a page for contents, and had none. */
bool check_own(struct check *check, uint32_t page, const void *place);
/* Whether the number is that of an inode in use. */
bool check_is_inode(const struct check *check, uint32_t ino);
/* A directory's tree, with its names. Inodes were checked except for what names say of them. */
bool check_dir(struct check *check, uint32_t ino);
/* All directories' parents lead to a root. After check_dir() of all. */
bool check_parents(struct check *check);

#endif
