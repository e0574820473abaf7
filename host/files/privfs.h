/*
 * host/files/privfs.h: a private layer: a file system whose every byte, contents and metadata, lies
 * in one region of memory. The region is part of a sandbox's arena, where the guest cannot reach
 * it. So the hot set restores it, snapshots contain it, and clones share its pages, as they do
 * with the guest's memory; none of that needs code here.
 *
 * A region of zeros is an empty layer. A layer knows inodes, names and blocks. It knows no paths,
 * open files, rights and host directories: those are host/wasi's. Only privfs_check() reads bytes
 * that nobody checked; afterwards, and in a layer that these functions made, the structures are
 * trusted. But any inode number and generation may be passed: -EBADF if there is no such inode.
 *
 * Functions return 0 (or a count) or -errno. -ENOSPC: the layer's limit of bytes or entries, or the
 * region, is used up. A failure changes nothing that a guest can see, except a short write.
 * Reading changes nothing, access times included, so that a guest that only reads dirties no page.
 * One thread at a time uses a layer.
 */
#ifndef HOST_PRIVFS_H
#define HOST_PRIVFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRIVFS_NAME_MAX_BYTES 255u
#define PRIVFS_TARGET_MAX_BYTES 4095u /* of a symbolic link, or of a lower path */
#define PRIVFS_FILE_MAX_BYTES (1ull << 40)
#define PRIVFS_ROOTS_MAX 64u /* directories that the embedder gives */

/* Where the bytes are, and how many may be used. Filled anew for each use, because a load may move
 * the region. */
struct privfs {
    uint8_t *base;          /* page-aligned */
    uint64_t covered_bytes; /* accessible now; the rest up to region_bytes is zeros */
    uint64_t region_bytes;
    uint64_t limit_bytes;   /* of contents and metadata together; whole pages count */
    uint64_t limit_entries; /* names, whiteouts included, and inodes that are open without a name */
    /* Make at least `bytes` accessible, and set covered_bytes. 0 or -errno. It is called for a page
     * or a few at a time, so more may be made accessible. `base` stays where it is. */
    int (*cover)(struct privfs *fs, uint64_t bytes);
    void *user;
    uint64_t now_ns; /* the time for what changes: realtime, set by the caller */
};

/* An inode's number, and how many times the number was given before: it names one file for ever. */
struct privfs_id {
    uint32_t ino; /* 0: none */
    uint32_t generation;
};

enum privfs_kind {
    PRIVFS_NONE, /* free */
    PRIVFS_FILE,
    PRIVFS_DIR,
    PRIVFS_SYMLINK,
    PRIVFS_WHITEOUT /* an entry only: what the directory below has under this name is hidden */
};

struct privfs_stat {
    enum privfs_kind kind;
    uint32_t links;     /* 0: open without a name */
    uint64_t bytes;     /* of a file or a target */
    uint64_t shown_ino; /* for the guest: of the file below that this one replaced, or its own */
    uint64_t atime_ns, mtime_ns, ctime_ns;
    uint64_t entries; /* of a directory, whiteouts included */
};

/* The directories given by the embedder: root i, made empty if it is not there. */
int privfs_root(struct privfs *fs, uint32_t idx, struct privfs_id *ret_id);
/* -ENOENT if it is not there. */
int privfs_find_root(const struct privfs *fs, uint32_t idx, struct privfs_id *ret_id);

int privfs_stat(const struct privfs *fs, struct privfs_id id, struct privfs_stat *ret_stat);
/* UINT64_MAX: unchanged. */
int privfs_set_times(struct privfs *fs, struct privfs_id id, uint64_t atime_ns, uint64_t mtime_ns);
int privfs_set_shown_ino(struct privfs *fs, struct privfs_id id, uint64_t shown_ino);

/* ---- Names. `name` need not end in NUL; it has no '/' and no NUL, and is not "." or "..":
 * -EINVAL; longer than PRIVFS_NAME_MAX_BYTES: -ENAMETOOLONG ---- */

struct privfs_entry {
    struct privfs_id id; /* none for a whiteout */
    enum privfs_kind kind;
    /* Its place in the directory's order: no other entry of the directory has it, at least 16, less
     * than 2^63 + 16, the same as long as the entry is there. It is privfs_key_of() its name, or
     * up to 7 more if another name with the same was there. */
    uint64_t key;
};
/* -ENOENT, -ENOTDIR. A whiteout is an entry. */
int privfs_lookup(const struct privfs *fs, struct privfs_id dir, const char *name,
                  size_t name_bytes, struct privfs_entry *ret_entry);
/* The key that a name would get in a directory, so that names below can be merged into its order: a
 * multiple of 8, by the name and a secret of the layer. Two names may, very rarely, have the same;
 * a ninth one cannot be added to a directory then: -ENOSPC. */
uint64_t privfs_key_of(const struct privfs *fs, const char *name, size_t name_bytes);

/* Make a file, a directory or a symbolic link (target set by privfs_set_target()) with one name.
 * Replaces a whiteout. -EEXIST; -ENOENT in a directory that was removed. */
int privfs_create(struct privfs *fs, struct privfs_id dir, const char *name, size_t name_bytes,
                  enum privfs_kind kind, struct privfs_id *ret_id);
/* Another name for a file or symbolic link. Replaces a whiteout. -EEXIST; -EPERM for a directory;
 * -EMLINK; -ENOENT if it has no name any more. */
int privfs_link(struct privfs *fs, struct privfs_id id, struct privfs_id dir, const char *name,
                size_t name_bytes);
/* Remove a name: of a file, symbolic link, whiteout, or a directory without entries (whiteouts are
 * dropped with it; -ENOTEMPTY if it has others). leave_whiteout: put a whiteout there. What has no
 * name any more is kept if is_open, else freed. The caller checks what POSIX says of kinds. -ENOSPC
 * if the whiteout and the inode that is kept would be one entry too many. */
struct privfs_removal {
    bool leave_whiteout;
    bool is_open;
};
int privfs_remove(struct privfs *fs, struct privfs_id dir, const char *name, size_t name_bytes,
                  struct privfs_removal how);
/* Put a whiteout where there is no entry. -EEXIST. */
int privfs_hide(struct privfs *fs, struct privfs_id dir, const char *name, size_t name_bytes);
/* Give an entry another name, in the same or another directory, over one that is removed as
 * privfs_remove() does (how.is_open is said of it; leave_whiteout is said of the old name). -EINVAL
 * if a directory would come below itself. Two names of one file: nothing is done. */
struct privfs_place {
    struct privfs_id dir;
    const char *name;
    size_t name_bytes;
};
int privfs_rename(struct privfs *fs, const struct privfs_place *from, const struct privfs_place *to,
                  struct privfs_removal how);
/* An inode without a name is no longer open: free it. Does nothing if it has a name. */
void privfs_release(struct privfs *fs, struct privfs_id id);
/* Release the inodes without a name for which is_open() says no. It looks at all inodes if there is
 * one without a name: privfs_usage() says how many there are. */
void privfs_sweep(struct privfs *fs, bool (*is_open)(void *user, struct privfs_id id), void *user);
/* A directory's parent; itself for a root. -ENOENT for a directory that was removed. */
int privfs_parent(const struct privfs *fs, struct privfs_id dir, struct privfs_id *ret_parent);

/* The first entry of a directory whose key is greater. `ret_name` has room for
 * PRIVFS_NAME_MAX_BYTES + 1, and ends in NUL. -ENOENT: there is none. */
int privfs_next(const struct privfs *fs, struct privfs_id dir, uint64_t after_key,
                struct privfs_entry *ret_entry, char *ret_name, size_t *ret_name_bytes);

/* ---- Contents ---- */

/* Returns a count; 0 at the end. Contents of a directory: -EISDIR, of a symbolic link: -EINVAL. */
int64_t privfs_read(const struct privfs *fs, struct privfs_id id, uint64_t offset, void *out,
                    uint64_t count);
/* Returns a count, which is short if the room or PRIVFS_FILE_MAX_BYTES ends. Sets mtime and ctime.
 * -EFBIG. */
int64_t privfs_write(struct privfs *fs, struct privfs_id id, uint64_t offset, const void *in,
                     uint64_t count);
/* Set the size; what is new reads as zeros and has no pages (what was in the inode itself may get
 * one). -EFBIG. */
int privfs_resize(struct privfs *fs, struct privfs_id id, uint64_t bytes);
/* Give pages to [offset, offset + bytes), and make the file at least so long. All or nothing.
 * -EINVAL for 0 bytes, -EFBIG. */
int privfs_allocate(struct privfs *fs, struct privfs_id id, uint64_t offset, uint64_t bytes);
/* Would it fail? For callers that allocate in pieces, because each page costs time. */
int privfs_can_allocate(struct privfs *fs, struct privfs_id id, uint64_t offset, uint64_t bytes);

/* A symbolic link's target. */
int privfs_set_target(struct privfs *fs, struct privfs_id id, const char *target, size_t bytes);
int64_t privfs_target(const struct privfs *fs, struct privfs_id id, char *out, size_t count);
/* A directory's path below, in the host's directory of its root: its entries there show through.
 * A directory has none at first, except a root, which has "". bytes SIZE_MAX takes it away.
 * privfs_lower() returns its length, or -ENOENT if it has none; `out` has room for
 * PRIVFS_TARGET_MAX_BYTES + 1, and ends in NUL. A path is names with "/" between: else -EINVAL. */
int privfs_set_lower(struct privfs *fs, struct privfs_id dir, const char *path, size_t bytes);
int64_t privfs_lower(const struct privfs *fs, struct privfs_id dir, char *out);

/* ---- The whole ---- */

struct privfs_usage {
    uint64_t bytes, entries;
    uint64_t nameless;  /* inodes that are open without a name, which count as entries */
    uint64_t end_bytes; /* all pages that are in use lie below */
};
void privfs_usage(const struct privfs *fs, struct privfs_usage *ret_usage);
/* Is a page free, so that what it contains is of no use? false in an empty layer. */
bool privfs_is_free(const struct privfs *fs, uint64_t page);
/* Set the secret of a layer that is all zeros yet (privfs_key_of()); later calls do nothing. */
void privfs_set_secret(struct privfs *fs, const uint64_t secret[2]);

/* Check bytes that came from a file: every number, size, name, tree, cycle and count, each page
 * used once. Time and memory are linear in end_bytes. Returns 0, or -EBADMSG with *ret_what (a
 * string of static storage: "a page with two owners") and *ret_offset of the fault; -ENOMEM. `base`
 * is aligned to 8 bytes and readable for `bytes`. */
int privfs_check(const uint8_t *base, uint64_t bytes, const char **ret_what, uint64_t *ret_offset);

#endif
