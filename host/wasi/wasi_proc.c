/*
 * host/wasi/wasi_proc.c: arguments, environment, random bytes, exit.
 */
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "wasi.h"
#include "wasi_abi.h"

#define RANDOM_CHUNK_BYTES 4096u /* between two looks at the deadline */

static uint16_t strings_sizes_get(const struct wasi_call *call,
                                  const struct wasi_strings *strings) {
    uint16_t wasi_err = wasi_put_u32(call, call->args[0], strings->count);
    return wasi_err != 0 ? wasi_err : wasi_put_u32(call, call->args[1], strings->bytes_count);
}

/* An array of pointers (argument 0) to the strings, which go to argument 1. */
static uint16_t strings_get(const struct wasi_call *call, const struct wasi_strings *strings) {
    uint32_t bytes_addr = wasi_arg32(call, 1);
    uint8_t *pointers = wasi_span(call, call->args[0], (uint64_t)strings->count * 4);
    void *bytes = wasi_span(call, bytes_addr, strings->bytes_count);
    if (pointers == NULL || bytes == NULL)
        return WASI_EFAULT;
    memcpy(bytes, strings->bytes, strings->bytes_count);
    for (uint32_t i = 0; i < strings->count; i++) {
        uint32_t string_addr = bytes_addr + strings->offsets[i];
        memcpy(pointers + (size_t)i * 4, &string_addr, 4);
    }
    return WASI_SUCCESS;
}

uint16_t wasi_args_sizes_get(struct wasi_call *call) {
    return strings_sizes_get(call, wasi_ctx_args(call->ctx));
}

uint16_t wasi_args_get(struct wasi_call *call) {
    return strings_get(call, wasi_ctx_args(call->ctx));
}

uint16_t wasi_environ_sizes_get(struct wasi_call *call) {
    return strings_sizes_get(call, wasi_ctx_env(call->ctx));
}

uint16_t wasi_environ_get(struct wasi_call *call) {
    return strings_get(call, wasi_ctx_env(call->ctx));
}

/* SplitMix64 (Steele, Lea, Flood 2014): for reproducible runs only, not for secrets. */
static void random_fill_seeded(struct wasi_ctx *ctx, uint8_t *out, size_t count) {
    for (size_t at = 0; at < count; at += 8) {
        uint64_t z = (ctx->random_state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        memcpy(out + at, &z, count - at < 8 ? count - at : 8);
    }
}

/* The kernel waits if the machine has just been started. */
static uint16_t random_fill_kernel(const struct wasi_call *call, uint8_t *out, size_t count) {
    for (size_t at = 0; at < count;) {
        long got = WASI_SYSCALL(call, SYS_getrandom, (long)(out + at), (long)(count - at), 0);
        if (got < 0)
            return wasi_errno_of((int)-got);
        at += (size_t)got;
    }
    return WASI_SUCCESS;
}

uint16_t wasi_random_get(struct wasi_call *call) {
    uint64_t count = wasi_arg32(call, 1);
    uint8_t *out = wasi_span(call, call->args[0], count);
    if (out == NULL)
        return WASI_EFAULT;
    for (uint64_t at = 0; at < count;) {
        uint64_t chunk = count - at < RANDOM_CHUNK_BYTES ? count - at : RANDOM_CHUNK_BYTES;
        uint16_t wasi_err = WASI_SUCCESS;
        if (call->ops->is_cut(call->host))
            return WASI_EINTR;
        if (call->ctx->given.random_seed != 0)
            random_fill_seeded(call->ctx, out + at, chunk);
        else
            wasi_err = random_fill_kernel(call, out + at, chunk);
        if (wasi_err != 0)
            return wasi_err;
        at += chunk;
    }
    return WASI_SUCCESS;
}

uint16_t wasi_sched_yield(struct wasi_call *call) {
    (void)call;
    (void)sched_yield(); /* always succeeds on Linux */
    return WASI_SUCCESS;
}

uint16_t wasi_proc_exit(struct wasi_call *call) {
    call->has_exited = true;
    call->exit_code = wasi_arg32(call, 0);
    return WASI_SUCCESS;
}

/* Removed from the standard's later phases; there is nobody to signal. */
uint16_t wasi_proc_raise(struct wasi_call *call) {
    (void)call;
    return WASI_ENOSYS;
}
