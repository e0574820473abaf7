/*
 * wasm/decode_names.c: the name section (core specification 2.0, section 7.4.1): names of the
 * module and of functions, for backtraces and tools. Custom sections do not affect the module's
 * meaning, so errors in them are skipped and never reported.
 */
#include <string.h>

#include "decode.h"
#include "limits.h"
#include "read.h"
#include "utf8.h"

#define SUBSECTION_MODULE 0
#define SUBSECTION_FUNCS 1

static void read_func_names(struct wasm_module *module, struct wasm_reader *reader) {
    uint32_t count = 0;
    if (wasm_read_u32(reader, "names", &count) != 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t func_idx = 0;
        uint32_t bytes_count = 0;
        struct wasm_bytes name;
        if (wasm_read_u32(reader, "function index", &func_idx) != 0 ||
            wasm_read_u32(reader, "name", &bytes_count) != 0 ||
            wasm_read_bytes(reader, bytes_count, "name", &name) != 0)
            return;
        if (func_idx < module->funcs_count && name.count <= WASM_LIMIT_NAME_BYTES &&
            utf8_is_valid(name.data, name.count))
            module->funcs[func_idx].name = name;
    }
}

static void read_name_section(struct wasm_module *module, struct wasm_bytes bytes) {
    struct wasm_reader reader;
    wasm_reader_init(&reader, bytes, NULL);
    uint8_t id = 0;
    uint32_t size = 0;
    struct wasm_bytes contents;
    while (wasm_read_byte(&reader, "subsection", &id) == 0 &&
           wasm_read_u32(&reader, "size", &size) == 0 &&
           wasm_read_bytes(&reader, size, "subsection", &contents) == 0) {
        struct wasm_reader subsection;
        wasm_reader_init(&subsection, contents, NULL);
        struct wasm_bytes name;
        if (id == SUBSECTION_FUNCS)
            read_func_names(module, &subsection);
        else if (id == SUBSECTION_MODULE &&
                 wasm_read_name(&subsection, "module name", &name) == 0 &&
                 name.count <= WASM_LIMIT_NAME_BYTES)
            module->name = name;
    }
}

void decoder_names(struct decoder *decoder) {
    static const char name[] = "name";
    struct wasm_module *module = decoder->module;
    for (uint32_t i = 0; i < module->customs_count; i++) {
        const struct wasm_custom *custom = &module->customs[i];
        if (custom->name.count == sizeof name - 1 &&
            memcmp(custom->name.data, name, sizeof name - 1) == 0) {
            read_name_section(module, custom->bytes);
            return; /* the first one; at most one is allowed */
        }
    }
}
