/*
 * compiler/client/cache.c: husk_compile_cached(): keeps images in a folder. The name of an entry is
 * the hash of everything that determines the image. cache_store.c puts images there. Entries are
 * complete or absent (file_replace() renames), so processes need no lock. If two processes miss at
 * once, both compile, and the later rename wins. An error of the folder never fails the compile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "background.h"
#include "cache_files.h"
#include "cache_limit.h"
#include "client.h"
#include "error.h"
#include "feature.h"
#include "file.h"
#include "image.h"
#include "layout.h"
#include "sha256.h"
#include "options.h"
#include "seen.h"

#define KEY_FORMAT 2 /* of what goes into the key */

/* Which compiler: its version is not known without starting it, but another build is another
 * file. */
static int hash_worker(struct sha256 *hash, const struct husk_compile_options *options,
                       struct husk_error *err) {
    struct worker_program program;
    struct stat st;
    char text[160];
    int status = worker_locate(options->worker_path, &program, err);
    if (status != 0)
        return status;
    if (fstat(program.fd, &st) != 0)
        status = error_sys(err, errno, "cannot look at the compiler %s", program.path);
    worker_program_done(&program);
    if (status != 0)
        return status;
    int bytes = snprintf(text, sizeof text, "worker %lld %lld.%09ld\n", (long long)st.st_size,
                         (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    sha256_update(hash, text, (size_t)bytes);
    return 0;
}

static int cache_key(const struct worker_job *job, const uint8_t wasm_sha256[SHA256_BYTES],
                     const struct husk_compile_options *options, char ret_hex[2 * SHA256_BYTES + 1],
                     struct husk_error *err) {
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    char cpu[96] = "", text[320];
    if (strcmp(options->cpu, "native") == 0)
        cpu_identity(cpu);
    wasm_features_t disabled = 0;
    int status = wasm_features_parse(options->disable, &disabled, err);
    if (status != 0)
        return status;
    sha256_init(&hash);
    int bytes = snprintf(
        text, sizeof text,
        "husk-cache %d husk %d.%d.%d format %d abi %d opt %d strict %d modules %u disable %x cpu "
        "%.64s %s\n",
        KEY_FORMAT, HUSK_VERSION_MAJOR, HUSK_VERSION_MINOR, HUSK_VERSION_PATCH, HUSK_IMAGE_FORMAT,
        HUSK_ABI_VERSION, options->opt_level, options->strict, job->modules_count, disabled,
        options->cpu, cpu);
    sha256_update(&hash, text, (size_t)bytes);
    sha256_update(&hash, wasm_sha256, SHA256_BYTES);
    status = hash_worker(&hash, options, err);
    if (status != 0)
        return status;
    sha256_final(&hash, digest);
    sha256_hex(digest, ret_hex);
    return 0;
}

int cache_entry_path(const struct worker_job *job, const uint8_t wasm_sha256[SHA256_BYTES],
                     const struct husk_compile_options *full, char **ret_path,
                     struct husk_error *err) {
    char key[2 * SHA256_BYTES + 1];
    int status = cache_key(job, wasm_sha256, full, key, err);
    if (status != 0)
        return status;
    size_t room = strlen(full->cache_dir) + sizeof key + 16;
    char *path = malloc(room);
    if (path == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a path");
    snprintf(path, room, "%s/%s.husk", full->cache_dir, key);
    *ret_path = path;
    return 0;
}

int cache_open_entry(const char *path, const uint8_t wasm_sha256[SHA256_BYTES]) {
    auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || !image_verify(fd, wasm_sha256))
        return -1;
    cache_mark_used(fd);
    return take_fd(&fd);
}

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
