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
 *
 * Pointers and sizes have the type of the memory's addresses: i32 or i64.
 */
#include "bytes_exports.h"

#include <string.h>

#include "error.h"
#include "name_text.h"
#include "values.h"

/* Types of parameters and results, one letter each, "pppp>p": p a pointer or a size, I an i64. */
struct signature {
    const char *letters;
    bool is_64;
};

static bool type_is_letter(husk_type type, char letter, bool is_64) {
    return type == (letter == 'I' || is_64 ? HUSK_I64 : HUSK_I32);
}

static bool functype_is(const struct husk_functype *type, struct signature signature) {
    const char *types = signature.letters;
    const size_t count = type->params_count + 1 + type->results_count;
    if (strlen(types) != count || types[type->params_count] != '>')
        return false;
    for (size_t i = 0; i < type->params_count; i++)
        if (!type_is_letter(type->params[i], types[i], signature.is_64))
            return false;
    for (size_t i = 0; i < type->results_count; i++)
        if (!type_is_letter(type->results[i], types[type->params_count + 1 + i], signature.is_64))
            return false;
    return true;
}

/* True: this export is a function of these types. UINT32_MAX: no export. */
static bool export_is(const struct image_code *code, uint32_t export_idx,
                      struct signature signature, husk_func *ret_func) {
    if (export_idx == UINT32_MAX || code->exports[export_idx].kind != HUSK_ABI_FUNC)
        return false;
    const uint32_t func_idx = code->exports[export_idx].idx;
    const struct husk_functype type = image_functype(code, code->funcs[func_idx].type_idx);
    if (!functype_is(&type, signature))
        return false;
    *ret_func = image_func_make(code, func_idx);
    return true;
}

static bool named_is(const husk_image *image, const char *name, struct signature signature,
                     husk_func *ret_func) {
    return export_is(image->code, image_export_find(image, name, strlen(name)), signature,
                     ret_func);
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
    static const char *const types[BYTES_FORMS_COUNT] = {[BYTES_PACKED_I64] = "pp>I",
                                                         [BYTES_POINTER_TO_PAIR] = "pp>p",
                                                         [BYTES_TWO_NUMBERS] = "pp>pp"};
    const struct husk_image_func *row = image_func_row(code, exports->func);
    if (row == NULL)
        return image_func_refuse(code, exports->func, err);
    const struct husk_functype type = image_functype(code, row->type_idx);
    for (int form = exports->is_64 ? BYTES_POINTER_TO_PAIR : 0; form < BYTES_FORMS_COUNT; form++) {
        if (functype_is(&type, (struct signature){types[form], exports->is_64})) {
            exports->form = (enum bytes_form)form;
            return 0;
        }
    }
    char text[160];
    struct name_text shown;
    functype_format(&type, text, sizeof text);
    return error_set(err, HUSK_E_TYPE, "\"%s\" is %s; expected %s",
                     name_show(&shown, name->text, name->bytes), text,
                     exports->is_64
                         ? "(i64, i64) -> i64 or (i64, i64), because the memory has i64 addresses"
                         : "(i32, i32) -> i64, i32 or (i32, i32)");
}

/* A function of the canonical ABI has a cabi_post_ that takes what the function returned. */
static bool find_post(const husk_image *image, const struct image_name *name,
                      struct bytes_exports *exports) {
    static const char *const types[BYTES_FORMS_COUNT] = {
        [BYTES_PACKED_I64] = "I>", [BYTES_POINTER_TO_PAIR] = "p>", [BYTES_TWO_NUMBERS] = "pp>"};
    return name->text != NULL &&
           export_is(image->code, image_export_find_prefixed(image, "cabi_post_", name),
                     (struct signature){types[exports->form], exports->is_64}, &exports->release);
}

static int find_allocator(const husk_image *image, const struct image_name *name,
                          struct bytes_exports *exports, struct husk_error *err) {
    const bool is_64 = exports->is_64;
    husk_func malloc_func = {{0, 0}}, realloc_func = {{0, 0}};
    const bool has_malloc =
        named_is(image, "malloc", (struct signature){"p>p", is_64}, &malloc_func);
    const bool has_realloc =
        named_is(image, "cabi_realloc", (struct signature){"pppp>p", is_64}, &realloc_func);
    if (!has_malloc && !has_realloc)
        return error_set(err, HUSK_E_NOT_FOUND,
                         is_64 ? "the module exports no allocator: neither cabi_realloc(i64, i64, "
                                 "i64, i64) -> i64 nor malloc(i64) -> i64"
                               : "the module exports no allocator: neither cabi_realloc(i32, i32, "
                                 "i32, i32) -> i32 nor malloc(i32) -> i32");
    exports->is_by_realloc = has_realloc;
    exports->release_kind = has_realloc ? BYTES_RELEASE_REALLOC : BYTES_RELEASE_NONE;
    if (find_post(image, name, exports)) {
        exports->release_kind = BYTES_RELEASE_POST;
    } else if (named_is(image, "free", (struct signature){"p>", is_64}, &exports->release)) {
        exports->release_kind = BYTES_RELEASE_FREE;
        exports->is_by_realloc = !has_malloc; /* malloc and free belong together */
    } else {
        exports->release = realloc_func;
    }
    exports->allocate = exports->is_by_realloc ? realloc_func : malloc_func;
    return 0;
}

static bool main_memory_is_64(const struct image_code *code) {
    const uint32_t idx = image_main_memory(code);
    return idx < code->memories_count && (code->memories[idx].flags & HUSK_LIMIT_IS_64) != 0;
}

/* False: the function cannot be called. Then its call says why. */
static bool target_find(const struct image_code *code, husk_func func,
                        struct husk_exchange_func *ret_target) {
    const struct husk_image_func *row = image_func_callable(code, func);
    if (row == NULL)
        return false;
    ret_target->code_gva = row->code_gva;
    ret_target->thunk_gva = code->types[row->type_idx].thunk_gva;
    return true;
}

static void find_targets(const struct image_code *code, struct bytes_exports *exports) {
    exports->memory_idx = image_main_memory(code);
    if (exports->memory_idx < code->memories_count)
        exports->size_gva = code->memories[exports->memory_idx].size_gva;
    exports->has_targets = exports->memory_idx < code->memories_count &&
                           target_find(code, exports->allocate, &exports->allocate_target) &&
                           target_find(code, exports->func, &exports->call_target) &&
                           (exports->release_kind == BYTES_RELEASE_NONE ||
                            target_find(code, exports->release, &exports->release_target));
}

int bytes_exports_find(const husk_image *image, husk_func func, const struct image_name *name,
                       struct bytes_exports *ret_exports, struct husk_error *err) {
    struct bytes_exports exports = {.func = func, .is_64 = main_memory_is_64(image->code)};
    const struct image_name known = name->text != NULL ? *name : name_of(image->code, func);
    int status = find_form(image->code, &known, &exports, err);
    if (status == 0)
        status = find_allocator(image, &known, &exports, err);
    if (status == 0)
        find_targets(image->code, &exports);
    if (status == 0)
        *ret_exports = exports;
    return status;
}
