/*
 * host/vm/cancel.h: cancel tokens, which end the calls that carry them, and no others. A call
 * enters its token's list before it says that it runs (kicker_enter), and then looks at the token's
 * flag. husk_cancel_now() sets the flag first and then kicks all calls in the list. So no order of
 * events loses a cancel.
 */
#ifndef HOST_CANCEL_H
#define HOST_CANCEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "husk.h"
#include "kick.h"

/* A call that carries a token, in the token's list. The call owns this memory. */
struct cancel_entry {
    struct cancel_entry *prev, *next;
    struct kicker *kicker;
};

struct husk_cancel {
    atomic_uint refs;
    atomic_bool is_cancelled;
    uint64_t process; /* its maker; in a forked child the lock may be taken for good */
    pthread_mutex_t lock;
    struct cancel_entry calls; /* head of the ring */
};

/* HUSK_E_STATE: the token belongs to the parent of this process. */
int cancel_check_process(const husk_cancel *cancel, struct husk_error *err);
void cancel_enter(husk_cancel *cancel, struct cancel_entry *entry);
/* Leave the list. The token does not kick the call after this. */
void cancel_leave(husk_cancel *cancel, struct cancel_entry *entry);

#endif
