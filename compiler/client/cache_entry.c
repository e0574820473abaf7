/*
 * compiler/client/cache_entry.c: where the image of a module is in the cache, and how it is found.
 * An entry's name is the hash of everything that determines the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "cache_entry.h"
#include "cache_files.h"
#include "client.h"
#include "error.h"
#include "feature.h"
#include "image.h"
#include "layout.h"
#include "options.h"

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
