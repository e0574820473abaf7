/*
 * host/vm/vm_exit.h: how a run of the guest ends. The folders above host/memory see only this and
 * the registers (regs_x86_64.h) of a vCPU, through host/memory/machine.h.
 */
#ifndef HOST_VM_EXIT_H
#define HOST_VM_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "regs_x86_64.h"

enum vm_exit_kind {
    VM_EXIT_PORT, /* ring 3 did OUT to one of our ports: .port */
    /* the CPU stopped the guest at an instruction: .fault, and the registers of the interrupted
     * code */
    VM_EXIT_EXCEPTION,
    VM_EXIT_KICKED,   /* vcpu_ops.kick() or a signal; the guest may run again */
    VM_EXIT_VIOLATION /* any other exit: .detail describes it */
};

/* The kinds of CPU exceptions that the host distinguishes. */
enum vm_fault_kind {
    VM_FAULT_OTHER,
    VM_FAULT_PAGE,        /* the page tables forbid the access to .address */
    VM_FAULT_INSTRUCTION, /* the instruction does not exist */
    VM_FAULT_DEBUG        /* single-stepping */
};

struct vm_fault {
    enum vm_fault_kind kind;
    bool is_fetch;    /* VM_FAULT_PAGE: the access fetched an instruction */
    uint64_t address; /* VM_FAULT_PAGE */
    /* For messages: the exception's number in the architecture, and its error code, or 0 if it has
     * none. */
    uint8_t number;
    uint32_t code;
};

struct vm_exit {
    enum vm_exit_kind kind; /* only the fields of this kind are set */
    uint8_t port;
    struct vm_fault fault;
    char detail[96];
};

#endif
