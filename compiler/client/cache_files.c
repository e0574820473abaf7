/*
 * compiler/client/cache_files.c: see cache_files.h.
 */
#include "cache_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"

/* The number of hex digits at the start of a name, as sha256_hex() writes them. */
static size_t hex_digits(const char *name) {
    return strspn(name, "0123456789abcdef");
}

static bool is_leftover_suffix(const char *text) {
    return text[0] == '.' && hex_digits(text + 1) == 16 && strcmp(text + 17, ".tmp") == 0;
}

enum cache_kind cache_kind_of(const char *name) {
    const size_t digits = hex_digits(name);
    const bool is_image = digits == 64 && strncmp(name + digits, ".husk", 5) == 0;
    const bool is_note = digits == 32 && strncmp(name + digits, ".seen", 5) == 0;
    if (!is_image && !is_note)
        return CACHE_FOREIGN;
    const char *rest = name + digits + 5;
    if (is_leftover_suffix(rest))
        return CACHE_LEFTOVER;
    if (*rest != '\0')
        return CACHE_FOREIGN;
    return is_image ? CACHE_IMAGE : CACHE_NOTE;
}

int cache_folder_make(const char *path, struct husk_error *err) {
    auto_free char *part = strdup(path);
    if (part == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a path");
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return error_sys(err, errno, "cannot make the cache folder %s", part);
        *slash = '/';
    }
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
        return error_sys(err, errno, "cannot make the cache folder %s", part);
    return 0;
}

int cache_folder_open(const char *path, int *ret_fd, struct husk_error *err) {
    if (path == NULL || path[0] == '\0')
        return error_set(err, HUSK_E_INVAL, "no cache folder is given");
    auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return error_sys(err, errno, "cannot open the cache folder %s", path);
    *ret_fd = take_fd(&fd);
    return 0;
}

uint64_t cache_bytes_of(const struct stat *st) {
    return (uint64_t)st->st_blocks * 512;
}

void cache_mark_used(int fd) {
    struct stat st;
    struct timespec now;
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    if (fstat(fd, &st) != 0 || clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0)
        return;
    /* in the future: the clock was wrong then, or is now */
    if (st.st_mtim.tv_sec < now.tv_sec - CACHE_USE_SECONDS ||
        st.st_mtim.tv_sec > now.tv_sec + CACHE_USE_SECONDS)
        (void)futimens(fd, times);
}

static int compare_times(const struct timespec *a, const struct timespec *b) {
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

static int last_used_first(const void *left, const void *right) {
    const struct cache_file *a = left, *b = right;
    int order = compare_times(&b->used, &a->used);
    if (order == 0)
        order = compare_times(&b->mtime, &a->mtime);
    return order != 0 ? order : strcmp(a->name, b->name);
}

static bool make_room(struct cache_files *files, size_t *room) {
    if (files->count < *room)
        return true;
    const size_t more = *room == 0 ? 64 : 2 * *room;
    struct cache_file *list = realloc(files->list, more * sizeof *list);
    if (list == NULL)
        return false;
    files->list = list;
    *room = more;
    return true;
}

/* -1: no memory. */
static int take_file(int folder, const char *name, struct cache_files *files, size_t *room) {
    const enum cache_kind kind = cache_kind_of(name);
    struct stat st;
    if (kind == CACHE_FOREIGN || fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode))
        return 0;
    files->bytes += cache_bytes_of(&st);
    if (files->count == CACHE_FILES_MAX)
        return 0;
    if (!make_room(files, room))
        return -1;
    struct cache_file *file = &files->list[files->count++];
    *file = (struct cache_file){.kind = kind, .mtime = st.st_mtim, .bytes = cache_bytes_of(&st)};
    if (st.st_mtim.tv_sec <= files->now_s + CACHE_USE_SECONDS)
        file->used = st.st_mtim;
    memcpy(file->name, name, strlen(name) + 1);
    return 0;
}

static int read_all(int folder, DIR *dir, struct cache_files *files, struct husk_error *err) {
    size_t room = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL && errno != 0)
            return error_sys(err, errno, "cannot read the cache folder");
        if (entry == NULL)
            return 0;
        if (take_file(folder, entry->d_name, files, &room) != 0)
            return error_set(err, HUSK_E_NOMEM, "no memory for a list of the cache's files");
    }
}

int cache_files_read(int folder, struct cache_files *ret_files, struct husk_error *err) {
    struct cache_files files = {.now_s = time(NULL)};
    auto_fd fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL)
        return error_sys(err, errno, "cannot read the cache folder");
    fd = -1; /* closedir() closes it */
    int status = read_all(folder, dir, &files, err);
    closedir(dir);
    if (status != 0) {
        cache_files_done(&files);
        return status;
    }
    if (files.count > 1)
        qsort(files.list, files.count, sizeof *files.list, last_used_first);
    *ret_files = files;
    return 0;
}

void cache_files_done(struct cache_files *files) {
    free(files->list);
    *files = (struct cache_files){0};
}
