/*
 * tests/support/entries.h: for suites of calls that go through the exchange (abi/exchange.h): both
 * ways to make them, and how often the guest is entered.
 */
#ifndef TESTS_SUPPORT_ENTRIES_H
#define TESTS_SUPPORT_ENTRIES_H

#include "image_internal.h"
#include "sandbox_internal.h"
#include "vm.h"

/* Several calls in one entry, and an entry for each call, as in an image of an older husk. */
enum calls_way { WAY_ROUTINE, WAY_SINGLE, WAYS };

static inline void image_set_way(husk_image *image, enum calls_way way) {
    if (way == WAY_SINGLE)
        image->code->routines = (struct husk_image_routines){0};
}

static uint64_t entries_made;
static struct vcpu_ops entries_ops;

static int entries_run(struct vcpu *vcpu, struct vm_exit *ret_exit, struct husk_error *err) {
    entries_made++;
    return vcpu_kvm_ops.run(vcpu, ret_exit, err);
}

/* Count the runs of this sandbox's vCPU in entries_made, from 0 on. A host call is one more. */
static inline void entries_count(husk_sandbox *sandbox) {
    entries_ops = vcpu_kvm_ops;
    entries_ops.run = entries_run;
    entries_made = 0;
    sandbox->machine->vcpu_ops = &entries_ops;
}

#endif
