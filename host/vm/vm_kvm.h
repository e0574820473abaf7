/*
 * host/vm/vm_kvm.h: internal header of the KVM backend: vm_kvm_caps.c (opens KVM, checks
 * capabilities), vm_kvm.c and vm_kvm_x86_64.c (VM, CPUID), vcpu_kvm.c and vcpu_kvm_x86_64.c (run
 * loop, registers, exceptions). Linux: Documentation/virt/kvm/api.rst.
 */
#ifndef HOST_VM_KVM_H
#define HOST_VM_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "vm.h"

/* The system calls, so that tests can make the n-th one fail. Results are like those of the real
 * calls: -1 and errno. */
struct kvm_sys {
    int (*open_path)(const char *path, int flags);
    int (*control)(int fd, unsigned long request, void *arg);
    void *(*map)(size_t bytes, int fd); /* MAP_FAILED */
    int64_t (*read_at)(int fd, void *ret_bytes, size_t count, int64_t offset);
};
extern const struct kvm_sys kvm_sys_linux;

struct vm_backend {
    const struct kvm_sys *sys;
    int kvm_fd;
    size_t run_bytes;      /* size of the shared struct kvm_run */
    uint32_t memslots_max; /* for others than the trial */
    uint32_t quirks;       /* quirks that can be switched off: KVM_CAP_DISABLE_QUIRKS2 */
    int api_version;
    enum husk_hypervisor kind;
    bool has_sync_regs, has_immediate_exit, has_readonly_mem, has_msr_filter, has_tss_addr,
        has_identity_map;
    uint64_t cpu_features; /* bits of abi/cpu_features.def that work in a guest */
    enum vm_entry entry;
    bool has_xsave;               /* the guest has its own XCR0 */
    struct kvm_cpuid2 *supported; /* KVM_GET_SUPPORTED_CPUID */
    uint64_t cr4_optional;        /* SMEP, …: bits of CR4 that this host accepts */
    /* The VM in which features were tried out: the first one that is wanted. Or NULL. */
    struct vm *_Atomic tried_vm;
};

/* Where the guest stopped, for the next run. */
enum vm_where {
    VM_IN_RING3, /* new vCPU, or stopped at one of our ports */
    VM_IN_STUB,  /* in an exception stub: ring 3's registers are in the exception frame */
    /* after a kick, a violation, or a failed run: in ring 3 or in a stub, perhaps with a pending
     * exception */
    VM_ANYWHERE,
};

struct vm {
    const struct vm_backend *backend;
    int vm_fd;
    /* Of the VM that tried_vm was: its vCPU, until it is wanted; and the addresses of the slot that
     * the trial used. The slot stays, as to remove it takes longer than to make a VM. There is
     * nothing at these addresses, and no page table leads to the slot. */
    struct vcpu *tried_vcpu;
    void (*tried_vcpu_free)(struct vcpu *vcpu);
    uint8_t *tried_memory;
    uint64_t tried_bytes;
};

struct vcpu {
    const struct vm_backend *backend; /* of the VM */
    int vcpu_fd;
    struct kvm_run *run;
    enum vm_where where;
    /* KVM did not finish the instruction of a violation: the vCPU must never run again */
    bool has_unfinished_op;
    uint64_t cpu_features;                   /* what it was made with */
    bool has_stale_debug_regs;               /* reset them before the next run */
    bool has_asked_stats;                    /* vcpu_kvm_stats.c; so the next two are set */
    int stats_fd;                            /* -1: faults are not counted */
    uint64_t faults_at;                      /* where the counter is in stats_fd */
    const struct sys_exception_frame *frame; /* at the top of the exception stack */
    struct kvm_sregs fresh_sregs;            /* those of a new vCPU */
};

/* vm_kvm_caps.c. Checks the capabilities that KVM must have; `query` answers
 * KVM_CHECK_EXTENSION. */
int kvm_caps_check(int (*query)(void *user, unsigned cap), void *user, struct husk_error *err);
int kvm_open_failed(const char *path, int sys_errno, struct husk_error *err);
int kvm_backend_new_with(const struct kvm_sys *sys, const char *kvm_path,
                         struct vm_backend **ret_backend, struct husk_error *err);

/* vm_kvm_x86_64.c */
int kvm_x86_supported(struct vm_backend *backend,
                      struct husk_error *err);               /* CPUID, cpu_features, cr4_optional */
uint64_t kvm_x86_host_features(void);                        /* of this CPU; KVM may list fewer */
int kvm_x86_vm_setup(struct vm *vm, struct husk_error *err); /* after KVM_CREATE_VM */
/* Make the vCPU show only these features. */
int kvm_x86_set_cpuid(const struct vcpu *vcpu, uint64_t features, struct husk_error *err);

/* vm_kvm.c. Make a VM in place of the one that the struct has. */
int kvm_vm_reopen(struct vm *vm, struct husk_error *err);
void kvm_tried_vm_free(struct vm_backend *backend);

/* vcpu_kvm_stats.c */
uint64_t kvm_vcpu_faults(struct vcpu *vcpu);

/* vcpu_kvm_x86_64.c */
int kvm_x86_vcpu_setup(struct vcpu *vcpu, const struct vcpu_config *config, struct husk_error *err);
void kvm_x86_get_regs(const struct vcpu *vcpu, struct vm_regs *ret_regs);
void kvm_x86_set_regs(struct vcpu *vcpu, const struct vm_regs *regs);
int kvm_x86_reset_debug_regs(struct vcpu *vcpu, struct husk_error *err);
void kvm_x86_repeat_once(struct vcpu *vcpu);
/* Fill the exit after a KVM_EXIT_IO by an OUT: one of our ports, an exception, or a violation. */
void kvm_x86_port_exit(struct vcpu *vcpu, struct vm_exit *exit);

/* Instructions of the entry page, in addition to the bits of abi/cpu_features.def. */
#define PROBE_XRSTOR (1ull << 62)
#define PROBE_WRPKRU (1ull << 63)
#define PROBE_NOTHING (1ull << 61) /* an instruction that no CPU has, for tests */
/* The PROBE_… instructions that the CPU has and a guest may have. It is uncertain on kvm-pvm, where
 * CR4 and XCR0 are the host kernel's. */
uint64_t kvm_x86_entry_probes(const struct vm_backend *backend);

/* vm_kvm_selftest_x86_64.c. Finds features that work in a guest although KVM does not list them
 * (cpu_features), and the variant of the entry page. */
int kvm_x86_try_out(struct vm_backend *backend, struct husk_error *err);
#define KVM_TRIAL_SLOT(backend) ((backend)->memslots_max)
/* Which of the candidates work. At first all are tried together, unless is_one_by_one is set. */
int kvm_x86_try_features(struct vm_backend *backend, uint64_t candidates, bool is_one_by_one,
                         uint64_t *ret_works, struct husk_error *err);

/* Typed ioctls: a wrong struct does not compile. They return 0 or a value, or -1 with errno. */
static inline int kvm_do_create_vm(const struct vm_backend *backend) {
    return backend->sys->control(backend->kvm_fd, KVM_CREATE_VM, NULL);
}
static inline int kvm_do_check_extension(const struct vm_backend *backend, unsigned cap) {
    return backend->sys->control(backend->kvm_fd, KVM_CHECK_EXTENSION, (void *)(uintptr_t)cap);
}
static inline int kvm_do_get_supported_cpuid(const struct vm_backend *backend,
                                             struct kvm_cpuid2 *cpuid) {
    return backend->sys->control(backend->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid);
}
static inline int kvm_do_create_vcpu(const struct vm *vm, unsigned long id) {
    return vm->backend->sys->control(vm->vm_fd, KVM_CREATE_VCPU, (void *)id);
}
static inline int kvm_do_set_memory(const struct vm *vm,
                                    struct kvm_userspace_memory_region *region) {
    return vm->backend->sys->control(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, region);
}
static inline int kvm_do_enable_cap(const struct vm *vm, struct kvm_enable_cap *cap) {
    return vm->backend->sys->control(vm->vm_fd, KVM_ENABLE_CAP, cap);
}
static inline int kvm_do_set_msr_filter(const struct vm *vm, struct kvm_msr_filter *filter) {
    return vm->backend->sys->control(vm->vm_fd, KVM_X86_SET_MSR_FILTER, filter);
}
static inline int kvm_do_set_tss_addr(const struct vm *vm, unsigned long addr) {
    return vm->backend->sys->control(vm->vm_fd, KVM_SET_TSS_ADDR, (void *)addr);
}
static inline int kvm_do_set_identity_map_addr(const struct vm *vm, __u64 *addr) {
    return vm->backend->sys->control(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, addr);
}
static inline int kvm_do_set_cpuid(const struct vcpu *vcpu, struct kvm_cpuid2 *cpuid) {
    return vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_SET_CPUID2, cpuid);
}
static inline int kvm_do_get_sregs(const struct vcpu *vcpu, struct kvm_sregs *sregs) {
    return vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_GET_SREGS, sregs);
}
static inline int kvm_do_set_sregs(const struct vcpu *vcpu, struct kvm_sregs *sregs) {
    return vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_SET_SREGS, sregs);
}
static inline int kvm_do_set_debugregs(const struct vcpu *vcpu, struct kvm_debugregs *debugregs) {
    return vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_SET_DEBUGREGS, debugregs);
}
static inline int kvm_do_set_xcrs(const struct vcpu *vcpu, struct kvm_xcrs *xcrs) {
    return vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_SET_XCRS, xcrs);
}
static inline int kvm_do_run(const struct vcpu *vcpu) {
    return vcpu->backend->sys->control(vcpu->vcpu_fd, KVM_RUN, NULL);
}

#endif
