/*
 * tests/kvm/calls/usage_test.c: limits in outcomes: the limit that ended the call, and the amount
 * that the call used.
 */
#include <string.h>
#include <time.h>

#include "clock.h"
#include "literals.h"
#include "wat.h"

#define MS 1000000ull

/* "f" calls the host function, which calls "spin" or sleeps; "count" works for a while. */
#define USAGE_WAT                                                                                  \
    "(module (import \"env\" \"host\" (func $host)) (func (export \"spin\") (loop br 0))"          \
    "(func (export \"f\") call $host) (func (export \"nothing\"))"                                 \
    "(func (export \"count\") (param i32) (result i32) (local $i i32)"                             \
    "(loop (local.set $i (i32.add (i32.mul (local.get $i) (i32.const 3)) (local.get 0)))"          \
    "(br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get $i)))"

static struct husk_limits limits(uint64_t wall_ns, uint64_t cpu_ns, bool measure) {
    struct husk_limits made = HUSK_LIMITS_INIT;
    made.wall_ns = wall_ns;
    made.cpu_ns = cpu_ns;
    made.measure = measure;
    return made;
}

/* Call "spin" with the given limits. */
static int host_spin(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    (void)args, (void)results;
    return husk_call(husk_caller_sandbox(caller), CALL(.name = "spin", .limits = user), &outcome,
                     NULL);
}

static int host_sleep(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    const struct timespec pause = {.tv_nsec = 30 * (long)MS};
    (void)caller, (void)user, (void)args, (void)results;
    nanosleep(&pause, NULL);
    return 0;
}

static void lab_open(struct wat_lab *lab, const char *wat, husk_host_fn fn, void *user) {
    wat_lab_init(lab);
    wat_lab_func(lab, "host", ">", fn, user);
    wat_lab_open(lab, wat, NULL);
}

static void run(struct wat_lab *lab, const char *name, const struct husk_limits *options) {
    CHECK_OK(
        husk_call(lab->sandbox, CALL(.name = name, .limits = options), &lab->outcome, &lab->err),
        lab->err);
}

static void check_limit(struct husk_limits options, enum husk_limit_kind limit) {
    struct wat_lab lab;
    lab_open(&lab, USAGE_WAT, host_sleep, NULL);
    run(&lab, "spin", &options);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK_EQ_I64(lab.outcome.limit, limit);
    if (options.wall_ns != 0 && limit == HUSK_LIMIT_WALL)
        CHECK(lab.outcome.wall_ns >= options.wall_ns);
    if (limit == HUSK_LIMIT_CPU)
        CHECK(lab.outcome.cpu_ns >= options.cpu_ns);
    CHECK_EQ_I64(lab.outcome.wall_ns != 0, options.wall_ns != 0);
    CHECK_EQ_I64(lab.outcome.cpu_ns != 0, options.cpu_ns != 0);
    wat_lab_close(&lab);
}

TEST(a_deadline_says_which_limit) {
    SKIP_WITHOUT_COMPILER();
    check_limit(limits(20 * MS, 0, false), HUSK_LIMIT_WALL);
    check_limit(limits(0, 20 * MS, false), HUSK_LIMIT_CPU);
    check_limit(limits(3600000 * MS, 20 * MS, false), HUSK_LIMIT_CPU);
    check_limit(limits(20 * MS, 3600000 * MS, false), HUSK_LIMIT_WALL);
    check_limit(limits(1, 0, false), HUSK_LIMIT_WALL); /* it may pass before the guest runs */
}

/* The limit of the inner call ends the outer call, and the other way round. */
TEST(calls_around_and_inside_say_the_same) {
    SKIP_WITHOUT_COMPILER();
    for (int is_outer = 0; is_outer < 2; is_outer++) {
        for (int is_cpu = 0; is_cpu < 2; is_cpu++) {
            struct wat_lab lab;
            struct husk_limits limit = limits(is_cpu ? 0 : 20 * MS, is_cpu ? 20 * MS : 0, false);
            struct husk_limits none = HUSK_LIMITS_INIT;
            lab_open(&lab, USAGE_WAT, host_spin, is_outer ? &none : &limit);
            run(&lab, "f", is_outer ? &limit : &none);
            CHECK_EQ_I64(lab.outcome.kind, HUSK_DEADLINE);
            CHECK_EQ_I64(lab.outcome.limit, is_cpu ? HUSK_LIMIT_CPU : HUSK_LIMIT_WALL);
            CHECK_CONTAINS(lab.outcome.message,
                           is_cpu ? "CPU limit of 20 ms" : "wall limit of 20 ms");
            /* the next call has nothing left of that */
            CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
            husk_interrupt(lab.sandbox);
            run(&lab, "f", NULL);
            CHECK_EQ_I64(lab.outcome.kind, HUSK_INTERRUPTED);
            CHECK_EQ_I64(lab.outcome.limit, HUSK_LIMIT_NONE);
            wat_lab_close(&lab);
        }
    }
}

static int host_is_interrupted(husk_caller *caller, void *user, const struct husk_value *args,
                               struct husk_value *results) {
    struct husk_limits none = HUSK_LIMITS_INIT;
    (void)user;
    husk_interrupt(husk_caller_sandbox(caller));
    return host_spin(caller, &none, args, results);
}

TEST(an_interrupt_is_no_limit) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_limits options = limits(3600000 * MS, 3600000 * MS, false);
    lab_open(&lab, USAGE_WAT, host_is_interrupted, NULL);
    run(&lab, "f", &options);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK_EQ_I64(lab.outcome.limit, HUSK_LIMIT_NONE);
    wat_lab_close(&lab);
}

TEST(what_is_not_asked_for_is_not_measured) {
    SKIP_WITHOUT_COMPILER();
    static const struct {
        uint64_t wall_ns, cpu_ns;
        bool measure, has_wall, has_cpu;
    } rows[] = {{0, 0, false, false, false},
                {1000000 * MS, 0, false, true, false},
                {0, 1000000 * MS, false, false, true},
                {1000000 * MS, 1000000 * MS, false, true, true},
                {0, 0, true, true, true},
                {1000000 * MS, 0, true, true, true}};
    struct wat_lab lab;
    lab_open(&lab, USAGE_WAT, host_sleep, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct husk_limits options = limits(rows[i].wall_ns, rows[i].cpu_ns, rows[i].measure);
        run(&lab, "f", &options);
        CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(lab.outcome.limit, HUSK_LIMIT_NONE);
        CHECK_EQ_I64(lab.outcome.wall_ns >= 30 * MS, rows[i].has_wall);
        CHECK_EQ_I64(lab.outcome.wall_ns == 0, !rows[i].has_wall);
        CHECK_EQ_I64(lab.outcome.cpu_ns == 0, !rows[i].has_cpu);
    }
    run(&lab, "f", NULL);
    CHECK_EQ_U64(lab.outcome.wall_ns | lab.outcome.cpu_ns, 0);
    wat_lab_close(&lab);
}

TEST(usage_is_what_the_clocks_say) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_limits options = limits(0, 0, true);
    struct husk_value arg = value_i32(20000000), result;
    lab_open(&lab, USAGE_WAT, host_sleep, NULL);
    run(&lab, "nothing", NULL);
    const uint64_t wall_ns = clock_ns(CLOCK_MONOTONIC);
    const uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "count", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &options),
                       &lab.outcome, &lab.err),
             lab.err);
    const uint64_t wall_took = clock_ns(CLOCK_MONOTONIC) - wall_ns;
    const uint64_t cpu_took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    CHECK(lab.outcome.wall_ns > MS && lab.outcome.wall_ns <= wall_took);
    CHECK(lab.outcome.cpu_ns > MS && lab.outcome.cpu_ns <= cpu_took);
    /* sleeping takes time, and no CPU */
    run(&lab, "f", &options);
    CHECK(lab.outcome.wall_ns >= 30 * MS && lab.outcome.cpu_ns < 20 * MS);
    wat_lab_close(&lab);
}

/* The first call runs the start function, which sleeps here. */
TEST(initialisation_counts) {
    SKIP_WITHOUT_COMPILER();
    const struct husk_limits options = limits(0, 0, true);
    for (int is_start = 0; is_start < 2; is_start++) {
        struct wat_lab lab;
        lab_open(&lab,
                 "(module (import \"env\" \"host\" (func $host)) (start $host)"
                 "(func (export \"nothing\")))",
                 host_sleep, NULL);
        if (is_start)
            CHECK_OK(husk_sandbox_start(lab.sandbox, &options, &lab.outcome, &lab.err), lab.err);
        else
            run(&lab, "nothing", &options);
        CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
        CHECK(lab.outcome.wall_ns >= 30 * MS && lab.outcome.cpu_ns != 0);
        run(&lab, "nothing", &options);
        CHECK(lab.outcome.wall_ns < 30 * MS);
        wat_lab_close(&lab);
    }
}

/* Outcomes of programs that were built against the first version and against a later version. */
TEST(outcomes_of_other_sizes) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    const struct husk_limits options = limits(0, 0, true);
    struct {
        struct husk_outcome outcome;
        uint64_t later[2];
    } newer;
    lab_open(&lab, USAGE_WAT, host_sleep, NULL);
    for (size_t size = sizeof size; size <= sizeof newer; size += 8) {
        memset(&newer, 0x55, sizeof newer);
        newer.outcome.size = size;
        CHECK_OK(husk_call(lab.sandbox, CALL(.name = "nothing", .limits = &options), &newer.outcome,
                           &lab.err),
                 lab.err);
        CHECK_EQ_U64(newer.outcome.size, size);
        const uint8_t *bytes = (const uint8_t *)&newer;
        for (size_t i = size; i < sizeof newer; i++)
            CHECK(bytes[i] == 0x55);
        if (size == sizeof newer)
            CHECK_EQ_U64(newer.later[0] | newer.later[1], 0);
    }
    wat_lab_close(&lab);
}

TEST_MAIN()
