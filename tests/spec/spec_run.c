/*
 * tests/spec/spec_run.c: the executing half of the official test suite's runner. It executes the
 * packs of spec_pack (spec_pack.h) in virtual machines, and counts. It needs only libhusk.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "husk.h"
#include "spec_imports.h"
#include "spec_pack.h"
#include "spec_values.h"
#include "literals.h"

#define CALL_LIMIT_NS 20000000000u
#define NAMES_MAX 64

struct instance {
    char *name; /* of the suite's module, or NULL; points into the pack */
    husk_image *image;
    husk_sandbox *sandbox; /* NULL: it failed to compile or start, so its uses fail */
};

struct counts {
    unsigned passed, failed, skipped;
};

struct run {
    husk_engine *engine;
    husk_imports *imports;
    const char *file; /* name in the suite */
    char *pos, *end;
    /* the newest last; unnamed ones go when the next module comes */
    struct instance instances[NAMES_MAX];
    size_t instances_count;
    struct counts counts;
    const char *skip_reason;
    unsigned skipped_here;
    bool is_run_only; /* do not count what spec_pack judged */
};

static void report(struct run *run, const char *line, bool is_good, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void report(struct run *run, const char *line, bool is_good, const char *format, ...) {
    if (is_good) {
        run->counts.passed++;
        return;
    }
    run->counts.failed++;
    printf("%s.wast:%s: ", run->file, line);
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static void instance_done(struct instance *instance) {
    husk_sandbox_free(instance->sandbox);
    husk_image_unref(instance->image);
    *instance = (struct instance){0};
}

static void instances_done(struct run *run) {
    while (run->instances_count > 0)
        instance_done(&run->instances[--run->instances_count]);
}

static struct instance *instance_push(struct run *run, char *name) {
    struct instance *last =
        run->instances_count > 0 ? &run->instances[run->instances_count - 1] : NULL;
    if (last != NULL && (last->name == NULL || run->instances_count == NAMES_MAX)) {
        instance_done(last);
        run->instances_count--;
    }
    struct instance *instance = &run->instances[run->instances_count++];
    *instance = (struct instance){.name = name};
    return instance;
}

static struct instance *instance_find(struct run *run, const char *name) {
    for (size_t i = run->instances_count; i > 0; i--) {
        struct instance *instance = &run->instances[i - 1];
        if (name == NULL || (instance->name != NULL && strcmp(instance->name, name) == 0))
            return instance;
    }
    return NULL;
}

static const struct husk_limits limits = {.size = sizeof(struct husk_limits),
                                          .wall_ns = CALL_LIMIT_NS};

static void start_module(struct run *run, const char *line, husk_image *image,
                         struct instance *instance) {
    struct husk_error err = {0};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    husk_sandbox *sandbox = NULL;
    int status = husk_sandbox_new(image, run->imports, NULL, &sandbox, &err);
    if (status == 0)
        status = husk_sandbox_start(sandbox, &limits, &outcome, &err);
    bool is_good = status == 0 && outcome.kind == HUSK_RETURNED;
    report(run, line, is_good, "module does not start: %s",
           status != 0 ? err.message : outcome.message);
    if (is_good) {
        instance->sandbox = sandbox;
        instance->image = husk_image_ref(image);
    } else {
        husk_sandbox_free(sandbox);
    }
}

static void reject_module(struct run *run, const char *line, husk_image *image, const char *text,
                          bool is_link) {
    struct husk_error err = {0};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    husk_sandbox *sandbox = NULL;
    int status = husk_sandbox_new(image, run->imports, NULL, &sandbox, &err);
    if (is_link) {
        report(run, line, status == HUSK_E_LINK, "expected a link error (%s), got %s: %s", text,
               husk_status_name(status), status != 0 ? err.message : "made");
    } else if (status != 0) {
        report(run, line, false, "expected trap %s, got %s", text, err.message);
    } else {
        status = husk_sandbox_start(sandbox, &limits, &outcome, &err);
        bool is_good =
            status == 0 && outcome.kind == HUSK_TRAPPED && outcome.trap == spec_trap(text);
        report(run, line, is_good, "expected trap %s, got kind %d: %s", text, (int)outcome.kind,
               status != 0 ? err.message : outcome.message);
    }
    husk_sandbox_free(sandbox);
}

/* module, assert_unlinkable, assert_uninstantiable LINE NAME TEXT BYTES, then the image. */
static bool do_module(struct run *run, const char *command, const char *line, char *rest) {
    char *name = NULL;
    char *text = NULL;
    size_t ignored = 0;
    bool is_good = spec_unhex(spec_word(&rest), &name, &ignored) &&
                   spec_unhex(spec_word(&rest), &text, &ignored);
    const char *bytes_word = spec_word(&rest);
    size_t bytes = bytes_word != NULL ? strtoul(bytes_word, NULL, 10) : 0;
    if (!is_good || bytes_word == NULL || bytes >= (size_t)(run->end - run->pos))
        return false;
    struct husk_error err = {0};
    husk_image *image = NULL;
    int status = husk_image_open_buffer(run->engine, (struct husk_buffer){run->pos, bytes},
                                        SKIP_HASH, &image, &err);
    run->pos += bytes + 1;
    bool is_module = strcmp(command, "module") == 0;
    struct instance *instance = is_module ? instance_push(run, name) : NULL;
    if (status != 0)
        report(run, line, false, "image does not open: %s", err.message);
    else if (instance != NULL)
        start_module(run, line, image, instance);
    else
        reject_module(run, line, image, text, strcmp(command, "assert_unlinkable") == 0);
    husk_image_unref(image);
    return true;
}

struct action {
    bool is_get;
    const char *module, *field;
    size_t field_bytes;
    struct spec_values args;
};

static bool read_action(char **rest, struct action *ret_action) {
    const char *kind = spec_word(rest);
    size_t ignored = 0;
    char *module = NULL;
    char *field = NULL;
    if (kind == NULL || !spec_unhex(spec_word(rest), &module, &ignored) ||
        !spec_unhex(spec_word(rest), &field, &ret_action->field_bytes) || field == NULL ||
        !spec_read_values(rest, &ret_action->args))
        return false;
    ret_action->is_get = strcmp(kind, "get") == 0;
    ret_action->module = module;
    ret_action->field = field;
    return true;
}

struct performed {
    int status;
    struct husk_error err;
    struct husk_outcome outcome;
    struct husk_value results[SPEC_VALUES_MAX];
    size_t results_count;
};

static int find_func(const husk_image *image, const struct action *action, husk_func *ret_func,
                     size_t *ret_results) {
    struct husk_functype type;
    /* "" has no length to give, and needs none. */
    int status = husk_image_func(image, action->field, action->field_bytes, ret_func, NULL);
    if (status == 0)
        status = husk_image_func_type(image, *ret_func, &type, NULL);
    if (status == 0)
        *ret_results = type.results_count;
    return status;
}

static void perform(struct run *run, const struct action *action, struct performed *done) {
    struct instance *instance = instance_find(run, action->module);
    memset(done, 0, sizeof *done);
    done->outcome.size = sizeof done->outcome;
    done->status = HUSK_E_NOT_FOUND;
    if (instance == NULL || instance->sandbox == NULL) {
        (void)snprintf(done->err.message, sizeof done->err.message, "its module did not start");
        return;
    }
    if (action->is_get) {
        done->status =
            husk_global_get(instance->sandbox, action->field, 0, &done->results[0], &done->err);
        done->results_count = 1;
        return;
    }
    struct husk_value args[SPEC_VALUES_MAX];
    for (size_t i = 0; i < action->args.count; i++) {
        if (!spec_parse_value(action->args.words[i], &args[i])) {
            (void)snprintf(done->err.message, sizeof done->err.message, "argument %s",
                           action->args.words[i]);
            return;
        }
    }
    husk_func func;
    done->status = find_func(instance->image, action, &func, &done->results_count);
    if (done->status != 0 || done->results_count > SPEC_VALUES_MAX) {
        (void)snprintf(done->err.message, sizeof done->err.message, "no function %s",
                       action->field);
        done->status = HUSK_E_NOT_FOUND;
        return;
    }
    done->status = husk_call(instance->sandbox,
                             CALL(.func = func, .args = args, .args_count = action->args.count,
                                  .results = done->results, .results_count = done->results_count,
                                  .limits = &limits),
                             &done->outcome, &done->err);
}

static void describe(const struct performed *done, char *text, size_t text_bytes) {
    if (done->status != 0) {
        (void)snprintf(text, text_bytes, "error %s: %s", husk_status_name(done->status),
                       done->err.message);
    } else if (done->outcome.kind != HUSK_RETURNED) {
        (void)snprintf(text, text_bytes, "%s", done->outcome.message);
    } else {
        size_t used = (size_t)snprintf(text, text_bytes, "results");
        for (size_t i = 0; i < done->results_count && used + 40 < text_bytes; i++) {
            text[used++] = ' ';
            spec_print_value(&done->results[i], text + used, text_bytes - used);
            used += strlen(text + used);
        }
    }
}

static bool results_match(const struct spec_values *expected, const struct performed *done) {
    if (done->status != 0 || done->outcome.kind != HUSK_RETURNED ||
        expected->count != done->results_count)
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
    if (!read_action(&rest, &action) || !spec_read_values(&rest, &expected))
        return false;
    perform(run, &action, &done);
    describe(&done, got, sizeof got);
    bool is_action = strcmp(command, "action") == 0; /* whatever it returns is good */
    bool is_good = is_action ? done.status == 0 && done.outcome.kind == HUSK_RETURNED
                             : results_match(&expected, &done);
    report(run, line, is_good, "%s: expected %s%s, got %s", action.field,
           expected.count > 0 ? expected.words[0] : "no result", expected.count > 1 ? " …" : "",
           got);
    return true;
}

/* assert_trap, assert_exhaustion: LINE ACTION TEXT. */
static bool do_trap(struct run *run, const char *line, char *rest) {
    struct action action;
    struct performed done;
    char *text = NULL;
    size_t ignored = 0;
    char got[512];
    if (!read_action(&rest, &action) || !spec_unhex(spec_word(&rest), &text, &ignored) ||
        text == NULL)
        return false;
    perform(run, &action, &done);
    describe(&done, got, sizeof got);
    bool is_good = done.status == 0 && done.outcome.kind == HUSK_TRAPPED &&
                   done.outcome.trap != HUSK_TRAP_NONE && done.outcome.trap == spec_trap(text);
    report(run, line, is_good, "%s: expected trap \"%s\", got %s", action.field, text, got);
    return true;
}

static bool do_judged(struct run *run, const char *line, char *rest) {
    const char *verdict = spec_word(&rest);
    char *text = NULL;
    size_t ignored = 0;
    if (verdict == NULL || !spec_unhex(spec_word(&rest), &text, &ignored))
        return false;
    if (!run->is_run_only)
        report(run, line, strcmp(verdict, "passed") == 0, "%s", text != NULL ? text : "");
    return true;
}

static bool do_nomodule(struct run *run, const char *line, char *rest) {
    char *name = NULL;
    char *text = NULL;
    size_t ignored = 0;
    if (!spec_unhex(spec_word(&rest), &name, &ignored) ||
        !spec_unhex(spec_word(&rest), &text, &ignored))
        return false;
    (void)instance_push(run, name);
    report(run, line, false, "does not compile: %s", text != NULL ? text : "");
    return true;
}

static void print_skips(struct run *run) {
    if (run->skipped_here != 0 && !run->is_run_only) {
        printf("skipped: %s: %u commands: %s\n", run->file, run->skipped_here, run->skip_reason);
        run->counts.skipped += run->skipped_here;
    }
    run->skipped_here = 0;
}

static void do_skipped(struct run *run, const char *why) {
    static const char *const reasons[][2] = {
        {"text", "malformed text modules: Husk reads binaries, and has no text parser to test"},
        {"links", "links modules to one another: a virtual machine holds one module for now"},
        {"simd", "SIMD is validated, not compiled yet"},
        {"kvm", "no usable /dev/kvm"},
    };
    const char *reason = "?";
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (why != NULL && strcmp(why, reasons[i][0]) == 0)
            reason = reasons[i][1];
    if (reason != run->skip_reason)
        print_skips(run);
    run->skip_reason = reason;
    run->skipped_here++;
}

/* Without KVM: skip the command, and the image behind it if there is one (its line ends with the
 * size). */
static bool pass_over(struct run *run, const char *command, char *rest) {
    static const char *const modules[] = {"module", "assert_unlinkable", "assert_uninstantiable"};
    do_skipped(run, "kvm");
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        if (strcmp(command, modules[i]) == 0) {
            const char *size = strrchr(rest, ' ');
            size_t bytes = size != NULL ? strtoul(size, NULL, 10) : SIZE_MAX;
            if (bytes >= (size_t)(run->end - run->pos))
                return false;
            run->pos += bytes + 1;
        }
    }
    return true;
}

static bool do_line(struct run *run, char *rest) {
    const char *command = spec_word(&rest);
    const char *line = spec_word(&rest);
    if (command == NULL || line == NULL)
        return false;
    if (strcmp(command, "judged") == 0)
        return do_judged(run, line, rest);
    if (strcmp(command, "skipped") == 0) {
        do_skipped(run, spec_word(&rest));
        return true;
    }
    if (run->engine == NULL)
        return pass_over(run, command, rest);
    if (strcmp(command, "assert_return") == 0 || strcmp(command, "action") == 0)
        return do_return(run, command, line, rest);
    if (strcmp(command, "assert_trap") == 0 || strcmp(command, "assert_exhaustion") == 0)
        return do_trap(run, line, rest);
    if (strcmp(command, "nomodule") == 0)
        return do_nomodule(run, line, rest);
    return do_module(run, command, line, rest);
}

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
    run->file = spec_word(&line);
    for (line = next_line(run); line != NULL && strcmp(line, "end") != 0; line = next_line(run))
        if (!do_line(run, line))
            return false;
    return line != NULL;
}

static char *load_pack(const char *path, size_t *ret_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        perror(path);
        if (fd >= 0)
            (void)close(fd);
        return NULL;
    }
    size_t bytes = (size_t)info.st_size;
    char *data = malloc(bytes + 1);
    size_t got = 0;
    while (data != NULL && got < bytes) {
        ssize_t step = read(fd, data + got, bytes - got);
        if (step <= 0)
            break;
        got += (size_t)step;
    }
    (void)close(fd);
    *ret_bytes = got;
    return data;
}

static void run_pack(struct run *run, const char *path) {
    size_t bytes = 0;
    char *data = load_pack(path, &bytes);
    run->file = path;
    run->pos = data;
    run->end = data != NULL ? data + bytes : NULL;
    if (data == NULL || !run_commands(run))
        report(run, "0", false, "%s is not a whole pack", path);
    print_skips(run);
    instances_done(run);
    free(data);
}

static int finish(const struct run *run, const char *suite) {
    printf("%s: %u passed, %u failed, %u skipped\n", suite, run->counts.passed, run->counts.failed,
           run->counts.skipped);
    return run->counts.failed != 0 ? 1 : 0;
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
        run.counts.failed++;
        husk_engine_unref(run.engine);
        return finish(&run, suite);
    }
    for (int i = first; i < argc; i++)
        run_pack(&run, argv[i]);
    husk_imports_free(run.imports);
    husk_engine_unref(run.engine);
    return finish(&run, suite);
}
