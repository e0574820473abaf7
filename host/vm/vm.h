/*
 * host/vm/vm.h: a virtual machine and its one vCPU: the only interface to the hypervisor. vm_kvm.h
 * is the real backend. vm_fake.c (tests) plays scripted exits and makes the n-th operation fail.
 *
 * A backend does not know wasm: a VM has memory slots, and a vCPU has registers, runs and exits.
 * All guest code runs in ring 3 in long mode with the descriptor tables and page tables of
 * host/vm/syspages.h.
 */
#ifndef HOST_VM_H
#define HOST_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "husk.h"
#include "vm_exit.h"

struct vm;         /* one virtual machine; the backend defines it */
struct vcpu;       /* its virtual CPU; the backend defines it */
struct vm_backend; /* the open /dev/kvm and its capabilities, shared by all VMs of an engine */

#define VM_SLOT_READONLY 1u

struct vcpu_config {
    /* abi/cpu_features.def bits that the image may use; CPUID and XCR0 show only these */
    uint64_t cpu_features;
    gpa_t page_root; /* CR3: sys_space_page_root() */
    /* Host address one past the exception stack: sys_space_exception_stack_top(). Ring 3 cannot
     * write to that stack. */
    uint8_t *exception_stack_top;
};

/* Only one thread at a time may call functions of one VM and its vCPU, except kick. Every function
 * that can fail returns 0, or a negative HUSK_E… and fills err. */
struct vm_ops {
    int (*create)(struct vm_backend *backend, struct vm **ret_vm, struct husk_error *err);
    /* Destroy the VM that the backend may have for the next create. NULL: it never has one. */
    void (*drop_kept)(struct vm_backend *backend);
    void (*destroy)(struct vm *vm); /* after its vCPU; NULL is allowed */
    /* The caller chooses slot indexes, which are small integers. bytes 0 removes the slot. gpa,
     * hva, bytes: page multiples. */
    int (*set_slot)(struct vm *vm, uint32_t slot_idx, gpa_t gpa, uint8_t *hva, uint64_t bytes,
                    uint32_t flags, struct husk_error *err);
};

#define VCPU_FAULTS_UNKNOWN UINT64_MAX

struct vcpu_ops {
    /* Create the VM's only vCPU. */
    int (*create)(struct vm *vm, const struct vcpu_config *config, struct vcpu **ret_vcpu,
                  struct husk_error *err);
    void (*destroy)(struct vcpu *vcpu); /* NULL is fine */
    /* Get the registers of the last exit, and set those for the next run. Neither makes a system
     * call (KVM_CAP_SYNC_REGS). After VM_EXIT_EXCEPTION, get_regs gives the registers of the
     * interrupted code. After VM_EXIT_PORT, rip is at the OUT or after it, depending on the
     * hypervisor. To resume, set nothing. To redirect, set rip to an address other than that of the
     * OUT: KVM would take that address for a resumption and skip the OUT. set_regs always sets ring
     * 3's registers, whatever the exit was. After an exit other than VM_EXIT_PORT, it also resets
     * segments, control and debug registers and pending events to those of a new vCPU. It takes
     * only the status flags and DF from rflags. After VM_EXIT_EXCEPTION, set registers before the
     * next run; with those of get_regs, the instruction runs again. After other exits, if nothing
     * is set, the next run continues where the guest was. */
    void (*get_regs)(const struct vcpu *vcpu, struct vm_regs *ret_regs);
    void (*set_regs)(struct vcpu *vcpu, const struct vm_regs *regs);
    /* Run until the next exit. An error means the VM itself failed (HUSK_E_SYS), never the
     * guest. */
    int (*run)(struct vcpu *vcpu, struct vm_exit *ret_exit, struct husk_error *err);
    /* Make the current or next run return VM_EXIT_KICKED soon. It is sticky until a run has
     * returned so. Any thread may call it. The caller also sends the kick signal to the thread that
     * runs the vCPU, if there is one. */
    void (*kick)(struct vcpu *vcpu);
    /* The number of page faults that the hypervisor took for the guest so far, on all threads; or
     * VCPU_FAULTS_UNKNOWN, if it does not count them. If the number is the same as before, no page
     * of the slots has become private by what the guest did in between. Makes a system call. */
    uint64_t (*faults)(struct vcpu *vcpu);
    /* Use the page root and the exception stack of another sys_space, from the next set_regs on.
     * The caller exchanges the slots. */
    void (*set_space)(struct vcpu *vcpu, gpa_t page_root, uint8_t *exception_stack_top);
};

extern const struct vm_ops vm_kvm_ops;
extern const struct vcpu_ops vcpu_kvm_ops;

/* host/vm/vm_kvm_caps.c: HUSK_E_NO_HYPERVISOR, HUSK_E_HYPERVISOR_CAP; the messages say what to
 * do. */
int vm_kvm_backend_new(const char *kvm_path, struct vm_backend **ret_backend,
                       struct husk_error *err);
void vm_kvm_backend_free(struct vm_backend *backend);
void vm_kvm_host_info(const struct vm_backend *backend, struct husk_host_info *ret_info);
/* host/vm/vm_thread.c. May another thread run a VM than the one that ran it first? Before Linux
 * 6.13, KVM then waits for an RCU grace period, some milliseconds. */
bool vm_may_change_thread(void);
enum vm_entry vm_kvm_entry(const struct vm_backend *backend);

#endif
