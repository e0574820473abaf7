/* host/instance/standing.c: see standing.h. */
#include "standing.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "values.h"

/* True: the call is of the module's initialisation. */
static bool is_init(const husk_sandbox *sandbox, const struct call_frame *frame) {
    const struct image_code *code = sandbox->image->code;
    bool is_any = frame->code_gva == code->module.init_gva;
    for (uint32_t i = 0; i < code->instances_count; i++)
        is_any = is_any || frame->code_gva == code->instances[i].init_gva;
    /* a routine for several calls has no code of its own */
    return sandbox->start == SANDBOX_NOT_STARTED || (is_any && frame->code_gva != 0);
}

/* The function that the embedder called. Several may share their code, and then are the same. */
static uint32_t called_func(const husk_sandbox *sandbox) {
    const struct image_code *code = sandbox->image->code;
    const struct call_frame *frame = &sandbox->calls.outermost;
    uint32_t idx = 0;
    while (idx < code->funcs_count &&
           (code->funcs[idx].code_gva != frame->code_gva ||
            code->types[code->funcs[idx].type_idx].thunk_gva != frame->thunk_gva))
        idx++;
    return idx;
}

int standing_check(const husk_sandbox *sandbox, const struct standing_call *call,
                   struct husk_error *err) {
    const struct call_frame *frame = &sandbox->calls.outermost;
    const char *what = NULL;
    if (sandbox->calls.frame != frame)
        what = "a call that a host function made, or that runs inside a pending one";
    else if (is_init(sandbox, frame))
        what = "a call of the module's initialisation";
    else if (sandbox->owes_restored_call && !frame->was_brought)
        what = "a call of husk_restored()";
    else if (!frame->is_single || called_func(sandbox) == sandbox->image->code->funcs_count)
        what = "a call of husk_call_bytes() or husk_call_many()";
    if (what != NULL)
        return error_set(err, HUSK_E_STATE, "%s cannot be in a snapshot", what);
    struct vm_kept kept;
    vm_regs_keep(call->regs, &kept);
    if (!image_stack_is_possible(kept.stack_gva,
                                 HUSK_STACK_TOP_GVA - sandbox->machine->arena.stack_bytes,
                                 HUSK_STACK_TOP_GVA))
        return error_set(err, HUSK_E_GUEST,
                         "the guest's stack pointer, 0x%llx, is not in its stack",
                         (unsigned long long)kept.stack_gva);
    return 0;
}

int standing_save(const husk_sandbox *sandbox, const struct standing_call *call,
                  husk_image *snapshot, struct husk_error *err) {
    const size_t count = call->func->type->params_count;
    struct husk_image_standing *standing = calloc(1, sizeof *standing);
    struct husk_image_slot *args = calloc(count + 1, sizeof *args);
    struct vm_kept kept;
    snapshot->own_standing = standing;
    snapshot->own_standing_args = args;
    if (standing == NULL || args == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the call in a snapshot");
    vm_regs_keep(call->regs, &kept);
    _Static_assert(sizeof standing->kept == sizeof kept.regs, "the registers of a standing call");
    standing->stack_gva = kept.stack_gva;
    memcpy(standing->kept, kept.regs, sizeof kept.regs);
    standing->func_idx = called_func(sandbox);
    standing->host_func_idx = (uint32_t)(call->func - sandbox->link.linked);
    for (size_t i = 0; i < count; i++) {
        struct husk_slot slot = {{0}};
        value_to_slot(&sandbox->link.values[i], &slot);
        memcpy(&args[i], &slot, sizeof args[i]);
    }
    snapshot->standing = standing;
    snapshot->standing_args = args;
    return 0;
}

/* As if the host function had been called, and were pending. */
static void stand(husk_sandbox *sandbox, const struct husk_image_standing *standing) {
    const struct image_code *code = sandbox->image->code;
    const struct husk_image_func *row = &code->funcs[standing->func_idx];
    struct call_state *calls = &sandbox->calls;
    struct call_frame *frame = &calls->outermost;
    struct vm_kept kept = {.stack_gva = standing->stack_gva};
    memcpy(kept.regs, standing->kept, sizeof kept.regs);
    frame->parent = NULL;
    frame->thunk_gva = code->types[row->type_idx].thunk_gva;
    frame->code_gva = row->code_gva;
    frame->cancel = NULL;
    frame->ran_ns = 0;
    frame->is_watched = frame->has_to_ask = frame->must_end = false;
    frame->interrupted = NULL;
    frame->is_single = frame->was_brought = frame->was_nested = true;
    vm_regs_stand(&kept, code->module.resume_gva, &frame->regs);
    calls->ended_at = (struct code_frame){.pc = code->module.resume_gva,
                                          .stack_gva = kept.stack_gva,
                                          .base_gva = kept.regs[VM_KEPT_BASE]};
    calls->pending.func = &sandbox->link.linked[standing->host_func_idx];
    calls->pending.limits = call_limits_none();
    calls->pending.step = CALL_STEP_EXPORT;
    calls->pending.row = row;
    calls->pending.is_brought = true;
    calls->frame = frame;
    calls->depth = 1;
    calls->is_pending = true;
}

void standing_begin(husk_sandbox *sandbox) {
    const husk_image *image = sandbox->image;
    if (image->standing == NULL)
        return;
    stand(sandbox, image->standing);
    const struct husk_functype *type = sandbox->calls.pending.func->type;
    for (size_t i = 0; i < type->params_count; i++) {
        struct husk_slot slot;
        memcpy(&slot, &image->standing_args[i], sizeof slot);
        sandbox->link.values[i] = value_from_slot(type->params[i], &slot);
    }
    sandbox->calls.values_used = sandbox_host_call_values(sandbox, sandbox->calls.pending.func);
}
