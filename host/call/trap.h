/* host/call/trap.h: classifies exceptions in ring 3: a wasm trap, or a violation. */
#ifndef HOST_TRAP_H
#define HOST_TRAP_H

#include "husk.h"
#include "vm_exit.h"

void trap_classify(husk_sandbox *sandbox, const struct vm_fault *fault,
                   struct husk_outcome *outcome);

#endif
