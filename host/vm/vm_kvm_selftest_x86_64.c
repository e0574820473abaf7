/*
 * host/vm/vm_kvm_selftest_x86_64.c: finds the CPU features that really work in the guest. If KVM's
 * list of supported CPUID bits agrees with the host CPU, there is nothing to find. kvm-pvm, which
 * runs ring 3 directly on the CPU, lists almost no features. There this file makes a VM and tries
 * one instruction of each feature. Vector state must also survive an exit.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "layout.h"
#include "ports.h"
#include "syspages.h"
#include "vector_level_x86_64.h"
#include "vm_kvm.h"

/* Two pages of guest memory: code, and data with the stack pointer in its middle. */
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
    if (test->memory != NULL)
        munmap(test->memory, 2 * HUSK_PAGE_SIZE);
}

static int selftest_make(struct selftest *test, struct vm_backend *backend,
                         struct husk_error *err) {
    void *memory =
        mmap(NULL, 2 * HUSK_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return error_sys(err, errno, "memory for the start-up self-test");
    test->memory = memory;
    const struct page_mapping mappings[] = {
        {TEST_CODE_GVA, {TEST_CODE_GVA}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_EXEC},
        {TEST_DATA_GVA, {TEST_DATA_GVA}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_WRITE},
    };
    int status = sys_template_new(VM_ENTRY_SSE, mappings, 2, &test->template, err);
    if (status == 0)
        status = sys_space_new(test->template, 2, &test->space, err);
    if (status != 0)
        return status;
    const struct vcpu_config config = {.cpu_features = backend->cpu_features,
                                       .page_root = sys_space_page_root(test->space),
                                       .exception_stack_top =
                                           sys_space_exception_stack_top(test->space)};
    status = vm_kvm_ops.create(backend, &test->vm, err);
    if (status == 0)
        status = vcpu_kvm_ops.create(test->vm, &config, &test->vcpu, err);
    if (status == 0)
        status = sys_space_attach(test->space, &vm_kvm_ops, test->vm, err);
    for (uint32_t i = 0; i < 2 && status == 0; i++)
        status =
            vm_kvm_ops.set_slot(test->vm, i, mappings[i].gpa, test->memory + i * HUSK_PAGE_SIZE,
                                HUSK_PAGE_SIZE, i == 0 ? VM_SLOT_READONLY : 0, err);
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

int kvm_x86_try_features(struct vm_backend *backend, uint64_t candidates, bool is_one_by_one,
                         uint64_t *ret_works, struct husk_error *err) {
    struct selftest test = {0};
    uint64_t works = candidates;
    bool is_all_working = false;
    int status = selftest_make(&test, backend, err);
    if (status == 0 && !is_one_by_one)
        status = selftest_try_all(&test, candidates, &is_all_working, err);
    if (status == 0 && !is_all_working)
        status = selftest_try_each(&test, candidates, &works, err);
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
