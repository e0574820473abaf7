/*
 * tests/kvm/code/exceptions_test.c: exceptions at every level, of the standard (wat/exnref.wat) and
 * of the legacy proposal (wat/exceptions.wat): what is caught where, values of all types, locals
 * and registers in handlers, references, and constant memory. V8 gave the expected values.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"

/* wat/exnref.wat, without names. */
static const uint8_t exnref_wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x3a, 0x0c, 0x60, 0x01, 0x7f, 0x00, 0x60,
    0x02, 0x7e, 0x7c, 0x00, 0x60, 0x02, 0x69, 0x7f, 0x00, 0x60, 0x01, 0x69, 0x01, 0x7f, 0x60, 0x00,
    0x02, 0x7e, 0x7c, 0x60, 0x01, 0x7f, 0x01, 0x7f, 0x60, 0x00, 0x02, 0x7f, 0x69, 0x60, 0x00, 0x01,
    0x7f, 0x60, 0x00, 0x00, 0x60, 0x02, 0x7f, 0x7f, 0x00, 0x60, 0x00, 0x02, 0x69, 0x7f, 0x60, 0x02,
    0x7f, 0x69, 0x01, 0x7f, 0x03, 0x11, 0x10, 0x00, 0x03, 0x05, 0x05, 0x00, 0x07, 0x08, 0x09, 0x05,
    0x08, 0x05, 0x05, 0x05, 0x0b, 0x05, 0x05, 0x04, 0x04, 0x01, 0x69, 0x00, 0x08, 0x0d, 0x07, 0x03,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x02, 0x06, 0x06, 0x01, 0x69, 0x01, 0xd0, 0x69, 0x0b, 0x07, 0x73,
    0x0d, 0x05, 0x63, 0x61, 0x74, 0x63, 0x68, 0x00, 0x02, 0x09, 0x63, 0x61, 0x74, 0x63, 0x68, 0x5f,
    0x72, 0x65, 0x66, 0x00, 0x03, 0x04, 0x6b, 0x65, 0x65, 0x70, 0x00, 0x04, 0x04, 0x6b, 0x65, 0x70,
    0x74, 0x00, 0x05, 0x0a, 0x74, 0x68, 0x72, 0x6f, 0x77, 0x5f, 0x6b, 0x65, 0x70, 0x74, 0x00, 0x06,
    0x05, 0x73, 0x74, 0x6f, 0x72, 0x65, 0x00, 0x07, 0x06, 0x73, 0x74, 0x6f, 0x72, 0x65, 0x64, 0x00,
    0x08, 0x04, 0x6e, 0x75, 0x6c, 0x6c, 0x00, 0x09, 0x06, 0x6e, 0x65, 0x73, 0x74, 0x65, 0x64, 0x00,
    0x0a, 0x07, 0x6d, 0x69, 0x6c, 0x6c, 0x69, 0x6f, 0x6e, 0x00, 0x0b, 0x05, 0x68, 0x6f, 0x61, 0x72,
    0x64, 0x00, 0x0c, 0x06, 0x6c, 0x61, 0x62, 0x65, 0x6c, 0x73, 0x00, 0x0e, 0x04, 0x64, 0x65, 0x61,
    0x64, 0x00, 0x0f, 0x0a, 0xc0, 0x03, 0x10, 0x23, 0x00, 0x20, 0x00, 0x41, 0x01, 0x46, 0x04, 0x40,
    0x41, 0x0b, 0x08, 0x00, 0x0b, 0x20, 0x00, 0x41, 0x02, 0x46, 0x04, 0x40, 0x42, 0x16, 0x44, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x3f, 0x08, 0x01, 0x0b, 0x0b, 0x1b, 0x00, 0x02, 0x04, 0x02,
    0x7f, 0x1f, 0x40, 0x02, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x20, 0x00, 0x0a, 0x0b, 0x41, 0x00,
    0x0f, 0x0b, 0x0f, 0x0b, 0x1a, 0xa7, 0x0b, 0x24, 0x00, 0x02, 0x40, 0x02, 0x04, 0x02, 0x7f, 0x1f,
    0x40, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01, 0x01, 0x02, 0x02, 0x20, 0x00, 0x10, 0x00, 0x0b, 0x41,
    0x05, 0x0f, 0x0b, 0x0f, 0x0b, 0x1a, 0xa7, 0x0f, 0x0b, 0x41, 0x7f, 0x0b, 0x2a, 0x02, 0x01, 0x69,
    0x01, 0x7f, 0x02, 0x69, 0x02, 0x06, 0x1f, 0x40, 0x02, 0x01, 0x00, 0x00, 0x03, 0x01, 0x20, 0x00,
    0x10, 0x00, 0x0b, 0x41, 0x05, 0x0f, 0x0b, 0x21, 0x01, 0x21, 0x02, 0x20, 0x02, 0x20, 0x01, 0x10,
    0x01, 0x6a, 0x0f, 0x0b, 0x10, 0x01, 0x0b, 0x13, 0x00, 0x02, 0x69, 0x1f, 0x40, 0x01, 0x03, 0x00,
    0x20, 0x00, 0x10, 0x00, 0x0b, 0xd0, 0x69, 0x0b, 0x24, 0x00, 0x0b, 0x06, 0x00, 0x23, 0x00, 0x10,
    0x01, 0x0b, 0x05, 0x00, 0x23, 0x00, 0x0a, 0x0b, 0x0c, 0x00, 0x20, 0x01, 0x10, 0x04, 0x20, 0x00,
    0x23, 0x00, 0x26, 0x00, 0x0b, 0x08, 0x00, 0x20, 0x00, 0x25, 0x00, 0x10, 0x01, 0x0b, 0x05, 0x00,
    0xd0, 0x69, 0x0a, 0x0b, 0x27, 0x02, 0x01, 0x69, 0x01, 0x7f, 0x02, 0x0a, 0x1f, 0x40, 0x01, 0x00,
    0x02, 0x00, 0x20, 0x00, 0x10, 0x04, 0x23, 0x00, 0x41, 0xe4, 0x00, 0x08, 0x02, 0x0b, 0x00, 0x0b,
    0x21, 0x02, 0x21, 0x01, 0x20, 0x02, 0x20, 0x01, 0x10, 0x01, 0x6a, 0x0b, 0x3a, 0x02, 0x01, 0x69,
    0x01, 0x7f, 0x41, 0x02, 0x10, 0x04, 0x23, 0x00, 0x21, 0x01, 0xd0, 0x69, 0x24, 0x00, 0x03, 0x40,
    0x20, 0x02, 0x02, 0x69, 0x1f, 0x40, 0x01, 0x03, 0x00, 0x41, 0x01, 0x10, 0x00, 0x0b, 0x00, 0x0b,
    0x10, 0x01, 0x6a, 0x21, 0x02, 0x20, 0x00, 0x41, 0x01, 0x6b, 0x22, 0x00, 0x0d, 0x00, 0x0b, 0x20,
    0x02, 0x20, 0x01, 0x10, 0x01, 0x6a, 0x0b, 0x18, 0x00, 0x20, 0x00, 0x45, 0x04, 0x40, 0x41, 0x00,
    0x0f, 0x0b, 0x41, 0x01, 0x10, 0x04, 0x20, 0x00, 0x23, 0x00, 0x10, 0x0d, 0x41, 0x01, 0x6a, 0x0b,
    0x23, 0x01, 0x01, 0x7f, 0x20, 0x00, 0x45, 0x04, 0x7f, 0x41, 0x00, 0x05, 0x41, 0x01, 0x10, 0x04,
    0x20, 0x00, 0x41, 0x01, 0x6b, 0x23, 0x00, 0x10, 0x0d, 0x0b, 0x21, 0x02, 0x20, 0x02, 0x20, 0x01,
    0x10, 0x01, 0x6a, 0x0b, 0x3c, 0x01, 0x01, 0x7f, 0x03, 0x7f, 0x1f, 0x40, 0x01, 0x02, 0x00, 0x20,
    0x01, 0x41, 0x01, 0x6a, 0x21, 0x01, 0x20, 0x01, 0x20, 0x00, 0x49, 0x04, 0x40, 0x41, 0x01, 0x10,
    0x00, 0x0b, 0x0b, 0x1f, 0x40, 0x01, 0x00, 0x00, 0x01, 0x41, 0x01, 0x10, 0x00, 0x42, 0x00, 0x44,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08, 0x01, 0x0b, 0x41, 0x01, 0x08, 0x00, 0x0b,
    0x0b, 0x14, 0x00, 0x41, 0x04, 0x0f, 0x02, 0x69, 0x1f, 0x40, 0x01, 0x03, 0x00, 0x41, 0x01, 0x08,
    0x00, 0x0b, 0x00, 0x0b, 0x0a, 0x0b,
};

#define THREW INT64_MIN
#define TRAPS(trap) (INT64_MIN + 1 + (int64_t)(trap))
#define UNREACHABLE TRAPS(HUSK_TRAP_UNREACHABLE)
#define NULL_REF TRAPS(HUSK_TRAP_NULL_EXCEPTION_REFERENCE)
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct expected {
    const char *name;
    int32_t args[2];
    int64_t result; /* or THREW, or TRAPS() */
};

static void check_calls(struct wat_lab *lab, const char *level, const struct expected *rows,
                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        int64_t result = level_call(lab, rows[i].name, rows[i].args);
        if (lab->outcome.kind == HUSK_THREW)
            result = THREW;
        else if (lab->outcome.kind != HUSK_RETURNED)
            result = TRAPS(lab->outcome.trap);
        if (result != rows[i].result)
            fprintf(stderr, "%s: %s(%d, %d)\n", level, rows[i].name, rows[i].args[0],
                    rows[i].args[1]);
        CHECK_EQ_I64(result, rows[i].result);
    }
}

static void check_module(const uint8_t *wasm, size_t bytes, const struct expected *rows,
                         size_t count) {
    struct wat_lab lab;
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, bytes);
        check_calls(&lab, levels[i].name, rows, count);
        level_restore(&lab);
        check_calls(&lab, levels[i].name, rows, count);
        level_close(&lab);
    }
    wat_lab_close(&lab);
}

static const struct expected legacy_rows[] = {
    {"nested", {0, 0}, 1000},
    {"delegate_out", {0, 0}, 0},
    {"delegate_over", {0, 0}, 0},
    {"delegate_handler", {0, 0}, 0},
    {"rethrow", {0, 0}, 0},
    {"log", {0, 0}, 0},
    {"results", {0, 0}, 11},
    {"local_throw", {0, 0}, 1},
    {"traps", {0, 0}, 0},
    {"branches", {0, 0}, 1046},
    {"uncaught", {0, 0}, 0},
    {"nested", {1, 0}, 1111},
    {"delegate_out", {1, 0}, 8},
    {"delegate_over", {1, 0}, 11},
    {"delegate_handler", {1, 0}, 2},
    {"rethrow", {1, 0}, 11},
    {"log", {0, 0}, 132},
    {"results", {1, 0}, 11},
    {"local_throw", {1, 0}, THREW},
    {"traps", {1, 0}, 1},
    {"branches", {1, 0}, 1047},
    {"uncaught", {1, 0}, 11},
    {"nested", {2, 0}, 305420074},
    {"delegate_out", {2, 0}, 8},
    {"delegate_over", {2, 0}, 3},
    {"delegate_handler", {2, 0}, 2},
    {"rethrow", {2, 0}, 305419874},
    {"log", {0, 0}, 56},
    {"results", {2, 0}, -1},
    {"local_throw", {2, 0}, -1},
    {"traps", {2, 0}, 1},
    {"branches", {2, 0}, 1048},
    {"uncaught", {2, 0}, THREW},
    {"nested", {3, 0}, 300},
    {"delegate_out", {3, 0}, 7},
    {"delegate_over", {3, 0}, 3},
    {"delegate_handler", {3, 0}, 2},
    {"rethrow", {3, 0}, 33},
    {"log", {0, 0}, 72},
    {"results", {3, 0}, -1},
    {"local_throw", {3, 0}, 9},
    {"traps", {3, 0}, 1},
    {"branches", {3, 0}, 1049},
    {"uncaught", {3, 0}, THREW},
    {"nested", {4, 0}, UNREACHABLE},
    {"delegate_out", {4, 0}, UNREACHABLE},
    {"delegate_over", {4, 0}, UNREACHABLE},
    {"delegate_handler", {4, 0}, UNREACHABLE},
    {"rethrow", {4, 0}, UNREACHABLE},
    {"log", {0, 0}, 0},
    {"results", {4, 0}, UNREACHABLE},
    {"local_throw", {4, 0}, UNREACHABLE},
    {"traps", {4, 0}, UNREACHABLE},
    {"branches", {4, 0}, 1050},
    {"uncaught", {4, 0}, UNREACHABLE},
    {"indirect", {0, 1}, 0},
    {"indirect", {1, 1}, 111},
    {"indirect", {1, 3}, TRAPS(HUSK_TRAP_UNINITIALIZED_ELEMENT)},
    {"indirect", {0, 7}, TRAPS(HUSK_TRAP_UNDEFINED_ELEMENT)},
    {"locals", {10, 3}, 28},
    {"locals", {10, 10}, 1000045},
    {"locals", {10, 0}, 5},
    {"registers", {0, 0}, 1584758},
    {"registers", {5, 0}, 3046754},
    {"registers", {40, 0}, INT64_C(5563699434)},
    {"local_throw_out", {20, 0}, 75},
    {"dead", {1, 0}, 1},
    {"million", {1000, 0}, 11000},
    {"deep", {100, 0}, 8},
    {"deep", {10000, 0}, 8},
    {"exhausts", {0, 0}, TRAPS(HUSK_TRAP_CALL_STACK_EXHAUSTED)},
    {"values", {0, 0}, 1},
    {"local_throw_out", {6, 0}, 75},
    {"million", {20000, 0}, 220000},
    {"traps", {5, 0}, TRAPS(HUSK_TRAP_MEMORY_OUT_OF_BOUNDS)},
};

TEST(legacy_exceptions_work_at_every_level) {
    SKIP_WITHOUT_LEVELS();
    size_t count = 0;
    uint8_t *wasm = level_wasm("exceptions", &count);
    check_module(wasm, count, legacy_rows, COUNT(legacy_rows));
    free(wasm);
}

static const struct expected exnref_rows[] = {
    {"catch", {0, 0}, 5},
    {"catch", {1, 0}, 11},
    {"catch", {2, 0}, 22},
    {"catch_ref", {0, 0}, 5},
    {"catch_ref", {1, 0}, 22},
    {"catch_ref", {2, 0}, 22},
    {"kept", {0, 0}, NULL_REF},
    {"keep", {1, 0}, 0},
    {"kept", {0, 0}, 11},
    {"throw_kept", {0, 0}, THREW},
    {"kept", {0, 0}, 11},
    {"keep", {2, 0}, 0},
    {"kept", {0, 0}, 22},
    {"keep", {0, 0}, 0},
    {"throw_kept", {0, 0}, NULL_REF},
    {"store", {0, 1}, 0},
    {"store", {7, 2}, 0},
    {"million", {20000, 0}, 220022},
    {"hoard", {100, 0}, 1112},
    {"stored", {0, 0}, 11},
    {"stored", {7, 0}, 22},
    {"stored", {1, 0}, NULL_REF},
    {"null", {0, 0}, NULL_REF},
    {"nested", {1, 0}, 111},
    {"nested", {2, 0}, 122},
    {"hoard", {4000, 0}, 44012},
    {"hoard", {5000, 0}, TRAPS(HUSK_TRAP_EXCEPTION_REFERENCES)},
    {"hoard", {4000, 0}, 44012},
    {"stored", {7, 0}, 22},
    {"labels", {5, 0}, 11},
    {"dead", {1, 0}, 4},
};

TEST(references_to_exceptions_work_at_every_level) {
    SKIP_WITHOUT_LEVELS();
    check_module(exnref_wasm, sizeof exnref_wasm, exnref_rows, COUNT(exnref_rows));
}

/* In constant memory: there is room for 4,096 references. */
TEST(a_million_throws) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    const int32_t million = 1000000;
    size_t count = 0;
    uint8_t *wasm = level_wasm("exceptions", &count);
    wat_lab_init(&lab);
    level_open(&lab, &levels[2], wasm, count);
    CHECK_EQ_I64(level_call(&lab, "million", &million), 11000000);
    level_close(&lab);
    level_open(&lab, &levels[2], exnref_wasm, sizeof exnref_wasm);
    CHECK_EQ_I64(level_call(&lab, "million", &million), 11000022);
    level_close(&lab);
    wat_lab_close(&lab);
    free(wasm);
}

static const char *const type_names[3] = {"i32", "i64", "f64"};
static const char *const from_i32[3] = {"", "i64.extend_i32_s", "f64.convert_i32_s"};
static const char *const to_i64[3] = {"i64.extend_i32_s", "", "i64.trunc_f64_s"};

/* A tag with many values, which a function passes on from its parameters. */
static char *many_values(uint32_t count) {
    char *text = NULL;
    size_t bytes;
    FILE *file = open_memstream(&text, &bytes);
    CHECK(file != NULL);
    fprintf(file, "(module (type $p (func (param");
    for (uint32_t i = 0; i < count; i++)
        fprintf(file, " %s", type_names[i % 3]);
    fprintf(file, "))) (tag $t (type $p)) (func $thrower (type $p)");
    for (uint32_t i = 0; i < count; i++)
        fprintf(file, " local.get %u", i);
    fprintf(file, " throw $t) (func (export \"f\") (param i32) (result i64) (local i64) try");
    for (uint32_t i = 0; i < count; i++)
        fprintf(file, " local.get 0 i32.const %u i32.add %s", i, from_i32[i % 3]);
    fprintf(file, " call $thrower catch $t");
    for (uint32_t i = count; i-- > 0;)
        fprintf(file, " %s i64.const %u i64.mul local.get 1 i64.add local.set 1", to_i64[i % 3],
                i + 1);
    fprintf(file, " end local.get 1))");
    fclose(file);
    return text;
}

TEST(a_tag_may_have_many_values) {
    SKIP_WITHOUT_LEVELS();
    static const uint32_t counts[] = {1, 7, 100, 1000};
    struct wat_lab lab;
    wat_lab_init(&lab);
    for (size_t i = 0; i < COUNT(counts); i++) {
        int64_t sum = 0;
        for (uint32_t k = 0; k < counts[i]; k++)
            sum += (int64_t)(k + 1) * (5 + k);
        char *text = many_values(counts[i]);
        size_t bytes = 0;
        uint8_t *wasm = wat_to_wasm(text, &bytes);
        for (int level = 0; level < 3; level += 2) {
            level_open(&lab, &levels[level], wasm, bytes);
            CHECK_EQ_I64(level_call(&lab, "f", (const int32_t[]){5}), sum);
            level_close(&lab);
        }
        free(wasm);
        free(text);
    }
    wat_lab_close(&lab);
}

/* "lib" throws its tags; "main" imports one of them, and has one of the same type. */
static const struct wat_module shared_tags[] = {
    {.name = "lib",
     .wat = "(module (tag $t (export \"t\") (param i32)) (tag $u (param i32))"
            " (func (export \"throw\") (param i32) local.get 0 i32.const 5 i32.lt_u"
            "  if local.get 0 throw $t else local.get 0 throw $u end))"},
    {.name = "main",
     .wat = "(module (import \"lib\" \"t\" (tag $t (param i32)))"
            " (import \"lib\" \"throw\" (func $throw (param i32))) (tag $own (param i32))"
            " (func (export \"f\") (param i32) (result i32)"
            "  try (result i32) local.get 0 call $throw i32.const -1"
            "  catch $own catch $t i32.const 100 i32.add catch_all i32.const 7 end)"
            " (func (export \"g\") (param i32) local.get 0 call $throw))"}};

TEST(tags_are_shared_by_instances) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, shared_tags, COUNT(shared_tags), NULL);
    CHECK_EQ_I64(level_call(&lab, "f", (const int32_t[]){3}), 103);
    CHECK_EQ_I64(level_call(&lab, "f", (const int32_t[]){9}), 7);
    (void)level_call(&lab, "g", (const int32_t[]){9});
    CHECK_EQ_U64(lab.outcome.kind, HUSK_THREW);
    wat_lab_close(&lab);
}

TEST_MAIN()
