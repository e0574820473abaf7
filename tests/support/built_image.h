/* tests/support/built_image.h: an image that was built row by row, opened. */
#ifndef TESTS_SUPPORT_BUILT_IMAGE_H
#define TESTS_SUPPORT_BUILT_IMAGE_H

#include "husk.h"
#include "image_builder.h"

/* Finishes and releases the builder. The caller has the image's reference. */
husk_image *built_image_open(struct image_builder *builder, husk_engine *engine);

#endif
