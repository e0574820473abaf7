/*
 * host/vm/vcpu_kvm.c: the vCPU of a VM on Linux KVM, and its run loop: enter the guest, then turn
 * KVM's exit into struct vm_exit. A run makes one KVM_RUN and no other vCPU ioctl: registers are
 * passed in the shared struct kvm_run.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "syspages_layout_x86_64.h"
#include "vm_kvm.h"
#include "hot.h"

/* immediate_exit: any value but 0 makes KVM_RUN return at once; these two tell us who wants it. */
enum { IMMEDIATE_NO = 0, IMMEDIATE_DRAIN = 1, IMMEDIATE_KICK = 2 };

/* KVM_RUN answers EAGAIN when it wants to be called again. */
#define AGAIN_MAX 100u
/* One for each piece of an access to where no memory is, and one that ends. */
#define FINISH_RUNS_MAX 8

/* KVM exits that are newer than the oldest header we build with; api.rst section 5. */
#define EXIT_NOTIFY 37
#define EXIT_MEMORY_FAULT 39

static void kvm_vcpu_destroy(struct vcpu *vcpu) {
    if (vcpu == NULL)
        return;
    if (vcpu->run != NULL)
        munmap(vcpu->run, vcpu->backend->run_bytes);
    if (vcpu->has_asked_stats && vcpu->stats_fd >= 0)
        close(vcpu->stats_fd);
    if (vcpu->vcpu_fd >= 0)
        close(vcpu->vcpu_fd);
    free(vcpu);
}

static int vcpu_open(struct vcpu *vcpu, const struct vm *vm, struct husk_error *err) {
    vcpu->vcpu_fd = kvm_do_create_vcpu(vm, 0);
    if (vcpu->vcpu_fd < 0)
        return error_sys(err, errno, "KVM_CREATE_VCPU");
    struct kvm_run *run = vcpu->backend->sys->map(vcpu->backend->run_bytes, vcpu->vcpu_fd);
    if (run == MAP_FAILED)
        return error_sys(err, errno, "mapping the vCPU's shared page");
    vcpu->run = run;
    return 0;
}

static void vcpu_set_frame(struct vcpu *vcpu, uint8_t *exception_stack_top) {
    vcpu->frame = (const struct sys_exception_frame *)(const void *)(exception_stack_top -
                                                                     sizeof *vcpu->frame);
}

static void kvm_vcpu_set_space(struct vcpu *vcpu, gpa_t page_root, uint8_t *exception_stack_top) {
    vcpu->fresh_sregs.cr3 = page_root.v;
    vcpu_set_frame(vcpu, exception_stack_top);
    /* the next set_regs then brings all system registers, wherever the guest stood */
    vcpu->where = VM_ANYWHERE;
}

/* The vCPU of the trial, if it is what is wanted. If it is not, the VM is made anew, as it has a
 * vCPU. */
static int take_tried(struct vm *vm, const struct vcpu_config *config, struct vcpu **ret_vcpu,
                      struct husk_error *err) {
    struct vcpu *vcpu = vm->tried_vcpu;
    if (vcpu == NULL)
        return 0;
    if (vcpu->cpu_features != config->cpu_features)
        return kvm_vm_reopen(vm, err);
    vm->tried_vcpu = NULL;
    kvm_vcpu_set_space(vcpu, config->page_root, config->exception_stack_top);
    *ret_vcpu = vcpu;
    return 0;
}

static int kvm_vcpu_create(struct vm *vm, const struct vcpu_config *config, struct vcpu **ret_vcpu,
                           struct husk_error *err) {
    struct vcpu *tried = NULL;
    int status = take_tried(vm, config, &tried, err);
    if (status != 0)
        return error_while(err, status, "creating a virtual machine");
    if (tried != NULL) {
        *ret_vcpu = tried;
        return 0;
    }
    struct vcpu *vcpu = calloc(1, sizeof *vcpu);
    if (vcpu == NULL)
        return error_sys(err, ENOMEM, "virtual machine");
    vcpu->backend = vm->backend;
    vcpu->vcpu_fd = -1;
    vcpu->cpu_features = config->cpu_features;
    vcpu_set_frame(vcpu, config->exception_stack_top);
    status = vcpu_open(vcpu, vm, err);
    if (status == 0)
        status = kvm_x86_vcpu_setup(vcpu, config, err);
    if (status != 0) {
        kvm_vcpu_destroy(vcpu);
        return error_while(err, status, "creating a virtual machine");
    }
    *ret_vcpu = vcpu;
    return 0;
}

__attribute__((format(printf, 2, 3))) static void exit_violation(struct vm_exit *exit,
                                                                 const char *format, ...) {
    exit->kind = VM_EXIT_VIOLATION;
    va_list args;
    va_start(args, format);
    vsnprintf(exit->detail, sizeof exit->detail, format, args);
    va_end(args);
}

RARE static void exit_other(const struct kvm_run *run, struct vm_exit *exit) {
    switch (run->exit_reason) {
    case KVM_EXIT_MMIO:
        exit_violation(exit, "%s of guest-physical 0x%llx, where nothing is",
                       run->mmio.is_write ? "write" : "read",
                       (unsigned long long)run->mmio.phys_addr);
        break;
    case KVM_EXIT_SHUTDOWN: exit_violation(exit, "triple fault"); break;
    case KVM_EXIT_HLT: exit_violation(exit, "HLT"); break;
    case KVM_EXIT_FAIL_ENTRY:
        exit_violation(exit, "the CPU refused to enter the guest (reason 0x%llx)",
                       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        break;
    case KVM_EXIT_INTERNAL_ERROR:
        exit_violation(exit, "KVM could not go on (internal error %u)", run->internal.suberror);
        break;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        exit_violation(exit, "%s of MSR 0x%x",
                       run->exit_reason == KVM_EXIT_X86_RDMSR ? "read" : "write", run->msr.index);
        break;
    case EXIT_NOTIFY: exit_violation(exit, "the CPU was kept from taking events"); break;
    case EXIT_MEMORY_FAULT: exit_violation(exit, "fault on guest memory"); break;
    default: exit_violation(exit, "unexpected exit %u from KVM", run->exit_reason); break;
    }
}

HOT static inline void vcpu_classify(struct vcpu *vcpu, struct vm_exit *exit) {
    struct kvm_run *run = vcpu->run;
    exit->kind = VM_EXIT_PORT; /* the other fields are set with their kinds: they are 140 bytes */
    if (LIKELY(run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT))
        kvm_x86_port_exit(vcpu, exit);
    else if (run->exit_reason == KVM_EXIT_IO)
        exit_violation(exit, "read of port 0x%x", run->io.port);
    else
        exit_other(run, exit);
}

/* KVM_RUN was interrupted: by kvm_vcpu_kick() or by some signal of the embedder's. Which, does not
 * matter. */
RARE static void vcpu_kicked(struct vcpu *vcpu, struct vm_exit *exit) {
    __atomic_store_n(&vcpu->run->immediate_exit, IMMEDIATE_NO, __ATOMIC_SEQ_CST);
    exit->kind = VM_EXIT_KICKED;
    vcpu->where = VM_ANYWHERE;
}

/*
 * A violation may be half an instruction (an IN, a REP INS), which KVM finishes at the next
 * KVM_RUN, before it looks at anything else: that writes registers, and memory at an address that
 * it has already taken from them. So it is done here, while memory is still that of the guest that
 * violated; whoever gets this VM afterwards gets it with nothing left to finish.
 */
RARE static int vcpu_finish_op(struct vcpu *vcpu, struct husk_error *err) {
    struct kvm_run *run = vcpu->run;
    const struct kvm_regs stopped_at = run->s.regs.regs; /* for a backtrace */
    uint8_t expected = IMMEDIATE_NO;
    __atomic_compare_exchange_n(&run->immediate_exit, &expected, IMMEDIATE_DRAIN, false,
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    kvm_x86_repeat_once(vcpu);
    int result = 0, sys_errno = 0;
    for (int i = 0; i < FINISH_RUNS_MAX && result == 0; i++) {
        result = kvm_do_run(vcpu);
        sys_errno = errno;
        run->kvm_dirty_regs = 0;
    }
    expected = IMMEDIATE_DRAIN;
    __atomic_compare_exchange_n(&run->immediate_exit, &expected, IMMEDIATE_NO, false,
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    run->s.regs.regs = stopped_at;
    vcpu->where = VM_ANYWHERE;
    vcpu->has_unfinished_op = result == 0 || sys_errno != EINTR;
    return vcpu->has_unfinished_op ? error_sys(err, result == 0 ? EBUSY : sys_errno,
                                               "KVM_RUN, to finish an instruction")
                                   : 0;
}

RARE static int run_failed(struct vcpu *vcpu, int sys_errno, struct husk_error *err) {
    vcpu->where = VM_ANYWHERE; /* it may have run, and an exception may be about to be delivered */
    return error_sys(err, sys_errno,
                     sys_errno == EFAULT
                         ? "KVM_RUN: a page of the guest cannot be had (out of memory, or at the "
                           "control group's limit)"
                         : "KVM_RUN");
}

HOT FLAT static int kvm_vcpu_run(struct vcpu *vcpu, struct vm_exit *ret_exit,
                                 struct husk_error *err) {
    if (UNLIKELY(vcpu->has_unfinished_op))
        return error_set(
            err, HUSK_E_SYS,
            "this VM cannot run any more: KVM did not finish an instruction of its guest");
    int status = UNLIKELY(vcpu->has_stale_debug_regs) ? kvm_x86_reset_debug_regs(vcpu, err) : 0;
    if (UNLIKELY(status != 0))
        return status;
    int result, sys_errno = 0;
    for (unsigned tries = 0; UNLIKELY((result = kvm_do_run(vcpu)) != 0); tries++) {
        sys_errno = errno;
        if (sys_errno != EAGAIN || tries == AGAIN_MAX)
            break;
    }
    if (UNLIKELY(result != 0 && sys_errno != EINTR))
        return run_failed(vcpu, sys_errno, err);
    vcpu->run->kvm_dirty_regs = 0;
    if (UNLIKELY(result != 0))
        vcpu_kicked(vcpu, ret_exit);
    else
        vcpu_classify(vcpu, ret_exit);
    return UNLIKELY(ret_exit->kind == VM_EXIT_VIOLATION) ? vcpu_finish_op(vcpu, err) : 0;
}

static void kvm_vcpu_kick(struct vcpu *vcpu) {
    __atomic_store_n(&vcpu->run->immediate_exit, IMMEDIATE_KICK, __ATOMIC_SEQ_CST);
}

const struct vcpu_ops vcpu_kvm_ops = {
    .create = kvm_vcpu_create,
    .destroy = kvm_vcpu_destroy,
    .get_regs = kvm_x86_get_regs,
    .set_regs = kvm_x86_set_regs,
    .run = kvm_vcpu_run,
    .kick = kvm_vcpu_kick,
    .faults = kvm_vcpu_faults,
    .set_space = kvm_vcpu_set_space,
};
