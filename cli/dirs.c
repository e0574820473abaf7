/*
 * cli/dirs.c: the guest's directories: --dir HOST[::GUEST[::MODE]], --dir mem::GUEST, and their
 * limits: --max-private, --max-names, --max-open.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "run.h"

/* As many as the library allows: descriptors of a guest, names in private directories. */
#define GUEST_OPEN_MAX 65536
#define GUEST_NAMES_MAX (16 << 20)

static int dir_usage(const struct run *run, const char *text) {
    return report_usage(
        &run->report,
        "--dir wants HOST, HOST::GUEST, HOST::GUEST::ro (or rw, cow) or mem::GUEST, "
        "not '%s'",
        text);
}

/* false: there is no such mode. */
static bool take_mode(const char *mode, struct husk_wasi_dir *dir) {
    if (strcmp(mode, "ro") == 0)
        dir->rights = HUSK_WASI_READ;
    else if (strcmp(mode, "cow") == 0)
        dir->kind = HUSK_WASI_DIR_COW;
    else
        return strcmp(mode, "rw") == 0;
    return true;
}

static bool is_mode(const char *text) {
    struct husk_wasi_dir unused;
    return take_mode(text, &unused);
}

/* Cuts the text at its "::". false: it has too many, a piece is empty or not possible. */
static bool cut(char *text, bool is_private, struct husk_wasi_dir *dir) {
    char *guest = strstr(text, "::"), *mode = guest != NULL ? strstr(guest + 2, "::") : NULL;
    dir->kind = is_private && mode == NULL ? HUSK_WASI_DIR_COW : HUSK_WASI_DIR_HOST;
    dir->rights = HUSK_WASI_READ | HUSK_WASI_WRITE;
    dir->host_path = text;
    dir->guest_path = text;
    if (mode != NULL) {
        *mode = '\0';
        if (!take_mode(mode + 2, dir))
            return false;
    }
    if (guest != NULL) {
        *guest = '\0';
        dir->guest_path = guest + 2;
    }
    if (guest != NULL && strcmp(text, "mem") == 0) {
        if (mode != NULL)
            return false; /* the host's directory mem is ./mem */
        dir->kind = HUSK_WASI_DIR_MEM;
        dir->host_path = NULL;
    }
    /* HOST::ro is meant as a mode: it must not give the right to write. */
    if (guest != NULL && mode == NULL && is_mode(dir->guest_path))
        return false;
    return text[0] != '\0' && dir->guest_path[0] != '\0';
}

int take_dir_option(struct run *run, const char *text) {
    struct husk_wasi_dir *dirs = realloc(run->dirs, (run->dirs_count + 1) * sizeof *dirs);
    if (dirs == NULL)
        return report_usage(&run->report, "out of memory");
    run->dirs = dirs;
    char **texts = realloc(run->dir_texts, (run->dirs_count + 1) * sizeof *texts);
    if (texts == NULL)
        return report_usage(&run->report, "out of memory");
    run->dir_texts = texts;
    char *copy = strdup(text);
    if (copy == NULL)
        return report_usage(&run->report, "out of memory");
    texts[run->dirs_count] = copy;
    dirs[run->dirs_count] = (struct husk_wasi_dir){0};
    return cut(copy, run->has_private_dirs, &dirs[run->dirs_count++]) ? CLI_OK
                                                                      : dir_usage(run, text);
}

static int take_count(struct run *run, const char *option, uint64_t max, const char *text,
                      uint64_t *ret_count) {
    uint64_t count = 0;
    if (!parse_number(text, max, &count) || count == 0)
        return report_usage(&run->report, "%s wants a number from 1 to %llu, not '%s'", option,
                            (unsigned long long)max, text);
    *ret_count = count;
    return CLI_OK;
}

int take_max_open_option(struct run *run, const char *text) {
    return take_count(run, "--max-open", GUEST_OPEN_MAX, text, &run->open_max);
}

int take_max_names_option(struct run *run, const char *text) {
    return take_count(run, "--max-names", GUEST_NAMES_MAX, text, &run->private_max_names);
}

/* The usual limit is for programs that use select(); a guest with many files needs more. */
static void raise_open_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

void dirs_give(const struct run *run, struct husk_wasi_options *wasi) {
    wasi->dirs = run->given.dirs;
    wasi->dirs_count = run->given.dirs_count;
    wasi->private_max_bytes = run->private_max_bytes;
    wasi->private_max_entries = run->private_max_names;
    wasi->open_max = run->open_max;
    if (run->given.dirs_count == 0)
        return;
    if (run->open_max == 0)
        wasi->open_max = GUEST_OPEN_MAX;
    raise_open_limit();
}

void dirs_done(struct run *run) {
    for (size_t i = 0; i < run->dirs_count; i++)
        free(run->dir_texts[i]);
    free(run->dir_texts);
    free(run->dirs);
}
