/* host/vm/start_x86_64.h: the registers at the start of a call, within the functions that every
 * call runs (base/hot.h). */
#ifndef HOST_START_X86_64_H
#define HOST_START_X86_64_H

#include "regs_x86_64.h"
#include "syspages_layout_x86_64.h"

/* Deliberately field by field: GCC zeroes a struct of this size by REP STOS, which takes 20 ns. */
static inline void vm_regs_start(const struct vm_start *start, struct vm_regs *ret_regs) {
    ret_regs->rip = SYS_ENTRY_GVA;
    ret_regs->rflags = VM_START_RFLAGS;
    ret_regs->rsp = start->stack_gva;
    ret_regs->r10 = start->ticket;
    ret_regs->r11 = start->entry_gva;
    ret_regs->rdi = start->code_gva;
    ret_regs->rsi = start->thunk_gva;
    ret_regs->rax = ret_regs->rbx = ret_regs->rcx = ret_regs->rdx = ret_regs->rbp = 0;
    ret_regs->r8 = ret_regs->r9 = ret_regs->r12 = ret_regs->r13 = ret_regs->r14 = ret_regs->r15 = 0;
}
_Static_assert(sizeof(struct vm_regs) == 18 * sizeof(uint64_t), "each register is set above");

#endif
