/* compiler/client/wasm_print_api.c: husk_wasm_print(): connects the public API to wasm/print.h. */
#include "error.h"
#include "husk_compile.h"
#include "print.h"

int husk_wasm_print(const void *wasm, size_t count, husk_write_fn write, void *user,
                    struct husk_error *err) {
    struct wasm_module *module = NULL;
    struct wasm_print_options options = {.with_code = true, .write = write, .user = user};
    if (wasm == NULL || write == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_wasm_print: a pointer is NULL");
    int status = wasm_decode(wasm, count, &module, err);
    if (status == 0)
        status = wasm_print(module, &options, err);
    wasm_module_free(module);
    return status;
}
