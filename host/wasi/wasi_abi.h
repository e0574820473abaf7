/*
 * host/wasi/wasi_abi.h: numbers and layouts of WASI preview 1, from the standard's witx files:
 * phases/snapshot/witx ("wasi_snapshot_preview1") and phases/old/snapshot_0/witx ("wasi_unstable").
 * Structures are given as offsets, because guest memory is read and written byte by byte.
 */
#ifndef HOST_WASI_ABI_H
#define HOST_WASI_ABI_H

/* errno (u16): WASI_ERRNO(name, number). */
#define WASI_ERRNO_LIST(WASI_ERRNO)                                                                \
    WASI_ERRNO(2BIG, 1)                                                                            \
    WASI_ERRNO(ACCES, 2)                                                                           \
    WASI_ERRNO(ADDRINUSE, 3)                                                                       \
    WASI_ERRNO(ADDRNOTAVAIL, 4)                                                                    \
    WASI_ERRNO(AFNOSUPPORT, 5)                                                                     \
    WASI_ERRNO(AGAIN, 6)                                                                           \
    WASI_ERRNO(ALREADY, 7)                                                                         \
    WASI_ERRNO(BADF, 8)                                                                            \
    WASI_ERRNO(BADMSG, 9)                                                                          \
    WASI_ERRNO(BUSY, 10)                                                                           \
    WASI_ERRNO(CANCELED, 11)                                                                       \
    WASI_ERRNO(CHILD, 12)                                                                          \
    WASI_ERRNO(CONNABORTED, 13)                                                                    \
    WASI_ERRNO(CONNREFUSED, 14)                                                                    \
    WASI_ERRNO(CONNRESET, 15)                                                                      \
    WASI_ERRNO(DEADLK, 16)                                                                         \
    WASI_ERRNO(DESTADDRREQ, 17)                                                                    \
    WASI_ERRNO(DOM, 18)                                                                            \
    WASI_ERRNO(DQUOT, 19)                                                                          \
    WASI_ERRNO(EXIST, 20)                                                                          \
    WASI_ERRNO(FAULT, 21)                                                                          \
    WASI_ERRNO(FBIG, 22)                                                                           \
    WASI_ERRNO(HOSTUNREACH, 23)                                                                    \
    WASI_ERRNO(IDRM, 24)                                                                           \
    WASI_ERRNO(ILSEQ, 25)                                                                          \
    WASI_ERRNO(INPROGRESS, 26)                                                                     \
    WASI_ERRNO(INTR, 27)                                                                           \
    WASI_ERRNO(INVAL, 28)                                                                          \
    WASI_ERRNO(IO, 29)                                                                             \
    WASI_ERRNO(ISCONN, 30)                                                                         \
    WASI_ERRNO(ISDIR, 31)                                                                          \
    WASI_ERRNO(LOOP, 32)                                                                           \
    WASI_ERRNO(MFILE, 33)                                                                          \
    WASI_ERRNO(MLINK, 34)                                                                          \
    WASI_ERRNO(MSGSIZE, 35)                                                                        \
    WASI_ERRNO(MULTIHOP, 36)                                                                       \
    WASI_ERRNO(NAMETOOLONG, 37)                                                                    \
    WASI_ERRNO(NETDOWN, 38)                                                                        \
    WASI_ERRNO(NETRESET, 39)                                                                       \
    WASI_ERRNO(NETUNREACH, 40)                                                                     \
    WASI_ERRNO(NFILE, 41)                                                                          \
    WASI_ERRNO(NOBUFS, 42)                                                                         \
    WASI_ERRNO(NODEV, 43)                                                                          \
    WASI_ERRNO(NOENT, 44)                                                                          \
    WASI_ERRNO(NOEXEC, 45)                                                                         \
    WASI_ERRNO(NOLCK, 46)                                                                          \
    WASI_ERRNO(NOLINK, 47)                                                                         \
    WASI_ERRNO(NOMEM, 48)                                                                          \
    WASI_ERRNO(NOMSG, 49)                                                                          \
    WASI_ERRNO(NOPROTOOPT, 50)                                                                     \
    WASI_ERRNO(NOSPC, 51)                                                                          \
    WASI_ERRNO(NOSYS, 52)                                                                          \
    WASI_ERRNO(NOTCONN, 53)                                                                        \
    WASI_ERRNO(NOTDIR, 54)                                                                         \
    WASI_ERRNO(NOTEMPTY, 55)                                                                       \
    WASI_ERRNO(NOTRECOVERABLE, 56)                                                                 \
    WASI_ERRNO(NOTSOCK, 57)                                                                        \
    WASI_ERRNO(NOTSUP, 58)                                                                         \
    WASI_ERRNO(NOTTY, 59)                                                                          \
    WASI_ERRNO(NXIO, 60)                                                                           \
    WASI_ERRNO(OVERFLOW, 61)                                                                       \
    WASI_ERRNO(OWNERDEAD, 62)                                                                      \
    WASI_ERRNO(PERM, 63)                                                                           \
    WASI_ERRNO(PIPE, 64)                                                                           \
    WASI_ERRNO(PROTO, 65)                                                                          \
    WASI_ERRNO(PROTONOSUPPORT, 66)                                                                 \
    WASI_ERRNO(PROTOTYPE, 67)                                                                      \
    WASI_ERRNO(RANGE, 68)                                                                          \
    WASI_ERRNO(ROFS, 69)                                                                           \
    WASI_ERRNO(SPIPE, 70)                                                                          \
    WASI_ERRNO(SRCH, 71)                                                                           \
    WASI_ERRNO(STALE, 72)                                                                          \
    WASI_ERRNO(TIMEDOUT, 73)                                                                       \
    WASI_ERRNO(TXTBSY, 74)                                                                         \
    WASI_ERRNO(XDEV, 75)

enum wasi_errno {
    WASI_SUCCESS = 0,
#define WASI_ERRNO_ENUM(name, number) WASI_E##name = (number),
    WASI_ERRNO_LIST(WASI_ERRNO_ENUM)
#undef WASI_ERRNO_ENUM
        WASI_ENOTCAPABLE = 76 /* not in POSIX: the descriptor lacks a right */
};

enum wasi_clock {
    WASI_CLOCK_REALTIME,
    WASI_CLOCK_MONOTONIC,
    WASI_CLOCK_PROCESS_CPUTIME,
    WASI_CLOCK_THREAD_CPUTIME
};

enum wasi_filetype {
    WASI_FILETYPE_UNKNOWN,
    WASI_FILETYPE_BLOCK_DEVICE,
    WASI_FILETYPE_CHARACTER_DEVICE,
    WASI_FILETYPE_DIRECTORY,
    WASI_FILETYPE_REGULAR_FILE,
    WASI_FILETYPE_SOCKET_DGRAM,
    WASI_FILETYPE_SOCKET_STREAM,
    WASI_FILETYPE_SYMBOLIC_LINK
};

#define WASI_FDFLAG_APPEND 1u
#define WASI_FDFLAG_DSYNC 2u
#define WASI_FDFLAG_NONBLOCK 4u
#define WASI_FDFLAG_RSYNC 8u
#define WASI_FDFLAG_SYNC 16u
#define WASI_FDFLAGS_ALL 31u

/* oflags, of path_open */
#define WASI_OFLAG_CREAT 1u
#define WASI_OFLAG_DIRECTORY 2u
#define WASI_OFLAG_EXCL 4u
#define WASI_OFLAG_TRUNC 8u
#define WASI_OFLAGS_ALL 15u

#define WASI_LOOKUP_SYMLINK_FOLLOW 1u

#define WASI_PREOPENTYPE_DIR 0
/* prestat { tag u8, name_bytes u32 @4 } */
#define WASI_PRESTAT_BYTES 8
/* dirent { next u64, ino u64 @8, name_bytes u32 @16, filetype u8 @20 }, then the name */
#define WASI_DIRENT_BYTES 24

/* rights (u64) */
#define WASI_RIGHT_FD_DATASYNC (1ull << 0)
#define WASI_RIGHT_FD_READ (1ull << 1)
#define WASI_RIGHT_FD_SEEK (1ull << 2)
#define WASI_RIGHT_FD_FDSTAT_SET_FLAGS (1ull << 3)
#define WASI_RIGHT_FD_SYNC (1ull << 4)
#define WASI_RIGHT_FD_TELL (1ull << 5)
#define WASI_RIGHT_FD_WRITE (1ull << 6)
#define WASI_RIGHT_FD_ADVISE (1ull << 7)
#define WASI_RIGHT_FD_ALLOCATE (1ull << 8)
#define WASI_RIGHT_PATH_CREATE_DIRECTORY (1ull << 9)
#define WASI_RIGHT_PATH_CREATE_FILE (1ull << 10)
#define WASI_RIGHT_PATH_LINK_SOURCE (1ull << 11)
#define WASI_RIGHT_PATH_LINK_TARGET (1ull << 12)
#define WASI_RIGHT_PATH_OPEN (1ull << 13)
#define WASI_RIGHT_FD_READDIR (1ull << 14)
#define WASI_RIGHT_PATH_READLINK (1ull << 15)
#define WASI_RIGHT_PATH_RENAME_SOURCE (1ull << 16)
#define WASI_RIGHT_PATH_RENAME_TARGET (1ull << 17)
#define WASI_RIGHT_PATH_FILESTAT_GET (1ull << 18)
#define WASI_RIGHT_PATH_FILESTAT_SET_SIZE (1ull << 19)
#define WASI_RIGHT_PATH_FILESTAT_SET_TIMES (1ull << 20)
#define WASI_RIGHT_FD_FILESTAT_GET (1ull << 21)
#define WASI_RIGHT_FD_FILESTAT_SET_SIZE (1ull << 22)
#define WASI_RIGHT_FD_FILESTAT_SET_TIMES (1ull << 23)
#define WASI_RIGHT_PATH_SYMLINK (1ull << 24)
#define WASI_RIGHT_PATH_REMOVE_DIRECTORY (1ull << 25)
#define WASI_RIGHT_PATH_UNLINK_FILE (1ull << 26)
#define WASI_RIGHT_POLL_FD_READWRITE (1ull << 27)
#define WASI_RIGHT_SOCK_SHUTDOWN (1ull << 28)
#define WASI_RIGHT_SOCK_ACCEPT (1ull << 29)

/* Those that a file or a directory can have, … */
#define WASI_RIGHTS_FILE                                                                           \
    (WASI_RIGHT_FD_DATASYNC | WASI_RIGHT_FD_READ | WASI_RIGHT_FD_SEEK |                            \
     WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_TELL |                    \
     WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ADVISE | WASI_RIGHT_FD_ALLOCATE |                         \
     WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHT_FD_FILESTAT_SET_SIZE |                                \
     WASI_RIGHT_FD_FILESTAT_SET_TIMES | WASI_RIGHT_POLL_FD_READWRITE)
#define WASI_RIGHTS_DIR                                                                            \
    (WASI_RIGHT_FD_FDSTAT_SET_FLAGS | WASI_RIGHT_FD_SYNC | WASI_RIGHT_FD_DATASYNC |                \
     WASI_RIGHT_FD_READDIR | WASI_RIGHT_PATH_OPEN | WASI_RIGHT_PATH_READLINK |                     \
     WASI_RIGHT_PATH_FILESTAT_GET | WASI_RIGHT_FD_FILESTAT_GET | WASI_RIGHTS_PATH_CHANGE |         \
     WASI_RIGHT_FD_FILESTAT_SET_TIMES)
/* … and of these, those to change something by a path or by a descriptor. */
#define WASI_RIGHTS_PATH_CHANGE                                                                    \
    (WASI_RIGHT_PATH_CREATE_DIRECTORY | WASI_RIGHT_PATH_CREATE_FILE |                              \
     WASI_RIGHT_PATH_LINK_SOURCE | WASI_RIGHT_PATH_LINK_TARGET | WASI_RIGHT_PATH_RENAME_SOURCE |   \
     WASI_RIGHT_PATH_RENAME_TARGET | WASI_RIGHT_PATH_FILESTAT_SET_SIZE |                           \
     WASI_RIGHT_PATH_FILESTAT_SET_TIMES | WASI_RIGHT_PATH_SYMLINK |                                \
     WASI_RIGHT_PATH_REMOVE_DIRECTORY | WASI_RIGHT_PATH_UNLINK_FILE)
#define WASI_RIGHTS_FD_CHANGE                                                                      \
    (WASI_RIGHT_FD_WRITE | WASI_RIGHT_FD_ALLOCATE | WASI_RIGHT_FD_FILESTAT_SET_SIZE |              \
     WASI_RIGHT_FD_FILESTAT_SET_TIMES)

#define WASI_FSTFLAG_ATIM 1u
#define WASI_FSTFLAG_ATIM_NOW 2u
#define WASI_FSTFLAG_MTIM 4u
#define WASI_FSTFLAG_MTIM_NOW 8u
#define WASI_FSTFLAGS_ALL 15u

/* of sock_recv, and of sock_shutdown */
#define WASI_RIFLAG_PEEK 1u
#define WASI_RIFLAG_WAITALL 2u
#define WASI_RIFLAGS_ALL 3u
#define WASI_SDFLAG_RD 1u
#define WASI_SDFLAG_WR 2u
#define WASI_SDFLAGS_ALL 3u

#define WASI_EVENT_CLOCK 0
#define WASI_EVENT_FD_READ 1
#define WASI_EVENT_FD_WRITE 2
#define WASI_EVENT_HANGUP 1u
#define WASI_SUBCLOCK_ABSTIME 1u

/* iovec, ciovec { buf u32, buf_len u32 } */
#define WASI_IOVEC_BYTES 8

/* fdstat { filetype u8, flags u16 @2, rights_base u64 @8, rights_inheriting u64 @16 } */
#define WASI_FDSTAT_BYTES 24

/* filestat { dev u64, ino u64 @8, filetype u8 @16, nlink u64 @24, size @32, atim @40, mtim @48,
 * ctim @56 }; wasi_unstable: nlink u32 @20, size @24, atim @32, mtim @40, ctim @48 */
#define WASI_FILESTAT_BYTES 64
#define WASI_FILESTAT0_BYTES 56

/* event { userdata u64, error u16 @8, type u8 @10, nbytes u64 @16, flags u16 @24 } */
#define WASI_EVENT_BYTES 32

/* subscription { userdata u64, tag u8 @8, union @16 }; union: fd u32 @16, or clock { id u32 @16,
 * timeout u64 @24, precision u64 @32, flags u16 @40 }; wasi_unstable: clock { identifier u64 @16,
 * id u32 @24, timeout u64 @32, precision u64 @40, flags u16 @48 } */
#define WASI_SUBSCRIPTION_BYTES 48
#define WASI_SUBSCRIPTION0_BYTES 56

#endif
