/*
 * host/image/image_fd.c: the kinds of files that an image can be in: anonymous ones, which the
 * library makes and seals, and those of others whose bytes cannot change, so that they are mapped
 * and not copied:
 *
 *   a memfd that is sealed against writing and shrinking;
 *   a file with fs-verity, on a local file system whose kernel driver keeps that promise. The
 *   kernel lets nobody open it for writing or cut it, whatever the user; what a disk has lost of it
 *   ends the process when it is touched (SIGBUS), as with a program's own file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "error.h"
#include "image_internal.h"

#define SEALS_NEEDED (F_SEAL_WRITE | F_SEAL_SHRINK)
#define SEALS_SHARED (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int image_file_memfd(int *ret_fd, struct husk_error *err) {
    int fd = memfd_create("husk-image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return error_sys(err, errno,
                         "cannot make an anonymous file for an image (images and snapshots keep "
                         "one or more descriptors open; `ulimit -n` is the limit)");
    *ret_fd = fd;
    return 0;
}

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* Nobody has mapped it or holds its pages. So the seal against future writes, of Linux 5.1, does as
 * well as the one that looks at every page for that. Whoever shares it adds that one. */
int image_fd_seal(int fd, struct husk_error *err) {
    const int others = F_SEAL_SHRINK | F_SEAL_GROW;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | others) != 0 &&
        (errno != EINVAL || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | others) != 0))
        return error_sys(err, errno, "cannot seal the copy of the image");
    return 0;
}

bool image_fd_is_in_memory(int fd) {
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* And of ordinary pages: one of huge pages (hugetlbfs) can be sealed, too, and a write to a private
 * mapping of it be a SIGBUS where there are no more of them. */
static bool is_sealed(int fd) {
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & SEALS_NEEDED) == SEALS_NEEDED && image_fd_is_in_memory(fd);
}

#ifndef STATX_ATTR_VERITY
#define STATX_ATTR_VERITY 0x00100000
#endif
#define EXT4_MAGIC 0xef53
#define F2FS_MAGIC 0xf2f52010
#define BTRFS_MAGIC 0x9123683e

static bool is_verity(int fd) {
    struct statx stx;
    struct statfs fs;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) != 0 ||
        (stx.stx_attributes & STATX_ATTR_VERITY) == 0 || fstatfs(fd, &fs) != 0)
        return false;
    const uint64_t kind = (uint64_t)fs.f_type & UINT32_MAX;
    return kind == EXT4_MAGIC || kind == F2FS_MAGIC || kind == BTRFS_MAGIC;
}

bool image_fd_is_fixed(int fd) {
    return is_sealed(fd) || is_verity(fd);
}

int image_fd_reopen(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDONLY | O_CLOEXEC);
    return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int image_fd_seal_to_share(int fd) {
    if (is_sealed(fd) || fcntl(fd, F_ADD_SEALS, SEALS_SHARED) == 0)
        return 0;
    return is_sealed(fd) ? 0 : -1; /* another thread was faster */
}
