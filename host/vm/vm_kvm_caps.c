/*
 * host/vm/vm_kvm_caps.c: opens /dev/kvm and checks the capabilities of this host's KVM. Each
 * missing capability has its own message, which says what to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "error.h"
#include "vm_kvm.h"
#include "hot.h"
#include "syscall_x86_64.h"

#define KVM_API_VERSION_EXPECTED 12 /* the only one since Linux 2.6.22; api.rst 4.1 */
#define MEMSLOTS_NEEDED 32

static int sys_open_path(const char *path, int flags) {
    return open(path, flags);
}

HOT static int sys_control(int fd, unsigned long request, void *arg) {
    return ioctl(fd, request, arg);
}

static void *sys_map(size_t bytes, int fd) {
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

HOT static int64_t sys_read_at(int fd, void *ret_bytes, size_t count, int64_t offset) {
    return syscall_now(SYS_pread64, fd, (long)ret_bytes, (long)count, offset);
}

const struct kvm_sys kvm_sys_linux = {
    .open_path = sys_open_path, .control = sys_control, .map = sys_map, .read_at = sys_read_at};

/* KVM_CHECK_EXTENSION must answer with all bits of `bits`, or, if is_count, with at least
 * `bits`. */
struct cap_row {
    unsigned cap;
    int bits;
    bool is_count;
    const char *name;
    const char *why;
    const char *since; /* Linux version on x86; NULL: KVM has it wherever Linux uses XSAVE */
};

#define NO_XSAVE                                                                                   \
    "the CPU has no XSAVE, or a hypervisor below hides it, or the kernel does not use it (option " \
    "noxsave; sizes that contradict each other). See xsave in /proc/cpuinfo and x86/fpu in the "   \
    "kernel's log"

static const struct cap_row needed_caps[] = {
    {KVM_CAP_USER_MEMORY, 1, false, "KVM_CAP_USER_MEMORY", "guest memory", "2.6.25"},
    {KVM_CAP_SYNC_MMU, 1, false, "KVM_CAP_SYNC_MMU", "copy-on-write guest memory", "2.6.27"},
    {KVM_CAP_EXT_CPUID, 1, false, "KVM_CAP_EXT_CPUID", "hiding CPU features", "2.6.26"},
    {KVM_CAP_DEBUGREGS, 1, false, "KVM_CAP_DEBUGREGS", "resetting debug registers", "2.6.35"},
    {KVM_CAP_XCRS, 1, false, "KVM_CAP_XCRS", "AVX in the guest", NULL},
    {KVM_CAP_READONLY_MEM, 1, false, "KVM_CAP_READONLY_MEM", "code that the guest cannot write",
     "3.8"},
    {KVM_CAP_IMMEDIATE_EXIT, 1, false, "KVM_CAP_IMMEDIATE_EXIT", "ending calls at a deadline",
     "4.12"},
    {KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS, false,
     "KVM_CAP_SYNC_REGS", "registers without system calls", "4.17"},
    {KVM_CAP_NR_MEMSLOTS, MEMSLOTS_NEEDED, true, "KVM_CAP_NR_MEMSLOTS", "at least 32 memory slots",
     "2.6.26"},
};

int kvm_caps_check(int (*query)(void *user, unsigned cap), void *user, struct husk_error *err) {
    for (size_t i = 0; i < sizeof needed_caps / sizeof needed_caps[0]; i++) {
        const struct cap_row *row = &needed_caps[i];
        int answer = query(user, row->cap);
        bool is_enough =
            answer > 0 && (row->is_count ? answer >= row->bits : (answer & row->bits) == row->bits);
        if (!is_enough && row->since == NULL)
            return error_set(err, HUSK_E_HYPERVISOR_CAP, "KVM lacks %s (%s) here: " NO_XSAVE,
                             row->name, row->why);
        if (!is_enough)
            return error_set(err, HUSK_E_HYPERVISOR_CAP,
                             "this kernel's KVM lacks %s (%s), which Linux has had since %s: "
                             "update the host's kernel",
                             row->name, row->why, row->since);
    }
    return 0;
}

int kvm_open_failed(const char *path, int sys_errno, struct husk_error *err) {
    int status;
    switch (sys_errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
        status = error_set(
            err, HUSK_E_NO_HYPERVISOR,
            "there is no %s: this machine's kernel has no KVM module loaded (modprobe kvm_intel or "
            "kvm_amd), virtualisation is off in the firmware, or a cloud machine does not offer it",
            path);
        break;
    case EACCES:
    case EPERM:
        status = error_set(
            err, HUSK_E_NO_HYPERVISOR,
            "no permission to open %s: add the user to the group that owns it (usually: usermod "
            "-aG kvm USER, then log in again), or pass the device into the container",
            path);
        break;
    default: return error_sys(err, sys_errno, "cannot open %s", path);
    }
    if (err != NULL)
        err->sys_errno = sys_errno;
    return status;
}

static int backend_query(void *user, unsigned cap) {
    return kvm_do_check_extension(user, cap);
}

/* For people, and for what is worth trying out: nothing else is decided by it. */
static enum husk_hypervisor kvm_kind_detect(void) {
    static const struct {
        const char *path;
        enum husk_hypervisor kind;
    } modules[] = {
        {"/sys/module/kvm_pvm", HUSK_HYPERVISOR_KVM_PVM},
        {"/sys/module/kvm_intel", HUSK_HYPERVISOR_KVM_VMX},
        {"/sys/module/kvm_amd", HUSK_HYPERVISOR_KVM_SVM},
    };
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++)
        if (access(modules[i].path, F_OK) == 0)
            return modules[i].kind;
    return HUSK_HYPERVISOR_UNKNOWN;
}

static int backend_open(struct vm_backend *backend, const char *path, struct husk_error *err) {
    backend->kvm_fd = backend->sys->open_path(path, O_RDWR | O_CLOEXEC);
    if (backend->kvm_fd < 0)
        return kvm_open_failed(path, errno, err);
    backend->api_version = backend->sys->control(backend->kvm_fd, KVM_GET_API_VERSION, NULL);
    if (backend->api_version < 0)
        return error_set(err, HUSK_E_NO_HYPERVISOR, "%s is not a KVM device", path);
    if (backend->api_version != KVM_API_VERSION_EXPECTED)
        return error_set(err, HUSK_E_NO_HYPERVISOR,
                         "%s speaks version %d of the KVM API; version %d is needed", path,
                         backend->api_version, KVM_API_VERSION_EXPECTED);
    return 0;
}

static int backend_probe(struct vm_backend *backend, struct husk_error *err) {
    int status = kvm_caps_check(backend_query, backend, err);
    if (status != 0)
        return status;
    backend->has_sync_regs = backend->has_immediate_exit = backend->has_readonly_mem = true;
    const int slots = kvm_do_check_extension(backend, KVM_CAP_NR_MEMSLOTS);
    /* the last one is that of kvm_x86_try_out() */
    backend->memslots_max = (uint32_t)(slots > MEMSLOTS_NEEDED ? slots : MEMSLOTS_NEEDED) - 1;
    int filter = kvm_do_check_extension(backend, KVM_CAP_X86_MSR_FILTER);
    int exits = kvm_do_check_extension(backend, KVM_CAP_X86_USER_SPACE_MSR);
    backend->has_msr_filter = filter > 0 && exits > 0;
    backend->has_tss_addr = kvm_do_check_extension(backend, KVM_CAP_SET_TSS_ADDR) > 0;
    backend->has_identity_map = kvm_do_check_extension(backend, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0;
    int quirks = kvm_do_check_extension(backend, KVM_CAP_DISABLE_QUIRKS2);
    backend->quirks = quirks > 0 ? (uint32_t)quirks : 0;
    int run_bytes = backend->sys->control(backend->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (run_bytes < (int)sizeof(struct kvm_run))
        return error_sys(err, run_bytes < 0 ? errno : EINVAL, "KVM_GET_VCPU_MMAP_SIZE");
    backend->run_bytes = (size_t)run_bytes;
    backend->kind = kvm_kind_detect();
    status = kvm_x86_supported(backend, err);
    return status == 0 ? kvm_x86_try_out(backend, err) : status;
}

int kvm_backend_new_with(const struct kvm_sys *sys, const char *kvm_path,
                         struct vm_backend **ret_backend, struct husk_error *err) {
    struct vm_backend *backend = calloc(1, sizeof *backend);
    if (backend == NULL)
        return error_sys(err, ENOMEM, "KVM backend");
    backend->sys = sys;
    backend->kvm_fd = -1;
    int status = backend_open(backend, kvm_path != NULL ? kvm_path : "/dev/kvm", err);
    if (status == 0)
        status = backend_probe(backend, err);
    if (status != 0) {
        vm_kvm_backend_free(backend);
        return status;
    }
    *ret_backend = backend;
    return 0;
}

int vm_kvm_backend_new(const char *kvm_path, struct vm_backend **ret_backend,
                       struct husk_error *err) {
    return kvm_backend_new_with(&kvm_sys_linux, kvm_path, ret_backend, err);
}

enum vm_entry vm_kvm_entry(const struct vm_backend *backend) {
    return backend->entry;
}

void vm_kvm_backend_free(struct vm_backend *backend) {
    if (backend == NULL)
        return;
    kvm_tried_vm_free(backend);
    if (backend->kvm_fd >= 0)
        close(backend->kvm_fd);
    free(backend->supported);
    free(backend);
}
