/*
 * host/image/image_names.c: prepares a checked image for the public API: NUL-terminated names,
 * types as arrays of husk_type, and exports sorted by name. Names of functions are made when they
 * are asked for (image_func_names.c).
 *
 * If a NUL follows a name in the image, the name is used in place; otherwise it is copied. Ranges
 * of names may overlap, so the file's size does not bound the copies or the names. Both are limited
 * here, so that sorting and symbols take linear time.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "name_text.h"

struct name_maker {
    const struct image_code *code;
    char *block;          /* NULL in the first pass, which only counts */
    uint64_t used;        /* of the block */
    uint64_t names_bytes; /* of all names, wherever they are */
};

static struct image_name name_make(struct name_maker *maker, struct husk_image_str str) {
    const struct image_code *code = maker->code;
    if (str.bytes == 0)
        return (struct image_name){"", 0};
    maker->names_bytes += str.bytes;
    const char *text = (const char *)code->strings + str.offset;
    uint64_t end = (uint64_t)str.offset + str.bytes;
    if (end < code->strings_count && code->strings[end] == 0)
        return (struct image_name){text, str.bytes};
    char *copy = NULL;
    if (maker->block != NULL) {
        copy = maker->block + maker->used;
        memcpy(copy, text, str.bytes);
        copy[str.bytes] = 0;
    }
    maker->used += (uint64_t)str.bytes + 1;
    return (struct image_name){copy, str.bytes};
}

/* The name of an instance's init function, for backtraces. */
static struct image_name init_name_make(struct name_maker *maker, struct husk_image_str instance) {
    static const char suffix[] = "/" IMAGE_INIT_NAME;
    const size_t bytes = (size_t)instance.bytes + sizeof suffix - 1;
    char *copy = NULL;
    if (maker->block != NULL) {
        copy = maker->block + maker->used;
        memcpy(copy, maker->code->strings + instance.offset, instance.bytes);
        memcpy(copy + instance.bytes, suffix, sizeof suffix);
    }
    maker->used += bytes + 1;
    maker->names_bytes += bytes;
    return (struct image_name){copy, bytes};
}

static void names_pass(struct image_code *code, struct name_maker *maker) {
    for (uint32_t i = 0; i < code->files_count; i++)
        code->file_names[i] = name_make(maker, code->files[i]);
    for (uint32_t i = 0; i < code->imports_count; i++) {
        code->import_modules[i] = name_make(maker, code->imports[i].module);
        code->import_names[i] = name_make(maker, code->imports[i].name);
    }
    for (uint32_t i = 0; i < code->exports_count; i++)
        code->export_names[i] = name_make(maker, code->exports[i].name);
    for (uint32_t i = 0; i < code->instances_count; i++)
        code->init_names[i] = init_name_make(maker, code->instances[i].name);
    code->compiler = name_make(maker, code->module.compiler);
    code->target_cpu = name_make(maker, code->module.target_cpu);
    code->module_name = name_make(maker, code->module.name);
}

static void name_tags(struct image_code *code) {
    for (uint32_t i = 0; i < code->imports_count; i++)
        if (code->imports[i].kind == HUSK_ABI_TAG)
            code->tag_names[code->imports[i].idx] =
                (struct image_tag_name){&code->import_modules[i], &code->import_names[i]};
    for (uint32_t i = code->exports_count; i-- > 0;)
        if (code->exports[i].kind == HUSK_ABI_TAG)
            code->tag_names[code->exports[i].idx] =
                (struct image_tag_name){NULL, &code->export_names[i]};
}

static int name_compare(const struct image_name *a, const struct image_name *b) {
    size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = common == 0 ? 0 : memcmp(a->text, b->text, common);
    if (order != 0)
        return order;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static int export_compare(const void *a, const void *b, void *context) {
    const struct image_code *code = context;
    return name_compare(&code->export_names[*(const uint32_t *)a],
                        &code->export_names[*(const uint32_t *)b]);
}

static int sort_exports(struct image_code *code, struct husk_error *err) {
    struct name_text shown;
    for (uint32_t i = 0; i < code->exports_count; i++)
        code->exports_by_name[i] = i;
    if (code->exports_count > 1) /* glibc: merge sort, so no quadratic case for hostile names */
        qsort_r(code->exports_by_name, code->exports_count, sizeof(uint32_t), export_compare, code);
    for (uint32_t i = 1; i < code->exports_count; i++) {
        const struct image_name *name = &code->export_names[code->exports_by_name[i]];
        if (name_compare(&code->export_names[code->exports_by_name[i - 1]], name) == 0)
            return error_set(err, HUSK_E_BAD_IMAGE, "two exports are named \"%s\"",
                             name_show(&shown, name->text, name->bytes));
    }
    return 0;
}

struct export_key {
    const struct image_code *code;
    struct image_name name;
};

static int export_key_compare(const void *key, const void *export_idx) {
    const struct export_key *wanted = key;
    return name_compare(&wanted->name, &wanted->code->export_names[*(const uint32_t *)export_idx]);
}

uint32_t image_export_find(const struct husk_image *image, const char *name, size_t name_bytes) {
    const struct image_code *code = image->code;
    const struct export_key wanted = {code, {name, name_bytes}};
    const uint32_t *found = bsearch(&wanted, code->exports_by_name, code->exports_count,
                                    sizeof *found, export_key_compare);
    return found == NULL ? UINT32_MAX : *found;
}

struct prefixed_key {
    const struct image_code *code;
    struct image_name prefix, rest;
};

static int prefixed_key_compare(const void *key, const void *export_idx) {
    const struct prefixed_key *wanted = key;
    struct image_name name = wanted->code->export_names[*(const uint32_t *)export_idx];
    struct image_name start = name;
    if (start.bytes > wanted->prefix.bytes)
        start.bytes = wanted->prefix.bytes;
    int order = name_compare(&wanted->prefix, &start);
    if (order != 0)
        return order;
    name.text += start.bytes;
    name.bytes -= start.bytes;
    return name_compare(&wanted->rest, &name);
}

uint32_t image_export_find_prefixed(const struct husk_image *image, const char *prefix,
                                    const struct image_name *rest) {
    const struct image_code *code = image->code;
    const struct prefixed_key wanted = {code, {prefix, strlen(prefix)}, *rest};
    const uint32_t *found = bsearch(&wanted, code->exports_by_name, code->exports_count,
                                    sizeof *found, prefixed_key_compare);
    return found == NULL ? UINT32_MAX : *found;
}

/* calloc(0) may give NULL: ask for one more. */
static void *array_new(size_t count, size_t elem_bytes) {
    return calloc(count + 1, elem_bytes);
}

static int arrays_new(struct image_code *code, struct husk_error *err) {
    code->valtypes_public = array_new(code->valtypes_count, sizeof *code->valtypes_public);
    code->file_names = array_new(code->files_count, sizeof *code->file_names);
    code->import_modules = array_new(code->imports_count, sizeof *code->import_modules);
    code->import_names = array_new(code->imports_count, sizeof *code->import_names);
    code->export_names = array_new(code->exports_count, sizeof *code->export_names);
    code->exports_by_name = array_new(code->exports_count, sizeof *code->exports_by_name);
    code->init_names = array_new(code->instances_count, sizeof *code->init_names);
    code->tag_names = array_new(code->tags_count, sizeof *code->tag_names);
    if (code->tag_names == NULL || code->init_names == NULL || code->valtypes_public == NULL ||
        code->file_names == NULL || code->import_modules == NULL || code->import_names == NULL ||
        code->export_names == NULL || code->exports_by_name == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's names");
    return 0;
}

int image_names_make(struct image_code *code, struct husk_error *err) {
    int status = arrays_new(code, err);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < code->valtypes_count; i++)
        code->valtypes_public[i] = (husk_type)valtype_to_byte(code->valtypes[i]);
    struct name_maker maker = {.code = code};
    names_pass(code, &maker);
    if (maker.used > code->file->count + LIMIT_NAME_COPY_SLACK_BYTES ||
        maker.names_bytes > code->file->count + LIMIT_NAMES_SLACK_BYTES)
        return error_set(err, HUSK_E_BAD_IMAGE, "names of %llu bytes in a file of %llu bytes",
                         (unsigned long long)maker.names_bytes,
                         (unsigned long long)code->file->count);
    code->names_block = malloc(maker.used + 1);
    if (code->names_block == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's names");
    maker = (struct name_maker){.code = code, .block = code->names_block};
    names_pass(code, &maker);
    name_tags(code);
    status = image_func_names_make(code, err);
    return status != 0 ? status : sort_exports(code, err);
}

void image_names_done(struct image_code *code) {
    image_func_names_done(code);
    free(code->valtypes_public);
    free(code->init_names);
    free(code->tag_names);
    free(code->file_names);
    free(code->import_modules);
    free(code->import_names);
    free(code->export_names);
    free(code->exports_by_name);
    free(code->names_block);
}
