/*
 * ruby.c: runs Ruby 3.4 from npm (package @ruby/3.4-wasm-wasi, file dist/ruby+stdlib.wasm) without
 * the JavaScript that it imports.
 *
 *   ruby ruby+stdlib.wasm '1 + 2' 'File.write("/work/a", "b"); Dir.children("/work")'
 *
 * The module is a reactor: a library with state, whose functions the host calls. Their names are
 * whole declarations, and strings go through the guest's memory. Ruby is initialised once. Every
 * script starts from a snapshot of that state, and so does the folder /work, which is private: no
 * script sees another one's variables or files. What a script's last expression is, is printed.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "example.h"

#define MEMORY_BYTES_MAX (512u << 20)
#define STACK_BYTES (16u << 20)    /* Ruby's parser and interpreter nest deep */
#define SCRIPT_NS_MAX 10000000000u /* 10 s */

struct ruby {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image, *ready; /* the module; and Ruby, initialised */
    husk_sandbox *sandbox;
};

/* ---- Calls into the guest ---- */

static int guest_call(husk_sandbox *sandbox, const char *name,
                      const struct example_numbers *numbers, int32_t *ret_number,
                      struct husk_error *err) {
    return example_call(&(struct example_call){sandbox, name, numbers, SCRIPT_NS_MAX}, ret_number,
                        err);
}

static int read_pair(const struct ruby *ruby, int32_t addr, int32_t ret_pair[2],
                     struct husk_error *err) {
    const struct husk_range range = {.addr = (uint32_t)addr, .count = 2 * sizeof ret_pair[0]};
    return husk_memory_read(ruby->sandbox, &range, ret_pair, err);
}

/* Put bytes into a block of the guest, which frees it, or a restore does. */
static int put(const struct ruby *ruby, const void *bytes, size_t count, int32_t *ret_addr,
               struct husk_error *err) {
    if (count > MEMORY_BYTES_MAX)
        return example_fail(err, "the script is too long", "");
    int status = guest_call(ruby->sandbox, "cabi_realloc",
                            &(struct example_numbers){4, {0, 0, 4, (int32_t)count}}, ret_addr, err);
    const struct husk_range range = {.addr = (uint32_t)*ret_addr, .count = count};
    return status != 0 ? status : husk_memory_write(ruby->sandbox, &range, bytes, err);
}

/* Ruby's functions want strings with a NUL, which the count includes. */
static int put_text(const struct ruby *ruby, const char *text, struct example_numbers *ret_text,
                    struct husk_error *err) {
    *ret_text = (struct example_numbers){2, {0, (int32_t)strlen(text) + 1}};
    return put(ruby, text, strlen(text) + 1, &ret_text->of[0], err);
}

/* ---- Imports ----
 *
 * The guest gives its values to the host as handles: the host numbers them and gives a value back
 * when it is asked for a number's. A value is an address in the guest, which the guest checks as
 * little as any other, so the number may be the address. */

static int same_number(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)caller;
    (void)user;
    results[0].of.i32 = args[0].of.i32;
    return 0;
}

static int define_imports(struct ruby *ruby, struct husk_error *err) {
    static const husk_type i32[] = {HUSK_I32};
    static const struct husk_functype i_to_i32 = {i32, 1, i32, 1};
    static const char *const args[] = {"ruby"};
    const char *const module = "canonical_abi";
    const struct husk_host_func rows[] = {
        {module, 0, "resource_new_rb-abi-value", 0, &i_to_i32, same_number, NULL, NULL},
        {module, 0, "resource_get_rb-abi-value", 0, &i_to_i32, same_number, NULL, NULL},
    };
    const struct husk_wasi_dir work = {.guest_path = "/work",
                                       .kind = HUSK_WASI_DIR_MEM,
                                       .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.args = args;
    wasi.args_count = 1;
    wasi.stdout_fd = STDOUT_FILENO;
    wasi.stderr_fd = STDERR_FILENO;
    wasi.stdout_rights = wasi.stderr_rights = HUSK_WASI_WRITE;
    wasi.dirs = &work;
    wasi.dirs_count = 1;
    int status = husk_imports_wasi(ruby->imports, &wasi, err);
    if (status == 0)
        status = husk_imports_funcs(ruby->imports, rows, sizeof rows / sizeof rows[0], err);
    if (status == 0) /* what Ruby's module JS calls */
        status = husk_imports_unknown(ruby->imports, HUSK_UNKNOWN_TRAP, err);
    return status;
}

/* ---- Ruby ---- */

/* Evaluate a text. *ret_is_raised: it ended with an exception; else *ret_value is its value. */
static int eval(const struct ruby *ruby, const char *text, int32_t *ret_value, int *ret_is_raised,
                struct husk_error *err) {
    struct example_numbers args;
    int32_t results = 0, pair[2] = {0};
    int status = put_text(ruby, text, &args, err);
    if (status == 0)
        status = guest_call(
            ruby->sandbox,
            "rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>", &args,
            &results, err);
    if (status == 0)
        status = read_pair(ruby, results, pair, err);
    *ret_value = pair[0];
    *ret_is_raised = pair[1] != 0;
    return status;
}

/* Call a method without arguments and print the string that it returns. */
static int print_method(const struct ruby *ruby, int32_t value, const char *method, FILE *out,
                        struct husk_error *err) {
    struct example_numbers name;
    int32_t id = 0, results = 0, pair[2] = {0};
    char text[4096];
    int status = put_text(ruby, method, &name, err);
    if (status == 0)
        status = guest_call(ruby->sandbox, "rb-intern: func(name: string) -> u32", &name, &id, err);
    if (status == 0)
        status = guest_call(ruby->sandbox,
                            "rb-funcallv-protect: func(recv: handle<rb-abi-value>, mid: u32, "
                            "args: list<handle<rb-abi-value>>) -> tuple<handle<rb-abi-value>, s32>",
                            &(struct example_numbers){4, {value, id, 4, 0}}, &results, err);
    if (status == 0)
        status = read_pair(ruby, results, pair, err);
    if (status == 0 && pair[1] != 0)
        return example_fail(err, method, " raises, too");
    if (status == 0)
        status =
            guest_call(ruby->sandbox, "rstring-ptr: func(value: handle<rb-abi-value>) -> string",
                       &(struct example_numbers){1, {pair[0]}}, &results, err);
    if (status == 0)
        status = read_pair(ruby, results, pair, err);
    const uint32_t count =
        (uint32_t)pair[1] < sizeof text ? (uint32_t)pair[1] : (uint32_t)sizeof text;
    const struct husk_range range = {.addr = (uint32_t)pair[0], .count = count};
    if (status == 0)
        status = husk_memory_read(ruby->sandbox, &range, text, err);
    if (status == 0)
        fprintf(out, "%.*s\n", (int)count, text);
    return status;
}

/* Do once all that is the same for every script. */
static int make_ready(struct ruby *ruby, struct husk_error *err) {
    static const char *const words[] = {"ruby", "-EUTF-8", "-e_=0"};
    static const char setup[] = "$stdout.sync = true; require 'set'; require 'json'";
    int32_t list[6], value;
    struct example_numbers text, args = {2, {0, 3}};
    int is_raised = 0;
    int status = guest_call(ruby->sandbox, "_initialize", &(struct example_numbers){0}, NULL, err);
    for (size_t i = 0; status == 0 && i < 3; i++) {
        status = put_text(ruby, words[i], &text, err);
        list[2 * i] = text.of[0];
        list[2 * i + 1] = text.of[1];
    }
    if (status == 0)
        status = put(ruby, list, sizeof list, &args.of[0], err);
    if (status == 0)
        status = guest_call(ruby->sandbox, "ruby-init: func(args: list<string>) -> ()", &args, NULL,
                            err);
    if (status == 0)
        status = eval(ruby, setup, &value, &is_raised, err);
    if (status == 0 && is_raised != 0)
        return example_fail(err, "Ruby's library is not there", "");
    return status != 0 ? status : husk_sandbox_snapshot(ruby->sandbox, &ruby->ready, err);
}

/* Returns 1 for a script that ends with an exception, which is printed. */
static int run_script(const struct ruby *ruby, const char *script, struct husk_error *err) {
    int32_t value = 0;
    int is_raised = 0;
    int status = husk_sandbox_restore(ruby->sandbox, ruby->ready, err);
    if (status == 0)
        status = eval(ruby, script, &value, &is_raised, err);
    if (status == 0 && is_raised == 0)
        return print_method(ruby, value, "inspect", stdout, err);
    if (status == 0)
        status = guest_call(ruby->sandbox, "rb-errinfo: func() -> handle<rb-abi-value>",
                            &(struct example_numbers){0}, &value, err);
    if (status == 0)
        status = guest_call(ruby->sandbox, "rb-clear-errinfo: func() -> ()",
                            &(struct example_numbers){0}, NULL, err);
    if (status == 0)
        status = print_method(ruby, value, "full_message", stderr, err);
    return status != 0 ? status : 1;
}

static int open_ruby(struct ruby *ruby, const char *path, struct husk_error *err) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = MEMORY_BYTES_MAX;
    options.stack_bytes = STACK_BYTES;
    int status = husk_engine_new(NULL, &ruby->engine, err);
    if (status == 0)
        status = husk_imports_new(ruby->engine, &ruby->imports, err);
    if (status == 0)
        status = define_imports(ruby, err);
    if (status != 0)
        return status;
    ruby->image = example_load(ruby->engine, path);
    if (ruby->image == NULL)
        return example_fail(err, "there is no Ruby", "");
    status = husk_sandbox_new(ruby->image, ruby->imports, &options, &ruby->sandbox, err);
    return status != 0 ? status : make_ready(ruby, err);
}

int main(int argc, char **argv) {
    struct husk_error err = {0};
    struct ruby ruby = {0};
    int code = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: ruby ruby+stdlib.wasm SCRIPT…\n");
        return 2;
    }
    if (open_ruby(&ruby, argv[1], &err) != 0) {
        fprintf(stderr, "ruby: %s\n", err.message);
        code = 1;
    }
    for (int i = 2; ruby.ready != NULL && i < argc; i++) {
        fflush(stdout);
        int status = run_script(&ruby, argv[i], &err);
        if (status < 0)
            fprintf(stderr, "script %d: %s\n", i - 1, err.message);
        code |= status != 0;
    }
    husk_sandbox_free(ruby.sandbox);
    husk_image_unref(ruby.ready);
    husk_image_unref(ruby.image);
    husk_imports_free(ruby.imports);
    husk_engine_unref(ruby.engine);
    return code;
}
