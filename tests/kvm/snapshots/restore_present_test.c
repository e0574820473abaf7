/*
 * tests/kvm/snapshots/restore_present_test.c: pages that are there before the guest writes them:
 * made by the library when a memory grows, or by the kernel when the process locks its memory
 * (mlockall(MCL_FUTURE)). Their first write is a page fault of no thread, only of the guest.
 * Restores must find it, also where the hypervisor does not count the guest's faults.
 */
#include <string.h>
#include <sys/mman.h>

#include "literals.h"
#include "sandbox_internal.h"
#include "wat.h"

/* Less than a large page. */
static const char module[] =
    "(module (memory (export \"memory\") 16 200) (data (i32.const 100) \"contents\")"
    " (func (export \"peek\") (param i32) (result i32) local.get 0 i32.load)"
    " (func (export \"nop\") (param i32) (result i32) local.get 0)"
    " (func (export \"poke\") (param i32) (result i32)"
    "  local.get 0 i32.const -1 i32.store i32.const 0)"
    " (func (export \"grow\") (param i32) (result i32) local.get 0 memory.grow))";

#define IMAGE_BYTES (16 * (int32_t)HUSK_WASM_PAGE_SIZE)

static struct wat_lab lab;
static husk_image *small, *grown, *written;

static husk_image *snapshot(void) {
    husk_image *image = NULL;
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &image, &lab.err), lab.err);
    return image;
}

static void restore(husk_image *image) {
    CHECK_OK(husk_sandbox_restore(lab.sandbox, image, &lab.err), lab.err);
}

/* Until nothing but the next write can make a restore search. */
static void restore_quietly(husk_image *image) {
    for (int i = 0; i < 100; i++) {
        wat_call_i32(&lab, "nop", 1); /* it touches nothing that was mapped anew */
        restore(image);
    }
}

/* The write that must be found. */
static void check_write(husk_image *image, int32_t address) {
    wat_call_i32(&lab, "poke", address);
    restore(image);
    CHECK_EQ_I64(wat_call_i32(&lab, "peek", address), 0);
    restore(image);
}

static uint64_t faults_unknown(struct vcpu *vcpu) {
    (void)vcpu;
    return VCPU_FAULTS_UNKNOWN;
}

static void open_lab(bool is_counted) {
    static struct vcpu_ops ops;
    wat_lab_init(&lab);
    ops = *lab.engine->vcpu_ops;
    if (!is_counted)
        ops.faults = faults_unknown;
    lab.engine->vcpu_ops = &ops;
    wat_lab_open(&lab, module, NULL);
    wat_call_i32(&lab, "nop", 0);
    small = snapshot();
    wat_call_i32(&lab, "grow", 8);
    grown = snapshot();
    restore(small);
    for (int32_t page = 64; page < 74; page++)
        wat_call_i32(&lab, "poke", page << 12);
    written = snapshot();
    restore(small);
}

static void close_lab(void) {
    husk_image_unref(small);
    husk_image_unref(grown);
    husk_image_unref(written);
    wat_lab_close(&lab);
}

/* The growth makes the rest of a large page, in small ones. The restore keeps a part of them. */
static void play_pages_that_growth_made(bool is_counted) {
    open_lab(is_counted);
    for (int round = 0; round < 4; round++) {
        restore(small);
        for (int i = 0; i < 5; i++) { /* until the growth itself causes no fault */
            wat_call_i32(&lab, "grow", 40);
            restore(small);
        }
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 40), 16);
        restore(grown);
        restore_quietly(grown);
        check_write(grown, IMAGE_BYTES + 40960 + round * 4096);
    }
    close_lab();
}

TEST(pages_that_growth_made) {
    SKIP_WITHOUT_COMPILER();
    play_pages_that_growth_made(true);
    play_pages_that_growth_made(false);
}

/* The first round also warms up what the thread itself touches. */
static void play_pages_that_are_locked(bool is_counted) {
    open_lab(is_counted);
    for (int32_t round = 0; round < 4; round++) {
        restore(written);
        restore_quietly(written);
        restore(small); /* maps what differs anew */
        restore_quietly(small);
        check_write(small, (64 + round) << 12);
    }
    close_lab();
}

TEST(pages_that_are_locked) {
    SKIP_WITHOUT_COMPILER();
    if (mlockall(MCL_FUTURE) != 0)
        SKIP("%s", "memory cannot be locked");
    play_pages_that_are_locked(true);
    play_pages_that_are_locked(false);
    munlockall();
}

/* A new sandbox each time: only the first restore to the larger image makes memory accessible. */
static void play_pages_that_are_locked_when_memory_becomes_accessible(bool is_counted) {
    open_lab(is_counted);
    for (int round = 0; round < 4; round++) {
        husk_sandbox_free(lab.sandbox);
        husk_engine_trim(lab.engine, 0);
        CHECK_OK(husk_sandbox_new(small, NULL, NULL, &lab.sandbox, &lab.err), lab.err);
        restore_quietly(small);
        restore(grown);
        restore_quietly(grown);
        check_write(grown, IMAGE_BYTES + 40960 + round * 4096);
    }
    close_lab();
}

TEST(pages_that_are_locked_when_memory_becomes_accessible) {
    SKIP_WITHOUT_COMPILER();
    if (mlockall(MCL_FUTURE) != 0)
        SKIP("%s", "memory cannot be locked");
    play_pages_that_are_locked_when_memory_becomes_accessible(true);
    play_pages_that_are_locked_when_memory_becomes_accessible(false);
    munlockall();
}

TEST_MAIN()
