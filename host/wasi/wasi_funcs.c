/* host/wasi/wasi_funcs.c: the table from names to handlers. */
#include "wasi.h"
#include "wasi_abi.h"

const struct wasi_func wasi_funcs[WASI_FUNCS_COUNT] = {
#define WASI_FUNC(name, params, has_result, in_unstable)                                           \
    [WASI_ID_##name] = {#name, params, has_result, in_unstable, wasi_##name},
#include "wasi.def"
#undef WASI_FUNC
};

uint16_t wasi_dispatch(struct wasi_call *call, uint32_t func_id) {
    if (func_id >= WASI_FUNCS_COUNT)
        return WASI_ENOSYS;
    return wasi_funcs[func_id].handler(call);
}
