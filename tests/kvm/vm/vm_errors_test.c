/*
 * tests/kvm/vm/vm_errors_test.c: the errors of the KVM backend. Something is missing: no device, no
 * permission, not a KVM device, another API version, each needed capability in turn. Or each system
 * call of making and running a VM fails in turn. The first group needs no KVM.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "layout.h"
#include "syspages.h"
#include "vm_kvm.h"

static struct husk_error err;

/* ---- Opening ---- */

TEST(no_device) {
    struct vm_backend *backend = (struct vm_backend *)&err;
    CHECK_STATUS(vm_kvm_backend_new("/proc/absent/kvm", &backend, &err), HUSK_E_NO_HYPERVISOR);
    CHECK_CONTAINS(err.message, "there is no /proc/absent/kvm");
    CHECK_CONTAINS(err.message, "modprobe");
    CHECK_EQ_U64(err.sys_errno, ENOENT);
    CHECK(backend == (struct vm_backend *)&err); /* untouched */
    CHECK_STATUS(vm_kvm_backend_new("/proc/absent/kvm", &backend, NULL), HUSK_E_NO_HYPERVISOR);
}

TEST(a_file_that_is_not_kvm) {
    struct vm_backend *backend;
    CHECK_STATUS(vm_kvm_backend_new("/dev/null", &backend, &err), HUSK_E_NO_HYPERVISOR);
    CHECK_CONTAINS(err.message, "/dev/null is not a KVM device");
}

/* A host made of answers. */
static struct {
    int open_errno; /* 0: the opening works */
    int api_version;
    unsigned missing_cap; /* 0: none */
    int missing_answer;
} host;

static int host_open(const char *path, int flags) {
    (void)path, (void)flags;
    errno = host.open_errno;
    return host.open_errno != 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int host_control(int fd, unsigned long request, void *arg) {
    (void)fd;
    if (request == KVM_GET_API_VERSION)
        return host.api_version;
    if (request != KVM_CHECK_EXTENSION) {
        errno = ENOSYS;
        return -1;
    }
    unsigned cap = (unsigned)(uintptr_t)arg;
    return cap == host.missing_cap ? host.missing_answer : 0xffff;
}

static void *host_map(size_t bytes, int fd) {
    (void)bytes, (void)fd;
    errno = ENOMEM;
    return MAP_FAILED;
}

static const struct kvm_sys host_sys = {
    .open_path = host_open, .control = host_control, .map = host_map};

static int open_on_host(void) {
    struct vm_backend *backend;
    return kvm_backend_new_with(&host_sys, NULL, &backend, &err);
}

TEST(opening_fails_in_every_way) {
    static const struct {
        int sys_errno, status;
        const char *text;
    } rows[] = {
        {ENOENT, HUSK_E_NO_HYPERVISOR, "there is no /dev/kvm"},
        {ENODEV, HUSK_E_NO_HYPERVISOR, "there is no /dev/kvm"},
        {ENXIO, HUSK_E_NO_HYPERVISOR, "there is no /dev/kvm"},
        {EACCES, HUSK_E_NO_HYPERVISOR, "no permission to open /dev/kvm: add the user to the group"},
        {EPERM, HUSK_E_NO_HYPERVISOR, "no permission"},
        {EMFILE, HUSK_E_SYS, "cannot open /dev/kvm: Too many open files"},
        {ENOMEM, HUSK_E_NOMEM, "cannot open /dev/kvm"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        host.open_errno = rows[i].sys_errno;
        CHECK_STATUS(open_on_host(), rows[i].status);
        CHECK_CONTAINS(err.message, rows[i].text);
        CHECK_EQ_U64(err.sys_errno, rows[i].sys_errno);
    }
    host.open_errno = 0;
}

TEST(another_api_version) {
    host.api_version = 13;
    CHECK_STATUS(open_on_host(), HUSK_E_NO_HYPERVISOR);
    CHECK_CONTAINS(err.message, "version 13 of the KVM API; version 12 is needed");
}

TEST(each_missing_capability_is_named) {
    static const struct {
        unsigned cap;
        int answer;
        const char *name;
    } rows[] = {
        {KVM_CAP_USER_MEMORY, 0, "KVM_CAP_USER_MEMORY"},
        {KVM_CAP_SYNC_MMU, 0, "KVM_CAP_SYNC_MMU"},
        {KVM_CAP_EXT_CPUID, -1, "KVM_CAP_EXT_CPUID"},
        {KVM_CAP_DEBUGREGS, 0, "KVM_CAP_DEBUGREGS"},
        {KVM_CAP_XCRS, 0, "KVM_CAP_XCRS"},
        {KVM_CAP_READONLY_MEM, 0, "KVM_CAP_READONLY_MEM"},
        {KVM_CAP_IMMEDIATE_EXIT, 0, "KVM_CAP_IMMEDIATE_EXIT"},
        {KVM_CAP_SYNC_REGS, 0, "KVM_CAP_SYNC_REGS"},
        {KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS, "KVM_CAP_SYNC_REGS"}, /* not all of it */
        {KVM_CAP_NR_MEMSLOTS, 31, "KVM_CAP_NR_MEMSLOTS"},
    };
    host.api_version = 12;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        host.missing_cap = rows[i].cap;
        host.missing_answer = rows[i].answer;
        CHECK_STATUS(open_on_host(), HUSK_E_HYPERVISOR_CAP);
        CHECK_CONTAINS(err.message, rows[i].name);
        CHECK_CONTAINS(err.message, rows[i].cap == KVM_CAP_XCRS ? "the CPU has no XSAVE"
                                                                : "update the host's kernel");
    }
    host.missing_cap = 0;
    CHECK_STATUS(open_on_host(), HUSK_E_SYS); /* all there; the next call is the one that fails */
    CHECK_CONTAINS(err.message, "KVM_GET_VCPU_MMAP_SIZE");
}

/* ---- The n-th system call fails ---- */

static unsigned calls_done, call_that_fails; /* 0: none */
static int errno_to_give;

static bool this_call_fails(void) {
    if (++calls_done != call_that_fails)
        return false;
    errno = errno_to_give;
    return true;
}

static int faulty_open(const char *path, int flags) {
    return this_call_fails() ? -1 : kvm_sys_linux.open_path(path, flags);
}

static int faulty_control(int fd, unsigned long request, void *arg) {
    return this_call_fails() ? -1 : kvm_sys_linux.control(fd, request, arg);
}

static void *faulty_map(size_t bytes, int fd) {
    return this_call_fails() ? MAP_FAILED : kvm_sys_linux.map(bytes, fd);
}

static int64_t faulty_read_at(int fd, void *ret_bytes, size_t count, int64_t offset) {
    return this_call_fails() ? -1 : kvm_sys_linux.read_at(fd, ret_bytes, count, offset);
}

static const struct kvm_sys faulty_sys = {faulty_open, faulty_control, faulty_map, faulty_read_at};

struct whole {
    struct vm_backend *backend;
    struct sys_template *template;
    struct sys_space *space;
    struct vm *vm;
    struct vcpu *vcpu;
    uint8_t *text;
};

/* One call at code + offset, which must end so. */
static int whole_call(struct whole *whole, uint64_t offset, enum vm_exit_kind kind) {
    const struct vm_regs regs = {.rip = HUSK_TEXT_GVA + offset, .rsp = HUSK_STACK_TOP_GVA};
    vcpu_kvm_ops.set_regs(whole->vcpu, &regs);
    struct vm_exit exit = {.kind = VM_EXIT_VIOLATION};
    int status = vcpu_kvm_ops.run(whole->vcpu, &exit, &err);
    if (status == 0)
        CHECK_EQ_U64(exit.kind, kind);
    return status;
}

/* From opening KVM to a debug exception and one call after it; the first failure ends it. */
static int whole_life(struct whole *whole) {
    const struct page_mapping text = {
        HUSK_TEXT_GVA, {HUSK_TEXT_GVA}, HUSK_PAGE_SIZE, PAGE_READ | PAGE_EXEC};
    int status = kvm_backend_new_with(&faulty_sys, NULL, &whole->backend, &err);
    if (status == 0)
        status = sys_template_new(whole->backend->entry, &text, 1, &whole->template, &err);
    if (status == 0)
        status = sys_space_new(whole->template, 1, &whole->space, &err);
    if (status != 0)
        return status;
    const struct vcpu_config config = {.cpu_features = whole->backend->cpu_features,
                                       .page_root = sys_space_page_root(whole->space),
                                       .exception_stack_top =
                                           sys_space_exception_stack_top(whole->space)};
    status = vm_kvm_ops.create(whole->backend, &whole->vm, &err);
    if (status == 0)
        status = vcpu_kvm_ops.create(whole->vm, &config, &whole->vcpu, &err);
    if (status == 0)
        status = vm_kvm_ops.set_slot(whole->vm, 0, text.gpa, whole->text, HUSK_PAGE_SIZE,
                                     VM_SLOT_READONLY, &err);
    if (status == 0)
        status = sys_space_attach(whole->space, &vm_kvm_ops, whole->vm, &err);
    if (status != 0)
        return status;
    status = whole_call(whole, 0, VM_EXIT_EXCEPTION);
    return status != 0 ? status : whole_call(whole, 1, VM_EXIT_PORT);
}

static void whole_end(struct whole *whole) {
    vcpu_kvm_ops.destroy(whole->vcpu);
    vm_kvm_ops.destroy(whole->vm);
    sys_space_free(whole->space);
    sys_template_unref(whole->template);
    vm_kvm_backend_free(whole->backend);
    memset(whole, 0, offsetof(struct whole, text));
}

static unsigned count_fds(void) {
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static void fail_each_call(int sys_errno, int status_expected) {
    static const uint8_t code[] = {0xf1, 0x90, 0xe7, 0x10}; /* int1; nop; out %eax, $0x10 */
    struct whole whole = {0};
    whole.text =
        mmap(NULL, HUSK_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(whole.text != MAP_FAILED);
    memcpy(whole.text, code, sizeof code);
    call_that_fails = 0;
    calls_done = 0;
    CHECK_OK(whole_life(&whole), err);
    whole_end(&whole);
    const unsigned calls = calls_done, fds = count_fds();
    unsigned failures = 0;
    for (unsigned n = 1; n <= calls; n++) {
        calls_done = 0;
        call_that_fails = n;
        errno_to_give = sys_errno;
        err.message[0] = '\0';
        int status = whole_life(&whole);
        whole_end(&whole);
        CHECK_EQ_U64(count_fds(), fds);
        if (status == 0)
            continue; /* an optional capability seemed to be missing */
        failures++;
        CHECK(err.message[0] != '\0');
        CHECK_EQ_I64(err.status, status);
        CHECK_MSG(status == status_expected || status == HUSK_E_HYPERVISOR_CAP ||
                      status == HUSK_E_NO_HYPERVISOR,
                  "call %u: status %d: %s", n, status, err.message);
    }
    CHECK(failures > 15);
    munmap(whole.text, HUSK_PAGE_SIZE);
}

TEST(every_call_out_of_memory) {
    SKIP_WITHOUT_KVM();
    fail_each_call(ENOMEM, HUSK_E_NOMEM);
}

TEST(every_call_fails) {
    SKIP_WITHOUT_KVM();
    fail_each_call(EIO, HUSK_E_SYS);
}

TEST(features_that_the_host_lacks_are_refused) {
    SKIP_WITHOUT_KVM();
    struct vm_backend *backend;
    CHECK_OK(vm_kvm_backend_new(NULL, &backend, &err), err);
    const struct page_mapping mapping = {HUSK_TEXT_GVA, {HUSK_TEXT_GVA}, HUSK_PAGE_SIZE, PAGE_READ};
    struct sys_template *template;
    struct sys_space *space;
    CHECK_OK(sys_template_new(VM_ENTRY_SSE, &mapping, 1, &template, &err), err);
    CHECK_OK(sys_space_new(template, 0, &space, &err), err);
    const struct vcpu_config config = {.cpu_features = 1ull << 63,
                                       .page_root = sys_space_page_root(space),
                                       .exception_stack_top = sys_space_exception_stack_top(space)};
    struct vm *vm;
    struct vcpu *vcpu = NULL;
    CHECK_OK(vm_kvm_ops.create(backend, &vm, &err), err);
    CHECK_STATUS(vcpu_kvm_ops.create(vm, &config, &vcpu, &err), HUSK_E_CPU);
    CHECK(vcpu == NULL);
    vm_kvm_ops.destroy(vm);
    sys_space_free(space);
    sys_template_unref(template);
    vm_kvm_backend_free(backend);
}

/* The statistics are optional: whichever operation on them fails, faults are unknown, nothing is
 * leaked, and the VM runs. */
TEST(faults_are_unknown_if_they_cannot_be_read) {
    SKIP_WITHOUT_KVM();
    static const uint8_t code[] = {0xf1, 0x90, 0xe7, 0x10};
    struct whole whole = {0};
    whole.text =
        mmap(NULL, HUSK_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(whole.text != MAP_FAILED);
    memcpy(whole.text, code, sizeof code);
    const unsigned fds = count_fds();
    unsigned unknown = 0;
    bool is_known = false;
    for (unsigned n = 1; n < 200 && !is_known; n++) {
        call_that_fails = 0;
        CHECK_OK(whole_life(&whole), err);
        calls_done = 0;
        call_that_fails = n;
        errno_to_give = EMFILE;
        const uint64_t faults = vcpu_kvm_ops.faults(whole.vcpu);
        is_known = faults != VCPU_FAULTS_UNKNOWN;
        unknown += !is_known;
        call_that_fails = 0;
        if (is_known)
            CHECK(faults > 0 && vcpu_kvm_ops.faults(whole.vcpu) == faults);
        CHECK_OK(whole_call(&whole, 1, VM_EXIT_PORT), err);
        whole_end(&whole);
        CHECK_EQ_U64(count_fds(), fds);
    }
    munmap(whole.text, HUSK_PAGE_SIZE);
    if (!is_known)
        SKIP("this KVM does not count the faults of a vCPU");
    CHECK_EQ_U64(unknown, 2); /* without the descriptor, and without its header */
}

TEST_MAIN()
