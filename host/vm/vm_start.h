/* host/vm/vm_start.h: the start of a call, for files that know no CPU. */
#ifndef HOST_VM_START_H
#define HOST_VM_START_H

#include "start_x86_64.h"

#endif
