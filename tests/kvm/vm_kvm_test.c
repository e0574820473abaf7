/*
 * tests/kvm/vm_kvm_test.c: host/vm_kvm*.c and host/syspages*.c against the real KVM: ports, exceptions, resuming, kicks,
 * registers, growth, protection. Guest code is a few instructions each, in assembler.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "mailbox.h"
#include "ports.h"
#include "vm_rig.h"
#include "x86.h"

static struct vm_rig rig;

static void rig_begin(uint64_t cpu_features) {
    SKIP_WITHOUT_KVM();
    vm_rig_init(&rig, cpu_features);
}

static void check_port(const struct vm_exit *exit, unsigned port) {
    CHECK_MSG(exit->kind == VM_EXIT_PORT && exit->port == port, "expected port 0x%x; kind %d port 0x%x vector %u: %s", port,
              exit->kind, exit->port, exit->vector, exit->detail);
}

static void check_exception(const struct vm_exit *exit, unsigned vector) {
    CHECK_MSG(exit->kind == VM_EXIT_EXCEPTION && exit->vector == vector,
              "expected exception %u; kind %d port 0x%x vector %u: %s", vector, exit->kind, exit->port, exit->vector,
              exit->detail);
}

static struct vm_regs rig_regs(void) {
    struct vm_regs regs;
    vm_kvm_ops.get_regs(rig.vm, &regs);
    return regs;
}

RIG_CODE(code_ports, "out %eax, $0x10\n out %eax, $0x11\n out %eax, $0x12\n mov $7, %ebx\n out %eax, $0x10");

TEST(each_port_exits_and_resumes_after_it) {
    rig_begin(0);
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_ports);
    check_port(&exit, HUSK_PORT_CALL_DONE);
    exit = vm_rig_run(&rig);
    check_port(&exit, HUSK_PORT_HOST_CALL);
    exit = vm_rig_run(&rig);
    check_port(&exit, HUSK_PORT_SERVICE);
    exit = vm_rig_run(&rig);
    check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rbx, 7);
    vm_rig_done(&rig);
}

RIG_CODE(code_move_regs, "xchg %rax, %r15\n xchg %rbx, %r14\n xchg %rcx, %r13\n xchg %rdx, %r12\n"
                         "xchg %rsi, %r11\n xchg %rdi, %r10\n xchg %rbp, %r9\n xchg %rsp, %r8\n out %eax, $0x10");

TEST(all_registers_travel_both_ways) {
    rig_begin(0);
    RIG_LOAD(&rig, code_move_regs);
    const struct vm_regs in = {.rax = 1, .rbx = 2, .rcx = 3, .rdx = 4, .rsi = 5, .rdi = 6, .rbp = 7, .rsp = 8,
                               .r8 = 9, .r9 = 10, .r10 = 11, .r11 = 12, .r12 = 13, .r13 = 14, .r14 = 15,
                               .r15 = 0xfedcba9876543210, .rip = RIG_TEXT_GVA};
    vm_kvm_ops.set_regs(rig.vm, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    check_port(&exit, HUSK_PORT_CALL_DONE);
    const struct vm_regs out = rig_regs();
    CHECK_EQ_U64(out.rax, 0xfedcba9876543210);
    CHECK_EQ_U64(out.rbx, 15);
    CHECK_EQ_U64(out.rcx, 14);
    CHECK_EQ_U64(out.rdx, 13);
    CHECK_EQ_U64(out.rsi, 12);
    CHECK_EQ_U64(out.rdi, 11);
    CHECK_EQ_U64(out.rbp, 10);
    CHECK_EQ_U64(out.rsp, 9);
    CHECK_EQ_U64(out.r8, 8);
    CHECK_EQ_U64(out.r9, 7);
    CHECK_EQ_U64(out.r10, 6);
    CHECK_EQ_U64(out.r11, 5);
    CHECK_EQ_U64(out.r12, 4);
    CHECK_EQ_U64(out.r13, 3);
    CHECK_EQ_U64(out.r14, 2);
    CHECK_EQ_U64(out.r15, 1);
    vm_rig_done(&rig);
}

TEST(a_call_after_a_call_starts_where_it_is_told) {
    rig_begin(0);
    for (uint64_t i = 0; i < 100; i++) {
        struct vm_exit exit = RIG_RUN_CODE(&rig, code_ports);
        check_port(&exit, HUSK_PORT_CALL_DONE);
        exit = vm_rig_run(&rig);
        check_port(&exit, HUSK_PORT_HOST_CALL);
    }
    vm_rig_done(&rig);
}

/* rdi: address to read */
RIG_CODE(code_read, "mov $0x1111, %eax\n mov $0x2222, %ecx\n stc\n mov (%rdi), %rax\n out %eax, $0x10");
#define CODE_READ_FAULT_OFFSET 11

TEST(a_page_fault_reports_address_error_code_and_registers) {
    rig_begin(0);
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA - 64, .rdi = 0x123456789a8};
    vm_kvm_ops.set_regs(rig.vm, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    check_exception(&exit, X86_VECTOR_PF);
    CHECK_EQ_U64(exit.cr2, 0x123456789a8);
    CHECK_EQ_U64(exit.error_code, X86_PF_USER);
    const struct vm_regs out = rig_regs();
    CHECK_EQ_U64(out.rip, RIG_TEXT_GVA + CODE_READ_FAULT_OFFSET);
    CHECK_EQ_U64(out.rsp, HUSK_STACK_TOP_GVA - 64);
    CHECK_EQ_U64(out.rax, 0x1111);
    CHECK_EQ_U64(out.rcx, 0x2222);
    CHECK_EQ_U64(out.rdi, 0x123456789a8);
    CHECK_EQ_U64(out.rflags & 1, 1);
    vm_rig_done(&rig);
}

TEST(after_an_exception_the_host_can_go_on_elsewhere) {
    rig_begin(0);
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA - 64, .rdi = 0x50000000};
    for (int i = 0; i < 20; i++) {
        vm_kvm_ops.set_regs(rig.vm, &in);
        struct vm_exit exit = vm_rig_run(&rig);
        check_exception(&exit, X86_VECTOR_PF);
        CHECK_EQ_U64(exit.cr2, 0x50000000);
    }
    /* Past the faulting instruction, with other registers: `out` is next. */
    struct vm_regs past = rig_regs();
    past.rip += 3;
    past.rax = 0xabcd;
    past.rsp = HUSK_STACK_TOP_GVA - 128;
    vm_kvm_ops.set_regs(rig.vm, &past);
    CHECK_EQ_U64(rig_regs().rip, past.rip);
    struct vm_exit exit = vm_rig_run(&rig);
    check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0xabcd);
    CHECK_EQ_U64(rig_regs().rsp, HUSK_STACK_TOP_GVA - 128);
    vm_rig_done(&rig);
}

TEST(after_an_exception_the_instruction_runs_again) {
    rig_begin(0);
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA, .rdi = RIG_DATA_GVA + 0x10000};
    vm_kvm_ops.set_regs(rig.vm, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    check_exception(&exit, X86_VECTOR_PF);
    uint8_t *more = mmap(NULL, HUSK_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(more != MAP_FAILED);
    memset(more, 0x5a, 8);
    const struct page_mapping mapping = {
        {RIG_DATA_GVA + 0x10000}, {RIG_DATA_GVA + 0x10000}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_WRITE};
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, mapping.gpa, more, HUSK_PAGE_SIZE, 0, &rig.err), rig.err);
    CHECK_OK(sys_space_map(rig.space, &mapping, &rig.err), rig.err);
    exit = vm_rig_run(&rig);
    check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0x5a5a5a5a5a5a5a5a);
    vm_rig_done(&rig);
    munmap(more, HUSK_PAGE_SIZE);
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
RIG_CODE(code_iret_ring0, "push $0x18\n push %rsp\n pushfq\n push $0x10\n lea 1f(%rip), %rax\n push %rax\n 1: iretq");
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

struct misdeed {
    const char *name;
    const uint8_t *code, *end;
    int vector; /* -1: any exception, or a violation: hypervisors differ */
};
#define MISDEED(what, vector) {#what, code_##what, code_##what##_end, vector}

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
    MISDEED(far_call, X86_VECTOR_GP),
    MISDEED(iret_ring0, X86_VECTOR_GP),
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
};

TEST(misdeeds_end_as_designed_and_the_vm_lives_on) {
    rig_begin(0);
    unsigned failures = 0;
    for (size_t i = 0; i < sizeof misdeeds / sizeof misdeeds[0]; i++) {
        const struct misdeed *misdeed = &misdeeds[i];
        vm_rig_load(&rig, misdeed->code, (size_t)(misdeed->end - misdeed->code));
        const struct vm_exit exit = vm_rig_run(&rig);
        bool is_fine = exit.kind == VM_EXIT_EXCEPTION ? misdeed->vector < 0 || exit.vector == misdeed->vector
                                                      : exit.kind == VM_EXIT_VIOLATION && misdeed->vector < 0;
        printf("  %-24s kind %d vector %2u error 0x%x cr2 0x%llx %s%s\n", misdeed->name, exit.kind, exit.vector,
               exit.error_code, (unsigned long long)exit.cr2, exit.detail, is_fine ? "" : "  <-- wrong");
        failures += !is_fine;
        struct vm_exit good = RIG_RUN_CODE(&rig, code_ports);
        check_port(&good, HUSK_PORT_CALL_DONE);
        good = vm_rig_run(&rig);
        check_port(&good, HUSK_PORT_HOST_CALL);
    }
    CHECK_EQ_U64(failures, 0);
    vm_rig_done(&rig);
}

TEST_MAIN()
