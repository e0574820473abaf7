/*
 * tests/support/vcpu_state.h: everything of a vCPU that KVM shows from outside, by ioctl, and what
 * ring 3 can do to each part of it.
 */
#ifndef TESTS_SUPPORT_VCPU_STATE_H
#define TESTS_SUPPORT_VCPU_STATE_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "vm.h"

#define VCPU_XSAVE_BYTES 16384u /* AMX's tiles included */
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
    VCPU_FIXED,   /* ring 3 cannot change it: it is the same at every exit */
    VCPU_AT_EXIT, /* where the guest stopped; a call begins with the host's value */
    /* ring 3 changes it on every host: a test that has not seen it changed tests nothing */
    VCPU_CHANGES,
    VCPU_MAY_CHANGE, /* ring 3 changes it on some hosts */
};

/* One row of the table in vcpu_state.c: how the part comes back is its `why`. */
struct vcpu_part {
    const char *name;
    size_t offset, bytes;
    enum vcpu_part_kind kind;
    const char *why;
};

/* Rows, the MSRs of this host included; made with the first vcpu_state_take(). */
size_t vcpu_parts(const struct vcpu_part **ret_parts);
/* The vCPU's thread takes it, between two runs. Ends the test on failure. */
void vcpu_state_take(const struct vcpu *vcpu, struct vcpu_state *ret_state);
bool vcpu_part_equal(const struct vcpu_part *part, const struct vcpu_state *a,
                     const struct vcpu_state *b);
/* Ends the test, with the part's name and both values, if any part differs. */
void vcpu_state_check(const struct vcpu_state *got, const struct vcpu_state *expected,
                      const char *when);

#endif
