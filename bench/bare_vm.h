/*
 * bench/bare_vm.h: a VM made without libhusk. It measures the cost of one KVM_RUN in the kernel and
 * the CPU, and the cost of a restore by KVM's dirty log.
 */
#ifndef BENCH_BARE_VM_H
#define BENCH_BARE_VM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bare_guest.h"

struct bare_vm {
    int kvm_fd, vm_fd, vcpu_fd;
    uint8_t *memory;
    size_t memory_bytes;
    const uint8_t *originals; /* bare_vm_put_in_file() */
    struct kvm_run *run;
    size_t run_bytes;
};

/* The guest writes from here on: one word in each of the first `pages` pages, at an offset that
 * differs from page to page. */
#define BARE_VM_FIRST BARE_GUEST_FIRST

/* memory_bytes: a multiple of 2 MiB, at most 1 GiB. pages: the number of pages that each run
 * writes. logs_dirty: KVM keeps a dirty log. Returns 0, or -1 with errno. Call bare_vm_close() in
 * both cases; then the VM may be opened again. */
int bare_vm_open(struct bare_vm *vm, size_t memory_bytes, uint32_t pages, bool logs_dirty);
void bare_vm_close(struct bare_vm *vm);
/* Make every page differ from zero, put the memory into a file, and map that privately over it,
 * in small pages: so a sandbox's memory lies over its image. `originals` is a view of the file.
 * Returns 0, or -1 with errno. */
int bare_vm_put_in_file(struct bare_vm *vm);
/* Do one KVM_RUN, which ends at the guest's `out` in ring 3. Returns 0 or -1. */
int bare_vm_run(struct bare_vm *vm);
/* Get the pages written since the last call, one bit per page of the memory in `bitmap`. KVM
 * write-protects these pages again. */
int bare_vm_dirty_log(struct bare_vm *vm, uint64_t *bitmap);

#endif
