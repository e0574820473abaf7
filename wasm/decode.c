/*
 * wasm/decode.c: the first step from bytes to an instance. It reads the header and the sections,
 * and checks that the sections agree (core specification 2.0, section 5.5). It only finds the
 * bounds of function bodies; validate.c and the compiler read them.
 */
#include "decode.h"

#include <string.h>

#include "error.h"
#include "limits.h"
#include "read.h"

#define HEADER_BYTES 8
#define SECTION_CUSTOM 0
#define SECTION_COUNT 14

void *decoder_extend(struct decoder *decoder, const void *old, uint32_t old_count,
                     uint32_t new_count, size_t elem_bytes) {
    return wasm_arena_extend(decoder->arena, old, old_count, new_count, elem_bytes);
}

void *decoder_push(struct decoder *decoder, void *old, uint32_t count, size_t elem_bytes) {
    if (count != 0 && (count & (count - 1)) != 0)
        return old;
    return decoder_extend(decoder, old, count, count != 0 ? count * 2 : 1, elem_bytes);
}

int decoder_nomem(struct decoder *decoder) {
    return error_set(decoder->err, HUSK_E_NOMEM, "out of memory while decoding the module");
}

int decoder_check_total(struct decoder *decoder, uint32_t old_count, uint32_t new_count,
                        uint32_t limit, const char *what) {
    if (old_count > limit || new_count > limit - old_count)
        return wasm_error(decoder->err, HUSK_E_LIMIT, wasm_reader_offset(&decoder->reader),
                          "the module has %llu %s, the limit is %u",
                          (unsigned long long)old_count + new_count, what, limit);
    return 0;
}

/* ---- sections ---- */

struct section_row {
    const char *name;
    uint8_t order; /* sections come in this order; custom ones anywhere (5.5.2, 5.5.16) */
    int (*decode)(struct decoder *decoder);
};

static const struct section_row section_rows[SECTION_COUNT] = {
    [1] = {"type section", 1, decoder_types},
    [2] = {"import section", 2, decoder_imports},
    [3] = {"function section", 3, decoder_funcs},
    [4] = {"table section", 4, decoder_tables},
    [5] = {"memory section", 5, decoder_memories},
    [13] = {"tag section", 6, decoder_tags},
    [6] = {"global section", 7, decoder_globals},
    [7] = {"export section", 8, decoder_exports},
    [8] = {"start section", 9, decoder_start},
    [9] = {"element section", 10, decoder_elems},
    [12] = {"data count section", 11, decoder_data_count},
    [10] = {"code section", 12, decoder_code},
    [11] = {"data section", 13, decoder_datas},
};

static int decoder_custom(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    struct wasm_custom custom;
    int status = wasm_read_name(&decoder->reader, "custom section name", &custom.name);
    if (status == 0)
        status = wasm_read_bytes(&decoder->reader, (uint32_t)wasm_reader_left(&decoder->reader),
                                 "custom section", &custom.bytes);
    if (status == 0)
        status = decoder_check_total(decoder, module->customs_count, 1, WASM_LIMIT_CUSTOMS,
                                     "custom sections");
    if (status != 0)
        return status;
    static const char hints[] = "metadata.code.branch_hint";
    if (custom.name.count == sizeof hints - 1 &&
        memcmp(custom.name.data, hints, sizeof hints - 1) == 0)
        wasm_use(decoder->reader.used, WASM_FEATURE_BRANCH_HINTS, custom.name.offset,
                 "a custom section");
    struct wasm_custom *customs =
        decoder_push(decoder, module->customs, module->customs_count, sizeof *customs);
    if (customs == NULL)
        return decoder_nomem(decoder);
    module->customs = customs;
    customs[module->customs_count++] = custom;
    return 0;
}

/* One known section; decoder->reader is its contents. */
static int decoder_section(struct decoder *decoder, uint8_t id, uint64_t offset, uint8_t *order) {
    if (id == SECTION_CUSTOM)
        return decoder_custom(decoder);
    const struct section_row *row = &section_rows[id];
    if (row->order <= *order)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, offset,
                          "the %s is repeated or out of order", row->name);
    *order = row->order;
    int status = row->decode(decoder);
    if (status == 0 && decoder->reader.pos != decoder->reader.end)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, wasm_reader_offset(&decoder->reader),
                          "section size mismatch: %zu bytes too many in the %s",
                          wasm_reader_left(&decoder->reader), row->name);
    return status;
}

static int decoder_sections(struct decoder *decoder, struct wasm_reader *whole) {
    uint8_t order = 0;
    while (whole->pos != whole->end) {
        uint64_t offset = wasm_reader_offset(whole);
        uint8_t id = *whole->pos++;
        uint32_t size = 0;
        struct wasm_bytes contents;
        if (id >= SECTION_COUNT)
            return wasm_error(decoder->err, HUSK_E_BAD_WASM, offset, "malformed section id %u", id);
        int status = wasm_read_u32(whole, "section size", &size);
        if (status == 0)
            status = wasm_read_bytes(whole, size, "section", &contents);
        if (status == 0) {
            wasm_reader_init(&decoder->reader, contents, decoder->err);
            decoder->reader.used = &decoder->module->used;
            status = decoder_section(decoder, id, offset, &order);
        }
        if (status != 0)
            return status;
    }
    return 0;
}

/* ---- the whole ---- */

static int decoder_header(struct decoder *decoder, struct wasm_bytes wasm) {
    static const uint8_t magic[4] = {0x00, 'a', 's', 'm'};
    static const uint8_t version[4] = {1, 0, 0, 0};
    static const uint8_t component[4] = {0x0d, 0, 1, 0};
    if (wasm.count < HEADER_BYTES || memcmp(wasm.data, magic, sizeof magic) != 0) {
        const char *foreign = wasm_foreign_kind(wasm);
        if (foreign != NULL)
            return error_at(decoder->err, HUSK_E_BAD_WASM, 0,
                            "magic header not detected: this is %s", foreign);
        bool is_cut = wasm.count < HEADER_BYTES &&
                      memcmp(wasm.data, magic, wasm.count < 4 ? wasm.count : 4) == 0;
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, is_cut ? wasm.count : 0,
                          is_cut ? "unexpected end: the module has %u bytes, its header alone 8"
                                 : "magic header not detected: this is not WebAssembly (%u bytes)",
                          wasm.count);
    }
    if (memcmp(wasm.data + 4, component, sizeof component) == 0)
        return wasm_error(decoder->err, HUSK_E_UNSUPPORTED, 4,
                          "this is a component, not a module, not supported yet");
    if (memcmp(wasm.data + 4, version, sizeof version) != 0)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, 4, "unknown binary version %u",
                          (unsigned)wasm.data[4] | (unsigned)wasm.data[5] << 8 |
                              (unsigned)wasm.data[6] << 16 | (unsigned)wasm.data[7] << 24);
    return 0;
}

/* What the sections say about each other (5.5.16). */
static int decoder_agreement(struct decoder *decoder) {
    const struct wasm_module *module = decoder->module;
    if (decoder->declared_funcs_count != decoder->bodies_count)
        return wasm_error(
            decoder->err, HUSK_E_BAD_WASM, module->wasm.count,
            "function and code section have inconsistent lengths: %u functions, %u bodies",
            decoder->declared_funcs_count, decoder->bodies_count);
    if (module->has_data_count && decoder->data_count != module->datas_count)
        return wasm_error(decoder->err, HUSK_E_BAD_WASM, module->wasm.count,
                          "data count and data section have inconsistent lengths: %u and %u",
                          decoder->data_count, module->datas_count);
    return 0;
}

static int decoder_run(struct decoder *decoder, struct wasm_bytes wasm) {
    int status = decoder_header(decoder, wasm);
    if (status != 0)
        return status;
    struct wasm_reader whole;
    wasm_reader_init(&whole, wasm, decoder->err);
    whole.pos += HEADER_BYTES;
    status = decoder_sections(decoder, &whole);
    if (status == 0)
        status = decoder_agreement(decoder);
    if (status == 0)
        decoder_names(decoder);
    return status;
}

int wasm_decode(const void *wasm, size_t count, struct wasm_module **ret_module,
                struct husk_error *err) {
    if (count > WASM_LIMIT_MODULE_BYTES)
        return error_at(err, HUSK_E_LIMIT, WASM_LIMIT_MODULE_BYTES,
                        "the module has %zu bytes, the limit is %u", count,
                        WASM_LIMIT_MODULE_BYTES);
    struct decoder decoder = {.err = err, .arena = wasm_arena_new()};
    if (decoder.arena == NULL)
        return decoder_nomem(&decoder);
    struct wasm_bytes bytes = {.data = count != 0 ? wasm : "", .count = (uint32_t)count};
    int status = HUSK_E_NOMEM;
    decoder.module = wasm_arena_alloc(decoder.arena, 1, sizeof *decoder.module);
    if (decoder.module == NULL) {
        (void)decoder_nomem(&decoder);
    } else {
        decoder.module->arena = decoder.arena;
        decoder.module->wasm = bytes;
        status = decoder_run(&decoder, bytes);
    }
    if (status != 0) {
        wasm_arena_free(decoder.arena);
        return status;
    }
    *ret_module = decoder.module;
    return 0;
}

void wasm_module_free(struct wasm_module *module) {
    if (module != NULL)
        wasm_arena_free(module->arena);
}
