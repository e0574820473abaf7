/*
 * tests/kvm/snapshots/share_test.c: images for other processes (husk_image_share()): descriptors
 * that are mapped and not copied, with one copy of the text for all; which files can be trusted not
 * to change, and which are copied.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "guest_image.h"
#include "guest_lab.h"
#include "harness.h"
#include "image_internal.h"
#include "literals.h"

#define SEALS_ALL (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static struct husk_error err;

static bool is_same_file(int a, int b) {
    struct stat one, other;
    CHECK(fstat(a, &one) == 0 && fstat(b, &other) == 0);
    return one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static int share(const husk_image *image) {
    int fd = -1;
    CHECK_OK(husk_image_share(image, &fd, &err), err);
    CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
    CHECK_EQ_I64(fcntl(fd, F_GET_SEALS) & SEALS_ALL, SEALS_ALL);
    CHECK(write(fd, "x", 1) < 0);
    return fd;
}

/* Is it the file itself? */
static bool is_mapped(int fd, const struct husk_open_options *options) {
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_fd(NULL, fd, options, &image, &err), err);
    const bool is = is_same_file(image->code->file->fd, fd);
    husk_image_unref(image);
    return is;
}

/* As another process does: an engine of its own, and what the guest's memory has at its end. */
static int64_t run_shared(int fd, bool skips_hash) {
    struct guest_lab lab;
    husk_image *image = NULL;
    guest_lab_open(&lab, NULL, NULL, NULL);
    CHECK_OK(husk_image_open_fd(lab.engine, fd, skips_hash ? SKIP_HASH : NULL, &image, &err), err);
    CHECK(is_same_file(image->code->file->fd, fd));
    CHECK_OK(husk_sandbox_load(lab.sandbox, image, lab.imports, &err), err);
    const int64_t value = guest_call(lab.sandbox, "read", HUSK_WASM_PAGE_SIZE - 8, &lab.outcome);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    husk_image_unref(image);
    guest_lab_close(&lab);
    return value;
}

static void write_word(husk_sandbox *sandbox, int64_t word) {
    const struct husk_range range = {.addr = HUSK_WASM_PAGE_SIZE - 8, .count = sizeof word};
    CHECK_OK(husk_memory_write(sandbox, &range, &word, &err), err);
}

/* In a child, with and without the hash. */
static void check_child_reads(int fd, int64_t word) {
    const pid_t child = fork();
    int status = -1;
    CHECK(child >= 0);
    if (child == 0)
        _exit(run_shared(fd, true) == word && run_shared(fd, false) == word ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQ_I64(status, 0);
}

TEST(an_opened_image_is_shared_as_it_is) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL); /* its sandbox runs on the same file */
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    for (int i = 0; i < 2; i++) {
        int fd = share(lab.image);
        CHECK(is_same_file(fd, lab.image->code->file->fd));
        check_child_reads(fd, 0);
        close(fd);
    }
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
    guest_lab_close(&lab);
}

TEST(a_snapshot_is_shared_with_its_state) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    husk_image *snapshot = NULL;
    guest_lab_open(&lab, NULL, NULL, NULL);
    write_word(lab.sandbox, 4711);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &err), err);
    int fd = share(snapshot);
    write_word(lab.sandbox, 1);
    husk_image_unref(snapshot);
    check_child_reads(fd, 4711);
    guest_lab_close(&lab);
    CHECK_EQ_I64(run_shared(fd, true), 4711); /* also when all else is gone */
    close(fd);
}

/* ---- one copy ---- */

/* KiB of the mappings of this file that are there, and of those that others have mapped, too. */
static void resident_of(int fd, unsigned long *ret_rss, unsigned long *ret_shared) {
    struct stat st;
    char line[512];
    unsigned long kib, inode = 0;
    FILE *maps = fopen("/proc/self/smaps", "re");
    CHECK(maps != NULL && fstat(fd, &st) == 0);
    *ret_rss = *ret_shared = 0;
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long number;
        if (sscanf(line, "%*x-%*x %*s %*x %*s %lu", &number) == 1)
            inode = number;
        if (inode != st.st_ino)
            continue;
        if (sscanf(line, "Rss: %lu", &kib) == 1)
            *ret_rss += kib;
        if (sscanf(line, "Shared_Clean: %lu", &kib) == 1 ||
            sscanf(line, "Shared_Dirty: %lu", &kib) == 1)
            *ret_shared += kib;
    }
    fclose(maps);
}

/* Open it, read all of its text, say so, and wait for the end of the pipe. */
static void hold(int fd, int said, int until) {
    husk_image *image = NULL;
    char byte = 1;
    if (husk_image_open_fd(NULL, fd, SKIP_HASH, &image, NULL) != 0)
        _exit(1);
    for (uint64_t at = 0; at < image->code->ro_bytes; at += HUSK_PAGE_SIZE)
        byte |= (char)((volatile uint8_t *)image->code->ro_hva)[at];
    if (write(said, &byte, 1) != 1 || read(until, &byte, 1) != 0)
        _exit(2);
    _exit(0);
}

TEST(two_processes_have_one_copy_of_the_text) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    husk_image *image = NULL;
    int said[2], until[2], status = -1;
    unsigned long rss, shared;
    char byte;
    guest_lab_open(&lab, NULL, NULL, NULL);
    int fd = share(lab.image);
    CHECK(pipe2(said, O_CLOEXEC) == 0 && pipe2(until, O_CLOEXEC) == 0);
    CHECK_OK(husk_image_open_fd(NULL, fd, SKIP_HASH, &image, &err), err);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(until[1]);
        hold(fd, said[1], until[0]);
    }
    CHECK(read(said[0], &byte, 1) == 1);
    for (uint64_t at = 0; at < image->code->ro_bytes; at += HUSK_PAGE_SIZE)
        byte |= (char)((volatile uint8_t *)image->code->ro_hva)[at];
    resident_of(fd, &rss, &shared);
    printf("  %lu KiB of the file are mapped, %lu of them shared\n", rss, shared);
    CHECK(rss > 0 && shared == rss);
    close(until[1]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    close(until[0]);
    close(said[0]);
    close(said[1]);
    husk_image_unref(image);
    close(fd);
    guest_lab_close(&lab);
}

/* ---- files that may change ---- */

/* Whose seals are not enough: it is copied, and changes afterwards do no harm. */
TEST(a_memfd_that_may_change_is_copied) {
    static const int seals[] = {0, F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW,
                                F_SEAL_SHRINK | F_SEAL_GROW};
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    for (size_t i = 0; i < sizeof seals / sizeof seals[0]; i++) {
        int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
        CHECK(seals[i] == 0 || fcntl(fd, F_ADD_SEALS, seals[i]) == 0);
        CHECK_MSG(!is_mapped(fd, NULL), "seals 0x%x", seals[i]);
        CHECK_EQ_I64(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
        CHECK(is_mapped(fd, NULL) && is_mapped(fd, SKIP_HASH));
        close(fd);
    }
    free(bytes);
}

/* A seal against future writes leaves older mappings: somebody may write still. */
TEST(a_memfd_with_an_older_writable_mapping_is_copied) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    husk_image *image = NULL;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    int fd = memfd_create("image", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    uint8_t *map = mmap(NULL, count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    if (fcntl(fd, F_ADD_SEALS, 0x0010 /* F_SEAL_FUTURE_WRITE */ | F_SEAL_SHRINK) != 0)
        SKIP("the kernel has no seal against future writes");
    CHECK_OK(husk_image_open_fd(NULL, fd, NULL, &image, &err), err);
    CHECK(!is_same_file(image->code->file->fd, fd));
    memset(map, 0xff, count);
    CHECK_EQ_I64(husk_image_info(image, &info), 0);
    CHECK_OK(husk_image_check(image, &err), err);
    munmap(map, count);
    husk_image_unref(image);
    close(fd);
    free(bytes);
}

static int file_on_disk(char path[64], const void *bytes, size_t count) {
    snprintf(path, 64, "%s/husk-share-XXXXXX", access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    return fd;
}

TEST(of_a_file_on_disk_a_copy_is_shared) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    const struct husk_open_options as_mapped = {.size = sizeof as_mapped, .uses_file = true};
    const struct husk_open_options as_once = {.size = sizeof as_once, .serves_once = true};
    husk_image *image = NULL;
    char path[64];
    int shared = -1, fd = file_on_disk(path, bytes, count);
    CHECK(!is_mapped(fd, NULL));
    CHECK_OK(husk_image_open_fd(NULL, fd, &as_mapped, &image, &err), err);
    shared = share(image);
    CHECK(!is_same_file(shared, fd) && is_mapped(shared, NULL));
    close(shared);
    CHECK_STATUS(husk_image_share(NULL, &shared, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_image_share(image, NULL, &err), HUSK_E_INVAL);
    husk_image_unref(image);
    CHECK_OK(husk_image_open_fd(NULL, fd, &as_once, &image, &err), err);
    shared = -7;
    CHECK_STATUS(husk_image_share(image, &shared, &err), HUSK_E_STATE);
    CHECK_EQ_I64(shared, -7);
    husk_image_unref(image);
    close(fd);
    unlink(path);
    free(bytes);
}

/* Where the kernel and the file system have it. */
TEST(a_file_with_verity_is_mapped) {
    struct {
        uint32_t version, hash_algorithm, block_size, salt_size;
        uint64_t salt_ptr;
        uint32_t sig_size, reserved1;
        uint64_t sig_ptr, reserved2[11];
    } enable = {.version = 1, .hash_algorithm = 1 /* SHA-256 */, .block_size = 4096};
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    char path[64];
    close(file_on_disk(path, bytes, count));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && !is_mapped(fd, NULL));
    const bool has_verity = ioctl(fd, _IOW('f', 133, enable), &enable) == 0;
    if (has_verity) {
        CHECK(is_mapped(fd, NULL) && is_mapped(fd, SKIP_HASH));
        CHECK(open(path, O_RDWR | O_CLOEXEC) < 0 && truncate(path, 0) < 0);
    }
    close(fd);
    unlink(path);
    free(bytes);
    if (!has_verity)
        SKIP("no fs-verity here (kernel, or the file system of /var/tmp)");
}

/* ---- threads ---- */

enum { THREADS = 4, TIMES = 20 };

static void *share_often(void *user) {
    for (int i = 0; i < TIMES; i++) {
        int fd = -1;
        if (husk_image_share(user, &fd, NULL) != 0)
            return user;
        close(fd);
    }
    return NULL;
}

TEST(threads_share_one_image) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    pthread_t threads[THREADS];
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, share_often, image), 0);
    for (int i = 0; i < THREADS; i++) {
        void *failed = image;
        CHECK_EQ_I64(pthread_join(threads[i], &failed), 0);
        CHECK(failed == NULL);
    }
    husk_image_unref(image);
    free(bytes);
}

TEST_MAIN()
