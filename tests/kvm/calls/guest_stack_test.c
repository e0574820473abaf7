/*
 * tests/kvm/calls/guest_stack_test.c: a guest's own stack pointer is an ordinary global. So a call
 * that does not return never gives its stack space back (husk.h, struct husk_outcome). A restore
 * does.
 */

#include "wat.h"

/* As clang makes it: 64 KiB of stack, frames of 4 KiB. */
static const char *const wat =
    "(module (import \"env\" \"fail\" (func $fail)) (import \"env\" \"leave\" (func $leave)) "
    "(memory 1)"
    " (global $sp (export \"sp\") (mut i32) (i32.const 65536))"
    " (func $enter (result i32)"
    "  (global.set $sp (i32.sub (global.get $sp) (i32.const 4096))) (global.get $sp))"
    " (func $frame (param $how i32) (local $sp i32)"
    "  (local.set $sp (call $enter))"
    "  (i32.store (local.get $sp) (local.get $how))"
    "  (if (i32.eq (local.get $how) (i32.const 1)) (then (call $fail)))"
    "  (if (i32.eq (local.get $how) (i32.const 2)) (then (call $leave)))"
    "  (if (i32.eq (local.get $how) (i32.const 3)) (then unreachable))"
    "  (global.set $sp (i32.add (local.get $sp) (i32.const 4096))))"
    " (func (export \"call\") (param i32) (result i32) (call $frame (local.get 0)) (i32.const 7)))";

static void call(struct wat_lab *lab, int how) {
    struct husk_value arg = value_i32(how), result;
    CHECK_OK(wat_call(lab, "call", &arg, 1, &result, 1), lab->err);
}

static bool ended_as_wanted(const struct wat_lab *lab, int how) {
    static const enum husk_trap traps[] = {
        [1] = HUSK_TRAP_HOST_FUNCTION, [3] = HUSK_TRAP_UNREACHABLE};
    if (how == 2)
        return lab->outcome.kind == HUSK_EXITED;
    return lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == traps[how];
}

static int32_t stack_pointer(struct wat_lab *lab) {
    struct husk_value value;
    CHECK_OK(husk_global_get(lab->sandbox, "sp", 0, &value, &lab->err), lab->err);
    return value.of.i32;
}

TEST(a_restore_gives_it_back) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "fail", ">", wat_host_fail, NULL);
    wat_lab_func(&lab, "leave", ">", wat_host_leave, NULL);
    wat_lab_open(&lab, wat, NULL);
    for (int how = 1; how <= 3; how++) {
        for (int i = 0; i < 16; i++) {
            call(&lab, how);
            CHECK(ended_as_wanted(&lab, how));
            CHECK(lab.outcome.state_is_exact);
            CHECK_EQ_I64(stack_pointer(&lab), 65536 - 4096 * (i + 1));
        }
        call(&lab, how); /* the stack is used up: this one writes below address 0 */
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        for (int i = 0; i < 40; i++) {
            CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
            CHECK_EQ_I64(stack_pointer(&lab), 65536);
            call(&lab, how);
            CHECK(ended_as_wanted(&lab, how));
        }
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    CHECK_EQ_I64(wat_call_i32(&lab, "call", 0), 7);
    wat_lab_close(&lab);
}

TEST_MAIN()
