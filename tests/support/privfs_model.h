/*
 * tests/support/privfs_model.h: a private layer (host/files/privfs.h) beside a plain model of it,
 * and a player that does operations on both and compares. A difference aborts, with a message. The
 * model has no pointers, so that a copy of it is a snapshot.
 */
#ifndef TESTS_SUPPORT_PRIVFS_MODEL_H
#define TESTS_SUPPORT_PRIVFS_MODEL_H

#include "privfs.h"

#define MODEL_INODES 64u /* 0: none; 1 and 2 are roots */
#define MODEL_ROOTS 2u
#define MODEL_ENTRIES 256u
#define MODEL_BLOCKS 256u
#define MODEL_NAMES 72u

struct model_inode {
    enum privfs_kind kind;
    struct privfs_id id;
    uint32_t links, parent;
    bool is_open, has_lower;
    uint8_t text_seed; /* of a target or a path below */
    uint64_t bytes, shown_ino, atime_ns, mtime_ns, ctime_ns;
};

struct model_entry {
    enum privfs_kind kind; /* PRIVFS_NONE: not used */
    uint32_t dir, inode, name;
};

struct model_block {
    uint32_t inode; /* 0: not used */
    uint64_t idx;
};

struct model {
    struct model_inode inodes[MODEL_INODES];
    struct model_entry entries[MODEL_ENTRIES];
    struct model_block blocks[MODEL_BLOCKS];
    uint8_t bytes[MODEL_BLOCKS][4096]; /* of the blocks */
};

/* Name i, NUL-terminated; some are as long as names may be. */
const char *model_name(uint32_t idx, size_t *ret_bytes);
/* A text that is a path of names, and differs by seed. */
void model_text(char *out, size_t bytes, uint8_t seed);

struct model_entry *model_find(struct model *model, uint32_t dir, uint32_t name);
/* A slot that is not used; NULL if there is none. */
struct model_entry *model_entry_new(struct model *model);
uint32_t model_inode_new(struct model *model); /* 0 if there is none */
/* Entries of a directory; whiteouts are counted by themselves, too. */
uint32_t model_count(const struct model *model, uint32_t dir, uint32_t *ret_whiteouts);
/* All names, and inodes without one. */
uint64_t model_total(const struct model *model);
void model_inode_free(struct model *model, uint32_t inode);
bool model_is_below(const struct model *model, uint32_t dir, uint32_t above);
/* Room for the blocks of a write. */
bool model_has_room(const struct model *model, uint64_t bytes);
void model_write(struct model *model, uint32_t inode, uint64_t offset, const uint8_t *in,
                 uint64_t count);
void model_read(const struct model *model, uint32_t inode, uint64_t offset, uint8_t *out,
                uint64_t count);
void model_resize(struct model *model, uint32_t inode, uint64_t bytes);

/* Everything in the layer is as in the model, and privfs_check() passes. */
void model_compare(struct model *model, struct privfs *fs);

#define MODEL_REQUIRE(cond)                                                                        \
    do {                                                                                           \
        if (!(cond))                                                                               \
            model_fail(__FILE__, __LINE__, #cond);                                                 \
    } while (0)
void model_fail(const char *file, int line, const char *what) __attribute__((noreturn));
void model_check(const struct privfs *fs);

#endif
