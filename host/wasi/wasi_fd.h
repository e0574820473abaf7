/*
 * host/wasi/wasi_fd.h: a guest's descriptors: what one is, what each kind can do, and the table of
 * numbers.
 *
 * Flow: number → wasi_fds_at() → struct wasi_fd → its ops. The handlers (wasi_fd.c, wasi_io.c,
 * wasi_poll.c) check numbers, rights and guest memory; the kinds (wasi_host_fd.c, wasi_host_io.c)
 * do the work. A kind knows nothing of the guest's ABI: it returns host errnos, and bounds nothing
 * that the handlers have checked. None of this locks: a table belongs to one sandbox, and one
 * thread at a time runs that.
 */
#ifndef HOST_WASI_FD_H
#define HOST_WASI_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#define WASI_STREAMS 3       /* standard input, output and error */
#define WASI_FDS_MAX 1024    /* numbers of a guest: 40 KiB; the usual RLIMIT_NOFILE of a process */
#define WASI_IOVECS_MAX 1024 /* wasi-libc's IOV_MAX; more is EINVAL, as in POSIX */
#define WASI_NO_OFFSET UINT64_MAX

struct wasi_call;
struct wasi_fd;

/* One read or write. A kind moves `first`, the vectors and `offset` on as it goes. */
struct wasi_transfer {
    const struct wasi_call *call;
    struct wasi_fd *fd;
    bool is_write;
    /* of the next byte, below 2^63; WASI_NO_OFFSET: at the descriptor's position */
    uint64_t offset;
    uint64_t total;                     /* bytes of all vectors: at most WASI_TRANSFER_MAX_BYTES */
    int first, count;                   /* vecs[first] is the next one */
    struct iovec vecs[WASI_IOVECS_MAX]; /* guest memory, checked; none is empty */
};

/*
 * What a kind of descriptor can do. Returns are by the kernel's conventions: -errno on failure.
 * -EINTR, with nothing done: the call is to be cut off. Whatever can wait for the world waits in
 * wasi_syscall() or wasi_wait(). NULL: descriptors of this kind never have the right that leads
 * here; for close(): there is nothing to give back.
 */
struct wasi_fd_ops {
    /* Returns the count of bytes; a short one if something stopped the transfer later. */
    long (*transfer)(struct wasi_transfer *transfer);
    /* whence: SEEK_SET, … of the host. Returns the position. */
    int64_t (*seek)(struct wasi_fd *fd, int64_t offset, int whence);
    /* Do writes go to the end, whatever the position? */
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
    /* The host descriptor to wait on, and how many bytes can be read at once if that is ready. */
    int (*poll_fd)(const struct wasi_fd *fd);
    uint64_t (*readable_bytes)(const struct wasi_fd *fd);
    void (*close)(struct wasi_fd *fd);
};

/* One guest descriptor. All zeros: closed. */
struct wasi_fd {
    const struct wasi_fd_ops *ops; /* NULL: closed */
    int host_fd;      /* borrowed: never closed, and its file status flags never changed */
    uint16_t flags;   /* WASI_FDFLAG_NONBLOCK, the only one that the guest can set */
    uint8_t filetype; /* as the guest sees it */
    uint8_t stream;   /* which of the configuration's streams it is, under whatever number */
    uint64_t rights;
    uint64_t kept;    /* all ones, less the rights that the guest gave up */
    bool is_seekable; /* and the guest may know */
};

/* ---- wasi_fds.c: the table ---- */

/* Descriptors by number. All zeros: no descriptor, no room. Growing moves the rows. */
struct wasi_fds {
    struct wasi_fd *rows;
    uint32_t count;    /* numbers from here on are closed */
    uint32_t capacity; /* rows that there is room for */
};

/* Closes all and frees the room. */
void wasi_fds_done(struct wasi_fds *fds);
/* Closes all; the room stays. */
void wasi_fds_clear(struct wasi_fds *fds);
/* Room for the numbers below `count`. Returns 0, -EMFILE beyond WASI_FDS_MAX, or -ENOMEM:
 * unchanged. */
int wasi_fds_reserve(struct wasi_fds *fds, uint32_t count);
/* The open descriptor of this number, until the table grows; or NULL. */
struct wasi_fd *wasi_fds_at(const struct wasi_fds *fds, uint32_t number);
/* Opens `fd` (copied) under a number that there is room for and that is not open. */
void wasi_fds_put(struct wasi_fds *fds, uint32_t number, const struct wasi_fd *fd);
/* Opens `fd` (copied) under the lowest free number. Returns the number, -EMFILE or -ENOMEM. */
int wasi_fds_add(struct wasi_fds *fds, const struct wasi_fd *fd);
/* Closes an open one. */
void wasi_fds_close(struct wasi_fds *fds, uint32_t number);
/* Gives an open one the number of another open one, which is closed. */
void wasi_fds_move(struct wasi_fds *fds, uint32_t from, uint32_t to);

/* ---- wasi_host_fd.c: descriptors of the host, which the embedder gives ---- */

/* Examines `host_fd`, which is borrowed. given: HUSK_WASI_… of husk_wasi_options. One that is -1,
 * has no rights or cannot be examined is closed to the guest. */
void wasi_host_fd_init(struct wasi_fd *fd, uint8_t stream, int host_fd, uint32_t given);

/* ---- wasi_host_io.c: wasi_fd_ops.transfer of each kind ---- */
long wasi_file_transfer(struct wasi_transfer *transfer);
long wasi_stream_transfer(struct wasi_transfer *transfer);
long wasi_socket_transfer(struct wasi_transfer *transfer);

#endif
