/*
 * host/files/privfs_internal.h: how a private layer's region is laid out, and what the files of
 * this folder do for each other.
 *
 *   page 0            struct super: counts, roots, the tree of pages with inodes
 *   page 1            map of the first SPACE_GROUP_PAGES pages: a bit is set if the page is in use
 *   other pages       inodes; blocks of files; index pages (struct blocks); nodes and leaves of
 *                     directories; and the first page of each further group, which is its map
 *
 * A restore copies every page back that was written. So free pages and free inodes are found by a
 * map and by a list through the inodes, and nothing is written into a page that becomes free.
 * Low pages are taken first, which keeps the used part of the region short.
 *
 * Pages with inodes are never freed: an inode that is free keeps its generation.
 */
#ifndef HOST_PRIVFS_INTERNAL_H
#define HOST_PRIVFS_INTERNAL_H

#include "privfs.h"

#define SPACE_PAGE_BYTES 4096u
#define SPACE_GROUP_PAGES (SPACE_PAGE_BYTES * 8u)
#define SUPER_MAGIC 0x5346564952504b48ull /* "HKPRIVFS" */
#define SUPER_VERSION 1u

/* ---- Trees of blocks: a file's contents, and the pages with inodes ---- */

#define BLOCKS_SLOTS 45u
#define BLOCKS_INDEX_BITS 10u
#define BLOCKS_INDEX_SLOTS (1u << BLOCKS_INDEX_BITS) /* page numbers in an index page */
#define BLOCKS_HEIGHT_MAX 3u                         /* enough for PRIVFS_FILE_MAX_BYTES */

/* Page numbers: of blocks at height 0, else of index pages. 0 is a hole. */
struct blocks {
    uint32_t height;
    uint32_t slots[BLOCKS_SLOTS];
};

/* ---- Inodes ---- */

#define INODE_INSIDE_BYTES 184u /* contents that need no page */
#define INODES_PER_PAGE 16u

#define INODE_IN_BLOCKS 1u /* contents are in blocks, not inside */
#define INODE_HAS_LOWER 2u /* a directory whose contents are its path below */
#define INODE_FLAGS_KNOWN 3u

struct inode {
    uint8_t kind;       /* enum privfs_kind, never a whiteout */
    uint8_t flags;      /* INODE_… */
    uint8_t dir_height; /* levels of a directory's tree, the leaves included; 0: no entries */
    uint8_t zero;
    uint32_t generation;
    uint32_t links;     /* names; 1 for a root; 0: open without a name */
    uint32_t parent;    /* of a directory, 0 without a name; of a free inode: the next free one */
    uint64_t bytes;     /* of the contents: of a file, a target, or a path below */
    uint64_t shown_ino; /* 0: its own */
    uint64_t atime_ns, mtime_ns, ctime_ns;
    uint32_t dir_root; /* page */
    uint32_t entries;  /* of a directory, whiteouts included */
    uint32_t whiteouts;
    uint32_t zero2;
    /* What lies beyond `bytes` is zeros, in a last block, too. There are no blocks beyond. */
    union {
        uint8_t inside[INODE_INSIDE_BYTES];
        struct blocks blocks;
    };
};
_Static_assert(sizeof(struct inode) * INODES_PER_PAGE == SPACE_PAGE_BYTES, "inodes fill a page");
_Static_assert(sizeof(struct blocks) == INODE_INSIDE_BYTES, "both are as long");

struct super {
    uint64_t magic; /* 0: an empty layer */
    uint32_t version;
    uint32_t zero;
    uint64_t secret[2];
    uint64_t entries;    /* names, and inodes without a name */
    uint32_t end;        /* all pages in use lie below; the last page below is in use */
    uint32_t used;       /* pages */
    uint32_t free_hint;  /* no page below is free */
    uint32_t inodes_end; /* inode numbers from 1 up to here were given */
    uint32_t free_ino;   /* the first free inode; 0: none */
    uint32_t nameless;   /* inodes that are open without a name */
    uint32_t roots[PRIVFS_ROOTS_MAX]; /* inodes; 0: none */
    struct blocks inodes;             /* inode i lies in block i / INODES_PER_PAGE */
};

/* ---- Directories: B+-trees by key (privfs_tree.c) ---- */

#define TREE_HEIGHT_MAX 8u
#define TREE_NODE_CHILDREN 340u
#define TREE_LEAF_BYTES (SPACE_PAGE_BYTES - 8u)
#define TREE_KEY_MIN 16u /* smaller numbers are for the callers, for example "." and ".." */
/* Names with the same privfs_key_of(), a multiple of this, that one directory can have: they get
 * that key and those behind it. */
#define TREE_KEY_PROBES 8u

struct record {
    uint64_t key;
    uint32_t ino; /* 0 for a whiteout */
    uint8_t kind;
    uint8_t name_bytes;
    char name[]; /* up to a multiple of 8 bytes */
};

/* Records in ascending order of keys, without gaps. Never empty. */
struct leaf {
    uint32_t used_bytes;
    uint32_t zero;
    uint8_t records[TREE_LEAF_BYTES];
};

/* Keys of child i are at least keys[i], and less than keys[i + 1]; keys[0] says nothing. Never
 * empty. */
struct node {
    uint32_t count;
    uint32_t zero;
    uint64_t keys[TREE_NODE_CHILDREN];
    uint32_t children[TREE_NODE_CHILDREN];
};
_Static_assert(sizeof(struct leaf) == SPACE_PAGE_BYTES, "a leaf is a page");
_Static_assert(sizeof(struct node) <= SPACE_PAGE_BYTES, "a node fits");

/* A place in a directory's tree. It is valid until the tree changes. */
struct tree_path {
    uint32_t height;
    uint32_t offset; /* in the leaf's records; may be behind the last one */
    uint32_t pages[TREE_HEIGHT_MAX];
    uint32_t idxs[TREE_HEIGHT_MAX]; /* of the child, in nodes */
};

static inline uint32_t record_bytes(size_t name_bytes) {
    return (uint32_t)(offsetof(struct record, name) + name_bytes + 7) & ~7u;
}

/* ---- Pages (privfs_space.c) ---- */

static inline void *space_page(const struct privfs *fs, uint32_t page) {
    return fs->base + (uint64_t)page * SPACE_PAGE_BYTES;
}
static inline struct super *space_super(const struct privfs *fs) {
    return space_page(fs, 0);
}
bool space_is_empty(const struct privfs *fs);
/* Make an empty layer's first pages; does nothing if they are there. */
int space_format(struct privfs *fs);
/* Whether space_take() can be called this often. 0, -ENOSPC, or what cover() returned. */
int space_reserve(struct privfs *fs, uint64_t pages);
int space_reserve_entries(const struct privfs *fs, uint64_t more);
/* A page that was reserved; its bytes are old ones. */
uint32_t space_take(struct privfs *fs);
uint32_t space_take_zeros(struct privfs *fs);
void space_give(struct privfs *fs, uint32_t page);
/* The page with the map of this page's group. */
static inline uint32_t space_map_of(uint32_t page) {
    return page < SPACE_GROUP_PAGES ? 1 : page / SPACE_GROUP_PAGES * SPACE_GROUP_PAGES;
}

/* ---- Blocks (privfs_blocks.c) ---- */

uint32_t blocks_find(const struct privfs *fs, const struct blocks *blocks, uint64_t idx);
/* How many pages blocks_make() takes for [from, to), which is not empty. */
uint64_t blocks_missing(const struct privfs *fs, const struct blocks *blocks, uint64_t from,
                        uint64_t to);
/* The block's page, taken if it is a hole; the caller reserved what is missing. *ret_is_new: its
 * bytes are old ones. */
uint32_t blocks_make(struct privfs *fs, struct blocks *blocks, uint64_t idx, bool *ret_is_new);
/* Free the blocks from this one on. */
void blocks_cut(struct privfs *fs, struct blocks *blocks, uint64_t from);

/* ---- Inodes (privfs_inode.c) ---- */

/* Trusts the number. */
struct inode *inode_at(const struct privfs *fs, uint32_t ino);
/* NULL if there is no such inode. */
struct inode *inode_of(const struct privfs *fs, struct privfs_id id);
struct privfs_id inode_id(const struct privfs *fs, uint32_t ino);
/* -EBADF or -ENOTDIR. */
int inode_dir_of(const struct privfs *fs, struct privfs_id id, struct inode **ret_dir);
/* Pages that inode_take() takes; the caller reserves them. */
uint64_t inode_need(const struct privfs *fs);
uint32_t inode_take(struct privfs *fs, enum privfs_kind kind);
/* Free it with all that it has. */
void inode_free(struct privfs *fs, uint32_t ino);

/* ---- Contents (privfs_data.c) ---- */

void data_drop(struct privfs *fs, struct inode *inode);
/* The bytes of a target or a path below, which never are in more than one page. */
const char *data_text(const struct privfs *fs, const struct inode *inode);

/* ---- Trees of directories (privfs_tree.c) ---- */

/* The place of the first record whose key is not smaller. */
void tree_seek(const struct privfs *fs, const struct inode *dir, uint64_t key,
               struct tree_path *ret_path);
/* The record there, or the first of the next leaf; NULL at the end. */
struct record *tree_record(const struct privfs *fs, struct tree_path *path);
void tree_step(const struct record *record, struct tree_path *path);
/* Pages that tree_insert() takes there. */
uint64_t tree_need(const struct privfs *fs, const struct tree_path *path, size_t name_bytes);
/* `path` is what tree_seek() finds for the record's key, which is not in the tree. */
void tree_insert(struct privfs *fs, struct inode *dir, struct tree_path *path,
                 const struct record *record, const char *name);
void tree_remove(struct privfs *fs, struct inode *dir, const struct tree_path *path);
void tree_drop(struct privfs *fs, struct inode *dir);

/* ---- Names (privfs_name.c, privfs_key.c) ---- */

/* 0, -EINVAL or -ENAMETOOLONG. */
int name_check(const char *name, size_t name_bytes);
/* A relative path of such names; "" is one. */
bool name_is_path(const char *path, size_t bytes);
/* SipHash-2-4. */
uint64_t key_siphash(const uint64_t secret[2], const void *bytes, size_t count);

#endif
