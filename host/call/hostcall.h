/* host/call/hostcall.h: calls of host functions by the guest. */
#ifndef HOST_HOSTCALL_H
#define HOST_HOSTCALL_H

#include "husk.h"

/* Serve the host call that the mailbox describes. True: resume the guest. False: the call ended,
 * see outcome. */
bool hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome);

#endif
