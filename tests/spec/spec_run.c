/*
 * tests/spec/spec_run.c: the executing half of the official test suite's runner. It executes the
 * packs of spec_pack (spec_pack.h) in virtual machines, and counts. It needs only libhusk. For each
 * file it prints "file: GROUP NAME JUDGED MODULES PASSED FAILED SKIPPED", and for each reason of
 * skips "skips: GROUP NAME COUNT REASON".
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "harness.h"
#include "literals.h"
#include "spec_imports.h"
#include "spec_pack.h"
#include "spec_program.h"

#define REASONS_MAX 64

struct counts {
    unsigned passed, failed, skipped;
};

struct reason {
    char *text; /* points into the pack */
    unsigned count;
};

struct run {
    husk_engine *engine; /* NULL: there is no KVM */
    husk_imports *imports;
    const char *group, *file; /* of the suite */
    char *pos, *end;
    struct program *programs; /* by number of their image */
    size_t programs_count;
    struct reason reasons[REASONS_MAX];
    size_t reasons_count;
    struct counts here, all;
    size_t judged, modules;
    bool is_run_only; /* do not count what spec_pack judged */
};

static void report(struct run *run, const char *line, bool is_good, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void report(struct run *run, const char *line, bool is_good, const char *format, ...) {
    if (is_good) {
        run->here.passed++;
        return;
    }
    run->here.failed++;
    printf("%s/%s.wast:%s: ", run->group, run->file, line);
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void count_skip(struct run *run, char *why) {
    size_t i = 0;
    while (i < run->reasons_count && strcmp(run->reasons[i].text, why) != 0)
        i++;
    if (i == REASONS_MAX)
        i--;
    else if (i == run->reasons_count)
        run->reasons[run->reasons_count++] = (struct reason){.text = why};
    run->reasons[i].count++;
    run->here.skipped++;
}

/* ---- images ---- */

static struct program *find_program(struct run *run, size_t image) {
    return image < run->programs_count ? &run->programs[image] : NULL;
}

static bool add_program(struct run *run, size_t image) {
    if (image != run->programs_count)
        return false;
    struct program *grown = realloc(run->programs, (image + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    run->programs = grown;
    grown[run->programs_count++] = (struct program){.image = NULL};
    return true;
}

/* image IMAGE INSTANCES BYTES, then the image. */
static bool do_image(struct run *run, char *rest) {
    size_t image = 0;
    size_t instances = 0;
    size_t bytes = 0;
    if (!spec_read_number(&rest, &image) || !spec_read_number(&rest, &instances) ||
        !spec_read_number(&rest, &bytes) || bytes >= (size_t)(run->end - run->pos) ||
        !add_program(run, image))
        return false;
    struct husk_error err = {0};
    run->programs[image].instances_count = instances;
    if (run->engine != NULL &&
        husk_image_open_buffer(run->engine, (struct husk_buffer){run->pos, bytes}, SKIP_HASH,
                               &run->programs[image].image, &err) != 0)
        report(run, "0", false, "image does not open: %s", err.message);
    run->pos += bytes + 1;
    return true;
}

static bool do_drop(struct run *run, char *rest) {
    size_t image = 0;
    if (!spec_read_number(&rest, &image) || find_program(run, image) == NULL)
        return false;
    program_done(&run->programs[image]);
    return true;
}

/* ---- commands ---- */

/* start, no_start, no_link: LINE IMAGE STAGE TEXT. */
static bool do_start(struct run *run, const char *command, const char *line, char *rest) {
    size_t image = 0;
    size_t stage = 0;
    size_t ignored = 0;
    char *text = NULL;
    struct performed done;
    char got[512];
    bool is_start = strcmp(command, "start") == 0;
    bool is_no_link = strcmp(command, "no_link") == 0;
    if (!spec_read_number(&rest, &image) || !spec_read_number(&rest, &stage) ||
        (!is_start && !spec_unhex(spec_word(&rest), &text, &ignored)))
        return false;
    struct program *program = find_program(run, image);
    if (program == NULL)
        return false;
    for (size_t i = 0; is_no_link && i < stage; i++) /* those from which it imports */
        program_start(program, run->imports, i, &done);
    program_start(program, run->imports, stage, &done);
    performed_describe(&done, got, sizeof got);
    if (is_start)
        report(run, line, performed_returned(&done), "module does not start: %s", got);
    else if (is_no_link)
        report(run, line, performed_refused(&done), "expected a link error (%s), got %s", text,
               got);
    else
        report(run, line, performed_trapped(&done, text), "expected trap %s, got %s", text, got);
    return true;
}

static bool read_action(struct run *run, char **rest, struct action *ret_action) {
    const char *kind = spec_word(rest);
    char *field = NULL;
    if (kind == NULL || !spec_read_number(rest, &ret_action->image) ||
        find_program(run, ret_action->image) == NULL ||
        !spec_unhex(spec_word(rest), &field, &ret_action->field_bytes) || field == NULL ||
        !spec_read_values(rest, &ret_action->args))
        return false;
    ret_action->is_get = strcmp(kind, "get") == 0;
    ret_action->field = field;
    return true;
}

static bool results_match(const struct spec_values *expected, const struct performed *done) {
    if (!performed_returned(done) || expected->count != done->results_count)
        return false;
    for (size_t i = 0; i < expected->count; i++)
        if (!spec_value_matches(expected->words[i], &done->results[i]))
            return false;
    return true;
}

/* assert_return, action: LINE ACTION VALUES. */
static bool do_return(struct run *run, const char *command, const char *line, char *rest) {
    struct action action;
    struct spec_values expected;
    struct performed done;
    char got[512];
    if (!read_action(run, &rest, &action) || !spec_read_values(&rest, &expected))
        return false;
    program_perform(&run->programs[action.image], &action, &done);
    performed_describe(&done, got, sizeof got);
    bool is_action = strcmp(command, "action") == 0; /* whatever it returns is good */
    bool is_good = is_action ? performed_returned(&done) : results_match(&expected, &done);
    report(run, line, is_good, "%s: expected %s%s, got %s", action.field,
           expected.count > 0 ? expected.words[0] : "no result", expected.count > 1 ? " …" : "",
           got);
    return true;
}

/* assert_trap, assert_exhaustion, assert_exception: LINE ACTION TEXT. */
static bool do_trap(struct run *run, const char *command, const char *line, char *rest) {
    struct action action;
    struct performed done;
    char *text = NULL;
    size_t ignored = 0;
    char got[512];
    if (!read_action(run, &rest, &action) || !spec_unhex(spec_word(&rest), &text, &ignored))
        return false;
    program_perform(&run->programs[action.image], &action, &done);
    performed_describe(&done, got, sizeof got);
    if (strcmp(command, "assert_exception") == 0)
        report(run, line, performed_threw(&done), "%s: expected an exception, got %s", action.field,
               got);
    else
        report(run, line, performed_trapped(&done, text), "%s: expected trap \"%s\", got %s",
               action.field, text != NULL ? text : "", got);
    return true;
}

static bool do_text(struct run *run, const char *command, const char *line, char *rest) {
    char *text = NULL;
    size_t ignored = 0;
    if (!spec_unhex(spec_word(&rest), &text, &ignored) || text == NULL)
        return false;
    if (!run->is_run_only && strcmp(command, "failed") == 0)
        report(run, line, false, "%s", text);
    else if (!run->is_run_only)
        count_skip(run, text);
    return true;
}

static bool do_line(struct run *run, char *rest) {
    static char no_kvm[] = "no usable /dev/kvm";
    const char *command = spec_word(&rest);
    if (command == NULL)
        return false;
    if (strcmp(command, "image") == 0)
        return do_image(run, rest);
    if (strcmp(command, "drop") == 0)
        return do_drop(run, rest);
    const char *line = spec_word(&rest);
    if (line == NULL)
        return false;
    if (strcmp(command, "passed") == 0) {
        run->here.passed += run->is_run_only ? 0 : 1;
        return true;
    }
    if (strcmp(command, "failed") == 0 || strcmp(command, "skipped") == 0)
        return do_text(run, command, line, rest);
    if (run->engine == NULL) {
        count_skip(run, no_kvm);
        return true;
    }
    if (strcmp(command, "assert_return") == 0 || strcmp(command, "action") == 0)
        return do_return(run, command, line, rest);
    if (strcmp(command, "start") == 0 || strncmp(command, "no_", 3) == 0)
        return do_start(run, command, line, rest);
    return do_trap(run, command, line, rest);
}

/* ---- packs ---- */

static char *next_line(struct run *run) {
    char *line = run->pos;
    char *newline = run->pos < run->end ? memchr(line, '\n', (size_t)(run->end - line)) : NULL;
    if (newline == NULL)
        return NULL;
    *newline = '\0';
    run->pos = newline + 1;
    return line;
}

static bool run_commands(struct run *run) {
    char *line = next_line(run);
    const char *magic = line != NULL ? spec_word(&line) : NULL;
    if (magic == NULL || strcmp(magic, SPEC_PACK_MAGIC) != 0)
        return false;
    run->group = spec_word(&line);
    run->file = spec_word(&line);
    if (run->file == NULL)
        return false;
    for (line = next_line(run); line != NULL && strncmp(line, "end ", 4) != 0;
         line = next_line(run))
        if (!do_line(run, line))
            return false;
    if (line == NULL)
        return false;
    line += 4;
    return spec_read_number(&line, &run->judged) && spec_read_number(&line, &run->modules);
}

static void end_file(struct run *run) {
    printf("file: %s %s %zu %zu %u %u %u\n", run->group, run->file, run->judged, run->modules,
           run->here.passed, run->here.failed, run->here.skipped);
    for (size_t i = 0; i < run->reasons_count; i++)
        printf("skips: %s %s %u %s\n", run->group, run->file, run->reasons[i].count,
               run->reasons[i].text);
    fflush(stdout);
    run->all.passed += run->here.passed;
    run->all.failed += run->here.failed;
    run->all.skipped += run->here.skipped;
    run->here = (struct counts){0};
    run->reasons_count = 0;
    run->judged = run->modules = 0;
    for (size_t i = 0; i < run->programs_count; i++)
        program_done(&run->programs[i]);
    free(run->programs);
    run->programs = NULL;
    run->programs_count = 0;
}

static void run_pack(struct run *run, const char *path) {
    struct husk_error err = {.message = ""};
    uint8_t *data = NULL;
    size_t bytes = 0;
    if (file_read(path, SIZE_MAX, &data, &bytes, &err) != 0)
        fprintf(stderr, "%s\n", err.message);
    run->group = "?";
    run->file = path;
    run->pos = (char *)data;
    run->end = data != NULL ? run->pos + bytes : NULL;
    if (data == NULL || !run_commands(run))
        report(run, "0", false, "%s is not a whole pack", path);
    end_file(run);
    free(data);
}

static int finish(const struct run *run, const char *suite) {
    printf("%s: %u passed, %u failed, %u skipped\n", suite, run->all.passed, run->all.failed,
           run->all.skipped);
    return run->all.failed != 0 ? 1 : 0;
}

int main(int argc, char **argv) {
    struct run run = {0};
    struct husk_error err = {0};
    const char *suite = "spec";
    int first = 1;
    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--run-only") == 0) {
            run.is_run_only = true;
        } else if (strcmp(argv[first], "--suite") == 0 && first + 1 < argc) {
            suite = argv[++first];
        } else {
            fputs("usage: spec_run [--suite NAME] [--run-only] PACK…\n", stderr);
            return 2;
        }
    }
    bool has_kvm = harness_kvm_missing() == NULL;
    if (has_kvm && (husk_engine_new(NULL, &run.engine, &err) != 0 ||
                    spec_imports_new(run.engine, &run.imports, &err) != 0)) {
        printf("engine: %s\n", err.message);
        run.all.failed++;
        husk_engine_unref(run.engine);
        return finish(&run, suite);
    }
    for (int i = first; i < argc; i++)
        run_pack(&run, argv[i]);
    husk_imports_free(run.imports);
    husk_engine_unref(run.engine);
    return finish(&run, suite);
}
