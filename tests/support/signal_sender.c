/* tests/support/signal_sender.c: see signal_sender.h. */
#include "signal_sender.h"

#include <signal.h>
#include <unistd.h>

#include "harness.h"

static atomic_int handled;

static void on_signal(int number) {
    (void)number;
    atomic_fetch_add(&handled, 1);
}

static void *send_all(void *user) {
    struct signal_sender *sender = user;
    while (!atomic_load(&sender->is_over)) {
        usleep(sender->pause_us);
        pthread_kill(sender->to, SIGUSR1);
    }
    return NULL;
}

void sender_start(struct signal_sender *sender, unsigned pause_us, int flags) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    atomic_store(&handled, 0);
    CHECK_EQ_I64(sigaction(SIGUSR1, &action, NULL), 0);
    sender->to = pthread_self();
    sender->pause_us = pause_us;
    atomic_store(&sender->is_over, false);
    CHECK_EQ_I64(pthread_create(&sender->thread, NULL, send_all, sender), 0);
}

void sender_stop(struct signal_sender *sender) {
    atomic_store(&sender->is_over, true);
    pthread_join(sender->thread, NULL);
    signal(SIGUSR1, SIG_DFL);
}

int sender_handled(void) {
    return atomic_load(&handled);
}
