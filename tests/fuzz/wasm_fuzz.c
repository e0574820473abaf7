/*
 * Fuzz target: any bytes through the decoder, the validator, the printer and husk_wasm_interface().
 * A module that the validator accepts must print without an error, because both read the same
 * instructions. Inputs: tests/fuzz/corpus/wasm, made from tests/fuzz/wat with wat2wasm; every_op
 * has one function for each row of wasm/opcode.def.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "husk_compile.h"
#include "module.h"
#include "print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int text_discard(void *user, const void *bytes, size_t count) {
    const char *text = bytes;
    size_t *total = user;
    *total += count + (size_t)(text[0] == '\n');
    return 0;
}

static void item_discard(void *user, bool is_import, const struct husk_extern *item) {
    size_t *total = user;
    char text[64];
    *total += husk_name_escape(item->name, item->name_bytes, text, sizeof text) + is_import;
}

static void require(int is_true) {
    if (!is_true)
        abort();
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
    int shown = husk_wasm_interface(data, size, item_discard, &total, NULL);
    require(valid != 0 || shown == 0);
    require(valid == 0 ? printed == 0 : err.status == valid);
    wasm_module_free(module);
    return 0;
}
