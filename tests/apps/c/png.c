/*
 * tests/apps/c/png.c: reads images with libpng, whole ones and damaged ones, whose errors come back
 * by longjmp(); and writes one.
 * png N FILE…: prints what is in each file, then what happens to N damaged copies of it.
 */
#include <png.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *data;
    size_t size, position;
};

static char message[256];

static void note_error(png_structp png, png_const_charp text) {
    snprintf(message, sizeof message, "%s", text);
    longjmp(png_jmpbuf(png), 1);
}

static void ignore_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep out, size_t size) {
    struct bytes *in = png_get_io_ptr(png);
    if (size > in->size - in->position)
        png_error(png, "the file ends too early");
    memcpy(out, in->data + in->position, size);
    in->position += size;
}

static void write_bytes(png_structp png, png_bytep data, size_t size) {
    struct bytes *out = png_get_io_ptr(png);
    if (size > out->size - out->position)
        png_error(png, "no room");
    memcpy(out->data + out->position, data, size);
    out->position += size;
}

/* FNV-1a of all rows; it says nothing else about the image. */
static uint64_t sum_rows(png_structp png, png_infop info, png_bytep row) {
    uint64_t sum = 0xcbf29ce484222325;
    for (int pass = png_set_interlace_handling(png); pass > 0; pass--)
        for (uint32_t y = 0; y < png_get_image_height(png, info); y++) {
            png_read_row(png, row, NULL);
            for (size_t i = 0; i < png_get_rowbytes(png, info); i++)
                sum = (sum ^ row[i]) * 0x100000001b3;
        }
    return sum;
}

/* 0, or 1 with a message if libpng gave up. */
static int read_image(struct bytes *in, char *said, size_t said_size) {
    png_bytep volatile row = NULL;
    png_structp png =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, note_error, ignore_warning);
    png_infop info = png_create_info_struct(png);
    in->position = 0;
    int failed = setjmp(png_jmpbuf(png));
    if (failed != 0)
        snprintf(said, said_size, "error: %s", message);
    else {
        png_set_user_limits(png, 4096, 4096);
        png_set_read_fn(png, in, read_bytes);
        png_read_info(png, info);
        png_set_expand(png);
        png_read_update_info(png, info);
        row = calloc(1, png_get_rowbytes(png, info));
        uint64_t sum = sum_rows(png, info, row);
        png_read_end(png, info);
        snprintf(said, said_size, "%ux%u, %u channels of %u bits, %016llx",
                 (unsigned)png_get_image_width(png, info),
                 (unsigned)png_get_image_height(png, info), png_get_channels(png, info),
                 png_get_bit_depth(png, info), (unsigned long long)sum);
    }
    free(row);
    png_destroy_read_struct(&png, &info, NULL);
    return failed;
}

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void read_damaged(const struct bytes *whole, int count) {
    char said[512];
    uint32_t random = 1;
    int failed = 0;
    struct bytes copy = {malloc(whole->size), whole->size, 0};
    for (int i = 0; i < count; i++) {
        memcpy(copy.data, whole->data, whole->size);
        copy.size = i % 4 == 0 ? next_random(&random) % whole->size : whole->size;
        copy.data[next_random(&random) % whole->size] ^= (uint8_t)(1 << i % 8);
        failed += read_image(&copy, said, sizeof said);
        printf("  %s\n", said);
    }
    printf("  %d of %d failed\n", failed, count);
    free(copy.data);
}

/* Fails by libpng's own checks without room, then inside zlib's output, then not. */
static void write_image(size_t room) {
    uint8_t out[4096], row[64 * 3];
    struct bytes bytes = {out, room, 0}, *volatile there = &bytes; /* longjmp() must find it */
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, note_error, ignore_warning);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png)) != 0)
        printf("written into %zu: error after %zu: %s\n", room, there->position, message);
    else {
        png_set_write_fn(png, there, write_bytes, NULL);
        png_set_IHDR(png, info, 64, room == 0 ? 0 : 64, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        for (int y = 0; y < 64; y++) {
            for (int i = 0; i < 64 * 3; i++)
                row[i] = (uint8_t)(i * y / 8);
            png_write_row(png, row);
        }
        png_write_end(png, info);
        printf("written into %zu: %zu bytes\n", room, bytes.position);
    }
    png_destroy_write_struct(&png, &info);
}

static struct bytes read_file(const char *path) {
    struct bytes file = {malloc(1 << 20), 0, 0};
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        perror(path);
        exit(2);
    }
    file.size = fread(file.data, 1, 1 << 20, stream);
    fclose(stream);
    return file;
}

int main(int argc, char **argv) {
    char said[512];
    for (int i = 2; i < argc; i++) {
        struct bytes file = read_file(argv[i]);
        read_image(&file, said, sizeof said);
        printf("%s: %s\n", strrchr(argv[i], '/'), said);
        read_damaged(&file, atoi(argv[1]));
        free(file.data);
    }
    for (size_t room = 0; room < 1536; room += 256)
        write_image(room);
    return 0;
}
