/*
 * tests/kvm/snapshots/restore_faults_test.c: the first write to a page, after requests that took
 * no page fault: whoever makes it, and whatever else knows of it, the next restore brings it back.
 */
#include <pthread.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "layout.h"
#include "literals.h"
#include "sandbox_internal.h"
#include "wat.h"

static const char module[] =
    "(module (memory 16)"
    " (func (export \"store\") (param $page i32) (result i32)"
    "  (i32.store (i32.mul (local.get $page) (i32.const 4096)) (i32.const 4711)) (i32.const 1))"
    " (func (export \"clear\") (param $page i32) (result i32)"
    "  (i32.store (i32.mul (local.get $page) (i32.const 4096)) (i32.const 0)) (i32.const 1))"
    " (func (export \"load\") (param $page i32) (result i32)"
    "  (i32.load (i32.mul (local.get $page) (i32.const 4096)))))";

static struct wat_lab lab;
static husk_image *snapshot;
static const struct vcpu_ops *real_ops;

static struct machine *machine(void) {
    return lab.sandbox->machine;
}

static void store(int32_t page) {
    CHECK_EQ_I64(wat_call_i32(&lab, "store", page), 1);
}

static void restore(void) {
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
}

static void open_lab(void) {
    wat_lab_init(&lab);
    real_ops = lab.engine->vcpu_ops;
    wat_lab_open(&lab, module, NULL);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
}

static void close_lab(void) {
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* Page 1 is hot, and the first times' faults are over. */
static void settle(void) {
    for (int i = 0; i < 5; i++) {
        store(1);
        restore();
    }
}

/* Read by the host, so that the guest takes no fault. */
static void check_restored(uint32_t page) {
    uint32_t word = 1;
    CHECK_OK(husk_memory_read(lab.sandbox, RANGE(.addr = page * HUSK_PAGE_SIZE, .count = 4), &word,
                              &lab.err),
             lab.err);
    CHECK_MSG(word == 0, "page %u has %u", page, word);
}

TEST(the_guests_fault_is_seen) {
    SKIP_WITHOUT_COMPILER();
    open_lab();
    for (int32_t page = 2; page < 100; page++) {
        settle();
        store(page);
        restore();
        check_restored((uint32_t)page);
    }
    close_lab();
}

/* ---- another thread ---- */

static sem_t is_wanted, is_done;
static int32_t wanted_page;

static void *store_elsewhere(void *nothing) {
    (void)nothing;
    for (;;) {
        sem_wait(&is_wanted);
        if (wanted_page == 0)
            return NULL;
        store(wanted_page);
        sem_post(&is_done);
    }
}

static void elsewhere(int32_t page) {
    wanted_page = page;
    sem_post(&is_wanted);
    if (page != 0)
        sem_wait(&is_done);
}

/* The fault is the other thread's, and this one takes none that would tell. */
TEST(another_threads_run_is_seen) {
    SKIP_WITHOUT_COMPILER();
    pthread_t thread;
    open_lab();
    sem_init(&is_wanted, 0, 0);
    sem_init(&is_done, 0, 0);
    CHECK_EQ_I64(pthread_create(&thread, NULL, store_elsewhere, NULL), 0);
    elsewhere(1);
    for (int32_t page = 2; page < 100; page++) {
        settle();
        elsewhere(page);
        if (page % 2 == 0)
            store(1); /* and this thread again */
        restore();
        check_restored((uint32_t)page);
    }
    elsewhere(0);
    pthread_join(thread, NULL);
    sem_destroy(&is_wanted);
    sem_destroy(&is_done);
    close_lab();
}

/* What the library writes is noted, whether or not its faults are looked at. */
TEST(what_the_library_writes_comes_back) {
    SKIP_WITHOUT_COMPILER();
    const uint32_t word = 12;
    open_lab();
    for (uint32_t page = 2; page < 100; page++) {
        settle();
        CHECK_OK(husk_memory_write(lab.sandbox,
                                   RANGE(.addr = page * HUSK_PAGE_SIZE, .count = sizeof word),
                                   &word, &lab.err),
                 lab.err);
        restore();
        check_restored(page);
    }
    close_lab();
}

static uint64_t faults_unknown(struct vcpu *vcpu) {
    (void)vcpu;
    return VCPU_FAULTS_UNKNOWN;
}

/* What is mapped then is private, although nobody has written it. So its first write is a fault of
 * the guest, but of no thread. */
static void write_locked(bool is_counted) {
    static struct vcpu_ops ops;
    if (HARNESS_SANITIZED || mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        SKIP("memory cannot be locked here");
    open_lab();
    ops = *real_ops;
    if (!is_counted)
        ops.faults = faults_unknown;
    machine()->vcpu_ops = &ops;
    husk_image *const before = snapshot;
    store(50);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    husk_image *const after = snapshot;
    for (int i = 0; i < 200; i++) { /* the second image maps the page anew */
        snapshot = i < 100 ? before : after;
        store(1);
        restore();
    }
    CHECK_EQ_I64(wat_call_i32(&lab, "clear", 50), 1);
    restore();
    uint32_t word = 0;
    CHECK_OK(husk_memory_read(lab.sandbox, RANGE(.addr = 50 * HUSK_PAGE_SIZE, .count = 4), &word,
                              &lab.err),
             lab.err);
    CHECK_EQ_U64(word, 4711);
    husk_image_unref(before);
    close_lab();
    CHECK_EQ_I64(munlockall(), 0);
}

TEST(a_first_write_to_locked_memory_is_seen) {
    SKIP_WITHOUT_COMPILER();
    write_locked(true);
    write_locked(false);
}

TEST_MAIN()
