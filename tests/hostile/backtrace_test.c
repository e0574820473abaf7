/*
 * tests/hostile/backtrace_test.c: a backtrace ends soon, whatever the guest left on its stack. Each
 * return address must be searched for in the image's rows. With return addresses into tens of
 * thousands of places, the number of searches is bounded. The frames of a recursion come from few
 * places and are counted up to the limit that husk.h names.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "built_image.h"
#include "clock.h"
#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "last_backtrace.h"
#include "layout.h"
#include "literals.h"

#define PLACES 20000u
#define PLACES_OFFSET 0x200u /* in the text: two bytes each */
#define PLACES_MAX 128u      /* husk.h, husk_sandbox_backtrace() */

/* Fills the stack (1 MiB) with return addresses behind the first R9 places, at random, and ends
 * there. */
__asm__(".pushsection .rodata\n .balign 64\n"
        "bt_text: cld\n call *%rsi\n out %eax, $0x10\n ud2\n"
        "bt_resume: ret\n"
        "bt_thunk: call *%rdi\n ret\n"
        "bt_many: mov $20000, %r9d\n jmp 1f\n"
        "bt_some: mov $100, %r9d\n jmp 1f\n"
        "bt_one: mov $1, %r9d\n jmp 1f\n"
        "1: mov $0x3ef01000, %edi\n mov $12345, %eax\n"
        "2: imul $1664525, %eax, %eax\n add $1013904223, %eax\n mov %eax, %edx\n shr $8, %edx\n"
        " imul %r9, %rdx\n shr $24, %rdx\n lea 0x400201(%rdx, %rdx), %rdx\n mov %rdx, (%rdi)\n"
        " add $8, %edi\n cmp $0x3effff00, %edi\n jb 2b\n mov $0x3ef01000, %esp\n"
        "bt_end: ud2\n"
        "bt_text_end:\n.popsection");
extern const uint8_t bt_text[], bt_text_end[], bt_resume[], bt_thunk[], bt_many[], bt_some[],
    bt_one[], bt_end[];

static struct husk_error err;

static uint32_t gva_of(const uint8_t *label) {
    return (uint32_t)(HUSK_TEXT_GVA + (uint32_t)(label - bt_text));
}

/* A place, and how its caller is found: the next word of the stack is the return address. */
static void add_place(struct image_builder *builder, uint32_t code_gva, uint32_t func_idx,
                      uint32_t wasm_offset) {
    const struct husk_image_unwind_x86_64 unwind = {.code_gva = code_gva, .cfa_offset = 8};
    const struct husk_image_code_row code = {
        .code_gva = code_gva, .func_idx = func_idx, .wasm_offset = wasm_offset};
    builder_row(builder, HUSK_REC_UNWIND, &unwind, sizeof unwind);
    builder_row(builder, HUSK_REC_CODE_MAP, &code, sizeof code);
}

static husk_image *image_make(husk_engine *engine) {
    static uint8_t text[PLACES_OFFSET + 2 * PLACES + 2];
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    struct image_builder builder;
    CHECK(bt_text_end - bt_text <= (ptrdiff_t)PLACES_OFFSET);
    memcpy(text, bt_text, (size_t)(bt_text_end - bt_text));
    builder_init(&builder);
    builder.module.entry_gva = HUSK_TEXT_GVA;
    builder.module.resume_gva = gva_of(bt_resume);
    builder_segment(&builder, HUSK_TEXT_GVA, PF_R | PF_X, text, sizeof text, sizeof text);
    builder_segment(&builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    const uint32_t type = builder_type(&builder, ">", gva_of(bt_thunk));
    const struct {
        const char *name;
        const uint8_t *code;
    } funcs[] = {{"many", bt_many}, {"some", bt_some}, {"one", bt_one}};
    for (size_t i = 0; i < sizeof funcs / sizeof funcs[0]; i++)
        builder_export(&builder, funcs[i].name, HUSK_ABI_FUNC,
                       builder_func(&builder, type, gva_of(funcs[i].code), 1, funcs[i].name));
    add_place(&builder, gva_of(bt_end), 0, 0);
    for (uint32_t i = 0; i < PLACES; i++)
        add_place(&builder, HUSK_TEXT_GVA + PLACES_OFFSET + 2 * i, 0, i);
    return built_image_open(&builder, engine);
}

TEST(a_walk_is_bounded_in_frames_and_in_searches) {
    SKIP_WITHOUT_KVM();
    static const struct {
        const char *name;
        uint32_t least, most, listed;
    } rows[] = {{"one", 99000, 100000, 1}, /* a recursion, which is listed as one frame */
                {"some", 12300, 12700, HUSK_FRAMES_MAX},
                /* nearly each frame has its place */
                {"many", PLACES_MAX, PLACES_MAX + 8, HUSK_FRAMES_MAX}};
    static struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    husk_engine *engine = NULL;
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    husk_image *image = image_make(engine);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &sandbox, &err), err);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
        CHECK_OK(husk_call(sandbox, CALL(.name = rows[i].name), &outcome, &err), err);
        const uint64_t ended_ns = clock_ns(CLOCK_MONOTONIC);
        const struct husk_backtrace backtrace = last_backtrace(sandbox);
        printf("  %s: %u frames; %u us, and %u us for the call\n", rows[i].name,
               backtrace.frames_total, (unsigned)((clock_ns(CLOCK_MONOTONIC) - ended_ns) / 1000),
               (unsigned)((ended_ns - start_ns) / 1000));
        CHECK_EQ_I64(outcome.kind, HUSK_GUEST_VIOLATION);
        CHECK_EQ_U64(backtrace.frames_count, rows[i].listed);
        CHECK_MSG(backtrace.frames_total >= rows[i].least && backtrace.frames_total <= rows[i].most,
                  "%u frames", backtrace.frames_total);
        CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
    }
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_engine_unref(engine);
}

TEST_MAIN()
