/* tests/support/built_image.c: see built_image.h. */
#include "built_image.h"

#include <stdlib.h>

#include "harness.h"

husk_image *built_image_open(struct image_builder *builder, husk_engine *engine) {
    struct husk_error err;
    husk_image *image = NULL;
    size_t count;
    uint8_t *bytes = builder_finish(builder, &count);
    builder_done(builder);
    CHECK_OK(husk_image_open_buffer(engine, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    free(bytes);
    return image;
}
