/*
 * tests/kvm/calls/sandbox_test.c: sandboxes of a hand-made image (tests/support/guest_image.c) on
 * the real KVM: calls, host calls, nested calls, traps, growth, deadlines, interrupts. No compiler
 * is needed.
 */
#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "last_backtrace.h"
#include "literals.h"

static int host_times_two(husk_caller *caller, void *user, const struct husk_value *args,
                          struct husk_value *results) {
    (void)caller;
    (*(int *)user)++;
    results[0].of.i64 = args[0].of.i64 * 2;
    return 0;
}

static int host_nested(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)user;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    struct husk_value sum, add[2] = {{.type = HUSK_I32, .of.i32 = 40},
                                     {.type = HUSK_I32, .of.i32 = (int32_t)args[0].of.i64}};
    for (int i = 0; i < 2; i++) {
        int status = husk_call(
            husk_caller_sandbox(caller),
            CALL(.name = "add", .args = add, .args_count = 2, .results = &sum, .results_count = 1),
            &outcome, &err);
        if (status != 0)
            return husk_caller_fail(caller, "nested: %s", err.message);
        add[0].of.i32 = sum.of.i32;
    }
    results[0].of.i64 = sum.of.i32;
    return 0;
}

static int host_fails(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user, (void)results;
    if (args[0].of.i64 == 0)
        return HUSK_E_SYS;
    if (args[0].of.i64 == 1)
        return husk_caller_exit(caller, 42);
    return husk_caller_fail(caller, "no luck with %d", (int)args[0].of.i64);
}

struct rig {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    int calls;
};

static void rig_open(struct rig *rig, husk_host_fn fn, const struct husk_sandbox_options *options) {
    struct husk_error err;
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    memset(rig, 0, sizeof *rig);
    CHECK_OK(husk_engine_new(NULL, &rig->engine, &err), err);
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    CHECK_OK(husk_image_open_buffer(rig->engine, (struct husk_buffer){bytes, count}, NULL,
                                    &rig->image, &err),
             err);
    free(bytes);
    CHECK_OK(husk_imports_new(rig->engine, &rig->imports, &err), err);
    CHECK_OK(husk_imports_funcs(
                 rig->imports,
                 &(struct husk_host_func){
                     .module = "env", .name = "host", .type = &type, .fn = fn, .user = &rig->calls},
                 1, &err),
             err);
    CHECK_OK(husk_sandbox_new(rig->image, rig->imports, options, &rig->sandbox, &err), err);
}

static void rig_close(struct rig *rig) {
    husk_engine_unref(rig->engine);
    husk_image_unref(rig->image);
    husk_imports_free(rig->imports);
    husk_sandbox_free(rig->sandbox);
}

static int64_t call_i64(struct rig *rig, const char *name, int64_t argument,
                        struct husk_outcome *outcome) {
    struct husk_error err;
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = argument}, result = {.of.i64 = -999};
    CHECK_OK(husk_call(rig->sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       outcome, &err),
             err);
    return result.of.i64;
}

static void call_void(struct rig *rig, const char *name, const struct husk_limits *options,
                      struct husk_outcome *outcome) {
    struct husk_error err;
    CHECK_OK(husk_call(rig->sandbox, CALL(.name = name, .limits = options), outcome, &err), err);
}

TEST(adds) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    rig_open(&rig, host_times_two, NULL);
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = 30},
                                 {.type = HUSK_I32, .of.i32 = 12}},
                      sum;
    for (int i = 0; i < 100; i++) {
        args[0].of.i32 = i;
        CHECK_OK(husk_call(rig.sandbox,
                           CALL(.name = "add", .args = args, .args_count = 2, .results = &sum,
                                .results_count = 1),
                           &outcome, &err),
                 err);
        CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
        CHECK_EQ_U64(sum.type, HUSK_I32);
        CHECK_EQ_I64(sum.of.i32, i + 12);
    }
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(rig.engine, &stats);
    CHECK_EQ_U64(stats.calls, 100);
    CHECK_EQ_U64(stats.sandboxes_made, 1);
    rig_close(&rig);
}

TEST(calls_host_functions) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    rig_open(&rig, host_times_two, NULL);
    CHECK_EQ_I64(call_i64(&rig, "host", 20, &outcome), 41);
    CHECK_EQ_I64(call_i64(&rig, "host", -1, &outcome), -1);
    CHECK_EQ_U64(rig.calls, 2);
    rig_close(&rig);
}

TEST(host_functions_call_back) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    rig_open(&rig, host_nested, NULL);
    CHECK_EQ_I64(call_i64(&rig, "host", 1, &outcome), 43);
    CHECK_EQ_I64(call_i64(&rig, "host", 2, &outcome), 45);
    rig_close(&rig);
}

TEST(host_functions_fail_and_exit) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    rig_open(&rig, host_fails, NULL);
    call_i64(&rig, "host", 0, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(outcome.message, "env.host");
    struct husk_backtrace backtrace = last_backtrace(rig.sandbox);
    CHECK_EQ_U64(backtrace.frames_count, 1);
    CHECK_STR(backtrace.frames[0].func_name, "host");
    call_i64(&rig, "host", 1, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_EXITED);
    CHECK_EQ_I64(outcome.exit_code, 42);
    call_i64(&rig, "host", 5, &outcome);
    CHECK_STR(outcome.message, "no luck with 5");
    CHECK(!outcome.is_poisoned);
    rig_close(&rig);
}

TEST(traps_leave_the_sandbox_usable) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    rig_open(&rig, host_times_two, NULL);
    for (int i = 0; i < 3; i++) {
        call_void(&rig, "trap", NULL, &outcome);
        CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_U64(outcome.trap, HUSK_TRAP_INTEGER_OVERFLOW);
        CHECK_STR(outcome.message, "integer overflow");
        struct husk_backtrace backtrace = last_backtrace(rig.sandbox);
        CHECK_EQ_U64(backtrace.frames_count, 1);
        CHECK_STR(backtrace.frames[0].func_name, "trap");
        call_void(&rig, "recurse", NULL, &outcome);
        CHECK_EQ_U64(outcome.trap, HUSK_TRAP_CALL_STACK_EXHAUSTED);
        backtrace = last_backtrace(rig.sandbox);
        CHECK_EQ_U64(backtrace.frames_count, 1); /* it is one function that calls itself */
        CHECK_EQ_U64(backtrace.frames[0].repeats + 1, backtrace.frames_total);
        /* 1 MiB of 32-byte frames */
        CHECK(backtrace.frames_total > 30000 && backtrace.frames_total < 33000);
        CHECK_EQ_I64(call_i64(&rig, "read", 0, &outcome), 0x7266206f6c6c6568); /* "hello fr" */
        call_i64(&rig, "read", 65536 - 7, &outcome);
        CHECK_EQ_U64(outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        CHECK_CONTAINS(outcome.message, "out of bounds memory access");
        call_i64(&rig, "read", 0x1ffffffffll, &outcome);
        CHECK_EQ_U64(outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    }
    rig_close(&rig);
}

TEST(grows_memory) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    rig_open(&rig, host_times_two, NULL);
    call_i64(&rig, "read", 65536, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_I64(call_i64(&rig, "grow", 0, &outcome), 1);
    CHECK_EQ_I64(call_i64(&rig, "grow", 3, &outcome), -1);
    CHECK_EQ_I64(call_i64(&rig, "grow", 1, &outcome), 1);
    CHECK_EQ_U64(husk_memory_bytes(rig.sandbox, 0), 2 * 65536);
    CHECK_EQ_I64(call_i64(&rig, "read", 65536, &outcome), 0);
    CHECK_EQ_I64(call_i64(&rig, "grow", 1, &outcome), 2);
    CHECK_EQ_I64(call_i64(&rig, "grow", 1, &outcome), -1);
    CHECK_EQ_I64(call_i64(&rig, "read", 3 * 65536 - 8, &outcome), 0);
    call_i64(&rig, "read", 3 * 65536, &outcome);
    CHECK_EQ_U64(outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    rig_close(&rig);
}

TEST(violations_poison) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    rig_open(&rig, host_times_two, NULL);
    call_void(&rig, "bad_port", NULL, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_GUEST_VIOLATION);
    CHECK(outcome.is_poisoned);
    CHECK_STATUS(husk_call(rig.sandbox, CALL(.name = "trap"), &outcome, &err), HUSK_E_POISONED);
    rig_close(&rig);
}

TEST(deadlines) {
    SKIP_WITHOUT_KVM();
    for (int cpu = 0; cpu < 2; cpu++) {
        struct rig rig;
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        rig_open(&rig, host_times_two, NULL);
        struct husk_limits options = HUSK_LIMITS_INIT;
        *(cpu != 0 ? &options.cpu_ns : &options.wall_ns) =
            300000000; /* an emulated CPU needs a while to get there */
        call_void(&rig, "spin", &options, &outcome);
        CHECK_EQ_U64(outcome.kind, HUSK_DEADLINE);
        CHECK(outcome.is_poisoned);
        CHECK_STR(last_backtrace(rig.sandbox).frames[0].func_name, "spin");
        rig_close(&rig);
    }
}

TEST(interrupts_are_sticky) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    rig_open(&rig, host_times_two, NULL);
    husk_interrupt(rig.sandbox);
    call_void(&rig, "spin", NULL, &outcome);
    CHECK_EQ_U64(outcome.kind, HUSK_INTERRUPTED);
    CHECK(!outcome.is_poisoned);
    CHECK_EQ_I64(call_i64(&rig, "host", 20, &outcome), 41);
    rig_close(&rig);
}

TEST(globals) {
    SKIP_WITHOUT_KVM();
    struct rig rig;
    struct husk_error err;
    rig_open(&rig, host_times_two, NULL);
    struct husk_value value;
    CHECK_OK(husk_global_get(rig.sandbox, "g", 0, &value, &err), err);
    CHECK_EQ_I64(value.of.i64, 7);
    value.of.i64 = 8;
    CHECK_OK(husk_global_set(rig.sandbox, "g", 0, &value, &err), err);
    CHECK_OK(husk_global_get(rig.sandbox, "g", 0, &value, &err), err);
    CHECK_EQ_I64(value.of.i64, 8);
    value.type = HUSK_I32;
    CHECK_STATUS(husk_global_set(rig.sandbox, "g", 0, &value, &err), HUSK_E_TYPE);
    CHECK_STATUS(husk_global_get(rig.sandbox, "nix", 0, &value, &err), HUSK_E_NOT_FOUND);
    rig_close(&rig);
}

TEST_MAIN()
