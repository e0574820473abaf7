/*
 * wasm/decode_typesec.c: the type section: recursion groups of function, struct and array types,
 * with their supertypes (core specification 3.0, sections 5.3.7 to 5.3.12 and 5.5.4).
 */
#include "decode.h"
#include "error.h"
#include "limits.h"
#include "read.h"
#include "types.h"

_Static_assert(WASM_LIMIT_TYPES <= WASM_TYPE_IDX_MAX, "every type index fits a code");

/* The bytes that begin types and groups. */
#define FORM_FUNC 0x60
#define FORM_STRUCT 0x5f
#define FORM_ARRAY 0x5e
#define SUB_OPEN 0x50
#define SUB_FINAL 0x4f
#define GROUP 0x4e
#define BYTE_I8 0x78
#define BYTE_I16 0x77

static int read_types(struct decoder *decoder, uint32_t limit, const char *what,
                      const valtype_t **ret_types, uint32_t *ret_count) {
    uint32_t count = 0;
    int status = wasm_read_count(&decoder->reader, 1, limit, what, &count);
    if (status != 0)
        return status;
    valtype_t *types = wasm_arena_alloc(decoder->arena, count, sizeof *types);
    if (types == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = wasm_read_valtype(&decoder->reader, &types[i]);
    if (status == 0) {
        *ret_types = types;
        *ret_count = count;
    }
    return status;
}

static int read_field(struct wasm_reader *reader, valtype_t *field) {
    uint8_t mutability = 0;
    int status = 0;
    uint8_t byte = reader->pos < reader->end ? *reader->pos : 0;
    if (byte == BYTE_I8 || byte == BYTE_I16) {
        reader->pos++;
        *field = byte == BYTE_I8 ? WASM_PACKED_I8 : WASM_PACKED_I16;
    } else {
        status = wasm_read_valtype(reader, field);
    }
    if (status == 0)
        status = wasm_read_byte(reader, "field", &mutability);
    if (status == 0 && mutability > 1)
        return wasm_error(reader->err, HUSK_E_BAD_WASM, wasm_reader_offset(reader) - 1,
                          "malformed mutability 0x%02x", mutability);
    *field |= mutability == 1 ? WASM_FIELD_MUTABLE : 0;
    return status;
}

static int read_fields(struct decoder *decoder, struct wasm_functype *type) {
    uint32_t count = 1;
    int status = 0;
    if (type->form == WASM_FORM_STRUCT)
        status =
            wasm_read_count(&decoder->reader, 2, WASM_LIMIT_FIELDS, "number of fields", &count);
    if (status != 0)
        return status;
    valtype_t *fields = wasm_arena_alloc(decoder->arena, count, sizeof *fields);
    if (fields == NULL)
        return decoder_nomem(decoder);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_field(&decoder->reader, &fields[i]);
    type->params = fields;
    type->results = fields;
    type->params_count = count;
    return status;
}

static int read_functype(struct decoder *decoder, struct wasm_functype *type) {
    uint64_t offset = wasm_reader_offset(&decoder->reader) - 1;
    int status = read_types(decoder, WASM_LIMIT_PARAMS, "number of parameters", &type->params,
                            &type->params_count);
    if (status == 0)
        status = read_types(decoder, WASM_LIMIT_RESULTS, "number of results", &type->results,
                            &type->results_count);
    if (status == 0 && type->results_count > 1)
        wasm_use(decoder->reader.used, WASM_FEATURE_MULTI_VALUE, offset,
                 "a type with several results");
    return status;
}

/* What follows the supertypes; `form` is its first byte. */
static int read_composite(struct decoder *decoder, uint8_t form, struct wasm_functype *type) {
    switch (form) {
    case FORM_STRUCT: type->form = WASM_FORM_STRUCT; return read_fields(decoder, type);
    case FORM_ARRAY: type->form = WASM_FORM_ARRAY; return read_fields(decoder, type);
    case FORM_FUNC: return read_functype(decoder, type);
    default:
        return wasm_bad_type(&decoder->reader, wasm_reader_offset(&decoder->reader) - 1, form,
                             "type form");
    }
}

/* The list of supertypes; more than one is well-formed, but invalid. */
static int read_supers(struct decoder *decoder, struct wasm_subtype *subtype) {
    struct wasm_reader *reader = &decoder->reader;
    uint64_t offset = wasm_reader_offset(reader);
    uint32_t count = 0;
    int status = wasm_read_u32(reader, "number of supertypes", &count);
    if (status == 0 && count > 1)
        return wasm_error(decoder->err, HUSK_E_INVALID_WASM, offset,
                          "sub type with %u supertypes, at most one is allowed", count);
    subtype->has_super = count == 1;
    return status != 0 || count == 0 ? status
                                     : wasm_read_u32(reader, "type index", &subtype->super_idx);
}

static int types_grow(struct decoder *decoder, uint32_t cap) {
    struct wasm_module *module = decoder->module;
    struct wasm_functype *types =
        decoder_extend(decoder, module->types, module->types_count, cap, sizeof *types);
    struct wasm_subtype *subtypes =
        decoder_extend(decoder, module->subtypes, module->types_count, cap, sizeof *subtypes);
    if (types == NULL || subtypes == NULL)
        return decoder_nomem(decoder);
    module->types = types;
    module->subtypes = subtypes;
    decoder->types_cap = cap;
    return 0;
}

/* Room for one more type at index types_count. */
static int types_reserve(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    int status = decoder_check_total(decoder, module->types_count, 1, WASM_LIMIT_TYPES, "types");
    if (status != 0 || module->types_count < decoder->types_cap)
        return status;
    return types_grow(decoder, decoder->types_cap + decoder->types_cap / 2 + 8);
}

static int read_type(struct decoder *decoder, uint32_t group_first) {
    struct wasm_module *module = decoder->module;
    int status = types_reserve(decoder);
    if (status != 0)
        return status;
    struct wasm_functype *type = &module->types[module->types_count];
    struct wasm_subtype *subtype = &module->subtypes[module->types_count];
    uint8_t form = 0;
    subtype->offset = wasm_reader_offset(&decoder->reader);
    subtype->group_first = group_first;
    subtype->group_count = 1;
    module->types_count++;
    status = wasm_read_byte(&decoder->reader, "type", &form);
    if (status == 0 && (form == SUB_OPEN || form == SUB_FINAL)) {
        wasm_use(decoder->reader.used, WASM_FEATURE_FUNCTION_REFS, subtype->offset, "a sub type");
        type->is_open = form == SUB_OPEN;
        status = read_supers(decoder, subtype);
        if (status == 0)
            status = wasm_read_byte(&decoder->reader, "type", &form);
    }
    return status != 0 ? status : read_composite(decoder, form, type);
}

static int read_group(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    uint32_t first = module->types_count;
    uint32_t count = 0;
    if (decoder->reader.pos == decoder->reader.end || *decoder->reader.pos != GROUP)
        return read_type(decoder, first);
    wasm_use(decoder->reader.used, WASM_FEATURE_FUNCTION_REFS, wasm_reader_offset(&decoder->reader),
             "a recursion group");
    decoder->reader.pos++;
    int status = wasm_read_count(&decoder->reader, 2, WASM_LIMIT_TYPES,
                                 "number of types in a recursion group", &count);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_type(decoder, first);
    for (uint32_t i = first; i < module->types_count; i++)
        module->subtypes[i].group_count = module->types_count - first;
    return status;
}

static int types_canonicalise(struct decoder *decoder) {
    struct wasm_module *module = decoder->module;
    const struct wasm_module *modules[1] = {module};
    uint32_t *ids = wasm_arena_alloc(decoder->arena, module->types_count, sizeof *ids);
    if (ids == NULL)
        return decoder_nomem(decoder);
    int status = wasm_types_canonicalise(modules, 1, (uint32_t *const[]){ids}, decoder->err);
    for (uint32_t i = 0; status == 0 && i < module->types_count; i++)
        module->types[i].canonical_idx = ids[i];
    return status;
}

int decoder_types(struct decoder *decoder) {
    uint32_t count = 0;
    int status = wasm_read_count(&decoder->reader, 2, WASM_LIMIT_TYPES, "number of types", &count);
    if (status == 0)
        status = types_grow(decoder, count);
    for (uint32_t i = 0; status == 0 && i < count; i++)
        status = read_group(decoder);
    return status != 0 ? status : types_canonicalise(decoder);
}
