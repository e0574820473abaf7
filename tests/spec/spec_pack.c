/*
 * tests/spec/spec_pack.c: the compiling half of the official test suite's runner. It reads the
 * suite (a folder of <name>/<name>.json with their modules). It judges the commands that need no
 * machine (assert_malformed, assert_invalid), and compiles every module. It writes one pack per
 * file: commands as text lines, with the images between them (spec_pack.h). spec_run executes packs
 * and needs only libhusk, so it also runs statically linked in a bare virtual machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "husk_compile.h"
#include "spec_json.h"
#include "spec_judge.h"
#include "spec_pack.h"

#define PATH_BYTES 4096
#define JOBS_MAX 64

struct settings {
    const char *suite_dir, *out_dir, *cache_dir;
    struct husk_compile_options compile;
    bool is_validate_only; /* judge and validate; no pack of commands (group simd) */
    int jobs;
    char **names; /* of the files to do */
    int names_count;
};

struct packer {
    const struct settings *settings;
    const char *name; /* of the file */
    bool links;       /* one of the files that link modules: only judged, not run */
    FILE *out;
};

struct bytes {
    uint8_t *data;
    size_t count;
};

static bool read_file(const char *path, struct bytes *ret_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        perror(path);
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    size_t count = (size_t)info.st_size;
    uint8_t *data = malloc(count != 0 ? count : 1); /* no byte more, so that ASan sees over-reads */
    size_t got = 0;
    while (data != NULL && got < count) {
        ssize_t step = read(fd, data + got, count - got);
        if (step <= 0)
            break;
        got += (size_t)step;
    }
    (void)close(fd);
    if (got != count) {
        free(data);
        return false;
    }
    *ret_bytes = (struct bytes){data, count};
    return true;
}

static void put_hex(FILE *out, const char *text, size_t bytes) {
    fputc('x', out);
    for (size_t i = 0; i < bytes; i++)
        fprintf(out, "%02x", (unsigned)(unsigned char)text[i]);
}

static void put_name(FILE *out, const struct json *name) {
    if (name == NULL)
        fputc('-', out);
    else
        put_hex(out, name->text, name->text_bytes);
}

/* "type:bits" with the bits in hex; NaN patterns and references as words. */
static void put_value(FILE *out, const struct json *value) {
    const char *type = json_text(value, "type");
    const char *text = json_text(value, "value");
    if (type == NULL)
        fputs(" ?:?", out);
    else if (text == NULL)
        fprintf(out, " %s:any", type);
    else if (strchr("if", type[0]) == NULL || strncmp(text, "nan:", 4) == 0 ||
             strcmp(type, "funcref") == 0)
        fprintf(out, " %s:%s", type, text);
    else if (text[0] == '-')
        fprintf(out, " %s:%llx", type, (unsigned long long)strtoll(text, NULL, 10));
    else
        fprintf(out, " %s:%llx", type, strtoull(text, NULL, 10));
}

static void put_values(FILE *out, const struct json *values) {
    fprintf(out, " %zu", json_count(values));
    for (const struct json *value = values != NULL ? values->items : NULL; value != NULL;
         value = value->next)
        put_value(out, value);
}

static bool module_bytes(const struct packer *packer, const struct json *command,
                         struct bytes *ret_bytes) {
    const char *file = json_text(command, "binary_filename");
    if (file == NULL)
        file = json_text(command, "filename");
    char path[PATH_BYTES];
    int length =
        snprintf(path, sizeof path, "%s/%s/%s", packer->settings->suite_dir, packer->name, file);
    return file != NULL && length > 0 && (size_t)length < sizeof path && read_file(path, ret_bytes);
}

static void put_judged(const struct packer *packer, const char *line, bool is_good,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));
static void put_judged(const struct packer *packer, const char *line, bool is_good,
                       const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(packer->out, "judged %s %s ", line, is_good ? "passed" : "failed");
    put_hex(packer->out, text, length < 0 ? 0 : strlen(text));
    fputc('\n', packer->out);
}

static void pack_rejected(const struct packer *packer, const struct json *command,
                          const char *line) {
    bool is_malformed = strcmp(json_text(command, "type"), "assert_malformed") == 0;
    const char *module_type = json_text(command, "module_type");
    if (module_type == NULL || strcmp(module_type, "binary") != 0) {
        fprintf(packer->out, "skipped %s text\n", line);
        return;
    }
    struct bytes wasm;
    if (!module_bytes(packer, command, &wasm)) {
        put_judged(packer, line, false, "cannot read the module");
        return;
    }
    struct husk_error err = {0};
    int expected = is_malformed ? HUSK_E_BAD_WASM : HUSK_E_INVALID_WASM;
    int status = judge_wasm_2_0(wasm.data, wasm.count, &err);
    /* Two malformed modules use bytes to which later proposals gave a meaning; those are refused by
     * the proposal's name. */
    bool is_refused = status == expected || (is_malformed && status == HUSK_E_UNSUPPORTED);
    put_judged(packer, line, is_refused, "expected %s (%s), got %s: %s", husk_status_name(expected),
               json_text(command, "text"), husk_status_name(status),
               status != 0 ? err.message : "accepted");
    free(wasm.data);
}

static void put_image(const struct packer *packer, int fd) {
    off_t bytes = lseek(fd, 0, SEEK_END);
    void *image = bytes > 0 ? mmap(NULL, (size_t)bytes, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (image == MAP_FAILED) {
        fputs(" 0\n", packer->out);
        return;
    }
    fprintf(packer->out, " %zu\n", (size_t)bytes);
    fwrite(image, 1, (size_t)bytes, packer->out);
    fputc('\n', packer->out);
    (void)munmap(image, (size_t)bytes);
}

/* A module that the suite says is valid: compiled; in a file that is only judged: validated and
 * compiled if possible. */
static void pack_module(const struct packer *packer, const struct json *command, const char *line) {
    const struct settings *settings = packer->settings;
    struct bytes wasm;
    if (!module_bytes(packer, command, &wasm)) {
        put_judged(packer, line, false, "cannot read the module");
        return;
    }
    struct husk_error err = {0};
    int status = judge_wasm_2_0(wasm.data, wasm.count, &err);
    put_judged(packer, line, status == 0, "a valid module is refused: %s", err.message);
    int fd = -1;
    if (status == 0 && !settings->is_validate_only) {
        struct husk_compiled compiled = {.size = sizeof compiled, .fd = -1};
        struct husk_compile_options compile = settings->compile;
        compile.cache_dir = settings->cache_dir;
        status = husk_compile_cached(wasm.data, wasm.count, &compile, &compiled, &err);
        fd = compiled.fd;
        if (packer->links) {
            put_judged(packer, line, status == 0, "does not compile: %s", err.message);
        } else if (status != 0) {
            fprintf(packer->out, "nomodule %s ", line);
            put_name(packer->out, json_get(command, "name"));
            fputc(' ', packer->out);
            put_hex(packer->out, err.message, strlen(err.message));
            fputc('\n', packer->out);
        }
    }
    free(wasm.data);
    if (fd >= 0 && !packer->links) {
        fprintf(packer->out, "%s %s ", json_text(command, "type"), line);
        put_name(packer->out, json_get(command, "name"));
        fputc(' ', packer->out);
        const char *text = json_text(command, "text");
        put_hex(packer->out, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
        put_image(packer, fd);
    }
    if (fd >= 0)
        (void)close(fd);
}

static void pack_action(const struct packer *packer, const struct json *command, const char *line) {
    const struct json *action = json_get(command, "action");
    const struct json *field = json_get(action, "field");
    const char *kind = json_text(action, "type");
    if (field == NULL || kind == NULL) {
        put_judged(packer, line, false, "an action without a field");
        return;
    }
    FILE *out = packer->out;
    fprintf(out, "%s %s %s ", json_text(command, "type"), line, kind);
    put_name(out, json_get(action, "module"));
    fputc(' ', out);
    put_name(out, field);
    put_values(out, json_get(action, "args"));
    const char *text = json_text(command, "text");
    if (text != NULL) {
        fputc(' ', out);
        put_hex(out, text, strlen(text));
    } else {
        put_values(out, json_get(command, "expected"));
    }
    fputc('\n', out);
}

static bool is_one_of(const char *word, const char *const *words) {
    while (*words != NULL && strcmp(word, *words) != 0)
        words++;
    return *words != NULL;
}

static void pack_command(const struct packer *packer, const struct json *command) {
    static const char *const rejected[] = {"assert_malformed", "assert_invalid", NULL};
    static const char *const modules[] = {"module", "assert_unlinkable", "assert_uninstantiable",
                                          NULL};
    static const char *const actions[] = {"assert_return", "assert_trap", "assert_exhaustion",
                                          "action", NULL};
    const char *type = json_text(command, "type");
    const char *line = json_text(command, "line");
    if (type == NULL || line == NULL)
        put_judged(packer, "0", false, "a command without type or line");
    else if (is_one_of(type, rejected))
        pack_rejected(packer, command, line);
    else if (is_one_of(type, modules))
        pack_module(packer, command, line);
    else if (packer->links || packer->settings->is_validate_only)
        fprintf(packer->out, "skipped %s %s\n", line, packer->links ? "links" : "simd");
    else if (is_one_of(type, actions))
        pack_action(packer, command, line);
    else
        put_judged(packer, line, false, "unknown command %s", type);
}

static bool pack_commands(struct packer *packer, const char *json_path) {
    struct bytes text;
    if (!read_file(json_path, &text))
        return false;
    size_t offset = 0;
    struct json *root = json_parse((const char *)text.data, text.count, &offset);
    free(text.data);
    const struct json *commands = json_get(root, "commands");
    if (commands == NULL) {
        fprintf(stderr, "%s: not a test file (stopped at byte %zu)\n", json_path, offset);
        json_free(root);
        return false;
    }
    fprintf(packer->out, "%s %s\n", SPEC_PACK_MAGIC, packer->name);
    for (const struct json *command = commands->items; command != NULL; command = command->next)
        pack_command(packer, command);
    fputs("end\n", packer->out);
    json_free(root);
    return true;
}

static bool pack_file(const struct settings *settings, const char *name) {
    char json_path[PATH_BYTES];
    char out_path[PATH_BYTES];
    int json_length =
        snprintf(json_path, sizeof json_path, "%s/%s/%s.json", settings->suite_dir, name, name);
    int out_length = snprintf(out_path, sizeof out_path, "%s/%s.pack", settings->out_dir, name);
    if (json_length < 0 || json_length >= PATH_BYTES || out_length < 0 ||
        out_length >= PATH_BYTES) {
        fprintf(stderr, "%s: path too long\n", name);
        return false;
    }
    struct packer packer = {
        .settings = settings, .name = name, .links = is_one_of(name, spec_linking_files)};
    packer.out = fopen(out_path, "we");
    if (packer.out == NULL) {
        perror(out_path);
        return false;
    }
    bool is_good = pack_commands(&packer, json_path);
    if (ferror(packer.out) != 0 || fclose(packer.out) != 0) {
        perror(out_path);
        return false;
    }
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
    fputs("usage: spec_pack [-O LEVEL] [-j JOBS] [--cpu NAME] [--validate-only] --cache DIR -o DIR "
          "SUITE-DIR "
          "FILE…\n"
          "Packs SUITE-DIR/FILE/FILE.json into DIR/FILE.pack; DIR must exist.\n",
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
    else if (strcmp(option, "--cache") == 0)
        settings->cache_dir = value;
    else if (strcmp(option, "-o") == 0)
        settings->out_dir = value;
    else
        return false;
    return true;
}

int main(int argc, char **argv) {
    struct settings settings = {.compile = HUSK_COMPILE_OPTIONS_INIT, .jobs = 1};
    settings.compile.threads = 1;
    int i = 1;
    while (i < argc && argv[i][0] == '-') {
        if (strcmp(argv[i], "--validate-only") == 0) {
            settings.is_validate_only = true;
            i++;
        } else if (i + 1 < argc && parse_option(&settings, argv[i], argv[i + 1])) {
            i += 2;
        } else {
            return usage();
        }
    }
    bool has_all =
        settings.out_dir != NULL && (settings.cache_dir != NULL || settings.is_validate_only);
    if (!has_all || argc - i < 2 || settings.jobs < 1 || settings.jobs > JOBS_MAX)
        return usage();
    settings.suite_dir = argv[i];
    settings.names = argv + i + 1;
    settings.names_count = argc - i - 1;
    return pack_all(&settings);
}
