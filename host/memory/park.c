/*
 * host/memory/park.c: parks a machine: its VM goes, its memory stays. The VM goes to the pool if
 * there is room, as a machine without memory: for the next parked machine that must run, or for a
 * new sandbox. So a few VMs serve many parked machines. Otherwise the VM is destroyed.
 */
#include "error.h"
#include "machine_space.h"

/* A machine without memory, with this one's VM; NULL: there is no room, or the VM is not for
 * others. */
static struct machine *bare_of(struct machine *machine) {
    if (machine->has_failed_vm || !pool_has_room(machine->engine))
        return NULL;
    struct machine *bare = machine_new(machine->engine, &machine->limits);
    if (bare != NULL && machine_vm_move(machine, bare) != 0) {
        machine_free(bare);
        return NULL;
    }
    return bare;
}

void machine_park(struct machine *machine) {
    if (!machine_has_vm(machine))
        return;
    struct machine *bare = bare_of(machine);
    if (bare != NULL)
        machine_put(bare);
    else
        machine_vm_drop(machine);
    machine->has_failed_vm = false;
    stat_count(&machine->tally, STAT_parks);
}

int machine_unpark_slowly(struct machine *machine, bool needs_new_vm, struct husk_error *err) {
    struct machine *bare = needs_new_vm ? NULL : machine_take_bare(machine->engine);
    int status =
        bare != NULL ? machine_vm_adopt(machine, bare, err) : machine_vm_make(machine, err);
    if (bare != NULL)
        machine_free(bare);
    if (status != 0)
        return error_while(err, status, "getting a VM for a parked sandbox, which is as it was");
    hotset_doubt(&machine->hotset); /* another vCPU's faults were counted */
    stat_count(&machine->tally, STAT_unparks);
    return 0;
}
