/*
 * cli/run.h: the state of one husk run or husk snapshot, from its command line (run_options.c) to
 * its end (cmd_run.c).
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

/* listen.c. take_listen_option() reads --listen; listeners_open() binds, and says on standard error
 * which port the kernel chose for port 0. listeners_done() closes. */
int take_listen_option(struct run *run, const char *text);
int listeners_open(struct run *run, struct husk_error *err);
void listeners_done(struct run *run);

#endif
