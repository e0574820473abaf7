/*
 * guest/entry.S: how ring 3 is entered and left. The linker puts it at HUSK_TEXT_GVA, so that husk.entry = e_entry.
 *
 * A call, first or nested: the host writes the arguments to mailbox.call_slots and sets
 *   RIP = its entry page   R11 = husk.entry   RDI = code address of the function   RSI = call thunk of its type
 *   RSP = stack top, 16-byte aligned (nested: below the interrupted RSP, out of its red zone)   RFLAGS = 0x3202 (IOPL 3, IF)
 * The thunk reads the slots, calls the function and writes its results back to the slots; then OUT HUSK_PORT_CALL_DONE.
 * Whether RIP then stands at or after the OUT depends on the hypervisor: the host always sets RIP.
 *
 * The host comes here through its entry page (host/vm/entry_page_x86_64.S), which has reset x87, vector and segment registers: it does so for
 * hostile images, too, so it is not done again here.
 */
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
1:  ud2 /* only a host that forgot to set RIP gets here; never run on into what follows */
    jmp 1b
    .cfi_endproc
    .size husk.entry, . - husk.entry

/* Import stubs call this once mailbox.import_idx and .host_slots are set. C convention: everything but the callee-saved registers may
 * change, because a nested call may have run in between (the host puts the general registers back, not the vector ones). */
    .section .text.husk.hostcall, "ax", @progbits
    .globl husk.hostcall, husk.resume
    .hidden husk.hostcall, husk.resume
    .type husk.hostcall, @function
    .balign 16
husk.hostcall:
    .cfi_startproc
    out %eax, $HUSK_PORT_HOST_CALL
husk.resume:
    ret
    .cfi_endproc
    .size husk.hostcall, . - husk.hostcall

/* mailbox.service_op and .service_arg are set; the result is in .service_ret afterwards. C convention. */
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

/* The call thunk of the init function, which a module needs whether or not it has a type () -> (). */
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
