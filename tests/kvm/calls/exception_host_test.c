/* tests/kvm/calls/exception_host_test.c: exceptions that host functions throw, catch and pass on,
 * through nested and pending calls; deadlines and interrupts. */
#include <string.h>

#include "last_backtrace.h"
#include "literals.h"
#include "thrown.h"

/* ---- the host throws ---- */

/* What the host function does, and what it saw. */
struct thrower {
    struct wat_lab *lab;
    struct husk_throw throws;
    int status; /* of husk_caller_throw() */
    bool is_calling_first, is_failing_after, returns_zero;
};

static int host_throws(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    struct thrower *thrower = user;
    (void)args;
    results[0].of.i32 = 1000; /* does not count */
    thrower->status = husk_caller_throw(caller, &thrower->throws);
    if (thrower->is_calling_first) { /* the values are kept, whatever the guest does now */
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        CHECK_OK(husk_call(husk_caller_sandbox(caller), CALL(.name = "other"), &outcome,
                           &thrower->lab->err),
                 thrower->lab->err);
        CHECK_EQ_U64(outcome.kind, HUSK_THREW);
    }
    if (thrower->is_failing_after)
        return husk_caller_fail(caller, "no");
    return thrower->returns_zero ? 0 : thrower->status;
}

#define THROW_TYPES "i32 i64 f32 f64 externref"

static const char throw_wat[] =
    "(module (import \"env\" \"throw\" (func $throw (param i32) (result i32)))"
    " (tag $t (export \"t\") (param " THROW_TYPES "))"
    " (tag $u (export \"u\")) (tag $v (export \"v\") (param i32)) (memory (export \"m\") 1)"
    " (func (export \"other\") (throw $v (i32.const 99)))"
    " (func (export \"pass\") (param i32) (result i32) (call $throw (local.get 0)))"
    " (func $middle (param i32) (result i32)"
    "  (i32.add (i32.const 1) (call $throw (local.get 0))))"
    /* 1: $t, whose values are in memory; 2: $u; 3: anything else; else the result */
    " (func (export \"catch\") (param i32) (result i32)"
    "  try (result i32) (call $middle (local.get 0))"
    "  catch $t global.set $e global.set $d global.set $c global.set $b global.set $a"
    "   (i32.store (i32.const 0) (global.get $a)) (i64.store (i32.const 8) (global.get $b))"
    "   (f32.store (i32.const 16) (global.get $c)) (f64.store (i32.const 24) (global.get $d))"
    "   (i32.const 1)"
    "  catch $u (i32.const 2) catch_all (i32.const 3) end)"
    /* keeps an exception over one of the host's, and throws it again */
    " (func (export \"keep\") (param i32) (result i32)"
    "  try (result i32) try (throw $v (local.get 0)) catch_all"
    "   try (drop (call $throw (i32.const 0))) catch_all end (rethrow 0) end (i32.const -1)"
    "  catch $v end)"
    " (func (export \"e\") (result externref) (global.get $e))"
    " (global $a (mut i32) (i32.const 0)) (global $b (mut i64) (i64.const 0))"
    " (global $c (mut f32) (f32.const 0)) (global $d (mut f64) (f64.const 0))"
    " (global $e (mut externref) (ref.null extern)))";

static void thrower_open(struct wat_lab *lab, struct thrower *thrower) {
    wat_lab_init(lab);
    wat_lab_func(lab, "throw", "i>i", host_throws, thrower);
    wat_lab_open(lab, throw_wat, NULL);
    *thrower = (struct thrower){.lab = lab, .throws = HUSK_THROW_INIT};
}

TEST(a_host_function_throws) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct thrower thrower;
    thrower_open(&lab, &thrower);
    const struct husk_value values[] = {value_i32(-3),
                                        value_i64(1ll << 50),
                                        {.type = HUSK_F32, .of.f32 = 1.5f},
                                        {.type = HUSK_F64, .of.f64 = -2.25},
                                        {.type = HUSK_EXTERNREF, .of.ref = 77}};
    thrower.throws.tag = tag_of(&lab, "t");
    thrower.throws.values = values;
    thrower.throws.values_count = 5;
    for (int i = 0; i < 4; i++) {
        thrower.is_calling_first = i % 2 == 1;
        thrower.returns_zero = i >= 2;
        CHECK_EQ_I64(wat_call_i32(&lab, "catch", 0), 1);
        CHECK_EQ_I64(thrower.status, HUSK_E_STATE);
        struct {
            int32_t a, pad;
            int64_t b;
            float c, pad2;
            double d;
        } got;
        CHECK_OK(husk_memory_read(lab.sandbox, &(struct husk_range){.count = sizeof got}, &got,
                                  &lab.err),
                 lab.err);
        CHECK(got.a == -3 && got.b == 1ll << 50 && got.c == 1.5f && got.d == -2.25);
        struct husk_value e;
        CHECK_OK(wat_call(&lab, "e", NULL, 0, &e, 1), lab.err);
        CHECK_EQ_U64(e.of.ref, 77);
    }
    thrower.throws = (struct husk_throw){.size = sizeof thrower.throws, .tag = tag_of(&lab, "u")};
    CHECK_EQ_I64(wat_call_i32(&lab, "catch", 0), 2);
    thrower.throws.tag = tag_of(&lab, "v");
    thrower.throws.values = values;
    thrower.throws.values_count = 1;
    CHECK_EQ_I64(wat_call_i32(&lab, "catch", 0), 3);
    const struct husk_value zero[1] = {value_i32(0)};
    struct husk_value result;
    CHECK_OK(wat_call(&lab, "pass", zero, 1, &result, 1), lab.err);
    CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, -3);
    CHECK_STR(lab.outcome.message, "uncaught exception: tag \"v\" (i32 -3)");
    const struct husk_backtrace backtrace = last_backtrace(lab.sandbox);
    CHECK(backtrace.frames_count >= 2);
    CHECK_STR(backtrace.frames[0].func_name, "throw"); /* the import */
    wat_lab_close(&lab);
}

/* The last word counts. */
TEST(the_host_leaves_the_exceptions_that_the_guest_keeps) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct thrower thrower;
    thrower_open(&lab, &thrower);
    thrower.throws.tag = tag_of(&lab, "u");
    for (int32_t i = 0; i < 2000; i++)
        CHECK_EQ_I64(wat_call_i32(&lab, "keep", i), i);
    wat_lab_close(&lab);
}

TEST(a_host_function_that_throws_and_fails) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct thrower thrower;
    thrower_open(&lab, &thrower);
    thrower.throws.tag = tag_of(&lab, "u");
    thrower.is_failing_after = true;
    const struct husk_value zero[1] = {value_i32(0)};
    struct husk_value result;
    CHECK_OK(wat_call(&lab, "catch", zero, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_STR(lab.outcome.message, "no");
    check_no_exception(&lab);
    thrower.is_calling_first = true; /* whose exception does not count after that */
    CHECK_OK(wat_call(&lab, "catch", zero, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    check_no_exception(&lab);
    wat_lab_close(&lab);
}

static void check_refused(struct wat_lab *lab, const struct thrower *thrower, int status,
                          const char *why) {
    const struct husk_value zero[1] = {value_i32(0)};
    struct husk_value result;
    CHECK_OK(wat_call(lab, "catch", zero, 1, &result, 1), lab->err);
    CHECK_EQ_I64(thrower->status, status);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab->outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(lab->outcome.message, why);
    check_no_exception(lab);
}

TEST(exceptions_that_cannot_be_thrown) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab, foreign;
    struct thrower thrower;
    thrower_open(&lab, &thrower);
    wat_lab_init(&foreign);
    wat_lab_open(&foreign, "(module (tag (export \"t\")) (func (export \"f\")))", NULL);
    const struct husk_value values[] = {value_i64(3), value_i32(4)};
    struct husk_throw *throws = &thrower.throws;
    check_refused(&lab, &thrower, HUSK_E_INVAL, "never set");
    throws->tag = tag_of(&foreign, "t");
    check_refused(&lab, &thrower, HUSK_E_INVAL, "of another module");
    throws->tag = tag_of(&lab, "v");
    throws->tag.opaque[1] += 1000;
    check_refused(&lab, &thrower, HUSK_E_INVAL, "does not exist");
    throws->tag = tag_of(&lab, "v");
    check_refused(&lab, &thrower, HUSK_E_TYPE, "0 values given; exceptions of this tag have 1");
    throws->values_count = 1;
    check_refused(&lab, &thrower, HUSK_E_INVAL, "NULL");
    throws->values = values;
    check_refused(&lab, &thrower, HUSK_E_TYPE, "value 0 is of type i64; expected i32");
    throws->values = values + 1;
    throws->values_count = SIZE_MAX;
    check_refused(&lab, &thrower, HUSK_E_TYPE, "values given");
    throws->values_count = 1;
    throws->size = 0;
    check_refused(&lab, &thrower, HUSK_E_INVAL, "husk_throw.size");
    throws->size = sizeof *throws;
    CHECK_EQ_I64(wat_call_i32(&lab, "catch", 0), 3);
    husk_func func; /* a handle of a function is none of a tag */
    CHECK_OK(husk_image_func(lab.image, "catch", 0, &func, &lab.err), lab.err);
    memcpy(&throws->tag, &func, sizeof func);
    check_refused(&lab, &thrower, HUSK_E_INVAL, "never set");
    wat_lab_close(&foreign);
    wat_lab_close(&lab);
}

/* ---- nested calls ---- */

struct tower {
    struct wat_lab *lab;
    int caught, calls;
    bool is_catching_all; /* the host function goes on */
    int32_t catches_at;
};

/* Calls "down" with the argument. Catches what that throws at one level, else throws it again. */
static int host_down(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct tower *tower = user;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    tower->calls++;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "down", .args = args, .args_count = 1, .results = results,
                            .results_count = 1),
                       &outcome, &err),
             err);
    if (outcome.kind == HUSK_RETURNED)
        return 0;
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_EQ_U64(outcome.kind, HUSK_THREW);
    CHECK_OK(husk_sandbox_exception(sandbox, &info, &err), err);
    CHECK_STR(info.name, "t");
    CHECK(info.values_count == 2 && info.values[1].of.i64 == 1ll << 40);
    if (tower->is_catching_all || args[0].of.i32 == tower->catches_at) {
        tower->caught++;
        results[0].of.i32 = info.values[0].of.i32 + 1000;
        return 0;
    }
    const struct husk_throw again = {.size = sizeof again,
                                     .tag = info.tag,
                                     .values = info.values,
                                     .values_count = info.values_count};
    return husk_caller_throw(caller, &again);
}

static const char tower_wat[] =
    "(module (import \"env\" \"down\" (func $host (param i32) (result i32)))"
    " (tag $t (export \"t\") (param i32 i64)) (tag $u)"
    " (func $down (export \"down\") (param i32) (result i32)"
    "  (if (i32.eqz (local.get 0)) (then (throw $t (i32.const 5) (i64.const 0x10000000000))))"
    "  (i32.add (i32.const 1) (call $host (i32.sub (local.get 0) (i32.const 1)))))"
    " (func (export \"try\") (param i32) (result i32)"
    "  try (result i32) try (result i32) (call $down (local.get 0)) catch $u (i32.const -1) end"
    "  catch $t drop end))";

TEST(host_functions_pass_exceptions_on_at_every_depth) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct tower tower = {.lab = &lab, .catches_at = -1};
    const struct husk_sandbox_options options = {.size = sizeof options, .host_call_depth_max = 12};
    wat_lab_init(&lab);
    wat_lab_func(&lab, "down", "i>i", host_down, &tower);
    wat_lab_open(&lab, tower_wat, &options);
    for (int depth = 0; depth <= 12; depth++) {
        tower.calls = 0;
        CHECK_EQ_I64(wat_call_i32(&lab, "try", depth), 5);
        CHECK_EQ_I64(tower.calls, depth);
        const struct husk_value args[1] = {value_i32(depth)};
        struct husk_value result;
        CHECK_OK(wat_call(&lab, "down", args, 1, &result, 1), lab.err);
        CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, 5);
        const struct husk_backtrace backtrace = last_backtrace(lab.sandbox);
        CHECK_EQ_U64(backtrace.frames_total, depth == 0 ? 1 : 2); /* of the outermost call */
    }
    for (int depth = 1; depth <= 12; depth++) { /* caught by the host function at one level */
        tower.catches_at = depth / 2;
        tower.caught = 0;
        CHECK_EQ_I64(wat_call_i32(&lab, "try", depth), 1005 + depth - depth / 2);
        CHECK_EQ_I64(tower.caught, 1);
    }
    wat_lab_close(&lab);
}

TEST(a_host_function_that_catches_goes_on) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct tower tower = {.lab = &lab, .is_catching_all = true};
    wat_lab_init(&lab);
    wat_lab_func(&lab, "down", "i>i", host_down, &tower);
    wat_lab_open(&lab, tower_wat, NULL);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ_I64(wat_call_i32(&lab, "down", 1 + i % 3), 1006 + i % 3);
    CHECK_EQ_I64(tower.caught, 1000);
    check_no_exception(&lab);
    wat_lab_close(&lab);
}

/* ---- pending calls ---- */

static int host_waits(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user;
    (void)args;
    (void)results;
    return husk_caller_pending(caller);
}

static int answer_with(struct wat_lab *lab, const struct husk_throw *exception,
                       struct husk_value *result) {
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.exception = exception;
    answer.results = result;
    answer.results_count = 1;
    return husk_call_resume(lab->sandbox, &answer, &lab->outcome, &lab->err);
}

static void pend(struct wat_lab *lab, const char *name) {
    const struct husk_value zero[1] = {value_i32(0)};
    struct husk_value result;
    CHECK_OK(wat_call(lab, name, zero, 1, &result, 1), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_PENDING);
}

TEST(the_answer_of_a_pending_call_may_be_an_exception) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "throw", "i>i", host_waits, NULL);
    wat_lab_open(&lab, throw_wat, NULL);
    struct husk_throw exception = {.size = sizeof exception, .tag = tag_of(&lab, "v")};
    const struct husk_value wrong = value_i64(0), right = value_i32(42);
    struct husk_value result = value_i32(0);
    pend(&lab, "catch");
    CHECK_STATUS(answer_with(&lab, &exception, &result), HUSK_E_TYPE);
    CHECK_CONTAINS(lab.err.message, "answering for \"env.throw\"");
    exception.values = &wrong;
    exception.values_count = 1;
    CHECK_STATUS(answer_with(&lab, &exception, &result), HUSK_E_TYPE);
    exception.tag.opaque[0]++;
    CHECK_STATUS(answer_with(&lab, &exception, &result), HUSK_E_INVAL);
    exception.tag = tag_of(&lab, "v");
    exception.values = &right;
    struct husk_answer both = HUSK_ANSWER_INIT;
    both.exception = &exception;
    both.values = &right;
    both.results = &result;
    both.values_count = both.results_count = 1;
    CHECK_STATUS(husk_call_resume(lab.sandbox, &both, &lab.outcome, &lab.err), HUSK_E_INVAL);
    /* still pending; a call inside it may throw */
    struct husk_outcome inner = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = "other"), &inner, &lab.err), lab.err);
    CHECK_EQ_U64(inner.kind, HUSK_THREW);
    CHECK_OK(answer_with(&lab, &exception, &result), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 3);
    pend(&lab, "pass");
    CHECK_OK(answer_with(&lab, &exception, &result), lab.err);
    CHECK_EQ_I64(exception_of(&lab).values[0].of.i32, 42);
    CHECK_STR(last_backtrace(lab.sandbox).frames[0].func_name, "throw");
    pend(&lab, "pass"); /* the instance stays usable, and a restore abandons the call */
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_STATUS(answer_with(&lab, &exception, &result), HUSK_E_STATE);
    wat_lab_close(&lab);
}

/* ---- ends from outside ---- */

TEST(a_deadline_ends_a_guest_that_throws_and_catches_for_ever) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (tag $t (param i32)) (func $throw (param i32)"
                 "  (if (local.get 0) (then (call $throw (i32.sub (local.get 0) (i32.const 1)))))"
                 "  (throw $t (local.get 0)))"
                 " (func (export \"f\") (loop $again try (call $throw (i32.const 50))"
                 "  catch $t drop end (br $again))))",
                 NULL);
    for (int i = 0; i < 3; i++) {
        struct husk_limits limits = HUSK_LIMITS_INIT;
        limits.wall_ns = 30000000;
        CHECK_OK(
            husk_call(lab.sandbox, CALL(.name = "f", .limits = &limits), &lab.outcome, &lab.err),
            lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
        check_no_exception(&lab);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    wat_lab_close(&lab);
}

static int host_interrupts_and_throws(husk_caller *caller, void *user,
                                      const struct husk_value *args, struct husk_value *results) {
    const struct thrower *thrower = user;
    (void)args;
    (void)results;
    husk_interrupt(husk_caller_sandbox(caller));
    return husk_caller_throw(caller, &thrower->throws);
}

TEST(an_interrupt_comes_before_the_exception) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct thrower thrower = {.lab = &lab, .throws = HUSK_THROW_INIT};
    wat_lab_init(&lab);
    wat_lab_func(&lab, "throw", "i>i", host_interrupts_and_throws, &thrower);
    wat_lab_open(&lab, throw_wat, NULL);
    thrower.throws.tag = tag_of(&lab, "u");
    const struct husk_value zero[1] = {value_i32(0)};
    struct husk_value result;
    CHECK_OK(wat_call(&lab, "pass", zero, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
    check_no_exception(&lab);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    wat_lab_close(&lab);
}

TEST_MAIN()
