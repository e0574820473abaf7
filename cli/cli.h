/*
 * cli/cli.h: internal header of the husk command, which uses only the public headers of Husk.
 *
 * main.c picks a command, and cmd_*.c are the commands. input.c reads wasm and image files,
 * externs.c their imports and exports, and store.c compiles and caches. typed.c turns text into
 * typed values and back. report.c prints errors, traps and JSON, stats.c prints counters, and
 * units.c reads durations and sizes.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "husk.h"
#include "husk_compile.h"

/* Exit codes, documented in husk(1). A program's own exit code passes through (its low 8 bits). */
enum cli_exit {
    CLI_OK = 0,
    CLI_INVALID = 1, /* validate: the module is not valid; doctor: a requirement is missing */
    CLI_USAGE = 2,
    /* validate: the module uses features that husk does not support, or exceeds its limits */
    CLI_UNSUPPORTED = 3,
    CLI_TIMEOUT = 124,     /* as for timeout(1) */
    CLI_ERROR = 125,       /* husk itself failed: file, compiler, KVM, … */
    CLI_INTERRUPTED = 130, /* 128 + SIGINT; for another signal, 128 + its number */
    CLI_TRAP = 134,        /* 128 + SIGABRT, as a shell reports a native program that aborts */
    /* 128 + SIGSEGV: the image did something that compiled modules never do */
    CLI_VIOLATION = 139
};

/* ---- main.c ---- */
/* STDIN_FILENO and so on, or -1 if it was closed when husk started. */
int standard_stream(int fd);

/* ---- report.c ---- */
/* Names the command that reports, and the form of the report. */
struct report {
    const char *command; /* "run", … */
    bool is_json;        /* one JSON object per run on standard output, instead of text */
    void (*take)(const char *text); /* gets what is wrong with options; NULL: standard error does */
};
/* Print "husk COMMAND: message". Returns CLI_ERROR. */
int report_error(const struct report *report, const char *path, const struct husk_error *err);
void report_warning(const struct report *report, const char *what, const struct husk_error *cause);
int report_usage(const struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Report the option that getopt_long() did not understand. */
int report_bad_option(const struct report *report, char **argv);
/* Report how the sandbox's last call ended, if it did not return. Returns the exit code. */
int report_outcome(const struct report *report, husk_sandbox *sandbox,
                   const struct husk_outcome *outcome);
/* Print the frames of a backtrace, a line each; in JSON on standard output, as two members of an
 * object. */
void backtrace_text(FILE *out, const struct husk_backtrace *backtrace);
void frames_json(const struct husk_backtrace *backtrace);
/* Print a JSON string of `count` bytes, quoted and escaped. Bytes that are not UTF-8 become
 * U+FFFD. */
void json_string(FILE *out, const char *text, size_t count);
void json_text(FILE *out, const char *text);
/* Print a name from a module, escaped by husk_name_escape(). */
void put_name(FILE *out, const char *name, size_t count);
/* externs.c: the same, in quotes if it is empty or has one of the separators. */
void put_part(FILE *out, const char *name, size_t count, const char *separators);
/* externs.c: MODULE.NAME of an import, NAME of an export. */
void put_extern_name(FILE *out, const struct husk_extern *item);
/* Print a message or a path, escaped in the same way, except that backslashes and quotation marks
 * stay. Names in messages are escaped already. */
void put_text(FILE *out, const char *text);
/* Flush standard output and check for errors, such as a full disk. Returns code, or CLI_ERROR. If
 * standard output is a pipe without a reader, it ends the process. */
int finish_output(const struct report *report, int code);
/* End the process quietly by SIGPIPE, as other programs do if nobody reads standard output (husk …
 * | head). It works even if the signal is ignored. */
void end_by_sigpipe(void) __attribute__((noreturn));

/* ---- stats.c: prints lines "husk: …" ---- */
void print_engine_stats(FILE *out, const husk_engine *engine);
/* Say that memory.grow was refused, if it was. limit_bytes 0: there is no limit of ours. */
void report_memory_limit(const struct report *report, const husk_sandbox *sandbox,
                         uint64_t limit_bytes);

/* ---- units.c: false if the text is not understood ---- */
bool parse_duration(const char *text,
                    uint64_t *ret_ns); /* 500ms, 2s, 1.5s, 100us, 3m; seconds without a unit */
/* A decimal number without a sign, at most `max`. */
bool parse_number(const char *text, uint64_t max, uint64_t *ret_number);
bool parse_size(const char *text, uint64_t *ret_bytes); /* 65536, 64K, 16M, 1G (powers of 1024) */
void format_bytes(uint64_t bytes, char *out, size_t out_bytes);
uint64_t now_ns(void);

/* ---- typed.c ---- */
bool parse_value(const char *text, husk_type type, struct husk_value *ret_value);
void print_value(FILE *out, const struct husk_value *value);      /* 42:i32 */
void print_value_json(FILE *out, const struct husk_value *value); /* {"type":"i32","value":42} */
void print_params(FILE *out, const struct husk_functype *type);   /* (i32, i64) */
void print_functype(FILE *out, const struct husk_functype *type); /* (i32, i64) -> f32 */

/* ---- input.c ---- */
enum input_kind { INPUT_WASM, INPUT_IMAGE };
struct input {
    enum input_kind kind;
    const char *path;
    /* the whole module or image; only its first bytes if it is an image in a file, or a module in a
     * file that was not read yet */
    uint8_t *bytes;
    size_t count; /* of the bytes; for an image, of the whole file */
    int fd;       /* the file, if it is a regular one; else -1 */
};
/* Read a file ("-": standard input) and find its kind. The error says what is wrong and what to
 * do. */
int input_load(const char *path, struct input *ret_input, struct husk_error *err);
/* The same, but a module in a file is read only by the next function. */
int input_peek(const char *path, struct input *ret_input, struct husk_error *err);
int input_read_module(struct input *input, struct husk_error *err);
void input_done(struct input *input);
/* Without an engine. */
int input_open_image(const struct input *input, const struct husk_open_options *options,
                     husk_image **ret_image, struct husk_error *err);
/* Refuse, as wrong usage, to write an image to standard output or over the module that is read. An
 * image may be replaced by one that is made from it. */
int check_output(const struct report *report, const char *input_path, const char *output);
int cli_error(struct husk_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- externs.c ---- */
void extern_text(FILE *out, const struct husk_extern *item); /* a line, indented */
void extern_json(FILE *out, const struct husk_extern *item); /* an object */
/* Imports and exports of one file. An import has a module name. */
struct externs {
    struct husk_extern **items;
    size_t count;
};
/* Load the externs of an image. If image is NULL, load those of the module in input->bytes, which
 * is decoded but not validated. */
int externs_load(struct externs *ret_externs, const struct input *input, const husk_image *image,
                 struct husk_error *err);
void externs_done(struct externs *externs);
/* The exported function of this name, or NULL. */
const struct husk_extern *externs_func(const struct externs *externs, const char *name,
                                       size_t count);
/* List the names of exported functions, as many as fit: "a, b and 5 more"; "" if there are none. */
void externs_list_funcs(const struct externs *externs, char *out, size_t out_bytes);
#define LIST_MORE_BYTES 32 /* the part of out_bytes that is kept for " and 100000 more" */
/* Undo the escapes \\, \" and \hh in a name that inspect printed. `out` has room for strlen(text) +
 * 1 bytes; a NUL is added. False if there is another escape. */
bool parse_name(const char *text, char *out, size_t *ret_count);

/* ---- store.c ---- */
struct linked_file; /* link.c */
struct compile_request {
    struct husk_compile_options options;
    bool is_uncached;
    /* An image that is not in the cache is one of level 0, and the optimised one is made behind
     * it. */
    bool is_in_background;
    struct linked_file *links; /* --link, in order */
    size_t links_count;
};
struct compile_result {
    int fd;
    bool was_cached;
    bool is_unoptimised; /* the optimised image is made behind it, or cannot be */
    uint64_t ns;
};
/* The cache folder: $HUSK_CACHE_DIR, $XDG_CACHE_HOME/husk or $HOME/.cache/husk. False if none of
 * them is set to a folder. Deliberately not the home of the password file: services and containers
 * unset HOME on purpose, so husk must leave no files there. */
#define NO_CACHE_TEXT                                                                              \
    "no folder for compiled modules, so each run compiles anew: set HUSK_CACHE_DIR, "              \
    "XDG_CACHE_HOME or HOME"
bool cache_dir(char *out, size_t out_bytes);
/* The limit of the cache: "10G", "none" (HUSK_CACHE_UNLIMITED) or "default" (0). False: another
 * text. */
bool parse_cache_limit(const char *text, uint64_t *ret_bytes);
/* $HUSK_CACHE_LIMIT, or 0. False: it is not understood. */
#define BAD_CACHE_LIMIT_TEXT                                                                       \
    "HUSK_CACHE_LIMIT is not understood: it is a size such as 10G, none or default"
bool cache_limit_wanted(uint64_t *ret_bytes);
/* -O N: as husk_compile_options.opt_level; false if the text is not understood. */
bool parse_opt_level(const char *text, int *ret_level);
/* Options of every command that compiles: the rows for getopt_long(), and a function that takes one
 * option. */
enum { OPT_COMPILE_CPU_LIMIT = 512, OPT_COMPILE_MEMORY_LIMIT, OPT_ALLOW_UNCONTAINED, OPT_DISABLE };
#define COMPILE_OPTION_ROWS                                                                        \
    {"allow-uncontained-compiler", no_argument, NULL, OPT_ALLOW_UNCONTAINED},                      \
        {"disable", required_argument, NULL, OPT_DISABLE},                                         \
        {"compile-cpu", required_argument, NULL, OPT_COMPILE_CPU_LIMIT},                           \
        {"compile-cpu-limit", required_argument, NULL, OPT_COMPILE_CPU_LIMIT},                     \
        {"compile-memory", required_argument, NULL, OPT_COMPILE_MEMORY_LIMIT}, {                   \
        "compile-memory-limit", required_argument, NULL, OPT_COMPILE_MEMORY_LIMIT                  \
    }
int take_compile_option(const struct report *report, struct compile_request *request, int option);
/* Open the image of a module without reading that, if the cache knows the file. Errors need no
 * report: whoever compiles it then meets them again. */
int cache_open(const struct input *input, const struct compile_request *request, bool is_verified,
               husk_image **ret_image);
/* Compile, with a progress line on a terminal. An unusable cache is a warning. */
int compile_input(const struct report *report, const struct input *input,
                  struct compile_request *request, struct compile_result *ret_result,
                  struct husk_error *err);
/* The same, with the image written to a file. */
int compile_input_to(const struct input *input, struct compile_request *request, const char *path,
                     struct husk_error *err);

/* ---- background.c ---- */
/* Does the environment allow jobs ($HUSK_BACKGROUND)? */
bool background_is_allowed(void);
/* Say what becomes of the optimised image: on a terminal, or if it cannot be made. */
void background_tell(const struct report *report, const char *path,
                     const struct husk_compiled *compiled);

#define KEY_SHOWN 12 /* digits of a key that are enough to tell images apart */
/* ---- cache_jobs.c: husk cache jobs, stop, forget. key: its first digits; NULL: all ---- */
int cache_jobs(const struct report *report, const char *dir);
int cache_stop(const struct report *report, const char *dir, const char *key);
int cache_forget(const struct report *report, const char *dir, const char *key);
/* Seconds since 1970 as 2026-11-30 01:23; "" if that is no time. Returns `out`. */
const char *local_time_text(int64_t seconds, char out[32]);

/* ---- inspect_standing.c ---- */
/* Print where the call stands that a snapshot holds, and what its program was given. Nothing, if
 * there is none. HUSK_E_BAD_IMAGE, HUSK_E_NOMEM. */
int inspect_standing(bool is_json, const husk_image *image, struct husk_error *err);

/* ---- link.c ---- */
#define LINK_MAIN_NAME "main" /* of the command's own file among the linked ones */
int take_link_option(const struct report *report, struct compile_request *request,
                     const char *text);
/* Read the linked files, and list them and the command's file, which is last: links_count + 1
 * modules. The caller frees the list; what it points to lives until links_done(). */
int links_load(const struct compile_request *request, const struct input *main_input,
               struct husk_module **ret_modules, struct husk_error *err);
void links_done(struct compile_request *request);

/* ---- commands: argv[0] is the command's name ---- */
int cmd_run(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_compile(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_validate(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_cache(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

/* ---- help.c ---- */
extern const char help_husk[], help_run[], help_snapshot[], help_compile[], help_inspect[],
    help_validate[], help_cache[], help_doctor[], help_serve[];

#endif
