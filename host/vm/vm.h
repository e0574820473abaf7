/*
 * host/vm/vm.h: a virtual machine and its one vCPU; the only door to the hypervisor. vm_kvm.h has
 * the real backend, vm_fake.c (tests) plays scripted exits and makes the n-th operation fail.
 *
 * Neither knows wasm: a VM has memory slots, a vCPU has registers, runs and exits. All guest code
 * runs in ring 3 in long mode with the descriptor tables and page tables of host/vm/syspages.h.
 */
#ifndef HOST_VM_H
#define HOST_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "husk.h"
#include "vm_exit.h"

struct vm;         /* one virtual machine; the backend's own */
struct vcpu;       /* its virtual CPU; the backend's own */
struct vm_backend; /* process-wide: the open /dev/kvm and what it can do */

#define VM_SLOT_READONLY 1u

struct vcpu_config {
    /* abi/cpu_features.def bits that the image may use: CPUID and XCR0 show these and no more */
    uint64_t cpu_features;
    gpa_t page_root; /* CR3: sys_space_page_root() */
    /* Host address one past the exception stack: sys_space_exception_stack_top(). The guest's ring
     * 3 cannot write there. */
    uint8_t *exception_stack_top;
};

/* Calls on one VM and its vCPU come from one thread at a time, except kick. Every function that can
 * fail returns 0 or a negative HUSK_E… and fills err. */
struct vm_ops {
    int (*create)(struct vm_backend *backend, struct vm **ret_vm, struct husk_error *err);
    void (*destroy)(struct vm *vm); /* after its vCPU; NULL is fine */
    /* Slot indexes are small integers chosen by the caller; bytes 0 removes the slot. gpa, hva,
     * bytes: page multiples. */
    int (*set_slot)(struct vm *vm, uint32_t slot_idx, gpa_t gpa, uint8_t *hva, uint64_t bytes,
                    uint32_t flags, struct husk_error *err);
};

struct vcpu_ops {
    /* The only one of the VM. */
    int (*create)(struct vm *vm, const struct vcpu_config *config, struct vcpu **ret_vcpu,
                  struct husk_error *err);
    void (*destroy)(struct vcpu *vcpu); /* NULL is fine */
    /* The registers as of the last exit / for the next run; no system call on the way
     * (KVM_CAP_SYNC_REGS). After VM_EXIT_EXCEPTION they are the interrupted code's. After
     * VM_EXIT_PORT rip is at the OUT or after it, depending on the hypervisor: whoever resumes sets
     * nothing, and whoever redirects sets rip to an address that is not that OUT's (KVM would take
     * it for a resumption, and skip the OUT). set_regs always means ring 3, whatever the exit was;
     * after any but VM_EXIT_PORT it also puts the segments, control and debug registers and pending
     * events back to those of a new vCPU. Of rflags only the status flags and DF are taken. After
     * VM_EXIT_EXCEPTION registers must be set before the next run (those of get_regs: the
     * instruction runs again); otherwise, if nothing is set, the next run goes on where the guest
     * was. */
    void (*get_regs)(const struct vcpu *vcpu, struct vm_regs *ret_regs);
    void (*set_regs)(struct vcpu *vcpu, const struct vm_regs *regs);
    /* Run until the next exit. An error means the VM itself failed (HUSK_E_SYS), never the
     * guest. */
    int (*run)(struct vcpu *vcpu, struct vm_exit *ret_exit, struct husk_error *err);
    /* Make the present or next run return VM_EXIT_KICKED soon; sticky until a run returned so. From
     * any thread. The caller also sends the kick signal to the thread that runs the vCPU, if one
     * does. */
    void (*kick)(struct vcpu *vcpu);
    /* Another sys_space: its page root and exception stack, from the next set_regs on. The caller
     * exchanges the slots. */
    void (*set_space)(struct vcpu *vcpu, gpa_t page_root, uint8_t *exception_stack_top);
};

extern const struct vm_ops vm_kvm_ops;
extern const struct vcpu_ops vcpu_kvm_ops;

/* host/vm/vm_kvm_caps.c: HUSK_E_NO_HYPERVISOR, HUSK_E_HYPERVISOR_CAP with messages that say what
 * to do. */
int vm_kvm_backend_new(const char *kvm_path, struct vm_backend **ret_backend,
                       struct husk_error *err);
void vm_kvm_backend_free(struct vm_backend *backend);
void vm_kvm_host_info(const struct vm_backend *backend, struct husk_host_info *ret_info);
enum vm_entry vm_kvm_entry(const struct vm_backend *backend);

#endif
