/* host/instance/caller.h: struct husk_caller, which a host function gets for the call that it
 * serves. hostcall.c makes one for each host call. */
#ifndef HOST_CALLER_H
#define HOST_CALLER_H

#include "linkage.h"

enum caller_end { CALLER_GOES_ON, CALLER_FAILED, CALLER_EXITED, CALLER_PENDING, CALLER_THREW };

struct husk_caller {
    husk_sandbox *sandbox;
    uint32_t memory_idx; /* of the instance that calls */
    enum caller_end end;
    const struct linked_func *func; /* that serves the call */
    int32_t exit_code;
    uint32_t tag_idx;          /* CALLER_THREW */
    struct husk_value *thrown; /* CALLER_THREW: the values; there is room for any exception */
    char message[sizeof(((struct husk_outcome *)0)->message)];
};

/* For a function that writes these words to its two arguments, addresses of 32 bits, and returns 0:
 * the guest may do that itself (abi/mailbox.h) until the sandbox is restored or loaded into, or
 * another answer is noted, or this one is forgotten. */
void caller_note_answer(const husk_caller *caller, uint32_t first, uint32_t second);
void sandbox_forget_answer(husk_sandbox *sandbox);

#endif
