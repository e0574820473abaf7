/*
 * tests/support/vm_rig.h: a virtual machine with a few pages, to run some bytes of machine code in
 * ring 3. For the tests that look at the VM itself: no image, no wasm.
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
/* the space's slots are from here on; 0..2 text, data, stack; 3..7 free for the test */
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

/* Assembler in the middle of a C file: guest code `name`, to give to vm_rig_load.
 * Position-independent. The NOP keeps an OUT from being the first instruction: host/vm/vm.h forbids
 * to redirect to the OUT that the guest stands at. */
#define RIG_CODE(name, code)                                                                       \
    __asm__(".pushsection .rodata\n" #name ":\n nop\n" code "\n" #name "_end:\n.popsection\n");    \
    extern const uint8_t name[], name##_end[]
#define RIG_LOAD(rig, name) vm_rig_load(rig, name, (size_t)(name##_end - name))

/* The features: bits of abi/cpu_features.def, cut down to what this host has. Ends the test on
 * failure. */
void vm_rig_init(struct vm_rig *rig, uint64_t cpu_features);
void vm_rig_done(struct vm_rig *rig);
/* Put code at RIG_TEXT_GVA and the registers at its start, the stack pointer at the top. */
void vm_rig_load(struct vm_rig *rig, const uint8_t *code, size_t bytes);
/* Run until an exit; the run must work. */
struct vm_exit vm_rig_run(struct vm_rig *rig);
/* It was at this port, or this exception; else the test ends. */
void vm_rig_check_port(const struct vm_exit *exit, unsigned port);
void vm_rig_check_exception(const struct vm_exit *exit, unsigned vector);
/* Load, run, return the exit. */
#define RIG_RUN_CODE(rig, name) (RIG_LOAD(rig, name), vm_rig_run(rig))

#endif
