/*
 * host/call/guest_code.h: the host's view of compiled code when a call ends: its trap sites, and
 * its frames on the stack.
 */
#ifndef HOST_GUEST_CODE_H
#define HOST_GUEST_CODE_H

#include "image.h"
#include "sandbox_internal.h"

/* True: the instruction at the address is a trap site (abi/trap.def). *ret_number is its number,
 * which may be missing in that file. The code is read from the image, which the guest cannot
 * change. */
bool code_trap_site(const husk_image *image, uint64_t code_gva, uint8_t *ret_number);

/* Where a stack is read: in a sandbox's memory, or in that of a snapshot. One of them is NULL. */
struct code_stack {
    const struct arena *arena;
    const husk_image *image;
};

/* Make the innermost frame from the registers. */
struct code_frame code_frame_of(const struct vm_regs *regs);
/* Go to the caller's frame, by the unwind row of the frame's code. False: there is no such frame,
 * or it cannot be read, or it does not lie above. */
bool code_frame_leave(const struct code_stack *stack, const struct husk_image_unwind_x86_64 *row,
                      struct code_frame *frame);

#endif
