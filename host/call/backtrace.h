/* host/call/backtrace.h: where the guest was when its call ended. */
#ifndef HOST_BACKTRACE_H
#define HOST_BACKTRACE_H

#include "husk.h"
#include "image.h"

/* The guest's stack, from the VM's present registers. */
void backtrace_fill(husk_sandbox *sandbox, struct husk_outcome *outcome);
/* The code row of an address in a function (or the init function), or NULL. */
const struct husk_image_code_row *code_row_find(const husk_image *image, uint64_t code_gva);

#endif
