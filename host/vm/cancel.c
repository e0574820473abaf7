/* host/vm/cancel.c: see cancel.h. */
#include "cancel.h"

#include <stdlib.h>

#include "error.h"

int husk_cancel_new(husk_cancel **ret_cancel, struct husk_error *err) {
    if (ret_cancel == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_cancel_new: a NULL argument");
    husk_cancel *cancel = calloc(1, sizeof *cancel);
    if (cancel == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a cancel token");
    atomic_init(&cancel->refs, 1);
    atomic_init(&cancel->is_cancelled, false);
    cancel->process = process_number();
    pthread_mutex_init(&cancel->lock, NULL);
    cancel->calls.next = cancel->calls.prev = &cancel->calls;
    *ret_cancel = cancel;
    return 0;
}

husk_cancel *husk_cancel_ref(husk_cancel *cancel) {
    if (cancel != NULL)
        atomic_fetch_add(&cancel->refs, 1);
    return cancel;
}

void husk_cancel_unref(husk_cancel *cancel) {
    if (cancel == NULL || atomic_fetch_sub(&cancel->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&cancel->lock);
    free(cancel);
}

void husk_cancel_now(husk_cancel *cancel) {
    if (cancel == NULL)
        return;
    atomic_store(&cancel->is_cancelled, true);
    if (cancel_check_process(cancel, NULL) != 0)
        return; /* the calls in the list are the parent's */
    pthread_mutex_lock(&cancel->lock);
    for (struct cancel_entry *entry = cancel->calls.next; entry != &cancel->calls;
         entry = entry->next)
        kicker_kick(entry->kicker);
    pthread_mutex_unlock(&cancel->lock);
}

int cancel_check_process(const husk_cancel *cancel, struct husk_error *err) {
    if (cancel->process == process_number())
        return 0;
    return error_set(err, HUSK_E_STATE,
                     "the cancel token was made before this process was forked; make one here");
}

void cancel_enter(husk_cancel *cancel, struct cancel_entry *entry) {
    pthread_mutex_lock(&cancel->lock);
    entry->prev = &cancel->calls;
    entry->next = cancel->calls.next;
    entry->next->prev = entry;
    cancel->calls.next = entry;
    pthread_mutex_unlock(&cancel->lock);
}

void cancel_leave(husk_cancel *cancel, struct cancel_entry *entry) {
    pthread_mutex_lock(&cancel->lock);
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
    pthread_mutex_unlock(&cancel->lock);
}
