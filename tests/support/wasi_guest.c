/*
 * tests/support/wasi_guest.c: see wasi_guest.h.
 */
#include "wasi_guest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "wait.h"
#include "wasi_abi.h"

#define GUEST_KICK_SIGNAL (SIGRTMIN + 6)

static void *guest_span(void *host, uint32_t addr, uint64_t count) {
    struct wasi_guest *guest = host;
    if (count > GUEST_BYTES || addr > GUEST_BYTES - count)
        return NULL;
    return guest->memory + addr;
}

static bool guest_is_cut(void *host) {
    struct wasi_guest *guest = host;
    guest->is_cut = guest->is_cut || clock_ns(CLOCK_MONOTONIC) >= guest->cut_ns;
    return guest->is_cut;
}

static long guest_syscall(void *host, long number, const long args[6]) {
    return wait_syscall(guest_is_cut, host, number, args);
}

static const void *guest_view(void *host, uint32_t addr, uint64_t count) {
    return guest_span(host, addr, count);
}

static const struct wasi_host_ops guest_ops = {
    .span = guest_span, .view = guest_view, .syscall = guest_syscall, .is_cut = guest_is_cut};

/* A kick at cut_ns, once: as the watchdog's, to this thread. */
static void kick_begin(struct wasi_guest *guest, timer_t *ret_timer) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = GUEST_KICK_SIGNAL};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    guest->cut_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)guest->cut_after_ms * 1000000u;
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(guest->cut_ns / 1000000000u),
                                         .tv_nsec = (long)(guest->cut_ns % 1000000000u)}};
    if (wait_signal_install(GUEST_KICK_SIGNAL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, ret_timer) != 0 ||
        timer_settime(*ret_timer, TIMER_ABSTIME, &at, NULL) != 0) {
        fprintf(stderr, "wasi_guest: no timer\n");
        abort();
    }
}

void wasi_guest_init(struct wasi_guest *guest, const struct husk_wasi_options *options) {
    struct wasi_config *config = NULL;
    struct husk_error err;
    memset(guest, 0, sizeof *guest);
    guest->cut_after_ms = -1;
    guest->cut_ns = UINT64_MAX;
    uint8_t *pages = mmap(NULL, GUEST_BYTES + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, GUEST_BYTES, PROT_READ | PROT_WRITE) != 0 ||
        wasi_config_new(options, &config, &err) != 0 ||
        wasi_ctx_init(&guest->ctx, config, &err) != 0) {
        fprintf(stderr, "wasi_guest_init failed\n");
        abort();
    }
    guest->memory = pages;
    wasi_config_unref(config);
}

void wasi_guest_done(struct wasi_guest *guest) {
    wasi_ctx_done(&guest->ctx);
    munmap(guest->memory, GUEST_BYTES + 4096);
}

uint16_t wasi_guest_call(struct wasi_guest *guest, uint32_t func_id, const uint64_t *args) {
    struct wasi_call call = {.ctx = &guest->ctx,
                             .ops = &guest_ops,
                             .host = guest,
                             .args = args,
                             .is_unstable = guest->is_unstable};
    timer_t timer;
    const bool is_timed = guest->cut_after_ms >= 0;
    if (is_timed)
        kick_begin(guest, &timer);
    uint16_t wasi_err = wasi_dispatch(&call, func_id);
    if (is_timed)
        timer_delete(timer);
    guest->cut_ns = UINT64_MAX;
    guest->has_exited = call.has_exited;
    guest->status = call.status;
    guest->is_pending = call.is_pending;
    guest->exit_code = call.exit_code;
    return wasi_err;
}

uint32_t wasi_guest_u32(const struct wasi_guest *guest, uint32_t addr) {
    uint32_t value;
    memcpy(&value, guest->memory + addr, sizeof value);
    return value;
}

uint64_t wasi_guest_u64(const struct wasi_guest *guest, uint32_t addr) {
    uint64_t value;
    memcpy(&value, guest->memory + addr, sizeof value);
    return value;
}

void wasi_guest_set_u32(struct wasi_guest *guest, uint32_t addr, uint32_t value) {
    memcpy(guest->memory + addr, &value, sizeof value);
}

void wasi_guest_set_u64(struct wasi_guest *guest, uint32_t addr, uint64_t value) {
    memcpy(guest->memory + addr, &value, sizeof value);
}

void wasi_guest_iovec(struct wasi_guest *guest, uint32_t addr, uint32_t buf, uint32_t bytes) {
    wasi_guest_set_u32(guest, addr, buf);
    wasi_guest_set_u32(guest, addr + 4, bytes);
}

void wasi_guest_clock_sub(struct wasi_guest *guest, uint32_t addr, uint64_t timeout_ns) {
    memset(guest->memory + addr, 0, WASI_SUBSCRIPTION_BYTES);
    wasi_guest_set_u64(guest, addr, 77);
    wasi_guest_set_u32(guest, addr + 16, WASI_CLOCK_MONOTONIC);
    wasi_guest_set_u64(guest, addr + 24, timeout_ns);
}

void wasi_guest_fd_sub(struct wasi_guest *guest, uint32_t addr, uint8_t tag, uint32_t fd) {
    memset(guest->memory + addr, 0, WASI_SUBSCRIPTION_BYTES);
    wasi_guest_set_u64(guest, addr, 100 + fd);
    guest->memory[addr + 8] = tag;
    wasi_guest_set_u32(guest, addr + 16, fd);
}
