/* host/image/image_check.h: what the files share that check an image's rows. */
#ifndef HOST_IMAGE_CHECK_H
#define HOST_IMAGE_CHECK_H

#include "image_internal.h"

/* image_row.c */
/* HUSK_E_BAD_IMAGE: what is wrong with the row of this number. */
int image_bad_row(struct husk_error *err, const char *array, uint64_t idx, const char *what);
int image_check_valtype(struct husk_error *err, const char *array, uint64_t idx, valtype_t type);
bool image_in_strings(const struct image_code *code, struct husk_image_str str);

static inline bool image_is_code_or_zero(const struct image_code *code, uint32_t gva_value) {
    return gva_value == 0 || image_in_text(code, gva_value, 1);
}

/* image_check_data.c: memories, tables, globals, tags, exceptions, hot pages, and segments. */
int image_check_data(const struct husk_image *image, struct husk_error *err);

#endif
