/*
 * wasm/decode_segments.c: the sections that hold constant expressions: globals, element segments,
 * data segments, and the data count (core specification 2.0, sections 5.5.9, 5.5.12, 5.5.14,
 * 5.5.15).
 */
#include "decode.h"
#include "limits.h"
#include "read.h"
#include "types.h"

/* What the instructions are is the validator's business. */
int decoder_read_expr(struct decoder *decoder, struct wasm_bytes *ret_expr) {
    struct wasm_reader *reader = &decoder->reader;
    const uint8_t *start = reader->pos;
    uint64_t offset = wasm_reader_offset(reader);
    uint32_t depth = 1;
    while (depth > 0) {
        struct wasm_instr instr;
        int status = wasm_read_instr(reader, &instr);
        if (status != 0)
            return status;
        if (wasm_op_opens(instr.op))
            depth++;
        else if (instr.op == WASM_OP_END || instr.op == WASM_OP_DELEGATE)
            depth--;
    }
    *ret_expr = (struct wasm_bytes){start, (uint32_t)(reader->pos - start), offset};
    return 0;
}

static int read_global(struct decoder *decoder, void *row) {
    struct wasm_global *global = row;
    int status = decoder_read_global_type(decoder, global);
    return status == 0 ? decoder_read_expr(decoder, &global->init) : status;
}

int decoder_globals(struct decoder *decoder) {
    static const struct decoder_declared declared = {"globals", 3, WASM_LIMIT_GLOBALS,
                                                     sizeof(struct wasm_global), read_global};
    struct wasm_module *module = decoder->module;
    void *rows = module->globals;
    int status = decoder_read_declared(decoder, &declared, &rows, &module->globals_count);
    module->globals = rows;
    return status;
}

/* ---- element segments ---- */

#define ELEM_NOT_ACTIVE 1u /* passive or declarative */
#define ELEM_EXPLICIT 2u   /* active: names its table; otherwise: declarative */
#define ELEM_EXPRS 4u      /* elements are expressions */

/* Flags and what comes before the elements. */
static int read_elem_head(struct decoder *decoder, struct wasm_elem *elem, uint32_t flags) {
    struct wasm_reader *reader = &decoder->reader;
    int status = 0;
    elem->elem_type = WASM_FUNCREF;
    if ((flags & ELEM_NOT_ACTIVE) != 0) {
        elem->mode = (flags & ELEM_EXPLICIT) != 0 ? WASM_SEGMENT_DECLARATIVE : WASM_SEGMENT_PASSIVE;
    } else {
        elem->mode = WASM_SEGMENT_ACTIVE;
        if ((flags & ELEM_EXPLICIT) != 0)
            status = wasm_read_u32(reader, "table index", &elem->table_idx);
        if (status == 0)
            status = decoder_read_expr(decoder, &elem->offset);
    }
    if (status != 0 || (flags & (ELEM_NOT_ACTIVE | ELEM_EXPLICIT)) == 0)
        return status;
    if ((flags & ELEM_EXPRS) != 0)
        return wasm_read_reftype(reader, &elem->elem_type);
    uint8_t kind = 0;
    status = wasm_read_byte(reader, "element kind", &kind);
    if (status == 0 && kind != 0)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader) - 1,
                          "malformed element kind 0x%02x", kind);
    return status;
}

static int read_elem_funcs(struct decoder *decoder, struct wasm_elem *elem) {
    uint32_t *func_idxs = wasm_arena_alloc(decoder->arena, elem->count, sizeof *func_idxs);
    if (func_idxs == NULL)
        return decoder_nomem(decoder);
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < elem->count; i++)
        status = wasm_read_u32(&decoder->reader, "function index", &func_idxs[i]);
    elem->func_idxs = func_idxs;
    return status;
}

static int read_elem_exprs(struct decoder *decoder, struct wasm_elem *elem) {
    struct wasm_bytes *exprs = wasm_arena_alloc(decoder->arena, elem->count, sizeof *exprs);
    if (exprs == NULL)
        return decoder_nomem(decoder);
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < elem->count; i++)
        status = decoder_read_expr(decoder, &exprs[i]);
    elem->exprs = exprs;
    return status;
}

static int read_elem(struct decoder *decoder, struct wasm_elem *elem) {
    uint64_t offset = wasm_reader_offset(&decoder->reader);
    uint32_t flags = 0;
    elem->segment_offset = offset;
    int status = wasm_read_u32(&decoder->reader, "element segment flags", &flags);
    if (status == 0 && flags > (ELEM_NOT_ACTIVE | ELEM_EXPLICIT | ELEM_EXPRS))
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, offset,
                          "malformed element segment flags 0x%x", flags);
    if (status == 0)
        status = read_elem_head(decoder, elem, flags);
    if (status == 0)
        status = wasm_read_count(&decoder->reader, 1, WASM_LIMIT_ELEMS, "number of elements",
                                 &elem->count);
    if (status == 0)
        status = decoder_check_total(decoder, decoder->elem_entries_count, elem->count,
                                     WASM_LIMIT_ELEMS, "elements in its segments");
    if (status != 0)
        return status;
    if ((flags & ELEM_NOT_ACTIVE) != 0)
        wasm_use(decoder->reader.used, WASM_FEATURE_BULK, offset, "an element segment");
    decoder->elem_entries_count += elem->count;
    if ((flags & ELEM_EXPRS) != 0)
        return read_elem_exprs(decoder, elem);
    elem->elem_type = wasm_non_null(WASM_FUNCREF); /* functions are never null */
    return read_elem_funcs(decoder, elem);
}

int decoder_elems(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status = wasm_read_count(&decoder->reader, 3, WASM_LIMIT_ELEMS,
                                 "number of element segments", &count);
    if (status != 0)
        return status;
    module->elems = wasm_arena_alloc(decoder->arena, count, sizeof *module->elems);
    if (module->elems == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_elem(decoder, &module->elems[i]);
    module->elems_count = count;
    return status;
}

/* ---- data segments ---- */

static int read_data(struct decoder *decoder, struct wasm_data *data) {
    struct wasm_reader *reader = &decoder->reader;
    uint64_t offset = wasm_reader_offset(reader);
    uint32_t flags = 0;
    uint32_t count = 0;
    int status = wasm_read_u32(reader, "data segment flags", &flags);
    if (status == 0 && flags > 2)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, offset,
                          "malformed data segment flags 0x%x", flags);
    if (status == 0 && flags == 1)
        wasm_use(reader->used, WASM_FEATURE_BULK, offset, "a passive data segment");
    data->mode = flags == 1 ? WASM_SEGMENT_PASSIVE : WASM_SEGMENT_ACTIVE;
    if (status == 0 && flags == 2)
        status = wasm_read_u32(reader, "memory index", &data->memory_idx);
    if (status == 0 && flags != 1)
        status = decoder_read_expr(decoder, &data->offset);
    if (status == 0)
        status = wasm_read_u32(reader, "data segment size", &count);
    return status != 0 ? status : wasm_read_bytes(reader, count, "data segment", &data->bytes);
}

int decoder_datas(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t count = 0;
    int status =
        wasm_read_count(&decoder->reader, 2, WASM_LIMIT_DATAS, "number of data segments", &count);
    if (status != 0)
        return status;
    module->datas = wasm_arena_alloc(decoder->arena, count, sizeof *module->datas);
    if (module->datas == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_data(decoder, &module->datas[i]);
    module->datas_count = count;
    return status;
}

int decoder_data_count(struct decoder *decoder) {
    decoder->module->has_data_count = true;
    wasm_use(decoder->reader.used, WASM_FEATURE_BULK, wasm_reader_offset(&decoder->reader),
             "a data count section");
    return wasm_read_u32(&decoder->reader, "data count", &decoder->data_count);
}
