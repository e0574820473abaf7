/* tests/support/vcpu_state.c: see vcpu_state.h. KVM: api.rst, section 4. */
#include "vcpu_state.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "harness.h"
#include "vm_kvm.h"

#define PART(field, part_kind, part_why)                                                           \
    {                                                                                              \
        .name = #field, .offset = offsetof(struct vcpu_state, field),                              \
        .bytes = sizeof(((struct vcpu_state *)0)->field), .kind = VCPU_##part_kind,                \
        .why = part_why                                                                            \
    }
#define XSAVE_PART(part_name, from, to, part_kind, part_why)                                       \
    {                                                                                              \
        .name = "xsave." part_name, .offset = offsetof(struct vcpu_state, xsave) + (from),         \
        .bytes = (to) - (from), .kind = VCPU_##part_kind, .why = part_why                          \
    }

#define BY_HOST "the host sets it at every call"
#define BY_ENTRY_PAGE "the entry page resets it (host/vm/entry_page_x86_64.S)"
#define AFTER_OTHER_EXITS                                                                          \
    "the host sets it after an exit that was not one of our ports; at those it is the same always"
#define RING0_ONLY "only ring 0 can write it"

/* Not here, because they are no registers: what KVM_GET_FPU says (stale bytes where a component is
 * in its initial state; KVM_GET_XSAVE fills those in), and the XSAVE area's XSTATE_BV (which
 * components the CPU took to be in use: a host that is itself a VM has bit 1 set after every other
 * preemption, in a VM that nobody used, too). */
static const struct vcpu_part fixed_parts[] = {
    PART(regs.rax, CHANGES, BY_ENTRY_PAGE),
    PART(regs.rbx, CHANGES, BY_HOST),
    PART(regs.rcx, CHANGES, BY_HOST),
    PART(regs.rdx, CHANGES, BY_HOST),
    PART(regs.rsi, CHANGES, BY_HOST),
    PART(regs.rdi, CHANGES, BY_HOST),
    PART(regs.rsp, CHANGES, BY_HOST),
    PART(regs.rbp, CHANGES, BY_HOST),
    PART(regs.r8, CHANGES, BY_HOST),
    PART(regs.r9, CHANGES, BY_HOST),
    PART(regs.r10, CHANGES, BY_HOST),
    PART(regs.r11, CHANGES, BY_HOST),
    PART(regs.r12, CHANGES, BY_HOST),
    PART(regs.r13, CHANGES, BY_HOST),
    PART(regs.r14, CHANGES, BY_HOST),
    PART(regs.r15, CHANGES, BY_HOST),
    PART(regs.rip, CHANGES, BY_HOST),
    PART(regs.rflags, CHANGES, BY_HOST),
    PART(sregs.cs, AT_EXIT, AFTER_OTHER_EXITS),
    PART(sregs.ss, AT_EXIT, AFTER_OTHER_EXITS),
    PART(sregs.ds, MAY_CHANGE, BY_ENTRY_PAGE),
    PART(sregs.es, MAY_CHANGE, BY_ENTRY_PAGE),
    PART(sregs.fs, MAY_CHANGE, BY_ENTRY_PAGE),
    PART(sregs.gs, MAY_CHANGE, BY_ENTRY_PAGE),
    PART(sregs.tr, FIXED, RING0_ONLY),
    PART(sregs.ldt, FIXED, RING0_ONLY),
    PART(sregs.gdt, FIXED, RING0_ONLY),
    PART(sregs.idt, FIXED, RING0_ONLY),
    PART(sregs.cr0, FIXED, RING0_ONLY),
    PART(sregs.cr2, CHANGES, "page faults write it; " AFTER_OTHER_EXITS),
    PART(sregs.cr3, FIXED, RING0_ONLY),
    PART(sregs.cr4, FIXED, RING0_ONLY),
    PART(sregs.cr8, FIXED, RING0_ONLY),
    PART(sregs.efer, FIXED, RING0_ONLY),
    PART(sregs.apic_base, FIXED, RING0_ONLY),
    PART(sregs.interrupt_bitmap, FIXED, "there are no interrupts"),
    PART(debugregs.db, FIXED, RING0_ONLY),
    PART(debugregs.dr6, CHANGES, "single-stepping writes it; " AFTER_OTHER_EXITS),
    PART(debugregs.dr7, FIXED, RING0_ONLY),
    PART(debugregs.flags, FIXED, "no meaning yet"),
    PART(xcrs, FIXED, RING0_ONLY),
    PART(events, MAY_CHANGE, AFTER_OTHER_EXITS),
    PART(mp_state, FIXED, "HLT is ring 0's"),
    XSAVE_PART("x87_control", 0, 8, CHANGES, BY_ENTRY_PAGE),
    XSAVE_PART("x87_pointers", 8, 24, MAY_CHANGE, BY_ENTRY_PAGE),
    XSAVE_PART("mxcsr", 24, 28, CHANGES, BY_ENTRY_PAGE),
    XSAVE_PART("mxcsr_mask", 28, 32, FIXED, "the CPU's"),
    XSAVE_PART("x87", 32, 160, CHANGES, BY_ENTRY_PAGE),
    XSAVE_PART("xmm", 160, 416, CHANGES, BY_ENTRY_PAGE),
    XSAVE_PART("unused", 416, 512, FIXED, "no state"),
    XSAVE_PART("header", 520, 576, FIXED, "KVM's format"),
};

/* MSRs that are not compared. */
static const struct {
    uint32_t index;
    const char *why;
} ticking_msrs[] = {
    {0x10, "TSC: it counts"},
    {0xe7, "MPERF: it counts"},
    {0xe8, "APERF: it counts"},
    {0x40000010, "HV_X64_MSR_VP_RUNTIME: it counts"},
    {0x40000020, "HV_X64_MSR_TIME_REF_COUNT: it counts"},
};

/* MSRs that are ring 3's to change. All others are ring 0's. */
static const struct {
    uint32_t index;
    enum vcpu_part_kind kind;
    const char *why;
} open_msrs[] = {
    {0xc0000100, VCPU_MAY_CHANGE, BY_ENTRY_PAGE}, /* FS_BASE: WRFSBASE on kvm-pvm */
    {0xc0000101, VCPU_MAY_CHANGE, BY_ENTRY_PAGE}, /* GS_BASE */
};

static struct vcpu_part parts[sizeof fixed_parts / sizeof fixed_parts[0] + 64 + VCPU_MSRS_MAX];
static size_t parts_count;
static struct kvm_msrs *msrs; /* those that can be read, with their place in `parts` */

static void vcpu_get(const struct vcpu *vcpu, unsigned long request, void *to, const char *what) {
    if (ioctl(vcpu->vcpu_fd, request, to) < 0)
        FAIL("%s: %s", what, strerror(errno));
}

static void add_part(const struct vcpu_part *part) {
    CHECK(parts_count < sizeof parts / sizeof parts[0]);
    parts[parts_count++] = *part;
}

/* The state components behind the XSAVE header, where CPUID leaf 0xd says: SDM vol. 1, section
 * 13.2. */
static void add_xsave_parts(const struct vcpu *vcpu) {
    struct kvm_xcrs xcrs = {0};
    vcpu_get(vcpu, KVM_GET_XCRS, &xcrs, "KVM_GET_XCRS");
    const uint64_t xcr0 = xcrs.nr_xcrs > 0 ? xcrs.xcrs[0].value : 0;
    static const char *const names[] = {
        [2] = "ymm_high", [5] = "opmask", [6] = "zmm_high", [7] = "zmm16_31", [9] = "pkru"};
    for (unsigned i = 2; i < 63; i++) {
        unsigned bytes = 0, offset = 0, flags = 0, unused = 0;
        if (__get_cpuid_count(0xd, i, &bytes, &offset, &flags, &unused) == 0 || bytes == 0 ||
            (flags & 1) != 0)
            continue;
        CHECK(offset + bytes <= VCPU_XSAVE_BYTES);
        char name[40];
        snprintf(name, sizeof name, "xsave.component%u", i);
        if (i < sizeof names / sizeof names[0] && names[i] != NULL)
            snprintf(name, sizeof name, "xsave.%s", names[i]);
        add_part(&(struct vcpu_part){.name = strdup(name),
                                     .offset = offsetof(struct vcpu_state, xsave) + offset,
                                     .bytes = bytes,
                                     .kind = (xcr0 >> i & 1) != 0 ? VCPU_CHANGES : VCPU_MAY_CHANGE,
                                     .why = BY_ENTRY_PAGE});
    }
}

static void add_msr(uint32_t index) {
    struct vcpu_part part = {.offset = offsetof(struct vcpu_state, msrs) + 8 * msrs->nmsrs,
                             .bytes = 8,
                             .kind = VCPU_FIXED,
                             .why = RING0_ONLY};
    for (size_t i = 0; i < sizeof ticking_msrs / sizeof ticking_msrs[0]; i++)
        if (ticking_msrs[i].index == index)
            return;
    for (size_t i = 0; i < sizeof open_msrs / sizeof open_msrs[0]; i++) {
        if (open_msrs[i].index == index) {
            part.kind = open_msrs[i].kind;
            part.why = open_msrs[i].why;
        }
    }
    char name[40];
    snprintf(name, sizeof name, "msr 0x%x", index);
    part.name = strdup(name);
    add_part(&part);
    CHECK(msrs->nmsrs < VCPU_MSRS_MAX);
    msrs->entries[msrs->nmsrs++].index = index;
}

/* Those of KVM_GET_MSR_INDEX_LIST that this vCPU has. */
static void add_msrs(const struct vcpu *vcpu) {
    struct kvm_msr_list *list = calloc(1, sizeof *list + VCPU_MSRS_MAX * sizeof list->indices[0]);
    msrs = calloc(1, sizeof *msrs + VCPU_MSRS_MAX * sizeof msrs->entries[0]);
    CHECK(list != NULL && msrs != NULL);
    list->nmsrs = VCPU_MSRS_MAX;
    if (ioctl(vcpu->backend->kvm_fd, KVM_GET_MSR_INDEX_LIST, list) != 0)
        FAIL("KVM_GET_MSR_INDEX_LIST: %s", strerror(errno));
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        union {
            struct kvm_msrs msrs;
            uint8_t bytes[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
        } one = {.msrs = {.nmsrs = 1}};
        one.msrs.entries[0].index = list->indices[i];
        if (ioctl(vcpu->vcpu_fd, KVM_GET_MSRS, &one) == 1)
            add_msr(list->indices[i]);
    }
    free(list);
}

static void parts_make(const struct vcpu *vcpu) {
    for (size_t i = 0; i < sizeof fixed_parts / sizeof fixed_parts[0]; i++)
        add_part(&fixed_parts[i]);
    add_xsave_parts(vcpu);
    add_msrs(vcpu);
}

size_t vcpu_parts(const struct vcpu_part **ret_parts) {
    *ret_parts = parts;
    return parts_count;
}

static void take_xsave(const struct vcpu *vcpu, uint8_t *to) {
    int bytes = ioctl(vcpu->backend->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    CHECK_MSG(bytes <= (int)VCPU_XSAVE_BYTES, "the XSAVE area has %d bytes", bytes);
    if (bytes > (int)sizeof(struct kvm_xsave))
        vcpu_get(vcpu, KVM_GET_XSAVE2, to, "KVM_GET_XSAVE2");
    else
        vcpu_get(vcpu, KVM_GET_XSAVE, to, "KVM_GET_XSAVE");
}

void vcpu_state_take(const struct vcpu *vcpu, struct vcpu_state *ret_state) {
    if (parts_count == 0)
        parts_make(vcpu);
    memset(ret_state, 0, sizeof *ret_state);
    vcpu_get(vcpu, KVM_GET_REGS, &ret_state->regs, "KVM_GET_REGS");
    vcpu_get(vcpu, KVM_GET_SREGS, &ret_state->sregs, "KVM_GET_SREGS");
    vcpu_get(vcpu, KVM_GET_DEBUGREGS, &ret_state->debugregs, "KVM_GET_DEBUGREGS");
    vcpu_get(vcpu, KVM_GET_XCRS, &ret_state->xcrs, "KVM_GET_XCRS");
    vcpu_get(vcpu, KVM_GET_VCPU_EVENTS, &ret_state->events, "KVM_GET_VCPU_EVENTS");
    vcpu_get(vcpu, KVM_GET_MP_STATE, &ret_state->mp_state, "KVM_GET_MP_STATE");
    take_xsave(vcpu, ret_state->xsave);
    int count = ioctl(vcpu->vcpu_fd, KVM_GET_MSRS, msrs);
    CHECK_MSG(count == (int)msrs->nmsrs, "KVM_GET_MSRS: %d of %u", count, msrs->nmsrs);
    for (uint32_t i = 0; i < msrs->nmsrs; i++)
        ret_state->msrs[i] = msrs->entries[i].data;
}

bool vcpu_part_equal(const struct vcpu_part *part, const struct vcpu_state *a,
                     const struct vcpu_state *b) {
    return memcmp((const uint8_t *)a + part->offset, (const uint8_t *)b + part->offset,
                  part->bytes) == 0;
}

/* "offset +3: 01 02 03": up to 16 bytes from the first that differs. */
static void fail_part(const struct vcpu_part *part, const uint8_t *got, const uint8_t *expected,
                      const char *when) {
    size_t at = 0;
    while (got[at] == expected[at])
        at++;
    char text[2][64] = {"", ""};
    for (size_t i = 0; i < 16 && at + i < part->bytes; i++) {
        snprintf(text[0] + 3 * i, sizeof text[0] - 3 * i, " %02x", got[at + i]);
        snprintf(text[1] + 3 * i, sizeof text[1] - 3 * i, " %02x", expected[at + i]);
    }
    FAIL("%s: %s differs at byte %zu:%s, expected%s (%s)", when, part->name, at, text[0], text[1],
         part->why);
}

void vcpu_state_check(const struct vcpu_state *got, const struct vcpu_state *expected,
                      const char *when) {
    for (size_t i = 0; i < parts_count; i++) {
        const struct vcpu_part *part = &parts[i];
        if (!vcpu_part_equal(part, got, expected))
            fail_part(part, (const uint8_t *)got + part->offset,
                      (const uint8_t *)expected + part->offset, when);
    }
}
