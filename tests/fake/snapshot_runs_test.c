/*
 * tests/fake/snapshot_runs_test.c: the pages of a snapshot: after any writes, over any layers,
 * every page equals the page of the sandbox. On a scripted VM, which allows thousands of snapshots
 * per second.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "image_internal.h"
#include "layout.h"
#include "vm_fake.h"
#include "literals.h"

#define PAGES 128u /* of 4 KiB, of the module's memory */

static void guest_nothing(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)vcpu, (void)user, (void)ret_exit;
}

static int host_nothing(husk_caller *caller, void *user, const struct husk_value *args,
                        struct husk_value *results) {
    (void)caller, (void)user, (void)args, (void)results;
    return 0;
}

struct lab {
    struct vm_backend backend;
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    struct husk_error err;
};

static uint64_t random_next(uint64_t *state) { /* xorshift64 */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* Initialised pages here and there: runs of the image, between which a layer's may lie. */
static uint8_t *make_image(size_t *ret_count) {
    /* page, pages */
    static const unsigned places[][2] = {{20, 3}, {30, 1}, {33, 6}, {60, 8}, {100, 2}};
    struct image_builder builder;
    struct husk_image_memory memory = {
        .min_pages = PAGES / 16, .max_pages = 64, .size_gva = HUSK_DATA_GVA + 64};
    guest_image_build(&builder);
    buf_done(&builder.records[HUSK_REC_MEMORIES]);
    builder_row(&builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    builder_word(&builder, memory.size_gva, memory.min_pages);
    buf_done(&builder.segments[--builder.segments_count].bytes);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint8_t bytes[8 * HUSK_PAGE_SIZE];
        const size_t count = places[i][1] * HUSK_PAGE_SIZE;
        memset(bytes, (int)(0x40 + i), sizeof bytes);
        builder_segment(&builder, HUSK_MEM0_GVA + places[i][0] * HUSK_PAGE_SIZE, PF_R | PF_W, bytes,
                        count, count);
    }
    uint8_t *file = builder_finish(&builder, ret_count);
    builder_done(&builder);
    return file;
}

static void lab_open(struct lab *lab) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    size_t count;
    uint8_t *bytes = make_image(&count);
    *lab = (struct lab){.backend = {.guest = guest_nothing}};
    CHECK_OK(fake_engine_new(&lab->backend, &lab->engine, &lab->err), lab->err);
    CHECK_OK(husk_image_open_buffer(lab->engine, (struct husk_buffer){bytes, count}, NULL,
                                    &lab->image, &lab->err),
             lab->err);
    CHECK_OK(husk_imports_new(lab->engine, &lab->imports, &lab->err), lab->err);
    CHECK_OK(
        husk_imports_funcs(lab->imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "host", .type = &type, .fn = host_nothing},
                           1, &lab->err),
        lab->err);
    free(bytes);
}

static void lab_close(struct lab *lab) {
    husk_imports_free(lab->imports);
    husk_image_unref(lab->image);
    husk_engine_unref(lab->engine);
}

static husk_sandbox *sandbox_of(struct lab *lab, husk_image *image) {
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, lab->imports, NULL, &sandbox, &lab->err), lab->err);
    return sandbox;
}

static uint8_t *memory_of(struct lab *lab, husk_sandbox *sandbox) {
    void *span = NULL;
    CHECK_OK(husk_memory_span(sandbox, RANGE(.count = PAGES * HUSK_PAGE_SIZE), &span, &lab->err),
             lab->err);
    return span;
}

static husk_image *snapshot_of(struct lab *lab, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab->err), lab->err);
    return snapshot;
}

/* Runs in order, within their files; and every page by image_source(). */
static void check_image(const husk_image *image, const uint8_t *memory, unsigned round) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    uint64_t end = 0;
    for (uint32_t i = 0; i < image->runs_count; i++) {
        const struct image_run *run = &image->runs[i];
        CHECK_MSG(run->bytes > 0 && run->gva >= end, "round %u: run %u is out of order", round, i);
        CHECK_MSG(run->bytes <= run->file->count && run->offset <= run->file->count - run->bytes,
                  "round %u: run %u is beyond its file", round, i);
        end = run->gva + run->bytes;
    }
    for (unsigned page = 0; page < PAGES; page++) {
        uint64_t bytes;
        const uint8_t *source = image_source(image, HUSK_MEM0_GVA + page * HUSK_PAGE_SIZE, &bytes);
        CHECK_MSG(memcmp(source != NULL ? source : zeros, memory + page * HUSK_PAGE_SIZE,
                         HUSK_PAGE_SIZE) == 0,
                  "round %u: page %u differs", round, page);
    }
}

/* A stack below the data: pages are written before the first run, with gaps between them. */
TEST(pages_before_the_images_own) {
    struct lab lab;
    lab_open(&lab);
    husk_sandbox *sandbox = sandbox_of(&lab, lab.image);
    uint8_t *memory = memory_of(&lab, sandbox);
    memory[2 * HUSK_PAGE_SIZE] = 1;
    memory[5 * HUSK_PAGE_SIZE] = 2;
    husk_image *snapshot = snapshot_of(&lab, sandbox);
    check_image(snapshot, memory, 0);
    husk_sandbox *fresh = sandbox_of(&lab, snapshot);
    CHECK_MEM(memory_of(&lab, fresh), memory, PAGES * HUSK_PAGE_SIZE);
    husk_sandbox_free(fresh);
    husk_image_unref(snapshot);
    husk_sandbox_free(sandbox);
    lab_close(&lab);
}

/* Some pages at random: written, cleared, or written back to what the image has. */
static void scribble(const husk_image *image, uint8_t *memory, uint64_t *random) {
    for (uint64_t count = random_next(random) % 12; count > 0; count--) {
        const unsigned page = (unsigned)(random_next(random) % PAGES);
        const unsigned pages = 1 + (unsigned)(random_next(random) % 3);
        for (unsigned i = page; i < page + pages && i < PAGES; i++) {
            uint8_t *at = memory + i * HUSK_PAGE_SIZE;
            uint64_t bytes;
            const uint8_t *source = image_source(image, HUSK_MEM0_GVA + i * HUSK_PAGE_SIZE, &bytes);
            switch (random_next(random) % 4) {
            case 0: memset(at, 0, HUSK_PAGE_SIZE); break;
            case 1: memcpy(at, source != NULL ? source : at, HUSK_PAGE_SIZE); break;
            default:
                at[random_next(random) % HUSK_PAGE_SIZE] ^=
                    (uint8_t)(1 + random_next(random) % 255);
            }
        }
    }
}

/* Layers over layers; now and then the sandbox goes back, or another one goes on from there. */
TEST(any_writes_over_any_layers) {
    struct lab lab;
    uint64_t random = 20;
    static uint8_t expected[PAGES * HUSK_PAGE_SIZE];
    lab_open(&lab);
    husk_sandbox *sandbox = sandbox_of(&lab, lab.image);
    husk_image *last = husk_image_ref(lab.image);
    for (unsigned round = 0; round < 2000; round++) {
        uint8_t *memory = memory_of(&lab, sandbox);
        scribble(lab.image, memory, &random);
        husk_image *snapshot = snapshot_of(&lab, sandbox);
        check_image(snapshot, memory, round);
        memcpy(expected, memory, sizeof expected);
        husk_image_unref(last);
        last = snapshot;
        const uint64_t what = random_next(&random) % 8;
        if (what == 0) {
            husk_sandbox_free(sandbox);
            sandbox = sandbox_of(&lab, last);
        } else if (what == 1) {
            scribble(lab.image, memory, &random);
            CHECK_OK(husk_sandbox_restore(sandbox, last, &lab.err), lab.err);
        } else if (what == 2 && round % 16 == 0) {
            CHECK_OK(husk_sandbox_restore(sandbox, lab.image, &lab.err), lab.err);
            check_image(lab.image, memory_of(&lab, sandbox), round);
            CHECK_OK(husk_sandbox_restore(sandbox, last, &lab.err), lab.err);
        }
        CHECK_MSG(memcmp(memory_of(&lab, sandbox), expected, sizeof expected) == 0,
                  "round %u: the sandbox's memory differs", round);
    }
    husk_image_unref(last);
    husk_sandbox_free(sandbox);
    lab_close(&lab);
}

TEST_MAIN()
