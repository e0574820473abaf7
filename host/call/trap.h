/* host/call/trap.h: what an exception in ring 3 means. */
#ifndef HOST_TRAP_H
#define HOST_TRAP_H

#include "husk.h"
#include "vm_exit.h"

void trap_classify(husk_sandbox *sandbox, const struct vm_fault *fault,
                   struct husk_outcome *outcome);

#endif
