/*
 * tests/wasi/wasi_case.c: reads the description of a test of the WASI test suite, for
 * tools/run-wasi: wasi_case FILE.json. It prints one field after another, each ended by a NUL:
 *
 *   exit=33  root=fs-tests.dir  dir=NAME  arg=TEXT  env=NAME=VALUE  stdout=TEXT  stderr=TEXT
 *
 * root is given to the guest as "/"; a dir (older versions of the suite) under its own name. A
 * description is one object with these members, or a list of operations (the suite's
 * doc/specification.md). Exit status 1: it cannot be read, or asks for something that preview 1
 * does not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "spec_json.h"

#define FILE_LIMIT_BYTES (1u << 20)

/* A shell's variables hold no NUL. */
static int text_print(const char *name, const struct json *value) {
    if (value == NULL || value->kind == JSON_NULL)
        return 0;
    if ((value->kind != JSON_STRING && value->kind != JSON_NUMBER) ||
        strlen(value->text) != value->text_bytes) {
        fprintf(stderr, "\"%s\" is no text without NUL\n", name);
        return -1;
    }
    printf("%s=%s%c", name, value->text, 0);
    return 0;
}

static int list_print(const char *name, const struct json *list) {
    if (list == NULL || list->kind == JSON_NULL)
        return 0;
    for (const struct json *item = list->items; item != NULL; item = item->next)
        if (text_print(name, item) != 0)
            return -1;
    return 0;
}

static int env_print(const struct json *env) {
    if (env == NULL || env->kind == JSON_NULL)
        return 0;
    for (const struct json *item = env->items; item != NULL; item = item->next) {
        if (item->kind != JSON_STRING || strlen(item->text) != item->text_bytes) {
            fprintf(stderr, "variable \"%s\" is no text without NUL\n", item->key);
            return -1;
        }
        printf("env=%s=%s%c", item->key, item->text, 0);
    }
    return 0;
}

static int run_print(const struct json *run) {
    return list_print("arg", json_get(run, "args")) != 0 ||
                   list_print("dir", json_get(run, "dirs")) != 0 ||
                   text_print("root", json_get(run, "root")) != 0 ||
                   env_print(json_get(run, "env")) != 0
               ? -1
               : 0;
}

static int operation_print(const struct json *operation) {
    const char *type = json_text(operation, "type"), *id = json_text(operation, "id");
    if (type != NULL && strcmp(type, "run") == 0)
        return run_print(operation);
    if (type != NULL && strcmp(type, "wait") == 0)
        return text_print("exit", json_get(operation, "exit_code"));
    if (type != NULL && strcmp(type, "read") == 0)
        return text_print(id != NULL ? id : "stdout", json_get(operation, "payload"));
    fprintf(stderr, "operation \"%s\"\n", type != NULL ? type : "");
    return -1;
}

static int case_print(const struct json *root) {
    const struct json *operations = json_get(root, "operations");
    if (operations == NULL)
        return run_print(root) != 0 || text_print("exit", json_get(root, "exit_code")) != 0 ||
                       text_print("stdout", json_get(root, "stdout")) != 0 ||
                       text_print("stderr", json_get(root, "stderr")) != 0
                   ? -1
                   : 0;
    for (const struct json *item = operations->items; item != NULL; item = item->next)
        if (operation_print(item) != 0)
            return -1;
    return 0;
}

int main(int argc, char **argv) {
    struct husk_error err;
    uint8_t *text = NULL;
    size_t count = 0, offset = 0;
    if (argc != 2)
        return fprintf(stderr, "usage: wasi_case FILE.json\n"), 2;
    if (file_read(argv[1], FILE_LIMIT_BYTES, &text, &count, &err) != 0)
        return fprintf(stderr, "%s\n", err.message), 1;
    struct json *root = json_parse((const char *)text, count, &offset);
    int status = 1;
    if (root == NULL)
        fprintf(stderr, "no JSON, at byte %zu\n", offset);
    else
        status = case_print(root) == 0 ? 0 : 1;
    json_free(root);
    free(text);
    return status;
}
