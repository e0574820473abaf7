/*
 * tests/kvm/calls/interrupted_test.c: the embedder decides whether an interrupted run goes on
 * (husk_limits.interrupted): after signals to this thread and to another one, in guest code, in
 * waits of WASI and of memory.atomic.wait, in calls inside others and in pending calls. If a call
 * does not end, an alarm ends the suite.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "literals.h"
#include "signal_sender.h"
#include "wat.h"

#define MS 1000000ull
#define ALARM_SECONDS 120

/* An emulated CPU needs milliseconds to enter a guest. */
static uint64_t tick_ns(void) {
    return getenv("HUSK_TEST_EMULATED") != NULL ? 50 * MS : MS;
}

static unsigned pause_us(unsigned us) { /* between two signals */
    return us * (unsigned)(tick_ns() / MS);
}

/* ---- The guest ---- */

static const char guest[] =
    "(module"
    " (import \"env\" \"ask\" (func $ask (param i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"poll_oneoff\""
    "  (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))"
    " (memory (export \"memory\") 1 1 shared)"
    " (func (export \"ask\") (param i32) (result i32)"
    "  (i32.add (call $ask (local.get 0)) (i32.const 1)))"
    " (func (export \"double\") (param i32) (result i32)"
    "  (i32.add (local.get 0) (local.get 0)))"
    /* those that are ended leave a mark when they begin: guest_has_begun() */
    " (func $begin (i32.store (i32.const 32) (i32.const 1)))"
    " (func (export \"spin\") (param i32) (result i32)"
    "  (call $begin) (loop (br 0)) (i32.const 0))"
    /* so many milliseconds: in memory.atomic.wait, and in WASI */
    " (func (export \"wait\") (param i32) (result i32)"
    "  (call $begin)"
    "  (memory.atomic.wait32 (i32.const 0) (i32.const 0)"
    "   (i64.mul (i64.const 1000000) (i64.extend_i32_u (local.get 0)))))"
    " (func (export \"sleep\") (param i32) (result i32)"
    "  (call $begin)"
    "  (i32.store (i32.const 80) (i32.const 1))" /* CLOCK_MONOTONIC, relative */
    "  (i64.store (i32.const 88)"
    "   (i64.mul (i64.const 1000000) (i64.extend_i32_u (local.get 0))))"
    "  (call $poll_oneoff (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 128)))"
    /* registers of every kind live in the loop */
    " (func (export \"mix\") (param i32) (result i32) (local $i i32) (local $a i64) (local $f f64)"
    "  (local $v v128)"
    "  (local.set $f (f64.const 1)) (local.set $a (i64.const 1))"
    "  (loop"
    "   (local.set $a (i64.add (i64.mul (local.get $a) (i64.const 6364136223846793005))"
    "                          (i64.extend_i32_u (local.get $i))))"
    "   (local.set $f (f64.add (f64.mul (local.get $f) (f64.const 0.999)) (f64.const 0.5)))"
    "   (local.set $v (i32x4.add (i32x4.mul (local.get $v) (v128.const i32x4 3 5 7 9))"
    "                            (i32x4.splat (local.get $i))))"
    "   (local.set $i (i32.add (local.get $i) (i32.const 1)))"
    "   (br_if 0 (i32.lt_u (local.get $i) (local.get 0))))"
    "  (i32.xor (i32.xor (i32.wrap_i64 (local.get $a))"
    "                    (i32.wrap_i64 (i64.shr_u (local.get $a) (i64.const 32))))"
    "           (i32.xor (i32.wrap_i64 (i64.reinterpret_f64 (local.get $f)))"
    "                    (i32.xor (i32x4.extract_lane 0 (local.get $v))"
    "                             (i32x4.extract_lane 3 (local.get $v)))))))";

/* Functions that end long after the test. */
static const char *const endless[] = {"spin", "wait", "sleep"};
enum { ENDLESS = sizeof endless / sizeof endless[0], LONG_MS = 60000 };

struct lab {
    struct wat_lab wat;
    /* env.ask calls it, and answers with ten times its argument; NULL: it is pending */
    void (*hook)(struct lab *lab, husk_sandbox *sandbox);
};

static int host_ask(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct lab *lab = user;
    if (lab->hook == NULL)
        return husk_caller_pending(caller);
    lab->hook(lab, husk_caller_sandbox(caller));
    results[0].of.i32 = args[0].of.i32 * 10;
    return 0;
}

static int lab_call(struct lab *lab, const char *name, int32_t argument,
                    const struct husk_limits *limits, int32_t *ret_result) {
    struct husk_value arg = value_i32(argument), result = value_i32(-1);
    int status = husk_call(lab->wat.sandbox,
                           CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = limits),
                           &lab->wat.outcome, &lab->wat.err);
    *ret_result = result.of.i32;
    return status;
}

static int lab_resume(struct lab *lab, int32_t *ret_result) {
    struct husk_value value = value_i32(1), result = value_i32(-1);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.values = &value;
    answer.results = &result;
    answer.values_count = answer.results_count = 1;
    int status = husk_call_resume(lab->wat.sandbox, &answer, &lab->wat.outcome, &lab->wat.err);
    *ret_result = result.of.i32;
    return status;
}

/* ---- The function that is asked ---- */

/* The function that is asked, and its memory. */
struct asked {
    struct lab *lab; /* set: it is asked in vain until one of the endless functions runs */
    husk_cancel *cancel;
    int count, ends_after, answer; /* it says no (`answer`) at the count ends_after; 0: never */
    int calls_status;              /* of a call that it tried to make */
    const atomic_bool *ends;       /* it says no once this is true; NULL: unused */
    struct asked *inner;           /* its count, when this one is asked, becomes inner_seen */
    int inner_seen;
    pthread_t thread;
};

/* On a slow machine the period passes before the guest's first instruction. A call that is ended
 * then leaves the sandbox as it was, which is not what is tested here. */
static bool guest_has_begun(const struct lab *lab) {
    uint32_t mark = 0;
    return husk_memory_read(lab->wat.sandbox, RANGE(.addr = 32, .count = sizeof mark), &mark,
                            NULL) == 0 &&
           mark != 0;
}

static int is_asked(void *user) {
    struct asked *asked = user;
    if (asked->lab != NULL && !guest_has_begun(asked->lab))
        return 0;
    asked->count++;
    asked->thread = pthread_self();
    if (asked->inner != NULL)
        asked->inner_seen = asked->inner->count;
    const bool ends =
        asked->count == asked->ends_after || (asked->ends != NULL && atomic_load(asked->ends));
    return ends ? asked->answer : 0;
}

static struct husk_limits limits_asking(struct asked *asked, uint64_t every_ns) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.interrupted = is_asked;
    limits.interrupted_user = asked;
    limits.interrupted_ns = every_ns;
    return limits;
}

static void on_alarm(int number) {
    static const char text[] = "interrupted: a call is still there long after its end\n";
    (void)number;
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    _exit(1);
}

static void lab_open(struct lab *lab) {
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.stdin_fd = wasi.stdout_fd = wasi.stderr_fd = -1;
    lab->hook = NULL;
    wat_lab_init(&lab->wat);
    wat_lab_func(&lab->wat, "ask", "i>i", host_ask, lab);
    CHECK_OK(husk_imports_wasi(lab->wat.imports, &wasi, &lab->wat.err), lab->wat.err);
    wat_lab_open(&lab->wat, guest, NULL);
    signal(SIGALRM, on_alarm);
    alarm(ALARM_SECONDS);
}

static void lab_close(struct lab *lab) {
    wat_lab_close(&lab->wat);
    alarm(0);
    signal(SIGALRM, SIG_DFL);
}

static void check_interrupted(const struct lab *lab) {
    CHECK_MSG(lab->wat.outcome.kind == HUSK_INTERRUPTED, "outcome %d: %s",
              (int)lab->wat.outcome.kind, lab->wat.outcome.message);
    CHECK(lab->wat.outcome.is_poisoned && !lab->wat.outcome.state_is_exact);
}

/* ---- Signals ---- */

/* In guest code and in a wait; with handlers that let system calls go on, and with others. */
TEST(a_signal_to_the_thread_asks_and_no_ends_the_call) {
    SKIP_WITHOUT_COMPILER();
    for (int row = 0; row < 2 * ENDLESS; row++) {
        struct lab lab;
        struct asked asked = {.lab = &lab, .ends_after = 5, .answer = row < ENDLESS ? -1 : 1};
        struct signal_sender sender;
        int32_t result;
        lab_open(&lab);
        const struct husk_limits limits = limits_asking(&asked, 0);
        sender_start(&sender, pause_us(1000), row < ENDLESS ? SA_RESTART : 0);
        CHECK_OK(lab_call(&lab, endless[row % ENDLESS], LONG_MS, &limits, &result), lab.wat.err);
        sender_stop(&sender);
        check_interrupted(&lab);
        CHECK_EQ_I64(asked.count, 5);
        CHECK(pthread_equal(asked.thread, pthread_self()));
        CHECK(sender_handled() >= 5);
        lab_close(&lab);
    }
}

static void *note_later(void *user) {
    usleep((useconds_t)(30 * tick_ns() / 1000));
    atomic_store((atomic_bool *)user, true);
    return NULL;
}

/* As in a program whose signals another thread takes: the handler leaves a note. */
TEST(the_period_asks_without_a_signal) {
    SKIP_WITHOUT_COMPILER();
    for (int row = 0; row < ENDLESS; row++) {
        struct lab lab;
        atomic_bool ends = false;
        struct asked asked = {.lab = &lab, .ends = &ends, .answer = -1};
        pthread_t other;
        int32_t result;
        lab_open(&lab);
        const struct husk_limits limits = limits_asking(&asked, 5 * tick_ns());
        CHECK_EQ_I64(pthread_create(&other, NULL, note_later, &ends), 0);
        CHECK_OK(lab_call(&lab, endless[row], LONG_MS, &limits, &result), lab.wat.err);
        pthread_join(other, NULL);
        check_interrupted(&lab);
        CHECK(asked.count >= 1);
        lab_close(&lab);
    }
}

TEST(a_call_that_goes_on_is_the_same) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct signal_sender sender;
    int32_t plain, result;
    int asked_count = 0;
    const bool is_emulated = getenv("HUSK_TEST_EMULATED") != NULL;
    const int32_t rounds = HARNESS_SANITIZED || is_emulated ? 2000000 : 20000000;
    const int enough = is_emulated ? 20 : 2000;
    lab_open(&lab);
    CHECK_OK(lab_call(&lab, "mix", rounds, NULL, &plain), lab.wat.err);
    sender_start(&sender, pause_us(50), SA_RESTART);
    for (int i = 0; i < 200 && asked_count < enough; i++) {
        struct asked asked = {0};
        const struct husk_limits limits = limits_asking(&asked, tick_ns());
        CHECK_OK(lab_call(&lab, "mix", rounds, &limits, &result), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(result, plain);
        asked_count += asked.count;
    }
    sender_stop(&sender);
    CHECK_MSG(asked_count >= enough, "asked %d times only", asked_count);
    lab_close(&lab);
}

TEST(a_wait_that_goes_on_is_as_long) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct signal_sender sender;
    const int32_t wait_ms = (int32_t)(150 * tick_ns() / MS);
    int32_t result;
    lab_open(&lab);
    for (int row = 1; row < ENDLESS; row++) {
        struct asked asked = {0};
        const struct husk_limits limits = limits_asking(&asked, 2 * tick_ns());
        sender_start(&sender, pause_us(1000), 0);
        const uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
        CHECK_OK(lab_call(&lab, endless[row], wait_ms, &limits, &result), lab.wat.err);
        const uint64_t took_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
        sender_stop(&sender);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(result, row == 1 ? 2 : 0); /* timed out; no error */
        CHECK(took_ns >= 150 * tick_ns());
        CHECK(asked.count >= 1);
    }
    lab_close(&lab);
}

TEST(limits_hold_while_the_call_goes_on) {
    SKIP_WITHOUT_COMPILER();
    for (int row = 0; row < 2 + ENDLESS; row++) {
        const bool is_cpu = row == ENDLESS, is_rare = row == ENDLESS + 1;
        struct lab lab;
        struct asked asked = {0};
        int32_t result;
        lab_open(&lab);
        struct husk_limits limits = limits_asking(&asked, is_rare ? UINT64_MAX : tick_ns());
        if (is_cpu)
            limits.cpu_ns = 100 * tick_ns();
        else
            limits.wall_ns = 100 * tick_ns();
        const char *name = row < ENDLESS ? endless[row] : "spin";
        CHECK_OK(lab_call(&lab, name, LONG_MS, &limits, &result), lab.wat.err);
        CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_DEADLINE);
        CHECK_EQ_U64(lab.wat.outcome.limit, is_cpu ? HUSK_LIMIT_CPU : HUSK_LIMIT_WALL);
        CHECK(is_rare ? asked.count <= 1 : asked.count >= 1);
        lab_close(&lab);
    }
}

static int interrupts_and_goes_on(void *user) {
    const struct asked *asked = user;
    if (guest_has_begun(asked->lab))
        husk_interrupt(asked->lab->wat.sandbox);
    return 0;
}

static int cancels_and_goes_on(void *user) {
    const struct asked *asked = user;
    if (guest_has_begun(asked->lab))
        husk_cancel_now(asked->cancel);
    return 0;
}

TEST(the_function_may_end_the_call_by_other_means) {
    SKIP_WITHOUT_COMPILER();
    for (int row = 0; row < 2 * ENDLESS; row++) {
        struct lab lab;
        struct asked asked = {.lab = &lab};
        int32_t result;
        lab_open(&lab);
        struct husk_limits limits = limits_asking(&asked, tick_ns());
        CHECK_OK(husk_cancel_new(&limits.cancel, &lab.wat.err), lab.wat.err);
        limits.interrupted = row < ENDLESS ? interrupts_and_goes_on : cancels_and_goes_on;
        asked.cancel = limits.cancel;
        CHECK_OK(lab_call(&lab, endless[row % ENDLESS], LONG_MS, &limits, &result), lab.wat.err);
        check_interrupted(&lab);
        husk_cancel_unref(limits.cancel);
        lab_close(&lab);
    }
}

TEST(a_sandbox_is_as_before_after_a_restore) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct asked asked = {.lab = &lab, .ends_after = 1, .answer = -1};
    int32_t result;
    lab_open(&lab);
    const struct husk_limits limits = limits_asking(&asked, tick_ns());
    for (int i = 0; i < 3; i++) {
        asked.count = 0;
        CHECK_OK(lab_call(&lab, "spin", 0, &limits, &result), lab.wat.err);
        check_interrupted(&lab);
        CHECK_STATUS(lab_call(&lab, "double", 4, &limits, &result), HUSK_E_POISONED);
        CHECK_OK(husk_sandbox_restore(lab.wat.sandbox, lab.wat.image, &lab.wat.err), lab.wat.err);
        CHECK_OK(lab_call(&lab, "double", 4, &limits, &result), lab.wat.err);
        CHECK_EQ_I64(result, 8);
    }
    CHECK(asked.count >= 1);
    lab_close(&lab);
}

/* ---- What the function may not do ---- */

static int calls_and_goes_on(void *user) {
    struct asked *asked = user;
    struct husk_value arg = value_i32(1), result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    if (!guest_has_begun(asked->lab))
        return 0;
    asked->calls_status = husk_call(asked->lab->wat.sandbox,
                                    CALL(.name = "double", .args = &arg, .args_count = 1,
                                         .results = &result, .results_count = 1),
                                    &outcome, &err);
    CHECK_EQ_I64(husk_sandbox_restore(asked->lab->wat.sandbox, asked->lab->wat.image, &err),
                 HUSK_E_STATE);
    asked->count++;
    return asked->count == 3 ? -1 : 0;
}

TEST(the_function_cannot_call_the_sandbox) {
    SKIP_WITHOUT_COMPILER();
    for (int row = 0; row < ENDLESS; row++) {
        struct lab lab;
        struct asked asked = {.lab = &lab};
        int32_t result;
        lab_open(&lab);
        struct husk_limits limits = limits_asking(&asked, tick_ns());
        limits.interrupted = calls_and_goes_on;
        CHECK_OK(lab_call(&lab, endless[row], LONG_MS, &limits, &result), lab.wat.err);
        check_interrupted(&lab);
        CHECK_EQ_I64(asked.calls_status, HUSK_E_STATE);
        CHECK_EQ_I64(asked.count, 3);
        lab_close(&lab);
    }
}

/* ---- Host functions, calls inside calls ---- */

static int cut_sleeps;

static void sleep_uninterrupted(struct lab *lab, husk_sandbox *sandbox) {
    struct timespec time = {.tv_nsec = (long)(tick_ns() > MS ? 300 * MS : 30 * MS)};
    (void)lab;
    (void)sandbox;
    cut_sleeps += nanosleep(&time, NULL) != 0;
}

/* A kick that is on its way when the host function begins may still arrive. */
TEST(host_functions_are_not_interrupted_by_the_period) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    int32_t result;
    int asked_count = 0;
    lab_open(&lab);
    lab.hook = sleep_uninterrupted;
    cut_sleeps = 0;
    for (int i = 0; i < 10; i++) {
        struct asked asked = {0};
        const struct husk_limits limits = limits_asking(&asked, tick_ns());
        CHECK_OK(lab_call(&lab, "ask", 4, &limits, &result), lab.wat.err);
        CHECK_EQ_I64(result, 41);
        CHECK(asked.count <= 3); /* after it, not in it */
        asked_count += asked.count;
    }
    CHECK(cut_sleeps <= 1 && asked_count >= 1);
    lab_close(&lab);
}

struct nesting {
    struct asked outer, inner;
    bool has_limits, calls_many; /* of the call inside */
    int status;
    struct husk_outcome outcome;
};

static struct nesting nesting;

static void nest(struct lab *lab, husk_sandbox *sandbox) {
    const struct husk_limits limits = limits_asking(&nesting.inner, tick_ns());
    struct husk_value arg = value_i32(1), result;
    (void)lab;
    nesting.outcome.size = sizeof nesting.outcome;
    nesting.status =
        husk_call(sandbox,
                  CALL(.name = "spin", .args = &arg, .args_count = 1, .results = &result,
                       .results_count = 1, .limits = nesting.has_limits ? &limits : NULL),
                  &nesting.outcome, &lab->wat.err);
}

/* rows: the outer function says no while a call without limits runs inside; the outer one, after
 * the inner one said yes; the inner one. */
TEST(calls_inside_calls_ask_both) {
    SKIP_WITHOUT_COMPILER();
    for (int row = 0; row < 3; row++) {
        struct lab lab;
        int32_t result;
        lab_open(&lab);
        nesting = (struct nesting){.has_limits = row > 0};
        nesting.outer.answer = nesting.inner.answer = -1;
        nesting.outer.lab = nesting.inner.lab = &lab;
        nesting.outer.inner = &nesting.inner;
        *(row < 2 ? &nesting.outer.ends_after : &nesting.inner.ends_after) = 3;
        lab.hook = nest;
        const struct husk_limits limits = limits_asking(&nesting.outer, tick_ns());
        CHECK_OK(lab_call(&lab, "ask", 4, &limits, &result), lab.wat.err);
        CHECK_EQ_I64(nesting.status, 0);
        CHECK_EQ_U64(nesting.outcome.kind, HUSK_INTERRUPTED);
        check_interrupted(&lab);
        CHECK_EQ_I64(nesting.outer.count, row < 2 ? 3 : 2);
        CHECK_EQ_I64(nesting.outer.inner_seen, row == 0 ? 0 : nesting.outer.count);
        lab_close(&lab);
    }
}

static void call_often(struct lab *lab, husk_sandbox *sandbox) {
    enum { CALLS = 2000 };
    static struct husk_value args[CALLS], results[CALLS];
    const struct husk_limits limits = limits_asking(&nesting.inner, 5 * MS);
    struct husk_many many = HUSK_MANY_INIT;
    for (int i = 0; i < CALLS; i++)
        args[i] = value_i32(i);
    many.count = CALLS;
    nesting.outcome.size = sizeof nesting.outcome;
    nesting.status =
        husk_call_many(sandbox,
                       CALL(.name = "double", .args = args, .args_count = CALLS, .results = results,
                            .results_count = CALLS, .limits = &limits),
                       &many, &nesting.outcome, &lab->wat.err);
    CHECK_EQ_U64(many.returned, CALLS);
    CHECK_EQ_I64(results[CALLS - 1].of.i32, 2 * (CALLS - 1));
}

/* A husk_call_many() inside another one enters the guest for each call. Each of them is far shorter
 * than the period, which is that of all together. */
TEST(many_short_calls_have_one_period) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct husk_value arg = value_i32(4), result = value_i32(0);
    struct husk_many many = HUSK_MANY_INIT;
    lab_open(&lab);
    nesting = (struct nesting){0};
    lab.hook = call_often;
    many.count = 1;
    CHECK_OK(husk_call_many(lab.wat.sandbox,
                            CALL(.name = "ask", .args = &arg, .args_count = 1, .results = &result,
                                 .results_count = 1),
                            &many, &lab.wat.outcome, &lab.wat.err),
             lab.wat.err);
    CHECK_EQ_I64(nesting.status, 0);
    CHECK_EQ_U64(nesting.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i32, 41);
    CHECK_MSG(nesting.inner.count >= 1, "asked %d times", nesting.inner.count);
    lab_close(&lab);
}

/* ---- Pending calls ---- */

TEST(a_pending_call_keeps_its_function) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct asked asked = {.answer = -1};
    int32_t result;
    lab_open(&lab);
    const struct husk_limits limits = limits_asking(&asked, tick_ns());
    CHECK_OK(lab_call(&lab, "ask", 4, &limits, &result), lab.wat.err);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_PENDING);
    const int before = asked.count;
    usleep((useconds_t)(20 * tick_ns() / 1000));
    CHECK_EQ_I64(asked.count, before); /* nobody runs */
    asked.lab = &lab;
    asked.ends_after = before + 3;
    CHECK_OK(lab_call(&lab, "spin", 0, NULL, &result), lab.wat.err); /* inside it */
    check_interrupted(&lab);
    CHECK_EQ_I64(asked.count, before + 3);
    CHECK_OK(lab_resume(&lab, &result), lab.wat.err);
    check_interrupted(&lab);
    lab_close(&lab);
}

static void *resume_elsewhere(void *user) {
    struct lab *lab = user;
    int32_t result;
    CHECK_OK(lab_resume(lab, &result), lab->wat.err);
    CHECK_EQ_I64(result, 2);
    return NULL;
}

TEST(who_resumes_is_asked) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct asked asked = {0};
    pthread_t other;
    int32_t result;
    lab_open(&lab);
    const struct husk_limits limits = limits_asking(&asked, tick_ns());
    CHECK_OK(lab_call(&lab, "ask", 4, &limits, &result), lab.wat.err);
    asked.count = 0; /* this thread was asked, if it was slow */
    usleep(5000);    /* the period passes, so the resumed call asks at once or a little later */
    CHECK_EQ_I64(pthread_create(&other, NULL, resume_elsewhere, &lab), 0);
    pthread_join(other, NULL);
    CHECK_EQ_U64(lab.wat.outcome.kind, HUSK_RETURNED);
    CHECK(asked.count == 0 || pthread_equal(asked.thread, other));
    lab_close(&lab);
}

/* ---- Odd options ---- */

TEST(a_period_without_a_function_is_nothing) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    int32_t plain, result;
    lab_open(&lab);
    CHECK_OK(lab_call(&lab, "mix", 1000000, NULL, &plain), lab.wat.err);
    limits.interrupted_ns = 1;
    limits.interrupted_user = &lab;
    CHECK_OK(lab_call(&lab, "mix", 1000000, &limits, &result), lab.wat.err);
    CHECK_EQ_I64(result, plain);
    struct asked asked = {0};
    limits = limits_asking(&asked, 1);
    CHECK_OK(lab_call(&lab, "mix", 1000000, &limits, &result), lab.wat.err);
    CHECK_EQ_I64(result, plain);
    limits.size = offsetof(struct husk_limits, interrupted_ns); /* an older program's */
    CHECK_OK(lab_call(&lab, "mix", 1000000, &limits, &result), lab.wat.err);
    limits.size = offsetof(struct husk_limits, interrupted_ns) + 1;
    CHECK_STATUS(lab_call(&lab, "mix", 1, &limits, &result), HUSK_E_INVAL);
    lab_close(&lab);
}

TEST_MAIN()
