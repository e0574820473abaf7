/*
 * guest/entry.S: how the host enters ring 3 and how ring 3 leaves the guest. The linker puts this
 * code at HUSK_TEXT_GVA, so husk.entry = e_entry.
 *
 * A call, first or nested: the host writes the arguments to mailbox.call_slots and sets
 *   RIP = its entry page   R11 = husk.entry
 *   RDI = code address of the function   RSI = call thunk of its type
 *   RSP = stack top, 16-byte aligned (nested: below the interrupted RSP, out of its red zone)
 *   RFLAGS = 0x3202 (IOPL 3, IF)
 * The thunk reads the slots, calls the function and writes the results to the slots. Then it does
 * OUT HUSK_PORT_CALL_DONE. After that, RIP is at the OUT or after it, depending on the hypervisor.
 * So the host always sets RIP.
 *
 * The host comes here through its entry page (host/vm/entry_page_x86_64.S), which resets the x87,
 * vector and segment registers. That page must do so because an image may be hostile, so this code
 * does not do it again.
 */
#include "layout.h"
#include "mailbox.h"
#include "ports.h"

    .section .text.husk.entry, "ax", @progbits
    .globl husk.entry
    .hidden husk.entry
    .type husk.entry, @function
    .balign 64
husk.entry:
    .cfi_startproc
    .cfi_undefined rip /* the outermost frame */
    cld
    xorl %eax, %eax
    xorl %ebx, %ebx
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %ebp, %ebp
    .irp reg, r8d, r9d, r10d, r11d, r12d, r13d, r14d, r15d
    xorl %\reg, %\reg
    .endr
    call *%rsi
    out %eax, $HUSK_PORT_CALL_DONE
1:  ud2 /* reached only if the host forgot to set RIP; must not continue into the next bytes */
    jmp 1b
    .cfi_endproc
    .size husk.entry, . - husk.entry

/* Import stubs call this once mailbox.import_idx and .host_slots are set. C convention: only the
 * callee-saved registers keep their values, because a nested call may run in between. (The host
 * restores the general registers, not the vector registers.) */
    .section .text.husk.hostcall, "ax", @progbits
    .globl husk.hostcall, husk.resume
    .hidden husk.hostcall, husk.resume
    .type husk.hostcall, @function
    .balign 16
husk.hostcall:
    .cfi_startproc
    movl HUSK_MAILBOX_GVA + HUSK_MBOX_IMPORT_IDX, %eax
    incl %eax
    cmpl HUSK_MAILBOX_GVA + HUSK_MBOX_KNOWN_IMPORT, %eax
    je 2f
1:  out %eax, $HUSK_PORT_HOST_CALL
husk.resume:
    ret
2:  /* the answer is known; an address that is not within memory is the host's to refuse */
    movl HUSK_MAILBOX_GVA + HUSK_MBOX_HOST_SLOTS, %eax
    movl HUSK_MAILBOX_GVA + HUSK_MBOX_HOST_SLOTS + HUSK_SLOT_BYTES, %ecx
    movl HUSK_MAILBOX_GVA + HUSK_MBOX_KNOWN_END, %edx
    cmpl %edx, %eax
    ja 1b
    cmpl %edx, %ecx
    ja 1b
    movl HUSK_MAILBOX_GVA + HUSK_MBOX_KNOWN_WORDS, %edx
    movl %edx, HUSK_MEM0_GVA(%rax)
    movl HUSK_MAILBOX_GVA + HUSK_MBOX_KNOWN_WORDS + 4, %edx
    movl %edx, HUSK_MEM0_GVA(%rcx)
    movl $0, HUSK_MAILBOX_GVA + HUSK_MBOX_HOST_SLOTS
    ret
    .cfi_endproc
    .size husk.hostcall, . - husk.hostcall

/* The caller sets mailbox.service_op and .service_arg. Afterwards the result is in .service_ret. C
 * convention. */
    .section .text.husk.service, "ax", @progbits
    .globl husk.service
    .hidden husk.service
    .type husk.service, @function
    .balign 16
husk.service:
    .cfi_startproc
    out %eax, $HUSK_PORT_SERVICE
    ret
    .cfi_endproc
    .size husk.service, . - husk.service

/* The call thunk of the init function. A module needs it even if it has no type () -> (). */
    .section .text.husk.init_thunk, "ax", @progbits
    .globl husk.init_thunk
    .hidden husk.init_thunk
    .type husk.init_thunk, @function
    .balign 16
husk.init_thunk:
    .cfi_startproc
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call *%rdi
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    ret
    .cfi_endproc
    .size husk.init_thunk, . - husk.init_thunk

    .section .note.GNU-stack, "", @progbits
