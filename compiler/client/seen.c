/*
 * compiler/client/seen.c: see seen.h. A file is noted only if
 *   - its file system is local, and keeps inodes and times itself: a server's times are those of
 *     another clock, and its changes may be seen late. In an overlay they may be those of an image
 *     that is exchanged as a whole;
 *   - its times are not whole seconds, as those in images are that somebody made reproducibly: in
 *     the next version of such an image another file has the same times;
 *   - its last change is some seconds old: another change right after the hash was taken may have
 *     the same time, where the kernel's clock for files is coarse;
 *   - it was the same before and after it was read.
 * One gap is left, as for make and git: a program that writes through a shared mapping changes the
 * times with its first write to a page, and not with each further one.
 */
#include "seen.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"
#include "cache_files.h"
#include "file.h"
#include "xxh3.h"

#define SETTLED_SECONDS 3
#define SEEN_MAGIC "husk seen 1"
#define SEEN_PATH_BYTES 3840 /* with its NUL; a note takes one block of the disk in any case */

struct seen {
    char magic[16];
    uint64_t fsid, dev, ino, bytes;
    int64_t mtime, mtime_ns, ctime, ctime_ns;
    uint8_t sha256[SHA256_BYTES];
    uint8_t check[XXH3_128_BYTES]; /* of all before it: damage */
    /* Then the file's path when it was noted, without a NUL, up to the end. It is only shown. */
};

static struct seen seen_of(const struct stat *st) {
    return (struct seen){.magic = SEEN_MAGIC,
                         .dev = st->st_dev,
                         .ino = st->st_ino,
                         .bytes = (uint64_t)st->st_size,
                         .mtime = st->st_mtim.tv_sec,
                         .mtime_ns = st->st_mtim.tv_nsec,
                         .ctime = st->st_ctim.tv_sec,
                         .ctime_ns = st->st_ctim.tv_nsec};
}

static bool is_same(const struct seen *a, const struct seen *b) {
    return memcmp(a, b, offsetof(struct seen, sha256)) == 0;
}

/* False: not of a local file system. */
static bool look_at(int fd, struct stat *ret_st, struct seen *ret_seen) {
    static const uint32_t local[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                     F2FS_SUPER_MAGIC, TMPFS_MAGIC,     0x2fc12fc1 /* ZFS */};
    struct statfs fs;
    if (fstat(fd, ret_st) != 0 || !S_ISREG(ret_st->st_mode) || fstatfs(fd, &fs) != 0)
        return false;
    *ret_seen = seen_of(ret_st);
    memcpy(&ret_seen->fsid, &fs.f_fsid, sizeof ret_seen->fsid);
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
        if ((uint32_t)fs.f_type == local[i])
            return true;
    return false;
}

/* One note for each inode: a changed file's replaces the old one. */
static char *seen_path(const char *folder, const struct seen *seen) {
    char name[80], hex[2 * SHA256_BYTES + 1], *path;
    uint8_t digest[SHA256_BYTES];
    snprintf(name, sizeof name, "%llu %llu", (unsigned long long)seen->dev,
             (unsigned long long)seen->ino);
    sha256_bytes(name, strlen(name), digest);
    sha256_hex(digest, hex);
    return asprintf(&path, "%s/%.32s.seen", folder, hex) >= 0 ? path : NULL;
}

static void make_check(const struct seen *seen, uint8_t ret_check[XXH3_128_BYTES]) {
    xxh3_128(seen, offsetof(struct seen, check), ret_check);
}

static int seen_open(int folder, const char *path) {
    return openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* A note, whatever it says. */
static bool seen_read(int fd, struct seen *ret_seen) {
    struct seen seen;
    uint8_t check[XXH3_128_BYTES];
    if (fd < 0 || read(fd, &seen, sizeof seen) != sizeof seen)
        return false;
    make_check(&seen, check);
    if (memcmp(check, seen.check, sizeof check) != 0)
        return false;
    *ret_seen = seen;
    return true;
}

bool seen_read_path(int folder, const char *name, uint8_t ret_sha256[SHA256_BYTES],
                    char **ret_path) {
    struct seen seen;
    char text[SEEN_PATH_BYTES];
    auto_fd fd = seen_open(folder, name);
    if (!seen_read(fd, &seen))
        return false;
    const ssize_t bytes = read(fd, text, sizeof text - 1);
    if (bytes <= 0)
        return false;
    text[bytes] = '\0';
    char *path = strdup(text);
    if (path == NULL)
        return false;
    memcpy(ret_sha256, seen.sha256, SHA256_BYTES);
    *ret_path = path;
    return true;
}

bool seen_find(const char *folder, int fd, uint8_t ret_sha256[SHA256_BYTES]) {
    struct stat st;
    struct seen seen, wanted;
    if (!look_at(fd, &st, &wanted))
        return false;
    auto_free char *path = seen_path(folder, &wanted);
    if (path == NULL)
        return false;
    auto_fd note = seen_open(AT_FDCWD, path);
    if (!seen_read(note, &seen) || !is_same(&seen, &wanted))
        return false;
    cache_mark_used(note);
    memcpy(ret_sha256, seen.sha256, SHA256_BYTES);
    return true;
}

bool seen_is_settled(const struct stat *st, time_t now) {
    const time_t mtime = st->st_mtim.tv_sec, ctime = st->st_ctim.tv_sec;
    return (mtime > ctime ? mtime : ctime) < now - SETTLED_SECONDS && st->st_ctim.tv_nsec != 0;
}

bool seen_begin(int fd, struct stat *ret_before) {
    struct seen seen;
    struct timespec now;
    return look_at(fd, ret_before, &seen) && clock_gettime(CLOCK_REALTIME, &now) == 0 &&
           seen_is_settled(ret_before, now.tv_sec);
}

/* The path of an open file, for those who list the cache; "" if it is not known, or too long. */
static void path_of_fd(int fd, char ret_path[SEEN_PATH_BYTES]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t bytes = readlink(link, ret_path, SEEN_PATH_BYTES);
    ret_path[bytes > 0 && bytes < SEEN_PATH_BYTES ? bytes : 0] = '\0';
}

static bool seen_write(const char *path, const struct seen *seen, int module_fd) {
    struct file_replacement new;
    char module_path[SEEN_PATH_BYTES];
    if (file_replacement_begin(&new, path, NULL) != 0)
        return false;
    path_of_fd(module_fd, module_path);
    if (file_write_all(new.fd, seen, sizeof *seen) == 0 &&
        file_write_all(new.fd, module_path, strlen(module_path)) == 0)
        return file_replacement_commit(&new, NULL) == 0;
    file_replacement_abort(&new);
    return false;
}

char *seen_note(const char *folder, int fd, const struct stat *before,
                const uint8_t sha256[SHA256_BYTES]) {
    struct stat st;
    struct seen seen, old, first = seen_of(before);
    if (!look_at(fd, &st, &seen))
        return NULL;
    first.fsid = seen.fsid;
    auto_free char *path = seen_path(folder, &seen);
    if (path == NULL || !is_same(&seen, &first))
        return NULL;
    memcpy(seen.sha256, sha256, SHA256_BYTES);
    make_check(&seen, seen.check);
    auto_fd note = seen_open(AT_FDCWD, path);
    if (seen_read(note, &old) && memcmp(&old, &seen, sizeof seen) == 0)
        return NULL;
    return seen_write(path, &seen, fd) ? take_pointer(&path) : NULL;
}
