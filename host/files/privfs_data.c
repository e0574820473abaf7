/*
 * host/files/privfs_data.c: contents: of files, targets of symbolic links, and paths below of
 * directories. A few bytes lie in the inode itself, more in blocks. Bytes beyond the end are always
 * zeros, so a file that grows again shows nothing old.
 */
#include <errno.h>
#include <string.h>

#include "privfs_internal.h"

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* How many blocks this many bytes need. */
static uint64_t blocks_of(uint64_t bytes) {
    return (bytes + SPACE_PAGE_BYTES - 1) / SPACE_PAGE_BYTES;
}

static bool is_in_blocks(const struct inode *inode) {
    return (inode->flags & INODE_IN_BLOCKS) != 0;
}

static int file_of(const struct privfs *fs, struct privfs_id id, struct inode **ret_inode) {
    struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    if (inode->kind != PRIVFS_FILE)
        return inode->kind == PRIVFS_DIR ? -EISDIR : -EINVAL;
    *ret_inode = inode;
    return 0;
}

static void set_changed(const struct privfs *fs, struct inode *inode) {
    inode->mtime_ns = inode->ctime_ns = fs->now_ns;
}

void data_drop(struct privfs *fs, struct inode *inode) {
    if (is_in_blocks(inode))
        blocks_cut(fs, &inode->blocks, 0);
    memset(inode->inside, 0, sizeof inode->inside);
    inode->flags &= (uint8_t)~INODE_IN_BLOCKS;
    inode->bytes = 0;
}

/* Contents that are inside move to blocks, which nobody can see. */
static int move_to_blocks(struct privfs *fs, struct inode *inode) {
    if (is_in_blocks(inode))
        return 0;
    uint32_t page = 0;
    if (inode->bytes > 0) {
        int status = space_reserve(fs, 1);
        if (status != 0)
            return status;
        page = space_take_zeros(fs);
        memcpy(space_page(fs, page), inode->inside, sizeof inode->inside);
    }
    inode->blocks = (struct blocks){.height = 0, .slots = {page}};
    inode->flags |= INODE_IN_BLOCKS;
    return 0;
}

int64_t privfs_read(const struct privfs *fs, struct privfs_id id, uint64_t offset, void *out,
                    uint64_t count) {
    struct inode *inode;
    int status = file_of(fs, id, &inode);
    if (status != 0)
        return status;
    if (offset >= inode->bytes || count == 0)
        return 0;
    count = min_u64(count, inode->bytes - offset);
    if (!is_in_blocks(inode)) {
        memcpy(out, inode->inside + offset, count);
        return (int64_t)count;
    }
    for (uint64_t done = 0; done < count;) {
        const uint64_t in_page = (offset + done) % SPACE_PAGE_BYTES;
        const uint64_t part = min_u64(count - done, SPACE_PAGE_BYTES - in_page);
        const uint32_t page = blocks_find(fs, &inode->blocks, (offset + done) / SPACE_PAGE_BYTES);
        if (page != 0)
            memcpy((uint8_t *)out + done, (uint8_t *)space_page(fs, page) + in_page, part);
        else
            memset((uint8_t *)out + done, 0, part);
        done += part;
    }
    return (int64_t)count;
}

static int write_block(struct privfs *fs, struct inode *inode, uint64_t offset, const void *in,
                       uint64_t count) {
    const uint64_t idx = offset / SPACE_PAGE_BYTES, in_page = offset % SPACE_PAGE_BYTES;
    uint32_t page = blocks_find(fs, &inode->blocks, idx);
    bool is_new = false;
    if (page == 0) {
        int status = space_reserve(fs, blocks_missing(fs, &inode->blocks, idx, idx + 1));
        if (status != 0)
            return status;
        page = blocks_make(fs, &inode->blocks, idx, &is_new);
    }
    uint8_t *bytes = space_page(fs, page);
    if (is_new && count < SPACE_PAGE_BYTES)
        memset(bytes, 0, SPACE_PAGE_BYTES);
    memcpy(bytes + in_page, in, count);
    return 0;
}

/* How many bytes were written before the room ended, or why none was. */
static int64_t write_blocks(struct privfs *fs, struct inode *inode, uint64_t offset, const void *in,
                            uint64_t count) {
    int status = move_to_blocks(fs, inode);
    if (status != 0)
        return status;
    uint64_t done = 0;
    while (done < count) {
        const uint64_t in_page = (offset + done) % SPACE_PAGE_BYTES;
        const uint64_t part = min_u64(count - done, SPACE_PAGE_BYTES - in_page);
        status = write_block(fs, inode, offset + done, (const uint8_t *)in + done, part);
        if (status != 0)
            return done > 0 ? (int64_t)done : status;
        done += part;
    }
    return (int64_t)done;
}

int64_t privfs_write(struct privfs *fs, struct privfs_id id, uint64_t offset, const void *in,
                     uint64_t count) {
    struct inode *inode;
    int status = file_of(fs, id, &inode);
    if (status != 0 || count == 0)
        return status;
    if (offset >= PRIVFS_FILE_MAX_BYTES)
        return -EFBIG;
    count = min_u64(count, PRIVFS_FILE_MAX_BYTES - offset);
    int64_t done = (int64_t)count;
    if (!is_in_blocks(inode) && offset + count <= INODE_INSIDE_BYTES)
        memcpy(inode->inside + offset, in, count);
    else
        done = write_blocks(fs, inode, offset, in, count);
    if (done < 0)
        return done;
    if (inode->bytes < offset + (uint64_t)done)
        inode->bytes = offset + (uint64_t)done;
    set_changed(fs, inode);
    return done;
}

static void shrink(struct privfs *fs, struct inode *inode, uint64_t bytes) {
    const uint64_t in_page = bytes % SPACE_PAGE_BYTES;
    if (bytes == 0) {
        data_drop(fs, inode);
    } else if (!is_in_blocks(inode)) {
        memset(inode->inside + bytes, 0, inode->bytes - bytes);
    } else {
        blocks_cut(fs, &inode->blocks, blocks_of(bytes));
        const uint32_t page = blocks_find(fs, &inode->blocks, bytes / SPACE_PAGE_BYTES);
        if (in_page != 0 && page != 0)
            memset((uint8_t *)space_page(fs, page) + in_page, 0, SPACE_PAGE_BYTES - in_page);
    }
}

int privfs_resize(struct privfs *fs, struct privfs_id id, uint64_t bytes) {
    struct inode *inode;
    int status = file_of(fs, id, &inode);
    if (status != 0)
        return status;
    if (bytes > PRIVFS_FILE_MAX_BYTES)
        return -EFBIG;
    if (bytes < inode->bytes)
        shrink(fs, inode, bytes);
    else if (bytes > INODE_INSIDE_BYTES)
        status = move_to_blocks(fs, inode);
    if (status != 0)
        return status;
    inode->bytes = bytes;
    set_changed(fs, inode);
    return 0;
}

/* Find the file, and reserve what it needs in [offset, offset + bytes). */
static int allocate_begin(struct privfs *fs, struct privfs_id id, uint64_t offset, uint64_t bytes,
                          struct inode **ret_inode) {
    struct inode *inode;
    int status = file_of(fs, id, &inode);
    if (status != 0)
        return status;
    if (bytes == 0)
        return -EINVAL;
    if (bytes > PRIVFS_FILE_MAX_BYTES || offset > PRIVFS_FILE_MAX_BYTES - bytes)
        return -EFBIG;
    *ret_inode = inode;
    if (!is_in_blocks(inode) && offset + bytes <= INODE_INSIDE_BYTES)
        return 0;
    status = move_to_blocks(fs, inode);
    return status != 0
               ? status
               : space_reserve(fs, blocks_missing(fs, &inode->blocks, offset / SPACE_PAGE_BYTES,
                                                  blocks_of(offset + bytes)));
}

int privfs_can_allocate(struct privfs *fs, struct privfs_id id, uint64_t offset, uint64_t bytes) {
    struct inode *inode;
    return allocate_begin(fs, id, offset, bytes, &inode);
}

int privfs_allocate(struct privfs *fs, struct privfs_id id, uint64_t offset, uint64_t bytes) {
    struct inode *inode;
    int status = allocate_begin(fs, id, offset, bytes, &inode);
    if (status != 0)
        return status;
    const uint64_t end = is_in_blocks(inode) ? blocks_of(offset + bytes) : 0;
    for (uint64_t i = offset / SPACE_PAGE_BYTES; i < end; i++) {
        bool is_new;
        const uint32_t page = blocks_make(fs, &inode->blocks, i, &is_new);
        if (is_new)
            memset(space_page(fs, page), 0, SPACE_PAGE_BYTES);
    }
    if (inode->bytes < offset + bytes)
        inode->bytes = offset + bytes;
    set_changed(fs, inode);
    return 0;
}

const char *data_text(const struct privfs *fs, const struct inode *inode) {
    if (!is_in_blocks(inode))
        return (const char *)inode->inside;
    return space_page(fs, blocks_find(fs, &inode->blocks, 0));
}

static int set_text(struct privfs *fs, struct inode *inode, const char *text, size_t bytes) {
    if (bytes <= INODE_INSIDE_BYTES) {
        data_drop(fs, inode);
        if (bytes > 0)
            memcpy(inode->inside, text, bytes);
        inode->bytes = bytes;
        return 0;
    }
    /* A page that it has can be taken again. */
    const bool has_page = is_in_blocks(inode) && blocks_find(fs, &inode->blocks, 0) != 0;
    int status = space_reserve(fs, has_page ? 0 : 1);
    if (status != 0)
        return status;
    data_drop(fs, inode);
    const uint32_t page = space_take_zeros(fs);
    memcpy(space_page(fs, page), text, bytes);
    inode->blocks = (struct blocks){.height = 0, .slots = {page}};
    inode->flags |= INODE_IN_BLOCKS;
    inode->bytes = bytes;
    return 0;
}

int privfs_set_target(struct privfs *fs, struct privfs_id id, const char *target, size_t bytes) {
    struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    if (inode->kind != PRIVFS_SYMLINK || (bytes > 0 && memchr(target, 0, bytes) != NULL))
        return -EINVAL;
    if (bytes > PRIVFS_TARGET_MAX_BYTES)
        return -ENAMETOOLONG;
    int status = set_text(fs, inode, target, bytes);
    if (status == 0)
        set_changed(fs, inode);
    return status;
}

int64_t privfs_target(const struct privfs *fs, struct privfs_id id, char *out, size_t count) {
    const struct inode *inode = inode_of(fs, id);
    if (inode == NULL)
        return -EBADF;
    if (inode->kind != PRIVFS_SYMLINK)
        return -EINVAL;
    count = min_u64(count, inode->bytes);
    if (count > 0)
        memcpy(out, data_text(fs, inode), count);
    return (int64_t)count;
}

int privfs_set_lower(struct privfs *fs, struct privfs_id dir, const char *path, size_t bytes) {
    struct inode *inode;
    int status = inode_dir_of(fs, dir, &inode);
    if (status != 0)
        return status;
    if (bytes == SIZE_MAX) {
        data_drop(fs, inode);
        inode->flags &= (uint8_t)~INODE_HAS_LOWER;
        return 0;
    }
    if (bytes > PRIVFS_TARGET_MAX_BYTES)
        return -ENAMETOOLONG;
    if (!name_is_path(path, bytes))
        return -EINVAL;
    if (inode->links == 0)
        return -ENOENT;
    status = set_text(fs, inode, path, bytes);
    if (status == 0)
        inode->flags |= INODE_HAS_LOWER;
    return status;
}

int64_t privfs_lower(const struct privfs *fs, struct privfs_id dir, char *out) {
    struct inode *inode;
    int status = inode_dir_of(fs, dir, &inode);
    if (status != 0)
        return status;
    if ((inode->flags & INODE_HAS_LOWER) == 0)
        return -ENOENT;
    if (inode->bytes > 0)
        memcpy(out, data_text(fs, inode), inode->bytes);
    out[inode->bytes] = '\0';
    return (int64_t)inode->bytes;
}
