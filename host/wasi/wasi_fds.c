/*
 * host/wasi/wasi_fds.c: the table of a guest's descriptors; see wasi_fd.h. It grows with the
 * highest number in use, up to WASI_FDS_MAX. A number is free if its row is closed. A new
 * descriptor gets the lowest free number, as in POSIX.
 */
#include "wasi_fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MIN 4u /* the first allocation: the streams, and one more */
_Static_assert(WASI_FDS_MAX >= ROWS_MIN && (WASI_FDS_MAX & (WASI_FDS_MAX - 1)) == 0,
               "doubling ends at the limit");

void wasi_fds_done(struct wasi_fds *fds) {
    wasi_fds_clear(fds);
    free(fds->rows);
    *fds = (struct wasi_fds){0};
}

void wasi_fds_clear(struct wasi_fds *fds) {
    for (uint32_t number = 0; number < fds->count; number++)
        if (fds->rows[number].ops != NULL)
            wasi_fds_close(fds, number);
    fds->count = 0;
}

int wasi_fds_reserve(struct wasi_fds *fds, uint32_t count) {
    if (count <= fds->capacity)
        return 0;
    if (count > WASI_FDS_MAX)
        return -EMFILE;
    uint32_t capacity = fds->capacity > 0 ? fds->capacity : ROWS_MIN;
    while (capacity < count)
        capacity *= 2;
    struct wasi_fd *rows = realloc(fds->rows, capacity * sizeof *rows);
    if (rows == NULL)
        return -ENOMEM;
    memset(rows + fds->capacity, 0, (capacity - fds->capacity) * sizeof *rows);
    fds->rows = rows;
    fds->capacity = capacity;
    return 0;
}

struct wasi_fd *wasi_fds_at(const struct wasi_fds *fds, uint32_t number) {
    return number < fds->count && fds->rows[number].ops != NULL ? &fds->rows[number] : NULL;
}

void wasi_fds_put(struct wasi_fds *fds, uint32_t number, const struct wasi_fd *fd) {
    fds->rows[number] = *fd;
    if (number >= fds->count)
        fds->count = number + 1;
}

int wasi_fds_add(struct wasi_fds *fds, const struct wasi_fd *fd) {
    uint32_t number = 0;
    while (wasi_fds_at(fds, number) != NULL)
        number++;
    int status = wasi_fds_reserve(fds, number + 1);
    if (status != 0)
        return status;
    wasi_fds_put(fds, number, fd);
    return (int)number;
}

void wasi_fds_close(struct wasi_fds *fds, uint32_t number) {
    struct wasi_fd *fd = &fds->rows[number];
    if (fd->ops->close != NULL)
        fd->ops->close(fd);
    *fd = (struct wasi_fd){0};
}

void wasi_fds_move(struct wasi_fds *fds, uint32_t from, uint32_t to) {
    if (from == to)
        return;
    wasi_fds_close(fds, to);
    fds->rows[to] = fds->rows[from];
    fds->rows[from] = (struct wasi_fd){0};
}
