/*
 * tests/kvm/snapshots/standing_random_test.c: random programs that call the host at random depths
 * of their own stack: they recurse, throw and catch, call by tables and in tail position, grow and
 * write memory, and trap. Each is stopped at a random host call. Whoever gets the snapshot that is
 * taken there (the sandbox itself, a clone, a restore, a new sandbox, from memory or from a file)
 * must end as the unbroken run: with the same host calls and arguments, outcome, result and memory.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "literals.h"
#include "wat.h"

/* A program is a seed. Every random decision comes from $next, so memory decides it. */
static const char guest[] =
    "(module"
    " (import \"env\" \"ask\" (func $ask (param i32 i64 f64 v128) (result i64 i32)))"
    " (import \"env\" \"back\" (func $back (param i32) (result i32)))"
    " (type $step (func (param i32) (result i64)))"
    " (tag $t (param i64))"
    " (memory (export \"memory\") 1 12)"
    " (table $tab 4 40 funcref) (elem (i32.const 0) $step $tail $step $tail)"
    " (global $fuel (mut i32) (i32.const 0))"
    " (func $next (result i64) (local $x i64)"
    "  (local.set $x (i64.load (i32.const 8)))"
    "  (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))"
    "  (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))"
    "  (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))"
    "  (i64.store (i32.const 8) (local.get $x))"
    "  (i64.shr_u (i64.mul (local.get $x) (i64.const 0x2545f4914f6cdd1d)) (i64.const 20)))"
    " (func $poke (export \"poke\") (param i32) (result i32)"
    "  (i32.store offset=4096 (i32.and (local.get 0) (i32.const 0xffc)) (local.get 0))"
    "  (i32.add (local.get 0) (i32.wrap_i64 (call $next))))"
    " (func $thrower (param i64) (result i64)"
    "  (if (i64.ne (i64.and (local.get 0) (i64.const 3)) (i64.const 0))"
    "   (then (throw $t (local.get 0)))) (i64.const 5))"
    " (func $caught (param i64) (result i64)"
    "  (try (result i64) (do (call $thrower (local.get 0))) (catch $t)))"
    " (func $tail (type $step) (return_call $step (i32.add (local.get 0) (i32.const 1))))"
    " (func $step (export \"step\") (type $step)"
    "  (local $a i64) (local $f f64) (local $v v128) (local $n i32) (local $op i32)"
    "  (local.set $a (call $next))"
    "  (local.set $f (f64.convert_i64_s (i64.and (call $next) (i64.const 0xffff))))"
    "  (local.set $v (i64x2.splat (call $next)))"
    "  (local.set $n (i32.and (i32.wrap_i64 (call $next)) (i32.const 7)))"
    "  (loop $again"
    "   (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))"
    "   (if (i32.le_s (global.get $fuel) (i32.const 0)) (then (return (local.get $a))))"
    "   (local.set $op (i32.and (i32.wrap_i64 (call $next)) (i32.const 15)))"
    "   (if (i32.lt_u (local.get $op) (i32.const 4)) (then"
    "    (call $ask (local.get 0) (local.get $a) (local.get $f) (local.get $v))"
    "    (local.set $n (i32.xor (i32.and (i32.const 1)) (local.get $n)))"
    "    (local.set $a (i64.add (local.get $a)))))"
    "   (if (i32.eq (local.get $op) (i32.const 4)) (then"
    "    (local.set $a (i64.xor (local.get $a)"
    "     (i64.extend_i32_u (call $back (i32.wrap_i64 (local.get $a))))))))"
    "   (if (i32.and (i32.ge_u (local.get $op) (i32.const 5)) (i32.le_u (local.get $op)"
    "    (i32.const 7))) (then (if (i32.lt_u (local.get 0) (i32.const 60)) (then"
    "    (local.set $a (i64.add (local.get $a) (call_indirect (type $step)"
    "     (i32.add (local.get 0) (i32.const 1))"
    "     (i32.and (i32.wrap_i64 (local.get $a)) (i32.const 3)))))))))"
    "   (if (i32.eq (local.get $op) (i32.const 8)) (then"
    "    (local.set $a (i64.add (local.get $a)"
    "     (i64.extend_i32_s (memory.grow (i32.const 1)))))))"
    "   (if (i32.eq (local.get $op) (i32.const 9)) (then"
    "    (local.set $a (i64.add (local.get $a)"
    "     (i64.extend_i32_s (table.grow $tab (ref.func $tail) (i32.const 3)))))))"
    "   (if (i32.eq (local.get $op) (i32.const 10)) (then"
    "    (i64.store offset=64 (i32.and (i32.wrap_i64 (call $next)) (i32.const 0xfff8))"
    "     (local.get $a))"
    "    (local.set $v (i64x2.add (local.get $v) (i64x2.splat (local.get $a))))))"
    "   (if (i32.eq (local.get $op) (i32.const 11)) (then"
    "    (local.set $f (f64.add (f64.mul (local.get $f) (f64.const 0.75)) (f64.const 3)))))"
    "   (if (i32.eq (local.get $op) (i32.const 12)) (then"
    "    (local.set $a (i64.add (local.get $a) (call $caught (local.get $a))))))"
    "   (if (i32.eq (local.get $op) (i32.const 13)) (then"
    "    (if (i64.eqz (i64.and (call $next) (i64.const 31))) (then (unreachable)))))"
    "   (if (i32.eq (local.get $op) (i32.const 14)) (then"
    "    (if (i64.eqz (i64.and (call $next) (i64.const 15)))"
    "     (then (throw $t (local.get $a))))))"
    "   (if (i32.eq (local.get $op) (i32.const 15)) (then"
    "    (if (i32.lt_u (local.get 0) (i32.const 60)) (then (local.set $a"
    "     (try (result i64) (do (call $step (i32.add (local.get 0) (i32.const 1))))"
    "      (catch $t (i64.const 77) (i64.xor))))))))"
    "   (local.set $n (i32.sub (local.get $n) (i32.const 1)))"
    "   (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))"
    "  (i64.add (local.get $a) (i64.add (i64.trunc_sat_f64_s (local.get $f))"
    "   (i64.add (i64x2.extract_lane 0 (local.get $v)) (i64x2.extract_lane 1 (local.get $v))))))"
    " (func (export \"begin\") (param i64)"
    "  (global.set $fuel (i32.const 400)) (i64.store (i32.const 8) (local.get 0))))";

struct ended {
    enum husk_outcome_kind kind;
    enum husk_trap trap;
    int64_t result;
    uint64_t calls, heard, memory;
};

struct play {
    struct wat_lab wat;
    uint64_t calls, heard; /* host calls so far, and a hash of all their arguments */
    uint64_t stop_at;      /* the number of the host call that stops; UINT64_MAX: none */
    bool is_pending;       /* it stops by being pending; else a snapshot is taken inside it */
    bool has_poked;        /* the call that is repeated has made its call already */
    bool has_stopped;
    husk_image *snapshot;
    uint64_t calls_there, heard_there;
};

static void hear(struct play *play, const void *bytes, size_t count) {
    const uint8_t *each = bytes;
    for (size_t i = 0; i < count; i++)
        play->heard = (play->heard ^ each[i]) * 0x100000001b3ull;
}

static int32_t poke(husk_caller *caller, int32_t number) {
    struct husk_value arg = value_i32(number), result = value_i32(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    CHECK_OK(husk_call(husk_caller_sandbox(caller),
                       CALL(.name = "poke", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &err),
             err);
    CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
    return result.of.i32;
}

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct play *play = user;
    struct husk_error err;
    if (play->calls % 3 == 1 && !play->has_poked)
        poke(caller, (int32_t)play->calls); /* it has finished when the call stands */
    play->has_poked = false;
    if (play->calls == play->stop_at) {
        play->has_stopped = true;
        play->calls_there = play->calls;
        play->heard_there = play->heard;
        if (play->is_pending)
            return husk_caller_pending(caller);
        CHECK_OK(husk_caller_snapshot(caller, &play->snapshot, &err), err);
    }
    hear(play, &args[0].of.i32, 4);
    hear(play, &args[1].of.i64, 8);
    hear(play, &args[2].of.f64, 8);
    hear(play, &args[3].of, 16);
    results[0].of.i64 = (int64_t)(play->heard + play->calls++);
    results[1].of.i32 = (int32_t)play->heard;
    return 0;
}

static int host_back(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct play *play = user;
    hear(play, &args[0].of.i32, 4);
    results[0].of.i32 = poke(caller, args[0].of.i32);
    return 0;
}

static void play_open(struct play *play) {
    memset(play, 0, sizeof *play);
    wat_lab_init(&play->wat);
    wat_lab_func(&play->wat, "ask", "iIFv>Ii", host_ask, play);
    wat_lab_func(&play->wat, "back", "i>i", host_back, play);
    wat_lab_open(&play->wat, guest, NULL);
}

static uint64_t memory_hash(struct play *play, husk_sandbox *sandbox) {
    const struct husk_range first = {.mem_idx = 0, .addr = 0, .count = 65536};
    static uint8_t bytes[65536];
    struct play other = {.heard = 1};
    uint64_t pages = 0;
    for (struct husk_range page = first;
         husk_memory_read(sandbox, &page, bytes, &play->wat.err) == 0; page.addr += 65536) {
        hear(&other, bytes, sizeof bytes);
        pages++;
    }
    return other.heard + pages;
}

static struct ended end_of(struct play *play, husk_sandbox *sandbox,
                           const struct husk_outcome *outcome, int64_t result) {
    return (struct ended){outcome->kind, outcome->trap, outcome->kind == HUSK_RETURNED ? result : 0,
                          play->calls,   play->heard,   memory_hash(play, sandbox)};
}

static struct ended run(struct play *play, int64_t seed, uint64_t stop_at) {
    struct husk_value args[] = {value_i64(seed), value_i32(0)}, result = value_i64(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error *err = &play->wat.err;
    husk_sandbox *sandbox = play->wat.sandbox;
    play->calls = play->heard = 0;
    play->stop_at = stop_at;
    play->has_stopped = play->has_poked = false;
    CHECK_OK(husk_sandbox_restore(sandbox, play->wat.image, err), *err);
    CHECK_OK(
        husk_call(sandbox, CALL(.name = "begin", .args = &args[0], .args_count = 1), &outcome, err),
        *err);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "step", .args = &args[1], .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, err),
             *err);
    return end_of(play, sandbox, &outcome, result.of.i64);
}

static void check_same(const struct ended *got, const struct ended *expected, const char *how) {
    CHECK_MSG(got->kind == expected->kind && got->trap == expected->trap &&
                  got->result == expected->result && got->calls == expected->calls &&
                  got->heard == expected->heard && got->memory == expected->memory,
              "%s: outcome %d, %d, expected %d, %d; result %llx, %llx; calls %llu, %llu", how,
              (int)got->kind, (int)got->trap, (int)expected->kind, (int)expected->trap,
              (unsigned long long)got->result, (unsigned long long)expected->result,
              (unsigned long long)got->calls, (unsigned long long)expected->calls);
}

static void goes_on(struct play *play, husk_sandbox *sandbox, const struct ended *expected,
                    const char *how) {
    struct husk_value result = value_i64(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.is_again = true;
    answer.results = &result;
    answer.results_count = 1;
    play->calls = play->calls_there;
    play->heard = play->heard_there;
    play->stop_at = UINT64_MAX;
    play->has_poked = true;
    CHECK_OK(husk_call_resume(sandbox, &answer, &outcome, &play->wat.err), play->wat.err);
    const struct ended got = end_of(play, sandbox, &outcome, result.of.i64);
    check_same(&got, expected, how);
}

static void from_image(struct play *play, husk_image *image, const struct ended *expected,
                       int restores, const char *how) {
    struct husk_error *err = &play->wat.err;
    husk_sandbox *sandbox = NULL, *clone = NULL;
    CHECK_OK(husk_sandbox_new(image, play->wat.imports, NULL, &sandbox, err), *err);
    CHECK_OK(husk_sandbox_clone(sandbox, &clone, err), *err);
    goes_on(play, sandbox, expected, how);
    for (int i = 0; i < restores; i++) {
        CHECK_OK(husk_sandbox_restore(sandbox, image, err), *err);
        if (i % 7 == 3)
            CHECK_OK(husk_sandbox_park(sandbox, err), *err);
        goes_on(play, sandbox, expected, "restored");
    }
    goes_on(play, clone, expected, "a clone");
    CHECK_OK(husk_sandbox_load(clone, image, play->wat.imports, err), *err);
    goes_on(play, clone, expected, "loaded");
    husk_sandbox_free(clone);
    husk_sandbox_free(sandbox);
}

/* Stop at a random host call, and check all ways that lead on. */
static void stop_once(struct play *play, int64_t seed, const struct ended *expected, int restores) {
    struct husk_error *err = &play->wat.err;
    play->is_pending = rand() % 2 == 0;
    const struct ended got = run(play, seed, (uint64_t)rand() % expected->calls);
    CHECK(play->has_stopped);
    if (play->is_pending)
        CHECK_EQ_U64(got.kind, HUSK_PENDING);
    else
        check_same(&got, expected, "after the snapshot");
    if (play->is_pending) {
        CHECK_OK(husk_sandbox_snapshot(play->wat.sandbox, &play->snapshot, err), *err);
        goes_on(play, play->wat.sandbox, expected, "the call itself");
    }
    husk_image *file = wat_saved(&play->wat, play->snapshot);
    from_image(play, play->snapshot, expected, restores, "from memory");
    from_image(play, file, expected, 2, "from the file");
    CHECK_OK(husk_sandbox_restore(play->wat.sandbox, file, err), *err);
    goes_on(play, play->wat.sandbox, expected, "restored to the file");
    husk_image_unref(file);
    husk_image_unref(play->snapshot);
    play->snapshot = NULL;
}

static void play_programs(int programs, int restores, int *kinds) {
    struct play play;
    int stopped = 0;
    srand(20261130);
    play_open(&play);
    for (int i = 1; stopped < programs; i++) {
        const int64_t seed = (int64_t)((uint64_t)i * 0x9e3779b97f4a7c15u);
        const struct ended expected = run(&play, seed, UINT64_MAX);
        if (expected.calls == 0)
            continue;
        kinds[expected.kind]++;
        stop_once(&play, seed, &expected, restores);
        stopped++;
    }
    wat_lab_close(&play.wat);
}

/* An emulated CPU takes a second for each program. */
static int fewer_if_emulated(int programs) {
    return getenv("HUSK_TEST_EMULATED") != NULL ? programs * 2 / 5 : programs;
}

TEST(it_ends_as_the_unbroken_run) {
    SKIP_WITHOUT_COMPILER();
    int kinds[16] = {0};
    play_programs(fewer_if_emulated(100), 5, kinds);
    CHECK(kinds[HUSK_RETURNED] > 0 && kinds[HUSK_TRAPPED] > 0 && kinds[HUSK_THREW] > 0);
}

TEST(a_hundred_restores_end_alike) {
    SKIP_WITHOUT_COMPILER();
    int kinds[16] = {0};
    play_programs(fewer_if_emulated(20), 100, kinds);
}

TEST_MAIN()
