/*
 * tests/fake/entry_failure_test.c: scripted VMs that fail inside the entry page, that is, before
 * their guest runs. An earlier guest damaged the machine, or the machine broke. The call goes on in
 * another VM, or fails with an error of the library. The failed VM never returns to the pool, and
 * its guest is not blamed. A guest that jumps to the entry page is blamed.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest_image.h"
#include "harness.h"
#include "mailbox.h"
#include "ports.h"
#include "syspages_layout_x86_64.h"
#include "vm_fake.h"
#include "cpu_x86_64.h"
#include "literals.h"

static struct {
    struct vm_backend backend;
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    unsigned failing_vms; /* the first ones; each fails on every entry */
    enum vm_exit_kind how;
    bool fails_to_create, fails_to_attach;
    unsigned left_debugs;    /* debug exceptions that the machine still has for the next entries */
    unsigned made_vms;       /* the newest one is the one that runs */
    bool is_pending;         /* the host function */
    unsigned interrupted_vm; /* which of them is interrupted before it lets the guest go; 0: none */
    struct husk_outcome outcome;
} lab = {.outcome = HUSK_OUTCOME_INIT};
static struct husk_error err;

#define KEPT 0x1234567 /* in RBX, during the host call */

static bool fails(const char *what) {
    if (what[0] == 's')
        return lab.fails_to_attach;
    if (what[0] != 'c')
        return false;
    lab.made_vms += !lab.fails_to_create;
    return lab.fails_to_create;
}

static void fail_on_entry(struct vcpu *vcpu, struct vm_exit *ret_exit) {
    vcpu->regs.rip = SYS_ENTRY_GVA + 20;
    ret_exit->kind = lab.how;
    ret_exit->fault = (struct vm_fault){
        .kind = VM_FAULT_PAGE, .number = X86_VECTOR_PF, .code = 0x25 /* a protection key's */};
}

/* "add" adds, "host" calls the host, "trap" jumps to the entry page, where it faults. */
static void guest_script(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)user;
    struct husk_mailbox *mailbox = fake_virtual(vcpu->vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    if (lab.made_vms <= lab.failing_vms && vcpu->regs.rip == SYS_ENTRY_GVA) {
        fail_on_entry(vcpu, ret_exit);
        return;
    }
    if (lab.left_debugs > 0 && vcpu->regs.rip == SYS_ENTRY_GVA) {
        lab.left_debugs--;
        *ret_exit = (struct vm_exit){.kind = VM_EXIT_EXCEPTION,
                                     .fault = {.kind = VM_FAULT_DEBUG, .number = X86_VECTOR_DB}};
        return;
    }
    if (lab.made_vms == lab.interrupted_vm && vcpu->regs.rip == SYS_ENTRY_GVA) {
        husk_interrupt(lab.sandbox);
        ret_exit->kind = VM_EXIT_KICKED;
        return;
    }
    vcpu->regs.r10 = 0; /* the entry page does */
    ret_exit->port = HUSK_PORT_CALL_DONE;
    if (vcpu->regs.rdi == guest_gva(guest_trap)) {
        fail_on_entry(vcpu, ret_exit);
        return; /* it stands there, without the ticket */
    }
    if (vcpu->regs.rdi == guest_gva(guest_host) && vcpu->regs.rcx++ == 0) {
        mailbox->import_idx = 0;
        vcpu->regs.rsp = HUSK_STACK_TOP_GVA - 40;
        vcpu->regs.rbx = KEPT;
        ret_exit->port = HUSK_PORT_HOST_CALL;
    } else if (vcpu->regs.r11 == guest_gva(guest_resume)) { /* by the entry page */
        memcpy(mailbox->call_slots[0].bytes, &vcpu->regs.rbx, sizeof vcpu->regs.rbx);
    } else if (vcpu->regs.rdi == guest_gva(guest_add)) {
        int32_t sum = *(int32_t *)(void *)mailbox->call_slots[0].bytes +
                      *(int32_t *)(void *)mailbox->call_slots[1].bytes;
        *(int32_t *)(void *)mailbox->call_slots[0].bytes = sum;
    }
    vcpu->regs.rip = HUSK_TEXT_GVA;
}

static int add(void) {
    struct husk_value sum = {.type = HUSK_I32},
                      args[2] = {{.type = HUSK_I32, .of.i32 = 40}, {.type = HUSK_I32, .of.i32 = 2}};
    int status = husk_call(
        lab.sandbox,
        CALL(.name = "add", .args = args, .args_count = 2, .results = &sum, .results_count = 1),
        &lab.outcome, &err);
    if (status == 0 && lab.outcome.kind == HUSK_RETURNED)
        CHECK_EQ_I64(sum.of.i32, 42);
    return status;
}

static struct husk_stats stats(void) {
    struct husk_stats all = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &all);
    return all;
}

/* The VM that the sandbox has breaks while a host function runs. */
static int host_adds(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    (void)user, (void)args;
    if (lab.is_pending)
        return husk_caller_pending(caller);
    lab.failing_vms = 1;
    CHECK_OK(add(), err);
    CHECK(lab.outcome.kind == HUSK_RETURNED);
    results[0] = (struct husk_value){.type = HUSK_I64, .of.i64 = 7};
    return 0;
}

static void make_sandbox(void) {
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, NULL, &lab.sandbox, &err), err);
}

static void begin(unsigned failing_vms, enum vm_exit_kind how) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    lab.backend = (struct vm_backend){.guest = guest_script, .fails = fails};
    lab.failing_vms = failing_vms;
    lab.how = how;
    lab.fails_to_create = lab.fails_to_attach = lab.is_pending = false;
    lab.left_debugs = lab.made_vms = lab.interrupted_vm = 0;
    CHECK_OK(fake_engine_new(&lab.backend, &lab.engine, &err), err);
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    CHECK_OK(husk_image_open_buffer(lab.engine, (struct husk_buffer){bytes, count}, NULL,
                                    &lab.image, &err),
             err);
    free(bytes);
    CHECK_OK(husk_imports_new(lab.engine, &lab.imports, &err), err);
    CHECK_OK(
        husk_imports_funcs(lab.imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "host", .type = &type, .fn = host_adds},
                           1, &err),
        err);
    make_sandbox();
}

static void end(void) {
    CHECK_EQ_U64(stats().vms_made, stats().vms_freed + lab.backend.vms);
    husk_sandbox_free(lab.sandbox);
    husk_imports_free(lab.imports);
    husk_image_unref(lab.image);
    husk_engine_unref(lab.engine);
    CHECK_EQ_U64(lab.backend.vms, 0);
}

TEST(the_call_goes_on_in_another_vm) {
    for (int i = 0; i < 2; i++) {
        begin(1, i == 0 ? VM_EXIT_EXCEPTION : VM_EXIT_VIOLATION);
        CHECK_OK(add(), err);
        CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_U64(lab.backend.vms, 1);
        CHECK_EQ_U64(stats().vms_made, 2);
        CHECK_EQ_U64(stats().guest_violations, 0);
        CHECK_OK(add(), err);
        CHECK_EQ_U64(stats().vms_made, 2);
        husk_sandbox_free(lab.sandbox); /* the one that works is worth keeping */
        make_sandbox();
        CHECK_EQ_U64(stats().pool_hits, 1);
        CHECK_OK(add(), err);
        end();
    }
}

/* Taking it is all that it needs; one that comes again is a broken VM. */
TEST(a_debug_exception_of_the_guest_before_costs_no_vm) {
    begin(0, VM_EXIT_EXCEPTION);
    for (unsigned lefts = 1; lefts <= 2; lefts++) {
        lab.left_debugs = lefts;
        CHECK_OK(add(), err);
        CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
        CHECK_EQ_U64(stats().vms_made, lefts);
        CHECK_EQ_U64(stats().guest_violations, 0);
    }
    lab.left_debugs = 3;
    CHECK_STATUS(add(), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "CPU exception 1 ");
    end();
}

TEST(two_failures_are_an_error_and_nobodys_violation) {
    begin(2, VM_EXIT_EXCEPTION);
    CHECK_STATUS(add(), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "CPU exception 14");
    CHECK_STATUS(add(), HUSK_E_POISONED);
    CHECK_EQ_U64(stats().guest_violations, 0);
    CHECK_EQ_U64(stats().poisonings_guest_violation, 0);
    CHECK_EQ_U64(stats().poisonings_vm_failure, 1);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &err), err);
    CHECK_OK(add(), err); /* in the third */
    CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(lab.made_vms, 3);
    end();
}

TEST(what_failed_never_gets_to_the_pool) {
    begin(2, VM_EXIT_VIOLATION);
    CHECK_STATUS(add(), HUSK_E_SYS);
    husk_sandbox_free(lab.sandbox);
    CHECK_EQ_U64(lab.backend.vms, 0);
    lab.failing_vms = 0;
    make_sandbox();
    CHECK_EQ_U64(stats().pool_hits, 0);
    CHECK_OK(add(), err);
    end();
}

TEST(no_other_vm_is_to_be_had) {
    for (int i = 0; i < 2; i++) {
        begin(1, VM_EXIT_EXCEPTION);
        lab.fails_to_create = i == 0;
        lab.fails_to_attach = i == 1;
        CHECK_STATUS(add(), HUSK_E_SYS);
        CHECK_CONTAINS(err.message, "replacing a VM");
        CHECK_EQ_U64(lab.backend.vms, 1);
        CHECK_EQ_U64(stats().guest_violations, 0);
        lab.fails_to_create = lab.fails_to_attach = false;
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &err), err);
        CHECK_OK(add(), err);
        CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
        end();
    }
}

/* The outer call goes on in the VM that the inner one brought. */
TEST(a_nested_call_goes_on_in_another_vm) {
    begin(0, VM_EXIT_EXCEPTION);
    struct husk_value arg = {.type = HUSK_I64}, result = {.type = HUSK_I64};
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab.outcome, &err),
             err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(lab.made_vms, 2);
    CHECK_EQ_U64(lab.backend.vms, 1);
    end();
}

/* A call that a snapshot brought begins at its host call, in whatever VM. */
TEST(a_call_of_a_snapshot_goes_on_in_another_vm) {
    begin(0, VM_EXIT_EXCEPTION);
    husk_image *snapshot = NULL;
    struct husk_value value = {.type = HUSK_I64}, result = {.type = HUSK_I64};
    struct husk_answer answer = HUSK_ANSWER_INIT;
    lab.is_pending = true;
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.name = "host", .args = &value, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab.outcome, &err),
             err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_PENDING);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &err), err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &err), err);
    lab.failing_vms = 1;
    answer.values = &value;
    answer.results = &result;
    answer.values_count = answer.results_count = 1;
    CHECK_OK(husk_call_resume(lab.sandbox, &answer, &lab.outcome, &err), err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(result.of.i64, KEPT);
    CHECK_EQ_U64(lab.made_vms, 2);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &err), err);
    lab.interrupted_vm = 2; /* the call had begun long before: it is cut off in its middle */
    CHECK_OK(husk_call_resume(lab.sandbox, &answer, &lab.outcome, &err), err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK(lab.outcome.is_poisoned && !lab.outcome.state_is_exact);
    husk_image_unref(snapshot);
    end();
}

static void *interrupts(void *arg) {
    const bool *is_over = arg;
    while (!__atomic_load_n(is_over, __ATOMIC_RELAXED)) {
        husk_interrupt(lab.sandbox);
        /* a call's end waits for a signal that is being sent: there must be times without one */
        usleep(20);
    }
    return NULL;
}

/* Another thread kicks the VM that is being replaced. */
TEST(interrupts_while_vms_are_replaced) {
    begin(1, VM_EXIT_EXCEPTION);
    bool is_over = false;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, interrupts, &is_over) == 0);
    unsigned replaced = 0;
    for (int i = 0; i < 20000 && replaced < 50; i++) {
        const unsigned before = lab.made_vms;
        lab.failing_vms = before;
        CHECK_OK(add(), err);
        CHECK(!lab.outcome.is_poisoned);
        CHECK(lab.outcome.kind == HUSK_RETURNED || lab.outcome.kind == HUSK_INTERRUPTED);
        replaced += lab.made_vms - before;
    }
    __atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
    CHECK(pthread_join(thread, NULL) == 0);
    printf("  VMs replaced: %u\n", replaced);
    CHECK_EQ_U64(lab.backend.vms, 1);
    end();
}

/* Nor had the guest run there: nothing is poisoned. */
TEST(an_interrupt_in_the_second_vm_comes_before_the_guest_ran) {
    begin(1, VM_EXIT_EXCEPTION);
    lab.interrupted_vm = 2;
    CHECK_OK(add(), err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK(!lab.outcome.is_poisoned && lab.outcome.state_is_exact);
    lab.interrupted_vm = 0;
    CHECK_OK(add(), err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_RETURNED);
    end();
}

TEST(a_guest_that_jumps_to_the_entry_page_is_to_blame) {
    begin(0, VM_EXIT_EXCEPTION);
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = "trap"), &lab.outcome, &err), err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_GUEST_VIOLATION);
    CHECK_EQ_U64(stats().vms_made, 1);
    end();
}

TEST_MAIN()
