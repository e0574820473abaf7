/*
 * host/vm/regs_x86_64.h: the guest's registers, and how a call begins with them. Files that are not
 * x86-64's keep them and hand them on, and know only the functions here.
 */
#ifndef HOST_REGS_X86_64_H
#define HOST_REGS_X86_64_H

#include <stdbool.h>
#include <stdint.h>

struct vm_regs { /* the general ones, in KVM's order */
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip,
        rflags;
};

/* The entry page (entry_page_x86_64.S) that fits a backend's VMs: by what ring 3 can execute there,
 * which is not always what it was granted. */
enum vm_entry {
    VM_ENTRY_SSE,   /* there is no XCR0 */
    VM_ENTRY_XSAVE, /* XRSTOR works */
    VM_ENTRY_PKRU   /* and so does WRPKRU */
};

/* What a call begins with: entry_page_x86_64.S, guest/entry.S. */
struct vm_start {
    uint64_t ticket;              /* a number that no guest knows */
    uint64_t entry_gva;           /* the image's entry */
    uint64_t thunk_gva, code_gva; /* what is called, and how */
    uint64_t stack_gva;           /* one past its stack */
};

void vm_regs_start(const struct vm_start *start, struct vm_regs *ret_regs);
/* Is it the entry page that was interrupted, before it let the guest go? A guest that jumps there
 * cannot look like it: the entry page takes the ticket away before it leaves, and no guest ever
 * sees it. */
bool vm_regs_are_before_guest(const struct vm_regs *regs, uint64_t ticket);
/* Has not even the entry page run? */
bool vm_regs_are_at_start(const struct vm_regs *regs);
/* Where the stack of a call inside the interrupted one can begin. */
uint64_t vm_regs_free_stack(const struct vm_regs *regs);

static inline uint64_t vm_regs_pc(const struct vm_regs *regs) {
    return regs->rip;
}
static inline void vm_regs_set_pc(struct vm_regs *regs, uint64_t pc) {
    regs->rip = pc;
}

#endif
