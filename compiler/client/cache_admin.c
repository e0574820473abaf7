/*
 * compiler/client/cache_admin.c: looks at a cache folder and cleans it: husk_cache_info(),
 * husk_cache_list(), husk_cache_clean().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"
#include "cache_files.h"
#include "cache_limit.h"
#include "client.h"
#include "error.h"
#include "options.h"
#include "seen.h"

#define CLEAN_WAIT_MS 2000

/* *ret_folder is -1, and there are no files, if the folder does not exist. */
static int read_folder(const char *cache_dir, int *ret_folder, struct cache_files *ret_files,
                       struct husk_error *err) {
    auto_fd folder = -1;
    struct cache_files files = {0};
    int status = cache_folder_open(cache_dir, &folder, err);
    if (status == 0 && folder >= 0)
        status = cache_files_read(folder, &files, err);
    if (status != 0)
        return status;
    *ret_folder = take_fd(&folder);
    *ret_files = files;
    return 0;
}

int husk_cache_info(const char *cache_dir, struct husk_cache_info *ret_info,
                    struct husk_error *err) {
    struct husk_cache_info info = {0};
    struct cache_files files;
    auto_fd folder = -1;
    int status = output_check("husk_cache_info", ret_info, err);
    if (status == 0)
        status = read_folder(cache_dir, &folder, &files, err);
    if (status != 0)
        return status;
    info.limit_bytes = cache_limit(folder, 0);
    info.bytes = files.bytes;
    for (size_t i = 0; i < files.count; i++) {
        const struct cache_file *file = &files.list[i];
        info.images_count += file->kind == CACHE_IMAGE;
        info.images_bytes += file->kind == CACHE_IMAGE ? file->bytes : 0;
        info.notes_count += file->kind == CACHE_NOTE;
        info.leftovers_count += file->kind == CACHE_LEFTOVER;
    }
    cache_files_done(&files);
    output_fill(ret_info, &info, sizeof info);
    return 0;
}

/* ---- Listing ---- */

/* A file that was noted as a module. */
struct noted {
    uint8_t sha256[SHA256_BYTES];
    size_t order; /* of the note, from the last used one */
    char *path;
};

struct notes {
    struct noted *list; /* ascending by hash, then by order */
    size_t count;
};

static void notes_done(struct notes *notes) {
    for (size_t i = 0; i < notes->count; i++)
        free(notes->list[i].path);
    free(notes->list);
}

static int by_hash_and_order(const void *left, const void *right) {
    const struct noted *a = left, *b = right;
    int order = memcmp(a->sha256, b->sha256, sizeof a->sha256);
    return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

static int notes_read(int folder, const struct cache_files *files, struct notes *ret_notes,
                      struct husk_error *err) {
    struct notes notes = {.list = calloc(files->count + 1, sizeof *notes.list)};
    if (notes.list == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a list of the cache's notes");
    for (size_t i = 0; i < files->count; i++) {
        struct noted *noted = &notes.list[notes.count];
        noted->order = i;
        if (files->list[i].kind == CACHE_NOTE &&
            seen_read_path(folder, files->list[i].name, noted->sha256, &noted->path))
            notes.count++;
    }
    qsort(notes.list, notes.count, sizeof *notes.list, by_hash_and_order);
    *ret_notes = notes;
    return 0;
}

/* The path of the last used note about the module, or "". */
static const char *path_of(const struct notes *notes, const uint8_t sha256[SHA256_BYTES]) {
    size_t low = 0, high = notes->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (memcmp(notes->list[middle].sha256, sha256, SHA256_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const bool is_found =
        low < notes->count && memcmp(notes->list[low].sha256, sha256, SHA256_BYTES) == 0;
    return is_found ? notes->list[low].path : "";
}

static int visit_image(int folder, const struct cache_file *file, const struct notes *notes,
                       husk_cache_entry_fn visit, void *user) {
    struct image_summary summary = {.compiler = ""};
    struct husk_cache_entry entry = {.size = sizeof entry, .name = file->name, .module_path = ""};
    auto_fd fd = openat(folder, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    entry.is_usable = fd >= 0 && image_summarize(fd, &summary);
    if (entry.is_usable)
        entry.module_path = path_of(notes, summary.wasm_sha256);
    entry.module_name = summary.module_name;
    entry.target_cpu = summary.target_cpu;
    entry.compiler = summary.compiler;
    entry.bytes = file->bytes;
    entry.used_s = file->mtime.tv_sec;
    memcpy(entry.wasm_sha256, summary.wasm_sha256, sizeof entry.wasm_sha256);
    entry.opt_level = summary.opt_level;
    entry.is_strict = summary.is_strict;
    return visit(user, &entry);
}

int husk_cache_list(const char *cache_dir, husk_cache_entry_fn visit, void *user,
                    struct husk_error *err) {
    struct cache_files files;
    struct notes notes = {0};
    auto_fd folder = -1;
    if (visit == NULL)
        return error_set(err, HUSK_E_INVAL, "no function to call");
    int status = read_folder(cache_dir, &folder, &files, err);
    if (status != 0)
        return status;
    status = notes_read(folder, &files, &notes, err);
    for (size_t i = 0; i < files.count && status == 0; i++) {
        if (files.list[i].kind != CACHE_IMAGE)
            continue;
        status = visit_image(folder, &files.list[i], &notes, visit, user);
        if (status != 0)
            (void)error_set(err, status, "the callback ended the listing");
    }
    notes_done(&notes);
    cache_files_done(&files);
    return status;
}

/* ---- Cleaning ---- */

int husk_cache_clean(const char *cache_dir, const struct husk_cache_clean_options *options,
                     struct husk_cache_cleaned *ret_cleaned, struct husk_error *err) {
    struct husk_cache_clean_options full;
    struct husk_cache_cleaned cleaned = {.failure = {.offset = HUSK_NO_OFFSET}};
    auto_fd folder = -1;
    int status = cache_clean_options_read(options, &full, err);
    if (status == 0 && ret_cleaned != NULL)
        status = output_check("husk_cache_cleaned", ret_cleaned, err);
    if (status == 0)
        status = cache_folder_open(cache_dir, &folder, err);
    if (status == 0 && folder >= 0) {
        const int64_t now_s = time(NULL);
        struct cache_trim trim = {.is_to_limit = full.to_bytes == 0,
                                  .to_bytes = full.to_bytes,
                                  .unused_since_s = INT64_MIN,
                                  .wants_all = full.removes_all,
                                  .wants_unusable = full.removes_unusable,
                                  .wait_ms = CLEAN_WAIT_MS};
        if (full.unused_seconds != 0)
            trim.unused_since_s =
                full.unused_seconds < (uint64_t)now_s ? now_s - (int64_t)full.unused_seconds : 0;
        status = cache_trim(folder, &trim, cache_limit(folder, full.limit_bytes), &cleaned, err);
    }
    if (status == 0 && ret_cleaned != NULL)
        output_fill(ret_cleaned, &cleaned, sizeof cleaned);
    return status;
}
