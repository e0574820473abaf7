/*
 * examples/example.c: see example.h.
 */
#include "example.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <husk_compile.h>

static unsigned char *read_file(const char *path, size_t *ret_count) {
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = NULL;
    long size = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    if (size >= 0 && fseek(file, 0, SEEK_SET) == 0)
        bytes = malloc((size_t)size + 1);
    if (bytes != NULL && fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        free(bytes);
        bytes = NULL;
    }
    if (file != NULL)
        fclose(file);
    *ret_count = (size_t)size;
    return bytes;
}

static int compile(husk_engine *engine, const char *path, husk_image **ret_image,
                   struct husk_error *err) {
    size_t count = 0;
    int fd = -1;
    unsigned char *wasm = read_file(path, &count);
    if (wasm == NULL) {
        snprintf(err->message, sizeof err->message, "cannot be read");
        return HUSK_E_SYS;
    }
    int status = husk_compile(wasm, count, NULL, &fd, err);
    free(wasm);
    if (status != 0)
        return status;
    status = husk_image_open_fd(
        engine, fd,
        &(struct husk_open_options){.size = sizeof(struct husk_open_options), .skips_hash = true},
        ret_image, err);
    close(fd);
    return status;
}

/* Images and snapshots are ELF files. */
static int is_image(const char *path) {
    char first[4] = "";
    FILE *file = fopen(path, "rb");
    int is_elf = file != NULL && fread(first, 1, 4, file) == 4 && memcmp(first, "\177ELF", 4) == 0;
    if (file != NULL)
        fclose(file);
    return is_elf;
}

husk_image *example_load(husk_engine *engine, const char *path) {
    struct husk_error err;
    husk_image *image = NULL;
    int status = is_image(path) != 0 ? husk_image_open(engine, path, NULL, &image, &err)
                                     : compile(engine, path, &image, &err);
    if (status != 0)
        fprintf(stderr, "%s: %s\n", path, err.message);
    return image;
}

int example_fail(struct husk_error *err, const char *what, const char *why) {
    snprintf(err->message, sizeof err->message, "%s%s", what, why);
    return HUSK_E_GUEST;
}

int example_call(const struct example_call *what, int32_t *ret_number, struct husk_error *err) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_value args[6], result;
    for (size_t i = 0; i < what->numbers->count; i++)
        args[i] = husk_i32(what->numbers->of[i]);
    limits.wall_ns = what->wall_ns;
    call.name = what->name;
    call.args = args;
    call.args_count = what->numbers->count;
    call.results = &result;
    call.results_count = ret_number != NULL;
    call.limits = &limits;
    int status = husk_call(what->sandbox, &call, &outcome, err);
    if (status == 0 && outcome.kind != HUSK_RETURNED)
        return example_fail(err, "", outcome.message);
    if (status == 0 && ret_number != NULL)
        *ret_number = result.of.i32;
    return status;
}
