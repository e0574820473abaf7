/*
 * tests/spec/spec_pack.c: the compiling half of the official test suite's runner. It reads files of
 * the suite (GROUP/NAME/NAME.json with their modules). It judges what needs no machine: whether
 * modules are malformed, invalid or valid. It compiles the programs of a file (spec_images.h), and
 * writes one pack per file: commands as text lines, with the images between them (spec_pack.h).
 * spec_run executes packs and needs only libhusk, so it also runs statically linked in a bare
 * virtual machine.
 */
#include "spec_pack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "husk_compile.h"
#include "spec_images.h"
#include "spec_script.h"
#include "spec_write.h"

#define JOBS_MAX 64
#define TEXT_REASON "malformed text: Husk reads binaries, and has no text parser to test"

struct settings {
    const char *suite_dir, *out_dir;
    struct husk_compile_options compile;
    size_t calls_max; /* of a file; what comes behind that is left out */
    int jobs;
    char **names; /* of the files to do: GROUP/NAME */
    int names_count;
};

struct packer {
    const struct settings *settings;
    const struct script *script;
    struct images images;
    FILE *out;
    size_t judged, modules, calls;
    bool is_2_0;
};

/* ---- verdicts ---- */

static void put_skipped(const struct packer *packer, const char *line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void put_skipped(const struct packer *packer, const char *line, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(packer->out, "skipped %s", line);
    write_text(packer->out, text);
    fputc('\n', packer->out);
}

static void put_verdict(const struct packer *packer, const char *line, bool is_good,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));
static void put_verdict(const struct packer *packer, const char *line, bool is_good,
                        const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(packer->out, "%s %s", is_good ? "passed" : "failed", line);
    if (!is_good)
        write_text(packer->out, text);
    fputc('\n', packer->out);
}

/* Is the module's validity known? */
static bool judge_module(struct packer *packer, const struct script_command *command) {
    const struct script_module *module = &packer->script->modules[command->module];
    packer->modules++;
    if (module->status == HUSK_E_UNSUPPORTED)
        return false;
    packer->judged++;
    return true;
}

/* The validator knows everything of 3.0 and of the proposals. */
static void put_unjudged(const struct packer *packer, const struct script_command *command) {
    put_verdict(packer, command->line, false, "not judged: %s",
                packer->script->modules[command->module].err.message);
}

/* assert_malformed, assert_invalid and the like. */
static void pack_rejected(struct packer *packer, const struct script_command *command) {
    bool is_malformed = strstr(command->type, "malformed") != NULL;
    if (command->module == SCRIPT_NONE) {
        put_skipped(packer, command->line, "%s", TEXT_REASON);
        return;
    }
    const struct script_module *module = &packer->script->modules[command->module];
    /* Two malformed modules of 2.0 use bytes to which later proposals gave a meaning. Those are
     * refused by the proposal's name. */
    bool is_named = packer->is_2_0 && is_malformed && module->status == HUSK_E_UNSUPPORTED;
    if (!judge_module(packer, command) && !is_named) {
        put_unjudged(packer, command);
        return;
    }
    packer->judged += is_named ? 1 : 0;
    int expected = is_malformed ? HUSK_E_BAD_WASM : HUSK_E_INVALID_WASM;
    put_verdict(packer, command->line, module->status == expected || is_named,
                "expected %s (%s), got %s: %s", husk_status_name(expected),
                json_text(command->json, "text"), husk_status_name(module->status),
                module->status != 0 ? module->err.message : "accepted");
}

/* ---- what runs ---- */

static void put_image(struct packer *packer) {
    if (packer->images.fd < 0)
        return;
    write_image(packer->out, packer->images.images_count - 1, packer->images.members_count,
                packer->images.fd);
    (void)close(packer->images.fd);
    packer->images.fd = -1;
}

/* Where an instance is; NULL if it is nowhere, which is said. */
static const struct place *place_of(struct packer *packer, const struct script_command *command) {
    if (command->instance == SCRIPT_NONE) {
        put_verdict(packer, command->line, false, "%s: no such instance", command->type);
        return NULL;
    }
    images_prepare(&packer->images, command->instance);
    put_image(packer);
    const struct place *place = &packer->images.places[command->instance];
    if (place->kind == PLACE_MISSING)
        put_skipped(packer, command->line, "needs %s", place->why);
    else if (place->kind == PLACE_REFUSED)
        put_verdict(packer, command->line, true, "refused");
    else if (place->kind != PLACE_IMAGE)
        put_verdict(packer, command->line, false, "%s: its module: %s", command->type, place->why);
    return place->kind == PLACE_IMAGE ? place : NULL;
}

/* module, module_instance, assert_unlinkable, assert_uninstantiable */
static void pack_instance(struct packer *packer, const struct script_command *command) {
    if (command->module != SCRIPT_NONE && !judge_module(packer, command)) {
        put_unjudged(packer, command);
        return;
    }
    const struct place *place = place_of(packer, command);
    if (place == NULL)
        return;
    const char *const verbs[] = {
        [SCRIPT_STARTS] = "start", [SCRIPT_TRAPS] = "no_start", [SCRIPT_UNLINKABLE] = "no_link"};
    enum script_kind kind = packer->script->instances[command->instance].kind;
    fprintf(packer->out, "%s %s %zu %zu", verbs[kind], command->line, place->image, place->stage);
    if (kind != SCRIPT_STARTS)
        write_text(packer->out, json_text(command->json, "text"));
    fputc('\n', packer->out);
}

static void pack_definition(struct packer *packer, const struct script_command *command) {
    const struct script_module *module = &packer->script->modules[command->module];
    if (judge_module(packer, command))
        put_verdict(packer, command->line, module->status == 0, "a valid module is refused: %s",
                    module->err.message);
    else
        put_unjudged(packer, command);
}

static void pack_register(struct packer *packer, const struct script_command *command) {
    if (place_of(packer, command) != NULL)
        put_verdict(packer, command->line, true, "registered");
}

/* An export of an instance that is not the last of its image is called "NAME/EXPORT". */
static void put_field(const struct packer *packer, const struct script_command *command,
                      const struct place *place, const struct json *field) {
    char name[4096];
    size_t bytes = 0;
    if (!place->is_last) {
        images_name(command->instance, name);
        bytes = strlen(name);
        name[bytes++] = '/';
    }
    size_t count = field->text_bytes < sizeof name - bytes ? field->text_bytes : 0;
    memcpy(name + bytes, field->text, count);
    write_name(packer->out, name, bytes + count);
}

static void pack_action(struct packer *packer, const struct script_command *command) {
    const struct json *action = json_get(command->json, "action");
    const struct json *field = json_get(action, "field");
    const char *kind = json_text(action, "type");
    if (field == NULL || kind == NULL) {
        put_verdict(packer, command->line, false, "an action without a field");
        return;
    }
    const struct place *place = place_of(packer, command);
    if (place == NULL)
        return;
    packer->calls++;
    FILE *out = packer->out;
    fprintf(out, "%s %s %s %zu", command->type, command->line, kind, place->image);
    put_field(packer, command, place, field);
    write_values(out, json_get(action, "args"));
    bool has_values =
        strcmp(command->type, "assert_return") == 0 || strcmp(command->type, "action") == 0;
    if (has_values)
        write_values(out, json_get(command->json, "expected"));
    else
        write_text(out, json_text(command->json, "text"));
    fputc('\n', out);
}

static void pack_command(struct packer *packer, const struct script_command *command) {
    static const char *const rejected[] = {"assert_malformed", "assert_invalid",
                                           "assert_malformed_custom", "assert_invalid_custom",
                                           NULL};
    static const char *const instances[] = {"module", "module_instance", "assert_unlinkable",
                                            "assert_uninstantiable", NULL};
    static const char *const actions[] = {"assert_return",    "assert_trap", "assert_exhaustion",
                                          "assert_exception", "action",      NULL};
    const char *type = command->type;
    if (script_is_one_of(type, rejected))
        pack_rejected(packer, command);
    else if (script_is_one_of(type, instances))
        pack_instance(packer, command);
    else if (script_is_one_of(type, actions))
        pack_action(packer, command);
    else if (strcmp(type, "module_definition") == 0 && command->module != SCRIPT_NONE)
        pack_definition(packer, command);
    else if (strcmp(type, "register") == 0)
        pack_register(packer, command);
    else
        put_verdict(packer, command->line, false, "unknown command %s", type);
}

/* ---- files ---- */

/* An image is dropped behind the last command that is about its program. */
static void drop_image(const struct packer *packer, size_t idx) {
    const struct script *script = packer->script;
    size_t instance = script->commands[idx].instance;
    if (instance == SCRIPT_NONE || packer->images.places[instance].kind != PLACE_IMAGE)
        return;
    for (size_t i = idx + 1; i < script->commands_count; i++) {
        size_t later = script->commands[i].instance;
        if (later != SCRIPT_NONE &&
            script->instances[later].program == script->instances[instance].program)
            return;
    }
    fprintf(packer->out, "drop %zu\n", packer->images.places[instance].image);
}

static bool pack_script(struct packer *packer, const char *group, const char *name) {
    const struct script *script = packer->script;
    if (!images_init(&packer->images, script, &packer->settings->compile))
        return false;
    fprintf(packer->out, "%s %s %s\n", SPEC_PACK_MAGIC, group, name);
    for (size_t i = 0; i < script->commands_count; i++) {
        if (packer->calls >= packer->settings->calls_max)
            break;
        pack_command(packer, &script->commands[i]);
        drop_image(packer, i);
    }
    fprintf(packer->out, "end %zu %zu\n", packer->judged, packer->modules);
    images_done(&packer->images);
    return true;
}

static FILE *open_pack(const struct settings *settings, const char *file) {
    char path[SCRIPT_PATH_BYTES];
    char name[SCRIPT_PATH_BYTES];
    (void)snprintf(name, sizeof name, "%s", file);
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash, '/'))
        *slash = '+';
    int length = snprintf(path, sizeof path, "%s/%s.pack", settings->out_dir, name);
    FILE *out = length > 0 && (size_t)length < sizeof path ? fopen(path, "we") : NULL;
    if (out == NULL)
        perror(path);
    return out;
}

static bool pack_file(const struct settings *settings, const char *file) {
    const char *slash = strrchr(file, '/');
    char dir[SCRIPT_PATH_BYTES];
    char group[SCRIPT_PATH_BYTES];
    int length = snprintf(dir, sizeof dir, "%s/%s", settings->suite_dir, file);
    if (slash == NULL || length < 0 || (size_t)length >= sizeof dir) {
        fprintf(stderr, "%s: not GROUP/NAME, or too long\n", file);
        return false;
    }
    (void)snprintf(group, sizeof group, "%.*s", (int)(slash - file), file);
    struct script script;
    struct packer packer = {
        .settings = settings, .script = &script, .is_2_0 = strncmp(group, "wg-2.0", 6) == 0};
    bool is_good = script_read(dir, slash + 1, group, &script);
    packer.out = is_good ? open_pack(settings, file) : NULL;
    if (packer.out != NULL) {
        is_good = pack_script(&packer, group, slash + 1);
        if (ferror(packer.out) != 0)
            is_good = false;
        if (fclose(packer.out) != 0)
            is_good = false;
    } else {
        is_good = false;
    }
    script_free(&script);
    return is_good;
}

/* Each job is a process that takes the next file; a crash of ours loses one job's exit code and so
 * fails the run. */
static int pack_all(const struct settings *settings) {
    atomic_int *next =
        mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (next == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    for (int job = 0; job < settings->jobs; job++) {
        pid_t pid = fork();
        if (pid == 0) {
            int failed = 0;
            for (int i = atomic_fetch_add(next, 1); i < settings->names_count;
                 i = atomic_fetch_add(next, 1))
                failed |= pack_file(settings, settings->names[i]) ? 0 : 1;
            _exit(failed);
        }
        if (pid < 0) {
            perror("fork");
            return 1;
        }
    }
    int failed = 0;
    int status = 0;
    while (wait(&status) > 0 || errno == EINTR)
        failed |= WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
    (void)munmap(next, sizeof *next);
    return failed;
}

static int usage(void) {
    fputs("usage: spec_pack [-O LEVEL] [--strict] [-j JOBS] [--cpu NAME] [--calls N] --cache DIR "
          "-o DIR SUITE-DIR GROUP/NAME…\n"
          "Packs SUITE-DIR/GROUP/NAME/NAME.json into DIR, which must exist.\n"
          "--calls: no more than so many calls of each file.\n",
          stderr);
    return 2;
}

static bool parse_option(struct settings *settings, const char *option, const char *value) {
    if (strcmp(option, "-O") == 0)
        settings->compile.opt_level = strcmp(value, "0") == 0 ? HUSK_OPT_NONE : atoi(value);
    else if (strcmp(option, "-j") == 0)
        settings->jobs = atoi(value);
    else if (strcmp(option, "--cpu") == 0)
        settings->compile.cpu = value;
    else if (strcmp(option, "--calls") == 0)
        settings->calls_max = strtoul(value, NULL, 10);
    else if (strcmp(option, "--cache") == 0)
        settings->compile.cache_dir = value;
    else if (strcmp(option, "-o") == 0)
        settings->out_dir = value;
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    struct settings settings = {
        .compile = HUSK_COMPILE_OPTIONS_INIT, .jobs = 1, .calls_max = SIZE_MAX};
    settings.compile.threads = 1;
    int i = 1;
    while (i < argc && argv[i][0] == '-') {
        if (strcmp(argv[i], "--strict") == 0) {
            settings.compile.strict = true;
            i++;
        } else if (i + 1 < argc && parse_option(&settings, argv[i], argv[i + 1])) {
            i += 2;
        } else {
            return usage();
        }
    }
    bool has_all = settings.out_dir != NULL && settings.compile.cache_dir != NULL;
    if (!has_all || argc - i < 2 || settings.jobs < 1 || settings.jobs > JOBS_MAX)
        return usage();
    settings.suite_dir = argv[i];
    settings.names = argv + i + 1;
    settings.names_count = argc - i - 1;
    return pack_all(&settings);
}
