/*
 * cli/run_imports.c: defines what husk run and husk snapshot give to a module, and checks what it
 * imports and exports. Errors that these alone show are reported before anything is compiled.
 */
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* The clock of --reproducible: 2000-01-01, and 1 ms for each reading, so that a program that waits
 * for a time in a loop gets there. Deliberately not 1970, which some formats cannot hold. */
#define REPRODUCIBLE_BEGIN_NS UINT64_C(946684800000000000)
#define REPRODUCIBLE_STEP_NS 1000000u

int run_make_imports(struct run *run, struct husk_error *err) {
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_clock clock = HUSK_WASI_CLOCK_INIT;
    struct husk_wasi_stream streams[3];
    wasi.args = run->given.args;
    wasi.args_count = run->given.args_count;
    wasi.env = run->given.env;
    wasi.env_count = run->given.env_count;
    dirs_give(run, &wasi);
    wasi.listeners = run->listeners.rows;
    wasi.listeners_count = run->listeners.count;
    streams_give(run, streams, &request);
    wasi.request = &request;
    if (run->random_seed != 0) {
        clock.kind = HUSK_WASI_CLOCK_FIXED;
        clock.realtime_ns = REPRODUCIBLE_BEGIN_NS;
        clock.step_ns = REPRODUCIBLE_STEP_NS;
        request.clock = &clock;
        request.random_seed = &run->random_seed;
    }
    int status = husk_imports_new(run->engine, &run->imports, err);
    if (status == 0)
        status = listeners_open(run, err);
    if (status == 0)
        status = husk_imports_wasi(run->imports, &wasi, err);
    if (status == 0)
        status = husk_imports_unknown(run->imports, run->unknown_imports, err);
    return status;
}

/* A tag is a name: the program throws and catches, the command does neither. Toolchains import the
 * tags of C++ exceptions and of longjmp. A program for wasi-threads imports its memory, which is
 * shared, and the host makes it. What any other imported memory should be, nobody here knows. */
static bool is_defined_unasked(const struct husk_extern *item) {
    return item->module != NULL && (item->kind == HUSK_EXTERN_TAG || item->is_shared);
}

static int define_unasked(const struct run *run, struct husk_error *err) {
    int status = 0;
    for (size_t i = 0; i < run->externs.count && status == 0; i++)
        if (is_defined_unasked(run->externs.items[i]))
            status = husk_imports_define(run->imports, run->externs.items[i], NULL, err);
    return status;
}

static void missing_json(const struct run *run, size_t missing) {
    struct husk_error err;
    bool is_first = true;
    fputs("{\"error\":{\"status\":\"HUSK_E_LINK\",\"file\":", stdout);
    json_text(stdout, run->path);
    printf(",\"message\":\"the module needs %zu imports that husk %s does not give\",\"imports\":[",
           missing, run->report.command);
    for (size_t i = 0; i < run->externs.count; i++) {
        const struct husk_extern *item = run->externs.items[i];
        if (item->module == NULL || husk_imports_match(run->imports, item, &err) != HUSK_E_LINK)
            continue;
        fputs(is_first ? "" : ",", stdout);
        extern_json(stdout, item);
        is_first = false;
    }
    fputs("]}}\n", stdout);
}

/* Made by a compiler for a linker (tool conventions: Linking.md). */
static bool is_object_file(const struct run *run) {
    for (size_t i = 0; i < run->externs.count; i++) {
        const struct husk_extern *item = run->externs.items[i];
        if (item->module != NULL && strcmp(item->module, "env") == 0 &&
            strcmp(item->name, "__linear_memory") == 0)
            return true;
    }
    return false;
}

static void missing_text(const struct run *run, size_t missing) {
    struct husk_error err;
    bool has_func = false, has_other = false;
    fprintf(stderr, "husk %s: ", run->report.command);
    put_text(stderr, run->path);
    fprintf(stderr,
            ": needs %zu import%s that husk %s does not give, which is WASI preview 1 only:\n",
            missing, missing == 1 ? "" : "s", run->report.command);
    for (size_t i = 0; i < run->externs.count; i++) {
        const struct husk_extern *item = run->externs.items[i];
        if (item->module == NULL || husk_imports_match(run->imports, item, &err) != HUSK_E_LINK)
            continue;
        extern_text(stderr, item);
        has_func |= item->kind == HUSK_EXTERN_FUNC;
        has_other |= item->kind != HUSK_EXTERN_FUNC;
    }
    if (is_object_file(run)) {
        fputs("It is an object file: link it first (clang without -c, or wasm-ld).\n", stderr);
        return;
    }
    if (has_func && !has_other && run->unknown_imports == HUSK_UNKNOWN_REFUSED)
        fputs("With --unknown-imports trap it runs until it calls one. ", stderr);
    fputs("A program that uses libhusk can define them (husk.h).\n", stderr);
}

/* All that are missing, or of another type, at once. */
static int check_imports(const struct run *run) {
    struct husk_error err;
    size_t missing = 0;
    for (size_t i = 0; i < run->externs.count; i++)
        missing += run->externs.items[i]->module != NULL &&
                   husk_imports_match(run->imports, run->externs.items[i], &err) == HUSK_E_LINK;
    if (missing != 0 && run->report.is_json)
        missing_json(run, missing);
    else if (missing != 0)
        missing_text(run, missing);
    return missing != 0 ? CLI_ERROR : CLI_OK;
}

static int parse_args(struct run *run, const struct husk_functype *type) {
    run->args = calloc(type->params_count + 1, sizeof *run->args);
    if (run->args == NULL)
        return report_usage(&run->report, "out of memory");
    if (type->params_count != run->words_count) {
        fprintf(stderr, "husk %s: ", run->report.command);
        put_text(stderr, run->path);
        fputs(": ", stderr);
        put_text(stderr, run->invoke);
        fprintf(stderr, " takes %zu argument%s, not %zu: ", type->params_count,
                type->params_count == 1 ? "" : "s", run->words_count);
        print_functype(stderr, type);
        fputc('\n', stderr);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < type->params_count; i++)
        if (!parse_value(run->words[i], type->params[i], &run->args[i]))
            return report_usage(&run->report, "argument %zu of %s: '%s' is not of type %s", i + 1,
                                run->invoke, run->words[i], husk_type_name(type->params[i]));
    return CLI_OK;
}

/* --invoke with a program that goes on was refused, so its own function is that of --invoke. */
const struct husk_extern *run_find_func(const struct run *run) {
    return run->invoke != NULL ? externs_func(&run->externs, run->func_name, run->func_name_bytes)
                               : externs_func(&run->externs, "_start", 6);
}

/* The function that is to be called, and what it is to be called with. */
static int check_exports(struct run *run) {
    struct husk_error err;
    char list[320];
    const struct husk_extern *func = run_find_func(run);
    if (run->is_standing || (run->is_snapshot && run->invoke == NULL && run->until == NULL))
        return CLI_OK;
    if (func != NULL)
        return run->invoke != NULL ? parse_args(run, &func->func) : CLI_OK;
    externs_list_funcs(&run->externs, list, sizeof list);
    if (run->invoke == NULL)
        cli_error(
            &err, HUSK_E_NOT_FOUND,
            "is not a program (it exports no _start); call one of its functions with --invoke "
            "FUNCTION, directly behind the file or, as all other options, before it: %s",
            list[0] != '\0' ? list : "it exports none");
    else
        cli_error(&err, HUSK_E_NOT_FOUND, "exports no function '%.100s'; it has: %s", run->invoke,
                  list[0] != '\0' ? list : "none");
    return report_error(&run->report, run->path, &err);
}

int run_check_externs(struct run *run, const struct input *input, struct husk_error *err,
                      int *ret_code) {
    int status = externs_load(&run->externs, input, run->image, err);
    if (status == 0)
        status = define_unasked(run, err);
    if (status == 0)
        status = until_define(run, err);
    if (status != 0)
        return status;
    *ret_code = check_imports(run);
    if (*ret_code == 0)
        *ret_code = check_exports(run);
    return 0;
}
