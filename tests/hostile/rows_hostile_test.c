/*
 * tests/hostile/rows_hostile_test.c: rows that are checked when they are used: code map, unwinding,
 * inlined calls, source lines, names of functions. Each byte of them is changed in a small image.
 * It opens, its guest traps, and the backtrace is one or an error that names the row; a snapshot of
 * it is saved or refused. husk_image_check() finds what a backtrace finds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "guest_image.h"
#include "guest_lab.h"
#include "harness.h"
#include "husk.h"
#include "layout.h"
#include "literals.h"

enum { TRAP_FUNC = 6 }; /* of guest_image.c */
#define NAME_OFFSET offsetof(struct husk_image_func, name)

static struct guest_lab lab;
static struct husk_error err;

/* "trap" is code that was inlined twice, and has lines. */
static void build(struct image_builder *builder) {
    static const struct husk_image_inlined_call calls[] = {{1, 10, 0}, {2, 20, 1}, {3, 30, 2}};
    guest_image_build(builder);
    const struct husk_image_inlined_row inlined[] = {
        {HUSK_TEXT_GVA, 0}, {guest_gva(guest_trap), 2}, {guest_gva(guest_trap) + 1, 0}};
    const struct husk_image_line_row lines[] = {
        {0, 0, 1, 1}, {10, 0, 2, 2}, {TRAP_FUNC * 100, 0, 3, 4}, {1000, UINT32_MAX, 0, 0}};
    const struct husk_image_str file = builder_string(builder, "guest.c");
    builder_row(builder, HUSK_REC_INLINED_CODE, inlined, sizeof inlined);
    builder_row(builder, HUSK_REC_INLINED_CALLS, calls, sizeof calls);
    builder_row(builder, HUSK_REC_SOURCE_FILES, &file, sizeof file);
    builder_row(builder, HUSK_REC_LINES, lines, sizeof lines);
}

static int forget(void *user, const void *bytes, size_t count) {
    (void)bytes;
    *(size_t *)user += count;
    return 0;
}

struct result {
    int opened, checked, walked, saved;
    struct husk_error error; /* of the walk; else empty */
    struct husk_backtrace backtrace;
};

/* Ends the test unless all that fails says why. */
static void use(const uint8_t *bytes, size_t count, struct result *ret) {
    husk_image *image = NULL, *snapshot = NULL;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    size_t saved = 0;
    *ret = (struct result){.backtrace = HUSK_BACKTRACE_INIT};
    ret->opened = husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, SKIP_HASH,
                                         &image, &err);
    if (ret->opened != 0)
        return;
    ret->checked = husk_image_check(image, &err);
    CHECK(ret->checked == 0 || ret->checked == HUSK_E_BAD_IMAGE);
    CHECK_OK(husk_sandbox_load(lab.sandbox, image, lab.imports, &err), err);
    guest_run(lab.sandbox, "trap", NULL, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
    ret->walked = husk_sandbox_backtrace(lab.sandbox, &ret->backtrace, &err);
    if (ret->walked != 0)
        ret->error = err;
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &err), err);
    ret->saved = husk_image_save_to(snapshot, forget, &saved, &err);
    CHECK(ret->saved == 0 ? saved > count / 2 : ret->saved == HUSK_E_BAD_IMAGE);
    husk_image_unref(snapshot);
    husk_image_unref(image);
}

/* Nothing is bad at its use that the check of all does not find. */
static void check_result(const struct result *result, uint64_t at) {
    const bool is_bad = result->opened == 0 && result->walked != 0;
    CHECK_MSG(result->opened == 0 || result->opened == HUSK_E_BAD_IMAGE ||
                  result->opened == HUSK_E_IMAGE_VERSION,
              "byte %llu: %d", (unsigned long long)at, result->opened);
    CHECK_MSG(!is_bad || (result->walked == HUSK_E_BAD_IMAGE && result->checked != 0 &&
                          result->backtrace.frames_count == 0 && result->error.message[0] != '\0'),
              "byte %llu: %d, %s", (unsigned long long)at, result->walked, result->error.message);
}

/* An emulated CPU takes 30 times as long, and what is looked at here does not depend on it. */
static uint64_t byte_step(void) {
    return getenv("HUSK_TEST_EMULATED") != NULL ? 97 : 1;
}

/* Each byte of a record's rows, or of functions' names. Returns how many changes made the backtrace
 * fail. */
static unsigned change_all(uint8_t *bytes, size_t count, enum husk_image_record_id id,
                           size_t row_bytes) {
    static const uint8_t flips[] = {0x01, 0x20, 0xff};
    uint64_t rows;
    uint8_t *first = image_note_rows(image_note_find(bytes, count), id, &rows);
    unsigned bad = 0;
    CHECK(first != NULL && rows > 1);
    for (uint64_t at = 0; at < rows * row_bytes; at += byte_step()) {
        const uint64_t in_row = at % row_bytes;
        if (id == HUSK_REC_FUNCS && (in_row < NAME_OFFSET || in_row >= NAME_OFFSET + 8))
            continue; /* checked when it is opened */
        for (size_t i = 0; i < sizeof flips; i++) {
            struct result result;
            first[at] ^= flips[i];
            use(bytes, count, &result);
            check_result(&result, at);
            bad += result.opened == 0 && result.walked != 0;
            first[at] ^= flips[i];
        }
    }
    return bad;
}

TEST(each_byte_of_rows_that_are_checked_late) {
    static const struct {
        enum husk_image_record_id id;
        size_t row_bytes;
    } records[] = {{HUSK_REC_CODE_MAP, sizeof(struct husk_image_code_row)},
                   {HUSK_REC_UNWIND, sizeof(struct husk_image_unwind_x86_64)},
                   {HUSK_REC_INLINED_CODE, sizeof(struct husk_image_inlined_row)},
                   {HUSK_REC_INLINED_CALLS, sizeof(struct husk_image_inlined_call)},
                   {HUSK_REC_LINES, sizeof(struct husk_image_line_row)},
                   {HUSK_REC_FUNCS, sizeof(struct husk_image_func)}};
    SKIP_WITHOUT_KVM();
    struct image_builder builder;
    struct result result;
    size_t count;
    guest_lab_open(&lab, NULL, NULL, NULL);
    build(&builder);
    uint8_t *bytes = builder_finish(&builder, &count);
    use(bytes, count, &result);
    CHECK(result.opened == 0 && result.checked == 0 && result.walked == 0 && result.saved == 0);
    CHECK_EQ_U64(result.backtrace.frames_count, 3);
    CHECK_STR(result.backtrace.frames[0].file, "guest.c");
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        const unsigned bad = change_all(bytes, count, records[i].id, records[i].row_bytes);
        printf("  record %d: %u of the changes make a backtrace fail\n", (int)records[i].id, bad);
        if (byte_step() == 1)
            CHECK(bad > 0 || records[i].id == HUSK_REC_UNWIND); /* those are only out of order */
    }
    free(bytes);
    builder_done(&builder);
    guest_lab_close(&lab);
}

/* ---- one thing wrong, and what is said of it ---- */

#define ROW(type, id, idx) ((struct type *)(void *)b->records[id].data)[idx]
static void bad_func(struct image_builder *b) {
    ROW(husk_image_code_row, HUSK_REC_CODE_MAP, 5).func_idx = 1000;
}
static void bad_order(struct image_builder *b) {
    ROW(husk_image_unwind_x86_64, HUSK_REC_UNWIND, 6).code_gva = guest_gva(guest_read) + 1;
}
static void bad_inlined(struct image_builder *b) {
    ROW(husk_image_inlined_row, HUSK_REC_INLINED_CODE, 1).call = 4;
}
static void bad_call(struct image_builder *b) {
    ROW(husk_image_inlined_call, HUSK_REC_INLINED_CALLS, 1).func_idx = 77;
}
static void endless_calls(struct image_builder *b) {
    ROW(husk_image_inlined_call, HUSK_REC_INLINED_CALLS, 1).outer = 2;
}
static void bad_file(struct image_builder *b) {
    ROW(husk_image_line_row, HUSK_REC_LINES, 2).file_idx = 1;
}
static void bad_name(struct image_builder *b) {
    ROW(husk_image_func, HUSK_REC_FUNCS, TRAP_FUNC).name.offset = UINT32_MAX - 1;
}

TEST(an_error_says_which_row) {
    static const struct {
        void (*change)(struct image_builder *builder);
        const char *message;
        int saved;
    } cases[] = {
        {bad_func, "code row 5: no such function", 0},
        {bad_order, "unwind row 7: out of order", 0},
        {bad_inlined, "inlined row 1: no such call", 0},
        {bad_call, "inlined call 1: no such function", 0},
        {endless_calls, "inlined call 1: its outer call does not come before it", 0},
        {bad_file, "line row 2: no such file", 0},
        {bad_name, "function 6: its name is outside the strings", HUSK_E_BAD_IMAGE},
    };
    SKIP_WITHOUT_KVM();
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct image_builder builder;
        struct result result;
        size_t count;
        build(&builder);
        cases[i].change(&builder);
        uint8_t *bytes = builder_finish(&builder, &count);
        use(bytes, count, &result);
        CHECK_EQ_I64(result.opened, 0);
        CHECK_STATUS(result.walked, HUSK_E_BAD_IMAGE);
        CHECK_STR(result.error.message, cases[i].message);
        CHECK_STATUS(result.checked, HUSK_E_BAD_IMAGE);
        CHECK_EQ_I64(result.saved, cases[i].saved);
        free(bytes);
        builder_done(&builder);
    }
    guest_lab_close(&lab);
}

TEST_MAIN()
