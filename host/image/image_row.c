/*
 * host/image/image_row.c: what the files that check rows say alike; see image_check.h.
 */
#include "error.h"
#include "image_check.h"
#include "image_internal.h"

int image_bad_row(struct husk_error *err, const char *array, uint64_t idx, const char *what) {
    return error_set(err, HUSK_E_BAD_IMAGE, "%s %llu: %s", array, (unsigned long long)idx, what);
}

int image_check_valtype(struct husk_error *err, const char *array, uint64_t idx, valtype_t type) {
    if (valtype_to_byte(type) != 0)
        return 0;
    if (valtype_kind(type) == VALTYPE_NONE)
        return image_bad_row(err, array, idx, "no such type");
    return error_set(err, HUSK_E_IMAGE_VERSION,
                     "%s %llu: a type (0x%x) that this husk does not know" IMAGE_IS_NEWER, array,
                     (unsigned long long)idx, type);
}

bool image_in_text(const struct image_code *code, uint64_t gva_value, uint64_t bytes) {
    return gva_value >= HUSK_TEXT_GVA && bytes <= code->text_file_bytes &&
           gva_value - HUSK_TEXT_GVA <= code->text_file_bytes - bytes;
}

bool image_in_strings(const struct image_code *code, struct husk_image_str str) {
    return str.bytes <= code->strings_count && str.offset <= code->strings_count - str.bytes;
}
