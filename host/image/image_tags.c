/*
 * host/image/image_tags.c: the handles of an image's tags (husk_tag). As for functions, a handle
 * has the mark of the module and an index; it prevents mistakes, not attacks.
 */
#include "error.h"
#include "image_internal.h"
#include "name_text.h"
#include "options.h"

/* A bit in the second half of a husk_tag, so that a handle of zeros is invalid. Deliberately not
 * the bit of functions. */
#define TAG_IS_SET (1ull << 33)

husk_tag image_tag_make(const struct image_code *code, uint32_t tag_idx) {
    return (husk_tag){{image_module_mark(code), TAG_IS_SET | tag_idx}};
}

uint32_t image_tag_idx(const struct image_code *code, husk_tag tag) {
    const uint64_t idx = tag.opaque[1] ^ TAG_IS_SET;
    return tag.opaque[0] == image_module_mark(code) && idx < code->tags_count ? (uint32_t)idx
                                                                              : UINT32_MAX;
}

int image_tag_refuse(const struct image_code *code, husk_tag tag, struct husk_error *err) {
    if (tag.opaque[1] >> 32 != TAG_IS_SET >> 32)
        return error_set(err, HUSK_E_INVAL, "this husk_tag was never set (husk_image_tag())");
    if (tag.opaque[0] != image_module_mark(code))
        return error_set(
            err, HUSK_E_INVAL,
            "the husk_tag is of another module than the one in the sandbox; find it in "
            "an image of the sandbox's module");
    return error_set(err, HUSK_E_INVAL, "tag %u does not exist; the module has %u",
                     (uint32_t)tag.opaque[1], code->tags_count);
}

int husk_image_tag(const husk_image *image, const char *name, size_t name_bytes, husk_tag *ret_tag,
                   struct husk_error *err) {
    struct name_text shown;
    if (image == NULL || name == NULL || ret_tag == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_tag: a NULL argument");
    const struct image_code *code = image->code;
    const size_t bytes = name_length(name, name_bytes);
    const uint32_t idx = image_export_find(image, name, bytes);
    if (idx == UINT32_MAX)
        return error_set(err, HUSK_E_NOT_FOUND, "the module exports nothing named \"%s\"",
                         name_show(&shown, name, bytes));
    if (code->exports[idx].kind != HUSK_ABI_TAG)
        return error_set(err, HUSK_E_NOT_FOUND, "the export \"%s\" is not a tag",
                         name_show(&shown, name, bytes));
    *ret_tag = image_tag_make(code, code->exports[idx].idx);
    return 0;
}

static bool is_named(const struct image_name *name, const char *text, size_t bytes) {
    return name->bytes == bytes && memcmp(name->text, text, bytes) == 0;
}

int husk_image_import_tag(const husk_image *image, const struct husk_extern *item,
                          husk_tag *ret_tag, struct husk_error *err) {
    struct husk_extern wanted;
    struct name_text shown, shown_module;
    if (image == NULL || item == NULL || ret_tag == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_import_tag: a NULL argument");
    int status = extern_read(item, &wanted, err);
    if (status != 0)
        return status;
    if (wanted.module == NULL || wanted.name == NULL)
        return error_set(err, HUSK_E_INVAL, "an imported tag has a module name and a name");
    const struct image_code *code = image->code;
    const size_t module_bytes = name_length(wanted.module, wanted.module_bytes);
    const size_t name_bytes = name_length(wanted.name, wanted.name_bytes);
    for (uint32_t i = 0; i < code->imports_count; i++) {
        if (code->imports[i].kind != HUSK_ABI_TAG ||
            !is_named(&code->import_names[i], wanted.name, name_bytes) ||
            !is_named(&code->import_modules[i], wanted.module, module_bytes))
            continue;
        *ret_tag = image_tag_make(code, code->imports[i].idx);
        return 0;
    }
    return error_set(err, HUSK_E_NOT_FOUND, "the module imports no tag \"%s.%s\"",
                     name_show(&shown_module, wanted.module, module_bytes),
                     name_show(&shown, wanted.name, name_bytes));
}

int husk_image_tag_type(const husk_image *image, husk_tag tag, struct husk_functype *ret_type,
                        struct husk_error *err) {
    if (image == NULL || ret_type == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_tag_type: a NULL argument");
    const uint32_t idx = image_tag_idx(image->code, tag);
    if (idx == UINT32_MAX)
        return image_tag_refuse(image->code, tag, err);
    *ret_type = image_functype(image->code, image->code->tags[idx].type_idx);
    return 0;
}
