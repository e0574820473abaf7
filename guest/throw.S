/*
 * guest/throw.S: where an exception is thrown. throw.c walks the stack with a copy of the
 * registers that functions preserve. So nothing is unwound until a handler is found, and if none
 * is, the stack is still that of the throw. Linked only into images with exceptions.
 *
 * In the functions that throw, the registers keep their values up to the jump to the handler. So
 * these have no .cfi_offset.
 */
#include "ports.h"

/* void husk.throw(uint32_t tag): the pending exception's values are stored. Does not return. */
    .section .text.husk.throw, "ax", @progbits
    .globl husk.throw, husk.throw_host
    .hidden husk.throw, husk.throw_host
    .type husk.throw, @function
    .balign 16
husk.throw:
    .cfi_startproc
    incl %edi
    movl %edi, husk.exception /* .tag */
    .cfi_endproc
    .size husk.throw, . - husk.throw

/* Throws the pending exception. A host call resumes here if the host function threw: the top of the
 * stack is the return address to the import stub. */
    .type husk.throw_host, @function
husk.throw_host:
    .cfi_startproc
    leaq 8(%rsp), %rax
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    pushq 8(%rsp) /* struct throw_frame of throw.c, from its end */
    .cfi_adjust_cfa_offset 8
    .irp reg, r15, r14, r13, r12, rbp, rbx, rax
    pushq %\reg
    .cfi_adjust_cfa_offset 8
    .endr
    movq %rsp, %rdi
    call husk.throw_find
    testl %eax, %eax
    je 1f
    movl husk.exception, %edx /* the landing pad's selector: the tag */
    decl %edx
    movq %rsp, %rcx
    movq 8(%rcx), %rbx
    movq 16(%rcx), %rbp
    movq 24(%rcx), %r12
    movq 32(%rcx), %r13
    movq 40(%rcx), %r14
    movq 48(%rcx), %r15
    .cfi_remember_state
    .cfi_undefined rip
    movq (%rcx), %rsp
    jmp *56(%rcx)
    .cfi_restore_state
1:  out %eax, $HUSK_PORT_UNCAUGHT
2:  ud2 /* the host does not come back here */
    jmp 2b
    .cfi_endproc
    .size husk.throw_host, . - husk.throw_host

/* void husk.throw_ref(uint64_t exnref): does not return. */
    .section .text.husk.throw_ref, "ax", @progbits
    .globl husk.throw_ref
    .hidden husk.throw_ref
    .type husk.throw_ref, @function
    .balign 16
husk.throw_ref:
    .cfi_startproc
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call husk.throw_load
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    jmp husk.throw_host
    .cfi_endproc
    .size husk.throw_ref, . - husk.throw_ref

/* husk.hostcall for programs with references to exceptions. A nested call may look for references
 * on the stack. So the registers of the functions below it must be there, too. */
    .section .text.husk.hostcall_refs, "ax", @progbits
    .globl husk.hostcall_refs
    .hidden husk.hostcall_refs
    .type husk.hostcall_refs, @function
    .balign 16
husk.hostcall_refs:
    .cfi_startproc
    .irp reg, rbx, rbp, r12, r13, r14, r15
    pushq %\reg
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset \reg, 0
    .endr
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call husk.hostcall
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    .irp reg, r15, r14, r13, r12, rbp, rbx
    popq %\reg
    .cfi_adjust_cfa_offset -8
    .cfi_restore \reg
    .endr
    ret
    .cfi_endproc
    .size husk.hostcall_refs, . - husk.hostcall_refs

    .section .note.GNU-stack, "", @progbits
