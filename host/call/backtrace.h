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
/* The code row of an address in a function (or the init function), or NULL. */
const struct husk_image_code_row *code_row_find(const husk_image *image, uint64_t code_gva);

#endif
