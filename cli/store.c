/*
 * cli/store.c: compiles modules, with the cache, and with a progress line if it takes longer than a
 * moment.
 */
#include <getopt.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli.h"

#define PROGRESS_AFTER_NS 300000000u
#define PROGRESS_EVERY_NS 100000000u

struct progress {
    const char *path;
    uint64_t shown_ns; /* when the line is due next */
    bool is_shown;
};

bool cache_dir(char *out, size_t out_bytes) {
    const char *own = getenv("HUSK_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int written = -1;
    if (own != NULL && own[0] != '\0')
        written = snprintf(out, out_bytes, "%s", own);
    else if (xdg != NULL && xdg[0] == '/')
        /* others are to be ignored (XDG Base Directory Specification) */
        written = snprintf(out, out_bytes, "%s/husk", xdg);
    else if (home != NULL && home[0] == '/')
        written = snprintf(out, out_bytes, "%s/.cache/husk", home);
    return written > 0 && (size_t)written < out_bytes;
}

bool parse_cache_limit(const char *text, uint64_t *ret_bytes) {
    const bool is_none = strcmp(text, "none") == 0;
    if (is_none || strcmp(text, "default") == 0) {
        *ret_bytes = is_none ? HUSK_CACHE_UNLIMITED : 0;
        return true;
    }
    return parse_size(text, ret_bytes) && *ret_bytes > 0;
}

bool cache_limit_wanted(uint64_t *ret_bytes) {
    const char *text = getenv("HUSK_CACHE_LIMIT");
    *ret_bytes = 0;
    return text == NULL || text[0] == '\0' || parse_cache_limit(text, ret_bytes);
}

bool parse_opt_level(const char *text, int *ret_level) {
    if (text[0] < '0' || text[0] > '3' || text[1] != '\0')
        return false;
    *ret_level = text[0] == '0' ? HUSK_OPT_NONE : text[0] - '0';
    return true;
}

int take_compile_option(const struct report *report, struct compile_request *request, int option) {
    struct husk_compile_options *options = &request->options;
    if (option == OPT_ALLOW_UNCONTAINED) {
        options->allow_uncontained = true;
        return CLI_OK;
    }
    if (option == OPT_DISABLE) {
        options->disable = optarg;
        return CLI_OK;
    }
    if (option == OPT_COMPILE_CPU_LIMIT) {
        if (parse_duration(optarg, &options->cpu_limit_ns) && options->cpu_limit_ns > 0)
            return CLI_OK;
        return report_usage(
            report, "--compile-cpu-limit wants a time such as 30m or 3600, not '%s'", optarg);
    }
    if (parse_size(optarg, &options->memory_limit_bytes) && options->memory_limit_bytes > 0)
        return CLI_OK;
    return report_usage(report, "--compile-memory-limit wants a size such as 16G, not '%s'",
                        optarg);
}

static void progress_show(void *user, uint32_t done, uint32_t total) {
    struct progress *progress = user;
    uint64_t now = now_ns();
    if (now < progress->shown_ns)
        return;
    progress->shown_ns = now + PROGRESS_EVERY_NS;
    progress->is_shown = true;
    fputs("\r\033[Khusk: compiling ", stderr);
    put_text(stderr, progress->path);
    fprintf(stderr, ": %u of %u functions", (unsigned)done, (unsigned)total);
    fflush(stderr);
}

static void progress_begin(struct progress *progress, const struct input *input,
                           struct husk_compile_options *options) {
    *progress = (struct progress){.path = input->path, .shown_ns = now_ns() + PROGRESS_AFTER_NS};
    if (!isatty(STDERR_FILENO))
        return;
    options->progress = progress_show;
    options->progress_user = progress;
}

static void progress_end(const struct progress *progress) {
    if (progress->is_shown)
        fputs("\r\033[K", stderr);
}

/* On a server, a file that is removed or replaced there is gone, although it is open and mapped
 * here. */
static bool is_local(int fd) {
    static const uint32_t types[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                     F2FS_SUPER_MAGIC, TMPFS_MAGIC,     OVERLAYFS_SUPER_MAGIC};
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((uint32_t)fs.f_type == types[i])
            return true;
    return false;
}

/* The cache folder is this user's, and so is the file, and Husk itself never changes it, only
 * replaces it. If nobody else may write to it, it can be mapped. */
static bool is_own_file(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
           (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && is_local(fd);
}

int cache_open(const struct input *input, const struct compile_request *request, bool is_verified,
               husk_image **ret_image) {
    struct husk_open_options open_options = HUSK_OPEN_OPTIONS_INIT;
    struct husk_compile_options options = request->options;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    struct husk_error err;
    char dir[4096];
    if (input->kind != INPUT_WASM || input->fd < 0 || request->links_count != 0 ||
        request->is_uncached || !cache_dir(dir, sizeof dir))
        return HUSK_E_NOT_FOUND;
    options.cache_dir = dir;
    int status = husk_cache_find(input->fd, &options, &compiled, &err);
    if (status != 0)
        return status;
    open_options.skips_hash = !is_verified;
    open_options.uses_file = is_own_file(compiled.fd);
    status = husk_image_open_fd(NULL, compiled.fd, &open_options, ret_image, &err);
    close(compiled.fd);
    return status;
}

/* Alone, in a file or in memory; or linked. dir NULL: without a cache. */
static int compile_any(const struct input *input, const struct compile_request *request,
                       const char *dir, struct husk_compiled *ret_compiled,
                       struct husk_error *err) {
    struct husk_compile_options options = request->options;
    struct husk_module *modules = NULL;
    const size_t count = request->links_count + 1;
    options.cache_dir = dir;
    options.optimise_in_background = request->is_in_background && dir != NULL;
    options.label = input->path;
    if (request->links_count == 0 && dir != NULL)
        return input->fd >= 0
                   ? husk_compile_cached_fd(input->fd, &options, ret_compiled, err)
                   : husk_compile_cached(input->bytes, input->count, &options, ret_compiled, err);
    if (request->links_count == 0)
        return husk_compile(input->bytes, input->count, &options, &ret_compiled->fd, err);
    int status = links_load(request, input, &modules, err);
    if (status == 0 && dir != NULL)
        status = husk_compile_linked_cached(modules, count, &options, ret_compiled, err);
    else if (status == 0)
        status = husk_compile_linked(modules, count, &options, &ret_compiled->fd, err);
    free(modules);
    return status;
}

int compile_input(const struct report *report, const struct input *input,
                  struct compile_request *request, struct compile_result *ret_result,
                  struct husk_error *err) {
    struct compile_result result = {.fd = -1};
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    struct progress progress;
    char dir[4096];
    uint64_t start = now_ns();
    int status;
    bool is_cached = !request->is_uncached && cache_dir(dir, sizeof dir);
    if (!request->is_uncached && !is_cached)
        (void)cli_error(&compiled.warning, HUSK_E_NOT_FOUND, "%s", NO_CACHE_TEXT);
    if (is_cached && !cache_limit_wanted(&request->options.cache_limit_bytes) && !report->is_json)
        fprintf(stderr, "husk %s: warning: %s\n", report->command, BAD_CACHE_LIMIT_TEXT);
    progress_begin(&progress, input, &request->options);
    status = compile_any(input, request, is_cached ? dir : NULL, &compiled, err);
    progress_end(&progress);
    if (status != 0)
        return status;
    if (compiled.warning.status != 0 && !report->is_json)
        report_warning(report, "the compiled module is not cached", &compiled.warning);
    background_tell(report, input->path, &compiled);
    result.fd = compiled.fd;
    result.is_unoptimised = compiled.background != HUSK_BACKGROUND_NONE;
    result.was_cached = compiled.was_cached;
    result.ns = now_ns() - start;
    *ret_result = result;
    return 0;
}

/* An image is saved as it is, durably. */
static int compile_linked_to(const struct input *input, const struct compile_request *request,
                             const char *path, struct husk_error *err) {
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    struct husk_open_options options = HUSK_OPEN_OPTIONS_INIT;
    husk_image *image = NULL;
    options.skips_hash = true;
    int status = compile_any(input, request, NULL, &compiled, err);
    if (status != 0)
        return status;
    status = husk_image_open_fd(NULL, compiled.fd, &options, &image, err);
    close(compiled.fd);
    if (status == 0)
        status = husk_image_save(image, path, err);
    husk_image_unref(image);
    return status;
}

int compile_input_to(const struct input *input, struct compile_request *request, const char *path,
                     struct husk_error *err) {
    struct progress progress;
    progress_begin(&progress, input, &request->options);
    int status = request->links_count == 0 ? husk_compile_to_file(input->bytes, input->count,
                                                                  &request->options, path, err)
                                           : compile_linked_to(input, request, path, err);
    progress_end(&progress);
    return status;
}
