/*
 * tests/unit/options_test.c: structs with a size (base/options.h). Reading options: every struct,
 * every size from 0 to beyond its end, every byte that the library does not know. Filling a
 * caller's struct: every size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "options.h"

#define LATER_BYTES 24 /* bytes that a later version may add */

struct field {
    const char *name;
    size_t offset, bytes;
};

struct row {
    const char *name;
    size_t bytes;
    const struct field *fields;
    size_t fields_count;
    int (*read)(const void *given, void *ret_options, struct husk_error *err);
};

#define BEGIN(of) static const struct field of##_fields[] = {
#define FIELD(of, field)                                                                           \
    {#field, offsetof(struct husk_##of, field), sizeof((struct husk_##of){0}.field)},
#define RESERVED(of) FIELD(of, reserved)
#define END(of)                                                                                    \
    }                                                                                              \
    ;                                                                                              \
    static int of##_test(const void *given, void *ret_options, struct husk_error *err) {           \
        return of##_read(given, ret_options, err);                                                 \
    }
#include "options.def"

static const struct row rows[] = {
#define BEGIN(of)                                                                                  \
    {"husk_" #of, sizeof(struct husk_##of), of##_fields,                                           \
     sizeof of##_fields / sizeof of##_fields[0], of##_test},
#include "options.def"
};
#define ROWS_COUNT (sizeof rows / sizeof rows[0])

/* A caller's struct: exactly `size` bytes, so that AddressSanitizer sees a read beyond. */
struct given {
    uint8_t *bytes;
    uint8_t read[512];
    struct husk_error err;
};

static void given_init(struct given *given, size_t size, int fill) {
    given->bytes = malloc(size < sizeof size ? sizeof size : size);
    CHECK(given->bytes != NULL && size < sizeof given->read);
    memset(given->bytes, fill, size);
    memcpy(given->bytes, &size, sizeof size);
    memset(given->read, 0x55, sizeof given->read);
    given->err = (struct husk_error){0};
}

static int given_read(struct given *given, const struct row *row) {
    return row->read(given->bytes, given->read, &given->err);
}

static bool is_untouched(const struct given *given) {
    for (size_t i = 0; i < sizeof given->read; i++) {
        if (given->read[i] != 0x55)
            return false;
    }
    return true;
}

static void check_refused(struct given *given, const struct row *row, const char *what) {
    CHECK_STATUS(given_read(given, row), HUSK_E_INVAL);
    CHECK_CONTAINS(given->err.message, row->name);
    CHECK_CONTAINS(given->err.message, what);
    CHECK(is_untouched(given));
    CHECK_STATUS(row->read(given->bytes, given->read, NULL), HUSK_E_INVAL);
    free(given->bytes);
}

/* The field that ends beyond `size` and begins before it, or NULL. */
static const struct field *field_cut(const struct row *row, size_t size) {
    for (size_t i = 0; i < row->fields_count; i++) {
        const struct field *field = &row->fields[i];
        if (size > field->offset && size < field->offset + field->bytes)
            return field;
    }
    return NULL;
}

TEST(the_table_has_every_struct) {
    CHECK_EQ_U64(ROWS_COUNT, 16);
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        size_t end = 0;
        for (size_t k = 0; k < rows[i].fields_count; k++) {
            CHECK_EQ_U64(rows[i].fields[k].offset, end);
            end += rows[i].fields[k].bytes;
        }
        CHECK_EQ_U64(end, rows[i].bytes);
        CHECK_STR(rows[i].fields[0].name, "size");
    }
}

TEST(sizes_up_to_the_end) {
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const struct row *row = &rows[i];
        for (size_t size = 0; size < row->bytes; size++) {
            const struct field *cut = field_cut(row, size);
            struct given given;
            given_init(&given, size, 0);
            if (size < sizeof size || cut != NULL) {
                check_refused(&given, row, size < sizeof size ? "INIT" : cut->name);
                continue;
            }
            CHECK_OK(given_read(&given, row), given.err);
            free(given.bytes);
        }
    }
}

/* Those that lie before later fields. */
static void clear_reserved(struct given *given, const struct row *row, size_t size) {
    for (size_t k = 0; k < row->fields_count && row->fields[k].offset < size; k++)
        if (strcmp(row->fields[k].name, "reserved") == 0)
            memset(given->bytes + row->fields[k].offset, 0, row->fields[k].bytes);
}

/* An older caller: the fields of its struct are taken, all others are 0. */
TEST(shorter_structs) {
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const struct row *row = &rows[i];
        for (size_t k = 1; k < row->fields_count; k++) {
            const size_t size = row->fields[k].offset;
            uint8_t expected[512] = {0};
            struct given given;
            given_init(&given, size, 0xa7);
            clear_reserved(&given, row, size);
            memcpy(expected, given.bytes, size);
            memcpy(expected, &row->bytes, sizeof row->bytes);
            CHECK_OK(given_read(&given, row), given.err);
            CHECK_MEM(given.read, expected, row->bytes);
            CHECK_EQ_U64(given.read[row->bytes], 0x55); /* nothing behind it */
            free(given.bytes);
        }
    }
}

/* A newer caller: refused if any byte is set that this library does not know. */
TEST(longer_structs) {
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const struct row *row = &rows[i];
        for (size_t size = row->bytes + 1; size <= row->bytes + LATER_BYTES; size++) {
            struct given given;
            given_init(&given, size, 0);
            CHECK_OK(given_read(&given, row), given.err);
            CHECK_MEM(given.read, &row->bytes, sizeof row->bytes);
            CHECK_EQ_U64(given.read[row->bytes], 0x55);
            free(given.bytes);
        }
        for (size_t at = row->bytes; at < row->bytes + LATER_BYTES; at++) {
            struct given given;
            char place[64];
            given_init(&given, row->bytes + LATER_BYTES, 0);
            given.bytes[at] = 1;
            snprintf(place, sizeof place, "byte %zu of %zu", at, row->bytes + LATER_BYTES);
            check_refused(&given, row, place);
        }
    }
}

TEST(reserved_bytes) {
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const struct row *row = &rows[i];
        const struct field *field = row->fields, *end = field + row->fields_count;
        while (field < end && strcmp(field->name, "reserved") != 0)
            field++;
        for (size_t at = field < end ? field->offset : SIZE_MAX;
             field < end && at < field->offset + field->bytes; at++) {
            struct given given;
            given_init(&given, row->bytes, 0);
            given.bytes[at] = 0x80;
            check_refused(&given, row, ".reserved");
        }
    }
}

/* `size` was not set. */
TEST(sizes_that_were_not_set) {
    static const size_t sizes[] = {OPTIONS_BYTES_MAX + 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
            struct given given;
            given_init(&given, rows[i].bytes, 0);
            memcpy(given.bytes, &sizes[k], sizeof sizes[k]);
            check_refused(&given, &rows[i], ".size");
        }
    }
}

TEST(no_struct_is_all_zero) {
    for (size_t i = 0; i < ROWS_COUNT; i++) {
        const struct row *row = &rows[i];
        uint8_t expected[512] = {0};
        struct given given;
        given_init(&given, row->bytes, 0);
        memcpy(expected, &row->bytes, sizeof row->bytes);
        CHECK_OK(row->read(NULL, given.read, &given.err), given.err);
        CHECK_MEM(given.read, expected, row->bytes);
        free(given.bytes);
    }
}

TEST(the_init_macros_set_the_size_alone) {
#define IS_SIZE_ALONE(type, init)                                                                  \
    do {                                                                                           \
        struct type given = init, expected;                                                        \
        memset(&expected, 0, sizeof expected);                                                     \
        expected.size = sizeof expected;                                                           \
        CHECK_MEM(&given, &expected, sizeof expected);                                             \
    } while (0)
    IS_SIZE_ALONE(husk_engine_options, HUSK_ENGINE_OPTIONS_INIT);
    IS_SIZE_ALONE(husk_wasi_options, HUSK_WASI_OPTIONS_INIT);
    IS_SIZE_ALONE(husk_sandbox_options, HUSK_SANDBOX_OPTIONS_INIT);
    IS_SIZE_ALONE(husk_limits, HUSK_LIMITS_INIT);
    IS_SIZE_ALONE(husk_answer, HUSK_ANSWER_INIT);
    IS_SIZE_ALONE(husk_compile_options, HUSK_COMPILE_OPTIONS_INIT);
}

/* ---- Structs that the library fills ---- */

#define WHOLE_BYTES 40

TEST(no_more_is_filled_than_the_caller_has) {
    uint8_t whole[WHOLE_BYTES], ret[2 * WHOLE_BYTES + 1], expected[sizeof ret];
    struct husk_error err;
    memset(whole, 0x77, sizeof whole);
    for (size_t size = sizeof size; size < sizeof ret; size++) {
        memset(ret, 0x55, sizeof ret);
        memset(expected, 0x55, sizeof expected);
        memset(expected, 0, size);
        memset(expected, 0x77, size < sizeof whole ? size : sizeof whole);
        memcpy(expected, &size, sizeof size);
        memcpy(ret, &size, sizeof size);
        CHECK_OK(output_check("husk_stats", ret, &err), err);
        output_fill(ret, whole, sizeof whole);
        CHECK_MEM(ret, expected, sizeof ret);
    }
}

TEST(a_size_that_was_not_set_fills_nothing) {
    static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, OPTIONS_BYTES_MAX + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct husk_stats stats = {.size = sizes[i]};
        struct husk_error err = {0};
        CHECK_STATUS(output_check("husk_stats", &stats, &err), HUSK_E_INVAL);
        CHECK_CONTAINS(err.message, "husk_stats.size");
        CHECK_STATUS(output_check("husk_stats", &stats, NULL), HUSK_E_INVAL);
    }
}

TEST_MAIN()
