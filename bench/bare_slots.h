/*
 * bench/bare_slots.h: a VM made without libhusk, with given memory slots: what a sandbox's VM costs
 * in the kernel and the CPU. It is made, set up and run once.
 */
#ifndef BENCH_BARE_SLOTS_H
#define BENCH_BARE_SLOTS_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BARE_SLOTS_MAX = 16 };

struct bare_slots {
    int kvm_fd, vm_fd, vcpu_fd;
    size_t run_bytes;
    struct kvm_run *run;
    struct kvm_cpuid2 *cpuid; /* KVM_GET_SUPPORTED_CPUID */
    uint8_t *memory[BARE_SLOTS_MAX];
    uint64_t bytes[BARE_SLOTS_MAX];
    uint32_t count;
    /* Set it after bare_slots_init(): the VM gets a filter that lets no MSR through. To set one
     * waits as long as to set a slot. */
    bool denies_msrs;
};

/* Open KVM, for VMs with slots of these sizes: page multiples, the first at least 64 KiB. Returns
 * 0, or -1 with errno. Call bare_slots_done() in both cases. */
int bare_slots_init(struct bare_slots *slots, const uint64_t *bytes, uint32_t count);
void bare_slots_done(struct bare_slots *slots);
/* Map the memory; make the VM, its slots and its vCPU; set CPUID and registers; do one KVM_RUN,
 * which ends at an `out` in ring 3. Returns 0, or -1 with errno. */
int bare_slots_make(struct bare_slots *slots);
/* Free what bare_slots_make() made. */
void bare_slots_drop(struct bare_slots *slots);

#endif
