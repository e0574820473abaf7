/* tests/support/ready_image.c: see ready_image.h. */
#include "ready_image.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "file.h"
#include "harness.h"
#include "husk_compile.h"
#include "sha256.h"

static const char *images_dir(void) {
    return getenv("HUSK_TEST_IMAGES");
}

static const char *images_cpu(void) {
    return images_dir() != NULL ? getenv("HUSK_TEST_IMAGES_CPU") : NULL;
}

bool ready_images_only(void) {
    return images_dir() != NULL && images_cpu() == NULL;
}

static void image_path(const void *source, size_t count, char ret_path[4096]) {
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];
    sha256_bytes(source, count, digest);
    sha256_hex(digest, hex);
    snprintf(ret_path, 4096, "%s/%s.husk", images_dir(), hex);
}

int ready_image_open(const void *source, size_t count) {
    char path[4096];
    if (images_dir() == NULL)
        return -1;
    image_path(source, count, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_MSG(fd >= 0 || !ready_images_only(), "%s: the image was not made beforehand", path);
    return fd;
}

static struct husk_compile_options options_of(const char *worker_path) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    options.worker_path = worker_path;
    options.cpu = images_cpu();
    return options;
}

static void keep(const void *source, size_t source_count, int fd) {
    struct husk_error err;
    char path[4096];
    struct stat st;
    if (images_cpu() == NULL)
        return;
    image_path(source, source_count, path);
    CHECK(fstat(fd, &st) == 0);
    CHECK_OK(file_replace(path, fd, (uint64_t)st.st_size, &err), err);
}

int ready_image_compile(const void *source, size_t source_count, const uint8_t *wasm,
                        size_t wasm_count, const char *worker_path) {
    int fd = ready_image_open(source, source_count);
    if (fd >= 0)
        return fd;
    struct husk_error err;
    struct husk_compile_options options = options_of(worker_path);
    CHECK_OK(husk_compile(wasm, wasm_count, &options, &fd, &err), err);
    keep(source, source_count, fd);
    return fd;
}

int ready_image_link(const void *source, size_t source_count, const struct husk_module *modules,
                     size_t modules_count, const char *worker_path) {
    int fd = ready_image_open(source, source_count);
    if (fd >= 0)
        return fd;
    struct husk_error err;
    struct husk_compile_options options = options_of(worker_path);
    CHECK_OK(husk_compile_linked(modules, modules_count, &options, &fd, &err), err);
    keep(source, source_count, fd);
    return fd;
}
