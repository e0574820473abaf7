/* base/signal_guard.c: see signal_guard.h. */
#include "signal_guard.h"

#include <errno.h>
#include <time.h>

void signal_guard_begin(struct signal_guard *guard) {
    sigset_t guarded;
    sigemptyset(&guarded);
    sigaddset(&guarded, SIGPIPE);
    sigaddset(&guarded, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &guarded, &guard->before);
    sigpending(&guard->pending); /* what is pending already is not ours to take */
}

void signal_guard_end(const struct signal_guard *guard, int host_errno) {
    const int saved_errno = errno;
    const int raised = host_errno == EPIPE ? SIGPIPE : host_errno == EFBIG ? SIGXFSZ : 0;
    if (raised != 0 && !sigismember(&guard->pending, raised)) {
        const struct timespec now = {0};
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, raised);
        /* EAGAIN: ignored by the process, so nothing is pending */
        (void)sigtimedwait(&one, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
    errno = saved_errno;
}
