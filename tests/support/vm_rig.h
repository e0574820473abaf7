/*
 * tests/support/vm_rig.h: a virtual machine with a few pages, to run some bytes of machine code in
 * ring 3. For tests of the VM itself, without image and wasm.
 */
#ifndef TESTS_SUPPORT_VM_RIG_H
#define TESTS_SUPPORT_VM_RIG_H

#include "layout.h"
#include "syspages.h"
#include "vm.h"

#define RIG_TEXT_GVA HUSK_TEXT_GVA
#define RIG_TEXT_BYTES 0x4000u
#define RIG_DATA_GVA HUSK_DATA_GVA
#define RIG_DATA_BYTES 0x4000u
#define RIG_STACK_BYTES 0x4000u
/* first slot of the space; 0..2 are text, data, stack; 3..7 are free for the test */
#define RIG_SLOT_SPACE 8u

struct vm_rig {
    struct vm_backend *backend;
    struct sys_template *template;
    struct sys_space *space;
    struct vm *vm;
    struct vcpu *vcpu;
    uint8_t *text, *data, *stack; /* host addresses */
    struct husk_error err;
};

/* Define guest code `name` in assembler within a C file, for vm_rig_load(). The code must be
 * position-independent. The NOP keeps an OUT from being the first instruction, because host/vm/vm.h
 * forbids redirecting the guest to the OUT that it stands at. */
#define RIG_CODE(name, code)                                                                       \
    __asm__(".pushsection .rodata\n" #name ":\n nop\n" code "\n" #name "_end:\n.popsection\n");    \
    extern const uint8_t name[], name##_end[]
#define RIG_LOAD(rig, name) vm_rig_load(rig, name, (size_t)(name##_end - name))

/* cpu_features: bits of abi/cpu_features.def; bits that this host lacks are ignored. Ends the test
 * on failure. */
void vm_rig_init(struct vm_rig *rig, uint64_t cpu_features);
void vm_rig_done(struct vm_rig *rig);
/* Put code at RIG_TEXT_GVA, set RIP to its start and the stack pointer to the top of the stack. */
void vm_rig_load(struct vm_rig *rig, const uint8_t *code, size_t bytes);
/* Run until an exit. The run must not fail. */
struct vm_exit vm_rig_run(struct vm_rig *rig);
/* End the test unless the exit is from this port, or from this exception. */
void vm_rig_check_port(const struct vm_exit *exit, unsigned port);
void vm_rig_check_exception(const struct vm_exit *exit, unsigned vector);
/* Load, run, return the exit. */
#define RIG_RUN_CODE(rig, name) (RIG_LOAD(rig, name), vm_rig_run(rig))

#endif
