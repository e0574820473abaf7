/*
 * base/file.c: reads whole files with a limit, and replaces files atomically and durably. Used for
 * wasm input, images and the cache.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"
#include "signal_guard.h"

static int too_large(const char *name, size_t limit, struct husk_error *err) {
    return error_set(err, HUSK_E_LIMIT, "%s is larger than the limit of %zu bytes", name, limit);
}

int file_read_fd(int fd, const char *name, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
                 struct husk_error *err) {
    struct stat st;
    size_t capacity = 65536, count = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        if ((uint64_t)st.st_size > limit)
            return too_large(name, limit, err);
        capacity = (size_t)st.st_size + 1;
    }
    auto_free uint8_t *bytes = malloc(capacity + 1);
    if (bytes == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to read %s (%zu bytes)", name, capacity);
    for (;;) {
        ssize_t got = read(fd, bytes + count, capacity - count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_sys(err, errno, "cannot read %s", name);
        count += (size_t)got;
        if (count > limit)
            return too_large(name, limit, err);
        if (got == 0)
            break;
        if (count == capacity) {
            uint8_t *more = realloc(bytes, 2 * capacity + 1);
            if (more == NULL)
                return error_set(err, HUSK_E_NOMEM, "no memory to read %s (%zu bytes)", name,
                                 2 * capacity);
            bytes = more;
            capacity *= 2;
        }
    }
    bytes[count] = 0;
    *ret_bytes = take_pointer(&bytes);
    *ret_count = count;
    return 0;
}

int file_read(const char *path, size_t limit, uint8_t **ret_bytes, size_t *ret_count,
              struct husk_error *err) {
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno, "cannot open %s", path);
    return file_read_fd(fd, path, limit, ret_bytes, ret_count, err);
}

/* What is left of `vecs` after `count` bytes of them; returns how many. */
static size_t vecs_advance(struct iovec **vecs, size_t vecs_count, size_t count) {
    while (vecs_count > 0 && count >= (*vecs)->iov_len) {
        count -= (*vecs)->iov_len;
        ++*vecs;
        vecs_count--;
    }
    if (vecs_count > 0) {
        (*vecs)->iov_base = (uint8_t *)(*vecs)->iov_base + count;
        (*vecs)->iov_len -= count;
    }
    return vecs_count;
}

static int write_vecs(int fd, struct iovec *vecs, size_t count) {
    /* without empty ones there is always something to write */
    count = vecs_advance(&vecs, count, 0);
    while (count > 0) {
        ssize_t wrote = writev(fd, vecs, count < IOV_MAX ? (int)count : IOV_MAX);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            if (wrote == 0)
                errno = EIO;
            return -1;
        }
        count = vecs_advance(&vecs, count, (size_t)wrote);
    }
    return 0;
}

int file_write_vecs(int fd, struct iovec *vecs, size_t count) {
    struct signal_guard guard;
    signal_guard_begin(&guard);
    int rc = write_vecs(fd, vecs, count);
    signal_guard_end(&guard, rc != 0 ? errno : 0);
    return rc;
}

int file_write_all(int fd, const void *bytes, size_t count) {
    struct iovec vec = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = count};
    return file_write_vecs(fd, &vec, 1);
}

int file_write_at(int fd, uint64_t offset, const void *bytes, size_t count) {
    return lseek(fd, (off_t)offset, SEEK_SET) < 0 ? -1 : file_write_all(fd, bytes, count);
}

int file_set_size(int fd, uint64_t bytes) {
    struct signal_guard guard;
    int rc;
    signal_guard_begin(&guard);
    do
        rc = ftruncate(fd, (off_t)bytes);
    while (rc != 0 && errno == EINTR);
    signal_guard_end(&guard, rc != 0 ? errno : 0);
    return rc;
}

/* sendfile() over EINTR. */
static ssize_t send_range(int fd, int src_fd, off_t *offset, size_t count) {
    struct signal_guard guard;
    ssize_t sent;
    signal_guard_begin(&guard);
    do
        sent = sendfile(fd, src_fd, offset, count);
    while (sent < 0 && errno == EINTR);
    signal_guard_end(&guard, sent < 0 ? errno : 0);
    return sent;
}

/* Copy [from, to) of src_fd to the same place of fd. */
static int copy_range(int src_fd, int fd, off_t from, off_t to) {
    if (lseek(fd, from, SEEK_SET) < 0)
        return -1;
    while (from < to) {
        ssize_t sent = send_range(fd, src_fd, &from, (size_t)(to - from));
        if (sent <= 0) {
            if (sent == 0)
                errno = EIO; /* the source is shorter than it said */
            return -1;
        }
    }
    return 0;
}

int file_copy_data(int src_fd, int fd, uint64_t bytes) {
    const off_t end = (off_t)bytes;
    if (file_set_size(fd, bytes) != 0)
        return -1;
    for (off_t pos = 0, hole; pos < end; pos = hole) {
        off_t data = lseek(src_fd, pos, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return 0; /* only a hole is left */
        if (data < 0)
            data = pos; /* a file system without SEEK_DATA */
        if (data >= end)
            return 0;
        hole = lseek(src_fd, data, SEEK_HOLE);
        if (hole <= data || hole > end)
            hole = end;
        if (copy_range(src_fd, fd, data, hole) != 0)
            return -1;
    }
    return 0;
}

/* The last part of a path; what is before it is the folder, with its slash. */
static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static char *folder_of(const char *path) {
    const size_t bytes = (size_t)(base_of(path) - path);
    char *folder = malloc(bytes + 2);
    if (folder != NULL)
        snprintf(folder, bytes + 2, "%.*s", bytes == 0 ? 1 : (int)bytes, bytes == 0 ? "." : path);
    return folder;
}

/* What is not a regular file would be lost: rename() puts a file in the place of a device or of a
 * symbolic link (/dev/null, /dev/stdout), and says nothing. ret_mode: the permissions that are
 * there now, or 0. */
static int check_target(const char *path, mode_t *ret_mode, struct husk_error *err) {
    struct stat st;
    *ret_mode = 0;
    if (*base_of(path) == '\0')
        return error_set(err, HUSK_E_INVAL, "\"%s\" does not name a file", path);
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : error_sys(err, errno, "cannot replace %s", path);
    if (S_ISDIR(st.st_mode))
        return error_sys(err, EISDIR, "cannot replace %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, HUSK_E_INVAL,
                         "%s is %s, which is not replaced by a file; name a new or a regular one",
                         path,
                         S_ISLNK(st.st_mode) ? "a symbolic link" : "a device, pipe or socket");
    *ret_mode = st.st_mode & 0777;
    return 0;
}

/* Call `make` with new names beside `path` until one is not taken; ret_temp is malloc()ed. Returns
 * what `make` returned: less than 0 is failure, with errno. */
static int temp_named(const char *path, int (*make)(int fd, const char *temp), int fd,
                      char **ret_temp) {
    const size_t folder_bytes = (size_t)(base_of(path) - path), base_bytes = strlen(base_of(path));
    /* of NAME_MAX 255 */
    const size_t kept_bytes = folder_bytes + (base_bytes < 200 ? base_bytes : 200);
    const size_t room = kept_bytes + 32;
    auto_free char *temp = malloc(room);
    if (temp == NULL)
        return -1;
    for (int attempt = 0; attempt < 16; attempt++) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return -1;
        snprintf(temp, room, "%.*s.%016llx.tmp", (int)kept_bytes, path, (unsigned long long)random);
        int made = make(fd, temp);
        if (made >= 0) {
            *ret_temp = take_pointer(&temp);
            return made;
        }
        if (errno != EEXIST && errno != EINTR)
            break;
    }
    return -1;
}

static int make_file(int fd, const char *temp) {
    (void)fd;
    return open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
}

/* A file that has no name yet gets one. */
static int make_link(int fd, const char *temp) {
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, source, AT_FDCWD, temp, AT_SYMLINK_FOLLOW);
}

/* In the folder, but without a name: whatever ends this process before it is whole, nothing is left
 * behind. -1 where the file system cannot do that, or where there is no /proc to name it by
 * later. */
static int open_unnamed(const char *folder) {
    char link[64];
    struct stat st;
    auto_fd fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return fd >= 0 && lstat(link, &st) == 0 ? take_fd(&fd) : -1;
}

int file_replacement_begin(struct file_replacement *ret_new, const char *path,
                           struct husk_error *err) {
    struct file_replacement new = {.path = path, .fd = -1};
    mode_t mode = 0;
    int status = check_target(path, &mode, err);
    if (status != 0)
        return status;
    auto_free char *folder = folder_of(path);
    if (folder == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to write %s", path);
    new.fd = open_unnamed(folder);
    if (new.fd < 0)
        new.fd = temp_named(path, make_file, -1, &new.temp);
    if (new.fd < 0)
        return error_sys(err, errno, "cannot create a temporary file for %s", path);
    if (mode != 0 && fchmod(new.fd, mode) != 0) {
        status = error_sys(err, errno, "cannot give %s the permissions it has", path);
        file_replacement_abort(&new);
        return status;
    }
    *ret_new = new;
    return 0;
}

void file_replacement_abort(struct file_replacement *new) {
    if (new->temp != NULL)
        unlink(new->temp);
    free(new->temp);
    if (new->fd >= 0)
        close(new->fd);
    *new = (struct file_replacement){.fd = -1};
}

/* The folder that the file will be in, to be synced. Opened before anything is replaced: only the
 * sync itself can then fail after that. */
static int folder_open(const char *path, int *ret_fd, struct husk_error *err) {
    auto_free char *folder = folder_of(path);
    if (folder == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to write %s", path);
    do
        *ret_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (*ret_fd < 0 && errno == EINTR);
    return *ret_fd >= 0 ? 0 : error_sys(err, errno, "cannot open the folder of %s", path);
}

/* fsync() may wait for a server, and be interrupted. */
static int sync_fd(int fd) {
    int rc;
    do
        rc = fsync(fd);
    while (rc != 0 && errno == EINTR);
    return rc;
}

/* Only rename() replaces: a file without a name gets its own at once if that is free, and else
 * another one to be renamed from. */
static int put_in_place(struct file_replacement *new) {
    if (new->temp == NULL) {
        if (make_link(new->fd, new->path) == 0)
            return 0;
        if (errno != EEXIST || temp_named(new->path, make_link, new->fd, &new->temp) < 0)
            return -1;
    }
    if (rename(new->temp, new->path) != 0)
        return -1;
    free(new->temp);
    new->temp = NULL;
    return 0;
}

int file_replacement_commit(struct file_replacement *new, struct husk_error *err) {
    const char *path = new->path;
    auto_fd folder = -1;
    int status = folder_open(path, &folder, err);
    if (status == 0 && sync_fd(new->fd) != 0)
        status = error_sys(err, errno, "cannot write %s", path);
    if (status == 0 && put_in_place(new) != 0)
        status = error_sys(err, errno, "cannot put %s in its place", path);
    file_replacement_abort(new);
    if (status != 0)
        return status;
    /* The rename itself must survive a crash. Some file systems cannot sync a folder: then there is
     * nothing more to do. */
    if (sync_fd(folder) != 0 && errno != EINVAL && errno != EROFS)
        return error_sys(
            err, errno, "%s is complete and in its place, but a crash of the machine may undo that",
            path);
    return 0;
}

static int copy_keeping_offset(int src_fd, int fd, uint64_t bytes) {
    const off_t old = lseek(src_fd, 0, SEEK_CUR);
    struct stat st;
    if (old < 0 || fstat(src_fd, &st) != 0)
        return -1;
    if (st.st_size < (off_t)bytes) {
        errno = EINVAL;
        return -1;
    }
    const int rc = file_copy_data(src_fd, fd, bytes);
    const int saved_errno = errno;
    lseek(src_fd, old, SEEK_SET);
    errno = saved_errno;
    return rc;
}

int file_replace(const char *path, int src_fd, uint64_t bytes, struct husk_error *err) {
    struct file_replacement new;
    int status = file_replacement_begin(&new, path, err);
    if (status != 0)
        return status;
    if (copy_keeping_offset(src_fd, new.fd, bytes) != 0) {
        status = error_sys(err, errno, "cannot write %s", path);
        file_replacement_abort(&new);
        return status;
    }
    return file_replacement_commit(&new, err);
}
