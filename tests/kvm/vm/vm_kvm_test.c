/*
 * tests/kvm/vm/vm_kvm_test.c: host/vm/vm_kvm*.c and host/vm/syspages*.c against the real KVM:
 * ports, exceptions, resuming, registers, growth, protection. Guest code is a few instructions
 * each, in assembler.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "files_in.h"
#include "harness.h"
#include "ports.h"
#include "vm_kvm.h"
#include "vm_rig.h"
#include "syspages_layout_x86_64.h"
#include "cpu_x86_64.h"

static struct vm_rig rig;

static void rig_begin(uint64_t cpu_features) {
    SKIP_WITHOUT_KVM();
    vm_rig_init(&rig, cpu_features);
}

static uint8_t *anonymous(size_t bytes) {
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(base != MAP_FAILED);
    return base;
}

static struct vm_regs rig_regs(void) {
    struct vm_regs regs;
    vcpu_kvm_ops.get_regs(rig.vcpu, &regs);
    return regs;
}

RIG_CODE(code_ports,
         "out %eax, $0x10\n out %eax, $0x11\n out %eax, $0x12\n mov $7, %ebx\n out %eax, $0x10");

TEST(each_port_exits_and_resumes_after_it) {
    rig_begin(0);
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_ports);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_HOST_CALL);
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_SERVICE);
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rbx, 7);
    vm_rig_done(&rig);
}

RIG_CODE(code_move_regs,
         "xchg %rax, %r15\n xchg %rbx, %r14\n xchg %rcx, %r13\n xchg %rdx, %r12\n"
         "xchg %rsi, %r11\n xchg %rdi, %r10\n xchg %rbp, %r9\n xchg %rsp, %r8\n out %eax, $0x10");

TEST(all_registers_travel_both_ways) {
    rig_begin(0);
    RIG_LOAD(&rig, code_move_regs);
    const struct vm_regs in = {.rax = 1,
                               .rbx = 2,
                               .rcx = 3,
                               .rdx = 4,
                               .rsi = 5,
                               .rdi = 6,
                               .rbp = 7,
                               .rsp = 8,
                               .r8 = 9,
                               .r9 = 10,
                               .r10 = 11,
                               .r11 = 12,
                               .r12 = 13,
                               .r13 = 14,
                               .r14 = 15,
                               .r15 = 0xfedcba9876543210,
                               .rip = RIG_TEXT_GVA};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
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
        vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
        exit = vm_rig_run(&rig);
        vm_rig_check_port(&exit, HUSK_PORT_HOST_CALL);
    }
    vm_rig_done(&rig);
}

/* rdi: address to read */
RIG_CODE(code_read,
         "mov $0x1111, %eax\n mov $0x2222, %ecx\n stc\n mov (%rdi), %rax\n out %eax, $0x10");
#define CODE_READ_FAULT_OFFSET 12

TEST(a_page_fault_reports_address_error_code_and_registers) {
    rig_begin(0);
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {
        .rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA - 64, .rdi = 0x123456789a8};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    vm_rig_check_exception(&exit, X86_VECTOR_PF);
    CHECK_EQ_U64(exit.fault.address, 0x123456789a8);
    CHECK_EQ_U64(exit.fault.code, X86_PF_USER);
    CHECK(exit.fault.kind == VM_FAULT_PAGE && !exit.fault.is_fetch);
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
    const struct vm_regs in = {
        .rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA - 64, .rdi = 0x50000000};
    for (int i = 0; i < 20; i++) {
        vcpu_kvm_ops.set_regs(rig.vcpu, &in);
        struct vm_exit exit = vm_rig_run(&rig);
        vm_rig_check_exception(&exit, X86_VECTOR_PF);
        CHECK_EQ_U64(exit.fault.address, 0x50000000);
    }
    /* Past the faulting instruction, with other registers: `out` is next. */
    struct vm_regs past = rig_regs();
    past.rip += 3;
    past.rax = 0xabcd;
    past.rsp = HUSK_STACK_TOP_GVA - 128;
    vcpu_kvm_ops.set_regs(rig.vcpu, &past);
    CHECK_EQ_U64(rig_regs().rip, past.rip);
    struct vm_exit exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0xabcd);
    CHECK_EQ_U64(rig_regs().rsp, HUSK_STACK_TOP_GVA - 128);
    vm_rig_done(&rig);
}

TEST(after_an_exception_the_instruction_can_run_again) {
    rig_begin(0);
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {
        .rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA, .rdi = RIG_DATA_GVA + 0x10000};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    struct vm_exit exit = vm_rig_run(&rig);
    vm_rig_check_exception(&exit, X86_VECTOR_PF);
    uint8_t *more = anonymous(HUSK_PAGE_SIZE);
    memset(more, 0x5a, 8);
    const struct page_mapping mapping = {
        RIG_DATA_GVA + 0x10000, {RIG_DATA_GVA + 0x10000}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_WRITE};
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, mapping.gpa, more, HUSK_PAGE_SIZE, 0, &rig.err),
             rig.err);
    CHECK_OK(sys_space_map(rig.space, &mapping, &rig.err), rig.err);
    const struct vm_regs again = rig_regs();
    vcpu_kvm_ops.set_regs(rig.vcpu, &again);
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0x5a5a5a5a5a5a5a5a);
    vm_rig_done(&rig);
    munmap(more, HUSK_PAGE_SIZE);
}

/* ---- Growth and protection ---- */

static struct vm_exit read_at(uint64_t gva_v) {
    RIG_LOAD(&rig, code_read);
    const struct vm_regs in = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA, .rdi = gva_v};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    return vm_rig_run(&rig);
}

static int map_more(uint64_t gva_v, uint64_t bytes, uint32_t prot) {
    const struct page_mapping mapping = {gva_v, gpa_of_gva(gva_v), bytes, prot};
    return sys_space_map(rig.space, &mapping, &rig.err);
}

/* Linear memory grows from one wasm page to 64 MiB, in steps of all sizes; each new page is seen,
 * the next one not. */
TEST(memory_grows_in_steps) {
    rig_begin(0);
    const uint64_t bytes = 64 << 20;
    uint8_t *memory = anonymous(bytes);
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, gpa_of_gva(HUSK_MEM0_GVA), memory, bytes, 0, &rig.err),
             rig.err);
    static const uint64_t steps[] = {0x10000,  0x10000,  0x1e0000, 0x200000,
                                     0x410000, 0x1f0000, 0x1000000};
    uint64_t size = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        CHECK_OK(map_more(HUSK_MEM0_GVA + size, steps[i], PAGE_READ | PAGE_WRITE), rig.err);
        size += steps[i];
        memcpy(memory + size - 8, &size, 8);
        struct vm_exit exit = read_at(HUSK_MEM0_GVA + size - 8);
        vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
        CHECK_EQ_U64(rig_regs().rax, size);
        exit = read_at(HUSK_MEM0_GVA + size);
        vm_rig_check_exception(&exit, X86_VECTOR_PF);
        CHECK_EQ_U64(exit.fault.address, HUSK_MEM0_GVA + size);
    }
    vm_rig_done(&rig);
    munmap(memory, bytes);
}

/* So many memories, page by page, that the page tables need further slots. */
TEST(page_tables_grow_into_further_slots) {
    rig_begin(0);
    const uint64_t bytes = 1ull << 30;
    uint8_t *memory = anonymous(bytes);
    const uint64_t base = husk_mem_gva(1);
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, gpa_of_gva(base), memory, bytes, 0, &rig.err), rig.err);
    /* a 4 KiB entry in each 2 MiB: 512 tables */
    for (uint64_t at = 0; at < bytes; at += 0x200000) {
        CHECK_OK(map_more(base + at, HUSK_PAGE_SIZE, PAGE_READ | PAGE_WRITE), rig.err);
        if (at % (bytes / 16) != 0)
            continue;
        memcpy(memory + at, &at, 8);
        struct vm_exit exit = read_at(base + at);
        vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
        CHECK_EQ_U64(rig_regs().rax, at);
    }
    vm_rig_done(&rig);
    munmap(memory, bytes);
}

TEST(the_last_memory_is_within_the_physical_address_space) {
    rig_begin(0);
    const uint64_t top = husk_mem_gva(HUSK_MAX_MEMORIES - 1) + HUSK_MEM64_INDEX_MAX - 0x200000;
    uint8_t *memory = anonymous(0x200000);
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, gpa_of_gva(top), memory, 0x200000, 0, &rig.err),
             rig.err);
    CHECK_OK(map_more(top, 0x200000, PAGE_READ | PAGE_WRITE), rig.err);
    memory[0x1ffff8] = 0x77;
    struct vm_exit exit = read_at(top + 0x1ffff8);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0x77);
    vm_rig_done(&rig);
    munmap(memory, 0x200000);
}

TEST(bad_mappings_are_refused_and_change_nothing) {
    rig_begin(0);
    const uint32_t rw = PAGE_READ | PAGE_WRITE;
    CHECK_STATUS(map_more(HUSK_MEM0_GVA, 0x1000, PAGE_READ | PAGE_WRITE | PAGE_EXEC), HUSK_E_INVAL);
    CHECK_CONTAINS(rig.err.message, "writable and executable");
    CHECK_STATUS(map_more(HUSK_MEM0_GVA, 0x1000, 0), HUSK_E_INVAL);
    CHECK_STATUS(map_more(HUSK_MEM0_GVA, 0x1000, PAGE_READ | 8),
                 HUSK_E_INVAL); /* supervisor: not for callers */
    CHECK_STATUS(map_more(HUSK_MEM0_GVA, 0, rw), HUSK_E_INVAL);
    CHECK_STATUS(map_more(HUSK_MEM0_GVA + 1, 0x1000, rw), HUSK_E_INVAL);
    CHECK_STATUS(map_more(HUSK_SYS_GVA, 0x1000, rw), HUSK_E_INVAL);
    CHECK_STATUS(map_more(0, 0x400000, rw), HUSK_E_INVAL);
    CHECK_STATUS(map_more(HUSK_SYS_END_GVA - 0x1000, 0x1000, rw), HUSK_E_INVAL); /* nothing there */
    CHECK_CONTAINS(rig.err.message, "would reach into the system pages");
    CHECK_STATUS(map_more(RIG_DATA_GVA, 0x1000, rw), HUSK_E_INVAL);
    CHECK_CONTAINS(rig.err.message, "mapped already");
    CHECK_STATUS(map_more(RIG_DATA_GVA - 0x1000, 0x200000, rw), HUSK_E_INVAL);
    const struct page_mapping bad[] = {
        {HUSK_MEM0_GVA, {0xc0000000}, 0x1000, PAGE_READ}, /* would show further page tables */
        {HUSK_MEM0_GVA, {SYS_GPA_END - 0x1000}, 0x1000, PAGE_READ}, /* and these the first ones */
        {HUSK_MEM0_GVA, {0xb0100000}, 0x1000, PAGE_READ},    /* those of the trial, if it was */
        {HUSK_MEM0_GVA, {0xbffff000}, 0x2000, PAGE_READ},    /* would reach into them */
        {1ull << 47, {0}, 0x1000, PAGE_READ},                /* not canonical */
        {HUSK_MEM0_GVA, {1ull << 40}, 0x1000, PAGE_READ},    /* beyond the physical address space */
        {HUSK_MEM0_GVA, {0}, 0xfffffffffffff000, PAGE_READ}, /* wraps */
        {0xfffffffffffff000, {0}, 0x2000, PAGE_READ},        /* wraps */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_STATUS(sys_space_map(rig.space, &bad[i], &rig.err), HUSK_E_INVAL);
    struct vm_exit exit = read_at(HUSK_MEM0_GVA);
    vm_rig_check_exception(&exit, X86_VECTOR_PF);
    vm_rig_done(&rig);
}

RIG_CODE(code_write, "movb $1, (%rdi)\n out %eax, $0x10");

static struct vm_exit write_at(uint64_t gva_v) {
    RIG_LOAD(&rig, code_write);
    const struct vm_regs in = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA, .rdi = gva_v};
    vcpu_kvm_ops.set_regs(rig.vcpu, &in);
    return vm_rig_run(&rig);
}

/* Second door: even where a page table entry allows writing, a read-only slot does not. */
TEST(a_read_only_slot_is_not_written) {
    rig_begin(0);
    uint8_t *memory = anonymous(0x1000);
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, gpa_of_gva(HUSK_MEM0_GVA), memory, 0x1000,
                                 VM_SLOT_READONLY, &rig.err),
             rig.err);
    CHECK_OK(map_more(HUSK_MEM0_GVA, 0x1000, PAGE_READ | PAGE_WRITE), rig.err);
    struct vm_exit exit = read_at(HUSK_MEM0_GVA);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    exit = write_at(HUSK_MEM0_GVA);
    CHECK_EQ_U64(exit.kind, VM_EXIT_VIOLATION);
    CHECK_CONTAINS(exit.detail, "write of guest-physical 0x140000000");
    CHECK_EQ_U64(memory[0], 0);
    exit = write_at(RIG_DATA_GVA);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    vm_rig_done(&rig);
    munmap(memory, 0x1000);
}

/* So are images' read-only parts protected: the slot could be written, but the host's mapping has
 * no right to. A guest that did it (none can) would lose its VM. */
TEST(what_the_host_may_not_write_is_not_written) {
    rig_begin(0);
    uint8_t *memory = anonymous(0x2000);
    memory[0] = 7;
    CHECK(mprotect(memory, 0x1000, PROT_READ) == 0);
    CHECK_OK(vm_kvm_ops.set_slot(rig.vm, 3, gpa_of_gva(HUSK_MEM0_GVA), memory, 0x2000, 0, &rig.err),
             rig.err);
    CHECK_OK(map_more(HUSK_MEM0_GVA, 0x2000, PAGE_READ | PAGE_WRITE), rig.err);
    struct vm_exit exit = write_at(HUSK_MEM0_GVA + 0x1000);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    for (int i = 0; i < 2; i++) {
        exit = read_at(HUSK_MEM0_GVA);
        vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
        CHECK_EQ_U64(rig_regs().rax & 0xff, 7);
        RIG_LOAD(&rig, code_write);
        const struct vm_regs in = {
            .rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA, .rdi = HUSK_MEM0_GVA};
        vcpu_kvm_ops.set_regs(rig.vcpu, &in);
        CHECK_STATUS(vcpu_kvm_ops.run(rig.vcpu, &exit, &rig.err), HUSK_E_SYS);
        CHECK_EQ_U64(memory[0], 7);
    }
    vm_rig_done(&rig);
    munmap(memory, 0x2000);
}

TEST(a_page_without_memory_is_a_violation) {
    rig_begin(0);
    CHECK_OK(map_more(HUSK_MEM0_GVA, 0x1000, PAGE_READ | PAGE_WRITE), rig.err);
    struct vm_exit exit = read_at(HUSK_MEM0_GVA);
    CHECK_EQ_U64(exit.kind, VM_EXIT_VIOLATION);
    CHECK_CONTAINS(exit.detail, "read of guest-physical 0x140000000");
    exit = read_at(RIG_DATA_GVA);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0);
    vm_rig_done(&rig);
}

TEST(memory_whose_backing_is_discarded_reads_as_zero) {
    rig_begin(0);
    uint8_t *memory = anonymous(0x10000);
    CHECK_OK(
        vm_kvm_ops.set_slot(rig.vm, 3, gpa_of_gva(HUSK_MEM0_GVA), memory, 0x10000, 0, &rig.err),
        rig.err);
    CHECK_OK(map_more(HUSK_MEM0_GVA, 0x10000, PAGE_READ | PAGE_WRITE), rig.err);
    struct vm_exit exit = write_at(HUSK_MEM0_GVA + 0x2000);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(memory[0x2000], 1);
    CHECK(madvise(memory, 0x10000, MADV_DONTNEED) == 0);
    exit = read_at(HUSK_MEM0_GVA + 0x2000);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0);
    vm_rig_done(&rig);
    munmap(memory, 0x10000);
}

/* ---- CPU features ---- */

RIG_CODE(code_avx2, "vpaddd %ymm0, %ymm0, %ymm0\n out %eax, $0x10");
#define FEATURE_AVX (1ull << 6)
#define FEATURE_AVX2 (1ull << 12)

TEST(avx2_works_where_it_is_granted) {
    rig_begin(FEATURE_AVX | FEATURE_AVX2);
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    vm_kvm_host_info(rig.backend, &info);
    if ((info.cpu_features & FEATURE_AVX2) == 0) {
        vm_rig_done(&rig);
        SKIP("this CPU has no AVX2");
    }
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_avx2);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    vm_rig_done(&rig);
}

TEST(avx2_is_undefined_where_it_is_not_granted) {
    rig_begin(0);
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    vm_kvm_host_info(rig.backend, &info);
    if (info.hypervisor == HUSK_HYPERVISOR_KVM_PVM) {
        vm_rig_done(&rig);
        SKIP("kvm-pvm runs ring 3 with the host's own XCR0");
    }
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_avx2);
    vm_rig_check_exception(&exit, X86_VECTOR_UD);
    vm_rig_done(&rig);
}

/* Those that the CPU has, and one that no CPU has: tried together, they do not work, and each by
 * itself tells. */
TEST(features_are_found_together_or_one_by_one) {
    SKIP_WITHOUT_KVM();
    struct vm_backend *backend;
    struct husk_error err;
    uint64_t together = 1, alone = 2, with_bad = 3;
    CHECK_OK(vm_kvm_backend_new("/dev/kvm", &backend, &err), err);
    const uint64_t candidates = kvm_x86_host_features();
    CHECK(candidates != 0);
    CHECK_OK(kvm_x86_try_features(backend, candidates, false, &together, &err), err);
    CHECK_OK(kvm_x86_try_features(backend, candidates, true, &alone, &err), err);
    CHECK_OK(kvm_x86_try_features(backend, candidates | PROBE_NOTHING, false, &with_bad, &err),
             err);
    CHECK_EQ_U64(together, alone);
    CHECK_EQ_U64(with_bad, alone);
    CHECK_OK(kvm_x86_try_features(backend, PROBE_NOTHING, false, &with_bad, &err), err);
    CHECK_EQ_U64(with_bad, 0);
    vm_kvm_backend_free(backend);
}

struct vm_pair {
    struct vm *vm;
    struct vcpu *vcpu;
};

static struct vm_pair pair_make(struct vm_backend *backend, uint64_t features) {
    static uint8_t stack[HUSK_PAGE_SIZE];
    const struct vcpu_config config = {
        .cpu_features = features, .page_root = gpa(0), .exception_stack_top = stack + sizeof stack};
    struct husk_error err;
    struct vm_pair pair;
    CHECK_OK(vm_kvm_ops.create(backend, &pair.vm, &err), err);
    CHECK_OK(vcpu_kvm_ops.create(pair.vm, &config, &pair.vcpu, &err), err);
    CHECK(pair.vm->tried_vcpu == NULL);
    return pair;
}

static void pair_free(struct vm_pair pair) {
    vcpu_kvm_ops.destroy(pair.vcpu);
    vm_kvm_ops.destroy(pair.vm);
}

/* The VM in which features were tried out is the first that is wanted. If that wants other
 * features, it is made anew. */
TEST(trial_vm_is_used) {
    SKIP_WITHOUT_KVM();
    struct vm_backend *backend;
    struct husk_error err;
    const unsigned fds_before = files_in("/proc/self/fd");
    CHECK_OK(vm_kvm_backend_new("/dev/kvm", &backend, &err), err);
    const bool was_tried = backend->tried_vm != NULL;
    const unsigned fds = files_in("/proc/self/fd");
    if (!was_tried) {
        vm_kvm_backend_free(backend);
        SKIP("nothing is tried out in a VM here");
    }
    struct vm_pair first = pair_make(backend, backend->cpu_features);
    CHECK_EQ_U64(files_in("/proc/self/fd"), fds);
    struct vm_pair second = pair_make(backend, backend->cpu_features);
    CHECK_EQ_U64(files_in("/proc/self/fd"), fds + 2);
    pair_free(first);
    pair_free(second);
    CHECK_EQ_U64(files_in("/proc/self/fd"), fds - 2);
    vm_kvm_backend_free(backend);
    CHECK_OK(vm_kvm_backend_new("/dev/kvm", &backend, &err), err);
    struct vm_pair other = pair_make(backend, 0);
    CHECK(other.vm->tried_memory == NULL);
    CHECK_EQ_U64(files_in("/proc/self/fd"), fds);
    pair_free(other);
    vm_kvm_backend_free(backend);
    CHECK_OK(vm_kvm_backend_new("/dev/kvm", &backend, &err), err);
    vm_kvm_backend_free(backend); /* unused */
    CHECK_EQ_U64(files_in("/proc/self/fd"), fds_before);
}

TEST(vector_registers_survive_exits) {
    rig_begin(0);
    RIG_CODE(code_xmm, "mov $0x1234, %eax\n movq %rax, %xmm15\n out %eax, $0x11\n xor %eax, %eax\n "
                       "movq %xmm15, %rax\n"
                       "out %eax, $0x10");
    struct vm_exit exit = RIG_RUN_CODE(&rig, code_xmm);
    vm_rig_check_port(&exit, HUSK_PORT_HOST_CALL);
    __asm__ volatile("pxor %%xmm15, %%xmm15" ::: "xmm15");
    exit = vm_rig_run(&rig);
    vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
    CHECK_EQ_U64(rig_regs().rax, 0x1234);
    vm_rig_done(&rig);
}

/* ---- Many ---- */

static void *run_in_thread(void *arg) {
    struct vm_exit exit = {0};
    int status = vcpu_kvm_ops.run(rig.vcpu, &exit, NULL);
    *(bool *)arg = status == 0 && exit.kind == VM_EXIT_PORT;
    return NULL;
}

TEST(a_vm_moves_between_threads) {
    rig_begin(0);
    RIG_LOAD(&rig, code_ports);
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        bool is_fine = false;
        CHECK(pthread_create(&thread, NULL, run_in_thread, &is_fine) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(is_fine);
    }
    CHECK_EQ_U64(rig_regs().rbx, 7);
    vm_rig_done(&rig);
}

static unsigned count_lines(const char *path) {
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    unsigned count = 0;
    for (int c = getc(file); c != EOF; c = getc(file))
        count += c == '\n';
    fclose(file);
    return count;
}

static unsigned count_fds(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

TEST(nothing_is_left_behind) {
    SKIP_WITHOUT_KVM();
    unsigned fds = 0, maps = 0;
    for (int i = 0; i < 20; i++) {
        vm_rig_init(&rig, 0);
        struct vm_exit exit = RIG_RUN_CODE(&rig, code_ports);
        vm_rig_check_port(&exit, HUSK_PORT_CALL_DONE);
        vm_rig_done(&rig);
        if (i == 3) { /* after the C library has made its own */
            fds = count_fds();
            maps = count_lines("/proc/self/maps");
        }
    }
    CHECK_EQ_U64(count_fds(), fds);
    CHECK(count_lines("/proc/self/maps") <= maps + 2);
}

TEST_MAIN()
