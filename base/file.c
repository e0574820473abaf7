/*
 * base/file.c: whole-file reading with a limit, and atomic durable replacement. Used for wasm input, images
 * and the cache.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"

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
                return error_set(err, HUSK_E_NOMEM, "no memory to read %s (%zu bytes)", name, 2 * capacity);
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

int file_write_all(int fd, const void *bytes, size_t count) {
    const uint8_t *pos = bytes;
    while (count > 0) {
        ssize_t wrote = write(fd, pos, count);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            if (wrote == 0)
                errno = EIO;
            return -1;
        }
        pos += wrote;
        count -= (size_t)wrote;
    }
    return 0;
}

int file_set_size(int fd, uint64_t bytes) {
    int rc;
    do
        rc = ftruncate(fd, (off_t)bytes);
    while (rc != 0 && errno == EINTR);
    return rc;
}

/* Copy [from, to) of src_fd to the same place of fd. */
static int copy_range(int src_fd, int fd, off_t from, off_t to) {
    if (lseek(fd, from, SEEK_SET) < 0)
        return -1;
    while (from < to) {
        ssize_t sent = sendfile(fd, src_fd, &from, (size_t)(to - from));
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0) {
            if (sent == 0)
                errno = EIO; /* the source is shorter than it said */
            return -1;
        }
    }
    return 0;
}

/* SEEK_DATA moves the source's offset: it is put back. */
static int copy_sparse(int src_fd, int fd, uint64_t bytes) {
    off_t end = (off_t)bytes, old = lseek(src_fd, 0, SEEK_CUR), pos = 0;
    struct stat st;
    if (fstat(src_fd, &st) != 0)
        return -1;
    if (st.st_size < end) {
        errno = EINVAL;
        return -1;
    }
    if (old < 0 || file_set_size(fd, bytes) != 0)
        return -1;
    int rc = 0;
    while (rc == 0 && pos < end) {
        off_t data = lseek(src_fd, pos, SEEK_DATA);
        if (data < 0 || data >= end) {
            rc = data < 0 && errno != ENXIO ? -1 : 0; /* ENXIO: only a hole is left */
            break;
        }
        off_t hole = lseek(src_fd, data, SEEK_HOLE);
        if (hole < 0 || hole > end)
            hole = end;
        rc = copy_range(src_fd, fd, data, hole);
        pos = hole;
    }
    int saved_errno = errno;
    lseek(src_fd, old, SEEK_SET);
    errno = saved_errno;
    return rc;
}

/* A temporary file beside `path`: same folder, so that rename() is atomic. *ret_temp is malloc()ed. */
static int temp_open(const char *path, char **ret_temp, int *ret_fd, struct husk_error *err) {
    size_t room = strlen(path) + 32;
    auto_free char *temp = malloc(room);
    if (temp == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to write %s", path);
    for (int attempt = 0; attempt < 16; attempt++) {
        uint64_t random = 0;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return error_sys(err, errno, "cannot name a temporary file for %s", path);
        snprintf(temp, room, "%s.%016llx.tmp", path, (unsigned long long)random);
        int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0) {
            *ret_fd = fd;
            *ret_temp = take_pointer(&temp);
            return 0;
        }
        if (errno != EEXIST && errno != EINTR)
            break;
    }
    return error_sys(err, errno, "cannot create a temporary file for %s", path);
}

/* The folder that the file will be in, to be synced. Opened before anything is replaced: only the sync itself can then fail after that. */
static int folder_open(const char *path, int *ret_fd, struct husk_error *err) {
    const char *slash = strrchr(path, '/');
    auto_free char *folder =
        slash == NULL ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
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

int file_replace(const char *path, int src_fd, uint64_t bytes, struct husk_error *err) {
    auto_free char *temp = NULL;
    auto_fd fd = -1;
    auto_fd folder = -1;
    int status = folder_open(path, &folder, err);
    if (status == 0)
        status = temp_open(path, &temp, &fd, err);
    if (status != 0)
        return status;
    if (copy_sparse(src_fd, fd, bytes) != 0 || sync_fd(fd) != 0)
        status = error_sys(err, errno, "cannot write %s", path);
    else if (rename(temp, path) != 0)
        status = error_sys(err, errno, "cannot put %s in its place", path);
    if (status != 0) {
        unlink(temp);
        return status;
    }
    /* The rename itself must survive a crash. Some file systems cannot sync a folder: then there is nothing more to do. */
    if (sync_fd(folder) != 0 && errno != EINVAL && errno != EROFS)
        return error_sys(err, errno,
                         "%s is complete and in its place, but a crash of the machine may undo that", path);
    return 0;
}
