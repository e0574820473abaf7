/*
 * host/instance/standing.h: a call that stands at a host function, as a part of a snapshot. The
 * host function has not done anything yet. Saved are the registers that the C convention keeps, the
 * used part of the native stack (as memory: snapshot.c), the two functions, and the arguments of
 * the host function as they were copied. A sandbox that gets such an image has the call as a
 * pending one (host/call/pending.c).
 */
#ifndef HOST_STANDING_H
#define HOST_STANDING_H

#include "image_internal.h"
#include "sandbox_internal.h"

/* The room that a host call takes in linkage.values: arguments, results, an exception. */
static inline uint32_t sandbox_host_call_values(const husk_sandbox *sandbox,
                                                const struct linked_func *func) {
    return (uint32_t)(func->type->params_count + func->type->results_count) +
           sandbox->image->code->module.exception_values;
}

/* The outermost call, and the host function that it called. Its arguments are the first of
 * linkage.values. */
struct standing_call {
    const struct linked_func *func;
    const struct vm_regs *regs;
};

/* The pending call may be in a snapshot; or the one of a host function that has done nothing.
 * HUSK_E_STATE names why not. HUSK_E_GUEST: its stack pointer is outside of its stack. */
int standing_check(const husk_sandbox *sandbox, const struct standing_call *call,
                   struct husk_error *err);
/* Put a checked call into a snapshot that has nothing yet. HUSK_E_NOMEM. */
int standing_save(const husk_sandbox *sandbox, const struct standing_call *call,
                  husk_image *snapshot, struct husk_error *err);
/* The sandbox has the memory, and the linkage, of its image: make the image's call its pending
 * one, if there is one. No call is in the sandbox. */
void standing_begin(husk_sandbox *sandbox);

#endif
