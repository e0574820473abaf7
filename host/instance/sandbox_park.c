/*
 * host/instance/sandbox_park.c: parks a sandbox: gives its VM up, and keeps all the rest. All that
 * a guest leaves in a VM is set again at every call, or it is nothing between two calls. A pending
 * call is the exception: its general registers are kept in its frame, as for a call inside it. So
 * it goes on in a new VM as it does after such a call. The next run gets the VM (machine_unpark()).
 */
#include "error.h"
#include "sandbox_internal.h"

/* As frame_enter() does (host/call/run.c). */
static void keep_regs(husk_sandbox *sandbox) {
    struct call_frame *frame = sandbox->calls.frame;
    if (frame == NULL || frame->was_nested || !machine_has_vm(sandbox->machine))
        return;
    machine_get_regs(sandbox->machine, &frame->regs);
    frame->was_nested = true;
}

int husk_sandbox_park(husk_sandbox *sandbox, struct husk_error *err) {
    if (sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_park: the sandbox is NULL");
    int status = sandbox_check_still(sandbox, "parking", err);
    if (status != 0)
        return status;
    keep_regs(sandbox);
    machine_park(sandbox->machine);
    return 0;
}

bool husk_sandbox_is_parked(const husk_sandbox *sandbox) {
    return sandbox != NULL && !machine_has_vm(sandbox->machine);
}
