/* host/call/backtrace.h: where the guest was when its call ended. The place is kept when it ends;
 * the stack is walked when somebody asks. */
#ifndef HOST_BACKTRACE_H
#define HOST_BACKTRACE_H

#include "husk.h"
#include "image.h"
#include "sandbox_internal.h"

/* The innermost call ends, or waits, and does not return: husk_sandbox_backtrace() is about it from
 * now on, until calls_forget_end(). */
void backtrace_keep(husk_sandbox *sandbox);
/* The code row of an address in a function (or the init function), or NULL. */
const struct husk_image_code_row *code_row_find(const husk_image *image, uint64_t code_gva);

#endif
