/*
 * tests/support/vcpu_state.h: all vCPU state that KVM shows by ioctl, and whether ring 3 can change
 * each part of it.
 */
#ifndef TESTS_SUPPORT_VCPU_STATE_H
#define TESTS_SUPPORT_VCPU_STATE_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "vm.h"

#define VCPU_XSAVE_BYTES 16384u /* including AMX's tiles */
#define VCPU_MSRS_MAX 512u

struct vcpu_state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debugregs;
    struct kvm_xcrs xcrs;
    struct kvm_vcpu_events events;
    struct kvm_mp_state mp_state;
    uint8_t xsave[VCPU_XSAVE_BYTES];
    uint64_t msrs[VCPU_MSRS_MAX];
};

enum vcpu_part_kind {
    VCPU_FIXED,   /* ring 3 cannot change it, so it is the same at every exit */
    VCPU_AT_EXIT, /* depends on where the guest stopped; the host sets it before a call */
    /* ring 3 changes it on every host; a test must see it changed */
    VCPU_CHANGES,
    VCPU_MAY_CHANGE, /* ring 3 changes it on some hosts */
};

/* One row of the table in vcpu_state.c. `why` says how the part is restored. */
struct vcpu_part {
    const char *name;
    size_t offset, bytes;
    enum vcpu_part_kind kind;
    const char *why;
};

/* The rows, including the MSRs of this host. The first vcpu_state_take() makes them. */
size_t vcpu_parts(const struct vcpu_part **ret_parts);
/* Copy the state. Call it on the vCPU's thread, between two runs. Ends the test on failure. */
void vcpu_state_take(const struct vcpu *vcpu, struct vcpu_state *ret_state);
bool vcpu_part_equal(const struct vcpu_part *part, const struct vcpu_state *a,
                     const struct vcpu_state *b);
/* If a part differs, end the test with the part's name and both values. */
void vcpu_state_check(const struct vcpu_state *got, const struct vcpu_state *expected,
                      const char *when);

#endif
