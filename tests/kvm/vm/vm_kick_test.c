/*
 * tests/kvm/vm/vm_kick_test.c: vcpu_ops.kick against the real KVM: before a run, during one, in
 * every phase of an exception. A guest must never hold the host's thread, and a kick must not
 * disturb what runs afterwards.
 */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "harness.h"
#include "ports.h"
#include "vm_rig.h"
#include "cpu_x86_64.h"

static struct vm_rig rig;

static void rig_begin(uint64_t cpu_features) {
    SKIP_WITHOUT_KVM();
    vm_rig_init(&rig, cpu_features);
}

static struct vm_regs rig_regs(void) {
    struct vm_regs regs;
    vcpu_kvm_ops.get_regs(rig.vcpu, &regs);
    return regs;
}

RIG_CODE(code_ports,
         "out %eax, $0x10\n out %eax, $0x11\n out %eax, $0x12\n mov $7, %ebx\n out %eax, $0x10");

/* rdi: address to read */
RIG_CODE(code_read,
         "mov $0x1111, %eax\n mov $0x2222, %ecx\n stc\n mov (%rdi), %rax\n out %eax, $0x10");
#define CODE_READ_FAULT_OFFSET 12

static struct vm_exit read_at(uint64_t gva_v) {
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA, .rdi = gva_v};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    return vm_rig_run(&rig);
}

#define KICK_SIGNAL SIGUSR1

static void on_kick_signal(int number) {
    (void)number;
}

static void install_kick_signal(void) {
    const struct sigaction action = {.sa_handler = on_kick_signal}; /* no SA_RESTART */
    CHECK(sigaction(KICK_SIGNAL, &action, NULL) == 0);
}

struct kicker {
    pthread_t thread, target;
    unsigned delay_us;
};

static void *kicker_main(void *arg) {
    const struct kicker *kicker = arg;
    usleep(kicker->delay_us);
    vcpu_kvm_ops.kick(rig.vcpu);
    pthread_kill(kicker->target, KICK_SIGNAL);
    return NULL;
}

static void kicker_start(struct kicker *kicker, unsigned delay_us) {
    kicker->target = pthread_self();
    kicker->delay_us = delay_us;
    CHECK(pthread_create(&kicker->thread, NULL, kicker_main, kicker) == 0);
}

RIG_CODE(code_spin, "mov $5, %ebx\n 1: inc %rcx\n jmp 1b");

TEST(a_kick_ends_an_endless_loop_and_it_can_go_on) {
    rig_begin(0);
    install_kick_signal();
    RIG_LOAD(&rig, code_spin);
    uint64_t count = 0;
    for (unsigned i = 0; i < 5; i++) {
        struct kicker kicker;
        kicker_start(&kicker, 20000);
        struct vm_exit exit = vm_rig_run(&rig);
        CHECK(pthread_join(kicker.thread, NULL) == 0);
        CHECK_EQ_U64(exit.kind, VM_EXIT_KICKED);
        const struct vm_regs regs = rig_regs();
        CHECK(regs.rip >= RIG_TEXT_GVA && regs.rip < RIG_TEXT_GVA + 16);
        CHECK_EQ_U64(regs.rbx, 5);
        CHECK(regs.rcx > count);
        count = regs.rcx;
    }
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_ports);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    vm_rig_done(&rig);
}

TEST(a_kick_before_a_run_is_not_lost_and_counts_once) {
    rig_begin(0);
    RIG_LOAD(&rig, code_ports);
    vcpu_kvm_ops.kick(rig.vcpu);
    vcpu_kvm_ops.kick(rig.vcpu);
    struct vm_exit exit = vm_rig_run(&rig);
    CHECK_EQ_U64(exit.kind, VM_EXIT_KICKED);
    CHECK_EQ_U64(rig_regs().rip, RIG_TEXT_GVA);
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    /* Also between a port exit and its resumption: the OUT is over, and done once. */
    vcpu_kvm_ops.kick(rig.vcpu);
    exit = vm_rig_run(&rig);
    CHECK_EQ_U64(exit.kind, VM_EXIT_KICKED);
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_HOST_CALL);
    vm_rig_done(&rig);
}

TEST(a_kick_after_an_exception_is_harmless) {
    rig_begin(0);
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {
        .rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA - 64, .rdi = 0x50000000};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    vm_rig_check_exception(&exit, X86_VECTOR_PF);
    vcpu_kvm_ops.kick(rig.vcpu);
    exit = vm_rig_run(&rig);
    CHECK_EQ_U64(exit.kind, VM_EXIT_KICKED);
    struct vm_regs again = rig_regs();
    CHECK_EQ_U64(again.rip, RIG_TEXT_GVA + CODE_READ_FAULT_OFFSET); /* ring 3's, not the stub's */
    vcpu_kvm_ops.set_regs(rig.vcpu, &again);
    exit = vm_rig_run(&rig);
    vm_rig_check_exception(&exit, X86_VECTOR_PF);
    CHECK_EQ_U64(exit.fault.address, 0x50000000);
    vcpu_kvm_ops.kick(rig.vcpu);
    exit = vm_rig_run(&rig);
    CHECK_EQ_U64(exit.kind, VM_EXIT_KICKED);
    exit = RIG_RUN_CODE(&rig, code_ports); /* set after the kick */
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    vm_rig_done(&rig);
}

/* A kick hits every phase of a storm of exceptions sooner or later. */
TEST(kicks_during_an_exception_storm) {
    rig_begin(0);
    install_kick_signal();
    for (unsigned i = 0; i < 30; i++) {
        struct vm_exit exit = read_at(0x50000000);
        struct kicker kicker;
        kicker_start(&kicker, 500 + 137 * i);
        while (exit.kind == VM_EXIT_EXCEPTION) {
            CHECK_EQ_U64(exit.fault.address, 0x50000000);
            const struct vm_regs again = rig_regs();
            vcpu_kvm_ops.set_regs(rig.vcpu, &again);
            exit = vm_rig_run(&rig); /* again and again */
        }
        CHECK(pthread_join(kicker.thread, NULL) == 0);
        CHECK_EQ_U64(exit.kind, VM_EXIT_KICKED);
        exit = RIG_RUN_CODE(&rig, code_ports);
        if (exit.kind == VM_EXIT_KICKED) /* the signal may come after the kick was seen */
            exit = vm_rig_run(&rig);
        vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    }
    vm_rig_done(&rig);
}

TEST_MAIN()
