/*
 * host/vm/vm_kvm_selftest_x86_64.c: finds the CPU features that really work in the guest. If KVM's
 * list of supported CPUID bits agrees with the host CPU, there is nothing to find. kvm-pvm, which
 * runs ring 3 directly on the CPU, lists almost no features. There this file makes a VM and tries
 * one instruction of each feature. Vector state must also survive an exit.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "layout.h"
#include "ports.h"
#include "syspages.h"
#include "syspages_layout_x86_64.h"
#include "vector_level_x86_64.h"
#include "vm_kvm.h"

/* Two pages of guest memory: code, and data with the stack pointer in its middle. They follow the
 * system pages, so that the VM needs one memory slot. */
#define TEST_CODE_GVA HUSK_TEXT_GVA
#define TEST_DATA_GVA HUSK_DATA_GVA
#define TEST_RSP (TEST_DATA_GVA + HUSK_PAGE_SIZE / 2)

#define SAMPLE(name, code)                                                                         \
    __asm__(".pushsection .rodata\n"                                                               \
            "husk_sample_" #name ": " code "\n out %eax, $0x10\n"                                  \
            "husk_sample_" #name "_end:\n.popsection\n");                                          \
    extern const uint8_t husk_sample_##name[] __attribute__((visibility("hidden")));               \
    extern const uint8_t husk_sample_##name##_end[] __attribute__((visibility("hidden")))

SAMPLE(SSE3, "haddps %xmm0, %xmm0");
SAMPLE(SSSE3, "pabsb %xmm0, %xmm0");
SAMPLE(SSE41, "ptest %xmm0, %xmm0");
SAMPLE(SSE42, "pcmpgtq %xmm0, %xmm0");
SAMPLE(POPCNT, "popcnt %eax, %eax");
SAMPLE(CX16, "cmpxchg16b (%rsp)");
/* Upper halves must survive the exit, during which the host clears its own vector registers. */
SAMPLE(AVX, "vxorps %ymm0, %ymm0, %ymm0\n vcmpps $15, %ymm0, %ymm0, %ymm0\n out %eax, $0x11\n"
            "vextractf128 $1, %ymm0, %xmm1\n vmovq %xmm1, %rax\n inc %rax\n jz 1f\n ud2\n 1:");
SAMPLE(FMA, "vfmadd213ps %ymm0, %ymm0, %ymm0");
SAMPLE(MOVBE, "movbe (%rsp), %eax");
SAMPLE(F16C, "vcvtph2ps %xmm0, %ymm0");
SAMPLE(BMI1, "andn %eax, %eax, %eax");
SAMPLE(BMI2, "pdep %eax, %eax, %eax");
SAMPLE(AVX2, "vpaddd %ymm0, %ymm0, %ymm0");
SAMPLE(LZCNT, "lzcnt %eax, %eax");
SAMPLE(AVX512F,
       "vpternlogd $255, %zmm0, %zmm0, %zmm0\n vmovdqa64 %zmm0, %zmm31\n out %eax, $0x11\n"
       "vextracti64x4 $1, %zmm31, %ymm1\n vmovq %xmm1, %rax\n inc %rax\n jz 1f\n ud2\n 1:");
SAMPLE(AVX512DQ, "vandps %zmm0, %zmm0, %zmm0");
SAMPLE(AVX512CD, "vplzcntd %zmm0, %zmm0");
SAMPLE(AVX512BW, "vpaddb %zmm0, %zmm0, %zmm0");
SAMPLE(AVX512VL, "vpternlogd $255, %ymm0, %ymm0, %ymm0");
SAMPLE(AVX512VBMI, "vpermb %zmm0, %zmm0, %zmm0");
SAMPLE(AVX512VBMI2, "vpshldd $1, %zmm0, %zmm0, %zmm0");
SAMPLE(AVX512VNNI, "vpdpbusd %zmm0, %zmm0, %zmm0");
SAMPLE(AVX512BITALG, "vpopcntb %zmm0, %zmm0");
SAMPLE(AVX512VPOPCNTDQ, "vpopcntd %zmm0, %zmm0");

/* Nothing is asked for, so nothing changes: the instruction exists or does not. */
SAMPLE(XRSTOR, "xor %eax, %eax\n xor %edx, %edx\n movq %rax, 512(%rsp)\n xrstor (%rsp)");
SAMPLE(NOTHING, "ud2");
SAMPLE(WRPKRU, "xor %eax, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n wrpkru");

static const struct {
    uint64_t bit;
    const uint8_t *code, *end;
} samples[] = {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, reg_bit)                             \
    {1ull << (bit), husk_sample_##name, husk_sample_##name##_end},
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    {PROBE_XRSTOR, husk_sample_XRSTOR, husk_sample_XRSTOR_end},
    {PROBE_WRPKRU, husk_sample_WRPKRU, husk_sample_WRPKRU_end},
    {PROBE_NOTHING, husk_sample_NOTHING, husk_sample_NOTHING_end},
};

#define SAMPLES (sizeof samples / sizeof samples[0])
#define SAMPLE_OUT_BYTES 2 /* of the instruction that ends a sample: OUT imm8, EAX */

struct selftest {
    uint8_t *reservation; /* system pages, and then: */
    uint64_t bytes;
    uint8_t *memory; /* code page, data page */
    struct sys_template *template;
    struct sys_space *space;
    struct vm *vm;
    struct vcpu *vcpu;
};

static void selftest_done(struct selftest *test) {
    vcpu_kvm_ops.destroy(test->vcpu);
    vm_kvm_ops.destroy(test->vm);
    sys_space_free(test->space);
    sys_template_unref(test->template);
    if (test->reservation != NULL)
        munmap(test->reservation, test->bytes);
}

/* The VM goes on without what it has run on: see struct vm. */
static void selftest_keep_vm(struct selftest *test, struct vm_backend *backend) {
    if (!vm_may_change_thread() ||
        mmap(test->reservation, test->bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return;
    test->vm->tried_vcpu = test->vcpu;
    test->vm->tried_vcpu_free = vcpu_kvm_ops.destroy;
    test->vm->tried_memory = test->reservation;
    test->vm->tried_bytes = test->bytes;
    atomic_store(&backend->tried_vm, test->vm);
    test->vm = NULL;
    test->vcpu = NULL;
    test->reservation = NULL;
}

static int selftest_make_memory(struct selftest *test, struct husk_error *err) {
    const uint64_t code_gpa = SYS_TRIAL_SYS_GPA_END, data_gpa = code_gpa + HUSK_PAGE_SIZE;
    const struct page_mapping mappings[] = {
        {TEST_CODE_GVA, {code_gpa}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_EXEC},
        {TEST_DATA_GVA, {data_gpa}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_WRITE},
    };
    int status = sys_template_new_below(gpa(SYS_TRIAL_SYS_GPA_END), VM_ENTRY_SSE, mappings, 2,
                                        &test->template, err);
    if (status != 0)
        return status;
    const uint64_t sys_bytes = sys_template_bytes(test->template);
    const uint64_t bytes = sys_bytes + 2 * HUSK_PAGE_SIZE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return error_sys(err, errno, "memory for the start-up self-test");
    test->reservation = memory;
    test->bytes = bytes;
    test->memory = test->reservation + sys_bytes;
    return sys_space_new_at(test->template, test->reservation, 0, &test->space, err);
}

static int selftest_make(struct selftest *test, struct vm_backend *backend, uint64_t features,
                         struct husk_error *err) {
    int status = selftest_make_memory(test, err);
    if (status != 0)
        return status;
    const struct vcpu_config config = {.cpu_features = features,
                                       .page_root = sys_space_page_root(test->space),
                                       .exception_stack_top =
                                           sys_space_exception_stack_top(test->space)};
    status = vm_kvm_ops.create(backend, &test->vm, err);
    if (status == 0)
        status = vcpu_kvm_ops.create(test->vm, &config, &test->vcpu, err);
    struct kvm_userspace_memory_region region = {
        .slot = KVM_TRIAL_SLOT(backend),
        .guest_phys_addr = SYS_TRIAL_SYS_GPA_END - sys_template_bytes(test->template),
        .memory_size = test->bytes,
        .userspace_addr = (uintptr_t)test->reservation};
    if (status == 0 && kvm_do_set_memory(test->vm, &region) != 0)
        status = error_sys(err, errno, "memory for the start-up self-test");
    return status;
}

/* Whatever the library's thread has in its vector registers: make it differ from the guest's. */
static void clear_vectors(void) {
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::
                             : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                               "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                               "xmm15");
}

/* Run what is on the code page. */
static int selftest_run(struct selftest *test, bool *ret_works, struct husk_error *err) {
    const struct vm_regs regs = {.rip = TEST_CODE_GVA, .rsp = TEST_RSP};
    vcpu_kvm_ops.set_regs(test->vcpu, &regs);
    struct vm_exit exit = {.kind = VM_EXIT_KICKED};
    int status = 0;
    /* A signal of the embedder's may fall into it. */
    for (int tries = 0; tries < 100 && status == 0; tries++) {
        status = vcpu_kvm_ops.run(test->vcpu, &exit, err);
        if (exit.kind != VM_EXIT_KICKED &&
            !(exit.kind == VM_EXIT_PORT && exit.port == HUSK_PORT_HOST_CALL))
            break;
        clear_vectors();
    }
    if (status == 0)
        *ret_works = exit.kind == VM_EXIT_PORT && exit.port == HUSK_PORT_CALL_DONE;
    return status;
}

static size_t sample_bytes(size_t idx) {
    return (size_t)(samples[idx].end - samples[idx].code);
}

/* All at once: a run takes 0.1 ms where the guest's pages change between two of them. Each sample
 * continues with the next one instead of leaving the guest. */
static int selftest_try_all(struct selftest *test, uint64_t candidates, bool *ret_works,
                            struct husk_error *err) {
    size_t at = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        if ((candidates & samples[i].bit) == 0)
            continue;
        at -= at == 0 ? 0 : SAMPLE_OUT_BYTES;
        if (at + sample_bytes(i) > HUSK_PAGE_SIZE)
            return 0; /* then each by itself */
        memcpy(test->memory + at, samples[i].code, sample_bytes(i));
        at += sample_bytes(i);
    }
    return selftest_run(test, ret_works, err);
}

static int selftest_try_each(struct selftest *test, uint64_t candidates, uint64_t *ret_works,
                             struct husk_error *err) {
    int status = 0;
    uint64_t works = 0;
    for (size_t i = 0; i < SAMPLES && status == 0; i++) {
        bool is_working = false;
        if ((candidates & samples[i].bit) == 0)
            continue;
        memcpy(test->memory, samples[i].code, sample_bytes(i));
        status = selftest_run(test, &is_working, err);
        works |= is_working ? samples[i].bit : 0;
    }
    *ret_works = works;
    return status;
}

/* What the VM shows of its CPU: all that may work, so that it is what sandboxes want, if all does.
 * Not if vector state would be KVM's: that may refuse what it does not list. */
static uint64_t features_shown(const struct vm_backend *backend, uint64_t candidates) {
    const uint64_t probes = PROBE_XRSTOR | PROBE_WRPKRU | PROBE_NOTHING;
    return backend->cpu_features | (backend->has_xsave ? 0 : candidates & ~probes);
}

int kvm_x86_try_features(struct vm_backend *backend, uint64_t candidates, bool is_one_by_one,
                         uint64_t *ret_works, struct husk_error *err) {
    struct selftest test = {0};
    const uint64_t listed = backend->cpu_features;
    uint64_t works = candidates;
    bool is_all_working = false;
    kvm_tried_vm_free(backend);
    backend->cpu_features = features_shown(backend, candidates);
    int status = selftest_make(&test, backend, backend->cpu_features, err);
    backend->cpu_features = listed;
    if (status == 0 && !is_one_by_one)
        status = selftest_try_all(&test, candidates, &is_all_working, err);
    if (status == 0 && !is_all_working)
        status = selftest_try_each(&test, candidates, &works, err);
    if (status == 0)
        selftest_keep_vm(&test, backend);
    selftest_done(&test);
    if (status != 0)
        return error_while(err, status, "trying out the CPU's features");
    *ret_works = works;
    return 0;
}

int kvm_x86_try_out(struct vm_backend *backend, struct husk_error *err) {
    const uint64_t listed = backend->cpu_features, probes = kvm_x86_entry_probes(backend);
    const uint64_t unlisted = (kvm_x86_host_features() & ~listed) | probes;
    uint64_t works = 0;
    int status = unlisted != 0 ? kvm_x86_try_features(backend, unlisted, false, &works, err) : 0;
    if (status != 0)
        return status;
    backend->cpu_features |= works & ~probes;
    const bool has_xsave =
        (works & PROBE_XRSTOR) != 0 || vector_level_of(backend->cpu_features) >= VECTOR_AVX;
    backend->entry = (works & PROBE_WRPKRU) != 0 && has_xsave ? VM_ENTRY_PKRU
                     : has_xsave                              ? VM_ENTRY_XSAVE
                                                              : VM_ENTRY_SSE;
    return 0;
}
