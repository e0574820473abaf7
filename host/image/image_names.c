/*
 * host/image/image_names.c: what the public API shows of a checked image: NUL-terminated names, types as arrays of husk_type,
 * and exports sorted by name.
 *
 * A name that has a NUL behind it in the image already is used where it is; any other is copied. Ranges may overlap, so
 * neither the copies nor the names are bounded by the file's size by themselves: both are limited here, for what looks at each name once
 * (sorting, symbols) to be linear.
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "name_text.h"

struct name_maker {
    const struct husk_image *image;
    char *block;          /* NULL in the first pass, which only counts */
    uint64_t used;        /* of the block */
    uint64_t names_bytes; /* of all names, wherever they are */
};

static struct image_name name_make(struct name_maker *maker, struct husk_image_str str) {
    const struct husk_image *image = maker->image;
    if (str.bytes == 0)
        return (struct image_name){"", 0};
    maker->names_bytes += str.bytes;
    const char *text = (const char *)image->strings + str.offset;
    uint64_t end = (uint64_t)str.offset + str.bytes;
    if (end < image->strings_count && image->strings[end] == 0)
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

static void names_pass(struct husk_image *image, struct name_maker *maker) {
    for (uint32_t i = 0; i < image->funcs_count; i++)
        image->func_names[i] = name_make(maker, image->funcs[i].name);
    for (uint32_t i = 0; i < image->files_count; i++)
        image->file_names[i] = name_make(maker, image->files[i]);
    for (uint32_t i = 0; i < image->imports_count; i++) {
        image->import_modules[i] = name_make(maker, image->imports[i].module);
        image->import_names[i] = name_make(maker, image->imports[i].name);
    }
    for (uint32_t i = 0; i < image->exports_count; i++)
        image->export_names[i] = name_make(maker, image->exports[i].name);
    for (uint32_t i = 0; i < image->imports_count; i++) { /* backtraces name host functions, too */
        const struct husk_image_import *import = &image->imports[i];
        if (import->kind == HUSK_ABI_FUNC && image->funcs[import->idx].name.bytes == 0)
            image->func_names[import->idx] = image->import_names[i];
    }
    image->compiler = name_make(maker, image->note.compiler);
    image->target_cpu = name_make(maker, image->note.target_cpu);
    image->module_name = name_make(maker, image->note.module_name);
}

static int name_compare(const struct image_name *a, const struct image_name *b) {
    size_t common = a->bytes < b->bytes ? a->bytes : b->bytes;
    int order = common == 0 ? 0 : memcmp(a->text, b->text, common);
    if (order != 0)
        return order;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static int export_compare(const void *a, const void *b, void *context) {
    const struct husk_image *image = context;
    return name_compare(&image->export_names[*(const uint32_t *)a],
                        &image->export_names[*(const uint32_t *)b]);
}

static int sort_exports(struct husk_image *image, struct husk_error *err) {
    struct name_text shown;
    for (uint32_t i = 0; i < image->exports_count; i++)
        image->exports_by_name[i] = i;
    if (image->exports_count > 1) /* glibc: merge sort, so no quadratic case for hostile names */
        qsort_r(image->exports_by_name, image->exports_count, sizeof(uint32_t), export_compare, image);
    for (uint32_t i = 1; i < image->exports_count; i++) {
        const struct image_name *name = &image->export_names[image->exports_by_name[i]];
        if (name_compare(&image->export_names[image->exports_by_name[i - 1]], name) == 0)
            return error_set(err, HUSK_E_BAD_IMAGE, "two exports are named \"%s\"",
                             name_show(&shown, name->text, name->bytes));
    }
    return 0;
}

struct export_key {
    const struct husk_image *image;
    struct image_name name;
};

static int export_key_compare(const void *key, const void *export_idx) {
    const struct export_key *wanted = key;
    return name_compare(&wanted->name, &wanted->image->export_names[*(const uint32_t *)export_idx]);
}

uint32_t image_export_find(const struct husk_image *image, const char *name, size_t name_bytes) {
    const struct export_key wanted = {image, {name, name_bytes}};
    const uint32_t *found =
        bsearch(&wanted, image->exports_by_name, image->exports_count, sizeof *found, export_key_compare);
    return found == NULL ? UINT32_MAX : *found;
}

/* calloc(0) may give NULL: ask for one more. */
static void *array_new(size_t count, size_t elem_bytes) {
    return calloc(count + 1, elem_bytes);
}

static int arrays_new(struct husk_image *image, struct husk_error *err) {
    image->valtypes_public = array_new(image->valtypes_count, sizeof *image->valtypes_public);
    image->func_names = array_new(image->funcs_count, sizeof *image->func_names);
    image->file_names = array_new(image->files_count, sizeof *image->file_names);
    image->import_modules = array_new(image->imports_count, sizeof *image->import_modules);
    image->import_names = array_new(image->imports_count, sizeof *image->import_names);
    image->export_names = array_new(image->exports_count, sizeof *image->export_names);
    image->exports_by_name = array_new(image->exports_count, sizeof *image->exports_by_name);
    if (image->valtypes_public == NULL || image->func_names == NULL || image->file_names == NULL ||
        image->import_modules == NULL || image->import_names == NULL || image->export_names == NULL ||
        image->exports_by_name == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's names");
    return 0;
}

int image_names_make(struct husk_image *image, struct husk_error *err) {
    int status = arrays_new(image, err);
    if (status != 0)
        return status;
    for (uint32_t i = 0; i < image->valtypes_count; i++)
        image->valtypes_public[i] = (husk_type)image->valtypes[i];
    struct name_maker maker = {.image = image};
    names_pass(image, &maker);
    if (maker.used > image->file->count + LIMIT_NAME_COPY_SLACK_BYTES ||
        maker.names_bytes > image->file->count + LIMIT_NAMES_SLACK_BYTES)
        return error_set(err, HUSK_E_BAD_IMAGE, "names of %llu bytes in a file of %llu bytes",
                         (unsigned long long)maker.names_bytes, (unsigned long long)image->file->count);
    image->names_block = malloc(maker.used + 1);
    if (image->names_block == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's names");
    maker = (struct name_maker){.image = image, .block = image->names_block};
    names_pass(image, &maker);
    return sort_exports(image, err);
}

void image_names_done(struct husk_image *image) {
    free(image->valtypes_public);
    free(image->func_names);
    free(image->file_names);
    free(image->import_modules);
    free(image->import_names);
    free(image->export_names);
    free(image->exports_by_name);
    free(image->names_block);
}
