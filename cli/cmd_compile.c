/*
 * cli/cmd_compile.c: husk compile: a module to an image file. And husk validate.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { OPT_CPU = 256, OPT_STRICT, OPT_STRICT_TRAPS, OPT_THREADS, OPT_LINK, OPT_JSON };

struct compile {
    struct report report;
    struct compile_request request;
    const char *input_path;
    const char *output_path;
};

static const struct option compile_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"output", required_argument, NULL, 'o'},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"strict-traps", no_argument, NULL, OPT_STRICT_TRAPS},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"link", required_argument, NULL, OPT_LINK},
    COMPILE_OPTION_ROWS,
    {"json", no_argument, NULL, OPT_JSON},
    {NULL, 0, NULL, 0},
};

static int take_threads(struct compile *compile) {
    uint64_t threads = 0;
    if (!parse_number(optarg, 64, &threads))
        return report_usage(&compile->report, "--threads wants a number up to 64, not '%s'",
                            optarg);
    compile->request.options.threads = (uint32_t)threads;
    return CLI_OK;
}

static int take_option(struct compile *compile, int option, char **argv) {
    switch (option) {
    case 'o': compile->output_path = optarg; return CLI_OK;
    case 'O':
        if (parse_opt_level(optarg, &compile->request.options.opt_level))
            return CLI_OK;
        return report_usage(&compile->report, "-O wants 0, 1, 2 or 3, not '%s'", optarg);
    case OPT_CPU: compile->request.options.cpu = optarg; return CLI_OK;
    case OPT_STRICT: compile->request.options.strict = true; return CLI_OK;
    case OPT_STRICT_TRAPS: return report_usage(&compile->report, "--strict-traps is now --strict");
    case OPT_ALLOW_UNCONTAINED:
    case OPT_DISABLE:
    case OPT_COMPILE_CPU_LIMIT:
    case OPT_COMPILE_MEMORY_LIMIT:
        return take_compile_option(&compile->report, &compile->request, option);
    case OPT_THREADS: return take_threads(compile);
    case OPT_LINK: return take_link_option(&compile->report, &compile->request, optarg);
    case OPT_JSON: compile->report.is_json = true; return CLI_OK;
    default: return report_bad_option(&compile->report, argv);
    }
}

/* prog.wasm → prog.husk, in the current folder's terms: beside the input. */
static char *default_output(const char *input_path) {
    const char *slash = strrchr(input_path, '/'), *dot = strrchr(input_path, '.');
    size_t stem = dot != NULL && (slash == NULL || dot > slash + 1) && dot != input_path
                      ? (size_t)(dot - input_path)
                      : strlen(input_path);
    char *path = malloc(stem + 6);
    if (path == NULL)
        return NULL;
    memcpy(path, input_path, stem);
    memcpy(path + stem, ".husk", 6);
    return path;
}

static int compile_to(struct compile *compile, const char *output) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct input input;
    int code = check_output(&compile->report, compile->input_path, output);
    if (code != 0)
        return code;
    int status = input_load(compile->input_path, &input, &err);
    if (status == 0 && input.kind == INPUT_IMAGE) {
        input_done(&input);
        status = cli_error(&err, HUSK_E_INVAL, "is a husk image already");
    } else if (status == 0) {
        status = compile_input_to(&input, &compile->request, output, &err);
        input_done(&input);
    }
    return status != 0 ? report_error(&compile->report, compile->input_path, &err) : CLI_OK;
}

static int compile_all(struct compile *compile) {
    if (compile->output_path != NULL)
        return compile_to(compile, compile->output_path);
    if (strcmp(compile->input_path, "-") == 0)
        return report_usage(&compile->report, "reading standard input: name the output with -o");
    char *made = default_output(compile->input_path);
    int code =
        made != NULL ? compile_to(compile, made) : report_usage(&compile->report, "out of memory");
    free(made);
    return code;
}

static int compile_take_arguments(struct compile *compile, int argc, char **argv) {
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":ho:O:", compile_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_compile, stdout);
            return finish_output(&compile->report, CLI_OK);
        }
        int code = take_option(compile, option, argv);
        if (code != 0)
            return code;
    }
    if (argc - optind != 1)
        return report_usage(&compile->report, "one input file is wanted, not %d", argc - optind);
    compile->input_path = argv[optind];
    return CLI_OK;
}

int cmd_compile(int argc, char **argv) {
    struct compile compile = {.report = {.command = "compile"},
                              .request = {.options = HUSK_COMPILE_OPTIONS_INIT}};
    int code = compile_take_arguments(&compile, argc, argv);
    if (code == 0 && compile.input_path != NULL)
        code = finish_output(&compile.report, compile_all(&compile));
    links_done(&compile.request);
    return code;
}

/* ---- validate ---- */

static const struct option validate_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"disable", required_argument, NULL, OPT_DISABLE},
    {"json", no_argument, NULL, OPT_JSON},
    {NULL, 0, NULL, 0},
};

/* What a status says of the module: CLI_ERROR if nothing. */
static int verdict(int status) {
    switch (status) {
    case HUSK_OK: return CLI_OK;
    case HUSK_E_UNSUPPORTED:
    case HUSK_E_LIMIT: return CLI_UNSUPPORTED;
    case HUSK_E_BAD_WASM:
    case HUSK_E_BAD_IMAGE: /* a native program */
    case HUSK_E_INVALID_WASM: return CLI_INVALID;
    default: return CLI_ERROR;
    }
}

/* Of several files the worst counts: not read, not valid, not supported, valid. */
static int worse(int a, int b) {
    static const int order[] = {CLI_ERROR, CLI_INVALID, CLI_UNSUPPORTED};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return CLI_OK;
}

/* A valid module that husk compile would refuse is reported, too. */
static void report_valid(const struct report *report, const char *path,
                         const struct husk_error *refused) {
    if (report->is_json) {
        fputs("{\"file\":", stdout);
        json_text(stdout, path);
        fputs(",\"valid\":true", stdout);
        if (refused != NULL) {
            fputs(",\"supported\":false,\"message\":", stdout);
            json_text(stdout, refused->message);
        }
        fputs("}\n", stdout);
    } else if (refused != NULL) {
        fprintf(stderr, "husk %s: ", report->command);
        put_text(stderr, path);
        fprintf(stderr, ": is valid, but %s\n", refused->message);
    }
}

/* CLI_OK; or what is wrong: CLI_INVALID, CLI_UNSUPPORTED; CLI_ERROR: could not be read. */
static int validate_one(const struct report *report, const char *path,
                        const struct husk_compile_options *options) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct husk_error refused = err;
    struct input input;
    int status = input_load(path, &input, &err);
    if (status == 0 && input.kind == INPUT_IMAGE) {
        status = cli_error(&err, HUSK_E_INVAL,
                           "is a husk image, not a module; husk inspect reads those");
        input_done(&input);
    } else if (status == 0) {
        status = husk_validate(input.bytes, input.count, &err);
        if (status == 0)
            refused.status = husk_compile_check(input.bytes, input.count, options, &refused);
        input_done(&input);
    }
    if (status != 0) {
        report_error(report, path, &err);
        return verdict(status);
    }
    if (refused.status != 0 && refused.status != HUSK_E_UNSUPPORTED) {
        report_error(report, path, &refused);
        return verdict(refused.status);
    }
    report_valid(report, path, refused.status != 0 ? &refused : NULL);
    return refused.status != 0 ? CLI_UNSUPPORTED : CLI_OK;
}

int cmd_validate(int argc, char **argv) {
    struct report report = {.command = "validate"};
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    int option, code = CLI_OK;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", validate_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help_validate, stdout);
            return finish_output(&report, CLI_OK);
        }
        if (option == OPT_DISABLE)
            options.disable = optarg;
        else if (option == OPT_JSON)
            report.is_json = true;
        else
            return report_bad_option(&report, argv);
    }
    if (optind == argc)
        return report_usage(&report, "which file?");
    for (int i = optind; i < argc; i++)
        code = worse(code, validate_one(&report, argv[i], &options));
    return finish_output(&report, code);
}
