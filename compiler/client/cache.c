/*
 * compiler/client/cache.c: husk_compile_cached(): keeps images in a folder. The name of an entry is
 * the hash of everything that determines the image. cache_store.c puts images there. Entries are
 * complete or absent (file_replace() renames), so processes need no lock. If two processes miss at
 * once, both compile, and the later rename wins. An error of the folder never fails the compile.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "background.h"
#include "cache_entry.h"
#include "cache_files.h"
#include "cache_limit.h"
#include "client.h"
#include "error.h"
#include "file.h"
#include "image.h"
#include "sha256.h"
#include "options.h"
#include "seen.h"

static void warn(struct husk_error *ret_warning, const struct husk_error *cause) {
    if (ret_warning != NULL) {
        *ret_warning = *cause;
        error_while(ret_warning, cause->status,
                    "caching the compiled module; it will be compiled again next time");
    }
}

/* Found, or compiled and stored. */
static int cached_or_made(const struct worker_job *job, const uint8_t wasm_sha256[SHA256_BYTES],
                          const struct husk_compile_options *full,
                          struct husk_compiled *ret_compiled, struct husk_error *err) {
    uint64_t bytes = 0;
    auto_free char *path = NULL;
    int status = cache_entry_path(job, wasm_sha256, full, &path, err);
    if (status != 0)
        return status;
    auto_fd fd = cache_open_entry(path, wasm_sha256);
    ret_compiled->was_cached = fd >= 0;
    if (fd < 0) {
        struct husk_error cause;
        status = worker_run(job, full, &fd, &bytes, err);
        if (status != 0)
            return status;
        if (cache_store(full, path, fd, bytes, &cause) != 0)
            warn(&ret_compiled->warning, &cause);
    }
    ret_compiled->fd = take_fd(&fd);
    return 0;
}

/* Found; or one of level 0, and a job for the wanted one, if that can be put into the folder. */
static int cached_or_begun(const struct worker_job *job, const uint8_t wasm_sha256[SHA256_BYTES],
                           const struct husk_compile_options *full,
                           struct husk_compiled *ret_compiled, struct husk_error *err) {
    struct husk_compile_options first = *full;
    auto_free char *path = NULL;
    int status = cache_entry_path(job, wasm_sha256, full, &path, err);
    if (status != 0)
        return status;
    ret_compiled->fd = cache_open_entry(path, wasm_sha256);
    ret_compiled->was_cached = ret_compiled->fd >= 0;
    if (ret_compiled->was_cached)
        return 0;
    first.opt_level = 0;
    status = cached_or_made(job, wasm_sha256, &first, ret_compiled, err);
    if (status != 0)
        return status;
    if (ret_compiled->warning.status == 0)
        background_start(job, full, wasm_sha256, path, ret_compiled);
    else
        ret_compiled->background = HUSK_BACKGROUND_REFUSED;
    return 0;
}

/* With a cache folder. */
static int cache_options(const struct husk_compile_options *options,
                         struct husk_compile_options *ret_full,
                         const struct husk_compiled *ret_compiled, struct husk_error *err) {
    int status = output_check("husk_compiled", ret_compiled, err);
    if (status == 0)
        status = client_options(options, ret_full, err);
    if (status == 0 && (ret_full->cache_dir == NULL || ret_full->cache_dir[0] == '\0'))
        return error_set(err, HUSK_E_INVAL,
                         "no cache folder is given (husk_compile_options.cache_dir)");
    return status;
}

static void note_file(const struct husk_compile_options *full, int fd, const struct stat *before,
                      const uint8_t wasm_sha256[SHA256_BYTES]) {
    char name[SEEN_NAME_BYTES];
    if (seen_note(full->cache_dir, fd, before, wasm_sha256, name))
        cache_stored(full->cache_dir, name, full->cache_limit_bytes);
}

/* fd: the file that has the bytes, which was looked at before they were read; -1: none. */
static int compile_cached(const struct worker_job *job, int fd, const struct stat *before,
                          const struct husk_compile_options *options,
                          struct husk_compiled *ret_compiled, struct husk_error *err) {
    struct husk_compile_options full;
    struct husk_compiled compiled = {.warning = {.offset = HUSK_NO_OFFSET},
                                     .background_error = {.offset = HUSK_NO_OFFSET}};
    uint8_t wasm_sha256[SHA256_BYTES];
    int status = cache_options(options, &full, ret_compiled, err);
    if (status != 0)
        return status;
    sha256_bytes(job->bytes, job->count, wasm_sha256);
    const bool is_begun = full.optimise_in_background && full.opt_level != 0 &&
                          job->count >= BACKGROUND_WASM_BYTES_MIN;
    status = (is_begun ? cached_or_begun : cached_or_made)(job, wasm_sha256, &full, &compiled, err);
    if (status != 0)
        return status;
    if (fd >= 0)
        note_file(&full, fd, before, wasm_sha256);
    output_fill(ret_compiled, &compiled, sizeof compiled);
    return 0;
}

int husk_compile_cached(const void *wasm, size_t count, const struct husk_compile_options *options,
                        struct husk_compiled *ret_compiled, struct husk_error *err) {
    const struct worker_job job = {.bytes = wasm, .count = count};
    if (wasm == NULL || ret_compiled == NULL)
        return error_set(err, HUSK_E_INVAL, "no module, or no place for the result");
    return compile_cached(&job, -1, NULL, options, ret_compiled, err);
}

int husk_compile_linked_cached(const struct husk_module *modules, size_t count,
                               const struct husk_compile_options *options,
                               struct husk_compiled *ret_compiled, struct husk_error *err) {
    struct worker_job job = {0};
    if (ret_compiled == NULL)
        return error_set(err, HUSK_E_INVAL, "no place for the result");
    int status = link_job_make(modules, count, &job, err);
    if (status == 0)
        status = compile_cached(&job, -1, NULL, options, ret_compiled, err);
    worker_job_done(&job);
    return status;
}

#define MODULE_BYTES_MAX (1ull << 30) /* no engine takes larger modules */

int husk_compile_cached_fd(int fd, const struct husk_compile_options *options,
                           struct husk_compiled *ret_compiled, struct husk_error *err) {
    struct worker_job job = {0};
    struct stat before;
    auto_free uint8_t *bytes = NULL;
    if (ret_compiled == NULL)
        return error_set(err, HUSK_E_INVAL, "no place for the result");
    const bool is_at_start = lseek(fd, 0, SEEK_SET) == 0; /* a pipe is where it is */
    const bool is_noted = is_at_start && seen_begin(fd, &before);
    int status = file_read_fd(fd, "the module", MODULE_BYTES_MAX, &bytes, &job.count, err);
    if (status != 0)
        return status;
    job.bytes = bytes;
    return compile_cached(&job, is_noted ? fd : -1, &before, options, ret_compiled, err);
}

int husk_cache_find(int fd, const struct husk_compile_options *options,
                    struct husk_compiled *ret_compiled, struct husk_error *err) {
    struct husk_compile_options full;
    struct husk_compiled compiled = {.was_cached = true,
                                     .warning = {.offset = HUSK_NO_OFFSET},
                                     .background_error = {.offset = HUSK_NO_OFFSET}};
    struct husk_image_header header;
    uint8_t wasm_sha256[SHA256_BYTES];
    auto_free char *path = NULL;
    uint64_t offset;
    if (ret_compiled == NULL)
        return error_set(err, HUSK_E_INVAL, "no place for the result");
    int status = cache_options(options, &full, ret_compiled, err);
    if (status != 0)
        return status;
    if (!seen_find(full.cache_dir, fd, wasm_sha256))
        return error_set(err, HUSK_E_NOT_FOUND, "the cache does not know the file");
    status = cache_entry_path(&(struct worker_job){0}, wasm_sha256, &full, &path, err);
    if (status != 0)
        return status;
    auto_fd entry = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (entry < 0 || !image_is_of(entry, wasm_sha256, &header, &offset))
        return error_set(err, HUSK_E_NOT_FOUND, "the cache has no image of the file");
    cache_mark_used(entry);
    compiled.fd = take_fd(&entry);
    output_fill(ret_compiled, &compiled, sizeof compiled);
    return 0;
}
