/*
 * husk_call_many(): the calls that return, the ones that end otherwise, and what is refused. All of
 * it in both ways: with the exchange, and with an entry for each call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "last_backtrace.h"
#include "literals.h"
#include "pending_lab.h"
#include "ready_image.h"

#define MANY 1000u
/* Emulated machines, which have ready images, take long to enter the guest. */
#define LIMIT_NS (ready_images_only() ? 1500000000u : 300000000u)

static const char module[] =
    "(module"
    " (import \"env\" \"host\" (func $host (param i32) (result i32)))"
    " (memory (export \"memory\") 1 3)"
    " (global $sum (export \"sum\") (mut i64) (i64.const 0))"
    " (tag $t (export \"t\") (param i32))"
    " (func (export \"add\") (param i32 i32) (result i32)"
    "  (global.set $sum (i64.add (global.get $sum) (i64.extend_i32_u (local.get 0))))"
    "  (i32.add (local.get 0) (local.get 1)))"
    " (func (export \"count\") (result i64)"
    "  (global.set $sum (i64.add (global.get $sum) (i64.const 1))) (global.get $sum))"
    " (func (export \"nothing\"))"
    " (func (export \"note\") (param i32)"
    "  (i32.store (i32.shl (local.get 0) (i32.const 2)) (local.get 0)))"
    " (func $deep (param i32) (if (local.get 0)"
    "  (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else unreachable)))"
    /* each call stores its argument and ends in the way of `host`'s answer */
    " (func (export \"ends\") (param i32) (result i32) (local i32)"
    "  (i32.store (i32.shl (local.get 0) (i32.const 2)) (i32.const 1))"
    "  (local.set 1 (call $host (local.get 0)))"
    "  (if (i32.eq (local.get 1) (i32.const 1)) (then (call $deep (i32.const 3))))"
    "  (if (i32.eq (local.get 1) (i32.const 2)) (then (throw $t (local.get 0))))"
    "  (if (i32.eq (local.get 1) (i32.const 3))"
    "   (then (drop (i32.load (i32.const -4))) (global.set $sum (i64.const 9))))"
    "  (if (i32.eq (local.get 1) (i32.const 4)) (then (loop (br 0))))"
    "  (if (i32.eq (local.get 1) (i32.const 5))"
    "   (then (drop (memory.grow (i32.const 1)))"
    "    (i32.store (i32.const 70000) (i32.const 5))))"
    "  (i32.mul (local.get 0) (i32.const 3))))";

/* What `host` answers in the call with the argument `at`. */
enum answer {
    ANSWER_NOTHING,
    ANSWER_TRAP,
    ANSWER_THROW,
    ANSWER_FAULT,
    ANSWER_SPIN,
    ANSWER_GROW,
    ANSWER_FAIL,
    ANSWER_EXIT,
    ANSWER_CALL,
    ANSWER_PENDING
};

struct lab {
    struct wat_lab wat;
    enum answer answer;
    int32_t at, asked;
    void (*inside)(struct lab *lab, husk_sandbox *sandbox);
};

static int host(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    struct lab *lab = user;
    lab->asked++;
    if (args[0].of.i32 != lab->at)
        return 0;
    switch (lab->answer) {
    case ANSWER_FAIL: return husk_caller_fail(caller, "no");
    case ANSWER_EXIT: return husk_caller_exit(caller, 3);
    case ANSWER_PENDING: return husk_caller_pending(caller);
    case ANSWER_CALL: lab->inside(lab, husk_caller_sandbox(caller)); break;
    default: results[0].of.i32 = (int32_t)lab->answer;
    }
    return 0;
}

static void lab_open(struct lab *lab, enum calls_way way) {
    memset(lab, 0, sizeof *lab);
    lab->at = -1;
    wat_lab_init(&lab->wat);
    wat_lab_func(&lab->wat, "host", "i>i", host, lab);
    wat_lab_open(&lab->wat, module, NULL);
    image_set_way(lab->wat.image, way);
}

static struct husk_value numbers[2 * MANY], answers[MANY];

/* 0, 1, 2, …: one for each argument. */
static void numbers_set(void) {
    for (uint32_t i = 0; i < 2 * MANY; i++)
        numbers[i] = value_i32((int32_t)i);
    for (uint32_t i = 0; i < MANY; i++)
        answers[i] = value_i32(-7);
}

static int many_within(struct lab *lab, const char *name, size_t count, size_t args_count,
                       size_t results_count, const struct husk_limits *limits, size_t *returned) {
    struct husk_many many = {.size = sizeof many, .count = count, .returned = 77};
    int status =
        husk_call_many(lab->wat.sandbox,
                       CALL(.name = name, .args = args_count > 0 ? numbers : NULL,
                            .args_count = args_count, .results = results_count > 0 ? answers : NULL,
                            .results_count = results_count, .limits = limits),
                       &many, &lab->wat.outcome, &lab->wat.err);
    *returned = many.returned;
    return status;
}

static size_t many(struct lab *lab, const char *name, size_t count, size_t args_count,
                   size_t results_count) {
    size_t returned;
    CHECK_OK(many_within(lab, name, count, args_count, results_count, NULL, &returned),
             lab->wat.err);
    return returned;
}

static int64_t global_of(struct lab *lab) {
    struct husk_value value;
    CHECK_OK(husk_global_get(lab->wat.sandbox, "sum", 0, &value, &lab->wat.err), lab->wat.err);
    return value.of.i64;
}

static uint64_t calls_counted(struct lab *lab) {
    struct husk_sandbox_stats stats = HUSK_SANDBOX_STATS_INIT;
    CHECK_OK(husk_sandbox_stats(lab->wat.sandbox, &stats), lab->wat.err);
    return stats.calls;
}

#define FOR_BOTH_WAYS                                                                              \
    SKIP_WITHOUT_COMPILER();                                                                       \
    for (enum calls_way way = 0; way < WAYS; way++)

TEST(all_return) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        numbers_set();
        entries_count(lab.wat.sandbox);
        CHECK_EQ_U64(many(&lab, "add", MANY, 2 * MANY, MANY), MANY);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_U64(entries_made, way == WAY_ROUTINE ? 1 : MANY);
        CHECK_EQ_U64(calls_counted(&lab), MANY);
        for (uint32_t i = 0; i < MANY; i++)
            CHECK(answers[i].type == HUSK_I32 && answers[i].of.i32 == (int32_t)(4 * i + 1));
        CHECK_EQ_I64(global_of(&lab), MANY * (MANY - 1));
        CHECK_EQ_U64(many(&lab, "add", MANY, 2 * MANY, 0), MANY); /* nobody wants the results */
        CHECK_EQ_I64(global_of(&lab), 2 * MANY * (MANY - 1));
        CHECK_EQ_I64(wat_call_i32(&lab.wat, "ends", 5), 15); /* an ordinary call afterwards */
        wat_lab_close(&lab.wat);
    }
}

TEST(without_arguments_or_results) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        numbers_set();
        CHECK_EQ_U64(many(&lab, "count", 10, 0, 10), 10);
        for (uint32_t i = 0; i < 10; i++)
            CHECK(answers[i].type == HUSK_I64 && answers[i].of.i64 == (int64_t)i + 1);
        CHECK_EQ_U64(many(&lab, "nothing", 5000, 0, 0), 5000);
        CHECK_EQ_U64(calls_counted(&lab), 5010);
        CHECK_EQ_U64(many(&lab, "note", 100, 100, 0), 100);
        uint32_t noted = 0;
        CHECK_OK(husk_memory_read(lab.wat.sandbox, RANGE(4 * 99, 4, 0), &noted, &lab.wat.err),
                 lab.wat.err);
        CHECK_EQ_U64(noted, 99);
        CHECK_EQ_U64(many(&lab, "count", 0, 0, 0), 0);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(global_of(&lab), 10);
        wat_lab_close(&lab.wat);
    }
}

/* A function with a thousand parameters and results: four calls have room. */
TEST(the_widest_function) {
    SKIP_WITHOUT_COMPILER();
    static char text[64000];
    static struct husk_value args[9000], results[9000];
    size_t used = (size_t)snprintf(text, sizeof text, "(module (func (export \"f\")");
    for (int i = 0; i < 1000; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " (param i64)");
    for (int i = 0; i < 1000; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " (result i64)");
    for (int i = 0; i < 1000; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, " (local.get %d)", 999 - i);
    snprintf(text + used, sizeof text - used, "))");
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, text, NULL);
    for (int i = 0; i < 9000; i++)
        args[i] = value_i64(i);
    struct husk_many nine = {.size = sizeof nine, .count = 9};
    entries_count(lab.sandbox);
    CHECK_OK(husk_call_many(lab.sandbox,
                            CALL(.name = "f", .args = args, .args_count = 9000, .results = results,
                                 .results_count = 9000),
                            &nine, &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_U64(nine.returned, 9);
    CHECK_EQ_U64(entries_made, 3);
    for (int i = 0; i < 9000; i++)
        CHECK_EQ_I64(results[i].of.i64, i / 1000 * 1000 + 999 - i % 1000);
    wat_lab_close(&lab);
}

/* ---- calls that do not return ---- */

static uint32_t stored(struct lab *lab, uint32_t idx) {
    uint32_t word = 0;
    CHECK_OK(husk_memory_read(lab->wat.sandbox, RANGE(4 * idx, 4, 0), &word, &lab->wat.err),
             lab->wat.err);
    return word;
}

/* Call 40 of 100 ends in that way. */
static void check_end(struct lab *lab, enum answer answer, enum husk_outcome_kind kind) {
    CHECK_OK(husk_sandbox_restore(lab->wat.sandbox, lab->wat.image, &lab->wat.err), lab->wat.err);
    lab->answer = answer;
    lab->at = 40;
    lab->asked = 0;
    numbers_set();
    CHECK_EQ_U64(many(lab, "ends", 100, 100, 100), 40);
    CHECK_EQ_U64(lab->wat.outcome.kind, kind);
    CHECK_EQ_I64(lab->asked, 41);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ_I64(answers[i].of.i32, i < 40 ? (int32_t)(3 * i) : -7);
        CHECK_EQ_U64(stored(lab, i), i <= 40);
    }
}

static void check_thrown(struct lab *lab) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_OK(husk_sandbox_exception(lab->wat.sandbox, &info, &lab->wat.err), lab->wat.err);
    CHECK_EQ_U64(info.values_count, 1);
    CHECK_EQ_I64(info.values[0].of.i32, 40);
}

TEST(the_first_that_does_not_return) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        check_end(&lab, ANSWER_TRAP, HUSK_TRAPPED);
        CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_UNREACHABLE);
        CHECK(lab.wat.outcome.state_is_exact);
        const struct husk_backtrace trace = last_backtrace(lab.wat.sandbox);
        CHECK_EQ_U64(trace.frames_total, 5); /* $deep four times, and the export */
        CHECK_EQ_U64(trace.frames_count, 3);
        CHECK_STR(trace.frames[2].func_name, "ends");
        check_end(&lab, ANSWER_THROW, HUSK_THREW);
        check_thrown(&lab);
        check_end(&lab, ANSWER_FAULT, HUSK_TRAPPED);
        CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        check_end(&lab, ANSWER_FAIL, HUSK_TRAPPED);
        CHECK_STR(lab.wat.outcome.message, "no");
        check_end(&lab, ANSWER_EXIT, HUSK_EXITED);
        CHECK_EQ_I64(lab.wat.outcome.exit_code, 3);
        wat_lab_close(&lab.wat);
    }
}

TEST(a_memory_that_grows_in_a_call) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        numbers_set();
        lab.answer = ANSWER_GROW;
        lab.at = 3;
        CHECK_EQ_U64(many(&lab, "ends", 100, 100, 100), 100);
        CHECK_EQ_U64(husk_memory_bytes(lab.wat.sandbox, 0), 2 << 16);
        CHECK_EQ_U64(stored(&lab, 17500), 5);
        wat_lab_close(&lab.wat);
    }
}

/* ---- limits ---- */

TEST(one_deadline_for_all) {
    FOR_BOTH_WAYS {
        struct lab lab;
        struct husk_limits limits = HUSK_LIMITS_INIT;
        size_t returned;
        lab_open(&lab, way);
        numbers_set();
        limits.wall_ns = LIMIT_NS;
        lab.answer = ANSWER_SPIN;
        lab.at = 7;
        CHECK_OK(many_within(&lab, "ends", 100, 100, 100, &limits, &returned), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
        CHECK_EQ_U64(lab.wat.outcome.limit, HUSK_LIMIT_WALL);
        CHECK(lab.wat.outcome.is_poisoned && lab.wat.outcome.wall_ns >= limits.wall_ns);
        CHECK_EQ_U64(returned, 7);
        CHECK_EQ_I64(answers[6].of.i32, 18);
        CHECK_EQ_I64(answers[7].of.i32, -7);
        CHECK_STATUS(many_within(&lab, "nothing", 1, 0, 0, NULL, &returned), HUSK_E_POISONED);
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
        /* as many calls as a size_t can count */
        CHECK_OK(many_within(&lab, "nothing", SIZE_MAX, 0, 0, &limits, &returned), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
        CHECK(returned > 0 && calls_counted(&lab) >= returned);
        wat_lab_close(&lab.wat);
    }
}

TEST(what_comes_before_the_first_call) {
    FOR_BOTH_WAYS {
        struct lab lab;
        struct husk_limits limits = HUSK_LIMITS_INIT;
        size_t returned;
        lab_open(&lab, way);
        numbers_set();
        husk_interrupt(lab.wat.sandbox);
        CHECK_EQ_U64(many(&lab, "ends", 100, 100, 100), 0);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_INTERRUPTED);
        CHECK(!lab.wat.outcome.is_poisoned);
        CHECK_OK(husk_cancel_new(&limits.cancel, &lab.wat.err), lab.wat.err);
        CHECK_OK(many_within(&lab, "ends", 100, 100, 100, &limits, &returned), lab.wat.err);
        CHECK_EQ_U64(returned, 100);
        husk_cancel_now(limits.cancel);
        CHECK_OK(many_within(&lab, "ends", 100, 100, 100, &limits, &returned), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_INTERRUPTED);
        CHECK_EQ_U64(returned, 0);
        CHECK_EQ_I64(lab.asked, 100);
        husk_cancel_unref(limits.cancel);
        wat_lab_close(&lab.wat);
    }
}

/* ---- calls inside ---- */

static struct husk_value inner_args[30], inner_results[30];

/* Thirty calls, one of which asks the host, too. */
static void many_inside(struct lab *lab, husk_sandbox *sandbox) {
    struct husk_many thirty = {.size = sizeof thirty, .count = 30};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    for (int i = 0; i < 30; i++)
        inner_args[i] = value_i32(1000 + i);
    CHECK_OK(husk_call_many(sandbox,
                            CALL(.name = "ends", .args = inner_args, .args_count = 30,
                                 .results = inner_results, .results_count = 30),
                            &thirty, &outcome, &lab->wat.err),
             lab->wat.err);
    CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(thirty.returned, 30);
    for (int i = 0; i < 30; i++)
        CHECK_EQ_I64(inner_results[i].of.i32, 3 * (1000 + i));
}

TEST(batches_in_host_functions) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        numbers_set();
        lab.answer = ANSWER_CALL;
        lab.inside = many_inside;
        lab.at = 50;
        CHECK_EQ_U64(many(&lab, "ends", 100, 100, 100), 100);
        for (int i = 0; i < 100; i++)
            CHECK_EQ_I64(answers[i].of.i32, 3 * i);
        CHECK_EQ_I64(lab.asked, 130);
        entries_count(lab.wat.sandbox); /* in a single call, the inner batch has the exchange */
        CHECK_EQ_I64(wat_call_i32(&lab.wat, "ends", 50), 150);
        CHECK_EQ_U64(entries_made, way == WAY_ROUTINE ? 2 + 31 : 2 + 60);
        wat_lab_close(&lab.wat);
    }
}

/* An inner batch that is cut off ends the outer one, too. */
static void spin_inside(struct lab *lab, husk_sandbox *sandbox) {
    struct husk_many two = {.size = sizeof two, .count = 2};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    const struct husk_value args[2] = {value_i32(60), value_i32(70)};
    limits.wall_ns = LIMIT_NS;
    lab->answer = ANSWER_SPIN;
    lab->at = 70;
    CHECK_OK(husk_call_many(sandbox,
                            CALL(.name = "ends", .args = args, .args_count = 2, .limits = &limits),
                            &two, &outcome, &lab->wat.err),
             lab->wat.err);
    CHECK_EQ_U64(outcome.kind, HUSK_DEADLINE);
    CHECK_EQ_U64(two.returned, 1);
}

TEST(a_batch_that_is_cut_off_inside) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        numbers_set();
        lab.answer = ANSWER_CALL;
        lab.inside = spin_inside;
        lab.at = 50;
        CHECK_EQ_U64(many(&lab, "ends", 100, 100, 100), 50);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
        CHECK_EQ_I64(answers[49].of.i32, 147);
        wat_lab_close(&lab.wat);
    }
}

/* ---- pending ---- */

static void check_resume(struct lab *lab, int32_t answer, int32_t expected) {
    struct husk_value value = value_i32(answer), result = value_i32(-1);
    struct husk_answer given = HUSK_ANSWER_INIT;
    given.values = &value;
    given.values_count = 1;
    CHECK_STATUS(husk_call_resume(lab->wat.sandbox, &given, &lab->wat.outcome, &lab->wat.err),
                 HUSK_E_TYPE); /* the call has a result */
    given.results = &result;
    given.results_count = 1;
    CHECK_OK(husk_call_resume(lab->wat.sandbox, &given, &lab->wat.outcome, &lab->wat.err),
             lab->wat.err);
    CHECK_EQ_I64(result.of.i32, expected);
}

/* Only the pending call goes on. Calls are possible in between. */
TEST(a_call_that_is_pending) {
    FOR_BOTH_WAYS {
        struct lab lab;
        lab_open(&lab, way);
        check_end(&lab, ANSWER_PENDING, HUSK_PENDING);
        lab.at = -1;
        numbers_set();
        CHECK_EQ_U64(many(&lab, "add", MANY, 2 * MANY, MANY), MANY);
        CHECK_EQ_I64(answers[MANY - 1].of.i32, 4 * (MANY - 1) + 1);
        check_resume(&lab, 0, 120);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(lab.asked, 41);
        CHECK_EQ_U64(stored(&lab, 41), 0);
        entries_count(lab.wat.sandbox); /* the exchange is free again */
        CHECK_EQ_U64(many(&lab, "add", MANY, 2 * MANY, MANY), MANY);
        CHECK_EQ_U64(entries_made, way == WAY_ROUTINE ? 1 : MANY);
        check_end(&lab, ANSWER_PENDING, HUSK_PENDING);
        check_resume(&lab, ANSWER_TRAP, -1);
        CHECK_EQ_U64(lab.wat.outcome.trap, HUSK_TRAP_UNREACHABLE);
        check_end(&lab, ANSWER_PENDING, HUSK_PENDING); /* and is abandoned */
        check_end(&lab, ANSWER_TRAP, HUSK_TRAPPED);
        wat_lab_close(&lab.wat);
    }
}

TEST(initialisation_that_is_pending) {
    FOR_BOTH_WAYS {
        struct pending_lab lab;
        int32_t result;
        pending_lab_open(&lab, "(func $start (global.set $g (call $ask (i32.const 99))))"
                               "(start $start)");
        image_set_way(lab.wat.image, way);
        struct husk_value args[3] = {value_i32(4), value_i32(5), value_i32(6)}, results[3];
        struct husk_many three = {.size = sizeof three, .count = 3, .returned = 77};
        CHECK_OK(husk_call_many(lab.wat.sandbox,
                                CALL(.name = "double", .args = args, .args_count = 3,
                                     .results = results, .results_count = 3),
                                &three, &lab.wat.outcome, &lab.wat.err),
                 lab.wat.err);
        pending_check(&lab, 99);
        CHECK_EQ_U64(three.returned, 0);
        args[0] = value_i32(1000); /* the library has a copy */
        CHECK_OK(pending_resume(&lab, 7, &result), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(result, 8);
        pending_lab_close(&lab);
    }
}

/* ---- what is refused ---- */

#define REFUSED(lab, given, expected)                                                              \
    CHECK_STATUS(                                                                                  \
        husk_call_many((lab)->wat.sandbox, given, &some, &(lab)->wat.outcome, &(lab)->wat.err),    \
        expected)

TEST(what_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct husk_many some = {.size = sizeof some, .count = 10, .returned = 77};
    lab_open(&lab, WAY_ROUTINE);
    numbers_set();
    REFUSED(&lab, CALL(.name = "no"), HUSK_E_NOT_FOUND);
    REFUSED(&lab, CALL(.name = "memory"), HUSK_E_NOT_FOUND);
    REFUSED(&lab, CALL(.args_count = 0), HUSK_E_INVAL);
    REFUSED(&lab, CALL(.name = "add", .args_count = 20), HUSK_E_INVAL);
    REFUSED(&lab, CALL(.name = "add", .args = numbers, .args_count = 19), HUSK_E_TYPE);
    REFUSED(&lab, CALL(.name = "add", .args = numbers, .args_count = 21), HUSK_E_TYPE);
    REFUSED(&lab, CALL(.name = "add", .args = numbers, .args_count = 2), HUSK_E_TYPE);
    CHECK_CONTAINS(lab.wat.err.message, "calling \"add\" many times");
    REFUSED(&lab,
            CALL(.name = "add", .args = numbers, .args_count = 20, .results = answers,
                 .results_count = 9),
            HUSK_E_TYPE);
    REFUSED(&lab, CALL(.name = "nothing", .args = numbers, .args_count = 10), HUSK_E_TYPE);
    numbers[13] = value_i64(1);
    REFUSED(&lab, CALL(.name = "add", .args = numbers, .args_count = 20), HUSK_E_TYPE);
    CHECK_CONTAINS(lab.wat.err.message, "argument 1 is of type i64");
    CHECK_CONTAINS(lab.wat.err.message, "call 6 of 10");
    some.count = SIZE_MAX / 2 + 2; /* twice as many are 2 */
    REFUSED(&lab, CALL(.name = "add", .args = numbers, .args_count = 2), HUSK_E_TYPE);
    some.count = 0;
    REFUSED(&lab, CALL(.name = "add", .args = numbers, .args_count = 2), HUSK_E_TYPE);
    some.size = offsetof(struct husk_many, returned);
    REFUSED(&lab, CALL(.name = "nothing"), HUSK_E_INVAL);
    some.size = 3;
    REFUSED(&lab, CALL(.name = "nothing"), HUSK_E_INVAL);
    CHECK_STATUS(husk_call_many(NULL, CALL(.name = "add"), &some, &lab.wat.outcome, NULL),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_call_many(lab.wat.sandbox, NULL, &some, &lab.wat.outcome, NULL),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_call_many(lab.wat.sandbox, CALL(.name = "add"), NULL, &lab.wat.outcome, NULL),
                 HUSK_E_INVAL);
    CHECK_STATUS(husk_call_many(lab.wat.sandbox, CALL(.name = "add"), &some, NULL, NULL),
                 HUSK_E_INVAL);
    CHECK_EQ_U64(some.returned, 77);
    CHECK_EQ_I64(global_of(&lab), 0);
    CHECK_EQ_U64(calls_counted(&lab), 0);
    CHECK_OK(husk_sandbox_unload(lab.wat.sandbox, &lab.wat.err), lab.wat.err);
    some = (struct husk_many){.size = sizeof some, .count = 1};
    REFUSED(&lab, CALL(.name = "nothing"), HUSK_E_STATE);
    wat_lab_close(&lab.wat);
}

TEST_MAIN()
