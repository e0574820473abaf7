/* host/call/hostcall.h: calls of host functions by the guest. */
#ifndef HOST_HOSTCALL_H
#define HOST_HOSTCALL_H

#include "husk.h"

/* Serve the host call that the mailbox describes. True: resume the guest. False: the call ended, or
 * is pending; see outcome. */
bool hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* HUSK_E_TYPE: the pending host function has other results. */
int hostcall_check_answer(const husk_sandbox *sandbox, const struct husk_answer *answer,
                          struct husk_error *err);
/* Serve the pending host call with a checked answer. Returns as hostcall_serve(). */
bool hostcall_answer(husk_sandbox *sandbox, const struct husk_answer *answer,
                     struct husk_outcome *outcome);

#endif
