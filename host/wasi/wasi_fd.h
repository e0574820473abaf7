/*
 * host/wasi/wasi_fd.h: a guest's descriptors: one descriptor, the operations of each kind, and the
 * table of numbers.
 *
 * Flow: number → wasi_fds_at() → struct wasi_fd → its ops. The handlers (wasi_fd.c, wasi_io.c,
 * wasi_poll.c) check numbers, rights and guest memory; the kinds (wasi_host_fd.c, wasi_host_io.c)
 * do the work. A kind does not know the guest's ABI: it returns host errnos, and relies on the
 * checks of the handlers. There are no locks: a table belongs to one sandbox, which one thread at a
 * time runs.
 */
#ifndef HOST_WASI_FD_H
#define HOST_WASI_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#define WASI_STREAMS 3       /* standard input, output and error */
#define WASI_FDS_MAX 1024    /* numbers of a guest: 40 KiB. The usual RLIMIT_NOFILE of a process */
#define WASI_IOVECS_MAX 1024 /* wasi-libc's IOV_MAX; more is EINVAL, as in POSIX */
#define WASI_NO_OFFSET UINT64_MAX

struct wasi_call;
struct wasi_fd;

/* One read or write. A kind advances `first`, the vectors and `offset` during the transfer. */
struct wasi_transfer {
    const struct wasi_call *call;
    struct wasi_fd *fd;
    bool is_write;
    /* offset of the next byte, below 2^63; WASI_NO_OFFSET: the descriptor's position */
    uint64_t offset;
    uint64_t total;                     /* bytes of all vectors: at most WASI_TRANSFER_MAX_BYTES */
    int first, count;                   /* vecs[first] is the next one */
    struct iovec vecs[WASI_IOVECS_MAX]; /* guest memory, checked; none is empty */
};

/*
 * The operations of a kind of descriptor. They return -errno on failure, by the kernel's
 * conventions. -EINTR: the operation did nothing, because the guest's call must end. Every wait is
 * in wasi_syscall() or wasi_wait(). An operation is NULL if descriptors of this kind never have the
 * right for it. close() is NULL if there is nothing to free.
 */
struct wasi_fd_ops {
    /* Returns the number of bytes. It is smaller than the total if an error stopped the transfer
     * later. */
    long (*transfer)(struct wasi_transfer *transfer);
    /* whence: SEEK_SET, … of the host. Returns the position. */
    int64_t (*seek)(struct wasi_fd *fd, int64_t offset, int whence);
    /* Do writes always go to the end of the file? */
    bool (*is_append)(const struct wasi_fd *fd);
    int (*stat)(const struct wasi_fd *fd, struct stat *ret_stat);
    int (*set_times)(const struct wasi_call *call, const struct wasi_fd *fd,
                     const struct timespec times[2]);
    int (*resize)(const struct wasi_call *call, const struct wasi_fd *fd, int64_t bytes);
    int (*allocate)(const struct wasi_call *call, const struct wasi_fd *fd, int64_t offset,
                    int64_t bytes);
    /* advice: POSIX_FADV_… */
    int (*advise)(const struct wasi_fd *fd, int64_t offset, int64_t bytes, int advice);
    int (*sync)(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only);
    /* The host descriptor to wait for, and the number of bytes that can be read at once when it is
     * ready. */
    int (*poll_fd)(const struct wasi_fd *fd);
    uint64_t (*readable_bytes)(const struct wasi_fd *fd);
    void (*close)(struct wasi_fd *fd);
};

/* One guest descriptor. All zeros: closed. */
struct wasi_fd {
    const struct wasi_fd_ops *ops; /* NULL: closed */
    int host_fd;      /* borrowed: husk never closes it and never changes its file status flags */
    uint16_t flags;   /* WASI_FDFLAG_NONBLOCK, the only flag that the guest can set */
    uint8_t filetype; /* as the guest sees it */
    uint8_t stream;   /* index in the configuration's streams, independent of the number */
    uint64_t rights;
    uint64_t kept;    /* all ones, except the rights that the guest gave up */
    bool is_seekable; /* it can seek, and the guest has the right to */
};

/* ---- wasi_fds.c: the table ---- */

/* Descriptors by number. All zeros: no descriptor, no room. Growing moves the rows. */
struct wasi_fds {
    struct wasi_fd *rows;
    uint32_t count;    /* numbers from here on are closed */
    uint32_t capacity; /* rows that there is room for */
};

/* Close all descriptors and free the table. */
void wasi_fds_done(struct wasi_fds *fds);
/* Close all descriptors. The table keeps its room. */
void wasi_fds_clear(struct wasi_fds *fds);
/* Make room for the numbers below `count`. Returns 0. On failure the table is unchanged: -EMFILE
 * beyond WASI_FDS_MAX, or -ENOMEM. */
int wasi_fds_reserve(struct wasi_fds *fds, uint32_t count);
/* The open descriptor with this number, or NULL. The pointer is valid until the table grows. */
struct wasi_fd *wasi_fds_at(const struct wasi_fds *fds, uint32_t number);
/* Open `fd` (copied) under a number that is not open. The table must have room for it. */
void wasi_fds_put(struct wasi_fds *fds, uint32_t number, const struct wasi_fd *fd);
/* Open `fd` (copied) under the lowest free number. Returns the number, -EMFILE or -ENOMEM. */
int wasi_fds_add(struct wasi_fds *fds, const struct wasi_fd *fd);
/* Close an open descriptor. */
void wasi_fds_close(struct wasi_fds *fds, uint32_t number);
/* Close the open descriptor `to`, and give its number to the open descriptor `from`. */
void wasi_fds_move(struct wasi_fds *fds, uint32_t from, uint32_t to);

/* ---- wasi_host_fd.c: descriptors of the host, which the embedder gives ---- */

/* Examine `host_fd`, which is borrowed. given: HUSK_WASI_… of husk_wasi_options. The guest sees a
 * closed descriptor if host_fd is -1, has no rights or cannot be examined. */
void wasi_host_fd_init(struct wasi_fd *fd, uint8_t stream, int host_fd, uint32_t given);

/* ---- wasi_host_io.c: wasi_fd_ops.transfer of each kind ---- */
long wasi_file_transfer(struct wasi_transfer *transfer);
long wasi_stream_transfer(struct wasi_transfer *transfer);
long wasi_socket_transfer(struct wasi_transfer *transfer);

#endif
