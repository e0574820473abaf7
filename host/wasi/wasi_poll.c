/*
 * host/wasi/wasi_poll.c: poll_oneoff: waits for the first of several clocks and descriptors. It
 * copies all subscriptions first, because the events may overwrite them. It waits in wasi_wait(),
 * which ends with the call's deadline.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "wasi.h"
#include "wasi_abi.h"

#define NEVER_NS UINT64_MAX

struct subscription {
    uint64_t userdata;
    uint64_t deadline_ns; /* CLOCK: on clock_id */
    struct wasi_fd *fd;
    uint32_t clock_id;
    uint16_t error; /* known at once: the event reports it */
    uint8_t tag;
    bool is_ready; /* known at once, too: its kind has nothing to wait for */
};

struct poll_set {
    struct wasi_call *call;
    uint32_t count;
    struct subscription *subs;
    struct pollfd *pollfds; /* same index; fd -1: not polled */
    bool has_polled;        /* a descriptor of the host */
    uint8_t *events;        /* of the guest; count of them fit */
    uint32_t events_count;
};

static uint32_t load_u32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint64_t load_u64(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* clock: at its id field. A relative timeout becomes absolute on its own clock. */
static void subscription_clock(struct poll_set *set, struct subscription *sub,
                               const uint8_t *clock) {
    uint64_t now = 0, timeout = load_u64(clock + 8);
    uint16_t flags;
    memcpy(&flags, clock + 24, sizeof flags);
    sub->clock_id = load_u32(clock);
    sub->error = wasi_clock_now(set->call->ctx, sub->clock_id, &now);
    if (sub->error == 0 && (flags & ~WASI_SUBCLOCK_ABSTIME) != 0)
        sub->error = WASI_EINVAL;
    /* A CPU clock stands still while its thread waits: it could only be polled in a busy loop. */
    if (sub->error == 0 && sub->clock_id > WASI_CLOCK_MONOTONIC)
        sub->error = WASI_ENOTSUP;
    if ((flags & WASI_SUBCLOCK_ABSTIME) != 0)
        sub->deadline_ns = timeout;
    else
        sub->deadline_ns = clock_later(now, timeout);
}

static void subscription_fd(struct poll_set *set, uint32_t idx, uint32_t fd) {
    struct subscription *sub = &set->subs[idx];
    uint64_t right = sub->tag == WASI_EVENT_FD_READ ? WASI_RIGHT_FD_READ : WASI_RIGHT_FD_WRITE;
    sub->error = wasi_fd_get(set->call, fd, right | WASI_RIGHT_POLL_FD_READWRITE, &sub->fd);
    if (sub->error != 0)
        return;
    sub->is_ready = sub->fd->ops->poll_fd == NULL;
    if (sub->is_ready)
        return;
    set->has_polled = true;
    set->pollfds[idx].fd = sub->fd->ops->poll_fd(sub->fd);
    set->pollfds[idx].events = sub->tag == WASI_EVENT_FD_READ ? POLLIN : POLLOUT;
}

static void subscription_read(struct poll_set *set, uint32_t idx, const uint8_t *in) {
    struct subscription *sub = &set->subs[idx];
    sub->userdata = load_u64(in);
    sub->tag = in[8];
    set->pollfds[idx].fd = -1;
    if (sub->tag == WASI_EVENT_CLOCK)
        subscription_clock(set, sub, in + (set->call->is_unstable ? 24 : 16));
    else if (sub->tag == WASI_EVENT_FD_READ || sub->tag == WASI_EVENT_FD_WRITE)
        subscription_fd(set, idx, load_u32(in + 16));
    else
        sub->error = WASI_EINVAL;
}

/* Nanoseconds until the first event that needs no descriptor of the host: 0 if there is one
 * already. */
static uint64_t wait_ns(struct poll_set *set) {
    uint64_t least = NEVER_NS;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct subscription *sub = &set->subs[i];
        uint64_t now = 0;
        if (sub->error != 0 || sub->is_ready)
            return 0;
        if (sub->tag != WASI_EVENT_CLOCK)
            continue;
        (void)wasi_clock_now(set->call->ctx, sub->clock_id, &now);
        uint64_t rest = sub->deadline_ns > now ? sub->deadline_ns - now : 0;
        if (sub->deadline_ns != UINT64_MAX && rest < least)
            least = rest;
    }
    return least;
}

static void event_put(struct poll_set *set, const struct subscription *sub, uint64_t nbytes,
                      uint16_t flags) {
    uint8_t *event = set->events + (size_t)set->events_count++ * WASI_EVENT_BYTES;
    memset(event, 0, WASI_EVENT_BYTES);
    memcpy(event, &sub->userdata, 8);
    memcpy(event + 8, &sub->error, 2);
    event[10] = sub->tag;
    memcpy(event + 16, &nbytes, 8);
    memcpy(event + 24, &flags, 2);
}

/* For writing, what POLLOUT promises of a pipe. */
static uint64_t ready_bytes(const struct poll_set *set, const struct subscription *sub) {
    if (sub->tag == WASI_EVENT_FD_WRITE)
        return PIPE_BUF;
    return sub->fd->ops->readable_bytes != NULL ? sub->fd->ops->readable_bytes(set->call, sub->fd)
                                                : 0;
}

static void events_collect(struct poll_set *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        struct subscription *sub = &set->subs[i];
        short revents = set->pollfds[i].revents;
        uint64_t now = 0;
        if (sub->error != 0) {
            event_put(set, sub, 0, 0);
        } else if (sub->tag == WASI_EVENT_CLOCK) {
            (void)wasi_clock_now(set->call->ctx, sub->clock_id, &now);
            if (now >= sub->deadline_ns)
                event_put(set, sub, 0, 0);
        } else if (sub->is_ready) {
            event_put(set, sub, ready_bytes(set, sub), 0);
        } else if (set->pollfds[i].fd >= 0 && revents != 0) {
            uint16_t flags = (revents & (POLLHUP | POLLERR)) != 0 ? WASI_EVENT_HANGUP : 0;
            if ((revents & POLLNVAL) != 0)
                sub->error = WASI_EBADF;
            event_put(set, sub, ready_bytes(set, sub), flags);
        }
    }
}

/* With a fixed clock, a sleep takes no time: the clock jumps to its end. A wait for the host does
 * take time, because its descriptors know nothing of that clock. So does a sleep of centuries: the
 * clock would not reach its end, and this loop would not end at the call's deadline. */
static int poll_wait(struct poll_set *set) {
    const bool is_fixed = set->call->ctx->given.is_clock_fixed;
    const uint64_t rest_ns = wait_ns(set);
    const bool is_jump =
        is_fixed && !set->has_polled && wasi_clock_can_advance(set->call->ctx, rest_ns);
    const int ready = wasi_wait(set->call, set->pollfds, set->count, is_jump ? 0 : rest_ns);
    if (is_fixed && ready == 0)
        wasi_clock_advance(set->call->ctx, rest_ns);
    return ready;
}

/* ppoll() may end a little early for a clock that is not its own (the guest may have asked for the
 * realtime clock). */
static uint16_t poll_run(struct poll_set *set) {
    while (set->events_count == 0) {
        int ready = poll_wait(set);
        if (ready < 0)
            return wasi_errno_of(-ready);
        events_collect(set);
    }
    return WASI_SUCCESS;
}

/* Does the guest wait for input that is awaited? Looked at before anything else: a call that will
 * be made again must not have read a clock. */
static bool has_awaited(const struct wasi_call *call, const uint8_t *in, uint32_t count,
                        size_t sub_bytes) {
    struct wasi_fd *fd = NULL;
    for (uint32_t i = 0; i < count; i++, in += sub_bytes)
        if (in[8] == WASI_EVENT_FD_READ &&
            wasi_fd_get(call, load_u32(in + 16), WASI_RIGHT_FD_READ | WASI_RIGHT_POLL_FD_READWRITE,
                        &fd) == 0 &&
            fd->ops == &wasi_awaited_ops)
            return true;
    return false;
}

uint16_t wasi_poll_oneoff(struct wasi_call *call) {
    struct poll_set set = {.call = call, .count = wasi_arg32(call, 2)};
    size_t sub_bytes = call->is_unstable ? WASI_SUBSCRIPTION0_BYTES : WASI_SUBSCRIPTION_BYTES;
    uint16_t wasi_err = WASI_ENOMEM;
    if (set.count == 0 || set.count > WASI_POLL_MAX)
        return WASI_EINVAL;
    const uint8_t *in = wasi_view(call, call->args[0], set.count * sub_bytes);
    set.events = wasi_span(call, call->args[1], (uint64_t)set.count * WASI_EVENT_BYTES);
    if (in == NULL || set.events == NULL || wasi_span(call, call->args[3], 4) == NULL)
        return WASI_EFAULT;
    call->is_pending = has_awaited(call, in, set.count, sub_bytes);
    if (call->is_pending)
        return WASI_SUCCESS;
    set.subs = calloc(set.count, sizeof *set.subs);
    set.pollfds = calloc(set.count, sizeof *set.pollfds);
    if (set.subs != NULL && set.pollfds != NULL) {
        for (uint32_t i = 0; i < set.count; i++)
            subscription_read(&set, i, in + i * sub_bytes);
        wasi_err = poll_run(&set);
    }
    free(set.subs);
    free(set.pollfds);
    return wasi_err != 0 ? wasi_err : wasi_put_u32(call, call->args[3], set.events_count);
}
