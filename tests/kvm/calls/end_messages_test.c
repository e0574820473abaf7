/*
 * tests/kvm/calls/end_messages_test.c: the messages about the end of a call: the limit and its
 * value, and the meaning of an address near 4 GiB.
 */
#include <string.h>

#include "wat.h"
#include "literals.h"

#define SPIN "(module (func (export \"spin\") (loop br 0)) (func (export \"f\")))"

static void check_limit(uint64_t wall_ns, uint64_t cpu_ns, const char *expected) {
    struct wat_lab lab;
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = wall_ns;
    options.cpu_ns = cpu_ns;
    wat_lab_init(&lab);
    wat_lab_open(&lab, SPIN, NULL);
    CHECK_OK(
        husk_call(lab.sandbox, CALL(.name = "spin", .limits = &options), &lab.outcome, &lab.err),
        lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    /* on a slow machine the limit may pass before the guest runs, and the message says that in
     * between */
    CHECK_CONTAINS(lab.outcome.message, "the call's time limit was reached");
    CHECK_CONTAINS(lab.outcome.message, expected);
    wat_lab_close(&lab);
}

TEST(a_deadline_says_which_limit_and_how_much) {
    SKIP_WITHOUT_COMPILER();
    check_limit(30000000, 0, ": wall limit of 30 ms");
    check_limit(1500000, 0, ": wall limit of 1.5 ms");
    check_limit(0, 20000000, ": CPU limit of 20 ms");
    check_limit(3600000000000, 20000000, ": CPU limit of 20 ms");
    check_limit(50000000, 1000000000000, ": wall limit of 50 ms");
}

TEST(a_limit_that_passed_before_the_guest_ran_is_named_too) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = 1;
    wat_lab_init(&lab);
    wat_lab_open(&lab, SPIN, NULL);
    CHECK_OK(
        husk_call(lab.sandbox, CALL(.name = "spin", .limits = &options), &lab.outcome, &lab.err),
        lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK_CONTAINS(lab.outcome.message, ": wall limit of 1 ns");
    wat_lab_close(&lab);
}

/* Calls the guest's "spin" with a limit of its own. */
static int host_spin(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    (void)user;
    (void)args;
    (void)results;
    options.wall_ns = 20000000;
    return husk_call(husk_caller_sandbox(caller), CALL(.name = "spin", .limits = &options),
                     &outcome, NULL);
}

TEST(the_calls_around_one_that_is_cut_off_name_its_limit) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "again", ">", host_spin, NULL);
    wat_lab_open(
        &lab,
        "(module (import \"env\" \"again\" (func $again)) (func (export \"spin\") (loop br 0))"
        "(func (export \"f\") call $again))",
        NULL);
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = "f"), &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK_STR(lab.outcome.message,
              "a call made by a host function was cut off: wall limit of 20 ms");
    wat_lab_close(&lab);
}

TEST(bytes_in_pieces_name_the_limit_of_the_whole) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    options.wall_ns = 40000000;
    call.name = "f";
    call.limits = &options;
    wat_lab_init(&lab);
    wat_lab_open(
        &lab,
        "(module (memory (export \"memory\") 1) (func (export \"malloc\") (param i32) (result i32) "
        "i32.const 8) (func (export \"free\") (param i32))"
        "(func (export \"f\") (param i32 i32) (result i64) (loop br 0) i64.const 0))",
        NULL);
    CHECK_OK(husk_call_bytes(lab.sandbox, &call, &bytes, &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK_CONTAINS(lab.outcome.message, "wall limit of 40 ms");
    wat_lab_close(&lab);
}

/* A stack as C compilers make it: grows down from a global; the array is written from its low
 * end. */
#define STACK                                                                                      \
    "(module (memory (export \"memory\") 1) (global $sp (mut i32) (i32.const 4096))"               \
    "(func (export \"store\") (param i32) (result i32) (global.set $sp (i32.sub (global.get $sp) " \
    "(local.get 0)))"                                                                              \
    "(i32.store offset=16 (global.get $sp) (i32.const 1)) (i32.load (global.get $sp)))"            \
    "(func $deep (export \"deep\") (param i32) (result i32) (global.set $sp (i32.sub (global.get " \
    "$sp) "                                                                                        \
    "(i32.const 512)))"                                                                            \
    "(i32.store (global.get $sp) (local.get 0)) (i32.add (i32.const 1) (call $deep (local.get "    \
    "0))))"                                                                                        \
    "(func (export \"load\") (param i32) (result i32) (i32.load (local.get 0))))"
#define STATELESS                                                                                  \
    "(module (memory 1) (func (export \"load\") (param i32) (result i32) (i32.load (local.get "    \
    "0))))"

static void check_hint(const char *wat, const char *name, int32_t argument, bool has_hint) {
    struct wat_lab lab;
    struct husk_value arg = value_i32(argument), result = value_i32(0);
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    CHECK_OK(wat_call(&lab, name, &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    CHECK_CONTAINS(lab.outcome.message, "out of bounds memory access: address 0x");
    CHECK_CONTAINS(lab.outcome.message, "; the memory has 65536 bytes");
    CHECK((strstr(lab.outcome.message, "stack-size=") != NULL) == has_hint);
    if (has_hint)
        CHECK_CONTAINS(lab.outcome.message, "at link time)"); /* whole */
    wat_lab_close(&lab);
}

TEST(an_address_below_4_gib_hints_at_the_guests_stack) {
    SKIP_WITHOUT_COMPILER();
    check_hint(STACK, "store", 4096 + 128, true);       /* just below */
    check_hint(STACK, "store", 4096 + 8, true);         /* the offset takes it just above */
    check_hint(STACK, "store", 4096 + (1 << 20), true); /* a large array */
    check_hint(STACK, "deep", 1, true);                 /* recursion */
    check_hint(STACK, "load", -16, true);
}

TEST(other_addresses_hint_at_nothing) {
    SKIP_WITHOUT_COMPILER();
    check_hint(STACK, "load", 65536, false);
    check_hint(STACK, "load", 1 << 30, false);
    check_hint(STACK, "load", INT32_MIN, false);
    check_hint(STATELESS, "load", -16, false); /* no global that could be a stack pointer */
}

TEST_MAIN()
