/*
 * host/vm/vcpu_kvm_x86_64.c: the x86-64 part of a vCPU on KVM: its control registers, and how to
 * get and set ring 3's registers while the CPU is in a ring-0 exception stub.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "syspages_layout_x86_64.h"
#include "vector_level_x86_64.h"
#include "vm_kvm.h"
#include "cpu_x86_64.h"
#include "hot.h"

/* A 64-bit segment as KVM wants it: the descriptor of host/vm/syspages_x86_64.c, unpacked. */
static struct kvm_segment segment(uint16_t selector, bool is_code) {
    return (struct kvm_segment){.limit = 0xffffffff,
                                .selector = selector,
                                .type = is_code ? 0xb : 0x3,
                                .present = 1,
                                .dpl = selector & 3,
                                .db = !is_code,
                                .s = 1,
                                .l = is_code,
                                .g = 1};
}

static void sregs_fill(struct kvm_sregs *sregs, const struct vcpu_config *config,
                       const struct vm_backend *backend) {
    const struct kvm_segment data = segment(SYS_USER_DS, false);
    sregs->cs = segment(SYS_USER_CS, true);
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = (struct kvm_segment){.base = SYS_TABLES_GVA + SYS_TSS_OFFSET,
                                     .limit = SYS_TSS_BYTES - 1,
                                     .selector = SYS_TSS_SELECTOR,
                                     .type = 0xb, /* busy 64-bit TSS */
                                     .present = 1};
    sregs->ldt = (struct kvm_segment){.unusable = 1};
    sregs->gdt =
        (struct kvm_dtable){.base = SYS_TABLES_GVA + SYS_GDT_OFFSET, .limit = SYS_GDT_BYTES - 1};
    sregs->idt =
        (struct kvm_dtable){.base = SYS_TABLES_GVA + SYS_IDT_OFFSET, .limit = SYS_IDT_BYTES - 1};
    sregs->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
    sregs->cr2 = 0;
    sregs->cr3 = config->page_root.v;
    sregs->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | backend->cr4_optional;
    if (backend->has_xsave && features_need_avx(config->cpu_features))
        sregs->cr4 |= X86_CR4_OSXSAVE;
    sregs->cr8 = 0;
    sregs->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE; /* no SCE: SYSCALL is #UD */
    memset(sregs->interrupt_bitmap, 0, sizeof sregs->interrupt_bitmap);
}

static int vcpu_set_xcr0(const struct vcpu *vcpu, uint64_t features, struct husk_error *err) {
    if (!vcpu->backend->has_xsave || !features_need_avx(features))
        return 0; /* without CR4.OSXSAVE there is no XCR0 */
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = features_xcr0(features)}}};
    if (kvm_do_set_xcrs(vcpu, &xcrs) != 0)
        return error_sys(err, errno, "KVM_SET_XCRS");
    return 0;
}

/* IF means nothing to a guest, which has no interrupt controller. It is set because VMX refuses to
 * enter a guest with IF clear and STI's shadow over the next instruction (SDM vol. 3C, section
 * 27.3.1.5), which ring 3 can leave behind: IOPL is 3. */
#define RFLAGS_RING3 (X86_RFLAGS_FIXED | X86_RFLAGS_IF | X86_RFLAGS_IOPL3)

static const struct kvm_regs fresh_regs = {.rflags = RFLAGS_RING3};

int kvm_x86_vcpu_setup(struct vcpu *vcpu, const struct vcpu_config *config,
                       struct husk_error *err) {
    uint64_t missing = config->cpu_features & ~vcpu->backend->cpu_features;
    if (missing != 0)
        return error_set(err, HUSK_E_CPU, "this machine's KVM lacks CPU features (bits 0x%llx)",
                         (unsigned long long)missing);
    int status = kvm_x86_set_cpuid(vcpu, config->cpu_features, err);
    if (status != 0)
        return status;
    struct kvm_sregs *sregs = &vcpu->fresh_sregs;
    if (kvm_do_get_sregs(vcpu, sregs) != 0)
        return error_sys(err, errno, "KVM_GET_SREGS");
    sregs_fill(sregs, config, vcpu->backend);
    if (kvm_do_set_sregs(vcpu, sregs) != 0)
        return error_sys(err, errno, "KVM_SET_SREGS");
    status = vcpu_set_xcr0(vcpu, config->cpu_features, err);
    vcpu->run->s.regs.regs = fresh_regs;
    vcpu->run->kvm_valid_regs = vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
    return status;
}

_Static_assert(sizeof(struct vm_regs) == sizeof(struct kvm_regs) &&
                   offsetof(struct vm_regs, rsp) == offsetof(struct kvm_regs, rsp) &&
                   offsetof(struct vm_regs, r15) == offsetof(struct kvm_regs, r15) &&
                   offsetof(struct vm_regs, rip) == offsetof(struct kvm_regs, rip) &&
                   offsetof(struct vm_regs, rflags) == offsetof(struct kvm_regs, rflags),
               "vm_regs must have KVM's order");

static bool is_in_stubs(uint64_t rip) {
    return rip >= SYS_STUBS_GVA && rip < SYS_STUBS_GVA + HUSK_PAGE_SIZE;
}

static bool frame_is_ring3(const struct sys_exception_frame *frame) {
    return (frame->cs & 3) == 3;
}

void kvm_x86_get_regs(const struct vcpu *vcpu, struct vm_regs *ret_regs) {
    memcpy(ret_regs, &vcpu->run->s.regs.regs, sizeof *ret_regs);
    bool is_in_stub =
        vcpu->where == VM_IN_STUB ||
        (vcpu->where != VM_IN_RING3 && is_in_stubs(ret_regs->rip) && frame_is_ring3(vcpu->frame));
    if (!is_in_stub)
        return;
    ret_regs->rip = vcpu->frame->rip;
    ret_regs->rsp = vcpu->frame->rsp;
    ret_regs->rflags = vcpu->frame->rflags;
}

static uint64_t rflags_for_ring3(uint64_t rflags) {
    return (rflags & (X86_RFLAGS_STATUS | X86_RFLAGS_DF)) | RFLAGS_RING3;
}

/* The exception stub that the guest stands in, if it does. */
static uint64_t stub_vector(const struct vcpu *vcpu) {
    return (vcpu->run->s.regs.regs.rip - SYS_STUBS_GVA) / SYS_STUB_BYTES;
}

/* Ring 3 cannot reach debug registers, but single-stepping itself leaves a bit in DR6. */
static bool may_have_stepped(const struct vcpu *vcpu) {
    return vcpu->where != VM_IN_STUB || stub_vector(vcpu) == X86_VECTOR_DB;
}

RARE static void set_sregs(struct vcpu *vcpu) {
    struct kvm_sync_regs *sync = &vcpu->run->s.regs;
    sync->sregs = vcpu->fresh_sregs;
    /* none pending, no shadow */
    sync->events = (struct kvm_vcpu_events){.flags = KVM_VCPUEVENT_VALID_SHADOW};
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
    vcpu->has_stale_debug_regs |= may_have_stepped(vcpu);
    vcpu->where = VM_IN_RING3;
}

HOT void kvm_x86_set_regs(struct vcpu *vcpu, const struct vm_regs *regs) {
    struct kvm_sync_regs *sync = &vcpu->run->s.regs;
    if (UNLIKELY(vcpu->where != VM_IN_RING3))
        set_sregs(vcpu);
    memcpy(&sync->regs, regs, sizeof sync->regs);
    sync->regs.rflags = rflags_for_ring3(regs->rflags);
    vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

int kvm_x86_reset_debug_regs(struct vcpu *vcpu, struct husk_error *err) {
    struct kvm_debugregs fresh = {.dr6 = X86_DR6_RESET, .dr7 = X86_DR7_RESET};
    if (kvm_do_set_debugregs(vcpu, &fresh) != 0)
        return error_sys(err, errno, "KVM_SET_DEBUGREGS");
    vcpu->has_stale_debug_regs = false;
    return 0;
}

/* One repetition is enough to finish an instruction: KVM reads RCX anew. (Not zero: then it never
 * takes what it has read, and waits for ever.) */
void kvm_x86_repeat_once(struct vcpu *vcpu) {
    vcpu->run->s.regs.regs.rcx = 1;
    vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
}

RARE static void port_violation(struct vm_exit *exit, const char *what, unsigned number) {
    exit->kind = VM_EXIT_VIOLATION;
    snprintf(exit->detail, sizeof exit->detail, "%s %u", what, number);
}

static enum vm_fault_kind fault_kind(unsigned vector) {
    switch (vector) {
    case X86_VECTOR_PF: return VM_FAULT_PAGE;
    case X86_VECTOR_UD: return VM_FAULT_INSTRUCTION;
    case X86_VECTOR_DB: return VM_FAULT_DEBUG;
    default: return VM_FAULT_OTHER;
    }
}

RARE static void exception_exit(struct vcpu *vcpu, unsigned vector, struct vm_exit *exit) {
    /* Ring 3 can do this OUT too, but it cannot be at a stub's address. */
    if (stub_vector(vcpu) != vector) {
        port_violation(exit, "write to exception port", HUSK_PORT_EXCEPTION + vector);
        return;
    }
    if (!frame_is_ring3(vcpu->frame)) {
        port_violation(exit, "exception inside an exception stub, vector", vector);
        return;
    }
    const uint64_t *below_frame = (const uint64_t *)(const void *)vcpu->frame;
    exit->kind = VM_EXIT_EXCEPTION;
    exit->fault = (struct vm_fault){.kind = fault_kind(vector), .number = (uint8_t)vector};
    if (vector_has_error_code(vector))
        exit->fault.code = (uint32_t)below_frame[-1];
    if (vector == X86_VECTOR_PF) {
        exit->fault.is_fetch = (exit->fault.code & X86_PF_FETCH) != 0;
        exit->fault.address = below_frame[-2];
    }
    vcpu->where = VM_IN_STUB;
}

HOT void kvm_x86_port_exit(struct vcpu *vcpu, struct vm_exit *exit) {
    const unsigned port = vcpu->run->io.port;
    if (UNLIKELY(port - HUSK_PORT_EXCEPTION < HUSK_EXCEPTION_VECTORS)) {
        exception_exit(vcpu, port - HUSK_PORT_EXCEPTION, exit);
        return;
    }
    bool is_ours = LIKELY(port == HUSK_PORT_CALL_DONE) || port == HUSK_PORT_HOST_CALL ||
                   port == HUSK_PORT_SERVICE || port == HUSK_PORT_UNCAUGHT;
    if (UNLIKELY(!is_ours || vcpu->run->io.size != 4 || vcpu->run->io.count != 1)) {
        port_violation(exit, "write to port", port);
        return;
    }
    exit->port = (uint8_t)port;
    vcpu->where = VM_IN_RING3;
}
