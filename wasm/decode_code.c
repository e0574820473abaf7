/*
 * wasm/decode_code.c: the code section: finds the bodies and reads their locals (core specification
 * 2.0, section 5.5.13). Locals stay run-length encoded, so five bytes cannot ask for gigabytes.
 */
#include "decode.h"
#include "limits.h"
#include "read.h"

static uint32_t params_count(const struct wasm_module *module, uint32_t type_idx) {
    return type_idx < module->types_count && module->types[type_idx].form == WASM_FORM_FUNC
               ? module->types[type_idx].params_count
               : 0; /* not a function type: the validator's */
}

static int read_local_run(struct wasm_reader *reader, struct wasm_local_run *run, uint64_t *total) {
    uint64_t offset = wasm_reader_offset(reader);
    int status = wasm_read_u32(reader, "number of locals", &run->count);
    if (status == 0)
        status = wasm_read_valtype(reader, &run->type);
    if (status != 0)
        return status;
    *total += run->count;
    if (*total > UINT32_MAX)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, offset, "too many locals");
    return 0;
}

static int read_locals(struct decoder *decoder, struct wasm_reader *body, struct wasm_func *func) {
    uint64_t offset = wasm_reader_offset(body);
    uint32_t runs_count = 0;
    int status = wasm_read_count(body, 2, UINT32_MAX, "number of local declarations", &runs_count);
    if (status != 0)
        return status;
    struct wasm_local_run *runs = NULL;
    if (runs_count != 0) {
        runs = wasm_arena_alloc(decoder->arena, runs_count, sizeof *runs);
        if (runs == NULL)
            return decoder_nomem(decoder);
    }
    uint64_t total = params_count(decoder->module, func->type_idx);
    for (uint32_t i = 0; status == 0 && i < runs_count; i++)
        status = read_local_run(body, &runs[i], &total);
    if (status != 0)
        return status;
    if (total > WASM_LIMIT_LOCALS)
        return wasm_error(decoder->err, HUSK_E_LIMIT, offset,
                          "function with %llu locals and parameters, the limit is %u",
                          (unsigned long long)total, WASM_LIMIT_LOCALS);
    func->local_runs = runs;
    func->local_runs_count = runs_count;
    func->locals_count = (uint32_t)total;
    return 0;
}

static int read_body(struct decoder *decoder, struct wasm_func *func) {
    uint64_t offset = wasm_reader_offset(&decoder->reader);
    uint32_t size = 0;
    struct wasm_bytes bytes;
    int status = wasm_read_u32(&decoder->reader, "body size", &size);
    if (status == 0)
        status = wasm_read_bytes(&decoder->reader, size, "function body", &bytes);
    if (status != 0)
        return status;
    if (size > WASM_LIMIT_FUNC_BYTES)
        return wasm_error(decoder->err, HUSK_E_LIMIT, offset,
                          "function body of %u bytes, the limit is %u", size,
                          WASM_LIMIT_FUNC_BYTES);
    struct wasm_reader body;
    wasm_reader_init(&body, bytes, decoder->err);
    body.used = decoder->reader.used;
    status = read_locals(decoder, &body, func);
    if (status == 0) {
        func->body_offset = bytes.offset;
        func->code = (struct wasm_bytes){body.pos, (uint32_t)wasm_reader_left(&body),
                                         wasm_reader_offset(&body)};
    }
    return status;
}

int decoder_code(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    module->code_section_offset = wasm_reader_offset(&decoder->reader);
    int status =
        wasm_read_count(&decoder->reader, 1, WASM_LIMIT_FUNCS, "number of function bodies", &count);
    if (status != 0)
        return status;
    decoder->bodies_count = count;
    if (count != decoder->declared_funcs_count)
        return wasm_error(
            decoder->err, HUSK_E_BAD_WASM, module->code_section_offset,
            "function and code section have inconsistent lengths: %u functions, %u bodies",
            decoder->declared_funcs_count, count);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_body(decoder, &module->funcs[module->imported_funcs_count + i]);
    return status;
}
