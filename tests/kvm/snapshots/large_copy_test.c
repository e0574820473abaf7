/*
 * tests/kvm/snapshots/large_copy_test.c: a sandbox's own copy of code and memory in large pages
 * (host/memory/large_copy.h). Guests, snapshots and restores must not notice.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "built_image.h"
#include "fault_wraps.h"
#include "guest_image.h"
#include "guest_lab.h"
#include "harness.h"
#include "image_builder.h"
#include "image_internal.h"
#include "large_copy.h"
#include "literals.h"
#include "pages.h"
#include "sandbox_internal.h"
#include "wat.h"

/* 5 MiB and a page of wasm. "fill" writes a number to every word; "sum" adds all words up. */
static const char module[] =
    "(module (memory (export \"memory\") 81 200) (global $g (mut i32) (i32.const 0))"
    " (func (export \"fill\") (param $n i32) (local $at i32)"
    "  (loop $next"
    "   (i32.store (local.get $at) (i32.add (local.get $n) (local.get $at)))"
    "   (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4)))"
    "     (i32.shl (memory.size) (i32.const 16))))))"
    " (func (export \"sum\") (result i32) (local $at i32) (local $sum i32)"
    "  (loop $next"
    "   (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load (local.get "
    "$at))))"
    "   (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4)))"
    "     (i32.shl (memory.size) (i32.const 16)))))"
    "  (local.get $sum))"
    " (func (export \"put\") (param $at i32) (i32.store (local.get $at) (i32.const 4711)))"
    " (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0))))";

static struct husk_sandbox_options wish(uint32_t large_pages) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.large_pages = large_pages;
    return options;
}

static void renew(struct wat_lab *lab, husk_image *image, uint32_t large_pages) {
    const struct husk_sandbox_options options = wish(large_pages);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, lab->imports, &options, &lab->sandbox, &lab->err), lab->err);
}

static void restore(struct wat_lab *lab, husk_image *image) {
    CHECK_OK(husk_sandbox_restore(lab->sandbox, image, &lab->err), lab->err);
}

static husk_image *snapshot(struct wat_lab *lab) {
    husk_image *image = NULL;
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &image, &lab->err), lab->err);
    return image;
}

static void call1(struct wat_lab *lab, const char *name, int32_t argument) {
    const struct husk_value arg = value_i32(argument);
    CHECK_OK(wat_call(lab, name, &arg, 1, NULL, 0), lab->err);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_RETURNED);
}

static int32_t sum(struct wat_lab *lab) {
    struct husk_value result;
    CHECK_OK(wat_call(lab, "sum", NULL, 0, &result, 1), lab->err);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_RETURNED);
    return result.of.i32;
}

static uint32_t overlays(const struct wat_lab *lab) {
    return lab->sandbox->machine->arena.overlays_count;
}

static uint64_t snapshot_pages(const struct wat_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    CHECK_EQ_I64(husk_engine_stats(lab->engine, &stats), 0);
    return stats.snapshot_pages;
}

/* A snapshot whose memory is not zero, and what "sum" says of it. */
static husk_image *filled(struct wat_lab *lab, int32_t *ret_sum) {
    const struct husk_sandbox_options options = wish(HUSK_LARGE_PAGES_NEVER);
    wat_lab_init(lab);
    wat_lab_open(lab, module, &options);
    call1(lab, "fill", 7);
    *ret_sum = sum(lab);
    return snapshot(lab);
}

TEST(contents_are_the_image_s_before_and_after_restores) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int32_t expected;
    husk_image *image = filled(&lab, &expected);
    renew(&lab, image, HUSK_LARGE_PAGES_CONTENTS);
    CHECK_EQ_U64(overlays(&lab), 1);
    CHECK_EQ_I64(sum(&lab), expected);
    for (int32_t i = 0; i < 12; i++) {
        call1(&lab, "put", i * 300000);
        call1(&lab, "put", 5 << 20); /* in the last page of wasm, which is not a large one */
        CHECK(sum(&lab) != expected);
        restore(&lab, image);
        CHECK_EQ_U64(overlays(&lab), 0); /* the image's own mapping again */
        CHECK_EQ_I64(sum(&lab), expected);
    }
    husk_image_unref(image);
    wat_lab_close(&lab);
}

/* Only the pages that differ, although all pages are private. */
TEST(a_snapshot_has_the_written_pages) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int32_t expected;
    husk_image *image = filled(&lab, &expected);
    renew(&lab, image, HUSK_LARGE_PAGES_CONTENTS);
    const uint64_t before = snapshot_pages(&lab);
    for (int32_t i = 0; i < 4; i++)
        call1(&lab, "put", i << 20);
    const int32_t changed = sum(&lab);
    husk_image *second = snapshot(&lab);
    CHECK_EQ_U64(snapshot_pages(&lab) - before, 4);
    CHECK_EQ_I64(sum(&lab), changed);
    call1(&lab, "put", 3 << 19);
    restore(&lab, second);
    CHECK_EQ_I64(sum(&lab), changed);
    restore(&lab, image);
    CHECK_EQ_I64(sum(&lab), expected);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = NULL;
    husk_engine_trim(lab.engine, 0);
    renew(&lab, second, HUSK_LARGE_PAGES_CONTENTS); /* two layers */
    CHECK_EQ_U64(overlays(&lab), 1);
    CHECK_EQ_I64(sum(&lab), changed);
    restore(&lab, image); /* to another snapshot at once */
    CHECK_EQ_I64(sum(&lab), expected);
    CHECK_EQ_U64(overlays(&lab), 0);
    husk_image_unref(second);
    husk_image_unref(image);
    wat_lab_close(&lab);
}

TEST(it_grows_and_goes_back_to_the_pool) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int32_t expected;
    husk_image *image = filled(&lab, &expected);
    for (int i = 0; i < 3; i++) {
        renew(&lab, image, HUSK_LARGE_PAGES_CONTENTS);
        CHECK_EQ_I64(sum(&lab), expected);
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 70), 81);
        call1(&lab, "put", 6 << 20);
        call1(&lab, "fill", i);
    }
    renew(&lab, image, HUSK_LARGE_PAGES_NEVER);
    CHECK_EQ_I64(sum(&lab), expected);
    husk_image_unref(image);
    wat_lab_close(&lab);
}

TEST(little_is_not_copied) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_sandbox_options options = wish(HUSK_LARGE_PAGES_CONTENTS);
    struct husk_sandbox_options bad = wish(HUSK_LARGE_PAGES_CONTENTS + 1);
    husk_sandbox *sandbox = NULL;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, &options); /* all zeros */
    CHECK_EQ_U64(overlays(&lab), 0);
    CHECK(lab.sandbox->machine->arena.code == NULL);
    CHECK_STATUS(husk_sandbox_new(lab.image, lab.imports, &bad, &sandbox, &lab.err), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

/* A page in each half MiB: 1 MiB of contents would be 130 MiB of large pages. */
TEST(scattered_contents_are_not_copied) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_sandbox_options options = wish(HUSK_LARGE_PAGES_NEVER);
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (memory 2100) (func (export \"scatter\") (local $at i32)"
                 "  (loop $next"
                 "   (i32.store (local.get $at) (i32.const 4711))"
                 "   (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const "
                 "524288))) (i32.const 136314880))))))",
                 &options);
    CHECK_OK(wat_call(&lab, "scatter", NULL, 0, NULL, 0), lab.err);
    husk_image *image = snapshot(&lab);
    CHECK(snapshot_pages(&lab) * HUSK_PAGE_SIZE >= LARGE_COPY_MIN_BYTES);
    renew(&lab, image, HUSK_LARGE_PAGES_CONTENTS);
    CHECK_EQ_U64(overlays(&lab), 0);
    husk_image_unref(image);
    wat_lab_close(&lab);
}

/* The n-th operation of making a sandbox fails: nothing is left, and advice that is refused is no
 * failure. */
TEST(copies_may_fail) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    int32_t expected;
    unsigned failures = 0, nth = 1;
    const struct husk_sandbox_options options = wish(HUSK_LARGE_PAGES_CONTENTS);
    husk_image *image = filled(&lab, &expected);
    husk_sandbox_free(lab.sandbox);
    /* what the image makes once */
    CHECK_OK(husk_sandbox_new(image, lab.imports, &options, &lab.sandbox, &lab.err), lab.err);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = NULL;
    for (bool has_fired = true; has_fired; nth++) {
        husk_engine_trim(lab.engine, 0);
        const long blocks = fault_live_blocks(), mapped = fault_live_mapped();
        fault_arm(FAULT_ONCE, nth, NULL);
        int status = husk_sandbox_new(image, lab.imports, &options, &lab.sandbox, &lab.err);
        has_fired = fault_has_fired();
        fault_disarm();
        failures += status != 0;
        if (status == 0) {
            CHECK_EQ_I64(sum(&lab), expected);
            husk_sandbox_free(lab.sandbox);
            lab.sandbox = NULL;
        }
        husk_engine_trim(lab.engine, 0);
        CHECK_EQ_I64(fault_live_mapped(), mapped);
        CHECK_EQ_I64(fault_live_blocks(), blocks);
    }
    CHECK(nth > 20 && failures > 10);
    husk_image_unref(image);
    wat_lab_close(&lab);
}

/* ---- code ---- */

/* The image of guest_image.h with so many bytes more of text. */
static husk_image *image_with_text(husk_engine *engine, size_t more) {
    struct image_builder builder;
    guest_image_build(&builder);
    struct builder_segment *text = &builder.segments[0];
    CHECK_EQ_U64(text->gva, HUSK_TEXT_GVA);
    uint8_t page[HUSK_PAGE_SIZE];
    memset(page, 0xf4, sizeof page); /* HLT */
    while (text->bytes.count < more)
        buf_append(&text->bytes, page,
                   more - text->bytes.count < sizeof page ? more - text->bytes.count : sizeof page);
    text->mem_bytes = text->bytes.count;
    return built_image_open(&builder, engine);
}

static void check_code(const husk_sandbox *sandbox, const husk_image *image) {
    const struct arena *arena = &sandbox->machine->arena;
    const struct image_code *code = image->code;
    CHECK_EQ_U64((uintptr_t)arena->code % LARGE_PAGE_BYTES, 0);
    CHECK_EQ_U64(arena->code_bytes, 4 << 20);
    CHECK(memcmp(arena->code, code->ro_hva, code->ro_bytes) == 0);
    char line[256];
    unsigned long from, to;
    char rights[8] = "";
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 &&
            from <= (uintptr_t)arena->code && to > (uintptr_t)arena->code)
            break;
    fclose(file);
    CHECK_STR(rights, "r--p"); /* the guest cannot write it, whatever its page tables say */
}

TEST(code_in_large_pages) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    const struct husk_sandbox_options options = wish(HUSK_LARGE_PAGES_CONTENTS);
    husk_sandbox *sandbox = NULL;
    guest_lab_open(&lab, NULL, NULL, NULL);
    husk_image *image = image_with_text(lab.engine, 3 << 20);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(husk_sandbox_new(image, lab.imports, &options, &sandbox, &lab.err), lab.err);
        check_code(sandbox, image);
        CHECK_EQ_I64(guest_call(sandbox, "host", 21, &lab.outcome), 43);
        guest_run(sandbox, "trap", NULL, &lab.outcome);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
        CHECK_OK(husk_sandbox_restore(sandbox, image, &lab.err), lab.err);
        check_code(sandbox, image);
        CHECK_EQ_I64(guest_call(sandbox, "host", 4, &lab.outcome), 9);
        /* another module takes the VM over */
        CHECK_OK(husk_sandbox_load(sandbox, lab.image, lab.imports, &lab.err), lab.err);
        CHECK(sandbox->machine->arena.code == NULL);
        CHECK_EQ_I64(guest_call(sandbox, "host", 5, &lab.outcome), 11);
        husk_sandbox_free(sandbox);
        sandbox = NULL;
    }
    husk_image_unref(image);
    image = image_with_text(lab.engine, LARGE_COPY_MIN_BYTES - HUSK_PAGE_SIZE);
    CHECK_OK(husk_sandbox_new(image, lab.imports, &options, &sandbox, &lab.err), lab.err);
    CHECK(sandbox->machine->arena.code == NULL);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    guest_lab_close(&lab);
}

/* With some of these stacks the page tables are just as many as the system pages hold, with others
 * one more. Code in large entries must be counted as what it is, or everything below memory 0 lies
 * elsewhere than the page tables say. */
TEST(code_in_large_pages_with_any_number_of_page_tables) {
    SKIP_WITHOUT_KVM();
    if (getenv("HUSK_TEST_EMULATED") != NULL)
        SKIP("copies 24 MiB eight times, which takes minutes on an emulated CPU");
    struct guest_lab lab;
    struct husk_sandbox_options options = wish(HUSK_LARGE_PAGES_CONTENTS);
    husk_sandbox *sandbox = NULL;
    guest_lab_open(&lab, NULL, NULL, NULL);
    husk_image *image = image_with_text(lab.engine, 24 << 20);
    for (options.stack_bytes = 8 << 20; options.stack_bytes <= 64 << 20;
         options.stack_bytes += 8 << 20) {
        CHECK_OK(husk_sandbox_new(image, lab.imports, &options, &sandbox, &lab.err), lab.err);
        CHECK(sandbox->machine->arena.code != NULL);
        CHECK_EQ_I64(guest_call(sandbox, "host", 21, &lab.outcome), 43);
        husk_sandbox_free(sandbox);
        sandbox = NULL;
    }
    husk_image_unref(image);
    guest_lab_close(&lab);
}

TEST_MAIN()
