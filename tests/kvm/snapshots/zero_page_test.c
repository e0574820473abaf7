/*
 * tests/kvm/snapshots/zero_page_test.c: the kernel may put its shared page of zeros where a guest
 * wrote zeros. Samepage merging does so at any time (KSM with use_zero_pages, in processes that ask
 * for it by PR_SET_MEMORY_MERGE, such as with systemd's MemoryKSM=). With userfaultfd, a test can
 * do the same at once. Such a page counts as written, like any other.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest_lab.h"
#include "layout.h"
#include "sandbox_internal.h"
#include "wat.h"

enum { FILL = 0x55 };

/* A userfaultfd, or -1: the kernel was built without, or does not give it to us. */
static int userfault_open(void) {
    enum { USER_MODE_ONLY = 1 }; /* newer (5.11) than the oldest kernel headers we build with */
    struct uffdio_api api = {.api = UFFD_API};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | USER_MODE_ONLY);
    if (fd >= 0 && ioctl(fd, UFFDIO_API, &api) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* What KSM does to a page of zeros. */
static void replace_by_zero_page(int fd, uint8_t *page) {
    const struct uffdio_range range = {.start = (uintptr_t)page, .len = HUSK_PAGE_SIZE};
    struct uffdio_register arg = {.range = range, .mode = UFFDIO_REGISTER_MODE_MISSING};
    struct uffdio_zeropage zeros = {.range = range};
    struct uffdio_range done = range;
    CHECK_MSG(ioctl(fd, UFFDIO_REGISTER, &arg) == 0, "UFFDIO_REGISTER: %s", strerror(errno));
    CHECK_EQ_I64(madvise(page, HUSK_PAGE_SIZE, MADV_DONTNEED), 0);
    CHECK_MSG(ioctl(fd, UFFDIO_ZEROPAGE, &zeros) == 0, "UFFDIO_ZEROPAGE: %s", strerror(errno));
    CHECK_EQ_I64(ioctl(fd, UFFDIO_UNREGISTER, &done), 0);
}

/* Not husk_memory_span(), which has every restore look at its pages. */
static uint8_t *memory_of(husk_sandbox *sandbox) {
    return sandbox->machine->arena.memories[0].hva;
}

static bool is_full_of(const uint8_t *page, uint8_t value) {
    return page[0] == value && memcmp(page, page + 1, HUSK_PAGE_SIZE - 1) == 0;
}

/* A sandbox from a snapshot whose pages 2 to 4 are full. */
static husk_sandbox *full_open(struct guest_lab *lab, husk_image **ret_snapshot) {
    husk_sandbox *sandbox = NULL;
    guest_lab_open(lab, NULL, NULL, NULL);
    memset(memory_of(lab->sandbox) + 2 * HUSK_PAGE_SIZE, FILL, 3 * HUSK_PAGE_SIZE);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, ret_snapshot, &lab->err), lab->err);
    CHECK_OK(husk_sandbox_new(*ret_snapshot, lab->imports, NULL, &sandbox, &lab->err), lab->err);
    return sandbox;
}

static void full_close(struct guest_lab *lab, husk_image *snapshot, husk_sandbox *sandbox) {
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    guest_lab_close(lab);
}

#define SKIP_WITHOUT_USERFAULT(fd)                                                                 \
    do {                                                                                           \
        if ((fd) < 0)                                                                              \
            SKIP("no userfaultfd: %s", strerror(errno));                                           \
    } while (0)

TEST(a_page_of_zeros_is_restored) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    husk_image *snapshot = NULL;
    int fd = userfault_open();
    SKIP_WITHOUT_USERFAULT(fd);
    husk_sandbox *sandbox = full_open(&lab, &snapshot);
    for (int i = 0; i < 3; i++) {
        uint8_t *page = memory_of(sandbox) + 3 * HUSK_PAGE_SIZE;
        CHECK(is_full_of(page, FILL));
        memset(page, 0, HUSK_PAGE_SIZE);
        replace_by_zero_page(fd, page);
        CHECK(is_full_of(page, 0));
        CHECK_OK(husk_sandbox_restore(sandbox, snapshot, &lab.err), lab.err);
        CHECK_MSG(is_full_of(page, FILL), "restore %d left zeros where the image has contents", i);
    }
    full_close(&lab, snapshot, sandbox);
    close(fd);
}

TEST(a_page_of_zeros_is_in_the_next_snapshot) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    husk_image *snapshot = NULL, *second = NULL;
    husk_sandbox *other = NULL;
    int fd = userfault_open();
    SKIP_WITHOUT_USERFAULT(fd);
    husk_sandbox *sandbox = full_open(&lab, &snapshot);
    uint8_t *page = memory_of(sandbox) + 3 * HUSK_PAGE_SIZE;
    memset(page, 0, HUSK_PAGE_SIZE);
    replace_by_zero_page(fd, page);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &second, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_new(second, lab.imports, NULL, &other, &lab.err), lab.err);
    const uint8_t *memory = memory_of(other);
    CHECK(is_full_of(memory + 2 * HUSK_PAGE_SIZE, FILL));
    CHECK(is_full_of(memory + 3 * HUSK_PAGE_SIZE, 0));
    CHECK(is_full_of(memory + 4 * HUSK_PAGE_SIZE, FILL));
    husk_sandbox_free(other);
    husk_image_unref(second);
    full_close(&lab, snapshot, sandbox);
    close(fd);
}

/* Where the image has zeros, such a page is one that was only read: nothing to look at in every
 * restore. */
TEST(pages_that_were_only_read_are_not_hot) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_stats stats = HUSK_STATS_INIT;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (memory 4) (func (export \"sum\") (param i32) (result i32) (local i32)"
                 " (loop (local.set 1 (i32.add (local.get 1) (i32.load (local.get 0))))"
                 "  (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 4096))) "
                 "(i32.const 262144))))"
                 " (local.get 1)))",
                 NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "sum", 0), 0);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    husk_engine_stats(lab.engine, &stats);
    CHECK_MSG(stats.hot_pages < 16, "%llu hot pages after reading only",
              (unsigned long long)stats.hot_pages);
    wat_lab_close(&lab);
}

TEST_MAIN()
