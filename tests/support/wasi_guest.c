/*
 * tests/support/wasi_guest.c: see wasi_guest.h.
 */
#include "wasi_guest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static void *guest_span(void *host, uint32_t addr, uint64_t count) {
    struct wasi_guest *guest = host;
    if (count > GUEST_BYTES || addr > GUEST_BYTES - count)
        return NULL;
    return guest->memory + addr;
}

static int guest_wait(void *host, struct pollfd *fds, nfds_t count, uint64_t timeout_ns) {
    struct wasi_guest *guest = host;
    uint64_t cut_ns = guest->cut_after_ms < 0 ? UINT64_MAX : (uint64_t)guest->cut_after_ms * 1000000u;
    uint64_t least = timeout_ns < cut_ns ? timeout_ns : cut_ns;
    struct timespec ts = {.tv_sec = (time_t)(least / 1000000000u), .tv_nsec = (long)(least % 1000000000u)};
    int ready = ppoll(fds, count, least == UINT64_MAX ? NULL : &ts, NULL);
    if (ready != 0 || timeout_ns <= cut_ns)
        return ready;
    guest->is_cut = true;
    errno = EINTR;
    return -1;
}

static bool guest_is_cut(void *host) {
    return ((struct wasi_guest *)host)->is_cut;
}

static const struct wasi_host_ops guest_ops = {
    .span = guest_span, .wait = guest_wait, .is_cut = guest_is_cut};

void wasi_guest_init(struct wasi_guest *guest, const struct husk_wasi_options *options) {
    struct wasi_config *config = NULL;
    struct husk_error err;
    memset(guest, 0, sizeof(*guest));
    guest->cut_after_ms = -1;
    uint8_t *pages = mmap(NULL, GUEST_BYTES + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, GUEST_BYTES, PROT_READ | PROT_WRITE) != 0 ||
        wasi_config_new(options, &config, &err) != 0) {
        fprintf(stderr, "wasi_guest_init failed\n");
        abort();
    }
    guest->memory = pages;
    wasi_ctx_init(&guest->ctx, config);
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
    uint16_t wasi_err = wasi_dispatch(&call, func_id);
    guest->has_exited = call.has_exited;
    guest->exit_code = call.exit_code;
    return wasi_err;
}

uint32_t wasi_guest_u32(const struct wasi_guest *guest, uint32_t addr) {
    uint32_t value;
    memcpy(&value, guest->memory + addr, sizeof(value));
    return value;
}

uint64_t wasi_guest_u64(const struct wasi_guest *guest, uint32_t addr) {
    uint64_t value;
    memcpy(&value, guest->memory + addr, sizeof(value));
    return value;
}

void wasi_guest_set_u32(struct wasi_guest *guest, uint32_t addr, uint32_t value) {
    memcpy(guest->memory + addr, &value, sizeof(value));
}

void wasi_guest_set_u64(struct wasi_guest *guest, uint32_t addr, uint64_t value) {
    memcpy(guest->memory + addr, &value, sizeof(value));
}

void wasi_guest_iovec(struct wasi_guest *guest, uint32_t addr, uint32_t buf, uint32_t bytes) {
    wasi_guest_set_u32(guest, addr, buf);
    wasi_guest_set_u32(guest, addr + 4, bytes);
}
