/* tests/support/vm_rig.c: see vm_rig.h. The text slot is read-only, like that of an image. */
#include "vm_rig.h"

#include <string.h>
#include <sys/mman.h>

#include "harness.h"

static uint8_t *rig_memory(size_t bytes) {
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(base != MAP_FAILED);
    return base;
}

static void rig_slot(struct vm_rig *rig, uint32_t idx, uint64_t at, uint8_t *hva, uint64_t bytes,
                     uint32_t flags) {
    CHECK_OK(vm_kvm_ops.set_slot(rig->vm, idx, gpa(at), hva, bytes, flags, &rig->err), rig->err);
}

void vm_rig_init(struct vm_rig *rig, uint64_t cpu_features) {
    memset(rig, 0, sizeof *rig);
    const uint64_t stack_gva = HUSK_STACK_TOP_GVA - RIG_STACK_BYTES;
    const struct page_mapping mappings[] = {
        {RIG_TEXT_GVA, {RIG_TEXT_GVA}, RIG_TEXT_BYTES, PAGE_READ | PAGE_EXEC},
        {RIG_DATA_GVA, {RIG_DATA_GVA}, RIG_DATA_BYTES, PAGE_READ | PAGE_WRITE},
        {stack_gva, {stack_gva}, RIG_STACK_BYTES, PAGE_READ | PAGE_WRITE},
    };
    rig->text = rig_memory(RIG_TEXT_BYTES);
    rig->data = rig_memory(RIG_DATA_BYTES);
    rig->stack = rig_memory(RIG_STACK_BYTES);
    CHECK_OK(vm_kvm_backend_new("/dev/kvm", &rig->backend, &rig->err), rig->err);
    CHECK_OK(sys_template_new(VM_ENTRY_SSE, mappings, sizeof mappings / sizeof mappings[0],
                              &rig->template, &rig->err),
             rig->err);
    CHECK_OK(sys_space_new(rig->template, RIG_SLOT_SPACE, &rig->space, &rig->err), rig->err);
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    vm_kvm_host_info(rig->backend, &info);
    const struct vcpu_config config = {.cpu_features = cpu_features & info.cpu_features,
                                       .page_root = sys_space_page_root(rig->space),
                                       .exception_stack_top =
                                           sys_space_exception_stack_top(rig->space)};
    CHECK_OK(vm_kvm_ops.create(rig->backend, &rig->vm, &rig->err), rig->err);
    CHECK_OK(vcpu_kvm_ops.create(rig->vm, &config, &rig->vcpu, &rig->err), rig->err);
    CHECK_OK(sys_space_attach(rig->space, &vm_kvm_ops, rig->vm, &rig->err), rig->err);
    rig_slot(rig, 0, RIG_TEXT_GVA, rig->text, RIG_TEXT_BYTES, VM_SLOT_READONLY);
    rig_slot(rig, 1, RIG_DATA_GVA, rig->data, RIG_DATA_BYTES, 0);
    rig_slot(rig, 2, stack_gva, rig->stack, RIG_STACK_BYTES, 0);
}

void vm_rig_done(struct vm_rig *rig) {
    vcpu_kvm_ops.destroy(rig->vcpu);
    vm_kvm_ops.destroy(rig->vm);
    sys_space_free(rig->space);
    sys_template_unref(rig->template);
    vm_kvm_backend_free(rig->backend);
    munmap(rig->text, RIG_TEXT_BYTES);
    munmap(rig->data, RIG_DATA_BYTES);
    munmap(rig->stack, RIG_STACK_BYTES);
    memset(rig, 0, sizeof *rig);
}

void vm_rig_load(struct vm_rig *rig, const uint8_t *code, size_t bytes) {
    CHECK(bytes <= RIG_TEXT_BYTES);
    memcpy(rig->text, code, bytes);
    memset(rig->text + bytes, 0xcc, RIG_TEXT_BYTES - bytes);
    const struct vm_regs regs = {.rip = RIG_TEXT_GVA, .rsp = HUSK_STACK_TOP_GVA - 256};
    vcpu_kvm_ops.set_regs(rig->vcpu, &regs);
}

struct vm_exit vm_rig_run(struct vm_rig *rig) {
    struct vm_exit exit;
    CHECK_OK(vcpu_kvm_ops.run(rig->vcpu, &exit, &rig->err), rig->err);
    return exit;
}

void vm_rig_check_port(const struct vm_exit *exit, unsigned port) {
    CHECK_MSG(exit->kind == VM_EXIT_PORT && exit->port == port,
              "expected port 0x%x; kind %d port 0x%x vector %u: %s", port, exit->kind, exit->port,
              exit->fault.number, exit->detail);
}

void vm_rig_check_exception(const struct vm_exit *exit, unsigned vector) {
    CHECK_MSG(exit->kind == VM_EXIT_EXCEPTION && exit->fault.number == vector,
              "expected exception %u; kind %d port 0x%x vector %u: %s", vector, exit->kind,
              exit->port, exit->fault.number, exit->detail);
}
