/*
 * base/content_hash.c: see content_hash.h.
 *
 * A file is read piece by piece into a buffer that stays in the CPU's cache, where it is hashed,
 * and from where it is written. Deliberately not through a mapping: a file on disk may change or
 * shrink meanwhile, and the page faults of a mapped copy cost more than reading it.
 */
#include "content_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "auto.h"
#include "file.h"
#include "signal_guard.h"
#include "xxh3.h"

_Static_assert(XXH3_128_BYTES == CONTENT_HASH_BYTES, "the content hash is an XXH3-128");

#define PAGE_BYTES 4096u
/* Read at once, at most, and hashed while the second-level cache has it. */
#define PART_READ_BYTES ((size_t)4 * CONTENT_PIECE_BYTES)

struct pass {
    int src_fd, fd;     /* fd -1: nothing is written */
    const uint8_t *map; /* of the source; NULL: it is read */
    uint64_t end;
    uint64_t data, data_end; /* the next part of the source that is no hole */
    uint64_t written_to;     /* the offset of fd */
    bool has_holes;
    struct content_part part; /* goes to memory; its size may be 0 */
    uint64_t part_read_to;    /* of the file: so much of the part is in its place */
    bool is_unhashed;
    uint8_t *piece; /* CONTENT_PIECE_BYTES */
    uint8_t zero_hash[CONTENT_HASH_BYTES];
};

static uint64_t pieces_count(uint64_t bytes) {
    return bytes / CONTENT_PIECE_BYTES + (bytes % CONTENT_PIECE_BYTES != 0);
}

static size_t piece_bytes_at(uint64_t at, uint64_t end) {
    return end - at < CONTENT_PIECE_BYTES ? (size_t)(end - at) : CONTENT_PIECE_BYTES;
}

/* Only a hole is left from here to the end, or so the file says. */
static int end_data(struct pass *pass) {
    const off_t file_end = lseek(pass->src_fd, 0, SEEK_END);
    if (file_end >= 0 && (uint64_t)file_end < pass->end) {
        errno = EIO; /* it is shorter than it said */
        return -1;
    }
    pass->data = pass->data_end = pass->end;
    return 0;
}

/* The first data at or behind `at`. */
static int find_data(struct pass *pass, uint64_t at) {
    const off_t data = lseek(pass->src_fd, (off_t)at, SEEK_DATA);
    pass->has_holes |= data < 0 ? errno == ENXIO : (uint64_t)data > at;
    if ((data < 0 && errno == ENXIO) || (data >= 0 && (uint64_t)data >= pass->end))
        return end_data(pass);
    pass->data = data < 0 ? at : (uint64_t)data; /* a file system without SEEK_DATA: all is data */
    const off_t hole = data < 0 ? -1 : lseek(pass->src_fd, data, SEEK_HOLE);
    const bool is_within = hole > data && (uint64_t)hole < pass->end;
    pass->data_end = is_within ? (uint64_t)hole : pass->end;
    return 0;
}

static int read_part(int fd, uint8_t *bytes, size_t count, uint64_t at) {
    for (size_t done = 0; done < count;) {
        const ssize_t got = pread(fd, bytes + done, count - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO; /* the file is shorter than it said */
        if (got <= 0)
            return -1;
        done += (size_t)got;
    }
    return 0;
}

static int write_part(struct pass *pass, const uint8_t *bytes, size_t count, uint64_t at) {
    if (pass->written_to != at && lseek(pass->fd, (off_t)at, SEEK_SET) < 0)
        return -1;
    pass->written_to = at;
    for (size_t done = 0; done < count;) {
        const struct iovec rest = {(void *)(uintptr_t)(bytes + done), count - done};
        const ssize_t wrote = writev(pass->fd, &rest, 1);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote == 0)
            errno = EIO;
        if (wrote <= 0)
            return -1;
        done += (size_t)wrote;
        pass->written_to += (uint64_t)wrote;
    }
    return 0;
}

/* The piece [at, at + count): what is a hole is zero. */
static int fill_piece(struct pass *pass, uint64_t at, size_t count) {
    for (uint64_t pos = at, end = at + count; pos < end;) {
        if (pos >= pass->data_end && find_data(pass, pos) != 0)
            return -1;
        const uint64_t from = pass->data > end ? end : pass->data < pos ? pos : pass->data;
        const uint64_t to = pass->data_end < end ? pass->data_end : end;
        memset(pass->piece + (pos - at), 0, from - pos);
        pos = from;
        if (from >= to)
            continue;
        if (read_part(pass->src_fd, pass->piece + (from - at), to - from, from) != 0 ||
            (pass->fd >= 0 && write_part(pass, pass->piece + (from - at), to - from, from) != 0))
            return -1;
        pos = to;
    }
    return 0;
}

/* What lies in the part, of a piece that is not all in it. */
static void put_in_part(const struct pass *pass, uint64_t at, size_t count) {
    const struct content_part *part = &pass->part;
    const uint64_t from = at > part->from ? at : part->from;
    const uint64_t to = at + count < part->to ? at + count : part->to;
    if (from < to)
        memcpy(part->place + (from - part->from), pass->piece + (from - at), to - from);
}

/* A piece that is all in the part is read to where it belongs, with those behind it: so the kernel
 * is called less often. */
static int fill_part(struct pass *pass, uint64_t at, size_t count) {
    if (at + count <= pass->part_read_to)
        return 0;
    uint64_t end = at + PART_READ_BYTES < pass->part.to ? at + PART_READ_BYTES : pass->part.to;
    if (end > pass->data_end) /* what begins there may be a large hole */
        end = pass->data_end > at + count ? pass->data_end : at + count;
    const size_t ahead = (size_t)(end - at);
    pass->part_read_to = at + ahead;
    return read_part(pass->src_fd, pass->part.place + (at - pass->part.from), ahead, at);
}

/* Where the bytes of the piece are then; NULL: failure, with errno. */
static const uint8_t *piece_get(struct pass *pass, uint64_t at, size_t count) {
    if (pass->map != NULL && pass->data <= at && pass->data_end - at >= count)
        return pass->map + at;
    if (at >= pass->part.from && at + count <= pass->part.to)
        return fill_part(pass, at, count) == 0 ? pass->part.place + (at - pass->part.from) : NULL;
    if (fill_piece(pass, at, count) != 0)
        return NULL;
    put_in_part(pass, at, count);
    return pass->piece;
}

static int hash_pieces(struct pass *pass, uint8_t (*pieces)[CONTENT_HASH_BYTES]) {
    memset(pass->piece, 0, CONTENT_PIECE_BYTES);
    xxh3_128(pass->piece, CONTENT_PIECE_BYTES, pass->zero_hash);
    for (uint64_t at = 0; at < pass->end; at += CONTENT_PIECE_BYTES) {
        const size_t count = piece_bytes_at(at, pass->end);
        if (at >= pass->data_end && find_data(pass, at) != 0)
            return -1;
        uint8_t *hash = pieces[at / CONTENT_PIECE_BYTES];
        if (count == CONTENT_PIECE_BYTES && pass->data >= at + count) {
            memcpy(hash, pass->zero_hash, CONTENT_HASH_BYTES);
            continue;
        }
        const uint8_t *bytes = piece_get(pass, at, count);
        if (bytes == NULL)
            return -1;
        if (!pass->is_unhashed)
            xxh3_128(bytes, count, hash);
    }
    return 0;
}

static int pass_run(struct pass *pass, struct content_hash *ret_hash) {
    /* aligned: the kernel copies pages faster to and from pages */
    auto_free uint8_t *piece = aligned_alloc(PAGE_BYTES, CONTENT_PIECE_BYTES);
    auto_free uint8_t *pieces = calloc(pieces_count(pass->end) + 1, CONTENT_HASH_BYTES);
    if (piece == NULL || pieces == NULL) {
        errno = ENOMEM;
        return -1;
    }
    pass->piece = piece;
    if (hash_pieces(pass, (uint8_t(*)[CONTENT_HASH_BYTES])pieces) != 0)
        return -1;
    *ret_hash = (struct content_hash){
        .bytes = pass->end, .pieces = take_pointer(&pieces), .has_holes = pass->has_holes};
    return 0;
}

int content_hash_read(int fd, uint64_t bytes, struct content_hash *ret_hash) {
    struct pass pass = {.src_fd = fd, .fd = -1, .end = bytes};
    return pass_run(&pass, ret_hash);
}

int content_hash_mapped(int fd, const uint8_t *map, uint64_t bytes, struct content_hash *ret_hash) {
    struct pass pass = {.src_fd = fd, .fd = -1, .map = map, .end = bytes};
    return pass_run(&pass, ret_hash);
}

/* fd becomes as long as the source. */
static int copy_run(struct pass *pass, struct content_hash *ret_hash) {
    struct signal_guard guard;
    if (file_set_size(pass->fd, pass->end) != 0)
        return -1;
    signal_guard_begin(&guard);
    const int rc = pass_run(pass, ret_hash);
    signal_guard_end(&guard, rc != 0 ? errno : 0);
    return rc;
}

int content_hash_copy(int src_fd, int fd, uint64_t bytes, struct content_hash *ret_hash) {
    struct pass pass = {.src_fd = src_fd, .fd = fd, .end = bytes, .written_to = UINT64_MAX};
    return copy_run(&pass, ret_hash);
}

int content_hash_copy_apart(int src_fd, int fd, uint64_t bytes, const struct content_part *part,
                            struct content_hash *ret_hash) {
    struct content_hash unused;
    struct pass pass = {.src_fd = src_fd,
                        .fd = fd,
                        .end = bytes,
                        .written_to = UINT64_MAX,
                        .part = *part,
                        .is_unhashed = ret_hash == NULL};
    const int rc = copy_run(&pass, ret_hash != NULL ? ret_hash : &unused);
    if (rc == 0 && ret_hash == NULL)
        content_hash_done(&unused);
    return rc;
}

/* The hash of a piece with the part of it that is the field zero. */
static int hash_without(const struct content_hash *hash, int fd, uint64_t at, uint64_t field_offset,
                        uint8_t ret_hash[CONTENT_HASH_BYTES]) {
    const size_t count = piece_bytes_at(at, hash->bytes);
    auto_free uint8_t *piece = malloc(count);
    if (piece == NULL || read_part(fd, piece, count, at) != 0)
        return -1;
    for (uint64_t i = 0; i < CONTENT_HASH_BYTES; i++)
        if (field_offset + i - at < count)
            piece[field_offset + i - at] = 0;
    xxh3_128(piece, count, ret_hash);
    return 0;
}

int content_hash_total(const struct content_hash *hash, int fd, uint64_t field_offset,
                       uint8_t ret_total[CONTENT_HASH_BYTES]) {
    const uint64_t count = pieces_count(hash->bytes);
    auto_free uint8_t(*pieces)[CONTENT_HASH_BYTES] = calloc(count + 1, CONTENT_HASH_BYTES);
    if (pieces == NULL)
        return -1;
    memcpy(pieces, hash->pieces, count * CONTENT_HASH_BYTES);
    const uint64_t last_byte = field_offset + CONTENT_HASH_BYTES - 1;
    for (uint64_t i = field_offset / CONTENT_PIECE_BYTES;
         i <= last_byte / CONTENT_PIECE_BYTES && i < count; i++)
        if (hash_without(hash, fd, i * CONTENT_PIECE_BYTES, field_offset, pieces[i]) != 0)
            return -1;
    xxh3_128(pieces, count * CONTENT_HASH_BYTES, ret_total);
    return 0;
}

int content_hash_file(int fd, uint64_t bytes, uint64_t field_offset,
                      uint8_t ret_total[CONTENT_HASH_BYTES]) {
    struct content_hash hash;
    if (content_hash_read(fd, bytes, &hash) != 0)
        return -1;
    const int rc = content_hash_total(&hash, fd, field_offset, ret_total);
    const int sys_errno = errno;
    content_hash_done(&hash);
    errno = sys_errno;
    return rc;
}

void content_hash_done(struct content_hash *hash) {
    free(hash->pieces);
    *hash = (struct content_hash){0};
}
