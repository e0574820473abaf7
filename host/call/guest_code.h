/*
 * host/call/guest_code.h: what the host reads of compiled code when a call ends: its trap sites,
 * and its frames on the stack.
 */
#ifndef HOST_GUEST_CODE_H
#define HOST_GUEST_CODE_H

#include "image.h"
#include "sandbox_internal.h"

/* Is the instruction at an address a trap site (abi/trap.def)? Then its number, which may be none
 * of that file's. Read from the image, which the guest cannot change. */
bool code_trap_site(const husk_image *image, uint64_t code_gva, uint8_t *ret_number);

/* The innermost frame, from the registers. */
struct code_frame code_frame_of(const struct vm_regs *regs);
/* To the caller's frame, by the row of the frame's code. False: there is none, or it cannot be
 * read, or does not lie above. */
bool code_frame_leave(const husk_sandbox *sandbox, const struct husk_image_unwind_x86_64 *row,
                      struct code_frame *frame);

#endif
