/*
 * compiler/client/cache_limit.c: the two small files that bound a cache folder: the limit that was
 * set for it, as text, and the count of the bytes in it (cache_limit.h).
 */
#include "cache_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"
#include "cache_files.h"
#include "error.h"
#include "file.h"
#include "xxh3.h"

#define COUNT_MAGIC "husk count 1"
#define COUNT_SECONDS 86400 /* a count is believed for so long */
#define COUNT_WAIT_MS 100   /* for a process that changes the count: it takes microseconds */
#define LIMIT_TEXT_BYTES 32

/* ---- The limit ---- */

/* 0: none is set, or the file does not have one. */
static uint64_t limit_read(int folder) {
    char text[LIMIT_TEXT_BYTES] = "", *end = NULL;
    struct stat st;
    auto_fd fd = openat(folder, CACHE_LIMIT_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return 0;
    const ssize_t count = read(fd, text, sizeof text - 1);
    if (count <= 0)
        return 0;
    if (strcmp(text, "none\n") == 0)
        return HUSK_CACHE_UNLIMITED;
    errno = 0;
    const uint64_t bytes = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && errno == 0 && strcmp(end, "\n") == 0 ? bytes : 0;
}

uint64_t cache_limit(int folder, uint64_t wanted) {
    const uint64_t set = wanted != 0 ? wanted : limit_read(folder);
    return set != 0 ? set : HUSK_CACHE_DEFAULT_LIMIT_BYTES;
}

static int limit_write(const char *path, uint64_t limit_bytes, struct husk_error *err) {
    char text[LIMIT_TEXT_BYTES];
    struct file_replacement new;
    int status = file_replacement_begin(&new, path, err);
    if (status != 0)
        return status;
    int bytes = limit_bytes == HUSK_CACHE_UNLIMITED
                    ? snprintf(text, sizeof text, "none\n")
                    : snprintf(text, sizeof text, "%" PRIu64 "\n", limit_bytes);
    if (file_write_all(new.fd, text, (size_t)bytes) == 0)
        return file_replacement_commit(&new, err);
    status = error_sys(err, errno, "cannot write %s", path);
    file_replacement_abort(&new);
    return status;
}

int husk_cache_set_limit(const char *cache_dir, uint64_t limit_bytes, struct husk_error *err) {
    auto_free char *path = NULL;
    if (cache_dir == NULL || cache_dir[0] == '\0')
        return error_set(err, HUSK_E_INVAL, "no cache folder is given");
    if (asprintf(&path, "%s/" CACHE_LIMIT_NAME, cache_dir) < 0) {
        path = NULL;
        return error_set(err, HUSK_E_NOMEM, "no memory for a path");
    }
    if (limit_bytes == 0) {
        if (unlink(path) == 0 || errno == ENOENT)
            return 0;
        return error_sys(err, errno, "cannot remove %s", path);
    }
    int status = cache_folder_make(cache_dir, err);
    return status == 0 ? limit_write(path, limit_bytes, err) : status;
}

/* ---- The count ---- */

struct count_file {
    char magic[16];
    uint64_t bytes;
    uint64_t clean_above; /* not worth another try below: the last one left more than the limit */
    int64_t counted_s;    /* when the folder was read */
    uint8_t check[XXH3_128_BYTES]; /* of all before it: damage */
};

enum count_lock { LOCK_COUNT = 0, LOCK_CLEANING = 1 }; /* bytes of the file */

static bool lock_now(int fd, enum count_lock lock, short type) {
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)lock, .l_len = 1};
    /* A file system without locks counts without them. */
    return fcntl(fd, F_OFD_SETLK, &range) == 0 || (errno != EAGAIN && errno != EACCES);
}

static bool lock_wait(int fd, enum count_lock lock, unsigned wait_ms) {
    const struct timespec pause = {.tv_nsec = 1000000};
    while (!lock_now(fd, lock, F_WRLCK)) {
        if (wait_ms == 0)
            return false;
        wait_ms--;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static bool count_read(int fd, struct count_file *ret_file) {
    struct count_file file;
    uint8_t check[XXH3_128_BYTES];
    if (pread(fd, &file, sizeof file, 0) != sizeof file ||
        memcmp(file.magic, COUNT_MAGIC, sizeof COUNT_MAGIC) != 0)
        return false;
    xxh3_128(&file, offsetof(struct count_file, check), check);
    if (memcmp(check, file.check, sizeof check) != 0)
        return false;
    *ret_file = file;
    return true;
}

static void count_write(int fd, struct count_file *file) {
    xxh3_128(file, offsetof(struct count_file, check), file->check);
    (void)file_write_at(fd, 0, file, sizeof *file);
}

void cache_count_open(int folder, bool makes, struct cache_count *ret_count) {
    struct stat st;
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (makes ? O_CREAT : 0);
    auto_fd fd = openat(folder, CACHE_COUNT_NAME, flags, 0600);
    const bool is_usable = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    *ret_count = (struct cache_count){.fd = is_usable ? take_fd(&fd) : -1};
}

void cache_count_close(struct cache_count *count) {
    if (count->fd >= 0)
        close(count->fd);
    *count = (struct cache_count){.fd = -1};
}

static bool is_recent(int64_t time_s) {
    const int64_t now_s = time(NULL);
    return time_s <= now_s + CACHE_USE_SECONDS && time_s > now_s - COUNT_SECONDS;
}

static uint64_t sum(uint64_t a, uint64_t b) {
    return a <= UINT64_MAX - b ? a + b : UINT64_MAX;
}

bool cache_count_add(struct cache_count *count, uint64_t bytes, uint64_t limit_bytes) {
    struct count_file file;
    if (count->fd < 0)
        return true;
    if (!lock_wait(count->fd, LOCK_COUNT, COUNT_WAIT_MS))
        return false; /* it is not counted until the folder is read again */
    bool is_valid = count_read(count->fd, &file);
    if (is_valid) {
        file.bytes = sum(file.bytes, bytes);
        count_write(count->fd, &file);
    }
    (void)lock_now(count->fd, LOCK_COUNT, F_UNLCK);
    return !is_valid || !is_recent(file.counted_s) ||
           (file.bytes > limit_bytes && file.bytes > file.clean_above);
}

bool cache_count_begin(struct cache_count *count, unsigned wait_ms) {
    struct count_file file;
    if (count->fd < 0)
        return true;
    if (!lock_wait(count->fd, LOCK_CLEANING, wait_ms))
        return false;
    count->is_cleaning = true;
    count->was_valid = count_read(count->fd, &file);
    count->at_begin = count->was_valid ? file.bytes : 0;
    return true;
}

void cache_count_end(struct cache_count *count, uint64_t bytes, uint64_t limit_bytes) {
    struct count_file file, new = {.magic = COUNT_MAGIC, .bytes = bytes, .counted_s = time(NULL)};
    if (count->fd < 0 || !lock_wait(count->fd, LOCK_COUNT, COUNT_WAIT_MS))
        return;
    if (count->was_valid && count_read(count->fd, &file) && file.bytes > count->at_begin)
        new.bytes = sum(bytes, file.bytes - count->at_begin);
    if (new.bytes > limit_bytes)
        new.clean_above = sum(new.bytes, limit_bytes / 16);
    count_write(count->fd, &new);
    (void)lock_now(count->fd, LOCK_COUNT, F_UNLCK);
    if (count->is_cleaning)
        (void)lock_now(count->fd, LOCK_CLEANING, F_UNLCK);
    count->is_cleaning = false;
}
