/*
 * host/call/bytes_exports.c: see bytes_exports.h. The module's exports are the only sign of who
 * owns which buffer:
 *
 *   cabi_post_NAME       the component model's canonical ABI, as wit-bindgen makes guests: the
 *                        function owns its input, and cabi_post_NAME takes the result back
 *   malloc and free      the host frees both buffers
 *   cabi_realloc, free   the same: in C both are made of the same allocator
 *   cabi_realloc alone   both are the host's, which can use and shrink them: see bytes.c
 *   malloc alone         both are lost until the sandbox is restored
 */
#include "bytes_exports.h"

#include <string.h>

#include "error.h"
#include "name_text.h"
#include "values.h"

static bool type_is_letter(husk_type type, char letter) {
    return (letter == 'i' && type == HUSK_I32) || (letter == 'I' && type == HUSK_I64);
}

/* types: parameters and results, one letter each, "iiii>i". */
static bool functype_is(const struct husk_functype *type, const char *types) {
    const size_t count = type->params_count + 1 + type->results_count;
    if (strlen(types) != count || types[type->params_count] != '>')
        return false;
    for (size_t i = 0; i < type->params_count; i++)
        if (!type_is_letter(type->params[i], types[i]))
            return false;
    for (size_t i = 0; i < type->results_count; i++)
        if (!type_is_letter(type->results[i], types[type->params_count + 1 + i]))
            return false;
    return true;
}

/* True: this export is a function of these types. UINT32_MAX: no export. */
static bool export_is(const struct image_code *code, uint32_t export_idx, const char *types,
                      husk_func *ret_func) {
    if (export_idx == UINT32_MAX || code->exports[export_idx].kind != HUSK_ABI_FUNC)
        return false;
    const uint32_t func_idx = code->exports[export_idx].idx;
    const struct husk_functype type = image_functype(code, code->funcs[func_idx].type_idx);
    if (!functype_is(&type, types))
        return false;
    *ret_func = image_func_make(code, func_idx);
    return true;
}

static bool named_is(const husk_image *image, const char *name, const char *types,
                     husk_func *ret_func) {
    return export_is(image->code, image_export_find(image, name, strlen(name)), types, ret_func);
}

/* The function's first export name. Its text is NULL if there is none; such a call is refused when
 * it is made. */
static struct image_name name_of(const struct image_code *code, husk_func func) {
    for (uint32_t i = 0; i < code->exports_count; i++)
        if (code->exports[i].kind == HUSK_ABI_FUNC &&
            code->exports[i].idx == (uint32_t)func.opaque[1])
            return code->export_names[i];
    return (struct image_name){NULL, 0};
}

static int find_form(const struct image_code *code, const struct image_name *name,
                     struct bytes_exports *exports, struct husk_error *err) {
    static const char *const types[BYTES_FORMS_COUNT] = {
        [BYTES_PACKED_I64] = "ii>I", [BYTES_POINTER_TO_PAIR] = "ii>i", [BYTES_TWO_I32] = "ii>ii"};
    const struct husk_image_func *row = image_func_row(code, exports->func);
    if (row == NULL)
        return image_func_refuse(code, exports->func, err);
    const struct husk_functype type = image_functype(code, row->type_idx);
    for (int form = 0; form < BYTES_FORMS_COUNT; form++) {
        if (functype_is(&type, types[form])) {
            exports->form = (enum bytes_form)form;
            return 0;
        }
    }
    char text[160];
    struct name_text shown;
    functype_format(&type, text, sizeof text);
    return error_set(err, HUSK_E_TYPE,
                     "\"%s\" is %s; expected (i32, i32) -> i64, i32 or (i32, i32)",
                     name_show(&shown, name->text, name->bytes), text);
}

/* A function of the canonical ABI has a cabi_post_ that takes what the function returned. */
static bool find_post(const husk_image *image, const struct image_name *name,
                      struct bytes_exports *exports) {
    static const char *const types[BYTES_FORMS_COUNT] = {
        [BYTES_PACKED_I64] = "I>", [BYTES_POINTER_TO_PAIR] = "i>", [BYTES_TWO_I32] = "ii>"};
    return name->text != NULL &&
           export_is(image->code, image_export_find_prefixed(image, "cabi_post_", name),
                     types[exports->form], &exports->release);
}

static int find_allocator(const husk_image *image, const struct image_name *name,
                          struct bytes_exports *exports, struct husk_error *err) {
    husk_func malloc_func = {{0, 0}}, realloc_func = {{0, 0}};
    const bool has_malloc = named_is(image, "malloc", "i>i", &malloc_func);
    const bool has_realloc = named_is(image, "cabi_realloc", "iiii>i", &realloc_func);
    if (!has_malloc && !has_realloc)
        return error_set(err, HUSK_E_NOT_FOUND,
                         "the module exports no allocator: neither cabi_realloc(i32, i32, i32, "
                         "i32) -> i32 nor malloc(i32) -> i32");
    exports->is_by_realloc = has_realloc;
    exports->release_kind = has_realloc ? BYTES_RELEASE_REALLOC : BYTES_RELEASE_NONE;
    if (find_post(image, name, exports)) {
        exports->release_kind = BYTES_RELEASE_POST;
    } else if (named_is(image, "free", "i>", &exports->release)) {
        exports->release_kind = BYTES_RELEASE_FREE;
        exports->is_by_realloc = !has_malloc; /* malloc and free belong together */
    } else {
        exports->release = realloc_func;
    }
    exports->allocate = exports->is_by_realloc ? realloc_func : malloc_func;
    return 0;
}

int bytes_exports_find(const husk_image *image, husk_func func, const struct image_name *name,
                       struct bytes_exports *ret_exports, struct husk_error *err) {
    struct bytes_exports exports = {.func = func};
    const struct image_name known = name->text != NULL ? *name : name_of(image->code, func);
    int status = find_form(image->code, &known, &exports, err);
    if (status == 0)
        status = find_allocator(image, &known, &exports, err);
    if (status == 0)
        *ret_exports = exports;
    return status;
}
