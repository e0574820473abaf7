/*
 * tests/unit/image_open_test.c: images by path, descriptor and bytes: what is no image, files that
 * change after they were opened, sealed ones. It uses no engine.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "guest_image.h"
#include "harness.h"
#include "husk.h"
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

TEST_MAIN()
