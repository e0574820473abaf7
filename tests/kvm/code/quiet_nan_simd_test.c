/*
 * tests/kvm/code/quiet_nan_simd_test.c: as quiet_nan_test.c, for vectors: arithmetic on lanes that
 * are signalling NaNs gives quiet ones, at every level, whatever LLVM finds out about the lanes of
 * the other operand.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "wat_text.h"

/* In the templates: $V the shape (f32x4), $T the lanes' type, $I the integers of that width, $W
 * their shape, $K the constant y, $L a vector of it, $B one of its bits plus 5, $F one of fives (as
 * integers), $N one of y as an integer, $S one of the bits of a signalling NaN. */

static const char *const sources_x[] = {
    "(local.get $x)",
    "(v128.const $W $S)",
    "(v128.load (i32.const 512))",
    "($V.neg (v128.const $W $S))",
    "($V.splat ($T.load (i32.const 512)))",
    "($V.replace_lane 0 (local.get $x) ($V.extract_lane 1 (local.get $x)))",
    "(v128.or (local.get $x) (v128.const i64x2 0 0))",
};

/* What comes before, and then y. $c is 1. */
static const struct {
    const char *before, *y;
} sources_y[] = {
    {"", "(v128.const $V $L)"},
    {"", "($V.replace_lane 1 (v128.const $V $L) ($T.const 5))"},
    {"(local.set $v (v128.const $V $L))", "(local.get $v)"},
    {"(if (local.get $c) (then (local.set $v (v128.const $V $L))) (else (local.set $v (local.get "
     "$x))))",
     "(local.get $v)"},
    {"", "(select (v128.const $V $L) (v128.const i64x2 5 6) (local.get $c))"},
    {"", "(call $get (v128.const $V $L))"},
    {"(global.set $g (v128.const $V $L))", "(global.get $g)"},
    {"(v128.store (i32.const 64) (v128.const $V $L))", "(v128.load (i32.const 64))"},
    {"(v128.store (i32.const 64) (v128.const $V $L))",
     "($V.splat ($T.load offset=8 (i32.const 64)))"},
    {"($T.store (i32.const 64) ($T.const $K))", "($V.splat ($T.load (i32.const 64)))"},
    {"($T.store (i32.const 64) ($T.const $K)) ($T.store (i32.const 72) ($T.const $K))"
     "($T.store (i32.const 68) ($T.const $K)) ($T.store (i32.const 76) ($T.const $K))",
     "(v128.load (i32.const 64))"},
    {"(v128.store (local.get $c) (select (v128.const $V $L) (v128.const i64x2 5 6) (local.get "
     "$c)))",
     "(v128.load (local.get $c))"},
    {"", "($V.splat ($T.const $K))"},
    {"", "($V.splat (select ($T.const $K) ($T.const 2.5) (local.get $c)))"},
    {"", "($V.replace_lane 1 (local.get $x) ($T.const $K))"},
    {"", "(i8x16.shuffle 0 1 2 3 4 5 6 7 24 25 26 27 28 29 30 31 (local.get $x) (v128.const $V "
         "$L))"},
    {"", "(i8x16.swizzle (v128.const $V $L) (v128.const i64x2 0x706050403020100 "
         "0x706050403020100))"},
    {"", "($V.neg ($V.neg (v128.const $V $L)))"},
    {"", "($V.sub (v128.const $V $L) ($V.sub (local.get $f) (local.get $f)))"},
    {"", "($V.nearest (v128.const $V $L))"},
    {"", "($V.min (v128.const $V $L) ($V.splat ($T.const 7)))"},
    {"", "($V.pmax (v128.const $V $L) (local.get $x))"},
    {"", "(v128.and (v128.const $V $L) (v128.const i64x2 -1 -1))"},
    {"", "(v128.bitselect (v128.const $V $L) (local.get $x) (v128.const i64x2 -1 -1))"},
    {"", "(v128.xor (local.get $x) (v128.xor (local.get $x) (v128.const $V $L)))"},
    {"", "(f32x4.demote_f64x2_zero (f64x2.nearest (f64x2.splat (f64.const $K))))"},
    {"", "($W.sub (v128.const $W $B) (v128.const $W $F))"},
    {"(local.set $v (v128.const $W $B))", "($W.sub (local.get $v) ($W.splat ($I.const 5)))"},
    {"(loop $l (local.set $v (v128.const $V $L)) (br_if $l (i32.ne (local.tee $i (i32.add"
     " (local.get $i) (i32.const 1))) (i32.const 3))))",
     "(local.get $v)"},
    {"(if ($T.ne ($V.extract_lane 0 (local.get $y)) ($T.const $K)) (then (return (local.get $x))))",
     "($V.splat ($V.extract_lane 0 (local.get $y)))"},
};

struct kind {
    bool is_wide, is_one;
    const char *literal;
    uint64_t bits;
};

static const struct kind kinds[] = {
    {false, false, "0", 0},
    {false, false, "-0", 0x80000000},
    {false, true, "1", 0x3f800000},
    {false, true, "-1", 0xbf800000},
    {true, false, "0", 0},
    {true, false, "-0", 0x8000000000000000},
    {true, true, "1", 0x3ff0000000000000},
    {true, true, "-1", 0xbff0000000000000},
};

#define SIGNALLING32 0x7fa00123u
#define SIGNALLING64 0x7ff4000000001234u

static uint64_t signalling(const struct kind *kind) {
    return kind->is_wide ? SIGNALLING64 : SIGNALLING32;
}

static void put_string(struct wat_text *text, const char *string) {
    wat_text_put(text, string, strlen(string));
}

static void put_lanes(struct wat_text *text, const struct kind *kind, const char *lane) {
    for (int i = 0; i < (kind->is_wide ? 2 : 4); i++) {
        put_string(text, i != 0 ? " " : "");
        put_string(text, lane);
    }
}

static void put_bits(struct wat_text *text, const struct kind *kind, uint64_t bits) {
    char lane[32];
    snprintf(lane, sizeof lane, "0x%llx", (unsigned long long)bits);
    put_lanes(text, kind, lane);
}

static void put_hole(struct wat_text *text, char letter, const void *user) {
    const struct kind *kind = user;
    switch (letter) {
    case 'V': put_string(text, kind->is_wide ? "f64x2" : "f32x4"); break;
    case 'W': put_string(text, kind->is_wide ? "i64x2" : "i32x4"); break;
    case 'T': put_string(text, kind->is_wide ? "f64" : "f32"); break;
    case 'I': put_string(text, kind->is_wide ? "i64" : "i32"); break;
    case 'K': put_string(text, kind->literal); break;
    case 'L': put_lanes(text, kind, kind->literal); break;
    case 'B': put_bits(text, kind, kind->bits + 5); break;
    case 'F': put_bits(text, kind, 5); break;
    case 'S': put_bits(text, kind, signalling(kind)); break;
    default: FAIL("a template with $%c", letter);
    }
}

static void put_template(struct wat_text *text, const char *template, const struct kind *kind) {
    wat_text_template(text, template, put_hole, kind);
}

/* Every function: (x, y, fives, 1) -> the result, of which `form` may take a lane. */
static void put_func(struct wat_text *text, const struct kind *kind, const char *before,
                     const char *const parts[4], int *count) {
    char head[128];
    for (int form = 0; form < 2; form++) {
        snprintf(head, sizeof head,
                 "(func (export \"q%d\") (param $x v128) (param $y v128) (param $f v128) (param $c "
                 "i32) ",
                 (*count)++);
        put_string(text, head);
        put_string(text, "(result v128) (local $v v128) (local $i i32) ");
        put_template(text, before, kind);
        put_template(text, form == 0 ? "" : "($V.splat ($V.extract_lane 1 ", kind);
        for (int i = 0; i < 4; i++)
            put_template(text, parts[i], kind);
        put_template(text, form == 0 ? ")\n" : ")))\n", kind);
    }
}

static void put_binaries(struct wat_text *text, const struct kind *kind, int *count) {
    static const char *const ops[2][4] = {{"($V.add ", "($V.sub ", "($V.min ", "($V.max "},
                                          {"($V.mul ", "($V.div ", "($V.min ", "($V.max "}};
    for (size_t y = 0; y < sizeof sources_y / sizeof sources_y[0]; y++)
        for (size_t x = 0; x < sizeof sources_x / sizeof sources_x[0]; x++)
            for (int op = 0; op < 4; op++) {
                const char *name = ops[kind->is_one][op];
                const char *forward[] = {name, sources_x[x], sources_y[y].y, ")"};
                const char *back[] = {name, sources_y[y].y, sources_x[x], ")"};
                put_func(text, kind, sources_y[y].before, forward, count);
                put_func(text, kind, sources_y[y].before, back, count);
            }
}

static void put_unaries(struct wat_text *text, const struct kind *kind, int *count) {
    static const char *const ops[] = {"($V.ceil ",    "($V.floor ", "($V.trunc ",
                                      "($V.nearest ", "($V.sqrt ",  "($V.floor ($V.abs "};
    static const char *const promotions[] = {
        "(f32x4.demote_f64x2_zero (f64x2.promote_low_f32x4 ",
        "(f32x4.demote_f64x2_zero (f64x2.neg (f64x2.promote_low_f32x4 ",
        "(f32x4.demote_f64x2_zero (f64x2.mul (v128.const f64x2 1 1) (f64x2.promote_low_f32x4 ",
        "(f64x2.promote_low_f32x4 "};
    for (size_t x = 0; x < sizeof sources_x / sizeof sources_x[0]; x++) {
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++)
            put_func(text, kind, "",
                     (const char *const[]){ops[i], sources_x[x], ")", i == 5 ? ")" : ""}, count);
        static const char *const ends[] = {"))", ")))", ")))", ")"};
        for (size_t i = 0; !kind->is_wide && i < 4; i++)
            put_func(text, kind, "",
                     (const char *const[]){promotions[i], sources_x[x], ends[i], ""}, count);
    }
}

static uint8_t *make_module(const struct kind *kind, size_t *ret_bytes, int *ret_funcs) {
    struct wat_text text = wat_text_new();
    *ret_funcs = 0;
    put_string(&text, "(module (memory (export \"memory\") 1) (data (i32.const 512) ");
    put_string(&text, kind->is_wide ? "\"\\34\\12\\00\\00\\00\\00\\f4\\7f"
                                      "\\34\\12\\00\\00\\00\\00\\f4\\7f\")\n"
                                    : "\"\\23\\01\\a0\\7f\\23\\01\\a0\\7f"
                                      "\\23\\01\\a0\\7f\\23\\01\\a0\\7f\")\n");
    put_string(&text, "(global $g (export \"g\") (mut v128) (v128.const i64x2 9 9))\n"
                      "(func $get (param v128) (result v128) (local.get 0))\n");
    put_binaries(&text, kind, ret_funcs);
    put_unaries(&text, kind, ret_funcs);
    put_string(&text, ")");
    return wat_text_finish(&text, ret_bytes);
}

static struct husk_value splat(const struct kind *kind, uint64_t bits) {
    struct husk_value value = {.type = HUSK_V128};
    size_t bytes = kind->is_wide ? 8 : 4;
    for (size_t at = 0; at < 16; at += bytes)
        memcpy(value.of.v128 + at, &bits, bytes);
    return value;
}

/* A demotion's upper lanes are 0, and a promotion's lanes are doubles; every other lane is a quiet
 * NaN. */
static bool is_quiet(const struct kind *kind, const struct husk_value *value) {
    uint32_t f32[4];
    uint64_t f64[2];
    memcpy(f32, value->of.v128, 16);
    memcpy(f64, value->of.v128, 16);
    bool is_f64 = (f64[0] & 0x7ff8000000000000) == 0x7ff8000000000000 &&
                  (f64[1] & 0x7ff8000000000000) == 0x7ff8000000000000;
    if (kind->is_wide || is_f64)
        return is_f64;
    for (int i = 0; i < 4; i++)
        if ((f32[i] & 0x7fc00000) != 0x7fc00000 && (i < 2 || f32[i] != 0))
            return false;
    return true;
}

static void check_quiet(struct wat_lab *lab, const struct level *level, const struct kind *kind,
                        int idx) {
    uint64_t five = kind->is_wide ? 0x4014000000000000 : 0x40a00000;
    struct husk_value args[4] = {splat(kind, signalling(kind)), splat(kind, kind->bits),
                                 splat(kind, five), value_i32(1)};
    struct husk_value result;
    char name[16];
    uint64_t words[2];
    snprintf(name, sizeof name, "q%d", idx);
    CHECK_OK(wat_call(lab, name, args, 4, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    memcpy(words, result.of.v128, sizeof words);
    CHECK_MSG(is_quiet(kind, &result), "%s, %s, y = %s: %s gave 0x%llx 0x%llx", level->name,
              kind->is_wide ? "f64x2" : "f32x4", kind->literal, name, (unsigned long long)words[0],
              (unsigned long long)words[1]);
}

/* All levels with the first constant of each width, the others at -O2 only: compiling is what takes
 * the time. */
static bool is_tried(const struct kind *kind, const struct level *level) {
    const bool is_default = level->opt_level == 2 && !level->is_strict;
    const bool is_first = kind == &kinds[0] || kind == &kinds[4];
    return is_default || (is_first && (!level->is_strict || level->opt_level == 2));
}

static void check_kind(const struct kind *kind) {
    struct wat_lab lab;
    size_t bytes;
    int funcs;
    uint8_t *wasm = make_module(kind, &bytes, &funcs);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        if (is_tried(kind, &levels[i])) {
            level_open(&lab, &levels[i], wasm, bytes);
            for (int idx = 0; idx < funcs; idx++)
                check_quiet(&lab, &levels[i], kind, idx);
            level_close(&lab);
        }
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST(lanes_of_f32) {
    SKIP_WITHOUT_LEVELS();
    for (int i = 0; i < 4; i++)
        check_kind(&kinds[i]);
}

TEST(lanes_of_f64) {
    SKIP_WITHOUT_LEVELS();
    for (int i = 4; i < 8; i++)
        check_kind(&kinds[i]);
}

TEST_MAIN()
