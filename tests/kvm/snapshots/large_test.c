/*
 * tests/kvm/snapshots/large_test.c: large pages for memory that is written for the first time
 * (host/memory/large.h): where they are asked for, what a restore does with them, and what is
 * learned. Each test says how much of the sandbox's memory is in large pages, as the kernel tells.
 */
#include <string.h>
#include <sys/mman.h>

#include "fault_wraps.h"
#include "harness.h"
#include "image_internal.h"
#include "large.h"
#include "large_pages.h"
#include "layout.h"
#include "machine.h"
#include "pages.h"
#include "sandbox_internal.h"
#include "wat.h"

enum { PAGES_PER_LARGE = 512, WASM_PAGES = 32, MIB_PAGES = 256 };

/* 32 MiB, of which the first 64 KiB have contents. Pages are those of 4 KiB. */
static const char module[] =
    "(module (memory (export \"memory\") 512 1536) (data (i32.const 8) \"in the image\")"
    " (func (export \"write\") (param $page i32) (param $count i32) (param $step i32)"
    "  (loop $next"
    "   (i32.store (i32.shl (local.get $page) (i32.const 12)) (i32.const 4711))"
    "   (local.set $page (i32.add (local.get $page) (local.get $step)))"
    "   (local.set $count (i32.sub (local.get $count) (i32.const 1)))"
    "   (br_if $next (local.get $count))))"
    " (func (export \"read\") (param $page i32) (param $count i32) (result i32) (local $sum i32)"
    "  (loop $next"
    "   (local.set $sum (i32.add (local.get $sum) (i32.load (i32.shl (local.get $page) "
    "(i32.const 12)))))"
    "   (local.set $page (i32.add (local.get $page) (i32.const 1)))"
    "   (local.set $count (i32.sub (local.get $count) (i32.const 1)))"
    "   (br_if $next (local.get $count)))"
    "  (local.get $sum))"
    " (func (export \"clear\") (param $page i32) (result i32)"
    "  (memory.fill (i32.shl (local.get $page) (i32.const 12)) (i32.const 0) (i32.const 2097152))"
    "  (i32.const 0))"
    " (func (export \"grow\") (param $by i32) (result i32) (memory.grow (local.get $by))))";

static void write_pages(struct wat_lab *lab, int32_t first, int32_t count, int32_t step) {
    const struct husk_value args[] = {value_i32(first), value_i32(count), value_i32(step)};
    CHECK_OK(wat_call(lab, "write", args, 3, NULL, 0), lab->err);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_RETURNED);
}

static int32_t sum_of(struct wat_lab *lab, int32_t first, int32_t count) {
    const struct husk_value args[] = {value_i32(first), value_i32(count)};
    struct husk_value sum;
    CHECK_OK(wat_call(lab, "read", args, 2, &sum, 1), lab->err);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_RETURNED);
    return sum.of.i32;
}

static void restore(struct wat_lab *lab) {
    CHECK_OK(husk_sandbox_restore(lab->sandbox, lab->image, &lab->err), lab->err);
}

static struct hotset *hotset_of(struct wat_lab *lab) {
    return &lab->sandbox->machine->hotset;
}

static uint64_t searches(const struct wat_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    CHECK_EQ_I64(husk_engine_stats(lab->engine, &stats), 0);
    return stats.memory_searches;
}

static unsigned large_of(const struct wat_lab *lab) {
    const struct arena *arena = &lab->sandbox->machine->arena;
    return large_pages_in(arena->base, arena->base_bytes);
}

static void open_with(struct wat_lab *lab, uint32_t large_pages) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.large_pages = large_pages;
    wat_lab_init(lab);
    wat_lab_open(lab, module, &options);
}

static void renew(struct wat_lab *lab, husk_image *image, uint32_t large_pages) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.large_pages = large_pages;
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    husk_engine_trim(lab->engine, 0);
    CHECK_OK(husk_sandbox_new(image, lab->imports, &options, &lab->sandbox, &lab->err), lab->err);
}

/* ---- where there are some ---- */

TEST(memory_lies_as_its_guest_addresses_do) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_NEVER);
    CHECK_EQ_U64((uintptr_t)lab.sandbox->machine->arena.memories[0].hva % LARGE_PAGE_BYTES, 0);
    CHECK_EQ_U64(husk_mem_gva(0) % LARGE_PAGE_BYTES, 0);
    wat_lab_close(&lab);
}

TEST(zeros_are_written_in_large_pages_where_they_are_wanted) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    CHECK_LARGE_PAGES(large_of(&lab), 0); /* only when they are written */
    write_pages(&lab, 0, 16 * MIB_PAGES, 1);
    CHECK_LARGE_PAGES(large_of(&lab), 7); /* not the first: the image has contents there */
    wat_lab_close(&lab);
    open_with(&lab, HUSK_LARGE_PAGES_NEVER);
    write_pages(&lab, 0, 16 * MIB_PAGES, 1);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 8 * WASM_PAGES), 512);
    write_pages(&lab, 32 * MIB_PAGES, 16 * MIB_PAGES, 1);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    wat_lab_close(&lab);
}

/* Also where the image's zeros are not: here, large pages do not pay. */
TEST(memory_that_grows_much_has_large_pages) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    lab.image->large_votes = -1;
    renew(&lab, lab.image, HUSK_LARGE_PAGES_AUTO);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 8 * WASM_PAGES), 512);
        write_pages(&lab, 32 * MIB_PAGES, 16 * MIB_PAGES, 1);
        CHECK_LARGE_PAGES(large_of(&lab), 8);
        restore(&lab);
        CHECK_LARGE_PAGES(large_of(&lab), 0);
        CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    }
    CHECK(!hotset_has_large(hotset_of(&lab)));
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 512); /* and a little growth is small again */
    write_pages(&lab, 32 * MIB_PAGES, 16, 1);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    wat_lab_close(&lab);
}

/* What lies before the first large page is made at once, in small pages. */
TEST(growth_fills_up_to_the_first_large_page) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    unsigned char present[PAGES_PER_LARGE + 1];
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 512);
    uint8_t *end = lab.sandbox->machine->arena.memories[0].hva + 513 * (size_t)HUSK_WASM_PAGE_SIZE;
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 8 * WASM_PAGES), 513);
    if (mincore(end, sizeof present * HUSK_PAGE_SIZE, present) != 0 || (present[0] & 1) == 0)
        SKIP("the kernel has no MADV_POPULATE_WRITE");
    CHECK((present[PAGES_PER_LARGE - 17] & 1) != 0 && (present[PAGES_PER_LARGE - 16] & 1) == 0);
    CHECK_EQ_I64(sum_of(&lab, 32 * MIB_PAGES, 16 * MIB_PAGES), 0);
    restore(&lab);
    wat_lab_close(&lab);
}

/* A wasm page at a time: once it is 2 MiB more, the rest is in large pages. */
TEST(memory_that_grows_by_little_has_large_pages_later) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (int32_t i = 0; i < 3 * WASM_PAGES; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 512 + i);
        write_pages(&lab, 32 * MIB_PAGES + 16 * i, 16, 1);
        CHECK_MSG(large_of(&lab) <= 1 + (unsigned)i / WASM_PAGES, "%u after %d", large_of(&lab), i);
    }
    CHECK_LARGE_PAGES(large_of(&lab), 2);
    /* also the part of the last one that lies beyond the size */
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 512 + 3 * WASM_PAGES);
    write_pages(&lab, 38 * MIB_PAGES, 1, 1);
    restore(&lab);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    CHECK(hotset_of(&lab)->count < 20);
    wat_call_i32(&lab, "grow", 8 * WASM_PAGES);
    restore(&lab);
    CHECK_MSG(hotset_of(&lab)->count < 20, "%u hot pages", hotset_of(&lab)->count);
    wat_lab_close(&lab);
}

/* A VM that is left with large pages is none for a sandbox that wants none. */
TEST(the_pool_tells_wishes_apart) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    write_pages(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES, 1);
    husk_sandbox_free(lab.sandbox);
    options.large_pages = HUSK_LARGE_PAGES_NEVER;
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, &options, &lab.sandbox, &lab.err), lab.err);
    write_pages(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES, 1);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    wat_lab_close(&lab);
}

/* ---- what a restore does with them ---- */

TEST(a_request_that_fills_them_keeps_them) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (int i = 0; i < 6; i++) {
        const uint64_t before = searches(&lab);
        write_pages(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES, 1);
        CHECK_LARGE_PAGES(large_of(&lab), 8);
        restore(&lab);
        CHECK(searches(&lab) == before || i == 0); /* that is, the guest took no fault */
        CHECK_EQ_U64(hotset_of(&lab)->count >= 16 * MIB_PAGES, true);
    }
    CHECK(lab.image->large_votes > 0);
    CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    wat_lab_close(&lab);
}

/* A page that was never written is not discarded alone: that would split the large page. */
TEST(a_request_that_fills_most_keeps_all) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (int i = 0; i < 3 * (int)HOT_AGE_MAX; i++) {
        write_pages(&lab, 4 * MIB_PAGES + 20, LARGE_WRITTEN_MIN, 1);
        CHECK_LARGE_PAGES(large_of(&lab), 1);
        restore(&lab);
    }
    CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    wat_lab_close(&lab);
}

/* Nothing differs at the restore. As single pages, they may be needed again. */
TEST(zeros_that_are_written_stay_for_a_while) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    wat_call_i32(&lab, "clear", 4 * MIB_PAGES);
    for (unsigned k = 0; k < HOT_AGE_MAX; k++) {
        CHECK_LARGE_PAGES(large_of(&lab), 1);
        restore(&lab);
    }
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    wat_lab_close(&lab);
}

TEST(a_request_that_writes_little_has_small_pages) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    write_pages(&lab, 4 * MIB_PAGES, 20, 40); /* 800 pages: two large ones */
    CHECK_LARGE_PAGES(large_of(&lab), 2);
    restore(&lab);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    CHECK_MSG(hotset_of(&lab)->count < 40, "%u hot pages", hotset_of(&lab)->count);
    CHECK(lab.image->large_votes < 0);
    CHECK(!hotset_has_large(hotset_of(&lab))); /* there can be none any more */
    CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    write_pages(&lab, 4 * MIB_PAGES, 20, 40); /* these are there */
    write_pages(&lab, 20 * MIB_PAGES, 20, 40);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    restore(&lab);
    CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    renew(&lab, lab.image, HUSK_LARGE_PAGES_AUTO); /* so do other sandboxes of the image */
    write_pages(&lab, 4 * MIB_PAGES, 20, 40);
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    wat_lab_close(&lab);
}

/* Full, but for one that has a few pages: it alone is exchanged. */
TEST(one_that_has_little_is_exchanged_alone) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (int i = 0; i < 3; i++) {
        write_pages(&lab, 4 * MIB_PAGES, 4 * MIB_PAGES + 5, 1);
        CHECK_LARGE_PAGES(large_of(&lab), i == 0 ? 3 : 2);
        restore(&lab);
        CHECK_LARGE_PAGES(large_of(&lab), 2);
        CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    }
    CHECK(hotset_of(&lab)->is_asking && lab.image->large_votes > 0);
    wat_lab_close(&lab);
}

/* As single pages do: after some requests that do not write them. */
TEST(they_leave_as_a_whole) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (int i = 0; i < (has_large_pages_after_reads() ? 2 : 1); i++) {
        write_pages(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES, 1);
        CHECK_LARGE_PAGES(large_of(&lab), 8);
        restore(&lab);
        for (unsigned k = 0; k < HOT_AGE_MAX; k++) {
            CHECK_LARGE_PAGES(large_of(&lab), 8);
            write_pages(&lab, 8, 1, 1);
            restore(&lab);
        }
        CHECK_LARGE_PAGES(large_of(&lab), 0);
        CHECK(hotset_of(&lab)->count < 40);
        CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    }
    wat_lab_close(&lab);
}

/* Requests that write ever less of them: the rest is small. */
TEST(those_of_which_little_is_left_are_exchanged) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    write_pages(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES, 1);
    restore(&lab);
    for (unsigned k = 0; k <= HOT_AGE_MAX; k++) {
        write_pages(&lab, 4 * MIB_PAGES, 16, 256);
        restore(&lab);
        CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    }
    CHECK_LARGE_PAGES(large_of(&lab), 0);
    CHECK(hotset_of(&lab)->count < 40);
    wat_lab_close(&lab);
}

TEST(pages_beyond_the_hot_set_leave_as_a_whole) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 16 * WASM_PAGES), 512);
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    renew(&lab, snapshot, HUSK_LARGE_PAGES_ALWAYS);
    for (int i = 0; i < (has_large_pages_after_reads() ? 3 : 1); i++) {
        write_pages(&lab, 4 * MIB_PAGES, 60 * MIB_PAGES, 1);
        CHECK_LARGE_PAGES(large_of(&lab), 30);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        CHECK_LARGE_PAGES(large_of(&lab), 15);
        CHECK_EQ_I64(sum_of(&lab, 1, 64 * MIB_PAGES - 1), 0);
    }
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* What a restore does not compare is discarded, whatever large pages leave the set before it. */
TEST(pages_beyond_the_hot_set_come_back_beside_an_exchange) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    const int32_t first = 4 * MIB_PAGES, count = 60 * MIB_PAGES;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 16 * WASM_PAGES), 512);
    write_pages(&lab, first, count, 1);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    renew(&lab, snapshot, HUSK_LARGE_PAGES_ALWAYS);
    for (int i = 0; i < 3; i++) {
        write_pages(&lab, 2 * MIB_PAGES + i, 5, 16); /* little of a large page */
        for (int32_t k = 0; k < count; k += PAGES_PER_LARGE)
            wat_call_i32(&lab, "clear", first + k);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        CHECK_EQ_I64(sum_of(&lab, first, count), count * 4711);
    }
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* They are the kernel's large page of zeros: nobody has written them. */
TEST(zeros_that_are_read_are_not_in_the_hot_set) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ_I64(sum_of(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES), 0);
        restore(&lab);
        CHECK_MSG(hotset_of(&lab)->count < 40, "%u hot pages", hotset_of(&lab)->count);
    }
    const uint64_t before = searches(&lab);
    CHECK_EQ_I64(sum_of(&lab, 4 * MIB_PAGES, 16 * MIB_PAGES), 0);
    restore(&lab);
    CHECK_EQ_U64(searches(&lab), before);
    wat_lab_close(&lab);
}

/* ---- snapshots ---- */

TEST(a_snapshot_has_the_written_pages_only) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    struct husk_sandbox_stats stats = HUSK_SANDBOX_STATS_INIT;
    husk_image *snapshot = NULL;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    write_pages(&lab, 4 * MIB_PAGES, 10, 512);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 8 * WASM_PAGES), 512);
    write_pages(&lab, 32 * MIB_PAGES, 4, 512);
    CHECK_LARGE_PAGES(large_of(&lab), 14);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_stats(lab.sandbox, &stats), lab.err);
    CHECK_MSG(stats.snapshot_pages < 20, "%llu pages", (unsigned long long)stats.snapshot_pages);
    for (int i = 0; i < 3; i++) {
        write_pages(&lab, 4 * MIB_PAGES, 44 * MIB_PAGES, 1);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        CHECK_EQ_I64(sum_of(&lab, 1, 40 * MIB_PAGES - 1), 14 * 4711);
        if (i == 1)
            renew(&lab, snapshot, HUSK_LARGE_PAGES_ALWAYS);
    }
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* ---- what an image learns ---- */

TEST(the_first_few_sandboxes_try_it_out) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (unsigned i = 1; i < 8; i++) { /* none of them is ever restored */
        renew(&lab, lab.image, HUSK_LARGE_PAGES_AUTO);
        write_pages(&lab, 4 * MIB_PAGES, 2, 512);
        CHECK_LARGE_PAGES(large_of(&lab), i < 4 ? 2 : 0);
    }
    write_pages(&lab, 4 * MIB_PAGES, 8 * MIB_PAGES, 1);
    restore(&lab); /* this one has small pages, and has seen that large ones would pay */
    CHECK(lab.image->large_votes > 0);
    renew(&lab, lab.image, HUSK_LARGE_PAGES_AUTO);
    write_pages(&lab, 4 * MIB_PAGES, 2, 512);
    CHECK_LARGE_PAGES(large_of(&lab), 2);
    wat_lab_close(&lab);
}

/* ---- when the system is different ---- */

static uint64_t faults_unknown(struct vcpu *vcpu) {
    (void)vcpu;
    return VCPU_FAULTS_UNKNOWN;
}

/* The library's write makes a large page. Then no thread takes a fault for what the guest writes
 * beside it. */
TEST(what_is_written_beside_the_hosts_bytes_comes_back) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    static struct vcpu_ops ops;
    static const uint8_t byte = 1;
    struct wat_lab lab;
    wat_lab_init(&lab);
    ops = *lab.engine->vcpu_ops;
    ops.faults = faults_unknown;
    lab.engine->vcpu_ops = &ops;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.large_pages = HUSK_LARGE_PAGES_ALWAYS;
    wat_lab_open(&lab, module, &options);
    for (int32_t i = 0; i < 4; i++) {
        const int32_t page = (4 + 2 * i) * MIB_PAGES;
        const struct husk_range range = {.addr = (uint64_t)page << 12, .count = 1};
        renew(&lab, lab.image, HUSK_LARGE_PAGES_ALWAYS);
        for (int k = 0; k < 3; k++) { /* then no other fault has the restore search */
            write_pages(&lab, 8, 1, 1);
            restore(&lab);
        }
        CHECK_OK(husk_memory_write(lab.sandbox, &range, &byte, &lab.err), lab.err);
        CHECK_LARGE_PAGES(large_of(&lab), 1);
        write_pages(&lab, page + 7, 1, 1);
        restore(&lab);
        CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    }
    wat_lab_close(&lab);
}

/* Newer (6.1) than the oldest kernel headers we build with. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* As khugepaged does at any time: small pages, and places where there were none, become a large
 * one. */
TEST(what_is_written_into_a_collapsed_page_comes_back) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    const int32_t page = 4 * MIB_PAGES;
    open_with(&lab, HUSK_LARGE_PAGES_ALWAYS);
    uint8_t *block = lab.sandbox->machine->arena.memories[0].hva + ((size_t)page << 12);
    for (int32_t i = 0; i < 20; i++) {
        write_pages(&lab, page + i, 1, 1);
        restore(&lab);
        CHECK_EQ_I64(arena_discard(block + ((size_t)(100 + i) << 12), HUSK_PAGE_SIZE), 0);
        (void)madvise(block, LARGE_PAGE_BYTES, MADV_HUGEPAGE);
        if (madvise(block, LARGE_PAGE_BYTES, MADV_COLLAPSE) != 0)
            SKIP("the kernel does not collapse pages");
        /* the kernel may do that only where the library asks for large pages */
        lab.sandbox->machine->hotset.large = (struct hot_range){block, block + LARGE_PAGE_BYTES};
        CHECK_LARGE_PAGES(large_of(&lab), 1);
        write_pages(&lab, page + 100 + i, 1, 1);
        restore(&lab);
        CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
    }
    wat_lab_close(&lab);
}

/* Nothing fails when the kernel refuses. */
TEST(refused_advice_is_no_failure) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    for (unsigned nth = 1; nth < 12; nth++) {
        lab.image->large_votes = 0;
        lab.image->large_trials = 0;
        fault_arm(FAULT_EVER, nth, "madvise");
        renew(&lab, lab.image, HUSK_LARGE_PAGES_AUTO);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ_I64(wat_call_i32(&lab, "grow", 8 * WASM_PAGES), 512);
            write_pages(&lab, 4 * MIB_PAGES, 10, 40);
            write_pages(&lab, 32 * MIB_PAGES, 10, 40);
            restore(&lab);
            CHECK_EQ_I64(sum_of(&lab, 1, 8191), 0);
        }
        fault_disarm();
    }
    wat_lab_close(&lab);
}

/* Where the kernel refuses to end the advice, there may still be large pages. */
TEST(memory_that_keeps_the_advice_is_watched) {
    SKIP_WITHOUT_COMPILER();
    SKIP_WITHOUT_LARGE_PAGES();
    struct wat_lab lab;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    lab.image->large_votes = -1;
    renew(&lab, lab.image, HUSK_LARGE_PAGES_AUTO);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 8 * WASM_PAGES), 512);
        if (i == 0)
            fault_arm(FAULT_ONCE, 1, "madvise");
        restore(&lab);
        fault_disarm();
        CHECK_EQ_I64(hotset_has_large(hotset_of(&lab)), i == 0);
    }
    wat_lab_close(&lab);
}

TEST(an_unknown_wish_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_sandbox *sandbox = NULL;
    open_with(&lab, HUSK_LARGE_PAGES_AUTO);
    options.large_pages = HUSK_LARGE_PAGES_CONTENTS + 1;
    CHECK_EQ_I64(husk_sandbox_new(lab.image, NULL, &options, &sandbox, &lab.err), HUSK_E_INVAL);
    CHECK(strstr(lab.err.message, "large_pages") != NULL && sandbox == NULL);
    wat_lab_close(&lab);
}

TEST_MAIN()
