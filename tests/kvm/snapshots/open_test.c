/*
 * tests/kvm/snapshots/open_test.c: ways to open an image: without an engine that comes later,
 * copied, mapped; files that change or get shorter afterwards; what damage does in each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "engine_internal.h"
#include "guest_image.h"
#include "guest_lab.h"
#include "harness.h"
#include "image_builder.h"
#include "image_internal.h"
#include "literals.h"

#define AS_MAPPED                                                                                  \
    (&(struct husk_open_options){.size = sizeof(struct husk_open_options), .uses_file = true})
#define AS_MAPPED_UNHASHED                                                                         \
    (&(struct husk_open_options){                                                                  \
        .size = sizeof(struct husk_open_options), .uses_file = true, .skips_hash = true})

static struct husk_error err;

static uint8_t *image_bytes(uint64_t cpu_features, size_t *ret_count) {
    struct image_builder builder;
    guest_image_build(&builder);
    builder.module.cpu_features |= cpu_features;
    uint8_t *bytes = builder_finish(&builder, ret_count);
    builder_done(&builder);
    return bytes;
}

/* In a folder on disk where there is one. */
static int image_on_disk(char path[64]) {
    size_t count;
    uint8_t *bytes = image_bytes(0, &count);
    const bool has_disk = access("/var/tmp", W_OK) == 0;
    snprintf(path, 64, "%s/husk-open-XXXXXX", has_disk ? "/var/tmp" : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    free(bytes);
    return fd;
}

static void check_runs(husk_engine *engine, husk_image *image) {
    husk_imports *imports;
    husk_sandbox *sandbox = NULL;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_unknown(imports, HUSK_UNKNOWN_TRAP, &err), err);
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    guest_call(sandbox, "read", HUSK_WASM_PAGE_SIZE - 8, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
    guest_run(sandbox, "trap", NULL, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
}

TEST(an_engine_comes_later) {
    SKIP_WITHOUT_KVM();
    size_t count;
    uint8_t *bytes = image_bytes(0, &count);
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    CHECK_STATUS(husk_sandbox_new(image, NULL, NULL, &sandbox, &err), HUSK_E_INVAL);
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_STATUS(husk_image_set_engine(NULL, engine, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_image_set_engine(image, NULL, &err), HUSK_E_INVAL);
    CHECK_OK(husk_image_set_engine(image, engine, &err), err);
    CHECK_STATUS(husk_image_set_engine(image, engine, &err), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "already");
    check_runs(engine, image);
    husk_engine_unref(engine); /* the image has its own share */
    husk_image_unref(image);
    free(bytes);
}

TEST(an_engine_whose_cpu_lacks_something) {
    SKIP_WITHOUT_KVM();
    size_t count;
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_engine_host_info(engine, &info), err);
    uint64_t missing = 0;
    for (unsigned bit = 0; bit < 24 && missing == 0; bit++)
        missing = ~info.cpu_features & 1ull << bit;
    if (missing == 0) /* as if it had not */
        missing = engine->host_info.cpu_features & 1;
    engine->host_info.cpu_features &= ~missing;
    uint8_t *bytes = image_bytes(missing, &count);
    CHECK_OK(husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    CHECK_STATUS(husk_image_set_engine(image, engine, &err), HUSK_E_CPU);
    engine->host_info.cpu_features |= missing;
    CHECK_OK(husk_image_set_engine(image, engine, &err), err); /* nothing had changed */
    husk_image_unref(image);
    husk_engine_unref(engine);
    free(bytes);
}

TEST(a_copy_does_not_change) {
    SKIP_WITHOUT_KVM();
    char path[64];
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    int fd = image_on_disk(path);
    CHECK_OK(husk_image_open(engine, path, NULL, &image, &err), err);
    CHECK(ftruncate(fd, 0) == 0);
    check_runs(engine, image);
    husk_image_unref(image);
    husk_engine_unref(engine);
    unlink(path);
    close(fd);
}

/* It is the file itself: same device and inode, no memory of its own. And it may be deleted. */
TEST(a_mapped_file_is_not_copied) {
    SKIP_WITHOUT_KVM();
    char path[64];
    husk_engine *engine = NULL;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    int fd = image_on_disk(path);
    for (int i = 0; i < 2; i++) {
        husk_image *image = NULL;
        struct stat own, file;
        CHECK_OK(
            husk_image_open(engine, path, i == 0 ? AS_MAPPED : AS_MAPPED_UNHASHED, &image, &err),
            err);
        CHECK(fstat(image->code->file->fd, &own) == 0 && fstat(fd, &file) == 0);
        CHECK(own.st_dev == file.st_dev && own.st_ino == file.st_ino);
        check_runs(engine, image);
        if (i == 1)
            unlink(path);
        check_runs(engine, image);
        husk_image_unref(image);
    }
    husk_engine_unref(engine);
    close(fd);
}

static int open_fd(int fd, const struct husk_open_options *options) {
    husk_image *image = NULL;
    int status = husk_image_open_fd(NULL, fd, options, &image, &err);
    husk_image_unref(image);
    return status;
}

TEST(damage_is_found_in_each_way) {
    char path[64];
    int fd = image_on_disk(path);
    struct stat st;
    uint8_t byte;
    CHECK(fstat(fd, &st) == 0);
    for (off_t at = 1; at < st.st_size; at += 997) {
        CHECK(pread(fd, &byte, 1, at) == 1);
        const uint8_t changed = byte ^ 4;
        CHECK(pwrite(fd, &changed, 1, at) == 1);
        CHECK(open_fd(fd, NULL) != 0);
        CHECK(open_fd(fd, AS_MAPPED) != 0);
        CHECK(pwrite(fd, &byte, 1, at) == 1);
    }
    CHECK_OK(open_fd(fd, NULL), err);
    CHECK_OK(open_fd(fd, AS_MAPPED), err);
    CHECK(ftruncate(fd, st.st_size - 1) == 0); /* cut off */
    CHECK_STATUS(open_fd(fd, NULL), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(open_fd(fd, AS_MAPPED), HUSK_E_BAD_IMAGE);
    CHECK(ftruncate(fd, st.st_size + 1) == 0);
    CHECK_STATUS(open_fd(fd, NULL), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(open_fd(fd, AS_MAPPED), HUSK_E_BAD_IMAGE);
    CHECK(ftruncate(fd, 0) == 0);
    CHECK_STATUS(open_fd(fd, AS_MAPPED), HUSK_E_BAD_IMAGE);
    close(fd);
    unlink(path);
    fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK_STATUS(open_fd(fd, AS_MAPPED), HUSK_E_BAD_IMAGE);
    close(fd);
}

TEST_MAIN()
