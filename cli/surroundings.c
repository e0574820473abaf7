/*
 * cli/surroundings.c: what a program can read of where it is: arguments, environment, directories.
 * husk snapshot --until keeps them in the snapshot's note, because the program has read them, or
 * will. husk run gives a program that goes on the same ones, and refuses others: it would see them
 * half or not at all.
 *
 * The note is strings that end with a NUL. The first is NOTE_MAGIC. Each of the others begins with
 * a letter that says what it is:
 *
 *   a  an argument    e  a variable    i  the function of --invoke
 *   d  a directory: its kind and its rights, each a letter, then its name in the guest
 */
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define NOTE_MAGIC "husk snapshot --until 1"
#define ADVICE " (--new-surroundings gives it others)"

static const char dir_kinds[] = {
    [HUSK_WASI_DIR_HOST] = 'h', [HUSK_WASI_DIR_COW] = 'c', [HUSK_WASI_DIR_MEM] = 'm'};

/* ---- Writing ---- */

static void note_add(FILE *note, char letter, const char *text) {
    fputc(letter, note);
    fputs(text, note);
    fputc('\0', note);
}

static void note_write(const struct surroundings *given, FILE *note) {
    fputs(NOTE_MAGIC, note);
    fputc('\0', note);
    for (size_t i = 0; i < given->args_count; i++)
        note_add(note, 'a', given->args[i]);
    for (size_t i = 0; i < given->env_count; i++)
        note_add(note, 'e', given->env[i]);
    for (size_t i = 0; i < given->dirs_count; i++) {
        const struct husk_wasi_dir *dir = &given->dirs[i];
        fprintf(note, "d%c", dir_kinds[dir->kind]);
        note_add(note, (dir->rights & HUSK_WASI_WRITE) != 0 ? 'w' : 'r', dir->guest_path);
    }
    if (given->invoke != NULL)
        note_add(note, 'i', given->invoke);
}

int surroundings_note(const struct run *run, husk_image *snapshot, struct husk_error *err) {
    char *bytes = NULL;
    size_t count = 0;
    FILE *note = open_memstream(&bytes, &count);
    if (note != NULL)
        note_write(&run->given, note);
    if (note == NULL || fclose(note) != 0) {
        free(bytes);
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    }
    const int status = husk_image_set_note(snapshot, bytes, count, err);
    free(bytes);
    return status;
}

/* ---- Reading: a file may come from anyone ---- */

static bool take_dir(struct surroundings *saved, const char *text) {
    struct husk_wasi_dir dir = {.host_fd = -1};
    for (uint32_t kind = 1; kind < sizeof dir_kinds && text[0] != '\0'; kind++)
        dir.kind = dir_kinds[kind] == text[0] ? kind : dir.kind;
    if (dir.kind == 0 || (text[1] != 'r' && text[1] != 'w'))
        return false;
    dir.rights = HUSK_WASI_READ | (text[1] == 'w' ? (uint32_t)HUSK_WASI_WRITE : 0);
    dir.guest_path = text + 2;
    saved->dirs[saved->dirs_count++] = dir;
    return true;
}

static bool take_string(struct surroundings *saved, const char *text) {
    switch (text[0]) {
    case 'a': saved->args[saved->args_count++] = text + 1; return true;
    case 'e': saved->env[saved->env_count++] = text + 1; return true;
    case 'd': return take_dir(saved, text + 1);
    case 'i': saved->invoke = text + 1; return true;
    default: return false;
    }
}

/* Room for as many of each as there are strings. */
static int saved_alloc(struct surroundings *saved, const char *note, size_t count,
                       struct husk_error *err) {
    size_t strings = 0;
    for (size_t i = 0; i < count; i++)
        strings += note[i] == '\0';
    saved->bytes = malloc(count);
    saved->args = calloc(strings, sizeof *saved->args);
    saved->env = calloc(strings, sizeof *saved->env);
    saved->dirs = calloc(strings, sizeof *saved->dirs);
    if (saved->bytes == NULL || saved->args == NULL || saved->env == NULL || saved->dirs == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    memcpy(saved->bytes, note, count);
    return 0;
}

int surroundings_read(struct surroundings *saved, const husk_image *image, struct husk_error *err) {
    size_t count = 0, at = sizeof NOTE_MAGIC;
    const char *note = husk_image_note(image, &count);
    *saved = (struct surroundings){0};
    if (count < sizeof NOTE_MAGIC || memcmp(note, NOTE_MAGIC, sizeof NOTE_MAGIC) != 0)
        return 0; /* a note of another program */
    if (note[count - 1] != '\0')
        return cli_error(err, HUSK_E_BAD_IMAGE, "its note is damaged: it does not end");
    int status = saved_alloc(saved, note, count, err);
    for (; at < count && status == 0; at += strlen(saved->bytes + at) + 1)
        if (!take_string(saved, saved->bytes + at))
            status = cli_error(err, HUSK_E_BAD_IMAGE, "its note is damaged at byte %zu", at);
    if (status != 0)
        surroundings_done(saved);
    return status;
}

void surroundings_done(struct surroundings *saved) {
    free(saved->bytes);
    free(saved->args);
    free(saved->env);
    free(saved->dirs);
    *saved = (struct surroundings){0};
}

/* ---- Comparing ---- */

static int check_args(const struct run *run, struct husk_error *err) {
    const struct surroundings *saved = &run->saved, *given = &run->given;
    const bool has_other_name =
        run->argv0 != NULL && (saved->args_count == 0 || strcmp(run->argv0, saved->args[0]) != 0);
    bool are_same =
        !has_other_name && (run->words_count == 0 || given->args_count == saved->args_count);
    for (size_t i = 1; are_same && i <= run->words_count; i++)
        are_same = strcmp(given->args[i], saved->args[i]) == 0;
    return are_same ? 0
                    : cli_error(err, HUSK_E_INVAL,
                                "goes on in the middle of a call, which was begun with other "
                                "arguments; husk inspect shows them" ADVICE);
}

static const char *missing_row(const struct surroundings *from, const struct surroundings *to) {
    for (size_t i = 0; i < from->env_count; i++) {
        size_t at = 0;
        while (at < to->env_count && strcmp(from->env[i], to->env[at]) != 0)
            at++;
        if (at == to->env_count)
            return from->env[i];
    }
    return NULL;
}

static int check_env(const struct run *run, struct husk_error *err) {
    const char *more = missing_row(&run->given, &run->saved);
    const char *less = missing_row(&run->saved, &run->given);
    const char *row = more != NULL ? more : less;
    if (run->env_count == 0 || row == NULL)
        return 0;
    return cli_error(err, HUSK_E_INVAL,
                     "goes on in the middle of a call, which was begun %s %.80s" ADVICE,
                     more != NULL ? "without the variable" : "with the variable", row);
}

static int dir_error(const struct husk_wasi_dir *dir, struct husk_error *err) {
    const bool is_in_memory = dir->kind == HUSK_WASI_DIR_MEM;
    const char *mode = is_in_memory                           ? ""
                       : dir->kind == HUSK_WASI_DIR_COW       ? "::cow"
                       : (dir->rights & HUSK_WASI_WRITE) != 0 ? "::rw"
                                                              : "::ro";
    return cli_error(err, HUSK_E_INVAL,
                     "goes on in the middle of a call, which was begun with --dir %s::%.100s%s; "
                     "give all such directories in the same order" ADVICE,
                     is_in_memory ? "mem" : "HOST", dir->guest_path, mode);
}

static bool is_same_dir(const struct husk_wasi_dir *a, const struct husk_wasi_dir *b) {
    return a->kind == b->kind && a->rights == b->rights &&
           strcmp(a->guest_path, b->guest_path) == 0;
}

/* Those in memory are in the snapshot: nobody need name them. */
static bool are_in_memory(const struct surroundings *saved) {
    size_t i = 0;
    while (i < saved->dirs_count && saved->dirs[i].kind == HUSK_WASI_DIR_MEM)
        i++;
    return i == saved->dirs_count;
}

static int check_dirs(const struct run *run, struct husk_error *err) {
    const struct surroundings *saved = &run->saved, *given = &run->given;
    if (run->dirs_count == 0 && are_in_memory(saved))
        return 0;
    for (size_t i = 0; i < saved->dirs_count; i++)
        if (i >= given->dirs_count || !is_same_dir(&given->dirs[i], &saved->dirs[i]))
            return dir_error(&saved->dirs[i], err);
    return given->dirs_count == saved->dirs_count
               ? 0
               : cli_error(err, HUSK_E_INVAL,
                           "goes on in the middle of a call, which was begun without the "
                           "directory %.100s" ADVICE,
                           given->dirs[saved->dirs_count].guest_path);
}

/* ---- What the program gets ---- */

static int given_by_options(struct run *run, struct husk_error *err) {
    const char *slash = strrchr(run->path, '/');
    const char **args = calloc(run->words_count + 1, sizeof *args);
    if (args == NULL)
        return cli_error(err, HUSK_E_NOMEM, "out of memory");
    /* Not the path: where the file is on this machine is not the guest's business. */
    args[0] = run->argv0 != NULL ? run->argv0 : slash != NULL ? slash + 1 : run->path;
    for (size_t i = 0; i < run->words_count; i++)
        args[i + 1] = run->words[i];
    run->own_args = args;
    run->given = (struct surroundings){.args = args,
                                       .args_count = run->invoke != NULL ? 1 : run->words_count + 1,
                                       .env = run->env,
                                       .env_count = run->env_count,
                                       .dirs = run->dirs,
                                       .dirs_count = run->dirs_count,
                                       .invoke = run->invoke};
    return 0;
}

/* Whatever the options do not give is as it was saved. */
static void adopt(struct run *run) {
    struct surroundings *saved = &run->saved, *given = &run->given;
    const char *name =
        run->argv0 != NULL || saved->args_count == 0 ? given->args[0] : saved->args[0];
    given->args[0] = name;
    if (run->words_count == 0 && saved->args_count != 0) {
        saved->args[0] = name;
        given->args = saved->args;
        given->args_count = saved->args_count;
    }
    if (run->env_count == 0) {
        given->env = saved->env;
        given->env_count = saved->env_count;
    }
    if (run->dirs_count == 0 && are_in_memory(saved)) {
        given->dirs = saved->dirs;
        given->dirs_count = saved->dirs_count;
    }
    given->invoke = saved->invoke;
}

int surroundings_settle(struct run *run, struct husk_error *err) {
    int status = given_by_options(run, err);
    if (status == 0 && run->is_standing)
        status = surroundings_read(&run->saved, run->image, err);
    if (status != 0 || run->saved.bytes == NULL)
        return status;
    if (!run->has_new_surroundings) {
        status = check_args(run, err);
        if (status == 0)
            status = check_env(run, err);
        if (status == 0)
            status = check_dirs(run, err);
    }
    if (status == 0)
        adopt(run);
    return status;
}
