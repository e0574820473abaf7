/*
 * tests/unit/image_standing_test.c: the reader checks a snapshot's standing call: its functions,
 * arguments, stack pointer and stack. tests/hostile/standing_hostile_test.c runs what it accepts.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "layout.h"

#define STACK_PAGE_GVA (HUSK_STACK_TOP_GVA - HUSK_PAGE_SIZE)

/* What a file says. */
struct said {
    struct husk_image_standing row;
    uint32_t rows, args;
    uint64_t segment_gva, segment_bytes; /* no bytes: no segment */
    uint32_t flags;
    bool has_no_thunk; /* no function can be called */
};

/* Of "host", which stands at the import: that has three parameters. */
static const struct said good = {.row = {.stack_gva = HUSK_STACK_TOP_GVA - 40, .func_idx = 2},
                                 .rows = 1,
                                 .args = 3,
                                 .segment_gva = STACK_PAGE_GVA,
                                 .segment_bytes = HUSK_PAGE_SIZE,
                                 .flags = HUSK_IMAGE_SNAPSHOT};

static uint8_t *make(const struct said *said, size_t *ret_count) {
    struct image_builder builder;
    const struct husk_image_slot slot = {{0}};
    if ((said->flags & HUSK_IMAGE_SNAPSHOT) != 0)
        guest_snapshot_build(&builder);
    else
        guest_image_build(&builder);
    struct husk_image_type *types = (void *)builder.records[HUSK_REC_TYPES].data;
    for (size_t i = 0;
         said->has_no_thunk && i * sizeof *types < builder.records[HUSK_REC_TYPES].count; i++)
        types[i].thunk_gva = 0;
    for (uint32_t i = 0; i < said->rows; i++)
        builder_row(&builder, HUSK_REC_STANDING, &said->row, sizeof said->row);
    for (uint32_t i = 0; i < said->args; i++)
        builder_row(&builder, HUSK_REC_STANDING_ARGS, &slot, sizeof slot);
    struct builder_segment memory = builder.segments[--builder.segments_count];
    if (said->segment_bytes != 0)
        builder_segment(&builder, said->segment_gva, PF_R | PF_W, NULL, 0, said->segment_bytes);
    builder.segments[builder.segments_count++] = memory;
    uint8_t *bytes = builder_finish(&builder, ret_count);
    builder_done(&builder);
    return bytes;
}

static int opens(const struct said *said, husk_image **ret_image, struct husk_error *err) {
    size_t count;
    uint8_t *bytes = make(said, &count);
    int status =
        husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, ret_image, err);
    free(bytes);
    return status;
}

static void is_refused(const struct said *said, const char *what) {
    husk_image *image = NULL;
    struct husk_error err;
    CHECK_STATUS(opens(said, &image, &err), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(err.message, what);
}

TEST(a_standing_call_is_read) {
    husk_image *image = NULL;
    struct husk_error err;
    struct husk_standing standing = HUSK_STANDING_INIT;
    CHECK_OK(opens(&good, &image, &err), err);
    CHECK_OK(husk_image_standing(image, &standing, &err), err);
    CHECK_STR(standing.module, "wasi_snapshot_preview1");
    CHECK_STR(standing.name, "clock_time_get");
    CHECK_EQ_U64(standing.host_type.params_count, 3);
    CHECK_EQ_U64(standing.type.results_count, 1);
    CHECK_EQ_U64(standing.stack_bytes, HUSK_PAGE_SIZE);
    husk_image_unref(image);
}

TEST(without_one_there_is_none) {
    husk_image *image = NULL;
    struct husk_error err;
    struct husk_standing standing = HUSK_STANDING_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    const struct said said = {.flags = HUSK_IMAGE_SNAPSHOT};
    CHECK_OK(opens(&said, &image, &err), err);
    CHECK_STATUS(husk_image_standing(image, &standing, &err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_image_standing(NULL, &standing, &err), HUSK_E_INVAL);
    CHECK_OK(husk_image_backtrace(image, &backtrace, &err), err);
    CHECK_EQ_U64(backtrace.frames_count, 0);
    husk_image_unref(image);
}

TEST(impossible_stack_pointers_are_refused) {
    static const uint64_t all[] = {0,
                                   8,
                                   HUSK_STACK_TOP_GVA,
                                   HUSK_STACK_TOP_GVA - 16,
                                   HUSK_STACK_TOP_GVA - 39,
                                   HUSK_STACK_TOP_GVA + 8,
                                   HUSK_STACK_LOW_GVA - 8,
                                   HUSK_STACK_LOW_GVA + 8, /* more than HUSK_STACK_MAX_BYTES */
                                   HUSK_MEM0_GVA + 8,
                                   UINT64_MAX - 7,
                                   UINT64_MAX};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct said said = good;
        said.row.stack_gva = all[i];
        is_refused(&said, "its stack pointer is impossible");
    }
}

TEST(functions_that_are_not_there_are_refused) {
    static const struct {
        uint32_t func_idx, host_func_idx;
        const char *what;
    } all[] = {{1000, 0, "no such function"},
               {UINT32_MAX, 0, "no such function"},
               {0, 0, "cannot be called"}, /* the import */
               {2, 1, "no such host function"},
               {2, UINT32_MAX, "no such host function"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct said said = good;
        said.row.func_idx = all[i].func_idx;
        said.row.host_func_idx = all[i].host_func_idx;
        is_refused(&said, all[i].what);
    }
    struct said said = good;
    said.has_no_thunk = true;
    is_refused(&said, "cannot be called");
}

TEST(other_numbers_of_arguments_are_refused) {
    for (uint32_t args = 0; args < 6; args++) {
        struct said said = good;
        said.args = args;
        if (args != good.args)
            is_refused(&said, "not as many arguments");
    }
    const struct said alone = {.args = 1, .flags = HUSK_IMAGE_SNAPSHOT};
    is_refused(&alone, "arguments, but no call");
}

TEST(the_stack_is_one_segment_from_the_stack_pointer_on) {
    static const struct {
        uint64_t gva, bytes;
        const char *what;
    } all[] = {{0, 0, "its stack is missing"},
               {STACK_PAGE_GVA - HUSK_PAGE_SIZE, HUSK_PAGE_SIZE, "not one segment"},
               {STACK_PAGE_GVA - HUSK_PAGE_SIZE, 2 * HUSK_PAGE_SIZE, "not one segment"},
               {STACK_PAGE_GVA, 2 * HUSK_PAGE_SIZE, "does not fit the stack"},
               {HUSK_STACK_TOP_GVA, HUSK_PAGE_SIZE, "neither data, stack nor"},
               {HUSK_STACK_LOW_GVA - HUSK_PAGE_SIZE, HUSK_PAGE_SIZE, "neither data, stack nor"},
               {HUSK_MAILBOX_GVA, HUSK_PAGE_SIZE, "neither data, stack nor"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct said said = good;
        said.segment_gva = all[i].gva;
        said.segment_bytes = all[i].bytes;
        is_refused(&said, all[i].what);
    }
    struct said alone = good;
    alone.rows = alone.args = 0;
    is_refused(&alone, "a segment in the stack, but no call");
}

TEST(only_one_call_and_only_in_a_snapshot) {
    struct said said = good;
    said.rows = 2;
    is_refused(&said, "standing_x86_64");
    said = good;
    said.flags = 0; /* of the image's "host", whose import has one parameter */
    said.args = 1;
    is_refused(&said, "only a snapshot can have one");
}

TEST_MAIN()
