/*
 * host/instance/sandbox_park.c: parks a sandbox: gives its VM up, and keeps all the rest. All that
 * a guest leaves in a VM is set again at every call, or it is nothing between two calls. A pending
 * call is the exception: its general registers are kept in its frame, as for a call inside it. So
 * it goes on in a new VM as it does after such a call. The next run gets the VM (machine_unpark()).
 */
#include "error.h"
#include "sandbox_internal.h"

int husk_sandbox_park(husk_sandbox *sandbox, struct husk_error *err) {
    if (sandbox == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_sandbox_park: the sandbox is NULL");
    int status = sandbox_check_still(sandbox, "parking", err);
    if (status != 0)
        return status;
    if (machine_has_vm(sandbox->machine))
        sandbox_keep_regs(sandbox);
    machine_park(sandbox->machine);
    return 0;
}

bool husk_sandbox_is_parked(const husk_sandbox *sandbox) {
    return sandbox != NULL && !machine_has_vm(sandbox->machine);
}
