/*
 * tests/kvm/code/tail_args_test.c: tail calls between functions with few, many and the most
 * parameters, of all types, at every level.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "wat_text.h"

static const uint32_t counts[] = {0, 1, 3, 7, 9, 15, 30, 1000};
#define COUNTS (sizeof counts / sizeof counts[0])
#define MANY 1000

/* Functions with many parameters take long to compile, so not all pairs have some. */
static bool is_pair(uint32_t from, uint32_t to) {
    return (from != MANY || to == MANY || to == 3) && (to != MANY || from == MANY || from == 1);
}

/* The type of a parameter, and how an i64 is made of it and it of an i64. */
struct kind {
    const char *name, *from, *to;
};
static const struct kind kinds[] = {{"i64", "", ""},
                                    {"f64", "(i64.trunc_f64_s)", "(f64.convert_i64_s)"},
                                    {"i32", "(i64.extend_i32_s)", "(i32.wrap_i64)"},
                                    {"v128", "(i64x2.extract_lane 1)", "(i64x2.splat)"},
                                    {"f32", "(i64.trunc_f32_s)", "(f32.convert_i64_s)"}};

/* Callers and callees have other types at the same place. */
static const struct kind *kind_at(uint32_t idx, bool is_callee) {
    return &kinds[(idx + (is_callee ? 2 : 0)) % 5];
}

__attribute__((format(printf, 2, 3))) static void put(struct wat_text *text, const char *format,
                                                      ...) {
    char part[256];
    va_list args;
    va_start(args, format);
    int count = vsnprintf(part, sizeof part, format, args);
    va_end(args);
    CHECK(count >= 0 && (size_t)count < sizeof part);
    wat_text_put(text, part, (size_t)count);
}

static void put_head(struct wat_text *text, const char *name, uint32_t count, bool is_callee) {
    put(text, "\n(func $%s (param", name);
    for (uint32_t i = 0; i < count; i++)
        put(text, " %s", kind_at(i, is_callee)->name);
    put(text, ") (result i64)");
}

/* The sum of all its parameters, each of which counts otherwise. */
static void put_callee(struct wat_text *text, uint32_t count) {
    char name[32];
    snprintf(name, sizeof name, "sum%u", count);
    put_head(text, name, count, true);
    put(text, " (i64.const 7)");
    for (uint32_t i = 0; i < count; i++)
        put(text, " (i64.const 3) (i64.mul) (local.get %u) %s (i64.add)", i,
            kind_at(i, true)->from);
    put(text, ")");
}

/* Each argument is a parameter's value and the argument's number. */
static void put_caller(struct wat_text *text, uint32_t from, uint32_t to) {
    char name[32];
    snprintf(name, sizeof name, "%uto%u", from, to);
    put_head(text, name, from, false);
    for (uint32_t i = 0; i < to; i++) {
        if (from == 0)
            put(text, " (i64.const %u) %s", i, kind_at(i, true)->to);
        else
            put(text, " (local.get %u) %s (i64.const %u) (i64.add) %s", i % from,
                kind_at(i % from, false)->from, i, kind_at(i, true)->to);
    }
    put(text, " (return_call $sum%u))", to);
    put(text, "\n(func (export \"%s\") (param i32) (result i64)", name);
    for (uint32_t i = 0; i < from; i++)
        put(text, " (i64.extend_i32_s (local.get 0)) (i64.const %u) (i64.add) %s", i,
            kind_at(i, false)->to);
    put(text, " (call $%s))", name);
}

static int64_t expected(uint32_t from, uint32_t to, int32_t argument) {
    uint64_t sum = 7;
    for (uint32_t i = 0; i < to; i++) {
        int64_t value = from == 0 ? 0 : argument + (int64_t)(i % from);
        sum = sum * 3 + (uint64_t)(value + i);
    }
    return (int64_t)sum;
}

static void check_pair(struct wat_lab *lab, const struct level *level, uint32_t from, uint32_t to) {
    char name[32];
    const int32_t argument = 500;
    snprintf(name, sizeof name, "%uto%u", from, to);
    const int64_t result = level_call(lab, name, &argument);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED && result == expected(from, to, argument),
              "%s, %s: %lld, %s", level->name, name, (long long)result, lab->outcome.message);
}

TEST(any_signature_to_any_other) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    struct wat_text text = wat_text_new();
    size_t count;
    put(&text, "(module");
    for (size_t i = 0; i < COUNTS; i++)
        put_callee(&text, counts[i]);
    for (size_t i = 0; i < COUNTS * COUNTS; i++)
        if (is_pair(counts[i / COUNTS], counts[i % COUNTS]))
            put_caller(&text, counts[i / COUNTS], counts[i % COUNTS]);
    put(&text, ")");
    uint8_t *wasm = wat_text_finish(&text, &count);
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t k = 0; k < COUNTS * COUNTS; k++)
            if (is_pair(counts[k / COUNTS], counts[k % COUNTS]))
                check_pair(&lab, &levels[i], counts[k / COUNTS], counts[k % COUNTS]);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
