/*
 * host/entry_page_x86_64.S: where every call enters ring 3. A page that the host makes and the guest can only read and execute, so
 * what is reset here is reset for a hostile image, too: all that ring 3 can have changed and the host does not set at every call
 * (general registers, RFLAGS) or that ring 3 cannot change at all (control, debug, system registers, MSRs, XCR0).
 * That is why neither a restore nor giving a VM to somebody else needs a vCPU ioctl.
 *
 * In: RIP = the page, R11 = the image's entry (guest/entry.S), other registers as that wants them. RAX, RDX and R11 are lost.
 * One variant per vector extension the VM has: syspages.c takes the one that fits.
 */
#define USER_DS 0x2b /* SYS_USER_DS, host/syspages_layout.h */

    .macro reset_x87
    fninit
    .rept 8
    fldz /* fninit leaves the registers' contents, which MMX instructions would still show (SDM vol. 1, 8.1.2 and 9.2) */
    .endr
    fninit
    .endm

    /* FS and GS have bases, which WRFSBASE sets where ring 3 runs with the host's CR4: on kvm-pvm. A null selector would leave them (AMD;
     * APM vol. 3, CPUID Fn8000_0021_EAX: NullSelectorClearsBase), the host kernel's __USER_DS clears them. Elsewhere the GDT is ours and
     * has no such descriptor (syspages.c), and nothing can have set a base: null does. */
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

    .macro reset_sse
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    pxor %xmm\reg, %xmm\reg
    .endr
    .endm

    .macro reset_avx512
    .irp reg, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vpxord %zmm\reg, %zmm\reg, %zmm\reg
    .endr
    .irp reg, 0, 1, 2, 3, 4, 5, 6, 7
    kxorw %k\reg, %k\reg, %k\reg
    .endr
    .endm

    .macro entry_page name, avx, avx512
    .globl \name, \name\()_end
    .hidden \name, \name\()_end
    .balign 16
\name:
    reset_segments
    reset_x87
    ldmxcsr 1f(%rip)
    .if \avx
    vzeroall
    .else
    reset_sse
    .endif
    .if \avx512
    reset_avx512
    .endif
    xorl %eax, %eax
    xorl %edx, %edx
    jmp *%r11
    .balign 4
1:  .long 0x1f80
\name\()_end:
    .endm

    .section .rodata.husk_entry_page, "a", @progbits
    entry_page entry_page_sse, 0, 0
    entry_page entry_page_avx, 1, 0
    entry_page entry_page_avx512, 1, 1

    .section .note.GNU-stack, "", @progbits
