/*
 * tests/unit/image_open_test.c: images by path, descriptor and bytes: what is no image, files that
 * change after they were opened, sealed ones. It uses no engine.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "image_internal.h"
#include "image_look.h"
#include "literals.h"

TEST(other_files) {
    struct husk_error err;
    husk_image *image = NULL;
    static const char wasm[64] = "\0asm\1";
    CHECK_STATUS(image_open_bytes(wasm, sizeof wasm, false, &err), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(err.message, "compile");
    CHECK_STATUS(image_open_bytes("", 0, false, &err), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(husk_image_open(NULL, "/proc/absent/x.husk", SKIP_HASH, &image, &err), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "/proc/absent/x.husk");
    CHECK_STATUS(husk_image_open(NULL, "/proc/self/exe", SKIP_HASH, &image, &err),
                 HUSK_E_BAD_IMAGE);
    CHECK_STATUS(husk_image_open(NULL, "/", SKIP_HASH, &image, &err), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(husk_image_open(NULL, "/dev/zero", SKIP_HASH, &image, &err), HUSK_E_BAD_IMAGE);
    CHECK_STATUS(husk_image_open_fd(NULL, -1, SKIP_HASH, &image, &err), HUSK_E_SYS);
    CHECK(image == NULL);
}

/* A file that is cut or changed while it is open does no harm: the image has its own bytes. */
TEST(files_that_change_under_us) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    char path[] = "/tmp/husk-image-XXXXXX";
    int fd = mkstemp(path);
    struct husk_error err;
    husk_image *image = NULL;
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    CHECK_OK(husk_image_open(NULL, path, NULL, &image, &err), err);
    CHECK_EQ_I64(ftruncate(fd, 0), 0);
    CHECK(image_look_at(image) > 0);
    husk_image_unref(image);
    close(fd);
    unlink(path);
    free(bytes);
}

/* The offset of the caller's descriptor is not moved; sealed files are used without a copy. */
TEST(descriptors) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    struct husk_error err;
    husk_image *image = NULL;
    for (int sealed = 0; sealed < 2; sealed++) {
        int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
        CHECK_EQ_I64(lseek(fd, 17, SEEK_SET), 17);
        if (sealed != 0)
            CHECK_EQ_I64(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
        CHECK_OK(husk_image_open_fd(NULL, fd, NULL, &image, &err), err);
        CHECK_EQ_I64(lseek(fd, 0, SEEK_CUR), 17);
        close(fd);
        CHECK(image_look_at(image) > 0);
        husk_image_unref(image);
    }
    free(bytes);
}

/* Sealed or not, it is not mapped: where there are no more huge pages, writing to a private mapping
 * of it would be a SIGBUS. */
TEST(a_file_of_huge_pages_is_copied_or_refused) {
    struct husk_error err;
    husk_image *image = NULL;
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (fd < 0 || ftruncate(fd, 2 << 20) != 0)
        SKIP("the kernel has no files of huge pages");
    CHECK_EQ_I64(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
    int status = husk_image_open_fd(NULL, fd, NULL, &image, &err);
    CHECK_MSG(status == HUSK_E_BAD_IMAGE || strstr(err.message, "cannot copy the image") != NULL,
              "%d: %s", status, err.message);
    close(fd);
}

#define NAMES_COUNT 4000
#define NAME_BYTES 1000
/* With each page the kernel may map its neighbours. */
#define NEIGHBOURS 16

static uint64_t mapped_pages(const uint8_t *from, uint64_t bytes) {
    uint64_t count = 0, entry;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    for (uint64_t at = 0; at < bytes; at += HUSK_PAGE_SIZE) {
        const off_t place = (off_t)(((uintptr_t)from + at) / HUSK_PAGE_SIZE * sizeof entry);
        CHECK_EQ_I64(pread(fd, &entry, sizeof entry, place), sizeof entry);
        count += entry >> 63;
    }
    close(fd);
    return count;
}

/* Of a file that cannot change, names are neither read nor copied: some 4 MB of them here. */
TEST(names_are_not_looked_at) {
    struct image_builder builder;
    struct husk_error err;
    husk_image *image = NULL;
    char name[NAME_BYTES + 1];
    size_t count;
    guest_image_build(&builder);
    const uint32_t first =
        (uint32_t)(builder.records[HUSK_REC_FUNCS].count / sizeof(struct husk_image_func));
    for (int i = 0; i < NAMES_COUNT; i++) {
        snprintf(name, sizeof name, "%0*d", NAME_BYTES, i);
        builder_func(&builder, 0, guest_gva(guest_add), 1, name);
    }
    uint8_t *bytes = builder_finish(&builder, &count);
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    CHECK_EQ_I64(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    CHECK_OK(husk_image_open_fd(NULL, fd, SKIP_HASH, &image, &err), err);
    struct image_code *code = image->code;
    struct image_name found;
    CHECK(code->strings_count > NAMES_COUNT * NAME_BYTES);
    const uint64_t before = mapped_pages(code->strings, code->strings_count);
    CHECK(before <= 2 * NEIGHBOURS); /* the few names of imports and exports */
    CHECK(image_look_at(image) > 0);
    CHECK(mapped_pages(code->strings, code->strings_count) <= before + NEIGHBOURS);
    snprintf(name, sizeof name, "%0*d", NAME_BYTES, NAMES_COUNT / 2);
    CHECK_OK(image_func_name(code, first + NAMES_COUNT / 2, &found, &err), err);
    CHECK_STR(found.text, name);
    CHECK(mapped_pages(code->strings, code->strings_count) > before);
    husk_image_unref(image);
    close(fd);
    free(bytes);
    builder_done(&builder);
}

TEST_MAIN()
