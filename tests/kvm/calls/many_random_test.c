/*
 * husk_call_many() against husk_call(): random numbers of calls with random arguments of all types.
 * Some call traps, throws, exits, grows the memory, or calls the host, which calls the guest.
 * Results, outcomes, backtraces and the guest's memory must be the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "last_backtrace.h"
#include "literals.h"
#include "wat.h"

/* Every function changes the state, so that the order of calls counts. One call in some 50 ends
 * otherwise. */
static const char module[] =
    "(module (import \"env\" \"host\" (func $host (param i32) (result i32)))"
    "(memory (export \"memory\") 1 20) (global $g (export \"g\") (mut i64) (i64.const 1))"
    "(tag $t (export \"t\") (param i64 f32))"
    "(func $step (param i32) (local $how i32)"
    "  (global.set $g (i64.add (i64.mul (global.get $g) (i64.const 31))"
    "    (i64.extend_i32_u (local.get 0))))"
    "  (i32.store8 (i32.wrap_i64 (i64.and (global.get $g) (i64.const 0xffff))) (local.get 0))"
    "  (local.set $how (i32.rem_u (i32.wrap_i64 (i64.shr_u (global.get $g) (i64.const 20)))"
    "    (i32.const 400)))"
    "  (if (i32.eq (local.get $how) (i32.const 1)) (then unreachable))"
    "  (if (i32.eq (local.get $how) (i32.const 2))"
    "    (then (throw $t (global.get $g) (f32.const 1.5))))"
    "  (if (i32.eq (local.get $how) (i32.const 3)) (then (drop (memory.grow (i32.const 1)))))"
    "  (if (i32.eq (local.get $how) (i32.const 4))"
    "    (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))"
    "  (if (i32.gt_u (local.get $how) (i32.const 380))"
    "    (then (drop (call $host (local.get $how))))))"
    "(func (export \"none\") (call $step (i32.const 3)))"
    "(func (export \"number\") (param i32) (result i32)"
    "  (call $step (local.get 0)) (i32.wrap_i64 (global.get $g)))"
    "(func (export \"floats\") (param f32 f64) (result f64 f32)"
    "  (call $step (i32.reinterpret_f32 (local.get 0))) (local.get 1) (local.get 0))"
    "(func (export \"vector\") (param v128 i64) (result v128)"
    "  (call $step (i32x4.extract_lane 2 (local.get 0)))"
    "  (i64x2.add (local.get 0) (i64x2.splat (local.get 1))))"
    "(func (export \"refs\") (param externref funcref i32) (result funcref i64 externref)"
    "  (call $step (local.get 2)) (local.get 1) (global.get $g) (local.get 0))"
    "(func (export \"taker\") (param i64 i64 i64 i64 i64) (call $step (i32.wrap_i64 (local.get "
    "4))))"
    "(func (export \"giver\") (result i32 i64 f32 f64 v128 funcref)"
    "  (call $step (i32.const 7)) (i32.const -1) (global.get $g) (f32.const nan:0x200001)"
    "  (f64.const -0x1p-1000) (i64x2.splat (global.get $g)) (ref.null func)))";

#define CALLS_MAX 3000u
#define VALUES_MAX (6 * CALLS_MAX)

static uint64_t random_state;

static uint64_t draw(void) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return random_state >> 20 ^ random_state << 44;
}

/* Calls of the function with these arguments, in a way. */
struct side {
    struct wat_lab lab;
    uint32_t asked;
    size_t returned;
    struct husk_value results[VALUES_MAX];
};
static struct side sides[3]; /* husk_call(), and husk_call_many() in both ways */
static struct husk_value args[VALUES_MAX];

static int host(husk_caller *caller, void *user, const struct husk_value *host_args,
                struct husk_value *results) {
    struct side *side = user;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const struct husk_value arg = value_i32((int32_t)side->asked);
    struct husk_error err;
    if (side->asked++ % 3 == 0 && host_args[0].of.i32 < 390) /* may end in any way */
        CHECK_OK(husk_call(husk_caller_sandbox(caller),
                           CALL(.name = "number", .args = &arg, .args_count = 1, .results = results,
                                .results_count = 1),
                           &outcome, &err),
                 err);
    results[0] = value_i32(1);
    return host_args[0].of.i32 == 399 ? husk_caller_exit(caller, 4) : 0;
}

static struct husk_value any_value(husk_type type) {
    struct husk_value value;
    memset(&value, 0, sizeof value);
    value.type = type;
    const uint64_t bits[2] = {draw(), draw()};
    memcpy(&value.of, bits, type == HUSK_V128 ? 16 : type == HUSK_I32 || type == HUSK_F32 ? 4 : 8);
    if (type == HUSK_FUNCREF)
        value.of.ref = 0;
    return value;
}

static void call_singly(struct side *side, const char *name, const struct husk_functype *type,
                        size_t count) {
    side->lab.outcome = (struct husk_outcome)HUSK_OUTCOME_INIT;
    for (side->returned = 0; side->returned < count; side->returned++) {
        CHECK_OK(wat_call(&side->lab, name, args + side->returned * type->params_count,
                          type->params_count, side->results + side->returned * type->results_count,
                          type->results_count),
                 side->lab.err);
        if (side->lab.outcome.kind != HUSK_RETURNED)
            return;
    }
}

static void call_many(struct side *side, const char *name, const struct husk_functype *type,
                      size_t count) {
    struct husk_many many = {.size = sizeof many, .count = count};
    CHECK_OK(
        husk_call_many(side->lab.sandbox,
                       CALL(.name = name, .args = args, .args_count = count * type->params_count,
                            .results = side->results, .results_count = count * type->results_count),
                       &many, &side->lab.outcome, &side->lab.err),
        side->lab.err);
    side->returned = many.returned;
}

static void check_same(const struct side *a, const struct side *b, size_t results_count) {
    const struct arena_memory *left = &a->lab.sandbox->machine->arena.memories[0];
    const struct arena_memory *right = &b->lab.sandbox->machine->arena.memories[0];
    const struct husk_outcome *one = &a->lab.outcome, *other = &b->lab.outcome;
    CHECK_EQ_U64(a->returned, b->returned);
    CHECK(memcmp(a->results, b->results, a->returned * results_count * sizeof a->results[0]) == 0);
    CHECK_EQ_U64(one->kind, other->kind);
    CHECK(one->trap == other->trap && one->exit_code == other->exit_code);
    CHECK_STR(one->message, other->message);
    const struct husk_backtrace x = last_backtrace(a->lab.sandbox);
    const struct husk_backtrace y = last_backtrace(b->lab.sandbox);
    CHECK(x.frames_total == y.frames_total && x.frames_count == y.frames_count);
    for (uint32_t i = 0; i < x.frames_count; i++)
        CHECK(x.frames[i].func_idx == y.frames[i].func_idx &&
              x.frames[i].wasm_offset == y.frames[i].wasm_offset);
    CHECK_EQ_U64(left->bytes, right->bytes);
    CHECK(memcmp(left->hva, right->hva, left->bytes) == 0);
    CHECK_EQ_U64(a->asked, b->asked);
}

static void play_round(void) {
    static const char *const names[] = {"none", "number", "floats", "vector",
                                        "refs", "taker",  "giver"};
    const char *name = names[draw() % (sizeof names / sizeof names[0])];
    const size_t count = draw() % (draw() % 4 == 0 ? CALLS_MAX : 100);
    struct husk_functype type;
    husk_func func;
    struct husk_error err;
    CHECK_OK(husk_image_func(sides[0].lab.image, name, 0, &func, &err), err);
    CHECK_OK(husk_image_func_type(sides[0].lab.image, func, &type, &err), err);
    for (size_t i = 0; i < count * type.params_count; i++)
        args[i] = any_value(type.params[i % type.params_count]);
    call_singly(&sides[0], name, &type, count);
    for (int i = 1; i < 3; i++) {
        call_many(&sides[i], name, &type, count);
        check_same(&sides[0], &sides[i], type.results_count);
    }
}

TEST(many_calls_as_single_ones) {
    SKIP_WITHOUT_COMPILER();
    const char *text = getenv("HUSK_TEST_ROUNDS");
    const uint32_t rounds = text != NULL ? (uint32_t)strtoul(text, NULL, 10) : 300;
    const char *seed = getenv("HUSK_TEST_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    for (int i = 0; i < 3; i++) {
        wat_lab_init(&sides[i].lab);
        wat_lab_func(&sides[i].lab, "host", "i>i", host, &sides[i]);
        wat_lab_open(&sides[i].lab, module, NULL);
    }
    image_set_way(sides[2].lab.image, WAY_SINGLE);
    uint32_t ended = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        play_round();
        ended += sides[0].lab.outcome.kind != HUSK_RETURNED;
        const bool is_restored = draw() % 4 < 3;
        for (int i = 0; i < 3 && is_restored; i++)
            CHECK_OK(
                husk_sandbox_restore(sides[i].lab.sandbox, sides[i].lab.image, &sides[i].lab.err),
                sides[i].lab.err);
    }
    printf("  %u of %u batches ended early\n", ended, rounds);
    CHECK(rounds < 100 || (ended > rounds / 20 && ended < rounds));
    for (int i = 0; i < 3; i++)
        wat_lab_close(&sides[i].lab);
}

TEST_MAIN()
