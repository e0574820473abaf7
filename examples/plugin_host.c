/*
 * plugin_host.c: an application whose plug-ins are functions from a string to a string. Every
 * plug-in has a time limit and a memory limit. The application goes on, whatever a plug-in does.
 *
 *   plugin_host plugin.wasm "some text"      (guests/plugin.c)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "example.h"

static const char *const functions[] = {"shout", "reverse", "crash", "lie", "spin"};

struct plugins {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
};

static int sandbox_make(const struct plugins *plugins, husk_sandbox **ret_sandbox,
                        struct husk_error *err) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = 16u << 20;
    return husk_sandbox_new(plugins->image, plugins->imports, &options, ret_sandbox, err);
}

/* A sandbox for each call: no call sees what another left behind. */
static void plugin_call(const struct plugins *plugins, const char *function, const char *text) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_sandbox *sandbox = NULL;
    struct husk_call initialize = HUSK_CALL_INIT, call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    limits.wall_ns = 100000000; /* 100 ms */
    initialize.name = "_initialize";
    initialize.limits = call.limits = &limits;
    call.name = function;
    bytes.input = text;
    bytes.input_count = strlen(text);
    bytes.keeps = true; /* the sandbox goes, and all that is in it */
    int status = sandbox_make(plugins, &sandbox, &err);
    if (status == 0) /* what the toolchain's start-up code wants to have run once */
        status = husk_call(sandbox, &initialize, &outcome, &err);
    if (status == 0 && outcome.kind == HUSK_RETURNED)
        status = husk_call_bytes(sandbox, &call, &bytes, &outcome, &err);
    if (status != 0)
        printf("%-8s error: %s\n", function, err.message);
    else if (outcome.kind == HUSK_RETURNED)
        printf("%-8s %.*s\n", function, (int)bytes.output_count, (const char *)bytes.output);
    else
        printf("%-8s ended: %s\n", function, outcome.message);
    free(bytes.output);
    husk_sandbox_free(sandbox);
}

int main(int argc, char **argv) {
    struct plugins plugins = {0};
    struct husk_error err;
    if (argc != 3) {
        fprintf(stderr, "usage: plugin_host plugin.wasm TEXT\n");
        return 2;
    }
    int status = husk_engine_new(NULL, &plugins.engine, &err);
    if (status == 0)
        status = husk_imports_new(plugins.engine, &plugins.imports, &err);
    if (status == 0)
        status = husk_imports_wasi(plugins.imports, NULL, &err); /* no arguments, no descriptors */
    if (status != 0)
        fprintf(stderr, "plugin_host: %s\n", err.message);
    else
        plugins.image = example_load(plugins.engine, argv[1]);
    for (size_t i = 0; plugins.image != NULL && i < sizeof functions / sizeof functions[0]; i++)
        plugin_call(&plugins, functions[i], argv[2]);
    int code = plugins.image != NULL ? 0 : 1;
    husk_image_unref(plugins.image);
    husk_imports_free(plugins.imports);
    husk_engine_unref(plugins.engine);
    return code;
}
