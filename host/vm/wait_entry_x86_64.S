/*
 * host/vm/wait_entry_x86_64.S: the system call that a kick can cancel. See wait.h; the handler in
 * wait_x86_64.c knows the labels.
 *
 * long wait_entry(const volatile uint64_t *kicked_by, long number, const long args[6])
 *
 * Between wait_entry_begin and wait_entry_end, the handler may move RIP to wait_entry_kicked. Code
 * there changes neither the stack nor a register of the caller. After the SYSCALL, RIP is
 * wait_entry_end, and its result counts.
 */
    .text
    .globl wait_entry, wait_entry_begin, wait_entry_end, wait_entry_kicked
    .hidden wait_entry, wait_entry_begin, wait_entry_end, wait_entry_kicked
    .type wait_entry, @function
    .balign 16
wait_entry:
    .cfi_startproc
#ifdef __CET__
    endbr64
#endif
    movq %rdi, %r11
    movq %rsi, %rax
    movq %rdx, %rcx
    movq 0(%rcx), %rdi
    movq 8(%rcx), %rsi
    movq 16(%rcx), %rdx
    movq 24(%rcx), %r10
    movq 32(%rcx), %r8
    movq 40(%rcx), %r9
wait_entry_begin:
    cmpq $0, (%r11)
    jne wait_entry_kicked
    syscall /* destroys RCX and R11, which a restarted one does not need */
wait_entry_end:
    ret
wait_entry_kicked:
    movq $-4, %rax /* -EINTR */
    ret
    .cfi_endproc
    .size wait_entry, . - wait_entry

    .section .note.GNU-stack, "", @progbits
