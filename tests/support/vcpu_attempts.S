/*
 * tests/support/vcpu_attempts.S: see vcpu_attempts.h. The code is position-independent, except for
 * memory 0. An attempt faults if the host does not allow it. Otherwise it ends as the byte at
 * ATTEMPT_ENDING_GVA says.
 */
#include "ports.h"
#include "vcpu_attempts.h"

    .macro attempt name
    .pushsection .rodata.attempts_table, "a", @progbits
0:  .long 1f - attempts_text
    .asciz "\name"
    .org 0b + 32
    .popsection
1:
    .endm

#define TRY(name, ...) attempt name; __VA_ARGS__; jmp ending

    .section .rodata.attempts_table, "a", @progbits
    .balign 4
    .globl attempts_table
    .hidden attempts_table
attempts_table:

    .section .rodata.attempts_text, "a", @progbits
    .balign 64
    .irp name, text, text_end, entry, resume, thunk, clean, stands
    .globl attempts_\name
    .hidden attempts_\name
    .endr

attempts_text:
attempts_entry: /* rdi: function, rsi: thunk. The NOP: see host/vm/vm.h about redirecting to an OUT */
    nop
    out %eax, $HUSK_PORT_HOST_CALL
    cld
    call *%rsi
    out %eax, $HUSK_PORT_CALL_DONE
    ud2
    .byte 0 /* the tag */
attempts_thunk:
    call *%rdi
    ret
attempts_clean:
    ret
attempts_stands: /* the first call is pending, and what the second one finds is looked at */
    call hostcall
    call hostcall
    ret
hostcall:
    out %eax, $HUSK_PORT_HOST_CALL
attempts_resume:
    ret

    .macro ends_if value, target
    cmpb $\value, ATTEMPT_ENDING_GVA
    je \target
    .endm

ending: /* registers are not touched, only flags */
    ends_if 1, 1f
    ends_if 2, 2f
    ends_if 3, 3f
    ends_if 4, 4f
    ends_if 5, 5f
    ends_if 6, 6f
    ends_if 7, 7f
    ends_if 8, .
    ret
1:  .byte 0x67, 0x0f, 0xb9, 0x40, 8 /* a trap site: integer overflow */
2:  ud2
3:  out %eax, $0x55
4:  mov $ATTEMPT_OUT_GVA, %edi
    mov $100, %ecx
    mov $0x10, %edx
    rep insb
5:  pushfq
    orl $0x100, (%rsp)
    popfq
    nop
6:  mov 0x77777777, %al
7:  xor %esp, %esp
    out %eax, $HUSK_PORT_CALL_DONE

/* ---- General registers and flags ---- */

    .macro load_general
    .set at, ATTEMPT_GENERAL_GVA
    .irp reg, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    mov at, %\reg
    .set at, at + 8
    .endr
    .endm

TRY(general, load_general)
TRY(general_and_rsp, load_general; mov ATTEMPT_GENERAL_GVA + 15 * 8, %rsp)
TRY(rsp_noncanonical, movabs $0x8000000000000000, %rsp)
TRY(flags_all, pushq $-1; andl $~0x100, (%rsp); popfq)
TRY(flags_none, pushq $0; popfq)
TRY(flag_df, std)
TRY(flag_if, pushfq; orl $0x200, (%rsp); popfq)
TRY(flag_nt, pushfq; orl $0x4000, (%rsp); popfq)
TRY(flag_nt_iret, pushfq; orl $0x4000, (%rsp); popfq; iretq)
TRY(flag_rf, pushfq; orl $0x10000, (%rsp); popfq)
TRY(flag_ac, pushfq; orl $0x40000, (%rsp); popfq)
TRY(flag_ac_unaligned, pushfq; orl $0x40000, (%rsp); popfq; mov -7(%rsp), %rax)
TRY(flag_vif_vip, pushfq; orl $0x180000, (%rsp); popfq)
TRY(flag_id, pushfq; xorl $0x200000, (%rsp); popfq)
TRY(flag_tf, pushfq; orl $0x100, (%rsp); popfq)
TRY(flag_tf_done, pushfq; orl $0x100, (%rsp); popfq; out %eax, $HUSK_PORT_CALL_DONE)
TRY(flag_tf_host_call, pushfq; orl $0x100, (%rsp); popfq; out %eax, $HUSK_PORT_HOST_CALL)
TRY(flag_tf_service, pushfq; orl $0x100, (%rsp); popfq; out %eax, $HUSK_PORT_SERVICE)
TRY(flag_tf_port, pushfq; orl $0x100, (%rsp); popfq; out %eax, $0x66)
TRY(flag_tf_in, pushfq; orl $0x100, (%rsp); popfq; in $0x66, %al)
TRY(flag_tf_syscall, pushfq; orl $0x100, (%rsp); popfq; syscall)
TRY(flag_tf_cpuid, pushfq; orl $0x100, (%rsp); popfq; cpuid)
TRY(flag_tf_ss, mov %ss, %ecx; pushfq; orl $0x100, (%rsp); popfq; mov %ecx, %ss; out %eax, $HUSK_PORT_CALL_DONE)
TRY(sti, sti)
TRY(cli, cli)
TRY(sti_shadow_done, cli; sti; out %eax, $HUSK_PORT_CALL_DONE)
TRY(sti_shadow_port, cli; sti; out %eax, $0x66)
TRY(sti_shadow_fault, cli; sti; ud2)
TRY(ss_shadow_done, mov %ss, %ecx; mov %ecx, %ss; out %eax, $HUSK_PORT_CALL_DONE)
TRY(ss_shadow_int3, mov %ss, %ecx; mov %ecx, %ss; int3)
TRY(clac, clac)
TRY(stac, stac)

/* ---- Segments and their bases ---- */

    .macro load_segments selector
    mov $\selector, %ecx
    mov %ecx, %ds
    mov %ecx, %es
    mov %ecx, %fs
    mov %ecx, %gs
    .endm

    .irp selector, 0x00, 0x03, 0x07, 0x0f, 0x10, 0x18, 0x1b, 0x23, 0x2b, 0x33, 0x40, 0x4b, 0x53, 0x63, 0x6b, 0x73, 0x7b, 0x80
TRY(segments_\selector, load_segments \selector)
TRY(fs_\selector, mov $\selector, %ecx; mov %ecx, %fs)
TRY(gs_\selector, mov $\selector, %ecx; mov %ecx, %gs)
TRY(ss_\selector, mov $\selector, %ecx; mov %ecx, %ss)
TRY(far_return_\selector, pushq $\selector; lea 1f(%rip), %rcx; push %rcx; lretq; 1:)
TRY(iret_cs_\selector, mov %rsp, %rdx; mov %ss, %ecx; push %rcx; push %rdx; pushfq; pushq $\selector;
    lea 1f(%rip), %rcx; push %rcx; iretq; 1:)
TRY(iret_ss_\selector, mov %rsp, %rdx; mov %cs, %ecx; pushq $\selector; push %rdx; pushfq; push %rcx;
    lea 1f(%rip), %rcx; push %rcx; iretq; 1:)
    .endr
TRY(iret_flags, mov %rsp, %rdx; mov %ss, %ecx; push %rcx; push %rdx; pushq $-1; andl $~0x100, (%rsp); mov %cs, %ecx; push %rcx;
    lea 1f(%rip), %rcx; push %rcx; iretq; 1:)
TRY(iret_noncanonical, movabs $0x8000000000000000, %rdx; mov %ss, %ecx; push %rcx; push %rdx; pushfq; mov %cs, %ecx; push %rcx;
    push %rdx; iretq)
TRY(far_jump, movl $0x400000, ATTEMPT_SCRATCH_GVA; movw $0x23, ATTEMPT_SCRATCH_GVA + 4; ljmpl *ATTEMPT_SCRATCH_GVA)
TRY(far_call_ring0, movl $0x101000, ATTEMPT_SCRATCH_GVA; movw $0x10, ATTEMPT_SCRATCH_GVA + 4; lcalll *ATTEMPT_SCRATCH_GVA)
TRY(lfs, movl $0x1234, ATTEMPT_SCRATCH_GVA; movw $0x2b, ATTEMPT_SCRATCH_GVA + 4; lfsl ATTEMPT_SCRATCH_GVA, %ecx)
TRY(lgs, movl $0x1234, ATTEMPT_SCRATCH_GVA; movw $0, ATTEMPT_SCRATCH_GVA + 4; lgsl ATTEMPT_SCRATCH_GVA, %ecx)
TRY(lss, movl $0x1234, ATTEMPT_SCRATCH_GVA; movw $0x2b, ATTEMPT_SCRATCH_GVA + 4; lssl ATTEMPT_SCRATCH_GVA, %ecx)
TRY(wrfsbase, mov ATTEMPT_GENERAL_GVA, %eax; wrfsbase %rax)
TRY(wrgsbase, mov ATTEMPT_GENERAL_GVA, %eax; wrgsbase %rax)
TRY(base_then_null, mov ATTEMPT_GENERAL_GVA, %eax; wrfsbase %rax; wrgsbase %rax; xor %eax, %eax; mov %eax, %fs; mov %eax, %gs)
TRY(null_then_base, xor %eax, %eax; mov %eax, %fs; mov %eax, %gs; mov ATTEMPT_GENERAL_GVA, %eax; wrfsbase %rax; wrgsbase %rax)
TRY(swapgs, swapgs)
TRY(wrgsbase_swapgs, mov ATTEMPT_GENERAL_GVA, %eax; wrgsbase %rax; swapgs)
TRY(lgdt, lgdt ATTEMPT_SCRATCH_GVA)
TRY(lidt, lidt ATTEMPT_SCRATCH_GVA)
TRY(lldt, xor %eax, %eax; lldt %ax)
TRY(ltr, mov $0x40, %eax; ltr %ax)
TRY(sgdt_sidt_sldt_str, sgdt ATTEMPT_OUT_GVA; sidt ATTEMPT_OUT_GVA; sldt %eax; str %eax)

/* ---- Control, debug and model-specific registers ---- */

    .irp n, 0, 2, 3, 4, 8
TRY(read_cr\n, mov %cr\n, %rax)
TRY(write_cr\n, mov ATTEMPT_GENERAL_GVA, %rax; mov %rax, %cr\n)
TRY(clear_cr\n, xor %eax, %eax; mov %rax, %cr\n)
    .endr
    .irp n, 0, 1, 2, 3, 6, 7
TRY(read_dr\n, mov %dr\n, %rax)
TRY(write_dr\n, mov $0x403, %eax; mov %rax, %dr\n)
    .endr
TRY(clts, clts)
TRY(lmsw, mov $-1, %eax; lmsw %ax)
TRY(smsw, smsw %eax)
TRY(xsetbv_1, xor %ecx, %ecx; xor %edx, %edx; mov $1, %eax; xsetbv)
TRY(xsetbv_7, xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv)
TRY(xsetbv_all, xor %ecx, %ecx; mov $-1, %edx; mov $-1, %eax; xsetbv)
TRY(xsetbv_xcr1, mov $1, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv)
TRY(xgetbv_0, xor %ecx, %ecx; xgetbv)
TRY(xgetbv_1, mov $1, %ecx; xgetbv)
    /* TSC, TSC_ADJUST, SPEC_CTRL, PRED_CMD, MISC_FEATURES, SYSENTER_*, MISC_ENABLE, XFD, DEBUGCTL, PAT, PMU, S_CET, SSP,
     * PASID, XSS, KVM's clocks and steal time, PVM's own, EFER, STAR, LSTAR, CSTAR, FMASK, FS, GS, KERNEL_GS, TSC_AUX, VM_CR, VM_HSAVE */
    .irp msr, 0x10, 0x3b, 0x48, 0x49, 0x140, 0x174, 0x175, 0x176, 0x1a0, 0x1c4, 0x1d9, 0x277, 0x38f, 0x6a0, 0x6a2, 0x6a7, 0xd93, 0xda0, \
        0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x4b564df0, 0x4b564df1, 0x4b564df2, 0x4b564df3, 0xc0000080, 0xc0000081, 0xc0000082, \
        0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0010114, 0xc0010117
TRY(wrmsr_\msr, mov $\msr, %ecx; mov ATTEMPT_GENERAL_GVA, %eax; xor %edx, %edx; wrmsr)
    .endr
TRY(wrmsr_zero_efer, mov $0xc0000080, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr)
TRY(rdmsr_efer, mov $0xc0000080, %ecx; rdmsr)
TRY(wrmsrns, mov $0xc0000100, %ecx; .byte 0x0f, 0x01, 0xc6)
TRY(rdpmc, xor %ecx, %ecx; rdpmc)
TRY(rdtscp, rdtscp)
TRY(rdpid, rdpid %rax)
TRY(invlpg, invlpg ATTEMPT_SCRATCH_GVA)
TRY(invd, invd)
TRY(wbinvd, wbinvd)
TRY(invpcid, xor %eax, %eax; invpcid ATTEMPT_SCRATCH_GVA, %rax)

/* ---- Ways out ---- */

TRY(syscall, syscall)
TRY(syscall_wild, load_general; mov $-1, %rax; syscall)
TRY(sysenter, sysenter)
TRY(sysret, lea ending(%rip), %rcx; sysretq)
TRY(sysexit, sysexitl)
TRY(int_02, int $2)
TRY(int_03, int3)
TRY(int_08, int $8)
TRY(int_20, int $0x20)
TRY(int_80, int $0x80)
TRY(int_f1, .byte 0xf1)
TRY(hlt, hlt)
TRY(cli_hlt, cli; hlt)
TRY(vmcall, mov $1, %eax; vmcall)
TRY(vmmcall, mov $1, %eax; vmmcall)
TRY(vmrun, vmrun)
TRY(vmload, vmload)
TRY(vmsave, vmsave)
TRY(stgi, stgi)
TRY(clgi, clgi)
TRY(skinit, skinit)
TRY(invlpga, invlpga)
TRY(vmxon, vmxon ATTEMPT_SCRATCH_GVA)
TRY(rsm, rsm)
TRY(getsec, getsec)
TRY(encls, .byte 0x0f, 0x01, 0xcf)
TRY(enclu, .byte 0x0f, 0x01, 0xd7)
TRY(cpuid, xor %eax, %eax; cpuid)
TRY(cpuid_of_kvm, ud2; .ascii "kvm"; cpuid)
TRY(cpuid_of_pvm, .byte 0x0f, 0x01, 0x3c, 0x25, 0x50, 0x56, 0x4d, 0xff; cpuid)
TRY(wrmsr_of_kvm, mov $0xc0000100, %ecx; mov $0x1234, %eax; xor %edx, %edx; ud2; .ascii "kvm"; wrmsr)
TRY(in_byte, in $0x10, %al)
TRY(in_string, mov $ATTEMPT_OUT_GVA, %edi; mov $0x10, %edx; insl)
TRY(in_rep, mov $ATTEMPT_OUT_GVA, %edi; mov $-1, %rcx; mov $0x10, %edx; rep insb)
TRY(in_rep_backwards, std; mov $ATTEMPT_OUT_GVA, %edi; mov $100, %ecx; mov $0x10, %edx; rep insl)
TRY(out_rep, mov $ATTEMPT_OUT_GVA, %esi; mov $-1, %rcx; mov $0x14, %edx; rep outsl)
TRY(out_exception, out %eax, $0x8e)
TRY(out_debug_exception, out %eax, $0x81)
TRY(out_far_port, mov $0xcf8, %edx; out %eax, %dx)

/* ---- Exceptions ---- */

TRY(divide, xor %ecx, %ecx; div %ecx)
TRY(into, .byte 0xce)
TRY(stack_fault, movabs $0x8000000000000000, %rbp; mov (%rbp), %al)
TRY(read_noncanonical, movabs $0x8000000000000000, %rax; mov (%rax), %al)
TRY(read_kernel_half, mov $-4096, %rax; mov (%rax), %al)
TRY(read_null, mov 0, %al)
TRY(write_text, lea ending(%rip), %rax; movb $1, (%rax))
TRY(write_tables, movb $0, 0x100000)
TRY(jump_stub, mov $0x101000, %eax; jmp *%rax)
TRY(jump_debug_stub, mov $0x101020, %eax; jmp *%rax)
TRY(jump_data, mov $0x20000000, %eax; jmp *%rax)
TRY(jump_noncanonical, movabs $0x8000000000000000, %rax; jmp *%rax)
TRY(step_into_fault, pushfq; orl $0x100, (%rsp); popfq; mov 0x77777777, %al)
TRY(step_over_string, mov $ATTEMPT_OUT_GVA, %edi; mov $100, %ecx; pushfq; orl $0x100, (%rsp); popfq; rep stosb)
TRY(too_long, .fill 16, 1, 0x66; nop)
TRY(lock_bad, .byte 0xf0, 0x90)

/* ---- x87, MMX, SSE ---- */

TRY(x87_full, fninit; .rept 8; fldpi; .endr)
TRY(x87_control, fninit; pushq $0x0c7f; fldcw (%rsp); pop %rcx)
TRY(x87_pending, fninit; fldz; fldz; pushq $0; fldcw (%rsp); pop %rcx; fdivp) /* the exception waits for the next x87 instruction */
TRY(x87_fault, fninit; fldz; fldz; pushq $0; fldcw (%rsp); pop %rcx; fdivp; fwait)
TRY(x87_pointers, fninit; fldl ATTEMPT_GENERAL_GVA; fstpl ATTEMPT_OUT_GVA; fldl ATTEMPT_GENERAL_GVA + 8)
TRY(x87_environment, fnstenv ATTEMPT_OUT_GVA; movl $0xbeef, ATTEMPT_OUT_GVA + 12; movl $0xf00d, ATTEMPT_OUT_GVA + 20; fldenv ATTEMPT_OUT_GVA)
TRY(x87_frstor, frstor ATTEMPT_XSAVE_GVA + 32)
TRY(mmx, .irp n, 0, 1, 2, 3, 4, 5, 6, 7; movq ATTEMPT_GENERAL_GVA + 8 * \n, %mm\n; .endr)
TRY(mmx_emms, movq ATTEMPT_GENERAL_GVA, %mm3; movq ATTEMPT_GENERAL_GVA + 8, %mm7; emms)
TRY(mxcsr_round, pushq $0x7fbf; ldmxcsr (%rsp); pop %rcx)
TRY(mxcsr_daz, pushq $0xffc0; ldmxcsr (%rsp); pop %rcx)
TRY(mxcsr_bad, pushq $-1; ldmxcsr (%rsp); pop %rcx)
TRY(sse_fault, pushq $0; ldmxcsr (%rsp); pop %rcx; xorps %xmm0, %xmm0; divss %xmm0, %xmm0)
TRY(sse, .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15; movups ATTEMPT_GENERAL_GVA + 4 * \n, %xmm\n; .endr)
TRY(fxrstor, fxrstor ATTEMPT_XSAVE_GVA)
TRY(fxrstor_bad, movl $-1, ATTEMPT_XSAVE_GVA + 24; fxrstor ATTEMPT_XSAVE_GVA)
TRY(fxsave, fxsave64 ATTEMPT_OUT_GVA)

/* ---- XSAVE and what is wider ---- */

#define EVERYTHING mov $-1, %eax; mov $-1, %edx
TRY(xrstor, EVERYTHING; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor64, EVERYTHING; xrstor64 ATTEMPT_XSAVE_GVA)
TRY(xrstor_some, mov ATTEMPT_GENERAL_GVA, %eax; mov ATTEMPT_GENERAL_GVA + 4, %edx; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor_init, EVERYTHING; movq $0, ATTEMPT_XSAVE_GVA + 512; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor_all_bits, EVERYTHING; movq $-1, ATTEMPT_XSAVE_GVA + 512; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor_compact, EVERYTHING; movq $7, ATTEMPT_XSAVE_GVA + 512; movl $7, ATTEMPT_XSAVE_GVA + 520;
    movl $0x80000000, ATTEMPT_XSAVE_GVA + 524; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor_bad_header, EVERYTHING; movq $1, ATTEMPT_XSAVE_GVA + 536; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor_bad_mxcsr, EVERYTHING; movl $-1, ATTEMPT_XSAVE_GVA + 24; xrstor ATTEMPT_XSAVE_GVA)
TRY(xrstor_unmapped, EVERYTHING; xrstor 0x77777740)
TRY(xrstors, EVERYTHING; xrstors ATTEMPT_XSAVE_GVA)
TRY(xrstor_of_host, xor %ecx, %ecx; xgetbv; movl %eax, ATTEMPT_XSAVE_GVA + 512; andl $~0x60000, ATTEMPT_XSAVE_GVA + 512; /* but AMX's */
    movl %edx, ATTEMPT_XSAVE_GVA + 516; EVERYTHING; xrstor ATTEMPT_XSAVE_GVA)
TRY(xsave, EVERYTHING; xsave ATTEMPT_OUT_GVA)
TRY(xsavec, EVERYTHING; xsavec ATTEMPT_OUT_GVA)
TRY(xsaves, EVERYTHING; xsaves ATTEMPT_OUT_GVA)

/* ---- Protection keys. Without the right to read, the ending cannot be read either: a page fault ---- */

#define NO_KEYS xor %ecx, %ecx; xor %edx, %edx
TRY(wrpkru_ones, NO_KEYS; mov $-1, %eax; wrpkru)
TRY(wrpkru_ones_done, NO_KEYS; mov $-1, %eax; wrpkru; out %eax, $HUSK_PORT_CALL_DONE)
TRY(wrpkru_ones_host_call, NO_KEYS; mov $-1, %eax; wrpkru; out %eax, $HUSK_PORT_HOST_CALL; out %eax, $HUSK_PORT_CALL_DONE)
TRY(wrpkru_no_write, NO_KEYS; mov $2, %eax; wrpkru)
TRY(wrpkru_random, mov ATTEMPT_GENERAL_GVA, %eax; NO_KEYS; wrpkru; out %eax, $HUSK_PORT_CALL_DONE)
TRY(avx, .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15; vmovups ATTEMPT_GENERAL_GVA + 4 * \n, %ymm\n; .endr)
TRY(avx_vzeroupper, vmovups ATTEMPT_GENERAL_GVA, %ymm7; vzeroupper)
    .macro load_zmm
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    vmovups ATTEMPT_GENERAL_GVA + 2 * \n, %zmm\n
    .endr
    .endm
    .macro load_opmasks
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7
    kmovq ATTEMPT_GENERAL_GVA + 8 * \n, %k\n
    .endr
    .endm
TRY(avx512, load_zmm; load_opmasks)
TRY(avx512_opmasks, load_opmasks)
TRY(avx512_vzeroupper, load_zmm; load_opmasks; vzeroupper)
TRY(avx512_vzeroall, load_zmm; load_opmasks; vzeroall)
TRY(avx512_k16, mov $-1, %eax; kmovw %eax, %k7)
TRY(avx_vnni, .byte 0xc4, 0xe2, 0x75, 0x50, 0xc2)
TRY(amx_config, ldtilecfg ATTEMPT_SCRATCH_GVA)
TRY(amx_config_set, movb $1, ATTEMPT_SCRATCH_GVA; movw $64, ATTEMPT_SCRATCH_GVA + 16; movb $16, ATTEMPT_SCRATCH_GVA + 48;
    ldtilecfg ATTEMPT_SCRATCH_GVA; tilezero %tmm0)
TRY(amx_release, tilerelease)
TRY(pkru, xor %ecx, %ecx; xor %edx, %edx; mov $-4, %eax; wrpkru)
TRY(rdpkru, xor %ecx, %ecx; rdpkru)
TRY(cet_incssp, mov $1, %eax; incsspq %rax)
TRY(cet_rdssp, rdsspq %rax)
TRY(cet_saveprevssp, saveprevssp)
TRY(cet_rstorssp, rstorssp ATTEMPT_SCRATCH_GVA)
TRY(cet_setssbsy, setssbsy)
TRY(cet_clrssbsy, clrssbsy ATTEMPT_SCRATCH_GVA)
TRY(cet_wrss, xor %eax, %eax; wrssq %rax, ATTEMPT_SCRATCH_GVA)
TRY(cet_wruss, xor %eax, %eax; wrussq %rax, ATTEMPT_SCRATCH_GVA)
TRY(uintr_stui, .byte 0xf3, 0x0f, 0x01, 0xef)
TRY(uintr_clui, .byte 0xf3, 0x0f, 0x01, 0xee)
TRY(tsx, xbegin 1f; xend; 1:)
TRY(mpx, .byte 0xf3, 0x0f, 0x1b, 0x00)
TRY(lwp, xor %eax, %eax; llwpcb %rax)
TRY(apx_r16, .byte 0xd5, 0x18, 0x89, 0xc0) /* mov %rax, %r16: REX2 */
attempts_text_end:
    .globl attempts_text_end
    .hidden attempts_text_end

    .section .rodata.attempts_table, "a", @progbits
    .globl attempts_table_end
    .hidden attempts_table_end
attempts_table_end:

    .section .note.GNU-stack, "", @progbits
