/*
 * host/vm/vm_kvm.c: a VM on Linux KVM and its memory slots.
 */
#include "vm_kvm.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"

/* Without the struct. */
static void vm_close(struct vm *vm) {
    if (vm->tried_vcpu != NULL)
        vm->tried_vcpu_free(vm->tried_vcpu);
    if (vm->vm_fd >= 0)
        close(vm->vm_fd);
    if (vm->tried_memory != NULL)
        munmap(vm->tried_memory, vm->tried_bytes);
    *vm = (struct vm){.backend = vm->backend, .vm_fd = -1};
}

static void kvm_vm_destroy(struct vm *vm) {
    if (vm == NULL)
        return;
    vm_close(vm);
    free(vm);
}

void kvm_tried_vm_free(struct vm_backend *backend) {
    kvm_vm_destroy(atomic_exchange(&backend->tried_vm, NULL));
}

static int vm_open(struct vm *vm, struct husk_error *err) {
    do /* a signal while KVM builds the VM's tables is reported as EINTR */
        vm->vm_fd = kvm_do_create_vm(vm->backend);
    while (vm->vm_fd < 0 && errno == EINTR);
    if (vm->vm_fd < 0)
        return error_sys(err, errno, "KVM_CREATE_VM");
    return kvm_x86_vm_setup(vm, err);
}

int kvm_vm_reopen(struct vm *vm, struct husk_error *err) {
    vm_close(vm);
    return vm_open(vm, err);
}

static int kvm_vm_create(struct vm_backend *backend, struct vm **ret_vm, struct husk_error *err) {
    struct vm *vm = atomic_exchange(&backend->tried_vm, NULL);
    if (vm != NULL) {
        *ret_vm = vm;
        return 0;
    }
    vm = calloc(1, sizeof *vm);
    if (vm == NULL)
        return error_sys(err, ENOMEM, "virtual machine");
    vm->backend = backend;
    vm->vm_fd = -1;
    int status = vm_open(vm, err);
    if (status != 0) {
        kvm_vm_destroy(vm);
        return error_while(err, status, "creating a virtual machine");
    }
    *ret_vm = vm;
    return 0;
}

static int kvm_vm_set_slot(struct vm *vm, uint32_t slot_idx, gpa_t at, uint8_t *hva, uint64_t bytes,
                           uint32_t flags, struct husk_error *err) {
    if (slot_idx >= vm->backend->memslots_max)
        return error_set(err, HUSK_E_LIMIT, "KVM has only %u memory slots",
                         vm->backend->memslots_max);
    struct kvm_userspace_memory_region region = {
        .slot = slot_idx,
        .flags = (flags & VM_SLOT_READONLY) != 0 ? KVM_MEM_READONLY : 0,
        .guest_phys_addr = at.v,
        .memory_size = bytes,
        .userspace_addr = (uintptr_t)hva,
    };
    /* there was no such slot */
    if (kvm_do_set_memory(vm, &region) != 0 && !(bytes == 0 && errno == EINVAL))
        return error_sys(err, errno, "KVM memory slot %u at 0x%llx, %llu bytes", slot_idx,
                         (unsigned long long)at.v, (unsigned long long)bytes);
    return 0;
}

const struct vm_ops vm_kvm_ops = {
    .create = kvm_vm_create,
    .drop_kept = kvm_tried_vm_free,
    .destroy = kvm_vm_destroy,
    .set_slot = kvm_vm_set_slot,
};
