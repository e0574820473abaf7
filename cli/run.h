/*
 * cli/run.h: the state of one husk run or husk snapshot, from its command line (run_options.c) to
 * its end (cmd_run.c).
 *
 * A snapshot of a program in the middle of a call:
 *
 *   husk snapshot --until   streams_give(), until_define() → call → HUSK_PENDING → until_save()
 *   husk run                surroundings_settle() → sandbox → husk_call_resume()
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <pthread.h>

#include "cli.h"

/* An engine that is being made. */
struct engine_start {
    struct husk_engine_options options;
    pthread_t thread;
    bool has_thread;
    uint64_t begin_ns, ns; /* ns: what it took */
    /* the result, once the thread has ended */
    husk_engine *engine;
    int status;
    struct husk_error err;
};

/* engine_start.c. What `options` refers to must live until the end. */
void engine_start_begin(struct engine_start *engine_start,
                        const struct husk_engine_options *options);
/* Wait for it. Must be called once. */
int engine_start_end(struct engine_start *engine_start, husk_engine **ret_engine,
                     struct husk_error *err);

struct listeners {
    const char **texts; /* as given */
    struct husk_wasi_listener *rows;
    size_t count;
};

/* What a program can read of where it is (surroundings.c). */
struct surroundings {
    const char **args;
    size_t args_count;
    const char **env;
    size_t env_count;
    struct husk_wasi_dir *dirs;
    size_t dirs_count;
    const char *invoke; /* as run.invoke */
    char *bytes;        /* of those that were read: what all of this points into; else NULL */
};

struct run {
    struct report report;
    const char *path;
    /* as given. NULL: _start; for a snapshot, only the functions that initialise the module */
    const char *invoke;
    char *func_name; /* of --invoke, without escapes */
    size_t func_name_bytes;
    const char *argv0; /* NULL: the file's name */
    enum husk_unknown unknown_imports;
    bool is_snapshot;
    const char *output; /* the file for a snapshot */
    char *own_output;   /* it, if it was not named */
    const char *until;  /* --until; NULL: a snapshot between two calls */
    bool has_terminals; /* --terminals */
    bool has_new_surroundings;
    bool has_stats;
    bool is_unverified;
    bool has_no_background;
    char **words; /* the words after the file: arguments of the program or the function */
    size_t words_count;
    const char **env;
    size_t env_count;
    struct husk_wasi_dir *dirs; /* --dir; their names point into dir_texts */
    char **dir_texts;
    size_t dirs_count;
    bool has_private_dirs;      /* a directory without a mode is cow, and not rw */
    uint64_t private_max_bytes; /* --max-private; 0: the library's own limit */
    uint64_t private_max_names; /* --max-names; likewise */
    uint64_t open_max;          /* --max-open; 0: as many as the library allows */
    struct listeners listeners; /* --listen */
    char **env_texts;           /* of --env-file, into which `env` points */
    size_t env_texts_count;
    uint64_t random_seed;   /* of --reproducible; 0: not reproducible */
    uint32_t stream_rights; /* enum husk_wasi_rights, for all three streams */
    struct compile_request compile;
    struct husk_sandbox_options sandbox_options;
    struct husk_limits limits;
    /* set while it runs */
    struct compile_result compiled;
    bool was_compiled;
    struct input input;
    struct externs externs;  /* of the module or image */
    struct husk_value *args; /* for --invoke */
    const char **own_args;   /* the program's, by the command line */
    /* what the program gets, which points into the other fields; what the image says */
    struct surroundings given, saved;
    bool is_standing; /* the image holds a call, which goes on */
    struct engine_start engine_start;
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    husk_sandbox *sandbox;
    uint64_t opening_ns; /* what opening or compiling took */
    uint64_t opened_ns, made_ns, called_ns;
};

/* run_options.c: reads the command line. CLI_OK with run->path NULL: the user asked for help, which
 * was printed. */
int run_take_arguments(struct run *run, int argc, char **argv);

/* run_imports.c. run_make_imports() defines WASI. run_check_externs() checks what the module or
 * image imports and exports, and parses the arguments of --invoke; a *ret_code other than CLI_OK
 * was reported. run_find_func(): the function that is called by its name; NULL: there is none. */
int run_make_imports(struct run *run, struct husk_error *err);
int run_check_externs(struct run *run, const struct input *input, struct husk_error *err,
                      int *ret_code);
const struct husk_extern *run_find_func(const struct run *run);

/* dirs.c. take_dir_option() reads --dir, the next two --max-open and --max-names. dirs_give() puts
 * the directories and their limits into the options. */
int take_dir_option(struct run *run, const char *text);
int take_max_open_option(struct run *run, const char *text);
int take_max_names_option(struct run *run, const char *text);
void dirs_give(const struct run *run, struct husk_wasi_options *wasi);
void dirs_done(struct run *run);

/* env.c: take --env NAME=value or NAME, --inherit-env NAME, --env-file FILE. NAME alone: as in
 * husk's own environment; a name that is not set there is not set for the program. Texts are
 * borrowed. They return an exit code. */
int run_add_env(struct run *run, const char *text);
int run_inherit_env(struct run *run, const char *name);
int run_add_env_file(struct run *run, const char *path);
void run_env_done(struct run *run);

/* listen.c. take_listen_option() reads --listen, or an option like it; listeners_open() binds,
 * and says on standard error which port the kernel chose for port 0. listeners_done() closes. */
int take_listen_option(struct run *run, const char *option, const char *text);
int listeners_open(struct run *run, struct husk_error *err);
void listeners_done(struct run *run);

/* streams.c. The streams must live as long as the request. With --until and --json, what the
 * program writes is collected: streams_check() refuses what was cut short, streams_json() prints
 * members of an object. */
void streams_give(const struct run *run, struct husk_wasi_stream streams[3],
                  struct husk_wasi_request *request);
int streams_check(const struct run *run, struct husk_error *err);
void streams_json(const struct run *run);

/* until.c. until_define() makes the import of --until stop the program; HUSK_E_NOT_FOUND: there is
 * none. until_save() writes the file when it has stopped, until_report_early() says that the
 * program ended before; they return an exit code. */
bool until_is_stdin(const struct run *run);
int until_define(const struct run *run, struct husk_error *err);
int until_save(struct run *run);
int until_report_early(const struct run *run, const struct husk_outcome *outcome);

/* surroundings.c. surroundings_settle() sets run->given, once the file is open: HUSK_E_INVAL if a
 * program that goes on is given others than it had. surroundings_note() keeps them in a snapshot.
 * surroundings_read() gets those of an image, all zeros if it has none. */
int surroundings_settle(struct run *run, struct husk_error *err);
int surroundings_note(const struct run *run, husk_image *snapshot, struct husk_error *err);
int surroundings_read(struct surroundings *saved, const husk_image *image, struct husk_error *err);
void surroundings_done(struct surroundings *saved);

#endif
