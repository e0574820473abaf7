/*
 * husk_trace.c: runs a plan (plan.py) on Husk at several levels and writes a trace of each:
 * husk_trace MODULE PLAN OUT LEVEL…
 *
 * A level is O0 to O3, strict (O2 with the option strict), strict1 or strict3. The trace of a level
 * goes to OUT.LEVEL. V8's run has annotated the plan: it says where an instance is fresh, and which
 * calls to skip or to interrupt early. HUSK_TRACE_DUMP=STEP:FILE writes memory 0 after that step.
 * HUSK_TRACE_FAULT=NAME injects an error, to show that the comparison finds it: stub (wrong results
 * of stubs), memory (a wrong byte), strict (the level strict is compiled without the option). Exit
 * status: 0; 3 if Husk refuses the module (the reason is on standard output); 1 if something failed
 * (on standard error).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "husk.h"
#include "husk_compile.h"
#include "trace_plan.h"
#include "trace_stubs.h"
#include "trace_values.h"
#include "literals.h"

#define CALL_CPU_NS 30000000000u /* what V8 did within a second or two */
#define TRY_CPU_NS 300000000u
#define COMPILE_CPU_NS 600000000000u
/* V8 has 1 MiB; -O0 needs several times as much for the same depth */
#define STACK_BYTES (32u << 20)
#define VALUES_MAX 1000
#define TEXT_MAX 160
#define EXIT_REFUSED 3

struct run {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox; /* NULL: the next call needs a fresh one */
    const struct plan *plan;
    struct stub_state stubs;
    char (*seen)[TEXT_MAX]; /* per watch: what was written last for this instance */
    bool is_strict;
};

static const char *const trap_names[] = {
    [HUSK_TRAP_NONE] = "none",
    [HUSK_TRAP_UNREACHABLE] = "unreachable",
    [HUSK_TRAP_MEMORY_OUT_OF_BOUNDS] = "memory",
    [HUSK_TRAP_TABLE_OUT_OF_BOUNDS] = "table",
    [HUSK_TRAP_UNDEFINED_ELEMENT] = "undefined",
    [HUSK_TRAP_UNINITIALIZED_ELEMENT] = "uninitialized",
    [HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH] = "mismatch",
    [HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO] = "zero",
    [HUSK_TRAP_INTEGER_OVERFLOW] = "overflow",
    [HUSK_TRAP_INVALID_CONVERSION_TO_INTEGER] = "conversion",
    [HUSK_TRAP_CALL_STACK_EXHAUSTED] = "stack",
    [HUSK_TRAP_HOST_FUNCTION] = "host",
    [HUSK_TRAP_LINK] = "link",
    [HUSK_TRAP_NULL_EXCEPTION_REFERENCE] = "null",
    [HUSK_TRAP_EXCEPTION_REFERENCES] = "exception references",
    [HUSK_TRAP_UNALIGNED_ATOMIC] = "unaligned",
    [HUSK_TRAP_EXPECTED_SHARED_MEMORY] = "not shared",
    [HUSK_TRAP_NULL_FUNCTION_REFERENCE] = "null",
    [HUSK_TRAP_NULL_REFERENCE] = "null",
};

static void print_end(FILE *out, const struct husk_outcome *outcome,
                      const struct husk_value *results, size_t count) {
    if (outcome->kind == HUSK_RETURNED) {
        fprintf(out, "= returned");
        for (size_t i = 0; i < count; i++)
            value_print(out, &results[i]);
        fputc('\n', out);
    } else if (outcome->kind == HUSK_TRAPPED) {
        fprintf(out, "= trap %s\n", trap_names[outcome->trap]);
    } else if (outcome->kind == HUSK_DEADLINE) {
        fprintf(out, "= trap timeout\n");
    } else if (outcome->kind == HUSK_THREW) {
        fprintf(out, "= trap exception\n");
    } else {
        fprintf(out, "= outcome %d %s\n", (int)outcome->kind, outcome->message);
    }
}

/* "PAGES CRC" of a memory. */
static void describe_memory(const struct run *run, uint32_t mem_idx, char *text) {
    uint64_t bytes = husk_memory_bytes(run->sandbox, mem_idx);
    void *span = NULL;
    struct husk_error err = {0};
    if (bytes > 0 &&
        husk_memory_span(run->sandbox, RANGE(.count = bytes, .mem_idx = mem_idx), &span, &err) != 0)
        snprintf(text, TEXT_MAX, "%.150s", err.message);
    else
        snprintf(text, TEXT_MAX, "%" PRIu64 " %x", bytes >> 16, crc32_of(span, bytes));
}

static void describe_global(const struct run *run, const char *name, char *text) {
    struct husk_value value;
    struct husk_error err = {0};
    if (husk_global_get(run->sandbox, name, 0, &value, &err) != 0) {
        snprintf(text, TEXT_MAX, "%.150s", err.message);
        return;
    }
    char printed[TEXT_MAX] = "";
    FILE *out = fmemopen(printed, sizeof printed - 1, "w");
    if (out != NULL) {
        value_print(out, &value);
        (void)fclose(out);
    }
    snprintf(text, TEXT_MAX, "%.150s", printed + 1);
}

static void describe_tables(const struct run *run, const struct husk_extern *item, char *text) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err = {0};
    struct husk_value sum;
    husk_func func;
    if (husk_image_func(run->image, item->name, item->name_bytes, &func, &err) != 0 ||
        husk_call(run->sandbox, CALL(.func = func, .results = &sum, .results_count = 1), &outcome,
                  &err) != 0)
        snprintf(text, TEXT_MAX, "%.150s", err.message);
    else if (outcome.kind != HUSK_RETURNED)
        snprintf(text, TEXT_MAX, "%.100s", outcome.message);
    else
        snprintf(text, TEXT_MAX, "%x", (unsigned)sum.of.i32);
}

/* Writes what memories, globals and tables are now, as far as it has changed. */
static void watch(struct run *run) {
    for (size_t i = 0; i < run->plan->watches_count; i++) {
        const struct plan_line *line = &run->plan->watches[i];
        struct husk_extern item = HUSK_EXTERN_INIT;
        char text[TEXT_MAX];
        if (husk_image_export(run->image, strtoul(line->words[2], NULL, 10), &item) != 0)
            continue;
        if (item.kind == HUSK_EXTERN_MEMORY)
            describe_memory(run, item.idx, text);
        else if (item.kind == HUSK_EXTERN_GLOBAL)
            describe_global(run, item.name, text);
        else
            describe_tables(run, &item, text);
        if (strcmp(run->seen[i], text) != 0)
            fprintf(run->stubs.out, " %s %s\n", item.name, text);
        snprintf(run->seen[i], TEXT_MAX, "%s", text);
    }
}

static void drop_instance(struct run *run) {
    husk_sandbox_free(run->sandbox);
    run->sandbox = NULL;
    memset(run->seen, 0, run->plan->watches_count * sizeof *run->seen);
}

/* A fresh instance, started. False: it did not start; the trace says why. */
static bool start(struct run *run) {
    struct husk_sandbox_options limits = HUSK_SANDBOX_OPTIONS_INIT;
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_error err = {0};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    limits.stack_bytes = STACK_BYTES;
    options.cpu_ns = CALL_CPU_NS;
    run->stubs.seed = run->stubs.calls = 0;
    drop_instance(run);
    fprintf(run->stubs.out, "start\n");
    int status = husk_sandbox_new(run->image, run->imports, &limits, &run->sandbox, &err);
    if (status == 0)
        status = husk_sandbox_start(run->sandbox, &options, &outcome, &err);
    if (status != 0) {
        fprintf(run->stubs.out, "= error %s\n", err.message);
        return false;
    }
    print_end(run->stubs.out, &outcome, NULL, 0);
    if (outcome.kind == HUSK_RETURNED)
        watch(run);
    return outcome.kind == HUSK_RETURNED;
}

static void dump_memory(const struct run *run, size_t step) {
    const char *wanted = getenv("HUSK_TRACE_DUMP");
    const char *colon = wanted != NULL ? strchr(wanted, ':') : NULL;
    uint64_t bytes = husk_memory_bytes(run->sandbox, 0);
    void *span;
    if (colon == NULL || strtoul(wanted, NULL, 10) != step || bytes == 0 ||
        husk_memory_span(run->sandbox, RANGE(.count = bytes), &span, NULL) != 0)
        return;
    FILE *file = fopen(colon + 1, "wbe");
    if (file == NULL || fwrite(span, 1, bytes, file) != bytes || fclose(file) != 0)
        fprintf(stderr, "husk_trace: cannot write %s\n", colon + 1);
}

static bool has_fault(const char *name) {
    const char *fault = getenv("HUSK_TRACE_FAULT");
    return fault != NULL && strcmp(fault, name) == 0;
}

static void spoil_memory(const struct run *run) {
    void *span;
    if (husk_memory_span(run->sandbox, RANGE(.addr = 7, .count = 1), &span, NULL) == 0)
        *(uint8_t *)span ^= 1;
}

/* plan.py says what the verbs mean. */
static uint64_t call_limit(const struct run *run, const char *verb) {
    bool is_brief = strcmp(verb, "try") == 0 || (strcmp(verb, "beyond") == 0 && !run->is_strict);
    return is_brief ? TRY_CPU_NS : CALL_CPU_NS;
}

/* Runs one call of the plan. words: VERB EXPORT-INDEX STUB-SEED RESULTS ARGUMENT… */
static void call(struct run *run, const struct plan_line *line) {
    struct husk_extern item = HUSK_EXTERN_INIT;
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_value args[VALUES_MAX], results[VALUES_MAX];
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err = {0};
    husk_func func;
    size_t args_count = line->count - 4;
    int status = husk_image_export(run->image, strtoul(line->words[1], NULL, 10), &item);
    if (status == 0 &&
        (item.func.params_count != args_count || item.func.results_count > VALUES_MAX))
        status = HUSK_E_TYPE;
    for (size_t i = 0; status == 0 && i < args_count; i++)
        args[i] = value_parse(line->words[4 + i], item.func.params[i]);
    options.cpu_ns = call_limit(run, line->words[0]);
    run->stubs.seed = (uint32_t)strtoul(line->words[2], NULL, 10);
    run->stubs.calls = 0;
    if (status == 0)
        status = husk_image_func(run->image, item.name, item.name_bytes, &func, &err);
    if (status == 0)
        status =
            husk_call(run->sandbox,
                      CALL(.func = func, .args = args, .args_count = args_count, .results = results,
                           .results_count = item.func.results_count, .limits = &options),
                      &outcome, &err);
    if (status != 0) {
        fprintf(run->stubs.out, "= error %d %s\n", status, err.message);
        drop_instance(run);
        return;
    }
    print_end(run->stubs.out, &outcome, results, item.func.results_count);
    if (has_fault("memory"))
        spoil_memory(run);
    if (outcome.is_poisoned)
        drop_instance(run);
    else
        watch(run);
}

static void run_steps(struct run *run) {
    for (size_t step = 0; step < run->plan->steps_count; step++) {
        const struct plan_line *line = &run->plan->steps[step];
        bool is_fresh = strcmp(line->words[0], "fresh") == 0,
             is_skip = strcmp(line->words[0], "skip") == 0;
        /* An instance for a call that is skipped, too: V8 started one. */
        if (!is_fresh && run->sandbox == NULL && !start(run))
            return;
        if (!is_fresh && !is_skip) {
            fprintf(run->stubs.out, "call %zu\n", step);
            call(run, line);
            if (run->sandbox != NULL)
                dump_memory(run, step);
        }
        if (strcmp(line->words[0], "call") != 0)
            drop_instance(run);
    }
}

static bool is_strict_level(const char *level) {
    return strncmp(level, "strict", 6) == 0;
}

static int compile_level(const char *level, const char *module, size_t bytes, int *ret_fd) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_error err = {0};
    options.strict = is_strict_level(level) && !has_fault("strict");
    const char digit = level[0] == 'O' ? level[1] : level[6]; /* may be missing: the default */
    options.opt_level = digit == '0' ? HUSK_OPT_NONE : digit == '\0' ? 0 : digit - '0';
    options.cpu_limit_ns = COMPILE_CPU_NS;
    options.threads = 1;
    int status = husk_compile(module, bytes, &options, ret_fd, &err);
    bool is_invalid = status == HUSK_E_INVALID_WASM || status == HUSK_E_BAD_WASM;
    if (is_invalid || status == HUSK_E_UNSUPPORTED || status == HUSK_E_LIMIT) {
        printf("refused: %s%s\n", is_invalid ? "invalid: " : "", err.message);
        return EXIT_REFUSED;
    }
    if (status != 0)
        fprintf(stderr, "husk_trace: %s: compiling: %s: %s\n", level, husk_status_name(status),
                err.message);
    return status != 0 ? 1 : 0;
}

static int run_level(struct run *run, int fd, const char *out_path) {
    struct husk_error err = {0};
    run->stubs.out = fopen(out_path, "we");
    if (run->stubs.out == NULL) {
        perror(out_path);
        return 1;
    }
    int status = husk_image_open_fd(run->engine, fd, SKIP_HASH, &run->image, &err);
    if (status == 0)
        status = husk_imports_new(run->engine, &run->imports, &err);
    if (status == 0)
        status = stubs_define(run->imports, run->plan, &run->stubs, &err);
    if (status == 0)
        run_steps(run);
    else
        fprintf(stderr, "husk_trace: %s: %s\n", husk_status_name(status), err.message);
    drop_instance(run);
    husk_imports_free(run->imports);
    husk_image_unref(run->image);
    run->imports = NULL;
    run->image = NULL;
    return fclose(run->stubs.out) != 0 || status != 0 ? 1 : 0;
}

static int run_levels(struct run *run, const char *module, size_t bytes, char **argv) {
    int result = 0;
    for (char **level = argv + 4; *level != NULL && result == 0; level++) {
        char path[4096];
        int fd = -1;
        snprintf(path, sizeof path, "%s.%s", argv[3], *level);
        run->is_strict = is_strict_level(*level);
        result = compile_level(*level, module, bytes, &fd);
        if (result != 0)
            break;
        result = run_level(run, fd, path);
        close(fd);
    }
    return result;
}

int main(int argc, char **argv) {
    struct plan plan = {0};
    struct run run = {.plan = &plan};
    struct husk_error err = {0};
    size_t bytes = 0;
    if (argc < 5) {
        fprintf(stderr, "usage: husk_trace MODULE PLAN OUT LEVEL...\n");
        return 2;
    }
    char *module = file_bytes(argv[1], &bytes);
    if (module == NULL || plan_read(argv[2], &plan) != 0)
        return 1;
    run.stubs.is_wrong = has_fault("stub");
    run.seen = calloc(plan.watches_count + 1, sizeof *run.seen);
    int result = 1;
    if (run.seen == NULL || husk_engine_new(NULL, &run.engine, &err) != 0)
        fprintf(stderr, "husk_trace: %s\n", err.message);
    else
        result = run_levels(&run, module, bytes, argv);
    husk_engine_unref(run.engine);
    free(run.seen);
    plan_done(&plan);
    free(module);
    return result;
}
