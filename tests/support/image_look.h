/* tests/support/image_look.h: asks the public API for all that it can say of an image. */
#ifndef TESTS_SUPPORT_IMAGE_LOOK_H
#define TESTS_SUPPORT_IMAGE_LOOK_H

#include <string.h>

#include "harness.h"
#include "husk.h"
#include "literals.h"

/* Under a sanitizer this reads every name and type. */
static inline size_t image_look_at(const husk_image *image) {
    size_t seen = 0;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    struct husk_extern item = HUSK_EXTERN_INIT;
    husk_image_info(image, &info);
    seen += strlen(info.compiler) + strlen(info.target_cpu) + strlen(info.module_name);
    for (size_t i = 0; i < husk_image_imports_count(image); i++) {
        CHECK_EQ_I64(husk_image_import(image, i, &item), 0);
        seen += strlen(item.module) + strlen(item.name) + item.func.params_count;
        CHECK(item.name[item.name_bytes] == '\0' && item.module[item.module_bytes] == '\0');
    }
    for (size_t i = 0; i < husk_image_exports_count(image); i++) {
        CHECK_EQ_I64(husk_image_export(image, i, &item), 0);
        seen += strlen(item.name);
        for (size_t j = 0; j < item.func.params_count; j++)
            seen += (size_t)item.func.params[j];
        husk_func func;
        struct husk_functype type;
        if (item.kind == HUSK_EXTERN_FUNC) {
            CHECK_EQ_I64(husk_image_func(image, item.name, item.name_bytes, &func, NULL), 0);
            CHECK_EQ_I64(husk_image_func_type(image, func, &type, NULL), 0);
        }
    }
    CHECK_EQ_I64(husk_image_import(image, husk_image_imports_count(image), &item), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_image_export(image, SIZE_MAX, &item), HUSK_E_INVAL);
    return seen;
}

/* Open it, and check what is not checked then. */
static inline int image_open_bytes(const void *bytes, size_t count, bool verify,
                                   struct husk_error *err) {
    husk_image *image = NULL;
    int status = husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count},
                                        verify ? NULL : SKIP_HASH, &image, err);
    CHECK((status == 0) == (image != NULL));
    if (status == 0) {
        image_look_at(image);
        status = husk_image_check(image, err);
    }
    husk_image_unref(image);
    return status;
}

#endif
