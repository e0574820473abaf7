/*
 * cli/cmd_run.c: husk run: a module or image as a program, or one of its functions; and husk snapshot: the same up to a point, and
 * then the state is written to a file.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

struct run {
    struct report report;
    const char *path;
    const char *invoke; /* NULL: _start; of a snapshot: only what initialises the module */
    bool is_snapshot;
    const char *output; /* of a snapshot */
    bool has_stats;
    bool is_unverified;
    char **words; /* after the file: the program's arguments, or the function's */
    size_t words_count;
    const char **env;
    size_t env_count;
    struct compile_request compile;
    struct husk_sandbox_options sandbox_options;
    struct husk_call_options call_options;
    /* on the way */
    struct compile_result compiled;
    bool was_compiled;
    husk_engine *engine;
    husk_image *image;
    husk_sandbox *sandbox;
    uint64_t started_ns, ready_ns, opened_ns, made_ns, called_ns;
};

/* ---- Options ---- */

enum {
    OPT_ENV = 256,
    OPT_INVOKE,
    OPT_MAX_MEMORY,
    OPT_STACK,
    OPT_TIMEOUT,
    OPT_CPU_TIMEOUT,
    OPT_STATS,
    OPT_JSON,
    OPT_CPU,
    OPT_STRICT,
    OPT_STRICT_TRAPS,
    OPT_NO_CACHE,
    OPT_NO_VERIFY
};

static const struct option run_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"env", required_argument, NULL, OPT_ENV},
    {"invoke", required_argument, NULL, OPT_INVOKE},
    {"output", required_argument, NULL, 'o'}, /* husk snapshot only */
    {"max-memory", required_argument, NULL, OPT_MAX_MEMORY},
    {"stack", required_argument, NULL, OPT_STACK},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"cpu-timeout", required_argument, NULL, OPT_CPU_TIMEOUT},
    {"stats", no_argument, NULL, OPT_STATS},
    {"json", no_argument, NULL, OPT_JSON},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"strict-traps", no_argument, NULL, OPT_STRICT_TRAPS},
    {"no-cache", no_argument, NULL, OPT_NO_CACHE},
    {"no-verify", no_argument, NULL, OPT_NO_VERIFY},
    {NULL, 0, NULL, 0},
};

/* NAME=value, or NAME: as in husk's own environment. */
static int add_env(struct run *run, const char *text) {
    const char **grown = realloc(run->env, (run->env_count + 1) * sizeof(*grown));
    if (!grown)
        return report_usage(&run->report, "out of memory");
    run->env = grown;
    if (text[0] == '=' || text[0] == 0)
        return report_usage(&run->report, "--env wants NAME=value, not '%s'", text);
    if (!strchr(text, '=')) {
        /* environ has "NAME=value" whole, which outlives us */
        extern char **environ;
        size_t bytes = strlen(text);
        const char *found = NULL;
        for (char **row = environ; *row; row++)
            if (strncmp(*row, text, bytes) == 0 && (*row)[bytes] == '=')
                found = *row;
        if (!found)
            return CLI_OK; /* not set here: not set there */
        text = found;
    }
    run->env[run->env_count++] = text;
    return CLI_OK;
}

static int take_size(const struct run *run, const char *option, uint64_t *ret_bytes) {
    if (parse_size(optarg, ret_bytes) && *ret_bytes > 0)
        return CLI_OK;
    return report_usage(&run->report, "%s wants a size such as 64M, not '%s'", option, optarg);
}

static int take_duration(const struct run *run, const char *option, uint64_t *ret_ns) {
    if (parse_duration(optarg, ret_ns) && *ret_ns > 0)
        return CLI_OK;
    return report_usage(&run->report, "%s wants a time such as 500ms or 2s, not '%s'", option, optarg);
}

static int take_option(struct run *run, int option, char **argv) {
    switch (option) {
    case OPT_ENV: return add_env(run, optarg);
    case OPT_INVOKE: run->invoke = optarg; return CLI_OK;
    case OPT_MAX_MEMORY: return take_size(run, "--max-memory", &run->sandbox_options.memory_max_bytes);
    case OPT_STACK: return take_size(run, "--stack", &run->sandbox_options.stack_bytes);
    case OPT_TIMEOUT: return take_duration(run, "--timeout", &run->call_options.wall_ns);
    case OPT_CPU_TIMEOUT: return take_duration(run, "--cpu-timeout", &run->call_options.cpu_ns);
    case OPT_STATS: run->has_stats = true; return CLI_OK;
    case OPT_JSON: run->report.is_json = true; return CLI_OK;
    case OPT_CPU: run->compile.options.cpu = optarg; return CLI_OK;
    case OPT_STRICT: run->compile.options.strict = true; return CLI_OK;
    case OPT_STRICT_TRAPS: return report_usage(&run->report, "--strict-traps is now --strict");
    case OPT_NO_CACHE: run->compile.is_uncached = true; return CLI_OK;
    case OPT_NO_VERIFY: run->is_unverified = true; return CLI_OK;
    case 'o':
        if (!run->is_snapshot)
            return report_bad_option(&run->report, argv);
        run->output = optarg;
        return CLI_OK;
    case 'O':
        if (parse_opt_level(optarg, &run->compile.options.opt_level))
            return CLI_OK;
        return report_usage(&run->report, "-O wants 0, 1, 2 or 3, not '%s'", optarg);
    default: return report_bad_option(&run->report, argv);
    }
}

/* CLI_OK and *ret_has_help: help was asked for, and printed. */
static int take_options(struct run *run, int argc, char **argv, bool *ret_has_help, bool *ret_has_end) {
    const char *letters = run->is_snapshot ? ":hO:o:" : "+:hO:"; /* no program: options may stand anywhere */
    int option, at = optind;
    opterr = 0;
    while ((option = getopt_long(argc, argv, letters, run_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(run->is_snapshot ? help_snapshot : help_run, stdout);
            *ret_has_help = true;
            return CLI_OK;
        }
        int code = take_option(run, option, argv);
        if (code)
            return code;
        at = optind;
    }
    *ret_has_end = optind != at; /* of what ends the options, only "--" is passed over */
    return CLI_OK;
}

/* FILE --invoke FUNCTION ARGS…: the one option of husk run that may stand behind the file, and only directly behind it: any other word there
 * is the program's. */
static int take_trailing_invoke(struct run *run) {
    static const char option[] = "--invoke";
    const size_t bytes = sizeof(option) - 1;
    size_t taken = 1;
    if (run->words_count == 0 || strncmp(run->words[0], option, bytes) != 0)
        return CLI_OK;
    if (run->words[0][bytes] == '=') {
        run->invoke = run->words[0] + bytes + 1;
    } else if (run->words[0][bytes] != 0) {
        return CLI_OK;
    } else if (run->words_count == 1) {
        return report_usage(&run->report,
                            "which function? Name it behind --invoke (for the program's own --invoke: "
                            "husk run -- FILE --invoke)");
    } else {
        run->invoke = run->words[1];
        taken = 2;
    }
    run->words += taken;
    run->words_count -= taken;
    return CLI_OK;
}

static int check_snapshot_output(const struct run *run, const char *path) {
    if (run->output)
        return check_output(&run->report, path, run->output);
    if (run->invoke && run->invoke[0] == '-')
        return report_usage(&run->report,
                            "where to? Name a file with -o FILE.husk ('%s' was taken for the function that "
                            "--invoke wants)",
                            run->invoke);
    return report_usage(&run->report, "where to? Name a file with -o FILE.husk");
}

/* What follows the file is the program's, but for --invoke. CLI_OK and run->path NULL: help was asked for. */
static int take_arguments(struct run *run, int argc, char **argv) {
    bool has_help = false, has_end = false;
    int code = take_options(run, argc, argv, &has_help, &has_end);
    if (code || has_help)
        return code;
    if (optind == argc)
        return report_usage(&run->report, "which file? Name a .wasm module or a .husk image");
    code = run->is_snapshot ? check_snapshot_output(run, argv[optind]) : CLI_OK;
    if (code)
        return code;
    run->words = argv + optind + 1;
    run->words_count = (size_t)(argc - optind - 1);
    if (!run->is_snapshot && !run->invoke && !has_end)
        code = take_trailing_invoke(run);
    if (code)
        return code;
    if (run->report.is_json && !run->invoke && !run->is_snapshot)
        return report_usage(&run->report,
                            "--json goes with --invoke (a program's standard output is its own)");
    run->path = argv[optind];
    return CLI_OK;
}

/* ---- From the file to a sandbox ---- */

static int open_input(struct run *run, struct husk_error *err) {
    struct input input;
    int status = input_load(run->path, &input, err);
    if (status)
        return status;
    if (input.kind == INPUT_IMAGE) {
        status = input_open_image(&input, run->engine, !run->is_unverified, &run->image, err);
    } else {
        status = compile_input(&run->report, &input, &run->compile, &run->compiled, err);
        run->was_compiled = status == HUSK_OK;
        if (!status)
            status = husk_image_open_fd(run->engine, run->compiled.fd, false, &run->image, err);
        if (run->was_compiled)
            close(run->compiled.fd);
    }
    input_done(&input);
    run->opened_ns = now_ns();
    return status;
}

static int make_sandbox(struct run *run, struct husk_error *err) {
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    husk_imports *imports = NULL;
    const char **args = calloc(run->words_count + 1, sizeof(*args));
    if (!args)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    args[0] = run->path;
    for (size_t i = 0; i < run->words_count; i++)
        args[i + 1] = run->words[i];
    wasi.args = args;
    wasi.args_count = run->invoke ? 1 : run->words_count + 1;
    wasi.env = run->env;
    wasi.env_count = run->env_count;
    wasi.stdin_fd = standard_stream(STDIN_FILENO);
    wasi.stdout_fd = standard_stream(STDOUT_FILENO);
    wasi.stderr_fd = standard_stream(STDERR_FILENO);
    int status = husk_imports_new(run->engine, &imports, err);
    if (!status)
        status = husk_imports_wasi(imports, &wasi, err);
    if (!status)
        status =
            husk_sandbox_new(run->engine, run->image, imports, &run->sandbox_options, &run->sandbox, err);
    husk_imports_free(imports);
    free(args);
    run->made_ns = now_ns();
    return status;
}

/* ---- Ctrl-C ---- */

static husk_sandbox *volatile interrupted_sandbox;
static volatile sig_atomic_t interrupted_by;

/* The first signal ends the guest's call, the second (SA_RESETHAND) husk. */
static void on_interrupt(int signal) {
    interrupted_by = signal;
    if (interrupted_sandbox)
        husk_interrupt(interrupted_sandbox);
}

/* NULL: no longer. A signal that is ignored (nohup, a shell's background job) stays so. */
static void watch_interrupts(husk_sandbox *sandbox) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction before, action = {.sa_flags = (int)SA_RESETHAND};
    action.sa_handler = sandbox ? on_interrupt : SIG_DFL;
    sigemptyset(&action.sa_mask);
    interrupted_sandbox = sandbox;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(signals[i], &action, NULL);
}

/* ---- Calling ---- */

/* Names the functions that could have been called. */
static int error_no_function(const struct run *run, const char *name, struct husk_error *err) {
    char list[256] = "";
    size_t at = 0, count = husk_image_exports_count(run->image);
    for (size_t i = 0; i < count && at < sizeof(list) - 1; i++) {
        struct husk_extern item;
        if (husk_image_export(run->image, i, &item) != 0 || item.kind != HUSK_EXTERN_FUNC)
            continue;
        int written = snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "", item.name);
        at += written > 0 ? (size_t)written : 0;
    }
    if (!run->invoke)
        return cli_error(err, HUSK_E_NOT_FOUND,
                         "is not a program (it exports no _start); call one of its functions with --invoke "
                         "FUNCTION, directly behind the file or, as all other options, before it: %s",
                         list[0] ? list : "it exports none");
    return cli_error(err, HUSK_E_NOT_FOUND, "exports no function '%s'; it has: %s", name,
                     list[0] ? list : "none");
}

/* A library that WASI's toolchains make ("reactor") wants _initialize to be called once, before anything
 * else. */
static int initialize(struct run *run, struct husk_outcome *outcome, struct husk_error *err) {
    husk_func func;
    struct husk_functype type;
    outcome->kind = HUSK_RETURNED;
    if (husk_image_is_snapshot(run->image)) /* that happened before it was taken */
        return HUSK_OK;
    if (husk_image_func(run->image, "_initialize", &func, &type, NULL) != 0)
        return run->invoke ? HUSK_OK : husk_sandbox_start(run->sandbox, &run->call_options, outcome, err);
    if (type.params_count || type.results_count || (run->invoke && strcmp(run->invoke, "_initialize") == 0))
        return HUSK_OK;
    return husk_call_func(run->sandbox, func, NULL, 0, NULL, 0, &run->call_options, outcome, err);
}

static void print_results(const struct run *run, const struct husk_value *results, size_t count) {
    if (run->report.is_json)
        fputs("{\"outcome\":\"returned\",\"results\":[", stdout);
    for (size_t i = 0; i < count; i++) {
        if (run->report.is_json) {
            if (i)
                fputs(",", stdout);
            print_value_json(stdout, &results[i]);
        } else {
            print_value(stdout, &results[i]);
            fputc('\n', stdout);
        }
    }
    if (run->report.is_json)
        fputs("]}\n", stdout);
}

static int parse_args(const struct run *run, const struct husk_functype *type, struct husk_value *args) {
    if (type->params_count != run->words_count) {
        fprintf(stderr, "husk %s: %s: %s takes %zu argument%s, not %zu: ", run->report.command, run->path,
                run->invoke, type->params_count, type->params_count == 1 ? "" : "s", run->words_count);
        print_functype(stderr, type);
        fputc('\n', stderr);
        return CLI_USAGE;
    }
    for (size_t i = 0; i < type->params_count; i++)
        if (!parse_value(run->words[i], type->params[i], &args[i]))
            return report_usage(&run->report, "argument %zu of %s: '%s' is not of type %s", i + 1,
                                run->invoke, run->words[i], husk_type_name(type->params[i]));
    return CLI_OK;
}

static int save(struct run *run) {
    husk_image *snapshot = NULL;
    struct husk_error err;
    int status = husk_sandbox_snapshot(run->sandbox, &snapshot, &err);
    if (!status)
        status = husk_image_save(snapshot, run->output, &err);
    husk_image_unref(snapshot);
    if (status)
        return report_error(&run->report, run->path, &err);
    if (run->report.is_json) {
        fputs("{\"outcome\":\"returned\",\"snapshot\":", stdout);
        json_text(stdout, run->output);
        fputs("}\n", stdout);
    }
    return CLI_OK;
}

/* A program that exits is over: even with code 0 there is no snapshot, and whoever asked for one must know. */
static int report_no_snapshot(const struct run *run, const struct husk_outcome *outcome) {
    int code = report_outcome(&run->report, outcome);
    if (outcome->kind == HUSK_INTERRUPTED && interrupted_by)
        return 128 + interrupted_by;
    if (outcome->kind != HUSK_EXITED)
        return code;
    if (!run->report.is_json)
        fprintf(stderr, "husk snapshot: the program exited with code %d: there is no snapshot of it\n",
                (int)outcome->exit_code);
    return code ? code : CLI_ERROR;
}

/* husk snapshot without --invoke: what an instance does before anybody calls it. */
static int initialize_and_save(struct run *run) {
    struct husk_outcome outcome = {.kind = HUSK_RETURNED};
    struct husk_error err;
    watch_interrupts(run->sandbox);
    int status = initialize(run, &outcome, &err);
    run->called_ns = now_ns();
    watch_interrupts(NULL);
    if (status)
        return report_error(&run->report, run->path, &err);
    return outcome.kind == HUSK_RETURNED ? save(run) : report_no_snapshot(run, &outcome);
}

/* Runs the call that everything was prepared for. */
static int call(struct run *run) {
    const char *name = run->invoke ? run->invoke : "_start";
    struct husk_functype type;
    struct husk_outcome outcome = {.kind = HUSK_RETURNED};
    struct husk_error err;
    husk_func func;
    if (husk_image_func(run->image, name, &func, &type, NULL) != 0) {
        error_no_function(run, name, &err);
        return report_error(&run->report, run->path, &err);
    }
    struct husk_value *args = calloc(type.params_count + 1, sizeof(*args));
    struct husk_value *results = calloc(type.results_count + 1, sizeof(*results));
    int code = CLI_OK;
    if (!args || !results) {
        cli_error(&err, HUSK_E_NOMEM, "out of memory");
        code = report_error(&run->report, run->path, &err);
    }
    if (!code && run->invoke)
        code = parse_args(run, &type, args);
    if (!code) {
        watch_interrupts(run->sandbox);
        int status = run->invoke ? initialize(run, &outcome, &err) : HUSK_OK;
        if (!status && outcome.kind == HUSK_RETURNED)
            status = husk_call_func(run->sandbox, func, args, run->invoke ? type.params_count : 0, results,
                                    type.results_count, &run->call_options, &outcome, &err);
        run->called_ns = now_ns();
        watch_interrupts(NULL);
        if (status)
            code = report_error(&run->report, run->path, &err);
        else if (run->is_snapshot)
            code = outcome.kind == HUSK_RETURNED ? save(run) : report_no_snapshot(run, &outcome);
        else if (outcome.kind == HUSK_RETURNED && run->invoke)
            print_results(run, results, type.results_count);
        else if (outcome.kind != HUSK_RETURNED || run->invoke)
            code = report_outcome(&run->report, &outcome);
        if (!status && outcome.kind == HUSK_INTERRUPTED && interrupted_by)
            code = 128 + interrupted_by;
    }
    free(args);
    free(results);
    return code;
}

/* ---- All of it ---- */

static void print_stats(const struct run *run) {
    struct husk_image_info info;
    char memory[32];
    husk_image_info(run->image, &info);
    format_bytes(husk_memory_bytes(run->sandbox, 0), memory, sizeof(memory));
    double ms = 1e6;
    fprintf(stderr, "husk: KVM %.3f ms, %s %.3f ms, sandbox %.3f ms, run %.3f ms\n",
            (double)(run->ready_ns - run->started_ns) / ms,
            !run->was_compiled         ? "open"
            : run->compiled.was_cached ? "load from the cache"
                                       : "compile",
            (double)(run->opened_ns - run->ready_ns) / ms, (double)(run->made_ns - run->opened_ns) / ms,
            run->called_ns ? (double)(run->called_ns - run->made_ns) / ms : 0.0);
    fprintf(stderr, "husk: memory %s, code %" PRIu64 " bytes for %s\n", memory, info.text_bytes,
            info.target_cpu);
    print_engine_stats(stderr, run->engine);
}

static int run_all(struct run *run) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    int code = CLI_OK;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.measure_times = run->has_stats;
    run->started_ns = now_ns();
    int status = husk_engine_new(&options, &run->engine, &err);
    if (status)
        return report_error(&run->report, NULL, &err);
    run->ready_ns = now_ns();
    status = open_input(run, &err);
    if (!status)
        status = make_sandbox(run, &err);
    if (status)
        code = report_error(&run->report, run->path, &err);
    else
        code = run->is_snapshot && !run->invoke ? initialize_and_save(run) : call(run);
    if (run->has_stats && run->sandbox)
        print_stats(run);
    husk_sandbox_free(run->sandbox);
    husk_image_unref(run->image);
    husk_engine_free(run->engine);
    return code;
}

static int run_or_snapshot(int argc, char **argv, bool is_snapshot) {
    struct run run = {.report = {.command = is_snapshot ? "snapshot" : "run"},
                      .is_snapshot = is_snapshot,
                      .compile = {.options = HUSK_COMPILE_OPTIONS_INIT},
                      .sandbox_options = HUSK_SANDBOX_OPTIONS_INIT,
                      .call_options = HUSK_CALL_OPTIONS_INIT};
    int code = take_arguments(&run, argc, argv);
    if (!code && run.path)
        code = run_all(&run);
    free(run.env);
    return finish_output(&run.report, code);
}

int cmd_run(int argc, char **argv) {
    return run_or_snapshot(argc, argv, false);
}

int cmd_snapshot(int argc, char **argv) {
    return run_or_snapshot(argc, argv, true);
}
