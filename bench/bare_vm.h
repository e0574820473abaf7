/*
 * bench/bare_vm.h: a VM made without libhusk: what the kernel and the CPU ask for one KVM_RUN, and
 * what restoring would cost by KVM's dirty log.
 */
#ifndef BENCH_BARE_VM_H
#define BENCH_BARE_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bare_vm {
    int kvm_fd, vm_fd, vcpu_fd;
    uint8_t *memory;
    size_t memory_bytes;
    struct kvm_run *run;
    size_t run_bytes;
};

/* The guest writes here: one word in each of the pages that it is told, at an offset that differs
 * from page to page. */
#define BARE_VM_FIRST 0x20000u

/* memory_bytes: a multiple of 2 MiB, at most 1 GiB. pages: how many each run writes. logs_dirty:
 * KVM keeps a dirty log. 0, or -1 with errno; bare_vm_close() in any case. It may be opened again
 * after that. */
int bare_vm_open(struct bare_vm *vm, size_t memory_bytes, uint32_t pages, bool logs_dirty);
void bare_vm_close(struct bare_vm *vm);
/* One KVM_RUN, to the guest's `out` in ring 3. 0 or -1. */
int bare_vm_run(struct bare_vm *vm);
/* The pages written since the last time, a bit each; KVM write-protects them again. bitmap: one bit
 * for each page of the memory. */
int bare_vm_dirty_log(struct bare_vm *vm, uint64_t *bitmap);

#endif
