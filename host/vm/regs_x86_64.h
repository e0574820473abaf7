/*
 * host/vm/regs_x86_64.h: the guest's registers, and their values at the start of a call. Files that
 * are not for x86-64 store and pass them, and use only the functions here.
 */
#ifndef HOST_REGS_X86_64_H
#define HOST_REGS_X86_64_H

#include <stdbool.h>
#include <stdint.h>

struct vm_regs { /* the general registers, in KVM's order */
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip,
        rflags;
};

/* The variant of the entry page (entry_page_x86_64.S) for a backend's VMs. It depends on the
 * instructions that ring 3 can execute there, which may be more than the host granted. */
enum vm_entry {
    VM_ENTRY_SSE,   /* the guest has no XCR0 */
    VM_ENTRY_XSAVE, /* XRSTOR works */
    VM_ENTRY_PKRU   /* XRSTOR and WRPKRU work */
};

/* The start of a call: entry_page_x86_64.S, guest/entry.S. */
struct vm_start {
    uint64_t ticket;              /* a number that no guest knows */
    uint64_t entry_gva;           /* the image's entry */
    uint64_t thunk_gva, code_gva; /* the call thunk, and the function */
    uint64_t stack_gva;           /* one past the end of the stack */
};

#define VM_START_RFLAGS 0x3202u /* guest/entry.S */
/* vm_regs_start(): start_x86_64.h */
/* The registers that a call which stands at a host function needs to go on: those that the C
 * convention keeps. */
#define VM_KEPT_REGS 6u
#define VM_KEPT_BASE 1u /* the one that backtraces need: RBP */
struct vm_kept {
    uint64_t stack_gva;
    uint64_t regs[VM_KEPT_REGS]; /* RBX, RBP, R12 to R15 */
};
void vm_regs_keep(const struct vm_regs *regs, struct vm_kept *ret_kept);
/* As they were at the host call; `pc` is where the guest goes on. */
void vm_regs_stand(const struct vm_kept *kept, uint64_t pc, struct vm_regs *ret_regs);
/* Let such a call go on by way of the entry page, so that the VM may be anybody's. Registers that
 * nobody needs become zero. */
void vm_regs_reenter(const struct vm_regs *regs, uint64_t ticket, uint64_t pc,
                     struct vm_regs *ret_regs);
/* Instead of a call: code of the entry page touches `count` places, at least one. The list of their
 * addresses is at list_gva; VM_TOUCH_WRITES in one: the byte is written, with what it is. The run
 * ends as that of a call that returned. */
#define VM_TOUCH_WRITES 1u
void vm_regs_touch(uint64_t list_gva, uint32_t count, struct vm_regs *ret_regs);
/* Was the entry page interrupted, before it started the guest? A guest that jumps to the entry page
 * does not count. The page removes the ticket before it leaves, so no guest ever sees the
 * ticket. */
bool vm_regs_are_before_guest(const struct vm_regs *regs, uint64_t ticket);
/* Has the entry page not started yet? */
bool vm_regs_are_at_start(const struct vm_regs *regs);
/* The stack address at which a nested call can start. */
uint64_t vm_regs_free_stack(const struct vm_regs *regs);

static inline uint64_t vm_regs_pc(const struct vm_regs *regs) {
    return regs->rip;
}
static inline void vm_regs_set_pc(struct vm_regs *regs, uint64_t pc) {
    regs->rip = pc;
}

#endif
