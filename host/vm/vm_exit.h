/*
 * host/vm/vm_exit.h: how a run of the guest ends. With the registers (regs_x86_64.h) all that the
 * folders above host/memory see of a vCPU, by way of host/memory/machine.h.
 */
#ifndef HOST_VM_EXIT_H
#define HOST_VM_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "regs_x86_64.h"

enum vm_exit_kind {
    VM_EXIT_PORT, /* ring 3 did OUT to one of our ports: .port */
    /* the CPU stopped the guest at an instruction: .fault, and regs of the interrupted code */
    VM_EXIT_EXCEPTION,
    VM_EXIT_KICKED,   /* vcpu_ops.kick() or a signal; the guest may simply be run again */
    VM_EXIT_VIOLATION /* anything else: .detail says what */
};

/* What a CPU exception is, as far as somebody asks. */
enum vm_fault_kind {
    VM_FAULT_OTHER,
    VM_FAULT_PAGE,        /* the page tables do not allow the access to .address */
    VM_FAULT_INSTRUCTION, /* it does not exist */
    VM_FAULT_DEBUG        /* single-stepping */
};

struct vm_fault {
    enum vm_fault_kind kind;
    bool is_fetch;    /* VM_FAULT_PAGE: of an instruction */
    uint64_t address; /* VM_FAULT_PAGE */
    /* For messages: the architecture's number of the exception, and its error code, 0 if it has
     * none. */
    uint8_t number;
    uint32_t code;
};

struct vm_exit {
    enum vm_exit_kind kind;
    uint8_t port;
    struct vm_fault fault;
    char detail[96];
};

#endif
