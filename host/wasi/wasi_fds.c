/*
 * host/wasi/wasi_fds.c: the table of a guest's descriptors; see wasi_fd.h. It grows with the
 * highest number in use, up to its limit. A new descriptor gets the lowest free number, as in
 * POSIX: it is found in the bits, 64 at a time.
 */
#include "wasi_fd.h"
#include "wasi_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BITS 64u
#define ROWS_MIN WORD_BITS /* the first allocation */
_Static_assert(WASI_FDS_MAX >= ROWS_MIN && (WASI_FDS_MAX & (WASI_FDS_MAX - 1)) == 0,
               "doubling ends at the limit");

const struct wasi_fd_ops wasi_vacant_ops = {.saved_kind = WASI_SAVED_STREAM};

static uint32_t limit_of(const struct wasi_fds *fds) {
    return fds->limit != 0 ? fds->limit : WASI_FDS_MAX;
}

void wasi_fds_done(struct wasi_fds *fds) {
    wasi_fds_clear(fds);
    free(fds->rows);
    free(fds->used);
    *fds = (struct wasi_fds){0};
}

void wasi_fds_clear(struct wasi_fds *fds) {
    for (uint32_t number = 0; number < fds->count; number++)
        if (fds->rows[number].ops != NULL)
            wasi_fds_close(fds, number);
    fds->count = 0;
}

int wasi_fds_reserve(struct wasi_fds *fds, uint32_t count) {
    if (count > limit_of(fds))
        return -EMFILE;
    if (count <= fds->capacity)
        return 0;
    uint32_t capacity = fds->capacity > 0 ? fds->capacity : ROWS_MIN;
    while (capacity < count)
        capacity *= 2;
    struct wasi_fd *rows = realloc(fds->rows, capacity * sizeof *rows);
    if (rows == NULL)
        return -ENOMEM;
    fds->rows = rows;
    uint64_t *used = realloc(fds->used, capacity / WORD_BITS * sizeof *used);
    if (used == NULL)
        return -ENOMEM;
    fds->used = used;
    memset(rows + fds->capacity, 0, (capacity - fds->capacity) * sizeof *rows);
    memset(used + fds->capacity / WORD_BITS, 0,
           (capacity - fds->capacity) / WORD_BITS * sizeof *used);
    fds->capacity = capacity;
    return 0;
}

struct wasi_fd *wasi_fds_at(const struct wasi_fds *fds, uint32_t number) {
    const struct wasi_fd_ops *ops = number < fds->count ? fds->rows[number].ops : NULL;
    return ops != NULL && ops != &wasi_vacant_ops ? &fds->rows[number] : NULL;
}

void wasi_fds_put(struct wasi_fds *fds, uint32_t number, const struct wasi_fd *fd) {
    fds->rows[number] = *fd;
    if (fd->ops != &wasi_vacant_ops) /* such a number is free for another file */
        fds->used[number / WORD_BITS] |= UINT64_C(1) << number % WORD_BITS;
    if (number >= fds->count)
        fds->count = number + 1;
}

int wasi_fds_prepare(struct wasi_fds *fds) {
    uint32_t number = fds->capacity;
    for (uint32_t word = fds->full; word < fds->capacity / WORD_BITS; word++) {
        if (fds->used[word] == UINT64_MAX)
            continue;
        fds->full = word;
        number = word * WORD_BITS + (uint32_t)__builtin_ctzll(~fds->used[word]);
        break;
    }
    const int status = wasi_fds_reserve(fds, number + 1);
    return status != 0 ? status : (int)number;
}

int wasi_fds_add(struct wasi_fds *fds, const struct wasi_fd *fd) {
    const int number = wasi_fds_prepare(fds);
    if (number >= 0)
        wasi_fds_put(fds, (uint32_t)number, fd);
    return number;
}

struct wasi_fd wasi_fds_take(struct wasi_fds *fds, uint32_t number) {
    const struct wasi_fd fd = fds->rows[number];
    const uint32_t word = number / WORD_BITS;
    fds->rows[number] = (struct wasi_fd){0};
    fds->used[word] &= ~(UINT64_C(1) << number % WORD_BITS);
    if (word < fds->full)
        fds->full = word;
    return fd;
}

void wasi_fds_close(struct wasi_fds *fds, uint32_t number) {
    struct wasi_fd fd = wasi_fds_take(fds, number);
    if (fd.ops->close != NULL)
        fd.ops->close(&fd);
}

void wasi_fds_move(struct wasi_fds *fds, uint32_t from, uint32_t to) {
    if (from == to)
        return;
    wasi_fds_close(fds, to);
    const struct wasi_fd moved = wasi_fds_take(fds, from);
    wasi_fds_put(fds, to, &moved);
}
