/* host/image/image.c: the public API's information about an open image. */
#include <string.h>

#include "image_internal.h"
#include "layout.h"
#include "options.h"

size_t husk_image_imports_count(const husk_image *image) {
    return image->code->imports_count;
}

size_t husk_image_exports_count(const husk_image *image) {
    return image->code->exports_count;
}

static void extern_describe(const struct image_code *code, uint32_t kind, uint32_t idx,
                            struct husk_extern *ret_extern) {
    static const enum husk_extern_kind kinds[] = {HUSK_EXTERN_FUNC, HUSK_EXTERN_TABLE,
                                                  HUSK_EXTERN_MEMORY, HUSK_EXTERN_GLOBAL,
                                                  HUSK_EXTERN_TAG};
    ret_extern->kind = kinds[kind];
    ret_extern->idx = idx;
    switch (kind) {
    case HUSK_ABI_FUNC: ret_extern->func = image_functype(code, code->funcs[idx].type_idx); break;
    case HUSK_ABI_TABLE:
        ret_extern->min = code->tables[idx].min_entries;
        ret_extern->max = code->tables[idx].max_entries;
        ret_extern->has_max = (code->tables[idx].flags & HUSK_LIMIT_HAS_MAX) != 0;
        ret_extern->is_64 = (code->tables[idx].flags & HUSK_LIMIT_IS_64) != 0;
        ret_extern->type = (husk_type)valtype_to_byte(code->tables[idx].elem_type);
        break;
    case HUSK_ABI_MEMORY:
        ret_extern->min = code->memories[idx].min_pages;
        ret_extern->max = code->memories[idx].max_pages;
        ret_extern->has_max = (code->memories[idx].flags & HUSK_LIMIT_HAS_MAX) != 0;
        ret_extern->is_shared = (code->memories[idx].flags & HUSK_LIMIT_SHARED) != 0;
        ret_extern->is_64 = (code->memories[idx].flags & HUSK_LIMIT_IS_64) != 0;
        break;
    case HUSK_ABI_TAG: ret_extern->func = image_functype(code, code->tags[idx].type_idx); break;
    default:
        ret_extern->type = (husk_type)valtype_to_byte(code->globals[idx].type);
        ret_extern->is_mutable = (code->globals[idx].flags & HUSK_GLOBAL_MUTABLE) != 0;
        break;
    }
}

int husk_image_import(const husk_image *image, size_t idx, struct husk_extern *ret_extern) {
    if (image == NULL || idx >= image->code->imports_count ||
        output_check("husk_extern", ret_extern, NULL) != 0)
        return HUSK_E_INVAL;
    const struct image_code *code = image->code;
    struct husk_extern result = {.module = code->import_modules[idx].text,
                                 .module_bytes = code->import_modules[idx].bytes,
                                 .name = code->import_names[idx].text,
                                 .name_bytes = code->import_names[idx].bytes};
    extern_describe(code, code->imports[idx].kind, code->imports[idx].idx, &result);
    output_fill(ret_extern, &result, sizeof result);
    return 0;
}

int husk_image_export(const husk_image *image, size_t idx, struct husk_extern *ret_extern) {
    if (image == NULL || idx >= image->code->exports_count ||
        output_check("husk_extern", ret_extern, NULL) != 0)
        return HUSK_E_INVAL;
    const struct image_code *code = image->code;
    struct husk_extern result = {.name = code->export_names[idx].text,
                                 .name_bytes = code->export_names[idx].bytes};
    extern_describe(code, code->exports[idx].kind, code->exports[idx].idx, &result);
    output_fill(ret_extern, &result, sizeof result);
    return 0;
}

int husk_image_info(const husk_image *image, struct husk_image_info *ret_info) {
    int status = image == NULL ? HUSK_E_INVAL : output_check("husk_image_info", ret_info, NULL);
    if (status != 0)
        return status;
    const struct image_code *code = image->code;
    struct husk_image_info info = {.target_cpu = code->target_cpu.text,
                                   .compiler = code->compiler.text,
                                   .module_name = code->module_name.text,
                                   .cpu_features = code->module.cpu_features,
                                   .opt_level = (int)code->module.opt_level,
                                   .text_bytes = code->text_file_bytes,
                                   .rodata_bytes = code->rodata_file_bytes,
                                   .functions_count = code->funcs_count,
                                   .types_count = code->types_count,
                                   .memories_count = code->memories_count,
                                   .tables_count = code->tables_count,
                                   .globals_count = code->globals_count,
                                   .tags_count = code->tags_count,
                                   .instances_count =
                                       code->instances_count == 0 ? 1 : code->instances_count,
                                   .needs_init = (image->flags & HUSK_IMAGE_NEEDS_INIT) != 0,
                                   .has_lines = code->lines_count != 0,
                                   .is_strict = (image->flags & HUSK_IMAGE_STRICT) != 0};
    info.files_bytes = image->files_bytes;
    memcpy(info.wasm_sha256, code->header.wasm_sha256, sizeof info.wasm_sha256);
    for (uint32_t i = 0; i < image->runs_count; i++)
        if (image->runs[i].gva < HUSK_DATA_END_GVA)
            info.data_bytes += image->runs[i].bytes;
        else if (!husk_is_files_gva(image->runs[i].gva) && !image_is_stack_gva(image->runs[i].gva))
            info.memory_bytes += image->runs[i].bytes;
    for (uint32_t i = 0; i < code->memories_count; i++)
        info.memory_pages += image->memory_sizes[i];
    for (uint32_t i = 0; i < code->tables_count; i++)
        info.table_entries += image->table_sizes[i];
    output_fill(ret_info, &info, sizeof info);
    return 0;
}
