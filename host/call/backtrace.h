/* host/call/backtrace.h: backtraces of calls that did not return. When a call ends, its place is
 * kept. The stack is walked only when the embedder asks. */
#ifndef HOST_BACKTRACE_H
#define HOST_BACKTRACE_H

#include "husk.h"
#include "image.h"
#include "sandbox_internal.h"

/* The innermost call ends without returning, or waits: keep its place. husk_sandbox_backtrace() is
 * about that place until calls_forget_end(). */
void backtrace_keep(husk_sandbox *sandbox);
/* Is the address in code that was compiled from the module, and may trap? The image says so. A row
 * that cannot be does not. */
bool backtrace_may_trap(const husk_image *image, uint64_t code_gva);

#endif
