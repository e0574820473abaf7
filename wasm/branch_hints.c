/*
 * wasm/branch_hints.c: checks the custom section "metadata.code.branch_hint" (WebAssembly 3.0,
 * appendix, custom sections; tool conventions, code metadata). Beside the flow: a wrong custom
 * section does not make a module invalid, so wasm_validate() does not call it.
 */
#include <string.h>

#include "module.h"
#include "read.h"

#define HINTS_NAME "metadata.code.branch_hint"

static int wrong(struct wasm_reader *reader, const char *what) {
    return wasm_error(reader->err, HUSK_E_INVALID_WASM,
                      reader->offset + (uint64_t)(reader->pos - reader->start), HINTS_NAME ": %s",
                      what);
}

/* Does an `if` or `br_if` begin so many bytes behind the start of the body? */
static bool is_target(const struct wasm_func *func, uint32_t offset) {
    struct wasm_reader reader;
    struct wasm_instr instr;
    const uint64_t locals_bytes = func->code.offset - func->body_offset;
    wasm_reader_init(&reader, func->code, NULL);
    while (reader.pos < reader.end) {
        const uint64_t start = locals_bytes + (uint64_t)(reader.pos - reader.start);
        if (wasm_read_instr(&reader, &instr) != 0 || start > offset)
            return false;
        if (start == offset)
            return instr.op == WASM_OP_IF || instr.op == WASM_OP_BR_IF;
    }
    return false;
}

/* OFFSET, then one byte: likely or not. Offsets ascend. */
static int check_hint(struct wasm_reader *reader, const struct wasm_func *func,
                      uint32_t *offset_min) {
    uint32_t offset = 0;
    uint32_t bytes = 0;
    uint8_t is_likely = 0;
    int status = wasm_read_u32(reader, "offset of a branch hint", &offset);
    if (status == 0)
        status = wasm_read_u32(reader, "size of a branch hint", &bytes);
    if (status == 0)
        status = wasm_read_byte(reader, "branch hint", &is_likely);
    if (status != 0)
        return status;
    if (bytes != 1 || is_likely > 1)
        return wrong(reader, "malformed hint");
    if (offset < *offset_min || !is_target(func, offset))
        return wrong(reader, "invalid target");
    *offset_min = offset + 1;
    return 0;
}

static int check_section(const struct wasm_module *module, struct wasm_reader *reader) {
    uint32_t funcs_count = 0;
    uint32_t idx_min = module->imported_funcs_count;
    int status = wasm_read_u32(reader, "functions with branch hints", &funcs_count);
    for (uint32_t i = 0; status == 0 && i < funcs_count; i++) {
        uint32_t idx = 0;
        uint32_t hints_count = 0;
        uint32_t offset_min = 0;
        status = wasm_read_u32(reader, "function with branch hints", &idx);
        if (status == 0 && (idx < idx_min || idx >= module->funcs_count))
            return wrong(reader, "invalid function");
        if (status == 0)
            status = wasm_read_u32(reader, "branch hints", &hints_count);
        for (uint32_t k = 0; status == 0 && k < hints_count; k++)
            status = check_hint(reader, &module->funcs[idx], &offset_min);
        idx_min = idx + 1;
    }
    return status != 0 || reader->pos == reader->end ? status : wrong(reader, "bytes left over");
}

int wasm_check_branch_hints(const struct wasm_module *module, struct husk_error *err) {
    for (uint32_t i = 0; i < module->customs_count; i++) {
        const struct wasm_custom *custom = &module->customs[i];
        if (custom->name.count != strlen(HINTS_NAME) ||
            memcmp(custom->name.data, HINTS_NAME, strlen(HINTS_NAME)) != 0)
            continue;
        struct wasm_reader reader;
        wasm_reader_init(&reader, custom->bytes, err);
        int status = check_section(module, &reader);
        if (status != 0)
            return status;
    }
    return 0;
}
