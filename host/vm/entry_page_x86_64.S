/*
 * host/vm/entry_page_x86_64.S: where every call enters ring 3. The host makes this page, and the
 * guest can only read and execute it. So its resets hold for a hostile image, too. It resets all
 * state that ring 3 can change and the host does not set. The host sets general registers and
 * RFLAGS at every call. It sets system and debug registers after a run that did not end at one of
 * our ports. So neither a restore nor a VM's next user needs a vCPU ioctl. Deliberately not
 * KVM_SET_XSAVE: it is an ioctl at every call. KVM also refuses components that the VM was not
 * granted, while on kvm-pvm ring 3 has all of the host's.
 *
 * In: RIP = the page, R10 = the ticket, R11 = the image's entry (guest/entry.S), other registers as
 * that entry needs them. RAX, RCX, RDX, R10 and R11 are lost. The ticket is a number that no guest
 * knows. The page removes it before the guest runs. So if R10 holds the ticket at an exit, the
 * guest has not run (vm_regs_are_before_guest()).
 * There are three variants; enum vm_entry (regs_x86_64.h) chooses one.
 */
#define USER_DS 0x2b /* SYS_USER_DS, host/vm/syspages_layout_x86_64.h */
#define MXCSR_RESET 0x1f80

    /* Protection keys first: ring 3 may have taken away its own right to read, and XRSTOR, which resets PKRU, too, reads memory. Nothing
     * above it may. Fetching instructions needs no such right (SDM vol. 3A, section 4.6.2). */
    .macro reset_pkru
    xorl %ecx, %ecx
    rdpkru /* EDX = 0. To look is cheaper than to write, and it is 0 after every guest that we compiled */
    testl %eax, %eax
    jz 2f
    xorl %eax, %eax
    wrpkru
2:
    .endm

    /* FS and GS have bases, which WRFSBASE sets where ring 3 runs with the host's CR4: on kvm-pvm. A null selector would leave them (AMD;
     * APM vol. 3, CPUID Fn8000_0021_EAX: NullSelectorClearsBase), the host kernel's __USER_DS clears them. Elsewhere the GDT is ours and
     * has no such descriptor (syspages_x86_64.c), and nothing can have set a base: null does. */
    .macro reset_segments
    movl $USER_DS, %eax
    xorl %edx, %edx
    verr %ax
    cmovnzl %edx, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    .endm

    .macro entry_page name, has_xsave, has_pkru
    .globl \name, \name\()_end
    .hidden \name, \name\()_end
    .balign 64
\name:
    .if \has_pkru
    reset_pkru
    .endif
    reset_segments
    fninit /* some CPUs' XRSTOR leaves the last instruction's and operand's addresses */
    .if \has_xsave
    /* Every state component that ring 3 can have: on kvm-pvm XCR0 is the host's. Deliberately not an instruction per register: we would
     * have to know them all, and a component of zeros may still count as in use, which XGETBV shows (SDM vol. 1, 13.6). */
    movl $-1, %eax
    movl $-1, %edx
    xrstor 1f(%rip)
    .else
    .rept 8
    fldz /* FNINIT leaves the registers' contents, which MMX instructions would still show (SDM vol. 1, 8.1.2 and 9.2) */
    .endr
    fninit
    ldmxcsr 1f + 24(%rip)
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pxor %xmm\reg, %xmm\reg
    .endr
    .endif
    xorl %eax, %eax
    xorl %ecx, %ecx
    xorl %edx, %edx
    xorl %r10d, %r10d /* from here on nothing can fail but the guest's own first instruction */
    jmp *%r11
    .balign 64
1:  /* An XSAVE area in which every component is in its initial state: SDM vol. 1, sections 13.4 and 13.8. Only MXCSR has no such bit. */
    .zero 24
    .long MXCSR_RESET
    .zero 512 - 28
    .zero 64 /* the header: XSTATE_BV 0 */
\name\()_end:
    .endm

    .section .rodata.husk_entry_page, "a", @progbits
    entry_page entry_page_sse, 0, 0
    entry_page entry_page_xsave, 1, 0
    entry_page entry_page_pkru, 1, 1

    /* vm_regs_touch(): RSI is a list of R8D addresses. Bit 0 of one means that the byte is written, with what it is. A guest that jumps here
     * can do nothing that it could not do itself. */
    .globl entry_touch, entry_touch_end
    .hidden entry_touch, entry_touch_end
entry_touch:
1:  movq (%rsi), %rdi
    btrq $0, %rdi
    jnc 2f
    orb $0, (%rdi)
    jmp 3f
2:  movb (%rdi), %al
3:  addq $8, %rsi
    decl %r8d
    jnz 1b
    outl %eax, $0x10 /* HUSK_PORT_CALL_DONE */
entry_touch_end:

    .section .note.GNU-stack, "", @progbits
