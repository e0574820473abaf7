/*
 * tests/apps/simd/png_filter.c: "-e W H CHANNELS" writes the raw pixels on standard input as PNG;
 * without it, a PNG becomes raw pixels.
 */
#include <string.h>

#include "filter.h"
#include "png.h"

static void encode(struct bytes pixels, char **numbers) {
    static const png_uint_32 formats[] = {0, PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB,
                                          PNG_FORMAT_RGBA};
    int channels = atoi(numbers[2]);
    png_image image = {.version = PNG_IMAGE_VERSION};
    image.width = (png_uint_32)atoi(numbers[0]);
    image.height = (png_uint_32)atoi(numbers[1]);
    if (channels < 1 || channels > 4)
        filter_fail("1 to 4 channels");
    image.format = formats[channels];
    if (pixels.count < PNG_IMAGE_SIZE(image))
        filter_fail("too few pixels");
    png_alloc_size_t count = PNG_IMAGE_PNG_SIZE_MAX(image);
    void *output = malloc(count);
    if (output == NULL ||
        !png_image_write_to_memory(&image, output, &count, 0, pixels.data, 0, NULL))
        filter_fail(image.message);
    filter_output(output, count);
}

static void decode(struct bytes input) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(&image, input.data, input.count))
        filter_fail(image.message);
    image.format &= PNG_FORMAT_FLAG_ALPHA | PNG_FORMAT_FLAG_COLOR; /* 8 bits a channel */
    void *pixels = malloc(PNG_IMAGE_SIZE(image));
    if (pixels == NULL || !png_image_finish_read(&image, NULL, pixels, 0, NULL))
        filter_fail(image.message);
    filter_output(pixels, PNG_IMAGE_SIZE(image));
}

int main(int argc, char **argv) {
    struct bytes input = filter_input();
    if (argc == 5 && strcmp(argv[1], "-e") == 0)
        encode(input, argv + 2);
    else
        decode(input);
    return 0;
}
