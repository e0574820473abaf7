/*
 * oci/program.c: finds what a container starts, and whether Husk is to run it. The file's first
 * bytes decide, so that a pod's other containers (pause, sidecars) run natively, whatever its
 * annotations say. Names and annotations only turn a file that cannot be run at all into an error
 * that says why.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "auto.h"
#include "husk_compile.h"
#include "oci.h"

#define FIRST_BYTES 64

/* What the config says of the program that is to start. Borrowed. */
struct start {
    const char *word; /* args[0] */
    const char *cwd;
    const char *path; /* the variable PATH, or NULL */
};

static const char *find_path(struct json_object *env) {
    const char *found = NULL;
    for (size_t i = 0; env != NULL && i < json_object_array_length(env); i++) {
        struct json_object *row = json_object_array_get_idx(env, i);
        if (json_object_is_type(row, json_type_string) &&
            strncmp(json_object_get_string(row), "PATH=", 5) == 0)
            found = json_object_get_string(row) + 5;
    }
    return found;
}

static int check_strings(struct json_object *array, const char *name, struct husk_error *err) {
    for (size_t i = 0; array != NULL && i < json_object_array_length(array); i++)
        if (!json_object_is_type(json_object_array_get_idx(array, i), json_type_string))
            return error_set(err, HUSK_E_INVAL, "config.json: %s has a row that is not a string",
                             name);
    return 0;
}

static int read_start(struct json_object *config, struct start *ret_start, struct husk_error *err) {
    struct json_object *process, *args = NULL, *env = NULL;
    int status = json_member(config, "", "process", json_type_object, &process, err);
    if (status == 0 && process == NULL)
        return error_set(err, HUSK_E_INVAL, "config.json has no process");
    if (status == 0)
        status = json_member(process, "process.", "args", json_type_array, &args, err);
    if (status == 0)
        status = json_member(process, "process.", "env", json_type_array, &env, err);
    if (status == 0)
        status = json_string_member(process, "process.", "cwd", &ret_start->cwd, err);
    if (status == 0)
        status = check_strings(args, "process.args", err);
    if (status == 0)
        status = check_strings(env, "process.env", err);
    if (status != 0)
        return status;
    if (args == NULL || json_object_array_length(args) == 0)
        return error_set(err, HUSK_E_INVAL, "config.json has no process.args: what is to start?");
    ret_start->word = json_object_get_string(json_object_array_get_idx(args, 0));
    ret_start->path = find_path(env);
    return 0;
}

/* folder/name, in the container. */
static int open_in(const struct guest_tree *tree, const char *folder, int folder_bytes,
                   const char *name, char **ret_path) {
    auto_free char *path = NULL;
    if (asprintf(&path, "%.*s/%s", folder_bytes, folder, name) < 0) {
        path = NULL;
        return -1;
    }
    return guest_tree_file(tree, path, ret_path);
}

/* As a runtime looks for it: a name without "/" in PATH. Also in the working directory: images
 * that hold one module often start it by its bare name. -1: errno. */
static int open_start(const struct guest_tree *tree, const struct start *start, char **ret_path) {
    const char *cwd = start->cwd != NULL ? start->cwd : "/", *path = start->path;
    if (start->word[0] == '/')
        return guest_tree_file(tree, start->word, ret_path);
    while (strchr(start->word, '/') == NULL && path != NULL && *path != '\0') {
        const size_t bytes = strcspn(path, ":");
        const int fd = bytes > 0 ? open_in(tree, path, (int)bytes, start->word, ret_path) : -1;
        if (fd >= 0)
            return fd;
        path += bytes;
        path += *path == ':';
    }
    return open_in(tree, cwd, (int)strlen(cwd), start->word, ret_path);
}

/* ---- What it is ---- */

static bool ends_with(const char *text, const char *end) {
    const size_t text_bytes = strlen(text), end_bytes = strlen(end);
    return text_bytes > end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

static bool has_wasm_name(const char *word) {
    return ends_with(word, ".wasm") || ends_with(word, ".husk");
}

/* crun's annotation, the one that it shares with containerd's shims, and ours. */
static bool is_annotated(struct json_object *config) {
    const char *variant = annotation(config, "module.wasm.image/variant"),
               *handler = annotation(config, "run.oci.handler"),
               *own = annotation(config, "husk.handler");
    return (variant != NULL && strcmp(variant, "compat") == 0) ||
           (handler != NULL && strncmp(handler, "wasm", 4) == 0) ||
           (own != NULL && strcmp(own, "wasm") == 0);
}

/* 0: an image of ours, and what is to be known of it. */
static int examine_image(struct program *program, struct husk_error *err) {
    struct husk_open_options options = HUSK_OPEN_OPTIONS_INIT;
    struct husk_standing standing = HUSK_STANDING_INIT;
    husk_image *image = NULL;
    options.skips_hash = true; /* husk compares it when it runs the image */
    int status = husk_image_open_fd(NULL, program->fd, &options, &image, err);
    if (status == 0)
        program->is_standing = husk_image_standing(image, &standing, NULL) == 0;
    husk_image_unref(image);
    return status;
}

static int classify(const struct start *start, bool is_annotated, struct program *program,
                    struct husk_error *err) {
    uint8_t first[FIRST_BYTES];
    const ssize_t got = pread(program->fd, first, sizeof first, 0);
    const size_t count = got > 0 ? (size_t)got : 0;
    const bool is_elf = count >= 4 && memcmp(first, "\177ELF", 4) == 0;
    const bool is_script = count >= 2 && memcmp(first, "#!", 2) == 0;
    program->kind = PROGRAM_NATIVE;
    if (husk_is_wasm(first, count)) {
        program->kind = PROGRAM_MODULE;
        return 0;
    }
    int status = is_elf ? examine_image(program, err) : HUSK_E_BAD_WASM;
    if (status == 0)
        program->kind = PROGRAM_IMAGE;
    /* a native program is a bad image; other errors are those of images of ours */
    if (status == 0 || (is_elf && status == HUSK_E_BAD_IMAGE && !has_wasm_name(start->word)))
        return 0;
    if (is_elf)
        return error_while(err, status, "opening %s", start->word);
    if (is_script || (!has_wasm_name(start->word) && !is_annotated))
        return 0;
    return error_set(err, HUSK_E_BAD_WASM, "%s is neither a wasm module nor an image of Husk",
                     start->word);
}

int program_find(const struct guest_tree *tree, struct json_object *config,
                 struct program *ret_program, struct husk_error *err) {
    struct start start = {0};
    struct program program = {.fd = -1};
    int status = read_start(config, &start, err);
    if (status != 0)
        return status;
    program.fd = open_start(tree, &start, &program.path);
    if (program.fd >= 0)
        status = classify(&start, is_annotated(config), &program, err);
    else if (has_wasm_name(start.word))
        status = error_sys(err, errno, "cannot open %s in the container", start.word);
    if (status != 0)
        program_done(&program);
    else
        *ret_program = program;
    return status;
}

void program_done(struct program *program) {
    if (program->fd >= 0)
        close(program->fd);
    free(program->path);
    *program = (struct program){.fd = -1};
}
