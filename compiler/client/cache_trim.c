/*
 * compiler/client/cache_trim.c: removes files from a cache folder: those first that were not used
 * for the longest time. An image that is open or mapped somewhere lives on there: only its name
 * goes. So nothing here needs to know who uses one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "cache_files.h"
#include "cache_limit.h"
#include "client.h"
#include "error.h"

/* A file that is being written is younger: it gets its name when it is nearly done. */
#define LEFTOVER_SECONDS 3600
#define MAKE_ROOM_WAIT_MS 2000

static bool is_unusable(int folder, const struct cache_file *file) {
    struct image_summary summary;
    if (file->kind != CACHE_IMAGE)
        return false;
    auto_fd fd = openat(folder, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd >= 0 && !image_summarize(fd, &summary);
}

/* Must the file go, whatever room there is? */
static bool is_unwanted(int folder, const struct cache_trim *trim, const struct cache_file *file,
                        time_t now_s) {
    if (trim->wants_all)
        return true;
    if (file->kind == CACHE_LEFTOVER)
        return file->used.tv_sec < now_s - LEFTOVER_SECONDS;
    return file->used.tv_sec < trim->unused_since_s ||
           (trim->wants_unusable && is_unusable(folder, file));
}

/* Was it used, or replaced, since the folder was read? */
static bool is_changed(const struct cache_file *file, const struct stat *st) {
    return !S_ISREG(st->st_mode) || st->st_mtim.tv_sec != file->mtime.tv_sec ||
           st->st_mtim.tv_nsec != file->mtime.tv_nsec;
}

static void remove_file(int folder, const struct cache_file *file,
                        struct husk_cache_cleaned *result) {
    struct stat st;
    if (fstatat(folder, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_changed(file, &st))
        return;
    if (unlinkat(folder, file->name, 0) == 0) {
        result->removed_count++;
        result->removed_bytes += file->bytes;
    } else if (errno != ENOENT) {
        if (result->failed_count++ == 0)
            (void)error_sys(&result->failure, errno, "cannot remove %s", file->name);
        return;
    }
    result->left_bytes -= file->bytes;
    result->left_count--;
}

/* Below the limit by a tenth, so that the next image does not need this again. */
static uint64_t target_of(uint64_t limit_bytes) {
    return limit_bytes - limit_bytes / 10;
}

static void trim_files(int folder, const struct cache_trim *trim, const struct cache_files *files,
                       uint64_t limit_bytes, struct husk_cache_cleaned *result) {
    uint64_t to_bytes = trim->to_bytes;
    if (trim->is_to_limit)
        to_bytes = files->bytes > limit_bytes ? target_of(limit_bytes) : UINT64_MAX;
    for (size_t i = files->count; i-- > 0;) {
        const struct cache_file *file = &files->list[i];
        if (trim->kept != NULL && strcmp(file->name, trim->kept) == 0)
            continue;
        const bool is_in_excess = result->left_bytes > to_bytes && file->kind != CACHE_LEFTOVER;
        if (is_in_excess || is_unwanted(folder, trim, file, files->now_s))
            remove_file(folder, file, result);
    }
}

int cache_trim(int folder, const struct cache_trim *trim, uint64_t limit_bytes,
               struct husk_cache_cleaned *ret_result, struct husk_error *err) {
    struct cache_files files;
    struct cache_count count;
    struct husk_cache_cleaned result = {.failure = {.offset = HUSK_NO_OFFSET}};
    cache_count_open(folder, false, &count);
    if (!cache_count_begin(&count, trim->wait_ms) && trim->wait_ms == 0) {
        cache_count_close(&count);
        *ret_result = result; /* another process does it */
        return 0;
    }
    int status = cache_files_read(folder, &files, err);
    if (status == 0) {
        result.left_count = files.count;
        result.left_bytes = files.bytes;
        trim_files(folder, trim, &files, limit_bytes, &result);
        cache_files_done(&files);
        cache_count_end(&count, result.left_bytes, limit_bytes);
        *ret_result = result;
    }
    cache_count_close(&count);
    return status;
}

static uint64_t bytes_of_name(int folder, const char *name) {
    struct stat st;
    return fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? cache_bytes_of(&st) : 0;
}

void cache_stored(const char *folder_path, const char *name, uint64_t limit_bytes) {
    auto_fd folder = -1;
    struct cache_count count;
    struct husk_cache_cleaned result;
    struct cache_trim trim = {.unused_since_s = INT64_MIN, .is_to_limit = true, .kept = name};
    if (cache_folder_open(folder_path, &folder, NULL) != 0 || folder < 0)
        return;
    limit_bytes = cache_limit(folder, limit_bytes);
    cache_count_open(folder, true, &count);
    const bool is_due = cache_count_add(&count, bytes_of_name(folder, name), limit_bytes);
    cache_count_close(&count);
    if (is_due)
        (void)cache_trim(folder, &trim, limit_bytes, &result, NULL);
}

bool cache_make_room(const char *folder_path, uint64_t bytes, uint64_t limit_bytes) {
    auto_fd folder = -1;
    struct cache_files files;
    struct husk_cache_cleaned result = {0};
    struct cache_trim trim = {.unused_since_s = INT64_MIN, .wait_ms = MAKE_ROOM_WAIT_MS};
    const uint64_t wanted = bytes + bytes / 4;
    if (cache_folder_open(folder_path, &folder, NULL) != 0 || folder < 0 ||
        cache_files_read(folder, &files, NULL) != 0)
        return false;
    const uint64_t all = files.bytes;
    cache_files_done(&files);
    if (all < bytes)
        return false; /* not worth it */
    trim.to_bytes = all > wanted ? all - wanted : 0;
    limit_bytes = cache_limit(folder, limit_bytes);
    return cache_trim(folder, &trim, limit_bytes, &result, NULL) == 0 && result.removed_count > 0;
}
