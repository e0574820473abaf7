/*
 * cli/run_options.c: the command line of husk run and husk snapshot.
 */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum {
    OPT_ENV = 256,
    OPT_ENV_FILE,
    OPT_INHERIT_ENV,
    OPT_REPRODUCIBLE,
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
    OPT_NO_BACKGROUND,
    OPT_NO_CACHE,
    OPT_NO_VERIFY,
    OPT_ARGV0,
    OPT_UNKNOWN_IMPORTS,
    OPT_SEEK,
    OPT_DIR,
    OPT_LINK,
    OPT_LISTEN,
    OPT_MAX_PRIVATE,
    OPT_MAX_NAMES,
    OPT_MAX_OPEN,
    OPT_NEW_SURROUNDINGS,
    OPT_TERMINALS,
    OPT_UNTIL
};

static const struct option run_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"argv0", required_argument, NULL, OPT_ARGV0},
    COMPILE_OPTION_ROWS,
    {"unknown-imports", required_argument, NULL, OPT_UNKNOWN_IMPORTS},
    {"env", required_argument, NULL, OPT_ENV},
    {"env-file", required_argument, NULL, OPT_ENV_FILE},
    {"inherit-env", required_argument, NULL, OPT_INHERIT_ENV},
    {"reproducible", optional_argument, NULL, OPT_REPRODUCIBLE},
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
    {"no-background", no_argument, NULL, OPT_NO_BACKGROUND},
    {"no-cache", no_argument, NULL, OPT_NO_CACHE},
    {"no-verify", no_argument, NULL, OPT_NO_VERIFY},
    {"seek", no_argument, NULL, OPT_SEEK},
    {"dir", required_argument, NULL, OPT_DIR},
    {"link", required_argument, NULL, OPT_LINK},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"max-private", required_argument, NULL, OPT_MAX_PRIVATE},
    {"max-names", required_argument, NULL, OPT_MAX_NAMES},
    {"max-open", required_argument, NULL, OPT_MAX_OPEN},
    {"new-surroundings", no_argument, NULL, OPT_NEW_SURROUNDINGS},
    {"terminals", no_argument, NULL, OPT_TERMINALS}, /* husk snapshot only */
    {"until", required_argument, NULL, OPT_UNTIL},   /* husk snapshot only */
    {NULL, 0, NULL, 0},
};

static int take_size(const struct run *run, const char *option, uint64_t *ret_bytes) {
    if (parse_size(optarg, ret_bytes) && *ret_bytes > 0)
        return CLI_OK;
    return report_usage(&run->report, "%s wants a size such as 64M, not '%s'", option, optarg);
}

static int take_duration(const struct run *run, const char *option, uint64_t *ret_ns) {
    if (parse_duration(optarg, ret_ns) && *ret_ns > 0)
        return CLI_OK;
    return report_usage(&run->report, "%s wants a time such as 500ms or 2s, not '%s'", option,
                        optarg);
}

static int take_unknown_imports(struct run *run) {
    if (strcmp(optarg, "trap") == 0)
        run->unknown_imports = HUSK_UNKNOWN_TRAP;
    else if (strcmp(optarg, "refuse") == 0)
        run->unknown_imports = HUSK_UNKNOWN_REFUSED;
    else
        return report_usage(&run->report, "--unknown-imports wants trap or refuse, not '%s'",
                            optarg);
    return CLI_OK;
}

/* Seed 0 would be the kernel's random numbers. */
static int take_reproducible(struct run *run) {
    char *end = "";
    errno = 0;
    run->random_seed = optarg == NULL ? 1 : strtoull(optarg, &end, 0);
    if (run->random_seed != 0 && errno == 0 && *end == '\0' &&
        (optarg == NULL || (optarg[0] >= '0' && optarg[0] <= '9')))
        return CLI_OK;
    return report_usage(&run->report, "--reproducible wants a seed from 1 to 2^64 - 1, not '%s'",
                        optarg);
}

/* The function's name without its escapes. */
static int take_invoke(struct run *run) {
    run->func_name = malloc(strlen(run->invoke) + 1);
    if (run->func_name == NULL)
        return report_usage(&run->report, "out of memory");
    if (parse_name(run->invoke, run->func_name, &run->func_name_bytes))
        return CLI_OK;
    return report_usage(
        &run->report,
        "--invoke: '%s' is not a name as husk inspect prints them: a backslash is written "
        "\\\\, any other byte can be \\hh, as in a\\00b",
        run->invoke);
}

/* Options of husk snapshot alone. */
static int take_snapshot_option(struct run *run, int option) {
    if (!run->is_snapshot)
        return report_usage(&run->report, "bad option '--%s': it is one of husk snapshot",
                            option == OPT_UNTIL       ? "until"
                            : option == OPT_TERMINALS ? "terminals"
                                                      : "output");
    if (option == OPT_UNTIL)
        run->until = optarg;
    else if (option == OPT_TERMINALS)
        run->has_terminals = true;
    else
        run->output = optarg;
    return CLI_OK;
}

static int take_option(struct run *run, int option, char **argv) {
    switch (option) {
    case OPT_ENV: return run_add_env(run, optarg);
    case OPT_ENV_FILE: return run_add_env_file(run, optarg);
    case OPT_INHERIT_ENV: return run_inherit_env(run, optarg);
    case OPT_REPRODUCIBLE: return take_reproducible(run);
    case OPT_INVOKE: run->invoke = optarg; return CLI_OK;
    case OPT_MAX_MEMORY:
        return take_size(run, "--max-memory", &run->sandbox_options.memory_max_bytes);
    case OPT_STACK: return take_size(run, "--stack", &run->sandbox_options.stack_bytes);
    case OPT_TIMEOUT: return take_duration(run, "--timeout", &run->limits.wall_ns);
    case OPT_CPU_TIMEOUT: return take_duration(run, "--cpu-timeout", &run->limits.cpu_ns);
    case OPT_STATS: run->has_stats = true; return CLI_OK;
    case OPT_JSON: run->report.is_json = true; return CLI_OK;
    case OPT_CPU: run->compile.options.cpu = optarg; return CLI_OK;
    case OPT_SEEK: run->stream_rights = HUSK_WASI_SEEK; return CLI_OK;
    case OPT_DIR: return take_dir_option(run, optarg);
    case OPT_LINK: return take_link_option(&run->report, &run->compile, optarg);
    case OPT_MAX_PRIVATE: return take_size(run, "--max-private", &run->private_max_bytes);
    case OPT_MAX_NAMES: return take_max_names_option(run, optarg);
    case OPT_MAX_OPEN: return take_max_open_option(run, optarg);
    case OPT_LISTEN: return take_listen_option(run, "--listen", optarg);
    case OPT_STRICT: run->compile.options.strict = true; return CLI_OK;
    case OPT_STRICT_TRAPS: return report_usage(&run->report, "--strict-traps is now --strict");
    case OPT_ALLOW_UNCONTAINED:
    case OPT_COMPILE_CPU_LIMIT:
    case OPT_DISABLE:
    case OPT_COMPILE_MEMORY_LIMIT: return take_compile_option(&run->report, &run->compile, option);
    case OPT_ARGV0: run->argv0 = optarg; return CLI_OK;
    case OPT_UNKNOWN_IMPORTS: return take_unknown_imports(run);
    case OPT_NO_BACKGROUND: run->has_no_background = true; return CLI_OK;
    case OPT_NO_CACHE: run->compile.is_uncached = true; return CLI_OK;
    case OPT_NO_VERIFY: run->is_unverified = true; return CLI_OK;
    case OPT_NEW_SURROUNDINGS: run->has_new_surroundings = true; return CLI_OK;
    case OPT_UNTIL:
    case OPT_TERMINALS:
    case 'o': return take_snapshot_option(run, option);
    case 'O':
        if (parse_opt_level(optarg, &run->compile.options.opt_level))
            return CLI_OK;
        return report_usage(&run->report, "-O wants 0, 1, 2 or 3, not '%s'", optarg);
    default: return report_bad_option(&run->report, argv);
    }
}

/* CLI_OK and *ret_has_help: help was asked for, and printed. */
static int take_options(struct run *run, int argc, char **argv, bool *ret_has_help,
                        bool *ret_has_end) {
    /* no program: options may stand anywhere */
    const char *letters = run->is_snapshot ? ":hO:o:" : "+:hO:";
    int option, at = optind;
    opterr = 0;
    while ((option = getopt_long(argc, argv, letters, run_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(run->is_snapshot ? help_snapshot : help_run, stdout);
            *ret_has_help = true;
            return CLI_OK;
        }
        int code = take_option(run, option, argv);
        if (code != 0)
            return code;
        at = optind;
    }
    *ret_has_end = optind != at; /* of what ends the options, only "--" is passed over */
    return CLI_OK;
}

/* FILE --invoke FUNCTION ARGS…: the one option of husk run that may stand behind the file, and only
 * directly behind it: any other word there is the program's. */
static int take_trailing_invoke(struct run *run) {
    static const char option[] = "--invoke";
    const size_t bytes = sizeof option - 1;
    size_t taken = 1;
    if (run->words_count == 0 || strncmp(run->words[0], option, bytes) != 0)
        return CLI_OK;
    if (run->words[0][bytes] == '=') {
        run->invoke = run->words[0] + bytes + 1;
    } else if (run->words[0][bytes] != '\0') {
        return CLI_OK;
    } else if (run->words_count == 1) {
        return report_usage(&run->report, "which function? Name it behind --invoke (for the "
                                          "program's own --invoke: husk run -- FILE --invoke)");
    } else {
        run->invoke = run->words[1];
        taken = 2;
    }
    run->words += taken;
    run->words_count -= taken;
    return CLI_OK;
}

/* app.wasm → app.warm.husk, in the current folder. Not app.husk: that is the compiled module. */
static char *default_output(const char *input_path) {
    const char *slash = strrchr(input_path, '/');
    const char *name = slash != NULL ? slash + 1 : input_path, *dot = strrchr(name, '.');
    const size_t stem = dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);
    char *path = malloc(stem + sizeof ".warm.husk");
    if (path == NULL)
        return NULL;
    memcpy(path, name, stem);
    memcpy(path + stem, ".warm.husk", sizeof ".warm.husk");
    return path;
}

static int check_snapshot_output(struct run *run, const char *path) {
    if (run->output == NULL && run->until != NULL && strcmp(path, "-") != 0)
        run->output = run->own_output = default_output(path);
    if (run->output != NULL)
        return check_output(&run->report, path, run->output);
    if (run->invoke != NULL && run->invoke[0] == '-')
        return report_usage(
            &run->report,
            "where to? Name a file with -o FILE.husk ('%s' was taken for the function that "
            "--invoke wants)",
            run->invoke);
    return report_usage(&run->report, "where to? Name a file with -o FILE.husk");
}

/* What follows the file is the program's, but for --invoke. */
int run_take_arguments(struct run *run, int argc, char **argv) {
    bool has_help = false, has_end = false;
    int code = take_options(run, argc, argv, &has_help, &has_end);
    if (code != 0 || has_help)
        return code;
    if (optind == argc)
        return report_usage(&run->report, "which file? Name a .wasm module or a .husk image");
    code = run->is_snapshot ? check_snapshot_output(run, argv[optind]) : CLI_OK;
    if (code != 0)
        return code;
    run->words = argv + optind + 1;
    run->words_count = (size_t)(argc - optind - 1);
    if (!run->is_snapshot && run->invoke == NULL && !has_end)
        code = take_trailing_invoke(run);
    if (code == 0 && run->invoke != NULL)
        code = take_invoke(run);
    if (code != 0)
        return code;
    run->compile.is_in_background = !run->is_snapshot && !run->has_no_background &&
                                    run->compile.options.opt_level == 0 && background_is_allowed();
    run->path = argv[optind];
    return CLI_OK;
}
