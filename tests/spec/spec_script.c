/* tests/spec/spec_script.c: see spec_script.h. */
#include "spec_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "spec_judge.h"

struct registered {
    const struct json *name;
    size_t instance;
};

struct reader {
    struct script *script;
    const char *dir;
    const char *group;
    struct registered *registered; /* the newest last */
    size_t registered_count;
    bool is_out_of_memory;
};

bool script_read_file(const char *path, uint8_t **ret_data, size_t *ret_count) {
    struct husk_error err = {.message = ""};
    uint8_t *data = NULL;
    size_t count = 0;
    if (file_read(path, SIZE_MAX, &data, &count, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return false;
    }
    uint8_t *exact = realloc(data, count != 0 ? count : 1); /* so that ASan sees over-reads */
    *ret_data = exact != NULL ? exact : data;
    *ret_count = count;
    return true;
}

bool script_is_one_of(const char *word, const char *const *words) {
    while (*words != NULL && strcmp(word, *words) != 0)
        words++;
    return *words != NULL;
}

/* ---- names ---- */

static bool is_name(const char *one, const char *other) {
    return one != NULL && other != NULL && strcmp(one, other) == 0;
}

/* The newest instance of that name; NULL: the newest of all. Only a started one has a name. */
static size_t find_instance(const struct script *script, const char *name) {
    for (size_t i = script->instances_count; i > 0; i--) {
        const struct script_instance *instance = &script->instances[i - 1];
        if (instance->kind == SCRIPT_STARTS && (name == NULL || is_name(instance->name, name)))
            return i - 1;
    }
    return SCRIPT_NONE;
}

static size_t find_module(const struct script *script, const char *name) {
    for (size_t i = script->modules_count; i > 0; i--)
        if (name == NULL || is_name(script->modules[i - 1].name, name))
            return i - 1;
    return SCRIPT_NONE;
}

static size_t find_registered(const struct reader *reader, const char *name, size_t name_bytes) {
    for (size_t i = reader->registered_count; i > 0; i--) {
        const struct registered *one = &reader->registered[i - 1];
        if (one->name->text_bytes == name_bytes && memcmp(one->name->text, name, name_bytes) == 0)
            return one->instance;
    }
    return SCRIPT_NONE;
}

/* ---- what links to what ---- */

struct visit {
    struct reader *reader;
    struct script_instance *instance;
};

static char *copy_name(const char *name, size_t bytes) {
    char *copy = malloc(bytes + 1);
    if (copy != NULL) {
        memcpy(copy, name, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}

/* A module may import one thing several times. */
static bool has_import(const struct script_instance *instance, const struct husk_extern *item) {
    for (size_t i = 0; i < instance->imports_count; i++) {
        const struct script_import *import = &instance->imports[i];
        if (import->module_bytes == item->module_bytes && import->field_bytes == item->name_bytes &&
            memcmp(import->module, item->module, item->module_bytes) == 0 &&
            memcmp(import->field, item->name, item->name_bytes) == 0)
            return true;
    }
    return false;
}

static void visit_import(void *user, bool is_import, const struct husk_extern *item) {
    const struct visit *visit = user;
    struct script_instance *instance = visit->instance;
    size_t from =
        is_import ? find_registered(visit->reader, item->module, item->module_bytes) : SCRIPT_NONE;
    if (from == SCRIPT_NONE || has_import(instance, item))
        return;
    struct script_import *grown =
        realloc(instance->imports, (instance->imports_count + 1) * sizeof *grown);
    if (grown == NULL) {
        visit->reader->is_out_of_memory = true;
        return;
    }
    instance->imports = grown;
    grown[instance->imports_count++] =
        (struct script_import){.module = copy_name(item->module, item->module_bytes),
                               .field = copy_name(item->name, item->name_bytes),
                               .module_bytes = item->module_bytes,
                               .field_bytes = item->name_bytes,
                               .instance = from};
}

static void join_programs(struct script *script, size_t one, size_t other) {
    size_t first = one < other ? one : other;
    size_t second = one < other ? other : one;
    for (size_t i = 0; i < script->instances_count; i++)
        if (script->instances[i].program == second)
            script->instances[i].program = first;
}

static size_t add_instance(struct reader *reader, enum script_kind kind, size_t module,
                           const char *name) {
    struct script *script = reader->script;
    const struct script_module *source = &script->modules[module];
    size_t idx = script->instances_count++;
    struct script_instance *instance = &script->instances[idx];
    *instance =
        (struct script_instance){.kind = kind, .module = module, .name = name, .program = idx};
    struct visit visit = {.reader = reader, .instance = instance};
    if (source->wasm != NULL) /* a module that is refused has no imports to look at */
        (void)husk_wasm_interface(source->wasm, source->count, visit_import, &visit, NULL);
    for (size_t i = 0; kind != SCRIPT_UNLINKABLE && i < instance->imports_count; i++) {
        const struct script_instance *from = &script->instances[instance->imports[i].instance];
        join_programs(script, instance->program, from->program);
    }
    return idx;
}

/* ---- commands ---- */

static size_t add_module(struct reader *reader, const struct json *command) {
    struct script *script = reader->script;
    const char *file = json_text(command, "binary_filename");
    if (file == NULL)
        file = json_text(command, "filename");
    size_t idx = script->modules_count++;
    struct script_module *module = &script->modules[idx];
    *module = (struct script_module){.name = json_text(command, "name"), .status = HUSK_E_INVAL};
    char path[SCRIPT_PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s/%s", reader->dir, file != NULL ? file : "?");
    if (length < 0 || (size_t)length >= sizeof path ||
        !script_read_file(path, &module->wasm, &module->count)) {
        (void)snprintf(module->err.message, sizeof module->err.message, "cannot be read");
        return idx;
    }
    module->status = judge_wasm(reader->group, module->wasm, module->count, &module->err);
    return idx;
}

/* Is there a binary? Malformed text has none. */
static bool has_binary(const struct json *command) {
    const char *file = json_text(command, "filename");
    const char *end = file != NULL ? strrchr(file, '.') : NULL;
    return json_text(command, "binary_filename") != NULL ||
           (end != NULL && strcmp(end, ".wasm") == 0);
}

static void read_register(struct reader *reader, struct script_command *command) {
    const struct json *name = json_get(command->json, "as");
    command->instance = find_instance(reader->script, json_text(command->json, "name"));
    if (name != NULL && command->instance != SCRIPT_NONE)
        reader->registered[reader->registered_count++] =
            (struct registered){.name = name, .instance = command->instance};
}

static void read_command(struct reader *reader, struct script_command *command) {
    const struct json *json = command->json;
    struct script *script = reader->script;
    if (has_binary(json))
        command->module = add_module(reader, json);
    if (strcmp(command->type, "module") == 0 && command->module != SCRIPT_NONE)
        command->instance =
            add_instance(reader, SCRIPT_STARTS, command->module, json_text(json, "name"));
    else if (strcmp(command->type, "assert_uninstantiable") == 0 && command->module != SCRIPT_NONE)
        command->instance = add_instance(reader, SCRIPT_TRAPS, command->module, NULL);
    else if (strcmp(command->type, "assert_unlinkable") == 0 && command->module != SCRIPT_NONE)
        command->instance = add_instance(reader, SCRIPT_UNLINKABLE, command->module, NULL);
    else if (strcmp(command->type, "register") == 0)
        read_register(reader, command);
    else if (json_get(json, "action") != NULL)
        command->instance = find_instance(script, json_text(json_get(json, "action"), "module"));
    if (strcmp(command->type, "module_instance") == 0) {
        size_t module = find_module(script, json_text(json, "module"));
        if (module != SCRIPT_NONE)
            command->instance =
                add_instance(reader, SCRIPT_STARTS, module, json_text(json, "instance"));
    }
}

static bool read_commands(struct reader *reader, const struct json *commands) {
    struct script *script = reader->script;
    size_t count = json_count(commands) + 1; /* never 0 */
    script->commands = calloc(count, sizeof *script->commands);
    script->modules = calloc(count, sizeof *script->modules);
    script->instances = calloc(count, sizeof *script->instances);
    reader->registered = calloc(count, sizeof *reader->registered);
    if (script->commands == NULL || script->modules == NULL || script->instances == NULL ||
        reader->registered == NULL)
        return false;
    for (const struct json *json = commands->items; json != NULL; json = json->next) {
        struct script_command *command = &script->commands[script->commands_count++];
        *command = (struct script_command){.json = json,
                                           .type = json_text(json, "type"),
                                           .line = json_text(json, "line"),
                                           .module = SCRIPT_NONE,
                                           .instance = SCRIPT_NONE};
        if (command->type == NULL)
            command->type = "?";
        if (command->line == NULL)
            command->line = "0";
        read_command(reader, command);
    }
    return !reader->is_out_of_memory;
}

bool script_read(const char *dir, const char *name, const char *group, struct script *ret_script) {
    struct reader reader = {.script = ret_script, .dir = dir, .group = group};
    *ret_script = (struct script){.root = NULL};
    char path[SCRIPT_PATH_BYTES];
    uint8_t *text = NULL;
    size_t count = 0;
    size_t offset = 0;
    int length = snprintf(path, sizeof path, "%s/%s.json", dir, name);
    if (length < 0 || (size_t)length >= sizeof path || !script_read_file(path, &text, &count))
        return false;
    ret_script->root = json_parse((const char *)text, count, &offset);
    free(text);
    const struct json *commands = json_get(ret_script->root, "commands");
    bool is_good = commands != NULL && read_commands(&reader, commands);
    if (!is_good)
        fprintf(stderr, "%s: not a test file (stopped at byte %zu)\n", path, offset);
    free(reader.registered);
    return is_good;
}

void script_free(struct script *script) {
    for (size_t i = 0; i < script->instances_count; i++) {
        struct script_instance *instance = &script->instances[i];
        for (size_t k = 0; k < instance->imports_count; k++) {
            free(instance->imports[k].module);
            free(instance->imports[k].field);
        }
        free(instance->imports);
    }
    for (size_t i = 0; i < script->modules_count; i++)
        free(script->modules[i].wasm);
    free(script->commands);
    free(script->modules);
    free(script->instances);
    json_free(script->root);
    *script = (struct script){.root = NULL};
}
