/*
 * tests/hostile/vm_hostile_test.c: attacks by machine code in ring 3, directly against the VM. Each
 * attack must end as an exception or a violation. Harmless code may end in any way that does not
 * leave the guest. Afterwards the same VM must run a good program.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "harness.h"
#include "ports.h"
#include "vm_kvm.h"
#include "vm_rig.h"
#include "cpu_x86_64.h"

static struct vm_rig rig;

static void rig_begin(uint64_t cpu_features) {
    SKIP_WITHOUT_KVM();
    vm_rig_init(&rig, cpu_features);
}

RIG_CODE(code_good, "out %eax, $0x11\n mov $0x77, %ebx\n out %eax, $0x10");

static void check_vm_still_works(void) {
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_good);
    CHECK_MSG(exit.kind == VM_EXIT_PORT && exit.port == HUSK_PORT_HOST_CALL, "kind %d: %s",
              exit.kind, exit.detail);
    exit = vm_rig_run(&rig);
    CHECK_MSG(exit.kind == VM_EXIT_PORT && exit.port == HUSK_PORT_CALL_DONE, "kind %d: %s",
              exit.kind, exit.detail);
    struct vm_regs regs;
    vcpu_kvm_ops.get_regs(rig.vcpu, &regs);
    CHECK_EQ_U64(regs.rbx, 0x77);
}

/* What each of these instructions must end in. */
RIG_CODE(code_de, "xor %ecx, %ecx\n div %ecx");
RIG_CODE(code_ud, "ud2");
RIG_CODE(code_ud1, ".byte 0x67, 0x0f, 0xb9, 0x40, 0x05"); /* a trap site of compiled code */
RIG_CODE(code_int3, "int3");
RIG_CODE(code_int80, "int $0x80");
RIG_CODE(code_int20, "int $0x20");
RIG_CODE(code_intdf, "int $8");
RIG_CODE(code_hlt, "hlt");
RIG_CODE(code_cli_hlt, "cli\n hlt");
RIG_CODE(code_rdmsr, "mov $0xc0000080, %ecx\n rdmsr");
RIG_CODE(code_wrmsr, "mov $0xc0000080, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr");
RIG_CODE(code_mov_cr3, "mov %cr3, %rax");
RIG_CODE(code_mov_to_cr4, "mov %rax, %cr4");
RIG_CODE(code_mov_dr7, "mov %rax, %dr7");
RIG_CODE(code_lgdt, "lgdt (%rsp)");
RIG_CODE(code_lidt, "lidt (%rsp)");
RIG_CODE(code_ltr, "mov $0x40, %eax\n ltr %ax");
RIG_CODE(code_invlpg, "invlpg (%rsp)");
RIG_CODE(code_wbinvd, "wbinvd");
RIG_CODE(code_swapgs, "swapgs");
RIG_CODE(code_xsetbv, "xor %ecx, %ecx\n xor %edx, %edx\n mov $1, %eax\n xsetbv");
RIG_CODE(code_rdpmc, "xor %ecx, %ecx\n rdpmc");
RIG_CODE(code_kernel_ss, "mov $0x18, %eax\n mov %eax, %ss");
RIG_CODE(code_wild_ds, "mov $0x1230, %eax\n mov %eax, %ds");
RIG_CODE(code_ldt_fs, "mov $0x7, %eax\n mov %eax, %fs");
RIG_CODE(code_far_call, "push $0x10\n lea 1f(%rip), %rax\n push %rax\n 1: lretq");
RIG_CODE(
    code_iret_ring0,
    "push $0x18\n push %rsp\n pushfq\n push $0x10\n lea 1f(%rip), %rax\n push %rax\n 1: iretq");
RIG_CODE(code_sysret, "sysretq");
RIG_CODE(code_noncanonical, "movabs $0x8000000000000000, %rax\n mov (%rax), %al");
RIG_CODE(code_jump_noncanonical, "movabs $0x8000000000000000, %rax\n jmp *%rax");
RIG_CODE(code_write_text, "lea 1f(%rip), %rax\n 1: movb $1, (%rax)");
RIG_CODE(code_jump_data, "mov $0x20000000, %eax\n jmp *%rax");
RIG_CODE(code_read_gdt, "mov 0x100000, %al");
RIG_CODE(code_write_stub, "movb $0, 0x101000");
RIG_CODE(code_jump_stub, "mov $0x101000, %eax\n jmp *%rax");
RIG_CODE(code_write_exception_stack, "movb $0, 0x102ff0");
RIG_CODE(code_trap_flag, "pushfq\n orl $0x100, (%rsp)\n popfq\n nop\n nop");
RIG_CODE(code_no_stack, "mov $0x1000, %esp\n push %rax");
RIG_CODE(code_in, "in $0x10, %eax");
RIG_CODE(code_in_dx, "mov $0x3f8, %edx\n in %dx, %al");
RIG_CODE(code_ins, "mov $0x10, %edx\n mov $0x20000000, %edi\n insl");
RIG_CODE(code_rep_ins, "mov $0x10, %edx\n mov $0x20000000, %edi\n mov $0x1000, %ecx\n rep insb");
RIG_CODE(code_rep_outs, "mov $0x10, %edx\n mov $0x20000000, %esi\n mov $0x1000, %ecx\n rep outsb");
RIG_CODE(code_rep_outs_endless,
         "mov $0x70, %edx\n mov $0x20000000, %esi\n or $-1, %rcx\n rep outsl");
RIG_CODE(code_out_byte, "out %al, $0x10");
RIG_CODE(code_out_word, "out %ax, $0x10");
RIG_CODE(code_out_other, "out %eax, $0x14");
RIG_CODE(code_out_below, "out %eax, $0x0f");
RIG_CODE(code_out_quirk, "out %al, $0x7e"); /* a port that KVM treats specially by default */
RIG_CODE(code_out_high, "mov $0xffff, %edx\n out %eax, %dx");
RIG_CODE(code_out_pci, "mov $0xcf8, %edx\n out %eax, %dx");
RIG_CODE(code_out_exception, "out %eax, $0x8e"); /* as if it were a page-fault stub */
RIG_CODE(code_out_exception0, "out %eax, $0x80");
RIG_CODE(code_out_exception_last, "out %eax, $0x9f");
RIG_CODE(code_out_past_exceptions, "out %eax, $0xa0");
RIG_CODE(code_icebp, ".byte 0xf1");
RIG_CODE(code_into, ".byte 0xce");
RIG_CODE(code_clts, "clts");
RIG_CODE(code_invd, "invd");
RIG_CODE(code_lmsw, "lmsw %ax");
RIG_CODE(code_lldt, "xor %eax, %eax\n lldt %ax");
RIG_CODE(code_mov_cr8, "mov %rax, %cr8");
RIG_CODE(code_monitor, "monitor");
RIG_CODE(code_mwait, "mwait");
RIG_CODE(code_vmrun, "vmrun");
RIG_CODE(code_wrfsbase, "wrfsbase %rax");
RIG_CODE(code_call_noncanonical_stack, "movabs $0x8000000000000000, %rsp\n push %rax");
RIG_CODE(code_lock_bad, ".byte 0xf0, 0x90");
RIG_CODE(code_too_long, ".fill 16, 1, 0x66\n nop");
RIG_CODE(code_x87_fault, "fninit\n fldz\n fldz\n pushq $0\n fldcw (%rsp)\n fdivp\n fwait");
RIG_CODE(code_sse_fault, "pushq $0\n ldmxcsr (%rsp)\n xorps %xmm0, %xmm0\n divss %xmm0, %xmm0");
RIG_CODE(code_read_tables_end, "mov 0x3fffff, %al");
RIG_CODE(code_execute_stack, "movw $0x10e7, -16(%rsp)\n lea -16(%rsp), %rax\n jmp *%rax");

struct misdeed {
    const char *name;
    const uint8_t *code, *end;
    int vector; /* -1: any exception, or a violation: hypervisors differ; FORGERY */
};
/* An exception that never was: a violation, or #GP where the bitmap of ports decides. */
#define FORGERY -2
#define MISDEED(what, vector)                                                                      \
    { #what, code_##what, code_##what##_end, vector }

/* iret_ring0, far_call: to a ring-0 segment. trap_flag: single-stepping itself. */
static const struct misdeed misdeeds[] = {
    MISDEED(de, X86_VECTOR_DE),
    MISDEED(ud, X86_VECTOR_UD),
    MISDEED(ud1, X86_VECTOR_UD),
    MISDEED(int3, -1),
    MISDEED(int80, -1),
    MISDEED(int20, -1),
    MISDEED(intdf, -1),
    MISDEED(hlt, X86_VECTOR_GP),
    MISDEED(cli_hlt, X86_VECTOR_GP),
    MISDEED(rdmsr, X86_VECTOR_GP),
    MISDEED(wrmsr, X86_VECTOR_GP),
    MISDEED(mov_cr3, X86_VECTOR_GP),
    MISDEED(mov_to_cr4, X86_VECTOR_GP),
    MISDEED(mov_dr7, X86_VECTOR_GP),
    MISDEED(lgdt, X86_VECTOR_GP),
    MISDEED(lidt, X86_VECTOR_GP),
    MISDEED(ltr, X86_VECTOR_GP),
    MISDEED(invlpg, X86_VECTOR_GP),
    MISDEED(wbinvd, X86_VECTOR_GP),
    MISDEED(swapgs, X86_VECTOR_GP),
    MISDEED(xsetbv, -1),
    MISDEED(rdpmc, X86_VECTOR_GP),
    MISDEED(kernel_ss, X86_VECTOR_GP),
    MISDEED(wild_ds, X86_VECTOR_GP),
    MISDEED(ldt_fs, X86_VECTOR_GP),
    MISDEED(far_call, -1),   /* QEMU's TCG reads the stack as ring 0, and SMAP stops it */
    MISDEED(iret_ring0, -1), /* the same */
    MISDEED(sysret, -1),
    MISDEED(noncanonical, X86_VECTOR_GP),
    MISDEED(jump_noncanonical, X86_VECTOR_GP),
    MISDEED(write_text, X86_VECTOR_PF),
    MISDEED(jump_data, X86_VECTOR_PF),
    MISDEED(read_gdt, X86_VECTOR_PF),
    MISDEED(write_stub, X86_VECTOR_PF),
    MISDEED(jump_stub, X86_VECTOR_PF),
    MISDEED(write_exception_stack, X86_VECTOR_PF),
    MISDEED(trap_flag, X86_VECTOR_DB),
    MISDEED(no_stack, X86_VECTOR_PF),
    MISDEED(in, -1),
    MISDEED(in_dx, -1),
    MISDEED(ins, -1),
    MISDEED(rep_ins, -1),
    MISDEED(rep_outs, -1),
    MISDEED(rep_outs_endless, -1),
    MISDEED(out_byte, -1),
    MISDEED(out_word, -1),
    MISDEED(out_other, -1),
    MISDEED(out_below, -1),
    MISDEED(out_quirk, -1),
    MISDEED(out_high, -1),
    MISDEED(out_pci, -1),
    MISDEED(out_exception, FORGERY),
    MISDEED(out_exception0, FORGERY),
    MISDEED(out_exception_last, FORGERY),
    MISDEED(out_past_exceptions, -1),
    MISDEED(icebp, -1),
    MISDEED(into, X86_VECTOR_UD),
    MISDEED(clts, X86_VECTOR_GP),
    MISDEED(invd, X86_VECTOR_GP),
    MISDEED(lmsw, X86_VECTOR_GP),
    MISDEED(lldt, X86_VECTOR_GP),
    MISDEED(mov_cr8, X86_VECTOR_GP),
    MISDEED(monitor, -1),
    MISDEED(mwait, -1),
    MISDEED(vmrun, -1),
    MISDEED(wrfsbase, -1),
    MISDEED(call_noncanonical_stack, -1),
    MISDEED(lock_bad, X86_VECTOR_UD),
    MISDEED(too_long, X86_VECTOR_GP),
    MISDEED(x87_fault, X86_VECTOR_MF),
    /* QEMU's TCG knows no SSE exceptions, and runs into the int3 after it */
    MISDEED(sse_fault, -1),
    MISDEED(read_tables_end, X86_VECTOR_PF),
    MISDEED(execute_stack, X86_VECTOR_PF),
};

static bool is_as_designed(const struct misdeed *misdeed, const struct vm_exit *exit) {
    if (exit->kind != VM_EXIT_EXCEPTION)
        return exit->kind == VM_EXIT_VIOLATION && misdeed->vector < 0;
    if (misdeed->vector == FORGERY)
        return exit->fault.number == X86_VECTOR_GP;
    return misdeed->vector < 0 || exit->fault.number == misdeed->vector;
}

TEST(misdeeds_end_as_designed_and_the_vm_lives_on) {
    rig_begin(0);
    unsigned failures = 0;
    for (size_t i = 0; i < sizeof misdeeds / sizeof misdeeds[0]; i++) {
        const struct misdeed *misdeed = &misdeeds[i];
        vm_rig_load(&rig, misdeed->code, (size_t)(misdeed->end - misdeed->code));
        const struct vm_exit exit = vm_rig_run(&rig);
        const bool is_fine = is_as_designed(misdeed, &exit);
        if (!is_fine)
            printf("  %s: kind %d vector %2u error 0x%x cr2 0x%llx %s\n", misdeed->name, exit.kind,
                   exit.fault.number, exit.fault.code, (unsigned long long)exit.fault.address,
                   exit.detail);
        failures += !is_fine;
        memset(rig.data, 0x5a, RIG_DATA_BYTES);
        check_vm_still_works();
        /* what was interrupted is not finished in it */
        for (size_t at = 0; at < RIG_DATA_BYTES; at++)
            CHECK_MSG(rig.data[at] == 0x5a, "%s: memory was written at 0x%zx", misdeed->name, at);
        memset(rig.data, 0, RIG_DATA_BYTES);
    }
    CHECK_EQ_U64(failures, 0);
    vm_rig_done(&rig);
}

/* ---- Runs that fail ---- */

static unsigned fails_at; /* the n-th KVM_RUN from now on fails after it has run; 0: none */

/* Not one that has an instruction to finish: then KVM_RUN has succeeded. */
static bool is_in_mid_op(void) {
    return rig.vcpu->run->exit_reason == KVM_EXIT_IO &&
           rig.vcpu->run->io.direction == KVM_EXIT_IO_IN;
}

static int control_failing(int fd, unsigned long request, void *arg) {
    int result = kvm_sys_linux.control(fd, request, arg);
    if (request != KVM_RUN || fails_at == 0 || --fails_at != 0 || (result == 0 && is_in_mid_op()))
        return result;
    errno = EFAULT;
    return -1;
}

static void rig_begin_failing(void) {
    static struct kvm_sys failing;
    rig_begin(0);
    failing = kvm_sys_linux;
    failing.control = control_failing;
    rig.backend->sys = &failing;
}

RIG_CODE(code_where, "mov %cs, %ebx\n mov %ss, %ecx\n out %eax, $0x10");

/* The guest stands in a stub in ring 0, or an exception is about to be delivered: the next program
 * begins in ring 3 all the same. */
TEST(a_run_that_failed_has_run) {
    rig_begin_failing();
    unsigned failures = 0;
    for (size_t i = 0; i < sizeof misdeeds / sizeof misdeeds[0]; i++) {
        const struct misdeed *misdeed = &misdeeds[i];
        struct vm_exit exit;
        struct vm_regs regs;
        vm_rig_load(&rig, misdeed->code, (size_t)(misdeed->end - misdeed->code));
        fails_at = 1;
        const int status = vcpu_kvm_ops.run(rig.vcpu, &exit, &rig.err);
        CHECK_MSG(status == HUSK_E_SYS || exit.kind == VM_EXIT_VIOLATION, "%s: status %d",
                  misdeed->name, status);
        failures += status != 0;
        exit = RIG_RUN_CODE(&rig, code_where);
        CHECK_MSG(exit.kind == VM_EXIT_PORT && exit.port == HUSK_PORT_CALL_DONE,
                  "after %s: kind %d: %s", misdeed->name, exit.kind, exit.detail);
        vcpu_kvm_ops.get_regs(rig.vcpu, &regs);
        CHECK_MSG((regs.rbx & 3) == 3 && (regs.rcx & 3) == 3, "after %s: CS 0x%llx, SS 0x%llx",
                  misdeed->name, (unsigned long long)regs.rbx, (unsigned long long)regs.rcx);
    }
    CHECK(failures > 30);
    vm_rig_done(&rig);
}

/* An instruction that cannot be finished would be so at any later time, in whatever memory there is
 * then. */
TEST(a_vm_that_cannot_finish_an_instruction_never_runs_again) {
    rig_begin_failing();
    struct vm_exit exit;
    RIG_LOAD(&rig, code_rep_ins);
    fails_at = 2;
    CHECK_STATUS(vcpu_kvm_ops.run(rig.vcpu, &exit, &rig.err), HUSK_E_SYS);
    CHECK_CONTAINS(rig.err.message, "to finish an instruction");
    memset(rig.data, 0x5a, RIG_DATA_BYTES);
    for (int i = 0; i < 3; i++) {
        RIG_LOAD(&rig, code_good);
        CHECK_STATUS(vcpu_kvm_ops.run(rig.vcpu, &exit, &rig.err), HUSK_E_SYS);
        CHECK_CONTAINS(rig.err.message, "cannot run any more");
    }
    for (size_t at = 0; at < RIG_DATA_BYTES; at++)
        CHECK_EQ_U64(rig.data[at], 0x5a);
    vm_rig_done(&rig);
}

/* These may do what they like, as long as the host sees nothing but an exit: each ends with `out
 * $0x10` or in an exception. */
RIG_CODE(code_cpuid, "xor %eax, %eax\n cpuid\n out %eax, $0x10");
RIG_CODE(code_rdtsc, "rdtsc\n out %eax, $0x10");
RIG_CODE(code_rdtscp, "rdtscp\n out %eax, $0x10");
RIG_CODE(code_rdrand, "rdrand %rax\n out %eax, $0x10");
RIG_CODE(code_syscall, "syscall\n out %eax, $0x10");
RIG_CODE(code_sysenter, "sysenter\n out %eax, $0x10");
RIG_CODE(code_sgdt, "sgdt -64(%rsp)\n out %eax, $0x10");
RIG_CODE(code_sidt, "sidt -64(%rsp)\n out %eax, $0x10");
RIG_CODE(code_smsw, "smsw %eax\n out %eax, $0x10");
RIG_CODE(code_cli, "cli\n out %eax, $0x10");
RIG_CODE(code_sti, "sti\n nop\n out %eax, $0x10");
RIG_CODE(code_std, "std\n out %eax, $0x10");
/* all flags but TF */
RIG_CODE(code_popf_ones, "pushq $-1\n andq $~0x100, (%rsp)\n popfq\n out %eax, $0x10");
RIG_CODE(code_popf_zeros, "pushq $0\n popfq\n out %eax, $0x10");
RIG_CODE(code_nt_iret, "pushq $0x4002\n popfq\n iretq\n out %eax, $0x10");
RIG_CODE(code_ac_unaligned, "pushq $0x40002\n popfq\n mov -7(%rsp), %rax\n out %eax, $0x10");
RIG_CODE(code_null_segments, "xor %eax, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %fs\n mov "
                             "%eax, %gs\n out %eax, $0x10");
RIG_CODE(code_user_segments,
         "mov $0x2b, %eax\n mov %eax, %ds\n mov %eax, %fs\n mov %eax, %ss\n out %eax, $0x10");
RIG_CODE(code_compat_far,
         "push $0x2b\n lea 1f(%rip), %rax\n push %rax\n lretq\n 1: out %eax, $0x10");
RIG_CODE(code_vmmcall, "vmmcall\n out %eax, $0x10");
RIG_CODE(code_vmcall, "vmcall\n out %eax, $0x10");
RIG_CODE(code_pause, "mov $10000, %ecx\n 1: pause\n dec %ecx\n jnz 1b\n out %eax, $0x10");
RIG_CODE(code_clflush, "clflush (%rsp)\n out %eax, $0x10");
RIG_CODE(code_fxsave,
         "and $-16, %rsp\n fxsave -1024(%rsp)\n fxrstor -1024(%rsp)\n out %eax, $0x10");
RIG_CODE(code_xgetbv, "xor %ecx, %ecx\n xgetbv\n out %eax, $0x10");
RIG_CODE(code_split_lock,
         "lea -3(%rsp), %rax\n and $-64, %rax\n lock addl $1, -2(%rax)\n out %eax, $0x10");
RIG_CODE(code_lar,
         "mov $0x10, %eax\n lar %eax, %ecx\n lsl %eax, %ecx\n verr %ax\n out %eax, $0x10");
RIG_CODE(code_prefetch, "prefetcht0 0x100000\n prefetchw 0x101000\n out %eax, $0x10");

#define HARMLESS(what)                                                                             \
    { #what, code_##what, code_##what##_end, -1 }
static const struct misdeed harmless[] = {
    HARMLESS(cpuid),         HARMLESS(rdtsc),         HARMLESS(rdtscp),     HARMLESS(rdrand),
    HARMLESS(syscall),       HARMLESS(sysenter),      HARMLESS(sgdt),       HARMLESS(sidt),
    HARMLESS(smsw),          HARMLESS(cli),           HARMLESS(sti),        HARMLESS(std),
    HARMLESS(popf_ones),     HARMLESS(popf_zeros),    HARMLESS(nt_iret),    HARMLESS(ac_unaligned),
    HARMLESS(null_segments), HARMLESS(user_segments), HARMLESS(compat_far), HARMLESS(vmmcall),
    HARMLESS(vmcall),        HARMLESS(pause),         HARMLESS(clflush),    HARMLESS(fxsave),
    HARMLESS(xgetbv),        HARMLESS(split_lock),    HARMLESS(lar),        HARMLESS(prefetch),
};

TEST(harmless_instructions_change_nothing_for_the_next_program) {
    rig_begin(0);
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        const struct misdeed *row = &harmless[i];
        vm_rig_load(&rig, row->code, (size_t)(row->end - row->code));
        const struct vm_exit exit = vm_rig_run(&rig);
        bool is_fine = exit.kind == VM_EXIT_EXCEPTION || exit.kind == VM_EXIT_VIOLATION ||
                       (exit.kind == VM_EXIT_PORT && exit.port == HUSK_PORT_CALL_DONE);
        CHECK_MSG(is_fine, "%s: kind %d port 0x%x: %s", row->name, exit.kind, exit.port,
                  exit.detail);
        check_vm_still_works();
    }
    vm_rig_done(&rig);
}

/* A thousand wild runs: random bytes as code. Whatever they do, they end (the timer kicks), and the
 * VM still works. */
static void on_alarm(int number) {
    (void)number;
}

TEST(random_code_ends) {
    rig_begin(~0ull);
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    vm_kvm_host_info(rig.backend, &info);
    if (strstr(info.cpu_name, "QEMU TCG") != NULL)
        SKIP("QEMU's software CPU itself aborts on some byte sequences");
    const struct sigaction action = {.sa_handler = on_alarm};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    const struct itimerval every_20_ms = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &every_20_ms, NULL) == 0);
    uint64_t state = 0x9e3779b97f4a7c15;
    unsigned kinds[4] = {0};
    for (unsigned round = 0; round < 1000; round++) {
        uint8_t code[512];
        for (size_t i = 0; i < sizeof code; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift64 */
            code[i] = (uint8_t)(state >> 32);
        }
        vm_rig_load(&rig, code, sizeof code);
        for (unsigned i = 0; i < 8; i++) { /* what a careless host might do */
            struct vm_exit exit = vm_rig_run(&rig);
            kinds[exit.kind]++;
            if (exit.kind == VM_EXIT_VIOLATION || exit.kind == VM_EXIT_KICKED)
                break;
            struct vm_regs regs;
            vcpu_kvm_ops.get_regs(rig.vcpu, &regs);
            /* on from there, with its registers */
            regs.rip = RIG_TEXT_GVA + (regs.rip + 1) % sizeof code;
            vcpu_kvm_ops.set_regs(rig.vcpu, &regs);
        }
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    printf("  ports %u, exceptions %u, kicks %u, violations %u\n", kinds[0], kinds[1], kinds[2],
           kinds[3]);
    check_vm_still_works();
    vm_rig_done(&rig);
}

TEST_MAIN()
