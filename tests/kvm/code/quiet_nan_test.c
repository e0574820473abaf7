/*
 * tests/kvm/code/quiet_nan_test.c: the result of arithmetic on a signalling NaN is a quiet NaN
 * (core spec 4.3.3, nans), at every level. This holds for every other operand, even if LLVM finds
 * that it is a constant for which x op y "is" x. Operations on bits (abs, neg, copysign) and moves
 * do not change the NaN.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "wat_text.h"

/* In the templates: $T the type (f32), $I the integer type of its width, $K the constant y as a
 * literal, $B its bits, $N y as an integer, $M the address of a float in memory, $S the bits of
 * a signalling NaN. */

/* Where x comes from: a signalling NaN in each case. */
static const char *const sources_x[] = {
    "($T.reinterpret_$I $P)",
    "($T.reinterpret_$I ($I.const $S))",
    "($T.load (i32.const $M))",
    "(select ($T.const 3) ($T.neg ($T.reinterpret_$I ($I.const $S))) (i32.eqz (local.get $c)))",
};

/* What comes before, and then y. $c is 1. */
static const struct {
    const char *before, *y;
} sources_y[] = {
    {"", "($T.const $K)"},
    {"(local.set $v ($T.const $K))", "(local.get $v)"},
    {"(if (local.get $c) (then (local.set $v ($T.const $K))) (else (local.set $v ($T.const $K))))",
     "(local.get $v)"},
    {"(if (local.get $c) (then (local.set $v ($T.const $K))) (else (local.set $v ($T.const 5))))",
     "(local.get $v)"},
    {"", "(select ($T.const $K) ($T.const 2.5) (local.get $c))"},
    {"", "(call $get$T ($T.const $K))"},
    {"(global.set $g$T ($T.const $K))", "(global.get $g$T)"},
    {"", "(global.get $fixed$T$Q)"},
    {"($T.store (i32.const 64) ($T.const $K))", "($T.load (i32.const 64))"},
    {"($I.store (i32.const 64) ($I.const $B))", "($T.load (i32.const 64))"},
    {"($I.store (i32.const 64) ($I.const $B))", "($T.reinterpret_$I ($I.load (i32.const 64)))"},
    {"($T.store (local.get $c) (select ($T.const $K) ($T.const 2.5) (local.get $c)))",
     "($T.load (local.get $c))"},
    {"", "($T.reinterpret_$I ($I.const $B))"},
    {"", "($T.neg ($T.neg ($T.const $K)))"},
    {"", "($T.sub ($T.const $K) ($T.sub ($T.const 0.5) ($T.const 0.5)))"},
    {"", "($T.nearest ($T.const $K))"},
    {"", "($T.min ($T.const $K) ($T.const 7))"},
    {"(local.set $v ($T.reinterpret_$I $Y))",
     "(select (local.get $v) (local.get $v) ($T.eq (local.get $v) ($T.const $K)))"},
    {"(local.set $v ($T.reinterpret_$I $Y)) (if ($T.ne (local.get $v) ($T.const $K)) (then (return "
     "($I.const "
     "0))))",
     "(local.get $v)"},
    {"(local.set $i (i32.const 0)) (loop $l (local.set $v ($T.const $K)) (br_if $l (i32.ne "
     "(local.tee $i "
     "(i32.add"
     " (local.get $i) (i32.const 1))) (i32.const 3))))",
     "(local.get $v)"},
};

/* The same for y that an integer can be. */
static const struct {
    const char *before, *y;
} sources_integer[] = {
    {"", "($T.convert_i32_s (i32.const $N))"},
    {"(local.set $i (i32.const $N))", "($T.convert_i32_s (local.get $i))"},
    {"(i32.store (i32.const 64) (i32.const $N))", "($T.convert_i32_s (i32.load (i32.const 64)))"},
    {"(if (i32.ne (i32.wrap_i64 (local.get $n)) (i32.const $N)) (then (return ($I.const 0))))",
     "($T.convert_i32_s (i32.wrap_i64 (local.get $n)))"},
    {"(local.set $i (i32.sub (i32.const $N) (i32.const 2))) (loop $l (br_if $l (i32.ne (local.tee "
     "$i (i32.add"
     " (local.get $i) (i32.const 1))) (i32.const $N))))",
     "($T.convert_i32_s (local.get $i))"},
};

/* Only for +0. */
static const struct {
    const char *before, *y;
} sources_zero[] = {
    {"(memory.fill (i32.const 64) (i32.const 0) (i32.const 16))", "($T.load (i32.const 64))"},
    {"(i64.store (i32.const 64) (i64.const 0))", "($T.load (i32.const 64))"},
    {"", "(local.get $v)"},
};

struct operand {
    const char *literal, *number; /* number: NULL if it is none of integers */
    uint64_t bits32, bits64;
    int64_t integer;
};

static const struct operand zeros[] = {{"0", "0", 0, 0, 0},
                                       {"-0", NULL, 0x80000000, 0x8000000000000000, 0}};
static const struct operand ones[] = {{"1", "1", 0x3f800000, 0x3ff0000000000000, 1},
                                      {"-1", "-1", 0xbf800000, 0xbff0000000000000, -1}};

#define SIGNALLING32 0x7fa00123u
#define SIGNALLING64 0x7ff4000000001234u

struct kind {
    bool is_wide;
    const struct operand *y;
};

__attribute__((format(printf, 2, 3))) static void emit(struct wat_text *text, const char *format,
                                                       ...) {
    char part[512];
    va_list args;
    va_start(args, format);
    int count = vsnprintf(part, sizeof part, format, args);
    va_end(args);
    CHECK(count >= 0 && (size_t)count < sizeof part);
    wat_text_put(text, part, (size_t)count);
}

static void emit_hole(struct wat_text *text, char letter, const void *user) {
    const struct kind *kind = user;
    uint64_t bits = kind->is_wide ? kind->y->bits64 : kind->y->bits32;
    switch (letter) {
    case 'T': emit(text, "%s", kind->is_wide ? "f64" : "f32"); break;
    case 'I': emit(text, "%s", kind->is_wide ? "i64" : "i32"); break;
    case 'K': emit(text, "%s", kind->y->literal); break;
    case 'Q': emit(text, "%s", kind->y->literal[0] == '-' ? "minus" : kind->y->literal); break;
    case 'B': emit(text, "0x%llx", (unsigned long long)bits); break;
    case 'N': emit(text, "%s", kind->y->number); break;
    case 'M': emit(text, "%d", kind->is_wide ? 520 : 512); break;
    case 'S':
        emit(text, "0x%llx", (unsigned long long)(kind->is_wide ? SIGNALLING64 : SIGNALLING32));
        break;
    case 'P':
        emit(text, "%s", kind->is_wide ? "(local.get $x)" : "(i32.wrap_i64 (local.get $x))");
        break;
    case 'Y':
        emit(text, "%s", kind->is_wide ? "(local.get $y)" : "(i32.wrap_i64 (local.get $y))");
        break;
    default: FAIL("a template with $%c", letter);
    }
}

static void emit_template(struct wat_text *text, const char *template, const struct kind *kind) {
    wat_text_template(text, template, emit_hole, kind);
}

/* Every function: (x's bits, y's bits, 1, y as an integer) -> bits of the result. */
static void emit_begin(struct wat_text *text, const struct kind *kind, int *count) {
    emit(text, "(func (export \"q%d\") (param $x i64) (param $y i64) (param $c i32) (param $n i64)",
         (*count)++);
    emit_template(text, " (result $I) (local $v $T) (local $i i32) (local $r $I) ", kind);
}

static void emit_result(struct wat_text *text, const struct kind *kind) {
    emit_template(text, "(local.set $r ($I.reinterpret_$T ", kind);
}

/* The fast tier's instruction selector leaves this conversion, and with it all that comes before in
 * its block, to the other one, which folds. */
static void emit_end(struct wat_text *text) {
    emit(text,
         ")) (f64.store (i32.const 600) (f64.convert_i64_u (local.get $n))) (local.get $r))\n");
}

static void emit_binary(struct wat_text *text, const struct kind *kind, const char *before,
                        const char *y, int *count) {
    static const char *const ops[2][4] = {{"add", "sub", "min", "max"},
                                          {"mul", "div", "min", "max"}};
    bool is_one = kind->y == &ones[0] || kind->y == &ones[1];
    for (size_t x = 0; x < sizeof sources_x / sizeof sources_x[0]; x++) {
        /* add and sub both ways; min and max of a literal only */
        int forms = y == sources_y[0].y ? 6 : 4;
        for (int i = 0; i < forms; i++) {
            const char *op = ops[is_one][i < 4 ? i : i - 4];
            const char *parts[2] = {sources_x[x], y};
            emit_begin(text, kind, count);
            emit_template(text, before, kind);
            emit_result(text, kind);
            emit_template(text, "($T.", kind);
            emit(text, "%s ", op);
            emit_template(text, parts[i < 4 ? 0 : 1], kind);
            emit_template(text, parts[i < 4 ? 1 : 0], kind);
            emit(text, ")");
            emit_end(text);
        }
    }
}

static void emit_unary(struct wat_text *text, const struct kind *kind, int *count) {
    static const char *const forms[] = {
        "($T.ceil #)", "($T.floor #)",          "($T.trunc #)",        "($T.nearest #)",
        "($T.sqrt #)", "($T.floor ($T.abs #))", "($T.sqrt ($T.neg #))"};
    for (size_t x = 0; x < sizeof sources_x / sizeof sources_x[0]; x++) {
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            const char *hole = strchr(forms[i], '#');
            char head[64];
            snprintf(head, sizeof head, "%.*s", (int)(hole - forms[i]), forms[i]);
            emit_begin(text, kind, count);
            emit_result(text, kind);
            emit_template(text, head, kind);
            emit_template(text, sources_x[x], kind);
            emit(text, "%s", hole + 1);
            emit_end(text);
        }
    }
}

/* A promotion and back, with something in between. */
static void emit_promotions(struct wat_text *text, int *count) {
    static const char *const forms[] = {
        "#",
        "(f64.neg #)",
        "(f64.abs #)",
        "(f64.copysign # (f64.const -1))",
        "(select # (f64.const 2) (local.get $c))",
        "(f64.neg (f64.abs (f64.neg (f64.copysign # (f64.const -1)))))",
        "(f64.min # (f64.const 3))"};
    static const struct kind narrow = {false, &zeros[0]};
    for (size_t x = 0; x < sizeof sources_x / sizeof sources_x[0]; x++) {
        for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
            const char *hole = strchr(forms[i], '#');
            emit_begin(text, &narrow, count);
            emit_result(text, &narrow);
            emit(text, "(f32.demote_f64 %.*s(f64.promote_f32 ", (int)(hole - forms[i]), forms[i]);
            emit_template(text, sources_x[x], &narrow);
            emit(text, ")%s)", hole + 1);
            emit_end(text);
        }
    }
}

static void emit_kind(struct wat_text *text, const struct kind *kind, int *count) {
    for (size_t i = 0; i < sizeof sources_y / sizeof sources_y[0]; i++)
        emit_binary(text, kind, sources_y[i].before, sources_y[i].y, count);
    for (size_t i = 0;
         kind->y->number != NULL && i < sizeof sources_integer / sizeof sources_integer[0]; i++)
        emit_binary(text, kind, sources_integer[i].before, sources_integer[i].y, count);
    for (size_t i = 0; kind->y == &zeros[0] && i < sizeof sources_zero / sizeof sources_zero[0];
         i++)
        emit_binary(text, kind, sources_zero[i].before, sources_zero[i].y, count);
}

static void emit_header(struct wat_text *text) {
    emit(text, "(module (memory (export \"memory\") 1)\n"
               "(data (i32.const 512) "
               "\"\\23\\01\\a0\\7f\\00\\00\\00\\00\\34\\12\\00\\00\\00\\00\\f4\\7f\")\n");
    for (int wide = 0; wide < 2; wide++) {
        const char *type = wide != 0 ? "f64" : "f32";
        emit(text, "(global $g%s (export \"g%s\") (mut %s) (%s.const 9))\n", type, type, type,
             type);
        emit(text, "(global $fixed%s0 %s (%s.const 0)) (global $fixed%s1 %s (%s.const 1))", type,
             type, type, type, type, type);
        emit(text, "(global $fixed%sminus %s (%s.const -1))\n", type, type, type);
        emit(text, "(func $get%s (param %s) (result %s) (local.get 0))\n", type, type, type);
    }
}

struct module {
    uint8_t *wasm;
    size_t count;
    int funcs_count;
};

static struct module make_module(const struct kind *kind) {
    struct wat_text text = wat_text_new();
    struct module module = {.funcs_count = 0};
    emit_header(&text);
    emit_kind(&text, kind, &module.funcs_count);
    emit_unary(&text, kind, &module.funcs_count);
    if (!kind->is_wide)
        emit_promotions(&text, &module.funcs_count);
    emit(&text, ")");
    module.wasm = wat_text_finish(&text, &module.count);
    return module;
}

static void check_quiet(struct wat_lab *lab, const struct level *level, const struct kind *kind,
                        int idx) {
    uint64_t y_bits = kind->is_wide ? kind->y->bits64 : kind->y->bits32, bits;
    struct husk_value args[4] = {value_i64((int64_t)(kind->is_wide ? SIGNALLING64 : SIGNALLING32)),
                                 value_i64((int64_t)y_bits), value_i32(1),
                                 value_i64(kind->y->integer)};
    struct husk_value result;
    char name[16];
    snprintf(name, sizeof name, "q%d", idx);
    CHECK_OK(wat_call(lab, name, args, 4, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    bits = kind->is_wide ? (uint64_t)result.of.i64 : (uint32_t)result.of.i32;
    uint64_t quiet = kind->is_wide ? 0x7ff8000000000000 : 0x7fc00000;
    CHECK_MSG((bits & quiet) == quiet, "%s, %s, y = %s: %s gave 0x%llx, which is no quiet NaN",
              level->name, kind->is_wide ? "f64" : "f32", kind->y->literal, name,
              (unsigned long long)bits);
}

static void check_kind(const struct kind *kind) {
    struct wat_lab lab;
    struct module module = make_module(kind);
    wat_lab_init(&lab);
    for (int i = 0; i < 4; i++) {
        level_open(&lab, &levels[i], module.wasm, module.count);
        for (int idx = 0; idx < module.funcs_count; idx++)
            check_quiet(&lab, &levels[i], kind, idx);
        level_close(&lab);
    }
    free(module.wasm);
    wat_lab_close(&lab);
}

TEST(zeros_of_f32) {
    SKIP_WITHOUT_LEVELS();
    for (int i = 0; i < 2; i++)
        check_kind(&(struct kind){false, &zeros[i]});
}

TEST(ones_of_f32) {
    SKIP_WITHOUT_LEVELS();
    for (int i = 0; i < 2; i++)
        check_kind(&(struct kind){false, &ones[i]});
}

TEST(zeros_of_f64) {
    SKIP_WITHOUT_LEVELS();
    for (int i = 0; i < 2; i++)
        check_kind(&(struct kind){true, &zeros[i]});
}

TEST(ones_of_f64) {
    SKIP_WITHOUT_LEVELS();
    for (int i = 0; i < 2; i++)
        check_kind(&(struct kind){true, &ones[i]});
}

/* What is no arithmetic changes the sign at most. */
TEST(moves_keep_the_bits) {
    SKIP_WITHOUT_LEVELS();
    static const char *const wat =
        "(module (memory 1) (global $g (mut f32) (f32.const 0))"
        " (func (export \"neg\") (param i32) (result i32) (i32.reinterpret_f32 (f32.neg (f32.const "
        "nan:0x200123))))"
        " (func (export \"abs\") (param i32) (result i32) (i32.reinterpret_f32 (f32.abs (f32.const "
        "-nan:0x200123))))"
        " (func (export \"copysign\") (param i32) (result i32)"
        "  (i32.reinterpret_f32 (f32.copysign (f32.const nan:0x200123) (f32.const -1))))"
        " (func (export \"move\") (param i32) (result i32) (f32.store (i32.const 0) (f32.const "
        "nan:0x200123))"
        "  (global.set $g (f32.load (i32.const 0))) (i32.reinterpret_f32 (select (global.get $g) "
        "(f32.const "
        "1)"
        "  (local.get 0)))))";
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        CHECK_EQ_U64((uint32_t)wat_call_i32(&lab, "neg", 1), 0xffa00123);
        CHECK_EQ_U64((uint32_t)wat_call_i32(&lab, "abs", 1), SIGNALLING32);
        CHECK_EQ_U64((uint32_t)wat_call_i32(&lab, "copysign", 1), 0xffa00123);
        CHECK_EQ_U64((uint32_t)wat_call_i32(&lab, "move", 1), SIGNALLING32);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
