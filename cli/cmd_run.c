/*
 * cli/cmd_run.c: husk run runs a module or image as a program, or calls one of its functions. husk
 * snapshot does the same up to a point, and writes the state to a file.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"

/* Four times the default. */
#define UNOPTIMISED_STACK_BYTES 0x400000u

/* ---- From the file to a sandbox ---- */

static int compile_module(struct run *run, const struct input *input, struct husk_error *err) {
    int status = compile_input(&run->report, input, &run->compile, &run->compiled, err);
    run->was_compiled = status == 0;
    if (status == 0)
        status =
            husk_image_open_fd(run->engine, run->compiled.fd,
                               &(struct husk_open_options){.size = sizeof(struct husk_open_options),
                                                           .skips_hash = true},
                               &run->image, err);
    if (run->was_compiled)
        close(run->compiled.fd);
    return status;
}

/* An image with a call in the middle: that goes on, and nothing else is possible. */
static int check_standing(struct run *run, struct husk_error *err) {
    struct husk_standing standing = HUSK_STANDING_INIT;
    run->is_standing = husk_image_standing(run->image, &standing, NULL) == 0;
    if (run->is_standing && run->invoke != NULL)
        return cli_error(err, HUSK_E_INVAL,
                         "stands in the middle of a call (husk inspect shows where), which goes "
                         "on; --invoke is not possible");
    if (run->is_standing && run->is_snapshot && run->until == NULL)
        return cli_error(err, HUSK_E_INVAL,
                         "stands in the middle of a call (husk inspect shows where), as it is in "
                         "the file; --until lets it go on first");
    return 0;
}

/* What needs no engine, while that is being made. */
static int open_image(struct run *run, struct husk_error *err) {
    const uint64_t begin_ns = now_ns();
    int status = 0;
    if (run->input.kind == INPUT_IMAGE && run->compile.links_count != 0)
        status = cli_error(err, HUSK_E_INVAL, "is a husk image; --link links modules");
    else if (run->input.kind == INPUT_IMAGE)
        status =
            input_open_image(&run->input,
                             &(struct husk_open_options){.size = sizeof(struct husk_open_options),
                                                         .skips_hash = run->is_unverified,
                                                         .serves_once = !run->is_snapshot},
                             &run->image, err);
    else if (cache_open(&run->input, &run->compile, !run->is_unverified, &run->image) == 0)
        run->was_compiled = run->compiled.was_cached = true;
    else
        status = input_read_module(&run->input, err);
    if (status == 0 && run->image != NULL)
        status = check_standing(run, err);
    run->opening_ns = now_ns() - begin_ns;
    return status;
}

/* *ret_code: the file is as it should be, and cannot be run in this way, which was said. */
static int compile_input_module(struct run *run, struct husk_error *err, int *ret_code) {
    const uint64_t begin_ns = now_ns();
    const bool is_linked = run->compile.links_count != 0;
    int status = 0;
    if (is_linked) /* only then it is known what is missing */
        status = compile_module(run, &run->input, err);
    if (status == 0)
        status = run_check_externs(run, &run->input, err, ret_code);
    if (status == 0 && *ret_code == 0 && run->image == NULL)
        status = compile_module(run, &run->input, err);
    run->opening_ns += now_ns() - begin_ns;
    return status;
}

/* There is one run, and no restore. A program that starts, or goes on, uses much of its code and
 * data; of another snapshot, a call may need little. */
static void choose_large_pages(struct run *run) {
    struct husk_host_info info = HUSK_HOST_INFO_INIT;
    const bool are_faults_slow = husk_engine_host_info(run->engine, &info) == 0 &&
                                 info.hypervisor == HUSK_HYPERVISOR_KVM_PVM;
    run->sandbox_options.large_pages =
        are_faults_slow && (run->is_standing || !husk_image_is_snapshot(run->image))
            ? HUSK_LARGE_PAGES_CONTENTS
            : HUSK_LARGE_PAGES_ALWAYS;
}

/* Frames of unoptimised code are larger: a program that recurses deeply must not end differently
 * only because its optimised image is not there yet. */
static void choose_stack(struct run *run) {
    if (run->compiled.is_unoptimised && run->sandbox_options.stack_bytes == 0)
        run->sandbox_options.stack_bytes = UNOPTIMISED_STACK_BYTES;
}

/* A snapshot may hold a call of --invoke; then that is what goes on. */
static int check_json(const struct run *run) {
    if (!run->report.is_json || run->is_snapshot || run->given.invoke != NULL)
        return CLI_OK;
    return report_usage(&run->report,
                        "--json goes with --invoke (a program's standard output is its own)");
}

/* Returns the exit code; anything but CLI_OK was reported. */
static int make_sandbox(struct run *run) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET}, engine_err;
    int code = CLI_OK;
    int status = open_image(run, &err);
    if (engine_start_end(&run->engine_start, &run->engine, &engine_err) != 0 && status == 0)
        return report_error(&run->report, NULL, &engine_err);
    if (status == 0 && run->image != NULL)
        status = husk_image_set_engine(run->image, run->engine, &err);
    if (status == 0)
        status = surroundings_settle(run, &err);
    if (status == 0)
        code = check_json(run);
    if (status == 0 && code == 0)
        status = run_make_imports(run, &err);
    if (status == 0 && code == 0)
        status = compile_input_module(run, &err, &code);
    input_done(&run->input);
    run->opened_ns = now_ns();
    if (status == 0 && code == 0)
        choose_large_pages(run);
    choose_stack(run);
    if (status == 0 && code == 0)
        status =
            husk_sandbox_new(run->image, run->imports, &run->sandbox_options, &run->sandbox, &err);
    run->made_ns = now_ns();
    return status != 0 ? report_error(&run->report, run->path, &err) : code;
}

/* ---- Ctrl-C ---- */

static husk_sandbox *volatile interrupted_sandbox;
static volatile sig_atomic_t interrupted_by;

/* The first signal ends the guest's call, the second (SA_RESETHAND) husk. */
static void on_interrupt(int signal) {
    interrupted_by = signal;
    if (interrupted_sandbox != NULL)
        husk_interrupt(interrupted_sandbox);
}

/* NULL: no longer. A signal that is ignored (nohup, a shell's background job) stays so. */
static void watch_interrupts(husk_sandbox *sandbox) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction before, action = {.sa_flags = (int)SA_RESETHAND};
    action.sa_handler = sandbox != NULL ? on_interrupt : SIG_DFL;
    sigemptyset(&action.sa_mask);
    interrupted_sandbox = sandbox;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            (void)sigaction(signals[i], &action, NULL);
}

/* ---- Calling ---- */

/* A library that WASI's toolchains make ("reactor") wants _initialize to be called once, before
 * anything else. */
static int initialize(struct run *run, struct husk_outcome *outcome, struct husk_error *err) {
    husk_func func;
    struct husk_functype type;
    outcome->kind = HUSK_RETURNED;
    if (husk_image_is_snapshot(run->image)) /* that happened before it was taken */
        return 0;
    if (husk_image_func(run->image, "_initialize", 0, &func, NULL) != 0 ||
        husk_image_func_type(run->image, func, &type, NULL) != 0)
        return run->invoke != NULL ? 0
                                   : husk_sandbox_start(run->sandbox, &run->limits, outcome, err);
    if (type.params_count != 0 || type.results_count != 0 ||
        (run->invoke != NULL && strcmp(run->invoke, "_initialize") == 0))
        return 0;
    int status = husk_call(
        run->sandbox,
        &(struct husk_call){.size = sizeof(struct husk_call), .func = func, .limits = &run->limits},
        outcome, err);
    if (status == 0 && outcome->kind == HUSK_PENDING)
        status = cli_error(err, HUSK_E_STATE,
                           "comes to that in its _initialize already, where --until cannot stop");
    return status;
}

static void print_results(const struct run *run, const struct husk_value *results, size_t count) {
    if (run->report.is_json)
        fputs("{\"outcome\":\"returned\",\"results\":[", stdout);
    for (size_t i = 0; i < count; i++) {
        if (run->report.is_json) {
            if (i != 0)
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

static int save(struct run *run) {
    husk_image *snapshot = NULL;
    struct husk_error err;
    int status = husk_sandbox_snapshot(run->sandbox, &snapshot, &err);
    if (status == 0)
        status = husk_image_save(snapshot, run->output, &err);
    husk_image_unref(snapshot);
    if (status != 0)
        return report_error(&run->report, run->path, &err);
    if (run->report.is_json) {
        fputs("{\"outcome\":\"returned\",\"snapshot\":", stdout);
        json_text(stdout, run->output);
        fputs("}\n", stdout);
    }
    return CLI_OK;
}

/* A program that exits is over: even with code 0 there is no snapshot, and whoever asked for one
 * must know. */
static int report_no_snapshot(const struct run *run, const struct husk_outcome *outcome) {
    int code = report_outcome(&run->report, run->sandbox, outcome);
    if (outcome->kind == HUSK_INTERRUPTED && interrupted_by != 0)
        return 128 + interrupted_by;
    if (outcome->kind != HUSK_EXITED)
        return code;
    if (!run->report.is_json)
        fprintf(stderr,
                "husk snapshot: the program exited with code %d: there is no snapshot of it\n",
                (int)outcome->exit_code);
    return code != 0 ? code : CLI_ERROR;
}

/* husk snapshot without --invoke: what an instance does before anybody calls it. */
static int initialize_and_save(struct run *run) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    watch_interrupts(run->sandbox);
    int status = initialize(run, &outcome, &err);
    run->called_ns = now_ns();
    watch_interrupts(NULL);
    if (status != 0)
        return report_error(&run->report, run->path, &err);
    return outcome.kind == HUSK_RETURNED ? save(run) : report_no_snapshot(run, &outcome);
}

/* After a call that ended somehow. */
static int finish_call(struct run *run, const struct husk_outcome *outcome,
                       const struct husk_value *results, size_t results_count) {
    int code = CLI_OK;
    if (run->until != NULL && outcome->kind == HUSK_PENDING)
        return until_save(run);
    if (run->until != NULL && (outcome->kind == HUSK_RETURNED || outcome->kind == HUSK_EXITED))
        return until_report_early(run, outcome);
    if (run->is_snapshot)
        return outcome->kind == HUSK_RETURNED ? save(run) : report_no_snapshot(run, outcome);
    if (outcome->kind == HUSK_RETURNED && run->given.invoke != NULL)
        print_results(run, results, results_count);
    else if (outcome->kind != HUSK_RETURNED)
        code = report_outcome(&run->report, run->sandbox, outcome);
    if (code != 0)
        report_memory_limit(&run->report, run->sandbox, run->sandbox_options.memory_max_bytes);
    return outcome->kind == HUSK_INTERRUPTED && interrupted_by != 0 ? 128 + interrupted_by : code;
}

/* The function to call, or of the call that goes on, and its type. */
static int find_callee(const struct run *run, husk_func *ret_func, struct husk_functype *ret_type,
                       struct husk_error *err) {
    struct husk_standing standing = HUSK_STANDING_INIT;
    const struct husk_extern *item = run_find_func(run); /* there is one: run_check_externs() */
    int status = 0;
    if (run->is_standing)
        status = husk_image_standing(run->image, &standing, err);
    else
        status = husk_image_func(run->image, item->name, item->name_bytes, &standing.func, err);
    *ret_func = standing.func;
    *ret_type = run->is_standing ? standing.type : item->func;
    return status;
}

/* Begins the call, or goes on with the one that the image holds: its host function is called
 * again. */
static int enter(struct run *run, struct husk_call *call, struct husk_outcome *outcome,
                 struct husk_error *err) {
    struct husk_answer answer = HUSK_ANSWER_INIT;
    int status = 0;
    outcome->kind = HUSK_RETURNED;
    if (!run->is_standing) {
        if (run->invoke != NULL)
            status = initialize(run, outcome, err);
        return status == 0 && outcome->kind == HUSK_RETURNED
                   ? husk_call(run->sandbox, call, outcome, err)
                   : status;
    }
    answer.is_again = true;
    answer.results = call->results;
    answer.results_count = call->results_count;
    answer.limits = call->limits;
    return husk_call_resume(run->sandbox, &answer, outcome, err);
}

/* Runs the call that everything was prepared for. */
static int call(struct run *run) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_functype type;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    int status = find_callee(run, &call.func, &type, &err);
    if (status != 0)
        return report_error(&run->report, run->path, &err);
    struct husk_value *results = calloc(type.results_count + 1, sizeof *results);
    if (results == NULL)
        return report_usage(&run->report, "out of memory");
    call.args = run->args;
    call.args_count = run->invoke != NULL ? type.params_count : 0;
    call.results = results;
    call.results_count = type.results_count;
    call.limits = &run->limits;
    watch_interrupts(run->sandbox);
    status = enter(run, &call, &outcome, &err);
    run->called_ns = now_ns();
    watch_interrupts(NULL);
    int code = status != 0 ? report_error(&run->report, run->path, &err)
                           : finish_call(run, &outcome, results, type.results_count);
    free(results);
    return code;
}

/* ---- All of it ---- */

static void print_stats(const struct run *run) {
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    char memory[32];
    husk_image_info(run->image, &info);
    format_bytes(husk_memory_bytes(run->sandbox, 0), memory, sizeof memory);
    double ms = 1e6;
    fprintf(stderr, "husk: KVM %.3f ms, %s %.3f ms, sandbox %.3f ms, run %.3f ms\n",
            (double)run->engine_start.ns / ms,
            !run->was_compiled             ? "open"
            : run->compiled.was_cached     ? "load from the cache"
            : run->compiled.is_unoptimised ? "compile at -O0"
                                           : "compile",
            (double)run->opening_ns / ms, (double)(run->made_ns - run->opened_ns) / ms,
            run->called_ns != 0 ? (double)(run->called_ns - run->made_ns) / ms : 0.0);
    fprintf(stderr, "husk: memory %s, code %" PRIu64 " bytes for %s\n", memory, info.text_bytes,
            info.target_cpu);
    print_engine_stats(stderr, run->engine);
}

/* May run on any thread. */
static void print_log(void *user, enum husk_log_level level, const char *message) {
    const struct report *report = user;
    if (level <= HUSK_LOG_WARNING && !report->is_json)
        fprintf(stderr, "husk %s: %s\n", report->command, message);
}

static int run_all(struct run *run) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    int code = CLI_OK;
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.measure_times = run->has_stats;
    options.log = print_log;
    options.log_user = &run->report;
    /* first: a wrong file is wrong without KVM, too */
    int status = input_peek(run->path, &run->input, &err);
    if (status != 0)
        return report_error(&run->report, run->path, &err);
    engine_start_begin(&run->engine_start, &options);
    code = make_sandbox(run);
    input_done(&run->input);
    if (code == 0)
        code = run->is_snapshot && run->invoke == NULL && run->until == NULL
                   ? initialize_and_save(run)
                   : call(run);
    if (run->has_stats && run->sandbox != NULL)
        print_stats(run);
    husk_sandbox_free(run->sandbox);
    husk_imports_free(run->imports);
    husk_image_unref(run->image);
    husk_engine_unref(run->engine);
    return code;
}

static int run_or_snapshot(int argc, char **argv, bool is_snapshot) {
    struct run run = {.report = {.command = is_snapshot ? "snapshot" : "run"},
                      .is_snapshot = is_snapshot,
                      .compile = {.options = HUSK_COMPILE_OPTIONS_INIT},
                      .sandbox_options = HUSK_SANDBOX_OPTIONS_INIT,
                      .limits = HUSK_LIMITS_INIT};
    int code = run_take_arguments(&run, argc, argv);
    if (code == 0 && run.path != NULL)
        code = run_all(&run);
    externs_done(&run.externs);
    free(run.args);
    free(run.func_name);
    run_env_done(&run);
    surroundings_done(&run.saved);
    free(run.own_args);
    free(run.own_output);
    links_done(&run.compile);
    dirs_done(&run);
    listeners_done(&run);
    return finish_output(&run.report, code);
}

int cmd_run(int argc, char **argv) {
    return run_or_snapshot(argc, argv, false);
}

int cmd_snapshot(int argc, char **argv) {
    return run_or_snapshot(argc, argv, true);
}
