/*
 * tests/kvm/code/addresses_test.c: sums that are addresses, and wrap around 2^32 or do not, at
 * every level (compiler/lower/lower_facts.c, lower_indices.c). Random functions access
 * neighbours of an address, in straight code, behind branches and in loops. A model in C says what
 * each must return, or that it must trap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "random_below.h"
#include "wat_text.h"

enum { FUNCS = 40, STEPS_MAX = 24, MEMORY_BYTES = 131072 };

/* ---- functions ---- */

enum step_kind { STEP_LOAD, STEP_STORE, STEP_MOVE, STEP_CHECK, STEP_IF, STEP_END };

/* The address is ($p or $q) + distance + ($i & mask) * scale, and the offset. */
struct step {
    enum step_kind kind;
    bool is_q;
    int32_t distance;
    uint32_t mask, scale_log2, offset, width_log2;
};

struct func {
    struct step steps[STEPS_MAX];
    uint32_t count, rounds, rotation; /* of $s before a value is added; 0: a plain sum */
    int32_t stride;                   /* what $p moves by in each round */
};

static const int32_t distances[] = {0,      0,       4,        8,    -4,    -8,     16,
                                    28,     -48,     100,      1020, 4096,  65528,  65535,
                                    65536,  65540,   -1,       -7,   1,     -65535, -65536,
                                    -65537, 1000000, -1000000, 1020, 40000, -4096,  2147483647};
static const uint32_t masks[] = {0, 0, 0, 1, 7, 255, 65535, 0xffffffff};
static const uint32_t offsets[] = {0, 0, 0, 4, 8, 64, 65536, 0xfffffff0};
#define PICK(list) (list)[random_below(sizeof list / sizeof *list)]

static struct step step_random(void) {
    struct step step = {.kind = random_below(3) == 0 ? STEP_STORE : STEP_LOAD};
    if (random_below(8) == 0)
        step.kind = random_below(2) == 0 ? STEP_MOVE : STEP_CHECK;
    step.is_q = random_below(4) == 0;
    step.distance = random_below(3) == 0 ? PICK(distances) : distances[random_below(10)];
    step.mask = PICK(masks);
    step.scale_log2 = random_below(4);
    step.offset = PICK(offsets);
    step.width_log2 = random_below(4);
    return step;
}

static struct func func_random(void) {
    struct func func = {.rounds = random_below(2) == 0 ? 1 : 2 + random_below(90)};
    bool is_in_if = false;
    func.rotation = random_below(2) * 5;
    func.stride = random_below(3) == 0 ? PICK(distances) : random_below(2) == 0 ? 4 : -8;
    /* few, in a loop with a plain sum: that may be vectorised */
    const uint32_t count = 1 + random_below(func.rotation == 0 ? 4 : STEPS_MAX - 3);
    while (func.count < count) {
        struct step step = step_random();
        if (random_below(8) == 0) {
            step.kind = is_in_if ? STEP_END : STEP_IF;
            is_in_if = !is_in_if;
        }
        func.steps[func.count++] = step;
    }
    if (is_in_if)
        func.steps[func.count++] = (struct step){.kind = STEP_END};
    return func;
}

/* ---- as text ---- */

static void put_address(struct wat_text *text, const struct step *step) {
    wat_text_format(text, "(i32.add (i32.add (local.get $%c) (i32.const %d))",
                    step->is_q ? 'q' : 'p', step->distance);
    if (step->mask == 0)
        wat_text_format(text, " (i32.const 0))");
    else
        wat_text_format(text, " (i32.shl (i32.and (local.get $i) (i32.const %d)) (i32.const %u)))",
                        (int32_t)step->mask, step->scale_log2);
}

static const char *const loads[] = {"i64.load8_u", "i64.load16_u", "i64.load32_u", "i64.load"};
static const char *const stores[] = {"i64.store8", "i64.store16", "i64.store32", "i64.store"};

static void put_step(struct wat_text *text, const struct step *step, uint32_t rotation) {
    switch (step->kind) {
    case STEP_LOAD:
        wat_text_format(
            text, " (local.set $s (i64.add (i64.rotl (local.get $s) (i64.const %u)) (%s offset=%u ",
            rotation, loads[step->width_log2], step->offset);
        put_address(text, step);
        wat_text_format(text, ")))\n");
        break;
    case STEP_STORE:
        wat_text_format(text, " (%s offset=%u ", stores[step->width_log2], step->offset);
        put_address(text, step);
        wat_text_format(text, " (local.get $s))\n");
        break;
    case STEP_MOVE:
        wat_text_format(text, " (local.set $q ");
        put_address(text, step);
        wat_text_format(text, ")\n");
        break;
    case STEP_CHECK: /* the module's own check that a sum does not wrap */
        wat_text_format(text, " (if (i32.lt_u ");
        put_address(text, step);
        wat_text_format(
            text, " (local.get $%c)) (then (return (i64.add (local.get $s) (i64.const %d)))))\n",
            step->is_q ? 'q' : 'p', step->distance);
        break;
    case STEP_IF:
        wat_text_format(text, " (if (i64.eqz (i64.and (local.get $s) (i64.const 1))) (then\n");
        break;
    default: wat_text_format(text, " ))\n"); break;
    }
}

static void put_func(struct wat_text *text, const struct func *func, int number) {
    wat_text_format(
        text,
        "(func (export \"f%d\") (param $p i32) (param $q i32) (param $i i32) (result i64)"
        " (local $s i64) (local $n i32)\n (local.set $n (i32.const %u)) (loop\n",
        number, func->rounds);
    for (uint32_t i = 0; i < func->count; i++)
        put_step(text, &func->steps[i], func->rotation);
    wat_text_format(text,
                    " (local.set $p (i32.add (local.get $p) (i32.const %d)))"
                    " (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"
                    " (local.get $s))\n",
                    func->stride);
}

static uint8_t *funcs_wasm(const struct func *funcs, size_t *ret_count) {
    struct wat_text text = wat_text_new();
    wat_text_format(&text,
                    "(module (memory 2)\n"
                    "(func (export \"clear\") (param $p i32) (result i64) (loop"
                    " (i64.store (local.get $p) (i64.mul (i64.extend_i32_u (local.get $p))"
                    "  (i64.const 0x9e3779b97f4a7c15)))"
                    " (br_if 0 (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8)))"
                    "  (i32.const 131072)))) (i64.const 0))\n"
                    "(func (export \"hash\") (param $p i32) (result i32) (local $s i64) (loop"
                    " (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31))"
                    "  (i64.load (local.get $p))))"
                    " (br_if 0 (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8)))"
                    "  (i32.const 131072))))"
                    " (i32.wrap_i64 (i64.shr_u (local.get $s) (i64.const 32))))\n");
    for (int i = 0; i < FUNCS; i++)
        put_func(&text, &funcs[i], i);
    wat_text_format(&text, ")");
    return wat_text_finish(&text, ret_count);
}

/* ---- the model ---- */

struct model {
    uint8_t memory[MEMORY_BYTES];
    uint64_t s;
    uint32_t p, q, i, rotation;
    bool is_trapped, is_done;
};

static void model_clear(struct model *model) {
    memset(model, 0, sizeof *model);
    for (uint64_t at = 0; at < MEMORY_BYTES; at += 8) {
        const uint64_t word = at * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(model->memory + at, &word, 8);
    }
}

static int32_t model_hash(const struct model *model) {
    uint64_t sum = 0, word;
    for (uint64_t at = 0; at < MEMORY_BYTES; at += 8) {
        memcpy(&word, model->memory + at, 8);
        sum = sum * 31 + word;
    }
    return (int32_t)(sum >> 32);
}

static void model_access(struct model *model, const struct step *step, uint32_t index) {
    const uint64_t at = (uint64_t)index + step->offset, width = 1u << step->width_log2;
    uint64_t word = 0;
    if (at + width > MEMORY_BYTES) {
        model->is_trapped = true;
    } else if (step->kind == STEP_STORE) {
        memcpy(model->memory + at, &model->s, width);
    } else {
        memcpy(&word, model->memory + at, width);
        if (model->rotation != 0)
            model->s = model->s << model->rotation | model->s >> (64 - model->rotation);
        model->s += word;
    }
}

/* Returns whether the steps up to the branch's end are left out. */
static bool model_step(struct model *model, const struct step *step) {
    const uint32_t base = step->is_q ? model->q : model->p;
    const uint32_t index =
        base + (uint32_t)step->distance + ((model->i & step->mask) << step->scale_log2);
    switch (step->kind) {
    case STEP_LOAD:
    case STEP_STORE: model_access(model, step, index); break;
    case STEP_MOVE: model->q = index; break;
    case STEP_CHECK:
        if (index < base) {
            model->s += (uint64_t)(int64_t)step->distance;
            model->is_done = true;
        }
        break;
    case STEP_IF: return (model->s & 1) != 0;
    default: break;
    }
    return false;
}

static void model_run(struct model *model, const struct func *func) {
    model->rotation = func->rotation;
    for (uint32_t round = 0; round < func->rounds && !model->is_done; round++) {
        bool is_left_out = false;
        for (uint32_t i = 0; i < func->count && !model->is_trapped && !model->is_done; i++) {
            if (func->steps[i].kind == STEP_END)
                is_left_out = false;
            if (!is_left_out)
                is_left_out = model_step(model, &func->steps[i]);
        }
        model->p += (uint32_t)func->stride;
    }
}

/* ---- the test ---- */

static const uint32_t starts[] = {64,         65536,      1000000,    0,          4,
                                  8,          131064,     131068,     131071,     131072,
                                  0xffffffff, 0xfffffffc, 0xfffffff8, 0xffffff9c, 0xffff0008,
                                  0xffff0000, 0xfffeffff, 0x80000000, 70000,      66000};

static void func_check(struct wat_lab *lab, const struct level *level, const struct func *func,
                       int number, uint32_t start) {
    static struct model model;
    char name[16];
    snprintf(name, sizeof name, "f%d", number);
    const uint32_t i = random_below(2) == 0 ? random_below(300) : 0u - random_below(70000);
    model_clear(&model);
    model.p = start;
    model.q = random_below(2) == 0 ? 65000 : start;
    model.i = i;
    const struct husk_value args[3] = {value_i32((int32_t)start), value_i32((int32_t)model.q),
                                       value_i32((int32_t)i)};
    struct husk_value result = value_i64(0);
    model_run(&model, func);
    wat_call_i32(lab, "clear", 0);
    CHECK_OK(wat_call(lab, name, args, 3, &result, 1), lab->err);
    const bool is_trapped = lab->outcome.kind == HUSK_TRAPPED;
    CHECK_MSG(is_trapped == model.is_trapped, "%s: %s(0x%x, 0x%x, %d): %s; the model %s",
              level->name, name, start, (uint32_t)args[1].of.i32, (int32_t)i, lab->outcome.message,
              model.is_trapped ? "traps" : "returns");
    if (is_trapped) {
        CHECK(lab->outcome.trap == HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        return;
    }
    CHECK_MSG((uint64_t)result.of.i64 == model.s && lab->outcome.kind == HUSK_RETURNED,
              "%s: %s(0x%x, 0x%x, %d) returns another result than the model", level->name, name,
              start, (uint32_t)args[1].of.i32, (int32_t)i);
    CHECK_MSG(wat_call_i32(lab, "hash", 0) == model_hash(&model),
              "%s: %s(0x%x): another memory than the model's", level->name, name, start);
}

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
            for (int k = 0; k < 8; k++)
                func_check(&lab, &levels[level], &funcs[i], i, PICK(starts));
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST(sums_that_are_addresses_wrap_where_the_standard_says) {
    SKIP_WITHOUT_LEVELS();
    const char *text =
        getenv("HUSK_TEST_ROUNDS"); /* a seed takes seconds, a restore microseconds */
    const uint64_t seeds = text != NULL ? strtoull(text, NULL, 10) / 10000 + 1 : 1;
    for (uint64_t seed = 1; seed <= seeds; seed++)
        funcs_check(seed * UINT64_C(0x2545f4914f6cdd1d));
}

/* A load whose value nobody needs, though the compiler does not see it (traps_bounds_test.c: such a
 * trap may be missed in the default mode). Then the module's own check must still keep the store
 * behind it out of the memory's first bytes. */
TEST(a_load_that_is_dropped_proves_nothing) {
    SKIP_WITHOUT_LEVELS();
    static const char wat[] =
        "(module (memory 1)"
        " (func (export \"f\") (param $p i32) (param $c i32) (result i32) (local $v i32)"
        "  (local.set $v (i32.load (local.get $p)))"
        "  (if (i32.lt_u (i32.add (local.get $p) (i32.const 16)) (local.get $p))"
        "   (then (return (i32.const 1))))"
        "  (i32.store (i32.add (local.get $p) (i32.const 16)) (i32.const -1))"
        "  (i32.or (i32.shr_u (select (local.get $v) (i32.const 2) (local.get $c))"
        "   (i32.const 31)) (i32.const 1)))"
        " (func (export \"get\") (param $p i32) (result i32) (i32.load (local.get $p))))";
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(&lab);
    for (int level = 0; level < LEVELS_COUNT; level++) {
        level_open(&lab, &levels[level], wasm, count);
        for (int32_t p = -16; p < 0; p++) {
            struct husk_value args[2] = {value_i32(p), value_i32(p & 1)}, result = value_i32(0);
            CHECK_OK(wat_call(&lab, "f", args, 2, &result, 1), lab.err);
            CHECK_MSG(lab.outcome.kind == HUSK_TRAPPED ||
                          (!levels[level].is_exact && result.of.i32 == 1),
                      "%s: f(%d)", levels[level].name, p);
            for (int32_t at = 0; at < 32; at += 4)
                CHECK_EQ_I64(wat_call_i32(&lab, "get", at), 0);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* Four words in each round, the last one first: the vectoriser makes one access of them, with a
 * distance below zero from the first address. */
TEST(words_of_an_unrolled_loop_are_added_up) {
    SKIP_WITHOUT_LEVELS();
    static const char wat[] =
        "(module (memory 2)"
        " (func (export \"fill\") (param $p i32) (result i32) (loop"
        "  (i32.store (local.get $p) (i32.mul (local.get $p) (local.get $p)))"
        "  (br_if 0 (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 4)))"
        "   (i32.const 131072)))) (i32.const 0))"
        " (func (export \"f\") (param $s i32) (result i32) (local $p i32)"
        "  (local.set $p (i32.const -16384))"
        "  (loop"
        "   (local.set $s (i32.add (local.get $s) (i32.add"
        "    (i32.mul (i32.load (i32.add (local.get $p) (i32.const 98316))) (i32.const 3))"
        "    (i32.mul (i32.load (i32.add (local.get $p) (i32.const 98312))) (i32.const 5)))))"
        "   (local.set $s (i32.add (local.get $s) (i32.add"
        "    (i32.mul (i32.load (i32.add (local.get $p) (i32.const 98308))) (i32.const 7))"
        "    (i32.mul (i32.load (i32.add (local.get $p) (i32.const 98304))) (i32.const 9)))))"
        "   (br_if 0 (local.tee $p (i32.add (local.get $p) (i32.const 16)))))"
        "  (local.get $s)))";
    uint32_t sum = 1;
    for (uint32_t p = 98304 - 16384; p < 98304; p += 16)
        for (uint32_t i = 0; i < 4; i++)
            sum += (p + 4 * i) * (p + 4 * i) * (9 - 2 * i);
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(&lab);
    for (int level = 0; level < LEVELS_COUNT; level++) {
        level_open(&lab, &levels[level], wasm, count);
        wat_call_i32(&lab, "fill", 0);
        CHECK_EQ_I64(wat_call_i32(&lab, "f", 1), (int32_t)sum);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* Code relies on it that a memory never has the last 64 KiB of 4 GiB. */
TEST(a_memory_ends_before_4_GiB) {
    SKIP_WITHOUT_LEVELS();
    static const char *const limits[] = {"0", "1 65536", "0 65535"};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        char wat[200];
        struct wat_lab lab;
        struct husk_extern item = HUSK_EXTERN_INIT;
        snprintf(wat, sizeof wat,
                 "(module (memory (export \"m\") %s) (func (export \"grow\") (param i32)"
                 " (result i32) (memory.grow (local.get 0))))",
                 limits[i]);
        wat_lab_init(&lab);
        wat_lab_open(&lab, wat, NULL);
        CHECK_OK(husk_image_export(lab.image, 0, &item), lab.err);
        CHECK_EQ_U64(item.max, 65535);
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", i == 1 ? 65535 : 65536), -1);
        wat_lab_close(&lab);
    }
}
TEST_MAIN()
