/*
 * tests/support/signal_sender.h: a thread that sends SIGUSR1 to the one that starts it, again and
 * again. For tests of what signals of the embedder's interrupt.
 */
#ifndef TESTS_SUPPORT_SIGNAL_SENDER_H
#define TESTS_SUPPORT_SIGNAL_SENDER_H

#include <pthread.h>
#include <stdatomic.h>

struct signal_sender {
    pthread_t thread, to;
    atomic_bool is_over;
    unsigned pause_us;
};

/* `flags`: of sigaction(). The sender must outlive a test that fails. */
void sender_start(struct signal_sender *sender, unsigned pause_us, int flags);
void sender_stop(struct signal_sender *sender);
/* Signals that were handled since the last start. */
int sender_handled(void);

#endif
