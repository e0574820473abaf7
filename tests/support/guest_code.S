/*
 * tests/support/guest_code.S: hand-written guest code for image_builder. It is
 * position-independent, except for the mailbox. The test copies [guest_code_start, guest_code_end)
 * to HUSK_TEXT_GVA. The code follows the contract of guest/entry.S.
 */
#include "layout.h"
#include "mailbox.h"
#include "ports.h"
#include "exception_place.h"

#define CALL_SLOT(i) (HUSK_MAILBOX_GVA + HUSK_MBOX_CALL_SLOTS + (i) * HUSK_SLOT_BYTES)
#define HOST_SLOT(i) (HUSK_MAILBOX_GVA + HUSK_MBOX_HOST_SLOTS + (i) * HUSK_SLOT_BYTES)

    .section .rodata
    .globl guest_code_start, guest_code_end
    .globl guest_entry, guest_resume, guest_other_thunk, guest_thunk, guest_add, guest_host, guest_spin, guest_recurse, guest_read, guest_trap
    .globl guest_grow, guest_bad_port, guest_throw, guest_throws_here, guest_host_goes_on
guest_code_start:
guest_entry: /* rdi: function, rsi: thunk */
    cld
    call *%rsi
    out %eax, $HUSK_PORT_CALL_DONE
    ud2

guest_hostcall:
    out %eax, $HUSK_PORT_HOST_CALL
guest_resume:
    ret

/* The functions read and write the slots themselves, so one thunk serves all. The other one is for
 * functions that share code and differ in type. */
guest_other_thunk:
    nop
guest_thunk:
    push %rdi
    call *%rdi
    pop %rdi
    ret

guest_add: /* i32 i32 -> i32 */
    mov CALL_SLOT(0), %eax
    add CALL_SLOT(1), %eax
    mov %eax, CALL_SLOT(0)
    ret

guest_host: /* i64 -> i64: imported function 0 of the argument, plus 1 */
    push %rbx
    mov CALL_SLOT(0), %rax
    mov %rax, HOST_SLOT(0)
    movl $0, HUSK_MAILBOX_GVA + HUSK_MBOX_IMPORT_IDX
    mov $0x1234, %ebx
    call guest_hostcall
guest_host_goes_on:
    mov HOST_SLOT(0), %rax
    add $1, %rax
    cmp $0x1234, %ebx
    jne guest_trap
    mov %rax, CALL_SLOT(0)
    pop %rbx
    ret

guest_spin:
    jmp guest_spin

guest_recurse:
    sub $24, %rsp
    call guest_recurse
    add $24, %rsp
    ret

guest_read: /* i64 -> i64: the word of memory 0 at the argument */
    mov CALL_SLOT(0), %rax
    mov HUSK_MEM0_GVA(%rax), %rax
    mov %rax, CALL_SLOT(0)
    ret

guest_trap: /* integer overflow */
    .byte 0x67, 0x0f, 0xb9, 0x40, 8

guest_grow: /* i64 -> i64: memory.grow of memory 0 */
    mov CALL_SLOT(0), %rax
    movl $HUSK_SERVICE_MEMORY_GROW, HUSK_MAILBOX_GVA + HUSK_MBOX_SERVICE_OP
    movq $0, HUSK_MAILBOX_GVA + HUSK_MBOX_SERVICE_ARG
    mov %rax, HUSK_MAILBOX_GVA + HUSK_MBOX_SERVICE_ARG + 8
    out %eax, $HUSK_PORT_SERVICE
    mov HUSK_MAILBOX_GVA + HUSK_MBOX_SERVICE_RET, %rax
    mov %rax, CALL_SLOT(0)
    ret

guest_bad_port:
    out %eax, $0x55
    ret

guest_throw: /* i32 i64: the tag's number, which is its index + 1 in good code, and the value */
    mov CALL_SLOT(0), %eax
    mov %eax, GUEST_EXCEPTION_GVA
    mov CALL_SLOT(1), %rax
    mov %rax, GUEST_EXCEPTION_GVA + 16
    out %eax, $HUSK_PORT_UNCAUGHT
    ret

/* The host resumes guest_hostcall here, to throw. Values of 0 and more are caught: the host call
 * returns them and 1000. */
guest_throws_here:
    mov GUEST_EXCEPTION_GVA + 16, %rax
    test %rax, %rax
    js 1f
    add $1000, %rax
    mov %rax, HOST_SLOT(0)
    ret
1:  out %eax, $HUSK_PORT_UNCAUGHT
    ret
guest_code_end:

    .section .note.GNU-stack, "", @progbits
