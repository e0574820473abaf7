/* tests/support/wat.c: see wat.h. */
#include "wat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "ready_image.h"
#include "literals.h"

const char *wat_missing(const char *worker_path) {
    if (ready_images_only())
        return NULL;
    if (access(worker_path, X_OK) != 0)
        return "the compiler worker is not built";
    if (system("wat2wasm --version >/dev/null 2>&1") != 0)
        return "wat2wasm (Debian package wabt) is not installed";
    return NULL;
}

uint8_t *wat_to_wasm(const char *wat, size_t *ret_count) {
    char path[] = "/tmp/husk-test-XXXXXX", command[256], wasm_path[64];
    int fd = mkstemp(path);
    CHECK(fd >= 0 && file_write_all(fd, wat, strlen(wat)) == 0);
    close(fd);
    snprintf(wasm_path, sizeof wasm_path, "%s.wasm", path);
    snprintf(command, sizeof command,
             "wat2wasm --enable-multi-memory --enable-memory64 --enable-extended-const "
             "--enable-exceptions --enable-threads --enable-tail-call "
             "--debug-names %s -o %s",
             path, wasm_path);
    int rc = system(command);
    uint8_t *wasm = NULL;
    struct husk_error err = {.message = "wat2wasm failed"};
    int status = rc != 0 ? -1 : file_read(wasm_path, 64u << 20, &wasm, ret_count, &err);
    unlink(path);
    unlink(wasm_path);
    CHECK_OK(status, err);
    return wasm;
}

int wat_compile(const char *wat, const char *worker_path) {
    size_t count = 0;
    int fd = ready_image_open(wat, strlen(wat));
    if (fd >= 0)
        return fd;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    fd = ready_image_compile(wat, strlen(wat), wasm, count, worker_path);
    free(wasm);
    return fd;
}

husk_image *wat_image_with(husk_engine *engine, const char *wat, const char *worker_path) {
    struct husk_error err;
    husk_image *image = NULL;
    int fd = wat_compile(wat, worker_path);
    CHECK_OK(husk_image_open_fd(engine, fd, NULL, &image, &err), err);
    close(fd);
    return image;
}

void wat_lab_init(struct wat_lab *lab) {
    memset(lab, 0, sizeof *lab);
    lab->outcome.size = sizeof lab->outcome;
    CHECK_OK(husk_engine_new(NULL, &lab->engine, &lab->err), lab->err);
    CHECK_OK(husk_imports_new(lab->engine, &lab->imports, &lab->err), lab->err);
}

void wat_lab_open_with(struct wat_lab *lab, const char *wat,
                       const struct husk_sandbox_options *options, const char *worker_path) {
    lab->image = wat_image_with(lab->engine, wat, worker_path);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, options, &lab->sandbox, &lab->err),
             lab->err);
}

/* Names and texts of all: the source of a ready image. */
static char *linked_source(const struct wat_module *modules, size_t count) {
    size_t bytes = 1;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(modules[i].name) + strlen(modules[i].wat) + 2;
    char *source = calloc(1, bytes);
    CHECK(source != NULL);
    for (size_t i = 0; i < count; i++)
        snprintf(source + strlen(source), bytes - strlen(source), "%s %s\n", modules[i].name,
                 modules[i].wat);
    return source;
}

void wat_lab_open_linked(struct wat_lab *lab, const struct wat_module *modules, size_t count,
                         const struct husk_sandbox_options *options) {
    struct husk_module rows[WAT_MODULES_MAX] = {{0}};
    uint8_t *wasm[WAT_MODULES_MAX] = {NULL};
    CHECK(count <= WAT_MODULES_MAX);
    for (size_t i = 0; i < count && !ready_images_only(); i++) {
        size_t bytes = 0;
        wasm[i] = wat_to_wasm(modules[i].wat, &bytes);
        rows[i] = (struct husk_module){.name = modules[i].name,
                                       .wasm = wasm[i],
                                       .count = bytes,
                                       .aliases = modules[i].aliases,
                                       .aliases_count = modules[i].aliases_count};
    }
    char *source = linked_source(modules, count);
    int fd = ready_image_link(source, strlen(source), rows, count, WAT_WORKER);
    CHECK_OK(husk_image_open_fd(lab->engine, fd, NULL, &lab->image, &lab->err), lab->err);
    close(fd);
    free(source);
    for (size_t i = 0; i < count; i++)
        free(wasm[i]);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, options, &lab->sandbox, &lab->err),
             lab->err);
}

void wat_lab_close(struct wat_lab *lab) {
    husk_sandbox_free(lab->sandbox);
    husk_imports_free(lab->imports);
    husk_image_unref(lab->image);
    husk_engine_unref(lab->engine);
}

husk_image *wat_saved(struct wat_lab *lab, const husk_image *snapshot) {
    char path[] = "/tmp/husk-saved.XXXXXX";
    husk_image *opened = NULL;
    const int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_OK(husk_image_save_fd(snapshot, fd, &lab->err), lab->err);
    CHECK_OK(husk_image_open(lab->engine, path, NULL, &opened, &lab->err), lab->err);
    close(fd);
    unlink(path);
    return opened;
}

static husk_type type_of_letter(char letter) {
    static const char letters[] = "iIfFvcex";
    static const husk_type types[] = {HUSK_I32,  HUSK_I64,     HUSK_F32,       HUSK_F64,
                                      HUSK_V128, HUSK_FUNCREF, HUSK_EXTERNREF, HUSK_EXNREF};
    return types[strchr(letters, letter) - letters];
}

void wat_lab_func(struct wat_lab *lab, const char *name, const char *types, husk_host_fn fn,
                  void *user) {
    static husk_type values[2048];
    size_t count = 0;
    struct husk_functype type = {.params = values};
    for (const char *letter = types; *letter != '\0'; letter++)
        if (*letter == '>')
            type.params_count = count;
        else
            values[count++] = type_of_letter(*letter);
    type.results = values + type.params_count;
    type.results_count = count - type.params_count;
    CHECK_OK(husk_imports_funcs(
                 lab->imports,
                 &(struct husk_host_func){
                     .module = "env", .name = name, .type = &type, .fn = fn, .user = user},
                 1, &lab->err),
             lab->err);
}

int wat_call(struct wat_lab *lab, const char *name, const struct husk_value *args,
             size_t args_count, struct husk_value *results, size_t results_count) {
    return husk_call(lab->sandbox,
                     CALL(.name = name, .args = args, .args_count = args_count, .results = results,
                          .results_count = results_count),
                     &lab->outcome, &lab->err);
}

struct husk_value wat_call_numbers(struct wat_lab *lab, const char *name, const int64_t *args) {
    struct husk_functype type;
    struct husk_value values[3], result = value_i64(0);
    husk_func func;
    CHECK_OK(husk_image_func(lab->image, name, 0, &func, &lab->err), lab->err);
    CHECK_OK(husk_image_func_type(lab->image, func, &type, &lab->err), lab->err);
    for (size_t i = 0; i < type.params_count; i++)
        values[i] = type.params[i] == HUSK_I64 ? value_i64(args[i]) : value_i32((int32_t)args[i]);
    CHECK_OK(wat_call(lab, name, values, type.params_count, &result, type.results_count), lab->err);
    return result;
}

int wat_call_bytes(struct wat_lab *lab, const char *name, const void *input, size_t count,
                   struct husk_bytes *bytes) {
    struct husk_call call = HUSK_CALL_INIT;
    call.name = name;
    *bytes = (struct husk_bytes){.size = sizeof *bytes, .input = input, .input_count = count};
    return husk_call_bytes(lab->sandbox, &call, bytes, &lab->outcome, &lab->err);
}

int64_t wat_call_i32(struct wat_lab *lab, const char *name, int32_t argument) {
    struct husk_value arg = value_i32(argument), result = value_i32(0);
    CHECK_OK(wat_call(lab, name, &arg, 1, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.of.i32;
}

int wat_host_fail(husk_caller *caller, void *user, const struct husk_value *args,
                  struct husk_value *results) {
    (void)user;
    (void)args;
    (void)results;
    return husk_caller_fail(caller, "no");
}

int wat_host_leave(husk_caller *caller, void *user, const struct husk_value *args,
                   struct husk_value *results) {
    (void)user;
    (void)args;
    (void)results;
    return husk_caller_exit(caller, 3);
}

int32_t wat_again(struct wat_lab *lab, husk_sandbox *sandbox, enum husk_outcome_kind expected) {
    struct husk_value result = value_i32(-99);
    struct husk_answer answer = HUSK_ANSWER_INIT;
    answer.is_again = true;
    answer.results = &result;
    answer.results_count = 1;
    CHECK_OK(husk_call_resume(sandbox, &answer, &lab->outcome, &lab->err), lab->err);
    CHECK_MSG(lab->outcome.kind == expected, "%s", lab->outcome.message);
    return result.of.i32;
}
