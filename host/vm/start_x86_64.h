/* host/vm/start_x86_64.h: the registers at the start of a call, within the functions that every
 * call runs (base/hot.h). */
#ifndef HOST_START_X86_64_H
#define HOST_START_X86_64_H

#include "regs_x86_64.h"
#include "syspages_layout_x86_64.h"

static inline void vm_regs_start(const struct vm_start *start, struct vm_regs *ret_regs) {
    *ret_regs = (struct vm_regs){.rip = SYS_ENTRY_GVA,
                                 .r10 = start->ticket,
                                 .r11 = start->entry_gva,
                                 .rdi = start->code_gva,
                                 .rsi = start->thunk_gva,
                                 .rsp = start->stack_gva,
                                 .rflags = VM_START_RFLAGS};
}

#endif
