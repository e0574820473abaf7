/*
 * tests/support/vm_fake.h: vm_ops and vcpu_ops without a hypervisor. The "guest" is a C function
 * that reads the registers and the guest's memory and decides how the run ends. A test can make
 * creation, slots and runs fail.
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
    uint64_t page_root; /* guest-physical; of the vCPU's configuration */
    bool has_vcpu;
};

struct vcpu {
    struct vm *vm;
    struct vm_regs regs;
    bool is_kicked;
};

struct vm_backend {
    /* Does one run and gives the exit. */
    void (*guest)(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit);
    void *user;
    bool (*fails)(const char *what); /* called before every operation; may be NULL */
    unsigned vms, runs;
};

extern const struct vm_ops vm_fake_ops;
extern const struct vcpu_ops vcpu_fake_ops;

/* The guest memory at a guest-physical address, or NULL. */
void *fake_memory(const struct vm *vm, uint64_t gpa, uint64_t bytes);
/* The same for a guest-virtual address: of one page, or pages that lie together. */
void *fake_virtual(const struct vm *vm, uint64_t gva, uint64_t bytes);
/* Make an engine on the backend. The test owns the backend, which must outlive the engine. */
int fake_engine_new(struct vm_backend *backend, husk_engine **ret_engine, struct husk_error *err);

#endif
