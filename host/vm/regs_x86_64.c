/* host/vm/regs_x86_64.c: see regs_x86_64.h. */
#include "regs_x86_64.h"

#include "syspages_layout_x86_64.h"

/* Below the interrupted RSP there may be a red zone (System V ABI, 3.2.2: 128 bytes). */
#define NESTED_STACK_GAP_BYTES 256u

void vm_regs_keep(const struct vm_regs *regs, struct vm_kept *ret_kept) {
    *ret_kept = (struct vm_kept){
        .stack_gva = regs->rsp,
        .regs = {regs->rbx, regs->rbp, regs->r12, regs->r13, regs->r14, regs->r15}};
}

void vm_regs_stand(const struct vm_kept *kept, uint64_t pc, struct vm_regs *ret_regs) {
    *ret_regs = (struct vm_regs){.rip = pc,
                                 .rsp = kept->stack_gva,
                                 .rbx = kept->regs[0],
                                 .rbp = kept->regs[1],
                                 .r12 = kept->regs[2],
                                 .r13 = kept->regs[3],
                                 .r14 = kept->regs[4],
                                 .r15 = kept->regs[5],
                                 .rflags = VM_START_RFLAGS};
}

void vm_regs_reenter(const struct vm_regs *regs, uint64_t ticket, uint64_t pc,
                     struct vm_regs *ret_regs) {
    struct vm_kept kept;
    vm_regs_keep(regs, &kept);
    vm_regs_stand(&kept, SYS_ENTRY_GVA, ret_regs);
    ret_regs->r10 = ticket;
    ret_regs->r11 = pc;
}

void vm_regs_touch(uint64_t list_gva, uint32_t count, struct vm_regs *ret_regs) {
    *ret_regs = (struct vm_regs){.rip = SYS_ENTRY_GVA,
                                 .r11 = SYS_ENTRY_GVA + SYS_TOUCH_OFFSET,
                                 .rsi = list_gva,
                                 .r8 = count,
                                 .rflags = VM_START_RFLAGS};
}

bool vm_regs_are_before_guest(const struct vm_regs *regs, uint64_t ticket) {
    return regs->rip - SYS_ENTRY_GVA < HUSK_PAGE_SIZE && regs->r10 == ticket;
}

bool vm_regs_are_at_start(const struct vm_regs *regs) {
    return regs->rip == SYS_ENTRY_GVA;
}

uint64_t vm_regs_free_stack(const struct vm_regs *regs) {
    return (regs->rsp - NESTED_STACK_GAP_BYTES) & ~15ull;
}
