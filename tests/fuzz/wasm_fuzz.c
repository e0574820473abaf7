/*
 * Fuzz target: any bytes through the decoder, the validator and the printer. What the validator accepts must print without an
 * error: both read the same instructions. Inputs: tests/fuzz/corpus/wasm, made from tests/fuzz/wat with wat2wasm; every_op has one
 * function for each row of wasm/opcode.def.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "module.h"
#include "print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int text_discard(void *user, const char *text, size_t count) {
    size_t *total = user;
    *total += count + (size_t)(text[0] == '\n');
    return 0;
}

static void require(int is_true) {
    if (!is_true) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct husk_error err = {0};
    struct wasm_module *module = NULL;
    int status = wasm_decode(data, size, &module, &err);
    if (status != 0) {
        require(err.status == status && module == NULL);
        return 0;
    }
    size_t total = 0;
    struct wasm_print_options options = {.with_code = true, .write = text_discard, .user = &total};
    int printed = wasm_print(module, &options, NULL);
    int valid = wasm_validate(module, &err);
    require(valid == 0 ? printed == 0 : err.status == valid);
    wasm_module_free(module);
    return 0;
}
