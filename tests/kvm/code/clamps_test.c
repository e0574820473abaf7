/*
 * tests/kvm/code/clamps_test.c: a float that is clamped several times, often by the same constant,
 * at every level (compiler/lower/lower_clamps.c). A clamp is a comparison and a choice: of a NaN
 * and of zeros it gives what the standard says, bit for bit. A model in C says what.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "random_below.h"
#include "wat_text.h"

enum { FUNCS = 60, CLAMPS_MAX = 4 };

/* ---- functions ---- */

enum form { FORM_SELECT, FORM_BRANCH, FORM_LOOP, FORM_LANES, FORMS_COUNT };
enum predicate { LT, GT, LE, GE, EQ, NE, PREDICATES_COUNT };
static const char *const predicate_names[] = {"lt", "gt", "le", "ge", "eq", "ne"};

/* $v becomes one of $v and the bound, by a comparison of the two. */
struct clamp {
    enum form form;
    enum predicate predicate;
    bool is_bound_first;    /* in the comparison */
    bool is_bound_taken;    /* where it is true */
    uint32_t bound, rounds; /* bound: in bounds[]; rounds: of a loop */
};

struct func {
    bool is_f64;
    struct clamp clamps[CLAMPS_MAX];
    uint32_t count;
};

static const double bounds[] = {0.0, -0.0, 1.0, -1.5, (double)__builtin_inff()};
static const char *const bound_texts[] = {"0", "-0", "1", "-1.5", "inf"};
enum { BOUNDS_COUNT = sizeof bounds / sizeof bounds[0] };

static struct func func_random(void) {
    struct func func = {.is_f64 = random_below(2) == 0, .count = 1 + random_below(CLAMPS_MAX)};
    const uint32_t usual = random_below(BOUNDS_COUNT);
    const bool is_usual_predicate = random_below(2) == 0;
    const enum predicate predicate = (enum predicate)random_below(PREDICATES_COUNT);
    for (uint32_t i = 0; i < func.count; i++)
        func.clamps[i] = (struct clamp){
            .form = (enum form)random_below(FORMS_COUNT),
            .predicate =
                is_usual_predicate ? predicate : (enum predicate)random_below(PREDICATES_COUNT),
            .is_bound_first = random_below(2) == 0,
            .is_bound_taken = random_below(2) == 0,
            .bound = random_below(4) == 0 ? random_below(BOUNDS_COUNT) : usual,
            .rounds = 2 + random_below(3),
        };
    return func;
}

/* ---- as text ---- */

static void put_compare(struct wat_text *text, const struct clamp *clamp, const char *type) {
    const char *k = bound_texts[clamp->bound], *name = predicate_names[clamp->predicate];
    if (clamp->is_bound_first)
        wat_text_format(text, "(%s.%s (%s.const %s) (local.get $v))", type, name, type, k);
    else
        wat_text_format(text, "(%s.%s (local.get $v) (%s.const %s))", type, name, type, k);
}

static void put_select(struct wat_text *text, const struct clamp *clamp, const char *type) {
    const char *k = bound_texts[clamp->bound];
    if (clamp->is_bound_taken)
        wat_text_format(text, " (local.set $v (select (%s.const %s) (local.get $v) ", type, k);
    else
        wat_text_format(text, " (local.set $v (select (local.get $v) (%s.const %s) ", type, k);
    put_compare(text, clamp, type);
    wat_text_format(text, "))\n");
}

static void put_lanes(struct wat_text *text, const struct clamp *clamp, const char *type) {
    const char *k = bound_texts[clamp->bound], *name = predicate_names[clamp->predicate];
    const char *lanes = type[1] == '3' ? "f32x4" : "f64x2";
    wat_text_format(
        text, " (local.set $a (%s.splat (local.get $v))) (local.set $b (%s.splat (%s.const %s)))\n",
        lanes, lanes, type, k);
    wat_text_format(
        text, " (local.set $v (%s.extract_lane 1 (v128.bitselect (local.get $%c) (local.get $%c)",
        lanes, clamp->is_bound_taken ? 'b' : 'a', clamp->is_bound_taken ? 'a' : 'b');
    wat_text_format(text, " (%s.%s (local.get $%c) (local.get $%c)))))\n", lanes, name,
                    clamp->is_bound_first ? 'b' : 'a', clamp->is_bound_first ? 'a' : 'b');
}

/* pmin is b < a ? b : a, and pmax a < b ? b : a. */
static bool is_pseudo(const struct clamp *clamp) {
    return clamp->predicate <= GT && clamp->is_bound_first == clamp->is_bound_taken;
}

static void put_pseudo(struct wat_text *text, const struct clamp *clamp, const char *type) {
    const char *lanes = type[1] == '3' ? "f32x4" : "f64x2";
    const char *name = clamp->predicate == LT ? "pmin" : "pmax";
    const char *k = bound_texts[clamp->bound];
    if (clamp->is_bound_taken)
        wat_text_format(
            text,
            " (local.set $v (%s.extract_lane 1 (%s.%s (%s.splat (local.get $v)) (%s.splat "
            "(%s.const %s)))))\n",
            lanes, lanes, name, lanes, lanes, type, k);
    else
        wat_text_format(
            text,
            " (local.set $v (%s.extract_lane 1 (%s.%s (%s.splat (%s.const %s)) (%s.splat "
            "(local.get $v)))))\n",
            lanes, lanes, name, lanes, type, k, lanes);
}

static void put_clamp(struct wat_text *text, const struct clamp *clamp, const char *type) {
    switch (clamp->form) {
    case FORM_SELECT: put_select(text, clamp, type); break;
    case FORM_LANES: (is_pseudo(clamp) ? put_pseudo : put_lanes)(text, clamp, type); break;
    case FORM_BRANCH:
        wat_text_format(text, " (if ");
        put_compare(text, clamp, type);
        wat_text_format(text,
                        clamp->is_bound_taken ? " (then (local.set $v (%s.const %s))))\n"
                                              : " (then) (else (local.set $v (%s.const %s))))\n",
                        type, bound_texts[clamp->bound]);
        break;
    default:
        wat_text_format(text, " (local.set $n (i32.const %u)) (loop\n", clamp->rounds);
        put_select(text, clamp, type);
        wat_text_format(text,
                        " (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))\n");
        break;
    }
}

static void put_func(struct wat_text *text, const struct func *func, int number) {
    const char *type = func->is_f64 ? "f64" : "f32";
    wat_text_format(
        text,
        "(func (export \"f%d\") (param $x i64) (result i64) (local $v %s) (local $n i32)"
        " (local $a v128) (local $b v128)\n (local.set $v (%s",
        number, type,
        func->is_f64 ? "f64.reinterpret_i64 (local.get $x)))\n"
                     : "f32.reinterpret_i32 (i32.wrap_i64 (local.get $x))))\n");
    for (uint32_t i = 0; i < func->count; i++)
        put_clamp(text, &func->clamps[i], type);
    wat_text_format(text, " (%s (local.get $v))%s)\n",
                    func->is_f64 ? "i64.reinterpret_f64" : "i64.extend_i32_u (i32.reinterpret_f32",
                    func->is_f64 ? "" : ")");
}

static uint8_t *funcs_wasm(const struct func *funcs, size_t *ret_count) {
    struct wat_text text = wat_text_new();
    wat_text_format(&text, "(module\n");
    for (int i = 0; i < FUNCS; i++)
        put_func(&text, &funcs[i], i);
    wat_text_format(&text, ")");
    return wat_text_finish(&text, ret_count);
}

/* ---- the model: volatile, since C compilers make the same mistake ---- */

static bool compare(enum predicate predicate, double left, double right) {
    volatile double a = left, b = right;
    switch (predicate) {
    case LT: return a < b;
    case GT: return a > b;
    case LE: return a <= b;
    case GE: return a >= b;
    case EQ: return a == b;
    default: return a != b;
    }
}

static uint64_t bits_of(bool is_f64, double number) {
    uint64_t bits;
    float narrow = (float)number;
    uint32_t narrow_bits;
    memcpy(&bits, &number, 8);
    memcpy(&narrow_bits, &narrow, 4);
    return is_f64 ? bits : narrow_bits;
}

static double number_of(bool is_f64, uint64_t bits) {
    double number;
    float narrow;
    uint32_t narrow_bits = (uint32_t)bits;
    memcpy(&number, &bits, 8);
    memcpy(&narrow, &narrow_bits, 4);
    return is_f64 ? number : (double)narrow;
}

static uint64_t model_run(const struct func *func, uint64_t x) {
    for (uint32_t i = 0; i < func->count; i++) {
        const struct clamp *clamp = &func->clamps[i];
        const uint32_t rounds = clamp->form == FORM_LOOP ? clamp->rounds : 1;
        for (uint32_t round = 0; round < rounds; round++) {
            const double v = number_of(func->is_f64, x), k = bounds[clamp->bound];
            const bool is_true = clamp->is_bound_first ? compare(clamp->predicate, k, v)
                                                       : compare(clamp->predicate, v, k);
            if (is_true == clamp->is_bound_taken)
                x = bits_of(func->is_f64, k);
        }
    }
    return x;
}

/* ---- the test ---- */

static const uint64_t inputs[2][10] = {
    {0x7fc00000, 0x7f800001, 0xffc12345, 0, 0x80000000, 0x3f800000, 0xbfc00000, 0x7f800000,
     0xff800000, 0x40490fdb},
    {0x7ff8000000000000, 0x7ff0000000000001, 0xfff8123456789abc, 0, 0x8000000000000000,
     0x3ff0000000000000, 0xbff8000000000000, 0x7ff0000000000000, 0xfff0000000000000,
     0x400921fb54442d18},
};

static void funcs_check(uint64_t seed) {
    static struct func funcs[FUNCS];
    struct wat_lab lab;
    size_t count = 0;
    random_state = seed;
    for (int i = 0; i < FUNCS; i++)
        funcs[i] = func_random();
    uint8_t *wasm = funcs_wasm(funcs, &count);
    wat_lab_init(&lab);
    for (int level = 0; level < LEVELS_COUNT; level++) {
        level_open(&lab, &levels[level], wasm, count);
        for (int i = 0; i < FUNCS; i++)
            for (int k = 0; k < 10; k++) {
                char name[16];
                snprintf(name, sizeof name, "f%d", i);
                const uint64_t x = inputs[funcs[i].is_f64][k];
                const int64_t found = wat_call_numbers(&lab, name, (int64_t[]){(int64_t)x}).of.i64;
                const uint64_t expected = model_run(&funcs[i], x);
                CHECK_MSG((uint64_t)found == expected,
                          "%s: seed 0x%llx: %s(0x%llx) is 0x%llx, not 0x%llx", levels[level].name,
                          (unsigned long long)seed, name, (unsigned long long)x,
                          (unsigned long long)found, (unsigned long long)expected);
            }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST(clamps_of_a_clamped_float) {
    SKIP_WITHOUT_LEVELS();
    const char *text =
        getenv("HUSK_TEST_ROUNDS"); /* a seed takes a second, a restore microseconds */
    const uint64_t seeds = text != NULL ? strtoull(text, NULL, 10) / 10000 + 1 : 3;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        funcs_check(seed * UINT64_C(0x2545f4914f6cdd1d));
}
TEST_MAIN()
