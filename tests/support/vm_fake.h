/*
 * tests/support/vm_fake.h: vm_ops and vcpu_ops without a hypervisor. The "guest" is a C function
 * that looks at the registers and the guest's memory and says how the run ends; creating, slots and
 * runs can be made to fail.
 */
#ifndef TESTS_SUPPORT_VM_FAKE_H
#define TESTS_SUPPORT_VM_FAKE_H

#include "vm.h"

struct fake_slot {
    uint64_t gpa, bytes;
    uint8_t *hva;
};

#define FAKE_SLOTS 64

struct vm {
    struct vm_backend *backend;
    struct fake_slot slots[FAKE_SLOTS];
    bool has_vcpu;
};

struct vcpu {
    struct vm *vm;
    struct vm_regs regs;
    bool is_kicked;
};

struct vm_backend {
    /* One run; returns the exit. */
    void (*guest)(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit);
    void *user;
    bool (*fails)(const char *what); /* asked before every operation; may be NULL */
    unsigned vms, runs;
};

extern const struct vm_ops vm_fake_ops;
extern const struct vcpu_ops vcpu_fake_ops;

/* Guest memory by guest-physical address (= virtual, below linear memory), or NULL. */
void *fake_memory(const struct vm *vm, uint64_t gpa, uint64_t bytes);
/* An engine on it; the backend is the test's and must outlive the engine. */
int fake_engine_new(struct vm_backend *backend, husk_engine **ret_engine, struct husk_error *err);

#endif
