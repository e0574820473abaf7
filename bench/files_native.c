/*
 * bench/files_native.c: the operations of bench/micro/files.c as a native program does them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

enum { PIECE_BYTES = 1 << 16, WALK_FDS = 16 };

static uint8_t piece[PIECE_BYTES];

static int failed(const char *what) {
    fprintf(stderr, "husk_bench: natively: %s: %s\n", what, strerror(errno));
    return -1;
}

static void small_path(char path[32], const char *folder, uint32_t n) {
    snprintf(path, 32, "%s/f%04u", folder, n);
}

/* Open, read or write `bytes` in pieces of at most 64 KiB, close. */
static int read_file(int dir, const char *path, size_t bytes) {
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failed(path);
    size_t count = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
    for (size_t done = 0; done < bytes; done += count)
        if (read(fd, piece, count) != (ssize_t)count) {
            close(fd);
            return failed("read");
        }
    return close(fd);
}

static int write_file(int dir, const char *path, int flags, size_t bytes) {
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC | flags, 0666);
    if (fd < 0)
        return failed(path);
    size_t count = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
    for (size_t done = 0; done < bytes; done += count)
        if (write(fd, piece, count) != (ssize_t)count) {
            close(fd);
            return failed("write");
        }
    return close(fd);
}

int native_nothing(struct snapshot_op *op) {
    for (uint32_t i = 0; i < op->pages; i++)
        if (close(-1) == 0)
            return -1;
    return 0;
}

int native_open_read_close(struct snapshot_op *op) {
    char path[32];
    for (uint32_t i = 0; i < op->pages; i++) {
        small_path(path, "small", i);
        if (read_file((int)op->stride, path, FILES_SMALL_BYTES) != 0)
            return -1;
    }
    return 0;
}

int native_create_unlink(struct snapshot_op *op) {
    char path[32];
    for (uint32_t i = 0; i < op->pages; i++) {
        small_path(path, "new", i);
        if (write_file((int)op->stride, path, O_CREAT | O_EXCL, FILES_SMALL_BYTES) != 0)
            return -1;
        if (unlinkat((int)op->stride, path, 0) != 0)
            return failed("unlink");
    }
    return 0;
}

int native_read_big(struct snapshot_op *op) {
    for (uint32_t i = 0; i < op->pages; i++)
        if (read_file((int)op->stride, "big", FILES_BIG_BYTES) != 0)
            return -1;
    return 0;
}

int native_write_big(struct snapshot_op *op) {
    for (uint32_t i = 0; i < op->pages; i++)
        if (write_file((int)op->stride, "big", 0, FILES_BIG_BYTES) != 0)
            return -1;
    return 0;
}

int native_list(struct snapshot_op *op) {
    int fd = openat((int)op->stride, "small", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL)
        return failed("small");
    uint32_t files = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        files += entry->d_name[0] == 'f';
    closedir(dir);
    return files == op->pages ? 0 : failed("readdir");
}

int native_fill(const char *path) {
    static const char *const folders[] = {"small", "pages", "new"};
    int dir = mkdir(path, 0777) == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int result = dir >= 0 ? 0 : failed(path);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && result == 0; i++)
        result = mkdirat(dir, folders[i], 0777) == 0 ? 0 : failed(folders[i]);
    for (uint32_t i = 0; i < FILES_SMALL && result == 0; i++) {
        char name[32];
        small_path(name, "small", i);
        result = write_file(dir, name, O_CREAT | O_EXCL, FILES_SMALL_BYTES);
    }
    if (result == 0)
        result = write_file(dir, "big", O_CREAT | O_EXCL, FILES_BIG_BYTES);
    if (result == 0)
        return dir;
    if (dir >= 0)
        close(dir);
    return -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
    (void)st;
    (void)type;
    (void)walk;
    return remove(path);
}

void native_remove(const char *path) {
    if (nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS) != 0)
        (void)failed(path);
}
