/* host/call/hostcall.h: serves the guest's calls of host functions. */
#ifndef HOST_HOSTCALL_H
#define HOST_HOSTCALL_H

#include "husk.h"

/* Serve the host call in the mailbox. True: resume the guest. False: the call ended or is pending;
 * see the outcome. */
bool hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* Check the answer. HUSK_E_TYPE: its values do not fit the pending host function's results. */
int hostcall_check_answer(const husk_sandbox *sandbox, const struct husk_answer *answer,
                          struct husk_error *err);
/* Serve the pending host call with a checked answer. Returns as hostcall_serve(). */
bool hostcall_answer(husk_sandbox *sandbox, const struct husk_answer *answer,
                     struct husk_outcome *outcome);

#endif
