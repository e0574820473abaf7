/*
 * tests/spec/spec_script.h: one file of the suite, with everything that can be said about it before
 * anything is compiled. Its modules are read and judged. Names are resolved: which instance a
 * command is about, and which instances import from one another. Instances that do, directly or
 * not, form a program.
 */
#ifndef SPEC_SCRIPT_H
#define SPEC_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "husk_compile.h"
#include "spec_json.h"

#define SCRIPT_NONE SIZE_MAX
#define SCRIPT_PATH_BYTES 4096

struct script_module {
    const char *name; /* or NULL */
    uint8_t *wasm;    /* NULL: cannot be read */
    size_t count;
    int status; /* of the judge */
    struct husk_error err;
};

/* An import that an earlier instance satisfies. */
struct script_import {
    char *module, *field; /* a NUL follows */
    size_t module_bytes, field_bytes;
    size_t instance; /* who exports it */
};

enum script_kind {
    SCRIPT_STARTS,    /* module, module_instance */
    SCRIPT_TRAPS,     /* assert_uninstantiable: what it does before its trap stays */
    SCRIPT_UNLINKABLE /* never part of a program that others use */
};

struct script_instance {
    enum script_kind kind;
    size_t module;
    const char *name; /* or NULL */
    size_t program;   /* the first instance of its program */
    struct script_import *imports;
    size_t imports_count;
};

struct script_command {
    const struct json *json;
    const char *type, *line;
    size_t module;   /* that it brings; or SCRIPT_NONE */
    size_t instance; /* that it makes or uses; or SCRIPT_NONE */
};

struct script {
    struct json *root;
    struct script_command *commands;
    struct script_module *modules;
    struct script_instance *instances;
    size_t commands_count, modules_count, instances_count;
};

/* Read DIR/NAME.json and its modules. False: said on stderr. Free with script_free() in any case.
 * Modules are judged by the rules of the group. */
bool script_read(const char *dir, const char *name, const char *group, struct script *ret_script);
void script_free(struct script *script);

/* All of a file. False: said on stderr. The bytes belong to the caller. */
bool script_read_file(const char *path, uint8_t **ret_data, size_t *ret_count);
bool script_is_one_of(const char *word, const char *const *words);

#endif
