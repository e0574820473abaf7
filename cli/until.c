/*
 * cli/until.c: husk snapshot --until: runs a program up to a host call, and writes the state there
 * to a file. From that, husk run goes on (surroundings.c).
 *
 *   stdin         the stream is of the kind HUSK_WASI_AWAITED: the call is pending when the program
 *                 wants its data (streams.c)
 *   MODULE.NAME   the import is a function that is pending (stop_here)
 */
#include <stdlib.h>
#include <string.h>

#include "run.h"

bool until_is_stdin(const struct run *run) {
    return run->until != NULL && strcmp(run->until, "stdin") == 0;
}

static int stop_here(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    (void)user, (void)args, (void)results;
    return husk_caller_pending(caller);
}

/* Is `text` what husk inspect prints for this import, in quotes where they are needed? */
static bool is_shown_as(const struct husk_extern *item, const char *text) {
    char *shown = NULL;
    size_t count = 0;
    FILE *out = open_memstream(&shown, &count);
    if (out == NULL)
        return false;
    put_extern_name(out, item);
    const bool is_same = fclose(out) == 0 && strcmp(shown, text) == 0;
    free(shown);
    return is_same;
}

/* Is it of this import's names, with a dot between them? `name` is `text` without escapes. */
static bool is_named(const struct husk_extern *item, const char *text, const char *name,
                     size_t count) {
    if (item->module == NULL || item->kind != HUSK_EXTERN_FUNC)
        return false;
    return (count == item->module_bytes + 1 + item->name_bytes &&
            memcmp(name, item->module, item->module_bytes) == 0 &&
            name[item->module_bytes] == '.' &&
            memcmp(name + item->module_bytes + 1, item->name, item->name_bytes) == 0) ||
           is_shown_as(item, text);
}

static int stop_at(const struct run *run, const struct husk_extern *item, struct husk_error *err) {
    const struct husk_host_func row = {.module = item->module,
                                       .module_bytes = item->module_bytes,
                                       .name = item->name,
                                       .name_bytes = item->name_bytes,
                                       .type = &item->func,
                                       .fn = stop_here};
    return husk_imports_funcs(run->imports, &row, 1, err);
}

int until_define(const struct run *run, struct husk_error *err) {
    size_t count = 0, found = 0;
    int status = 0;
    if (run->until == NULL || until_is_stdin(run))
        return 0;
    char *name = malloc(strlen(run->until) + 1);
    if (name == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    if (!parse_name(run->until, name, &count))
        status =
            cli_error(err, HUSK_E_INVAL,
                      "--until: '%.100s' is not a name as husk inspect prints them", run->until);
    for (size_t i = 0; i < run->externs.count && status == 0; i++)
        if (is_named(run->externs.items[i], run->until, name, count)) {
            status = stop_at(run, run->externs.items[i], err);
            found++;
        }
    free(name);
    if (status == 0 && found == 0)
        status = cli_error(err, HUSK_E_NOT_FOUND,
                           "imports no function '%.100s'; --until wants stdin, or an import as "
                           "husk inspect lists them: MODULE.NAME",
                           run->until);
    return status;
}

static const char *stop_text(const struct run *run) {
    return until_is_stdin(run) ? "wanted data of standard input" : "called ";
}

static int report_saved(const struct run *run) {
    if (!run->report.is_json)
        return CLI_OK;
    fputs("{\"outcome\":\"standing\",\"until\":", stdout);
    json_text(stdout, run->until);
    fputs(",\"snapshot\":", stdout);
    json_text(stdout, run->output);
    streams_json(run);
    fputs("}\n", stdout);
    return CLI_OK;
}

int until_save(struct run *run) {
    husk_image *snapshot = NULL;
    struct husk_error err;
    int status = streams_check(run, &err);
    if (status == 0)
        status = husk_sandbox_snapshot(run->sandbox, &snapshot, &err);
    if (status == 0)
        status = surroundings_note(run, snapshot, &err);
    if (status == 0)
        status = husk_image_save(snapshot, run->output, &err);
    husk_image_unref(snapshot);
    return status != 0 ? report_error(&run->report, run->path, &err) : report_saved(run);
}

static void report_early_json(const struct run *run, const struct husk_outcome *outcome) {
    const bool has_exited = outcome->kind == HUSK_EXITED;
    printf("{\"outcome\":\"%s\",\"exit_code\":%d,\"until\":", has_exited ? "exited" : "returned",
           has_exited ? (int)outcome->exit_code : 0);
    json_text(stdout, run->until);
    printf(",\"message\":\"the program ended before: there is no snapshot of it\"");
    streams_json(run);
    fputs("}\n", stdout);
}

/* The program is over, so there is no snapshot: also with code 0, whoever asked for one must know.
 * A program whose _start returns has exited with 0. */
int until_report_early(const struct run *run, const struct husk_outcome *outcome) {
    const int exit_code = outcome->kind == HUSK_EXITED ? outcome->exit_code : 0;
    struct husk_error err;
    if (streams_check(run, &err) != 0)
        return report_error(&run->report, run->path, &err);
    if (run->report.is_json) {
        report_early_json(run, outcome);
    } else {
        fprintf(stderr, "husk %s: ", run->report.command);
        put_text(stderr, run->path);
        fprintf(stderr, ": the program ended with exit code %d before it %s", exit_code,
                stop_text(run));
        if (!until_is_stdin(run))
            put_text(stderr, run->until);
        fputs(": there is no snapshot of it\n", stderr);
    }
    return (exit_code & 0xff) != 0 ? exit_code & 0xff : CLI_ERROR;
}
