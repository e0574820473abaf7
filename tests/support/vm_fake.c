/* tests/support/vm_fake.c: see vm_fake.h. */
#include "vm_fake.h"

#include <stdlib.h>

#include "engine_internal.h"
#include "error.h"
#include "harness.h"

static bool fake_fails(const struct vm_backend *backend, const char *what) {
    return backend->fails != NULL && backend->fails(what);
}

static int fake_create(struct vm_backend *backend, struct vm **ret_vm, struct husk_error *err) {
    if (fake_fails(backend, "create"))
        return error_set(err, HUSK_E_SYS, "injected: create");
    struct vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL)
        return error_set(err, HUSK_E_NOMEM, "injected: no memory");
    vm->backend = backend;
    backend->vms++;
    *ret_vm = vm;
    return 0;
}

static void fake_destroy(struct vm *vm) {
    if (vm == NULL)
        return;
    CHECK(!vm->has_vcpu);
    vm->backend->vms--;
    free(vm);
}

static int fake_set_slot(struct vm *vm, uint32_t slot_idx, gpa_t at, uint8_t *hva, uint64_t bytes,
                         uint32_t flags, struct husk_error *err) {
    (void)flags;
    if (slot_idx >= FAKE_SLOTS || fake_fails(vm->backend, "set_slot"))
        return error_set(err, HUSK_E_SYS, "injected: set_slot");
    vm->slots[slot_idx] = (struct fake_slot){at.v, bytes, hva};
    return 0;
}

const struct vm_ops vm_fake_ops = {
    .create = fake_create, .destroy = fake_destroy, .set_slot = fake_set_slot};

/* ---- vCPU ---- */

static int fake_vcpu_create(struct vm *vm, const struct vcpu_config *config, struct vcpu **ret_vcpu,
                            struct husk_error *err) {
    CHECK(!vm->has_vcpu);
    if (fake_fails(vm->backend, "vcpu"))
        return error_set(err, HUSK_E_SYS, "injected: vcpu");
    struct vcpu *vcpu = calloc(1, sizeof *vcpu);
    if (vcpu == NULL)
        return error_set(err, HUSK_E_NOMEM, "injected: no memory");
    vcpu->vm = vm;
    vm->page_root = config->page_root.v;
    vm->has_vcpu = true;
    *ret_vcpu = vcpu;
    return 0;
}

static void fake_vcpu_destroy(struct vcpu *vcpu) {
    if (vcpu == NULL)
        return;
    vcpu->vm->has_vcpu = false;
    free(vcpu);
}

static void fake_get_regs(const struct vcpu *vcpu, struct vm_regs *ret_regs) {
    *ret_regs = vcpu->regs;
}

static void fake_set_regs(struct vcpu *vcpu, const struct vm_regs *regs) {
    vcpu->regs = *regs;
}

static int fake_run(struct vcpu *vcpu, struct vm_exit *ret_exit, struct husk_error *err) {
    struct vm_backend *backend = vcpu->vm->backend;
    if (fake_fails(backend, "run"))
        return error_set(err, HUSK_E_SYS, "injected: run");
    backend->runs++;
    *ret_exit = (struct vm_exit){.kind = VM_EXIT_PORT};
    if (__atomic_exchange_n(&vcpu->is_kicked, false, __ATOMIC_SEQ_CST))
        ret_exit->kind = VM_EXIT_KICKED;
    else
        backend->guest(vcpu, backend->user, ret_exit);
    return 0;
}

static void fake_kick(struct vcpu *vcpu) {
    __atomic_store_n(&vcpu->is_kicked, true, __ATOMIC_SEQ_CST);
}

/* Tests play the guest on their own thread. */
static uint64_t fake_faults(struct vcpu *vcpu) {
    (void)vcpu;
    return VCPU_FAULTS_UNKNOWN;
}

static void fake_set_space(struct vcpu *vcpu, gpa_t page_root, uint8_t *exception_stack_top) {
    (void)exception_stack_top;
    vcpu->vm->page_root = page_root.v;
}

const struct vcpu_ops vcpu_fake_ops = {.create = fake_vcpu_create,
                                       .destroy = fake_vcpu_destroy,
                                       .get_regs = fake_get_regs,
                                       .set_regs = fake_set_regs,
                                       .run = fake_run,
                                       .kick = fake_kick,
                                       .faults = fake_faults,
                                       .set_space = fake_set_space};

void *fake_memory(const struct vm *vm, uint64_t gpa_value, uint64_t bytes) {
    for (size_t i = 0; i < FAKE_SLOTS; i++) {
        const struct fake_slot *slot = &vm->slots[i];
        if (gpa_value >= slot->gpa && bytes <= slot->bytes &&
            gpa_value - slot->gpa <= slot->bytes - bytes)
            return slot->hva + (gpa_value - slot->gpa);
    }
    return NULL;
}

void *fake_virtual(const struct vm *vm, uint64_t gva, uint64_t bytes) {
    uint64_t at = vm->page_root;
    for (int shift = 39; shift >= 12; shift -= 9) {
        const uint64_t *table = fake_memory(vm, at, 4096);
        const uint64_t entry = table == NULL ? 0 : table[gva >> shift & 511];
        if ((entry & 1) == 0)
            return NULL;
        at = entry & 0xffffffffff000;
        if (shift == 21 && (entry & 0x80) != 0)
            return fake_memory(vm, at + (gva & 0x1fffff), bytes);
    }
    return fake_memory(vm, at + (gva & 0xfff), bytes);
}

int fake_engine_new(struct vm_backend *backend, husk_engine **ret_engine, struct husk_error *err) {
    struct engine_backend engine = {
        .vm_ops = &vm_fake_ops, .vcpu_ops = &vcpu_fake_ops, .backend = backend};
    engine.host_info.cpu_features = UINT64_MAX;
    return engine_new_on(&engine, NULL, ret_engine, err);
}
