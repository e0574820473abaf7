/*
 * tests/support/wasi_guest.h: a buffer that serves as guest memory for WASI's handlers. The buffer
 * ends at an unmapped page, so reading or writing one byte too many crashes the test.
 */
#ifndef TESTS_WASI_GUEST_H
#define TESTS_WASI_GUEST_H

#include "wasi.h"

#define GUEST_BYTES 0x20000u

struct wasi_guest {
    uint8_t *memory; /* GUEST_BYTES */
    struct wasi_ctx ctx;
    int cut_after_ms; /* -1: never; else a signal interrupts a call after this time */
    uint64_t cut_ns;  /* the time at which the running call is interrupted */
    bool is_cut;
    uint32_t exit_code;
    bool has_exited;
    int status;      /* HUSK_E_…: a callback failed in the last call */
    bool is_pending; /* the last call did nothing: its input is awaited */
    bool is_unstable;
};

void wasi_guest_init(struct wasi_guest *guest, const struct husk_wasi_options *options);
void wasi_guest_done(struct wasi_guest *guest);
/* Call a function. `args` are in the order of the signature. */
uint16_t wasi_guest_call(struct wasi_guest *guest, uint32_t func_id, const uint64_t *args);
#define WASI_CALL(guest, name, ...)                                                                \
    wasi_guest_call(guest, WASI_ID_##name, (const uint64_t[]){__VA_ARGS__ __VA_OPT__(, ) 0})

uint32_t wasi_guest_u32(const struct wasi_guest *guest, uint32_t addr);
uint64_t wasi_guest_u64(const struct wasi_guest *guest, uint32_t addr);
void wasi_guest_set_u32(struct wasi_guest *guest, uint32_t addr, uint32_t value);
void wasi_guest_set_u64(struct wasi_guest *guest, uint32_t addr, uint64_t value);
/* Write a subscription to the monotonic clock, relative, with userdata 77; and one to a descriptor,
 * with userdata 100 + fd. */
void wasi_guest_clock_sub(struct wasi_guest *guest, uint32_t addr, uint64_t timeout_ns);
void wasi_guest_fd_sub(struct wasi_guest *guest, uint32_t addr, uint8_t tag, uint32_t fd);
/* Write an iovec at addr. */
void wasi_guest_iovec(struct wasi_guest *guest, uint32_t addr, uint32_t buf, uint32_t bytes);

#endif
