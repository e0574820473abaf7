/* host/wasi/wasi_mem.c: the only access of WASI handlers to guest memory, and errno numbers. */
#include <errno.h>
#include <string.h>

#include "wasi.h"
#include "wasi_abi.h"

static bool is_range(uint64_t addr, uint64_t count) {
    return addr <= UINT32_MAX && count <= (UINT64_C(1) << 32);
}

void *wasi_span(const struct wasi_call *call, uint64_t addr, uint64_t count) {
    return is_range(addr, count) ? call->ops->span(call->host, (uint32_t)addr, count) : NULL;
}

const void *wasi_view(const struct wasi_call *call, uint64_t addr, uint64_t count) {
    return is_range(addr, count) ? call->ops->view(call->host, (uint32_t)addr, count) : NULL;
}

static uint16_t put(const struct wasi_call *call, uint64_t addr, const void *value, size_t bytes) {
    void *span = wasi_span(call, addr, bytes);
    if (span == NULL)
        return WASI_EFAULT;
    memcpy(span, value, bytes);
    return WASI_SUCCESS;
}

uint16_t wasi_put_u32(const struct wasi_call *call, uint64_t addr, uint32_t value) {
    return put(call, addr, &value, sizeof value);
}

uint16_t wasi_put_u64(const struct wasi_call *call, uint64_t addr, uint64_t value) {
    return put(call, addr, &value, sizeof value);
}

uint16_t wasi_errno_of(int host_errno) {
    switch (host_errno) {
    case 0: return WASI_SUCCESS;
#define WASI_ERRNO_CASE(name, number)                                                              \
    case E##name: return (number);
        WASI_ERRNO_LIST(WASI_ERRNO_CASE)
#undef WASI_ERRNO_CASE
    default: return WASI_EIO; /* an errno that WASI has no word for */
    }
}
