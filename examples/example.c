/*
 * examples/example.c: see example.h.
 */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <husk_compile.h>

static unsigned char *read_file(const char *path, size_t *ret_count) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)size + 1);
    if (bytes && fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        free(bytes);
        bytes = NULL;
    }
    if (file)
        fclose(file);
    *ret_count = (size_t)size;
    return bytes;
}

husk_image *example_load(husk_engine *engine, const char *path) {
    struct husk_error err;
    husk_image *image = NULL;
    size_t count = 0;
    int fd = -1;
    unsigned char *wasm = read_file(path, &count);
    if (!wasm) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return NULL;
    }
    if (husk_compile(wasm, count, NULL, &fd, &err) != 0 ||
        husk_image_open_fd(engine, fd, false, &image, &err) != 0)
        fprintf(stderr, "%s: %s\n", path, err.message);
    if (fd >= 0)
        close(fd);
    free(wasm);
    return image;
}
