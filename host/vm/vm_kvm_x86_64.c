/*
 * host/vm/vm_kvm_x86_64.c: the x86-64 part of a VM on KVM: the CPU that its guest sees, and the
 * settings that KVM needs before there is a vCPU.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "vector_level_x86_64.h"
#include "vm_kvm.h"
#include "cpu_x86_64.h"

/* Where KVM on VMX keeps its pages for real mode, which we never enter; above everything of ours.
 * api.rst 4.35, 4.36. */
#define KVM_IDENTITY_MAP_GPA 0xfffbc000ull
#define KVM_TSS_GPA 0xfffbd000ull

#define CPUID_ENTRIES_MAX 256

/* ---- CPUID ---- */

struct feature_row {
    unsigned bit; /* in cpu_features */
    uint32_t leaf, subleaf;
    unsigned reg, reg_bit;
};

static const struct feature_row feature_rows[] = {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, reg_bit)                             \
    {bit, leaf, subleaf, reg, reg_bit},
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
};

#define FEATURE_ROWS (sizeof feature_rows / sizeof feature_rows[0])

/* The bits of a leaf that every guest sees, besides the features its image uses: what long mode and
 * our control registers need. CPUID: SDM vol. 2A. */
static const struct {
    uint32_t leaf, subleaf;
    uint32_t regs[4]; /* eax, ebx, ecx, edx */
} base_leaves[] = {
    {0, 0, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
    /* FPU, TSC, MSR, PAE, CX8, CMOV, CLFSH, MMX, FXSR, SSE, SSE2; a hypervisor is present */
    {1, 0, {0xffffffff, 0x0000ff00, 1u << 31, 0x07888171}},
    {7, 0, {0, 1u << 7 | 1u << 20, 1u << 2, 0}}, /* SMEP, SMAP; UMIP */
    {0x80000000, 0, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
    {0x80000001, 0, {0, 0, 1u << 0, 1u << 20 | 1u << 29}}, /* LAHF; NX, LM */
    {0x80000008, 0, {0x0000ffff, 0, 0, 0}},                /* address widths */
};

static uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, unsigned reg) {
    uint32_t *regs[4] = {&entry->eax, &entry->ebx, &entry->ecx, &entry->edx};
    return regs[reg];
}

static const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *cpuid, uint32_t leaf,
                                                 uint32_t subleaf) {
    for (uint32_t i = 0; i < cpuid->nent; i++)
        if (cpuid->entries[i].function == leaf && cpuid->entries[i].index == subleaf)
            return &cpuid->entries[i];
    return NULL;
}

static bool cpuid_has(const struct kvm_cpuid2 *cpuid, const struct feature_row *row) {
    const struct kvm_cpuid_entry2 *found = cpuid_find(cpuid, row->leaf, row->subleaf);
    if (found == NULL)
        return false;
    struct kvm_cpuid_entry2 entry = *found;
    return (*cpuid_reg(&entry, row->reg) >> row->reg_bit & 1) != 0;
}

/* The mask of bits of one leaf that the guest may see; false: not the leaf at all. */
static bool leaf_mask(const struct kvm_cpuid_entry2 *entry, uint64_t features,
                      struct kvm_cpuid_entry2 *ret_mask) {
    struct kvm_cpuid_entry2 mask = {0};
    bool is_shown = false;
    for (size_t i = 0; i < sizeof base_leaves / sizeof base_leaves[0]; i++) {
        if (base_leaves[i].leaf != entry->function || base_leaves[i].subleaf != entry->index)
            continue;
        is_shown = true;
        for (unsigned reg = 0; reg < 4; reg++)
            *cpuid_reg(&mask, reg) |= base_leaves[i].regs[reg];
    }
    for (size_t i = 0; i < FEATURE_ROWS; i++) {
        const struct feature_row *row = &feature_rows[i];
        if (row->leaf == entry->function && row->subleaf == entry->index &&
            (features >> row->bit & 1) != 0)
            *cpuid_reg(&mask, row->reg) |= 1u << row->reg_bit;
    }
    if (features_need_avx(features) && entry->function == 1)
        mask.ecx |= 1u << 26; /* XSAVE */
    *ret_mask = mask;
    return is_shown;
}

/* Leaf 0xd, the layout of the XSAVE area: only the components in XCR0, only plain XSAVE. */
static bool xsave_leaf_mask(const struct kvm_cpuid_entry2 *entry, uint64_t xcr0,
                            struct kvm_cpuid_entry2 *ret_mask) {
    const struct kvm_cpuid_entry2 all = {.eax = ~0u, .ebx = ~0u, .ecx = ~0u, .edx = ~0u};
    if (entry->function != 0xd || xcr0 == (X86_XCR0_X87 | X86_XCR0_SSE))
        return false;
    *ret_mask = all;
    if (entry->index == 0) {
        ret_mask->eax = (uint32_t)xcr0;
        ret_mask->edx = 0;
        return true;
    }
    return entry->index >= 2 && entry->index < 32 && (xcr0 >> entry->index & 1) != 0;
}

static struct kvm_cpuid2 *cpuid_alloc(void) {
    struct kvm_cpuid2 *cpuid =
        calloc(1, sizeof *cpuid + CPUID_ENTRIES_MAX * sizeof cpuid->entries[0]);
    if (cpuid != NULL)
        cpuid->nent = CPUID_ENTRIES_MAX;
    return cpuid;
}

int kvm_x86_set_cpuid(const struct vcpu *vcpu, uint64_t features, struct husk_error *err) {
    struct kvm_cpuid2 *cpuid = cpuid_alloc();
    if (cpuid == NULL)
        return error_sys(err, ENOMEM, "CPUID table");
    cpuid->nent = 0;
    const struct kvm_cpuid2 *supported = vcpu->backend->supported;
    for (uint32_t i = 0; i < supported->nent; i++) {
        struct kvm_cpuid_entry2 mask;
        const struct kvm_cpuid_entry2 *entry = &supported->entries[i];
        if (!leaf_mask(entry, features, &mask) &&
            !xsave_leaf_mask(entry, features_xcr0(features), &mask))
            continue;
        struct kvm_cpuid_entry2 *shown = &cpuid->entries[cpuid->nent++];
        *shown = *entry;
        for (unsigned reg = 0; reg < 4; reg++)
            *cpuid_reg(shown, reg) &= *cpuid_reg(&mask, reg);
    }
    int status = 0;
    if (kvm_do_set_cpuid(vcpu, cpuid) != 0)
        status = error_sys(err, errno, "KVM_SET_CPUID2");
    free(cpuid);
    return status;
}

static bool cpuid_bit(const struct kvm_cpuid2 *cpuid, uint32_t leaf, unsigned reg,
                      unsigned reg_bit) {
    const struct feature_row row = {.leaf = leaf, .reg = reg, .reg_bit = reg_bit};
    return cpuid_has(cpuid, &row);
}

static uint64_t supported_features(const struct vm_backend *backend) {
    uint64_t features = 0;
    for (size_t i = 0; i < FEATURE_ROWS; i++)
        features |= (uint64_t)cpuid_has(backend->supported, &feature_rows[i])
                    << feature_rows[i].bit;
    const struct kvm_cpuid_entry2 *xsave = cpuid_find(backend->supported, 0xd, 0);
    const uint64_t xcr0 = xsave == NULL || !backend->has_xsave ? 0 : xsave->eax;
    for (unsigned bit = 0; bit < 64; bit++)
        if (features_need_avx(1ull << bit) && (features_xcr0(1ull << bit) & ~xcr0) != 0)
            features &= ~(1ull << bit);
    return features;
}

int kvm_x86_supported(struct vm_backend *backend, struct husk_error *err) {
    backend->supported = cpuid_alloc();
    if (backend->supported == NULL)
        return error_sys(err, ENOMEM, "CPUID table");
    if (kvm_do_get_supported_cpuid(backend, backend->supported) != 0)
        return error_sys(err, errno, "KVM_GET_SUPPORTED_CPUID");
    backend->has_xsave = cpuid_bit(backend->supported, 1, 2, 26);
    backend->cpu_features = supported_features(backend);
    backend->cr4_optional = X86_CR4_TSD;
    if (cpuid_bit(backend->supported, 7, 1, 7))
        backend->cr4_optional |= X86_CR4_SMEP;
    if (cpuid_bit(backend->supported, 7, 1, 20))
        backend->cr4_optional |= X86_CR4_SMAP;
    if (cpuid_bit(backend->supported, 7, 2, 2))
        backend->cr4_optional |= X86_CR4_UMIP;
    return 0;
}

static void cpuid_native(uint32_t leaf, uint32_t subleaf, struct kvm_cpuid_entry2 *ret_entry) {
    __asm__ volatile("cpuid"
                     : "=a"(ret_entry->eax), "=b"(ret_entry->ebx), "=c"(ret_entry->ecx),
                       "=d"(ret_entry->edx)
                     : "a"(leaf), "c"(subleaf));
}

/* A leaf of this CPU, zeros if it has none. The last one is remembered: where this host is a VM
 * itself, CPUID takes some 10 us. Rows of one leaf are neighbours, with few exceptions. */
static void cpuid_of_row(const struct feature_row *row, struct kvm_cpuid_entry2 *entry) {
    if (entry->function == row->leaf && entry->index == row->subleaf)
        return;
    cpuid_native(row->leaf & 0x80000000u, 0, entry); /* the highest leaf of this range */
    if (row->leaf > entry->eax)
        *entry = (struct kvm_cpuid_entry2){0};
    else
        cpuid_native(row->leaf, row->subleaf, entry);
    entry->function = row->leaf;
    entry->index = row->subleaf;
}

uint64_t kvm_x86_host_features(void) {
    struct kvm_cpuid_entry2 entry = {0}; /* no row has leaf 0 */
    uint64_t features = 0;
    for (size_t i = 0; i < FEATURE_ROWS; i++) {
        const struct feature_row *row = &feature_rows[i];
        cpuid_of_row(row, &entry);
        features |= (uint64_t)(*cpuid_reg(&entry, row->reg) >> row->reg_bit & 1) << row->bit;
    }
    return features;
}

uint64_t kvm_x86_entry_probes(const struct vm_backend *backend) {
    struct kvm_cpuid_entry2 base, extended = {0};
    cpuid_native(1, 0, &base);
    const bool has_osxsave = (base.ecx >> 27 & 1) != 0;
    cpuid_native(0, 0, &base); /* the highest leaf */
    if (base.eax >= 7)
        cpuid_native(7, 0, &extended);
    const bool has_ospke = (extended.ecx >> 4 & 1) != 0;
    uint64_t probes = 0;
    if (has_osxsave && !features_need_avx(backend->cpu_features))
        probes |= PROBE_XRSTOR;
    /* PKU is listed where CR4.PKE is the guest's own (ours has none); but do not trust it where
     * ring 3 may run with the host's. */
    const bool is_own_cr4 =
        cpuid_bit(backend->supported, 7, 2, 3) &&
        (backend->kind == HUSK_HYPERVISOR_KVM_VMX || backend->kind == HUSK_HYPERVISOR_KVM_SVM);
    if (has_ospke && !is_own_cr4)
        probes |= PROBE_WRPKRU;
    return probes;
}

void vm_kvm_host_info(const struct vm_backend *backend, struct husk_host_info *ret_info) {
    struct husk_host_info info = {
        .hypervisor = backend->kind,
        .hypervisor_api = backend->api_version,
        .memslots_max = backend->memslots_max,
        .cpu_features = backend->cpu_features,
        .has_sync_regs = backend->has_sync_regs,
        .has_immediate_exit = backend->has_immediate_exit,
        .has_readonly_mem = backend->has_readonly_mem,
        .has_msr_filter = backend->has_msr_filter,
    };
    for (uint32_t i = 0; i < 3; i++) { /* the brand string: CPUID 0x80000002..4 */
        struct kvm_cpuid_entry2 entry;
        cpuid_native(0x80000002u + i, 0, &entry);
        for (unsigned reg = 0; reg < 4; reg++)
            memcpy(info.cpu_name + 16 * i + 4 * reg, cpuid_reg(&entry, reg), 4);
    }
    info.cpu_name[48] = '\0';
    *ret_info = info;
}

/* ---- VM ---- */

/* Every MSR access ends the run instead of reaching KVM. Ring 3 cannot do any; this is a second
 * door behind the first. */
static int vm_deny_msrs(struct vm *vm, struct husk_error *err) {
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
                                          KVM_MSR_EXIT_REASON_FILTER}};
    if (kvm_do_enable_cap(vm, &cap) != 0)
        return error_sys(err, errno, "KVM_CAP_X86_USER_SPACE_MSR");
    uint8_t nothing_allowed = 0;
    struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
    /* KVM refuses a filter without a range. */
    filter.ranges[0] =
        (struct kvm_msr_filter_range){.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
                                      .nmsrs = 8,
                                      .base = X86_MSR_STAR,
                                      .bitmap = &nothing_allowed};
    if (kvm_do_set_msr_filter(vm, &filter) != 0)
        return error_sys(err, errno, "KVM_X86_SET_MSR_FILTER");
    return 0;
}

int kvm_x86_vm_setup(struct vm *vm, struct husk_error *err) {
    const struct vm_backend *backend = vm->backend;
    if (backend->has_identity_map) {
        __u64 addr = KVM_IDENTITY_MAP_GPA;
        if (kvm_do_set_identity_map_addr(vm, &addr) != 0)
            return error_sys(err, errno, "KVM_SET_IDENTITY_MAP_ADDR");
    }
    if (backend->has_tss_addr && kvm_do_set_tss_addr(vm, KVM_TSS_GPA) != 0)
        return error_sys(err, errno, "KVM_SET_TSS_ADDR");
    if (backend->quirks != 0) {
        struct kvm_enable_cap cap = {.cap = KVM_CAP_DISABLE_QUIRKS2, .args = {backend->quirks}};
        if (kvm_do_enable_cap(vm, &cap) != 0)
            return error_sys(err, errno, "KVM_CAP_DISABLE_QUIRKS2");
    }
    return backend->has_msr_filter ? vm_deny_msrs(vm, err) : 0;
}
