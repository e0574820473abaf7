/*
 * host/wasi/wasi_fd.h: a guest's descriptors: one descriptor, the operations of each kind, and the
 * table of numbers.
 *
 * Flow: number → wasi_fds_at() → struct wasi_fd → its ops. The handlers (wasi_fd.c, wasi_io.c,
 * wasi_path.c, wasi_poll.c) check numbers, rights and guest memory; the kinds do the work: streams
 * (wasi_host_fd.c, wasi_host_io.c), files and directories of the host (wasi_hostfile.c,
 * wasi_hostdir.c), and those of a private layer (wasi_privdir.c). A kind does not know the guest's
 * ABI: it returns host errnos, and relies on the checks of the handlers. There are no locks: a
 * table belongs to one sandbox, which one thread at a time runs.
 */
#ifndef HOST_WASI_FD_H
#define HOST_WASI_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#define WASI_STREAMS 3        /* standard input, output and error */
#define WASI_FDS_MAX 65536    /* numbers of a guest, at most: 8 MiB */
#define WASI_FDS_DEFAULT 1024 /* where the embedder sets no limit: RLIMIT_NOFILE's usual value */
#define WASI_IOVECS_MAX 1024  /* wasi-libc's IOV_MAX; more is EINVAL, as in POSIX */
#define WASI_NO_OFFSET UINT64_MAX

struct buf;
struct husk_error;
struct wasi_call;
struct wasi_ctx;
struct wasi_dir_ops;
struct wasi_fd;
struct wasi_privfile; /* wasi_privdir.c */
struct wasi_sock_ops;
struct wasi_stream;

/* One read or write. A kind advances `first`, the vectors and `offset` during the transfer. */
struct wasi_transfer {
    struct wasi_call *call;
    struct wasi_fd *fd;
    bool is_write;
    bool is_peek, is_all; /* of a socket: leave what is read; read until all is there */
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
    int64_t (*seek)(const struct wasi_call *call, struct wasi_fd *fd, int64_t offset, int whence);
    /* A stream: does the open file behind it always write at its end? NULL: `flags` tell. */
    bool (*is_append)(const struct wasi_fd *fd);
    /* Change WASI_FDFLAG_…, APPEND and NONBLOCK only. NULL: only NONBLOCK can change. The caller
     * sets fd->flags. */
    int (*set_flags)(const struct wasi_fd *fd, uint16_t flags);
    int (*stat)(const struct wasi_call *call, const struct wasi_fd *fd, struct stat *ret_stat);
    int (*set_times)(const struct wasi_call *call, const struct wasi_fd *fd,
                     const struct timespec times[2]);
    int (*resize)(const struct wasi_call *call, const struct wasi_fd *fd, int64_t bytes);
    int (*allocate)(const struct wasi_call *call, const struct wasi_fd *fd, int64_t offset,
                    int64_t bytes);
    /* advice: POSIX_FADV_… */
    int (*advise)(const struct wasi_fd *fd, int64_t offset, int64_t bytes, int advice);
    int (*sync)(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only);
    /* The host descriptor to wait for, NULL: it is always ready; and the number of bytes that can
     * be read at once when it is ready, NULL: not known. */
    int (*poll_fd)(const struct wasi_fd *fd);
    uint64_t (*readable_bytes)(const struct wasi_call *call, const struct wasi_fd *fd);
    /* The running guest closes it: give back what its private layer holds for it. close() follows.
     * NULL: nothing. */
    void (*release)(const struct wasi_call *call, struct wasi_fd *fd);
    /* Free what it owns in this process; a private layer is not touched. */
    void (*close)(struct wasi_fd *fd);
    /* A directory: what paths do there. NULL: not a directory. */
    const struct wasi_dir_ops *dir;
    /* A listener or a connection: what sock_… do. NULL: neither. */
    const struct wasi_sock_ops *sock;

    /* ---- Snapshots (wasi_state.c) ---- */
    uint16_t saved_kind; /* enum wasi_saved_kind */
    /* Append what only this kind knows. NULL: nothing. An error, by name: it cannot be saved. */
    int (*save)(const struct wasi_ctx *ctx, const struct wasi_fd *fd, struct buf *body,
                struct husk_error *err);
    /* A restore asks of a descriptor with the saved serial: is this body what save() would append
     * now? Then it stays open. NULL: yes. */
    bool (*is_as_saved)(const struct wasi_fd *fd, const uint8_t *body, uint32_t body_bytes);
    /* The position of a file, and setting it again, without a look at the file. NULL: it has none.
     * Setting cannot fail for a position that was saved. */
    uint64_t (*position)(const struct wasi_fd *fd);
    void (*set_position)(struct wasi_fd *fd, uint64_t position);
};

/* The operations of sockets. They return -errno, as above. */
struct wasi_sock_ops {
    /* Fills the descriptor of a connection: ops, filetype, what it owns. ret_connection is all
     * zeros before. NULL: not a listener. */
    int (*accept)(const struct wasi_call *call, const struct wasi_fd *listener,
                  struct wasi_fd *ret_connection);
    /* how: SHUT_RD, … of the host. NULL: not a connection. */
    int (*shutdown)(const struct wasi_fd *fd, int how);
};

/* One guest descriptor. All zeros: closed. */
struct wasi_fd {
    const struct wasi_fd_ops *ops; /* NULL: closed */
    /* A stream, a preopened directory or a listener: borrowed, and its file status flags never
     * change. Another file or directory of the host, or a connection: its own. */
    int host_fd;
    uint16_t flags;   /* WASI_FDFLAG_… that the guest set */
    uint8_t filetype; /* as the guest sees it */
    uint8_t stream;   /* a stream: index in the configuration's streams, not the number */
    uint16_t dir;     /* else: index in the configuration's directories, where it was opened, or
                       * of a listener in the configuration's listeners */
    bool is_preopen;  /* a directory that the embedder gave */
    bool is_seekable; /* it can seek, and the guest has the right to */
    /* What the guest may do here, and with what it opens here; both are granted & kept. */
    uint64_t rights, inheriting;
    uint64_t granted, granted_inheriting; /* all that it can have */
    /* All ones, except the rights that the guest gave up or did not ask for. */
    uint64_t kept, kept_inheriting;
    /* Which opening this is: no other one has it, in no process. 0, 0: a stream, a preopened
     * directory or a listener. A restore leaves open what has the saved serial. */
    uint64_t serial[2];
    struct wasi_privfile *privfile; /* owned; NULL except in private directories */
    struct wasi_stream *given;      /* a stream: in the context of the sandbox */
};

/* Of a number under which a standard stream belongs, while the embedder gives none. The guest sees
 * a closed descriptor. The row keeps what the guest gave up, for the stream that may be given
 * later. */
extern const struct wasi_fd_ops wasi_vacant_ops;

/* ---- wasi_fds.c: the table ---- */

/* Descriptors by number. All zeros: no descriptor, no room, limit WASI_FDS_MAX. Growing moves the
 * rows. */
struct wasi_fds {
    struct wasi_fd *rows;
    uint64_t *used;    /* a bit a row: it is open */
    uint32_t count;    /* numbers from here on are closed */
    uint32_t capacity; /* rows that there is room for; a multiple of 64 */
    uint32_t limit;    /* numbers from here on cannot be opened; 0: WASI_FDS_MAX */
    uint32_t full;     /* words of `used` below this one are all ones */
};

/* Close all descriptors and free the table. */
void wasi_fds_done(struct wasi_fds *fds);
/* Close all descriptors. The table keeps its room. */
void wasi_fds_clear(struct wasi_fds *fds);
/* Make room for the numbers below `count`. Returns 0. On failure the table is unchanged: -EMFILE
 * beyond the limit, or -ENOMEM. */
int wasi_fds_reserve(struct wasi_fds *fds, uint32_t count);
/* The open descriptor with this number, or NULL. The pointer is valid until the table grows. */
struct wasi_fd *wasi_fds_at(const struct wasi_fds *fds, uint32_t number);
/* Open `fd` (copied) under a number that is not open. The table must have room for it. */
void wasi_fds_put(struct wasi_fds *fds, uint32_t number, const struct wasi_fd *fd);
/* Open `fd` (copied) under the lowest free number. Returns the number, -EMFILE or -ENOMEM. */
int wasi_fds_add(struct wasi_fds *fds, const struct wasi_fd *fd);
/* Make room for one more descriptor. Returns the number that wasi_fds_add() will give it, -EMFILE
 * or -ENOMEM. */
int wasi_fds_prepare(struct wasi_fds *fds);
/* Close an open descriptor. */
void wasi_fds_close(struct wasi_fds *fds, uint32_t number);
/* Close the open descriptor `to`, and give its number to the open descriptor `from`. */
void wasi_fds_move(struct wasi_fds *fds, uint32_t from, uint32_t to);
/* Take an open descriptor out of the table without closing it. */
struct wasi_fd wasi_fds_take(struct wasi_fds *fds, uint32_t number);

/* Of these rights, the guest keeps those that it was granted. */
static inline void wasi_fd_keep(struct wasi_fd *fd, uint64_t kept, uint64_t kept_inheriting) {
    fd->kept = kept;
    fd->kept_inheriting = kept_inheriting;
    fd->rights = fd->granted & kept;
    fd->inheriting = fd->granted_inheriting & kept_inheriting;
}

/* The rights of a descriptor that is being opened: all that it can have. It gave up none yet. */
static inline void wasi_fd_grant(struct wasi_fd *fd, uint64_t rights, uint64_t inheriting) {
    fd->granted = rights;
    fd->granted_inheriting = inheriting;
    wasi_fd_keep(fd, UINT64_MAX, UINT64_MAX);
}

/* ---- wasi_host_fd.c: descriptors of the host, which the embedder gives ---- */

/* Examine `host_fd`, which is borrowed. given: HUSK_WASI_… of husk_wasi_options. The guest sees a
 * closed descriptor if host_fd is -1, has no rights or cannot be examined. */
void wasi_host_fd_init(struct wasi_fd *fd, uint8_t stream, int host_fd, uint32_t given);

/* Operations of descriptors that have a host descriptor, for the ops of all such kinds. */
int64_t wasi_host_seek(const struct wasi_call *call, struct wasi_fd *fd, int64_t offset,
                       int whence);
int wasi_host_stat(const struct wasi_call *call, const struct wasi_fd *fd, struct stat *ret_stat);
int wasi_host_set_times(const struct wasi_call *call, const struct wasi_fd *fd,
                        const struct timespec times[2]);
int wasi_host_resize(const struct wasi_call *call, const struct wasi_fd *fd, int64_t bytes);
int wasi_host_allocate(const struct wasi_call *call, const struct wasi_fd *fd, int64_t offset,
                       int64_t bytes);
int wasi_host_advise(const struct wasi_fd *fd, int64_t offset, int64_t bytes, int advice);
int wasi_host_sync(const struct wasi_call *call, const struct wasi_fd *fd, bool is_data_only);
int wasi_host_poll_fd(const struct wasi_fd *fd);
uint64_t wasi_host_readable_bytes(const struct wasi_call *call, const struct wasi_fd *fd);

/* ---- wasi_host_io.c: wasi_fd_ops.transfer of each kind ---- */
long wasi_file_transfer(struct wasi_transfer *transfer);
long wasi_stream_transfer(struct wasi_transfer *transfer);
long wasi_socket_transfer(struct wasi_transfer *transfer);

#endif
