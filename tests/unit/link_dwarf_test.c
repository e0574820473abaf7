/*
 * Line programs (DWARF 4 and 5) and call frame information: hand-made data with known rows, then
 * the same data damaged. Damage causes an error or other rows, but no crash and no endless loop.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dwarf_line.h"
#include "damage.h"
#include "harness.h"
#include "image.h"
#include "unwind_x86_64.h"

#define ROWS_MAX 64

struct seen {
    struct dwarf_row rows[ROWS_MAX];
    size_t rows_count;
    char files[8][64];
    size_t files_count;
};

static int see_row(void *user, const struct dwarf_row *row, struct husk_error *err) {
    struct seen *seen = user;
    (void)err;
    if (seen->rows_count < ROWS_MAX)
        seen->rows[seen->rows_count] = *row;
    seen->rows_count++;
    return 0;
}

static int see_file(void *user, const char *folder, const char *name, uint32_t *ret_file_id,
                    struct husk_error *err) {
    struct seen *seen = user;
    (void)err;
    if (seen->files_count < 8)
        snprintf(seen->files[seen->files_count], sizeof seen->files[0], "%.30s|%.30s", folder,
                 name);
    *ret_file_id = (uint32_t)seen->files_count++;
    return 0;
}

/* Tables of bytes, a row for each record. */
/* clang-format off */
/* Version 4: folder "dir", file "a.c"; rows at 0x10 line 7, 0x14 line 9 (special opcode), end at
 * 0x20. */
static const uint8_t line_v4[] = {
    58, 0, 0, 0, 4, 0, 35, 0, 0, 0, /* unit and header length, version */
    1, 1, 1, 0xfb, 14, 13,          /* min length, ops, is_stmt, line base -5, range, opcode base */
    0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1,
    'd', 'i', 'r', 0, 0,            /* folders */
    'a', '.', 'c', 0, 1, 0, 0, 0,   /* files */
    0, 0, 0, 0,                     /* the header may be longer than what is known of it */
    0, 5, 2, 0x10, 0, 0, 0,         /* set address */
    3, 6, 1,                        /* advance line 6, copy */
    13 + (2 + 5) + 14 * 4,          /* address + 4, line + 2 */
    2, 12, 0, 1, 1,                 /* advance pc 12, end of sequence */
    11,                             /* set_epilogue_begin: known and without operands */
};

/* Version 5 with strings in .debug_line_str and an MD5: file 0 = file 1 = "b.c" in folder
 * "/src". */
static const uint8_t line_v5[] = {
    92, 0, 0, 0, 5, 0, 4, 0, 67, 0, 0, 0, 1, 1, 1, 0xfb, 14, 13,
    0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1,
    1, 1, 0x1f, 1, 0, 0, 0, 0,        /* one folder: line_strp 0 */
    3, 1, 0x1f, 2, 0x0b, 5, 0x1e,     /* path line_strp, folder data1, md5 data16 */
    1, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 5, 2, 0, 1, 0, 0,              /* address 0x100 */
    4, 0, 5, 3, 1, 2, 4, 0, 1, 1,     /* file 0, column 3, copy; end at + 4 */
};
/* clang-format on */
static const char line_str[] = "/src\0b.c";

static int read_lines(const uint8_t *bytes, size_t count, struct seen *seen,
                      struct husk_error *err) {
    struct dwarf_line_input input = {
        .line = {.data = bytes, .count = count},
        .line_str = {.data = (const uint8_t *)line_str, .count = sizeof line_str}};
    const struct dwarf_sink sink = {.user = seen, .file = see_file, .row = see_row};
    memset(seen, 0, sizeof *seen);
    return dwarf_line_read(&input, &sink, err);
}

TEST(version_4) {
    struct seen seen;
    struct husk_error err;
    CHECK_OK(read_lines(line_v4, sizeof line_v4, &seen, &err), err);
    CHECK_EQ_U64(seen.rows_count, 3);
    CHECK_EQ_U64(seen.rows[0].address, 0x10);
    CHECK_EQ_U64(seen.rows[0].line, 7);
    CHECK_EQ_U64(seen.rows[0].file_id, 0);
    CHECK_EQ_U64(seen.rows[1].address, 0x14);
    CHECK_EQ_U64(seen.rows[1].line, 9);
    CHECK_EQ_U64(seen.rows[2].address, 0x20);
    CHECK(seen.rows[2].is_end);
    CHECK_STR(seen.files[0], "dir|a.c");
}

TEST(version_5) {
    struct seen seen;
    struct husk_error err;
    CHECK_OK(read_lines(line_v5, sizeof line_v5, &seen, &err), err);
    CHECK_EQ_U64(seen.rows_count, 2);
    CHECK_EQ_U64(seen.rows[0].address, 0x100);
    CHECK_EQ_U64(seen.rows[0].column, 3);
    CHECK_EQ_U64(seen.rows[0].line, 1);
    CHECK_EQ_U64(seen.rows[1].address, 0x104);
    CHECK_STR(seen.files[0], "/src|b.c");
}

TEST(errors_are_named) {
    struct seen seen;
    struct husk_error err;
    uint8_t bytes[sizeof line_v4];
    memcpy(bytes, line_v4, sizeof bytes);
    bytes[0] = 200;
    CHECK_STATUS(read_lines(bytes, sizeof bytes, &seen, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "outside the section");
    memcpy(bytes, line_v4, sizeof bytes);
    bytes[14] = 0; /* line range */
    CHECK_STATUS(read_lines(bytes, sizeof bytes, &seen, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "impossible header");
    bytes[4] = 6;
    CHECK_STATUS(read_lines(bytes, sizeof bytes, &seen, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "unknown version");
}

/* In a heap block of exactly this size, so that AddressSanitizer sees a read past the end. */
static void read_damaged(const uint8_t *bytes, size_t count) {
    struct seen seen;
    uint8_t *copy = malloc(count + (count == 0));
    CHECK(copy != NULL);
    memcpy(copy, bytes, count);
    read_lines(copy, count, &seen, NULL);
    free(copy);
}

TEST(damaged_line_programs) {
    damage(line_v4, sizeof line_v4, 99, read_damaged);
    damage(line_v5, sizeof line_v5, 99, read_damaged);
}

/* clang-format off */
/* One CIE (zR, pcrel sdata4) and one FDE of [0x1000, 0x1040): push rbp; mov rbp, rsp; …; pop;
 * ret. */
static const uint8_t frames[] = {
    20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0,
    28, 0, 0, 0, 28, 0, 0, 0,
    /* start: 0x1000 - 0x20 (its own place); length; augmentation */
    0xe0, 0x0f, 0, 0, 0x40, 0, 0, 0, 0,
    0x41, 0x0e, 16, 0x86, 2,            /* at + 1: CFA offset 16, rbp at CFA - 16 */
    0x43, 0x0d, 6,                      /* at + 4: CFA from rbp */
    0x02, 0x30, 0x0c, 7, 8, 0, 0,       /* at + 0x34: CFA rsp + 8 */
    0, 0, 0, 0,
};

/* clang-format on */
TEST(call_frames) {
    struct unwind_tables tables = {0};
    struct husk_error err;
    CHECK_OK(unwind_read(frames, sizeof frames, 0, 0, &tables, &err), err);
    unwind_finish(&tables);
    CHECK_EQ_U64(tables.frames.count, 0);
    const struct husk_image_unwind_x86_64 *row =
        (const struct husk_image_unwind_x86_64 *)(const void *)tables.rows.data;
    CHECK_EQ_U64(tables.rows.count / sizeof row[0], 5);
    CHECK_EQ_U64(row[0].code_gva, 0x1000);
    CHECK_EQ_U64(row[0].cfa_offset, 8);
    CHECK_EQ_U64(row[0].rbp_offset, 0);
    CHECK_EQ_U64(row[1].code_gva, 0x1001);
    CHECK_EQ_U64(row[1].cfa_offset, 16);
    CHECK_EQ_U64(row[1].rbp_offset, 16);
    CHECK_EQ_U64(row[2].code_gva, 0x1004);
    CHECK_EQ_U64(row[2].cfa_base, 1);
    CHECK_EQ_U64(row[3].code_gva, 0x1034);
    CHECK_EQ_U64(row[3].cfa_base, 0);
    CHECK_EQ_U64(row[3].cfa_offset, 8);
    CHECK_EQ_U64(row[4].code_gva, 0x1040);
    CHECK_EQ_U64(row[4].cfa_offset, 0);
    unwind_done(&tables);
}

static void unwind_damaged(const uint8_t *bytes, size_t count) {
    struct unwind_tables tables = {.wants_frames = true};
    uint8_t *copy = malloc(count + (count == 0));
    CHECK(copy != NULL);
    memcpy(copy, bytes, count);
    unwind_read(copy, count, 0, 0, &tables, NULL);
    unwind_finish(&tables);
    unwind_done(&tables);
    free(copy);
}

TEST(damaged_call_frames) {
    damage(frames, sizeof frames, 99, unwind_damaged);
}

TEST_MAIN()
