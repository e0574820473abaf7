/*
 * host/vm/vm_kvm.c: a VM with one vCPU on Linux KVM, and its run loop: enter the guest, turn the way it came out into struct
 * vm_exit. One KVM_RUN per run and no other vCPU ioctl: registers travel in the shared struct kvm_run.
 */
#include "vm_kvm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"
#include "syspages_layout.h"

/* immediate_exit: any value but 0 makes KVM_RUN return at once; these two tell us who wants it. */
enum { IMMEDIATE_NO = 0, IMMEDIATE_DRAIN = 1, IMMEDIATE_KICK = 2 };

/* KVM_RUN answers EAGAIN when it wants to be called again. */
#define AGAIN_MAX 100u
/* One for each piece of an access to where no memory is, and one that ends. */
#define FINISH_RUNS_MAX 8

/* KVM exits that are newer than the oldest header we build with; api.rst section 5. */
#define EXIT_NOTIFY 37
#define EXIT_MEMORY_FAULT 39

static void kvm_vm_destroy(struct vm *vm) {
    if (vm == NULL)
        return;
    if (vm->run != NULL)
        munmap(vm->run, vm->backend->run_bytes);
    if (vm->vcpu_fd >= 0)
        close(vm->vcpu_fd);
    if (vm->vm_fd >= 0)
        close(vm->vm_fd);
    free(vm);
}

static int vm_open_fds(struct vm *vm, struct husk_error *err) {
    const struct vm_backend *backend = vm->backend;
    do /* a signal while KVM builds the VM's tables is reported as EINTR */
        vm->vm_fd = kvm_do_create_vm(backend);
    while (vm->vm_fd < 0 && errno == EINTR);
    if (vm->vm_fd < 0)
        return error_sys(err, errno, "KVM_CREATE_VM");
    int status = kvm_x86_vm_setup(vm, err);
    if (status != 0)
        return status;
    vm->vcpu_fd = kvm_do_create_vcpu(vm, 0);
    if (vm->vcpu_fd < 0)
        return error_sys(err, errno, "KVM_CREATE_VCPU");
    struct kvm_run *run = backend->sys->map(backend->run_bytes, vm->vcpu_fd);
    if (run == MAP_FAILED)
        return error_sys(err, errno, "mapping the vCPU's shared page");
    vm->run = run;
    return 0;
}

static int kvm_vm_create(struct vm_backend *backend, const struct vm_config *config, struct vm **ret_vm,
                         struct husk_error *err) {
    struct vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL)
        return error_sys(err, ENOMEM, "virtual machine");
    vm->backend = backend;
    vm->vm_fd = vm->vcpu_fd = -1;
    vm->frame =
        (const struct sys_exception_frame *)(const void *)(config->exception_stack_top - sizeof *vm->frame);
    int status = vm_open_fds(vm, err);
    if (status == 0)
        status = kvm_x86_vcpu_setup(vm, config, err);
    if (status != 0) {
        kvm_vm_destroy(vm);
        return error_while(err, status, "creating a virtual machine");
    }
    vm->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    *ret_vm = vm;
    return 0;
}

static int kvm_vm_set_slot(struct vm *vm, uint32_t slot_idx, gpa_t at, uint8_t *hva, uint64_t bytes,
                           uint32_t flags, struct husk_error *err) {
    if (slot_idx >= vm->backend->memslots_max)
        return error_set(err, HUSK_E_LIMIT, "KVM has only %u memory slots", vm->backend->memslots_max);
    struct kvm_userspace_memory_region region = {
        .slot = slot_idx,
        .flags = flags & VM_SLOT_READONLY ? KVM_MEM_READONLY : 0,
        .guest_phys_addr = at.v,
        .memory_size = bytes,
        .userspace_addr = (uintptr_t)hva,
    };
    if (kvm_do_set_memory(vm, &region) != 0 && !(bytes == 0 && errno == EINVAL)) /* there was no such slot */
        return error_sys(err, errno, "KVM memory slot %u at 0x%llx, %llu bytes", slot_idx,
                         (unsigned long long)at.v, (unsigned long long)bytes);
    return 0;
}

__attribute__((format(printf, 2, 3))) static void exit_violation(struct vm_exit *exit, const char *format,
                                                                 ...) {
    exit->kind = VM_EXIT_VIOLATION;
    va_list args;
    va_start(args, format);
    vsnprintf(exit->detail, sizeof exit->detail, format, args);
    va_end(args);
}

static void exit_other(const struct kvm_run *run, struct vm_exit *exit) {
    switch (run->exit_reason) {
    case KVM_EXIT_MMIO:
        exit_violation(exit, "%s of guest-physical 0x%llx, where nothing is",
                       run->mmio.is_write ? "write" : "read", (unsigned long long)run->mmio.phys_addr);
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
        exit_violation(exit, "%s of MSR 0x%x", run->exit_reason == KVM_EXIT_X86_RDMSR ? "read" : "write",
                       run->msr.index);
        break;
    case EXIT_NOTIFY: exit_violation(exit, "the CPU was kept from taking events"); break;
    case EXIT_MEMORY_FAULT: exit_violation(exit, "fault on guest memory"); break;
    default: exit_violation(exit, "unexpected exit %u from KVM", run->exit_reason); break;
    }
}

static void vm_classify(struct vm *vm, struct vm_exit *exit) {
    struct kvm_run *run = vm->run;
    *exit = (struct vm_exit){.kind = VM_EXIT_PORT};
    if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT)
        kvm_x86_port_exit(vm, exit);
    else if (run->exit_reason == KVM_EXIT_IO)
        exit_violation(exit, "read of port 0x%x", run->io.port);
    else
        exit_other(run, exit);
}

/* KVM_RUN was interrupted: by kvm_vm_kick() or by some signal of the embedder's. Which, does not matter. */
static void vm_kicked(struct vm *vm, struct vm_exit *exit) {
    __atomic_store_n(&vm->run->immediate_exit, IMMEDIATE_NO, __ATOMIC_SEQ_CST);
    *exit = (struct vm_exit){.kind = VM_EXIT_KICKED};
    vm->where = VM_ANYWHERE;
}

/*
 * A violation may be half an instruction (an IN, a REP INS), which KVM finishes at the next KVM_RUN, before it looks at anything else:
 * that writes registers, and memory at an address that it has already taken from them. So it is done here, while memory is still that of
 * the guest that violated; whoever gets this VM afterwards gets it with nothing left to finish. One repetition is enough: KVM reads RCX
 * anew. (Not zero: then it never takes what it has read, and waits for ever.)
 */
static int vm_finish_op(struct vm *vm, struct husk_error *err) {
    struct kvm_run *run = vm->run;
    const struct kvm_regs stopped_at = run->s.regs.regs; /* for a backtrace */
    uint8_t expected = IMMEDIATE_NO;
    __atomic_compare_exchange_n(&run->immediate_exit, &expected, IMMEDIATE_DRAIN, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    run->s.regs.regs.rcx = 1;
    run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    int result = 0, sys_errno = 0;
    for (int i = 0; i < FINISH_RUNS_MAX && result == 0; i++) {
        result = kvm_do_run(vm);
        sys_errno = errno;
        run->kvm_dirty_regs = 0;
    }
    expected = IMMEDIATE_DRAIN;
    __atomic_compare_exchange_n(&run->immediate_exit, &expected, IMMEDIATE_NO, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    run->s.regs.regs = stopped_at;
    vm->where = VM_ANYWHERE;
    vm->has_unfinished_op = result == 0 || sys_errno != EINTR;
    return vm->has_unfinished_op
               ? error_sys(err, result == 0 ? EBUSY : sys_errno, "KVM_RUN, to finish an instruction")
               : 0;
}

static int run_failed(struct vm *vm, int sys_errno, struct husk_error *err) {
    vm->where = VM_ANYWHERE; /* it may have run, and an exception may be about to be delivered */
    return error_sys(err, sys_errno,
                     sys_errno == EFAULT
                         ? "KVM_RUN: a page of the guest cannot be had (out of memory, or at the "
                           "control group's limit)"
                         : "KVM_RUN");
}

static int kvm_vm_run(struct vm *vm, struct vm_exit *ret_exit, struct husk_error *err) {
    if (vm->has_unfinished_op)
        return error_set(err, HUSK_E_SYS,
                         "this VM cannot run any more: KVM did not finish an instruction of its guest");
    int status = vm->has_stale_debug_regs ? kvm_x86_reset_debug_regs(vm, err) : 0;
    if (status != 0)
        return status;
    int result, sys_errno = 0;
    for (unsigned tries = 0; (result = kvm_do_run(vm)) != 0; tries++) {
        sys_errno = errno;
        if (sys_errno != EAGAIN || tries == AGAIN_MAX)
            break;
    }
    if (result != 0 && sys_errno != EINTR)
        return run_failed(vm, sys_errno, err);
    vm->run->kvm_dirty_regs = 0;
    if (result != 0)
        vm_kicked(vm, ret_exit);
    else
        vm_classify(vm, ret_exit);
    return ret_exit->kind == VM_EXIT_VIOLATION ? vm_finish_op(vm, err) : 0;
}

static void kvm_vm_kick(struct vm *vm) {
    __atomic_store_n(&vm->run->immediate_exit, IMMEDIATE_KICK, __ATOMIC_SEQ_CST);
}

static void kvm_vm_set_space(struct vm *vm, gpa_t page_root, uint8_t *exception_stack_top) {
    vm->fresh_sregs.cr3 = page_root.v;
    vm->frame = (const struct sys_exception_frame *)(const void *)(exception_stack_top - sizeof *vm->frame);
    vm->where =
        VM_ANYWHERE; /* the next set_regs then brings all system registers, wherever the guest stood */
}

const struct vm_ops vm_kvm_ops = {
    .create = kvm_vm_create,
    .destroy = kvm_vm_destroy,
    .set_slot = kvm_vm_set_slot,
    .get_regs = kvm_x86_get_regs,
    .set_regs = kvm_x86_set_regs,
    .run = kvm_vm_run,
    .kick = kvm_vm_kick,
    .set_space = kvm_vm_set_space,
};
