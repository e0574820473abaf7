/*
 * host/vm/cancel.h: tokens that end the calls which carry them, and no others. A call enters its
 * token's list before it says that it runs (kicker_enter), and looks at the token's flag after
 * that; husk_cancel_now() sets the flag first and then kicks who is in the list. So neither order
 * of events loses one.
 */
#ifndef HOST_CANCEL_H
#define HOST_CANCEL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "husk.h"
#include "kick.h"

/* One call that carries a token. The call's own memory. */
struct cancel_entry {
    struct cancel_entry *prev, *next;
    struct kicker *kicker;
};

struct husk_cancel {
    atomic_uint refs;
    atomic_bool is_cancelled;
    uint64_t process; /* that made it; a forked child may find the lock taken for good */
    pthread_mutex_t lock;
    struct cancel_entry calls; /* head of the ring */
};

/* HUSK_E_STATE: the token is of the process that forked this one. */
int cancel_check_process(const husk_cancel *cancel, struct husk_error *err);
void cancel_enter(husk_cancel *cancel, struct cancel_entry *entry);
/* Afterwards the call is kicked no more. */
void cancel_leave(husk_cancel *cancel, struct cancel_entry *entry);

#endif
