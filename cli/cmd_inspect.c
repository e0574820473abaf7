/* cli/cmd_inspect.c: husk inspect: shows the contents of a module or an image. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

extern char **environ;

enum inspect_mode { MODE_SUMMARY, MODE_WASM, MODE_ASM, MODE_FILES };

enum { OPT_WASM = 256, OPT_ASM, OPT_FILES, OPT_JSON, OPT_VERIFY, OPT_NO_VERIFY };

struct inspect {
    struct report report;
    enum inspect_mode mode;
    bool is_unverified;
    struct compile_request compile; /* for --asm */
    const char *path;
    bool is_listing_imports; /* while listing: which of the two */
    size_t listed;
};

static const struct option inspect_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"wasm", no_argument, NULL, OPT_WASM},
    {"asm", no_argument, NULL, OPT_ASM},
    {"files", no_argument, NULL, OPT_FILES},
    {"json", no_argument, NULL, OPT_JSON},
    COMPILE_OPTION_ROWS,
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"no-verify", no_argument, NULL, OPT_NO_VERIFY},
    {NULL, 0, NULL, 0},
};

/* ---- Imports and exports ---- */

static void list_item(struct inspect *inspect, bool is_import, const struct husk_extern *item) {
    if (is_import != inspect->is_listing_imports)
        return;
    if (inspect->report.is_json) {
        if (inspect->listed != 0)
            fputc(',', stdout);
        extern_json(stdout, item);
    } else {
        if (inspect->listed == 0)
            puts(is_import ? "imports" : "exports");
        extern_text(stdout, item);
    }
    inspect->listed++;
}

static void visit_item(void *user, bool is_import, const struct husk_extern *item) {
    list_item(user, is_import, item);
}

static void list_begin(struct inspect *inspect, bool is_imports) {
    inspect->is_listing_imports = is_imports;
    inspect->listed = 0;
    if (inspect->report.is_json)
        printf(",\"%s\":[", is_imports ? "imports" : "exports");
}

static void list_end(const struct inspect *inspect) {
    if (inspect->report.is_json)
        fputc(']', stdout);
}

/* ---- Rows ---- */

static void row_u64(const struct inspect *inspect, const char *key, uint64_t value) {
    if (inspect->report.is_json)
        printf(",\"%s\":%" PRIu64, key, value);
    else
        printf("%-15s %" PRIu64 "\n", key, value);
}

static void row_text(const struct inspect *inspect, const char *key, const char *value) {
    if (inspect->report.is_json) {
        printf(",\"%s\":", key);
        json_text(stdout, value);
    } else {
        printf("%-15s ", key);
        put_name(stdout, value, strlen(value));
        fputc('\n', stdout);
    }
}

static void row_bool(const struct inspect *inspect, const char *key, bool value) {
    if (inspect->report.is_json)
        printf(",\"%s\":%s", key, value ? "true" : "false");
    else
        printf("%-15s %s\n", key, value ? "yes" : "no");
}

static void begin(const struct inspect *inspect, const char *kind) {
    if (!inspect->report.is_json) {
        printf("%-15s %s\n", "kind", kind);
        return;
    }
    fputs("{\"file\":", stdout);
    json_text(stdout, inspect->path);
    printf(",\"kind\":\"%s\"", kind);
}

static void end(const struct inspect *inspect) {
    if (inspect->report.is_json)
        puts("}");
}

static void row_features(const struct inspect *inspect, uint64_t features) {
    char text[512] = "";
    size_t at = 0;
    for (unsigned bit = 0; bit < 64 && at < sizeof text; bit++) {
        const char *name = (features >> bit & 1) != 0 ? husk_cpu_feature_name(bit) : NULL;
        if (name == NULL)
            continue;
        int written = snprintf(text + at, sizeof text - at, "%s%s", at != 0 ? " " : "", name);
        at += written > 0 ? (size_t)written : 0;
    }
    row_text(inspect, "cpu_features", text);
}

/* ---- Modules ---- */

static int inspect_module(struct inspect *inspect, const struct input *input,
                          struct husk_error *err) {
    struct husk_wasm_info info = HUSK_WASM_INFO_INIT;
    int status = husk_wasm_describe(input->bytes, input->count, &info, err);
    if (status != 0)
        return status;
    begin(inspect, "module");
    row_text(inspect, "name", info.module_name);
    row_u64(inspect, "file_bytes", input->count);
    row_u64(inspect, "code_bytes", info.code_bytes);
    row_u64(inspect, "data_bytes", info.data_bytes);
    row_u64(inspect, "types", info.types_count);
    row_u64(inspect, "functions", info.funcs_count);
    row_u64(inspect, "tables", info.tables_count);
    row_u64(inspect, "memories", info.memories_count);
    row_u64(inspect, "globals", info.globals_count);
    row_u64(inspect, "tags", info.tags_count);
    row_bool(inspect, "start_function", info.has_start);
    row_bool(inspect, "names", info.has_names);
    row_bool(inspect, "source_lines", info.has_dwarf);
    row_bool(inspect, "simd", info.uses_simd);
    row_text(inspect, "features", info.features);
    for (int is_imports = 1; status == 0 && is_imports >= 0; is_imports--) {
        list_begin(inspect, is_imports);
        status = husk_wasm_interface(input->bytes, input->count, visit_item, inspect, err);
        list_end(inspect);
    }
    end(inspect);
    return status;
}

/* No HUSK_E_…: finish_output() says it. */
#define STDOUT_FAILED 1

static int write_stdout(void *user, const void *text, size_t count) {
    (void)user;
    return fwrite(text, 1, count, stdout) == count ? 0 : STDOUT_FAILED;
}

/* ---- Images ---- */

static void inspect_image_rows(struct inspect *inspect, const husk_image *image,
                               uint64_t file_bytes) {
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    char hash[65];
    husk_image_info(image, &info);
    for (int i = 0; i < 32; i++)
        snprintf(hash + 2 * i, 3, "%02x", info.wasm_sha256[i]);
    begin(inspect, husk_image_is_snapshot(image) ? "snapshot" : "image");
    row_text(inspect, "name", info.module_name);
    row_text(inspect, "compiler", info.compiler);
    row_u64(inspect, "opt_level", (uint64_t)info.opt_level);
    row_bool(inspect, "strict", info.is_strict);
    row_text(inspect, "cpu", info.target_cpu);
    row_features(inspect, info.cpu_features);
    row_text(inspect, "wasm_sha256", hash);
    row_u64(inspect, "file_bytes", file_bytes);
    row_u64(inspect, "text_bytes", info.text_bytes);
    row_u64(inspect, "rodata_bytes", info.rodata_bytes);
    row_u64(inspect, "data_bytes", info.data_bytes);
    row_u64(inspect, "memory_bytes", info.memory_bytes);
    row_u64(inspect, "files_bytes", info.files_bytes);
    row_u64(inspect, "instances", info.instances_count);
    row_u64(inspect, "types", info.types_count);
    row_u64(inspect, "functions", info.functions_count);
    row_u64(inspect, "tables", info.tables_count);
    row_u64(inspect, "memories", info.memories_count);
    row_u64(inspect, "globals", info.globals_count);
    row_u64(inspect, "tags", info.tags_count);
    row_u64(inspect, "memory_pages", info.memory_pages);
    row_u64(inspect, "table_entries", info.table_entries);
    row_bool(inspect, "needs_init", info.needs_init);
    row_bool(inspect, "source_lines", info.has_lines);
}

static void inspect_image_items(struct inspect *inspect, const husk_image *image) {
    struct husk_extern item = HUSK_EXTERN_INIT;
    list_begin(inspect, true);
    for (size_t i = 0; i < husk_image_imports_count(image); i++)
        if (husk_image_import(image, i, &item) == 0)
            list_item(inspect, true, &item);
    list_end(inspect);
    list_begin(inspect, false);
    for (size_t i = 0; i < husk_image_exports_count(image); i++)
        if (husk_image_export(image, i, &item) == 0)
            list_item(inspect, false, &item);
    list_end(inspect);
    end(inspect);
}

/* Without an engine: an image can be looked at where it cannot be run. */
static int open_image(const struct inspect *inspect, const struct input *input,
                      husk_image **ret_image, struct husk_error *err) {
    struct husk_open_options options = HUSK_OPEN_OPTIONS_INIT;
    options.skips_hash = inspect->is_unverified;
    return input_open_image(input, &options, ret_image, err);
}

static int inspect_image(struct inspect *inspect, const struct input *input,
                         struct husk_error *err) {
    husk_image *image = NULL;
    int status = open_image(inspect, input, &image, err);
    if (status != 0)
        return status;
    inspect_image_rows(inspect, image, input->count);
    status = inspect_standing(inspect->report.is_json, image, err);
    inspect_image_items(inspect, image);
    husk_image_unref(image);
    return status;
}

/* ---- Files of private directories ---- */

static const char *file_kind(enum husk_file_kind kind) {
    switch (kind) {
    case HUSK_FILE_REGULAR: return "file";
    case HUSK_FILE_DIRECTORY: return "directory";
    case HUSK_FILE_SYMLINK: return "symlink";
    case HUSK_FILE_HIDDEN: return "removed";
    }
    return "?";
}

static void file_json(const struct inspect *inspect, const struct husk_image_file *file) {
    printf("%s{\"dir\":%" PRIu32 ",\"path\":", inspect->listed == 0 ? "" : ",", file->dir_idx);
    json_string(stdout, file->path, file->path_bytes);
    printf(",\"kind\":\"%s\",\"bytes\":%" PRIu64 ",\"mtime_ns\":%" PRIu64 ",\"links\":%" PRIu64,
           file_kind(file->kind), file->bytes, file->mtime_ns, file->links_count);
    if (file->kind == HUSK_FILE_SYMLINK) {
        fputs(",\"target\":", stdout);
        json_string(stdout, file->target, file->target_bytes);
    }
    fputc('}', stdout);
}

static void file_text(const struct husk_image_file *file) {
    printf("%2" PRIu32 " %-9s %12" PRIu64 " ", file->dir_idx, file_kind(file->kind), file->bytes);
    put_part(stdout, file->path, file->path_bytes, " ");
    if (file->kind == HUSK_FILE_SYMLINK) {
        fputs(" -> ", stdout);
        put_part(stdout, file->target, file->target_bytes, " ");
    }
    fputc('\n', stdout);
}

static int list_file(void *user, const struct husk_image_file *file) {
    struct inspect *inspect = user;
    if (inspect->report.is_json)
        file_json(inspect, file);
    else
        file_text(file);
    inspect->listed++;
    return ferror(stdout) ? STDOUT_FAILED : 0;
}

static int inspect_files(struct inspect *inspect, const struct input *input,
                         struct husk_error *err) {
    husk_image *image = NULL;
    if (input->kind == INPUT_WASM)
        return cli_error(err, HUSK_E_INVAL,
                         "is a module, which has no files; --files needs a snapshot");
    int status = open_image(inspect, input, &image, err);
    if (status != 0)
        return status;
    if (inspect->report.is_json) {
        fputs("{\"file\":", stdout);
        json_text(stdout, inspect->path);
        fputs(",\"files\":[", stdout);
    }
    status = husk_image_files(image, list_file, inspect, err);
    if (inspect->report.is_json)
        puts("]}");
    husk_image_unref(image);
    return status;
}

/* ---- Disassembly ---- */

/* With SIGPIPE as at the start, so that a reader that has gone ends it quietly. 0, or an errno. */
static int spawn_objdump(const char *program, char *path, pid_t *ret_pid) {
    char *args[] = {(char *)(uintptr_t)program, "-d", "--no-show-raw-insn", path, NULL};
    posix_spawnattr_t attributes;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    int number = posix_spawnattr_init(&attributes);
    if (number != 0)
        return number;
    number = posix_spawnattr_setsigdefault(&attributes, &pipe);
    if (number == 0)
        number = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (number == 0)
        number = posix_spawnp(ret_pid, program, NULL, &attributes, args, environ);
    posix_spawnattr_destroy(&attributes);
    return number;
}

/* An image is an ELF file: objdump reads it. A module is compiled first. */
static int run_objdump(int fd, struct husk_error *err) {
    static const char *const programs[] = {"objdump", "llvm-objdump", "llvm-objdump-22"};
    char path[64];
    int number = ENOENT, exit_status = 0;
    pid_t pid = -1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd); /* spawned with fd open: not O_CLOEXEC */
    fflush(stdout);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0] && number != 0; i++)
        number = spawn_objdump(programs[i], path, &pid);
    if (number != 0)
        return cli_error(err, HUSK_E_NOT_FOUND,
                         "--asm needs objdump, which cannot be started (%s); install binutils",
                         strerror(number));
    while (waitpid(pid, &exit_status, 0) < 0)
        if (errno != EINTR)
            return cli_error(err, HUSK_E_SYS, "cannot wait for objdump: %s", strerror(errno));
    if (WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0)
        return 0;
    if (WIFSIGNALED(exit_status) && WTERMSIG(exit_status) == SIGPIPE)
        end_by_sigpipe();
    return cli_error(err, HUSK_E_SYS, "objdump failed");
}

static int image_fd(struct inspect *inspect, const struct input *input, int *ret_fd,
                    struct husk_error *err) {
    struct compile_result result;
    if (input->kind == INPUT_WASM) {
        int status = compile_input(&inspect->report, input, &inspect->compile, &result, err);
        if (status == 0)
            *ret_fd = result.fd;
        return status;
    }
    if (input->fd >= 0) {
        *ret_fd = dup(input->fd);
        return *ret_fd < 0 ? cli_error(err, HUSK_E_SYS, "cannot duplicate a descriptor: %s",
                                       strerror(errno))
                           : 0;
    }
    FILE *copy = tmpfile();
    if (copy == NULL || fwrite(input->bytes, 1, input->count, copy) != input->count ||
        fflush(copy) != 0) {
        int number = errno;
        if (copy != NULL)
            fclose(copy);
        return cli_error(err, HUSK_E_SYS, "cannot write a temporary file: %s", strerror(number));
    }
    *ret_fd = dup(fileno(copy));
    fclose(copy);
    return *ret_fd < 0
               ? cli_error(err, HUSK_E_SYS, "cannot duplicate a descriptor: %s", strerror(errno))
               : 0;
}

static int inspect_asm(struct inspect *inspect, const struct input *input, struct husk_error *err) {
    int fd = -1;
    int status = image_fd(inspect, input, &fd, err);
    if (status != 0)
        return status;
    int inherited = dup(fd); /* without O_CLOEXEC */
    close(fd);
    if (inherited < 0)
        return cli_error(err, HUSK_E_SYS, "cannot duplicate a descriptor: %s", strerror(errno));
    status = run_objdump(inherited, err);
    close(inherited);
    return status;
}

/* ---- The command ---- */

static int inspect_input(struct inspect *inspect, const struct input *input,
                         struct husk_error *err) {
    switch (inspect->mode) {
    case MODE_ASM: return inspect_asm(inspect, input, err);
    case MODE_FILES: return inspect_files(inspect, input, err);
    case MODE_WASM:
        if (input->kind == INPUT_IMAGE)
            return cli_error(
                err, HUSK_E_INVAL,
                "is an image, which does not contain the wasm; --wasm needs the module");
        return husk_wasm_print(input->bytes, input->count, write_stdout, NULL, err);
    case MODE_SUMMARY: break;
    }
    return input->kind == INPUT_WASM ? inspect_module(inspect, input, err)
                                     : inspect_image(inspect, input, err);
}

static int inspect_file(struct inspect *inspect) {
    struct husk_error err = {.offset = HUSK_NO_OFFSET};
    struct input input;
    int status = input_load(inspect->path, &input, &err);
    if (status == 0) {
        status = inspect_input(inspect, &input, &err);
        input_done(&input);
    }
    return status < 0 ? report_error(&inspect->report, inspect->path, &err) : CLI_OK;
}

int cmd_inspect(int argc, char **argv) {
    struct inspect inspect = {.report = {.command = "inspect"},
                              .compile = {.options = HUSK_COMPILE_OPTIONS_INIT}};
    int option, code = CLI_OK;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", inspect_options, NULL)) != -1) {
        switch (option) {
        case 'h': fputs(help_inspect, stdout); return finish_output(&inspect.report, CLI_OK);
        case OPT_WASM: inspect.mode = MODE_WASM; break;
        case OPT_ASM: inspect.mode = MODE_ASM; break;
        case OPT_FILES: inspect.mode = MODE_FILES; break;
        case OPT_JSON: inspect.report.is_json = true; break;
        case OPT_VERIFY: inspect.is_unverified = false; break;
        case OPT_NO_VERIFY: inspect.is_unverified = true; break;
        case OPT_ALLOW_UNCONTAINED:
        case OPT_DISABLE:
        case OPT_COMPILE_CPU_LIMIT:
        case OPT_COMPILE_MEMORY_LIMIT:
            code = take_compile_option(&inspect.report, &inspect.compile, option);
            break;
        default: return report_bad_option(&inspect.report, argv);
        }
        if (code != 0)
            return code;
    }
    if (argc - optind != 1)
        return report_usage(&inspect.report, "one file is wanted, not %d", argc - optind);
    inspect.path = argv[optind];
    return finish_output(&inspect.report, inspect_file(&inspect));
}
