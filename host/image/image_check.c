/*
 * host/image/image_check.c: checks the rows of the note's records once, when the image is opened.
 * Those that say where state lies in the guest's memory are in image_check_data.c. The rest of
 * libhusk relies on these checks and does not repeat them. The time is linear in the file's size.
 * Rows for traps and backtraces, and names of functions, are half of a large file and seldom
 * needed: image_places.c and image_func_names.c check those that are used, when they are used.
 *
 * Deliberately not checked, because the host does not depend on it: that code addresses are
 * function starts, that globals and tables do not overlap, and that the native code behaves like
 * the wasm. An error there harms only the guest.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_check.h"
#include "image_internal.h"

/* What only a newer husk writes: unknown flags, instances without a row, and (the next one) unknown
 * kinds. */
static int check_known(struct husk_error *err, const char *array, uint64_t idx, uint32_t unknown) {
    if (unknown == 0)
        return 0;
    return error_set(
        err, HUSK_E_IMAGE_VERSION,
        "%s %llu: a flag or an instance (0x%x) that this husk does not know" IMAGE_IS_NEWER, array,
        (unsigned long long)idx, unknown);
}

static int check_kind(struct husk_error *err, const char *array, uint64_t idx, uint32_t kind) {
    if (kind <= HUSK_ABI_TAG)
        return 0;
    return error_set(err, HUSK_E_IMAGE_VERSION,
                     "%s %llu: a kind (%u) that this husk does not know" IMAGE_IS_NEWER, array,
                     (unsigned long long)idx, kind);
}

/* 0, or the number of an instance that does not exist. */
static uint32_t unknown_instance(const struct image_code *code, uint32_t instance) {
    return instance < code->instances_count ? 0 : instance;
}

static int check_all_known(const struct image_code *code, struct husk_error *err) {
    const uint32_t flags =
        HUSK_IMAGE_NEEDS_INIT | HUSK_IMAGE_SNAPSHOT | HUSK_IMAGE_STRICT | HUSK_IMAGE_FILES;
    const uint32_t limit_flags = HUSK_LIMIT_HAS_MAX | HUSK_LIMIT_IS_64;
    int status = check_known(err, "module", 0, code->module.flags & ~flags);
    for (uint32_t i = 0; i < code->funcs_count && status == 0; i++)
        status = check_known(err, "function", i, unknown_instance(code, code->funcs[i].instance));
    for (uint32_t i = 0; i < code->imports_count && status == 0; i++)
        status = check_known(err, "import", i, unknown_instance(code, code->imports[i].instance));
    for (uint32_t i = 0; i < code->exports_count && status == 0; i++)
        status = check_known(err, "export", i, unknown_instance(code, code->exports[i].instance));
    for (uint32_t i = 0; i < code->imports_count && status == 0; i++)
        status = check_kind(err, "import", i, code->imports[i].kind);
    for (uint32_t i = 0; i < code->exports_count && status == 0; i++)
        status = check_kind(err, "export", i, code->exports[i].kind);
    for (uint32_t i = 0; i < code->memories_count && status == 0; i++)
        status = check_known(err, "memory", i,
                             (code->memories[i].flags & ~(limit_flags | HUSK_LIMIT_SHARED)) |
                                 unknown_instance(code, code->memories[i].instance) |
                                 code->memories[i].zero);
    for (uint32_t i = 0; i < code->tables_count && status == 0; i++)
        status = check_known(err, "table", i,
                             (code->tables[i].flags & ~limit_flags) |
                                 unknown_instance(code, code->tables[i].instance));
    for (uint32_t i = 0; i < code->globals_count && status == 0; i++)
        status = check_known(err, "global", i,
                             (code->globals[i].flags & ~HUSK_GLOBAL_MUTABLE) |
                                 unknown_instance(code, code->globals[i].instance));
    for (uint32_t i = 0; i < code->tags_count && status == 0; i++)
        status = check_known(err, "tag", i, unknown_instance(code, code->tags[i].instance));
    return status;
}

static int check_header(const struct image_code *code, struct husk_error *err) {
    const struct husk_image_module *module = &code->module;
    if (module->entry_gva != code->elf_entry)
        return image_bad_row(err, "module", 0,
                             "its dispatcher is not the ELF header's entry point");
    if (!image_in_text(code, module->entry_gva, 1) || !image_in_text(code, module->resume_gva, 1))
        return image_bad_row(err, "module", 0, "the dispatcher's addresses are outside the text");
    if (!image_is_code_or_zero(code, module->init_gva) ||
        !image_is_code_or_zero(code, module->init_thunk_gva))
        return image_bad_row(err, "module", 0, "the init function is outside the text");
    if ((module->flags & HUSK_IMAGE_NEEDS_INIT) != 0 && (module->flags & HUSK_IMAGE_SNAPSHOT) != 0)
        return image_bad_row(err, "module", 0, "a snapshot that still needs initialisation");
    if ((module->flags & HUSK_IMAGE_NEEDS_INIT) != 0 &&
        (module->init_gva == 0 || module->init_thunk_gva == 0))
        return image_bad_row(err, "module", 0, "needs initialisation, but has no init function");
    if (!image_is_code_or_zero(code, code->routines.many_gva) ||
        !image_is_code_or_zero(code, code->routines.bytes_gva))
        return image_bad_row(err, "routines", 0, "outside the text");
    if (!image_in_strings(code, module->compiler) || !image_in_strings(code, module->target_cpu) ||
        !image_in_strings(code, module->name))
        return image_bad_row(err, "module", 0, "a name outside the strings");
    return 0;
}

static int check_instances(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->instances_count; i++) {
        const struct husk_image_instance *instance = &code->instances[i];
        int status = check_known(err, "instance", i, instance->flags);
        if (status != 0)
            return status;
        if (!image_in_strings(code, instance->name))
            return image_bad_row(err, "instance", i, "its name is outside the strings");
        if (!image_is_code_or_zero(code, instance->init_gva))
            return image_bad_row(err, "instance", i, "its init function is outside the text");
        if (instance->init_gva != 0 && code->module.init_thunk_gva == 0)
            return image_bad_row(err, "instance", i, "an init function without a thunk");
        if (instance->memory_idx != UINT32_MAX && instance->memory_idx >= code->memories_count)
            return image_bad_row(err, "instance", i, "no such memory");
    }
    return 0;
}

static int check_types(const struct image_code *code, struct husk_error *err) {
    int status = 0;
    for (uint32_t i = 0; i < code->valtypes_count && status == 0; i++)
        status = image_check_valtype(err, "value type", i, code->valtypes[i]);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < code->types_count; i++) {
        const struct husk_image_type *type = &code->types[i];
        if (type->params_count > LIMIT_ARITY || type->results_count > LIMIT_ARITY)
            return image_bad_row(err, "type", i, "more than 1,000 parameters or results");
        uint32_t count = type->params_count + type->results_count;
        if (count > code->valtypes_count || type->valtypes_idx > code->valtypes_count - count)
            return image_bad_row(err, "type", i, "outside the value types");
        if (!image_is_code_or_zero(code, type->thunk_gva))
            return image_bad_row(err, "type", i, "its thunk is outside the text");
    }
    return 0;
}

static int check_funcs(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->funcs_count; i++) {
        const struct husk_image_func *func = &code->funcs[i];
        if (func->type_idx >= code->types_count)
            return image_bad_row(err, "function", i, "no such type");
        if (func->code_gva != 0 && !image_in_text(code, func->code_gva, func->code_bytes))
            return image_bad_row(err, "function", i, "its code is outside the text");
    }
    return 0;
}

/* How many there are in an index space; imports fill the first of each. */
static uint32_t kind_count(const struct image_code *code, uint32_t kind) {
    switch (kind) {
    case HUSK_ABI_FUNC: return code->funcs_count;
    case HUSK_ABI_TABLE: return code->tables_count;
    case HUSK_ABI_MEMORY: return code->memories_count;
    case HUSK_ABI_GLOBAL: return code->globals_count;
    case HUSK_ABI_TAG: return code->tags_count;
    default: return 0;
    }
}

static int check_imports(struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->imports_count; i++) {
        const struct husk_image_import *import = &code->imports[i];
        if (import->idx >= kind_count(code, import->kind))
            return image_bad_row(err, "import", i,
                                 "no such function, table, memory, global or tag");
        if (import->idx != code->imported_count[import->kind])
            return image_bad_row(err, "import", i,
                                 "imports must come first in their index space, in order");
        code->imported_count[import->kind]++;
        if (!image_in_strings(code, import->module) || !image_in_strings(code, import->name))
            return image_bad_row(err, "import", i, "its name is outside the strings");
    }
    return 0;
}

static int check_exports(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->exports_count; i++) {
        const struct husk_image_export *export = &code->exports[i];
        if (export->idx >= kind_count(code, export->kind))
            return image_bad_row(err, "export", i,
                                 "no such function, table, memory, global or tag");
        if (!image_in_strings(code, export->name))
            return image_bad_row(err, "export", i, "its name is outside the strings");
    }
    return 0;
}

static int check_files(const struct image_code *code, struct husk_error *err) {
    for (uint32_t i = 0; i < code->files_count; i++)
        if (!image_in_strings(code, code->files[i]))
            return image_bad_row(err, "source file", i, "its name is outside the strings");
    return 0;
}

bool image_state_next(const struct husk_image *image, uint32_t *at, struct image_state *ret_state) {
    struct husk_image_host_state row;
    uint64_t left = image->host_state_count - *at;
    if (left < sizeof row)
        return false;
    memcpy(&row, image->host_state + *at, sizeof row);
    left -= sizeof row;
    const uint64_t name_room = ((uint64_t)row.name_bytes + 7) & ~7ull;
    const uint64_t state_room = ((uint64_t)row.state_bytes + 7) & ~7ull;
    if (row.name_bytes == 0 || name_room > left || state_room > left - name_room)
        return false;
    const uint8_t *name = image->host_state + *at + sizeof row;
    *ret_state = (struct image_state){.name = (const char *)name,
                                      .name_bytes = row.name_bytes,
                                      .state = name + name_room,
                                      .state_bytes = row.state_bytes};
    *at += (uint32_t)(sizeof row + name_room + state_room);
    return true;
}

/* Records up to the end: a damaged one would else be taken for none, and the instance start with
 * fresh state. What is in them, the families of host functions check when they bring it back. */
static int check_host_state(const struct husk_image *image, struct husk_error *err) {
    struct image_state state;
    uint32_t at = 0, count = 0;
    while (image_state_next(image, &at, &state))
        count++;
    return at == image->host_state_count
               ? 0
               : image_bad_row(err, "host state", count,
                               "the record does not lie in the host state");
}

int image_check(const struct husk_image *image, struct husk_error *err) {
    struct image_code *code = image->code;
    int status = check_all_known(code, err);
    if (status == 0)
        status = check_header(code, err);
    if (status == 0)
        status = check_instances(code, err);
    if (status == 0)
        status = check_types(code, err);
    if (status == 0)
        status = check_funcs(code, err);
    if (status == 0)
        status = check_imports(code, err);
    if (status == 0)
        status = check_exports(code, err);
    if (status == 0)
        status = image_check_data(image, err);
    if (status == 0)
        status = check_files(code, err);
    if (status == 0)
        status = check_host_state(image, err);
    if (status == 0)
        status = image_check_standing(image, err);
    return status;
}

int husk_image_check(const husk_image *image, struct husk_error *err) {
    if (image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_check: a NULL argument");
    int status = image_check_rows(image->code, err);
    return status != 0 ? status : image_check_func_names(image->code, err);
}
