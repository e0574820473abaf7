/*
 * cli/link.c: --link NAME=FILE[,MODULE.IMPORT=INSTANCE.EXPORT…]: modules that are linked before the
 * command's own file. Names are written as husk inspect prints them, so \2e is a dot in a name, \2c
 * a comma and \3d an equals sign. The last of several dots ends the module's name.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct linked_file {
    char *text; /* the option, cut in pieces; names point into it */
    const char *name, *path;
    struct husk_alias *aliases;
    size_t aliases_count;
    struct input input;
};

static int link_usage(const struct report *report, const char *text) {
    return report_usage(report,
                        "--link wants NAME=FILE[,MODULE.IMPORT=INSTANCE.EXPORT…], not '%s' (in "
                        "names, \\2e stands for a dot, \\2c for a comma, \\3d for =)",
                        text);
}

/* In place: without escapes it is shorter. A NUL in a name cannot be given. */
static bool unescape(char *name) {
    size_t count = 0;
    return parse_name(name, name, &count) && count > 0 && strlen(name) == count;
}

/* "MODULE.NAME" */
static bool cut_pair(char *text, const char **ret_first, const char **ret_second) {
    char *dot = strrchr(text, '.');
    if (dot == NULL)
        return false;
    *dot = '\0';
    *ret_first = text;
    *ret_second = dot + 1;
    return unescape(text) && unescape(dot + 1);
}

static bool cut_alias(char *text, struct husk_alias *alias) {
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return false;
    *equals = '\0';
    return cut_pair(text, &alias->module, &alias->name) &&
           cut_pair(equals + 1, &alias->instance, &alias->export_name);
}

/* The option's text is cut at its commas: a file's name holds none. */
static bool cut_option(struct linked_file *file) {
    char *rest = file->text, *piece = strsep(&rest, ","), *equals = strchr(piece, '=');
    if (equals == NULL || equals[1] == '\0')
        return false;
    *equals = '\0';
    file->name = piece;
    file->path = equals + 1;
    if (!unescape(piece))
        return false;
    while ((piece = strsep(&rest, ",")) != NULL)
        if (!cut_alias(piece, &file->aliases[file->aliases_count++]))
            return false;
    return true;
}

static size_t count_commas(const char *text) {
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += *text == ',';
    return count;
}

int take_link_option(const struct report *report, struct compile_request *request,
                     const char *text) {
    struct linked_file *links = realloc(request->links, (request->links_count + 1) * sizeof *links);
    if (links == NULL)
        return report_usage(report, "out of memory");
    request->links = links;
    struct linked_file *file = &links[request->links_count++];
    *file = (struct linked_file){.input = {.fd = -1}};
    file->text = strdup(text);
    file->aliases = calloc(count_commas(text) + 1, sizeof *file->aliases);
    if (file->text == NULL || file->aliases == NULL)
        return report_usage(report, "out of memory");
    return cut_option(file) ? CLI_OK : link_usage(report, text);
}

static int load(struct linked_file *file, struct husk_error *err) {
    int status = input_load(file->path, &file->input, err);
    if (status == 0 && file->input.kind == INPUT_IMAGE)
        status = cli_error(err, HUSK_E_INVAL, "is a husk image; only modules can be linked");
    if (status == 0)
        return 0;
    const struct husk_error cause = *err;
    snprintf(err->message, sizeof err->message, "--link %.80s=%.120s: %.200s", file->name,
             file->path, cause.message);
    return status;
}

int links_load(const struct compile_request *request, const struct input *main_input,
               struct husk_module **ret_modules, struct husk_error *err) {
    struct husk_module *modules = calloc(request->links_count + 1, sizeof *modules);
    int status = modules == NULL ? cli_error(err, HUSK_E_NOMEM, "out of memory") : 0;
    for (size_t i = 0; i < request->links_count && status == 0; i++) {
        struct linked_file *file = &request->links[i];
        status = load(file, err);
        modules[i] = (struct husk_module){.name = file->name,
                                          .wasm = file->input.bytes,
                                          .count = file->input.count,
                                          .aliases = file->aliases,
                                          .aliases_count = file->aliases_count};
    }
    if (status != 0) {
        free(modules);
        return status;
    }
    modules[request->links_count] = (struct husk_module){
        .name = LINK_MAIN_NAME, .wasm = main_input->bytes, .count = main_input->count};
    *ret_modules = modules;
    return 0;
}

void links_done(struct compile_request *request) {
    for (size_t i = 0; i < request->links_count; i++) {
        input_done(&request->links[i].input);
        free(request->links[i].aliases);
        free(request->links[i].text);
    }
    free(request->links);
    request->links = NULL;
    request->links_count = 0;
}
