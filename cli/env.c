/*
 * cli/env.c: the environment of a program: --env, --inherit-env, --env-file. The program has no
 * other variables. The last one of a name counts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define ENV_FILE_MAX_BYTES (UINT32_C(16) << 20) /* no guest takes more */

/* Where the variable of this name is, or env_count. */
static size_t find_env(const struct run *run, const char *name, size_t name_bytes) {
    size_t i = 0;
    while (i < run->env_count &&
           (strncmp(run->env[i], name, name_bytes) != 0 || run->env[i][name_bytes] != '='))
        i++;
    return i;
}

/* husk's own, whole: "NAME=value", which outlives us. NULL: not set. */
static const char *own_env(const char *name, size_t name_bytes) {
    extern char **environ;
    for (char **row = environ; *row != NULL; row++)
        if (strncmp(*row, name, name_bytes) == 0 && (*row)[name_bytes] == '=')
            return *row;
    return NULL;
}

/* row: "NAME=value", or NULL: not set. */
static int set_env(struct run *run, const char *name, size_t name_bytes, const char *row) {
    const char **grown = realloc(run->env, (run->env_count + 1) * sizeof *grown);
    if (grown == NULL)
        return report_usage(&run->report, "out of memory");
    run->env = grown;
    size_t at = find_env(run, name, name_bytes);
    if (row != NULL) {
        run->env[at] = row;
        run->env_count += at == run->env_count;
    } else if (at < run->env_count) { /* not set here: not set there */
        memmove(&run->env[at], &run->env[at + 1], (run->env_count - at - 1) * sizeof *grown);
        run->env_count--;
    }
    return CLI_OK;
}

int run_add_env(struct run *run, const char *text) {
    if (text[0] == '=' || text[0] == '\0')
        return report_usage(&run->report, "--env wants NAME=value, not '%s'", text);
    const size_t name_bytes = strcspn(text, "=");
    const bool has_value = text[name_bytes] == '=';
    return set_env(run, text, name_bytes, has_value ? text : own_env(text, name_bytes));
}

int run_inherit_env(struct run *run, const char *name) {
    if (name[0] == '\0' || strchr(name, '=') != NULL)
        return report_usage(&run->report, "--inherit-env wants a NAME, not '%s'", name);
    return set_env(run, name, strlen(name), own_env(name, strlen(name)));
}

/* ---- Files ---- */

/* The whole file, with a NUL behind it. NULL: errno, or 0 if it is too large. */
static char *read_text(const char *path, size_t *ret_count) {
    FILE *file = fopen(path, "rbe");
    char *text = NULL, *grown;
    size_t count = 0, capacity = 4096, got;
    if (file == NULL)
        return NULL;
    do {
        capacity *= 2;
        grown = realloc(text, capacity + 1);
        if (grown == NULL)
            break;
        text = grown;
        got = fread(text + count, 1, capacity - count, file);
        count += got;
    } while (count == capacity && count <= ENV_FILE_MAX_BYTES);
    const int number = grown == NULL ? ENOMEM : ferror(file) != 0 ? errno : 0;
    fclose(file);
    if (number != 0 || count > ENV_FILE_MAX_BYTES) {
        free(text);
        errno = number;
        return NULL;
    }
    text[count] = '\0';
    *ret_count = count;
    return text;
}

static int bad_line(const struct run *run, const char *path, unsigned number, const char *why) {
    return report_usage(&run->report, "--env-file: %s, line %u: %s", path, number, why);
}

/* line: up to a NUL. */
static int take_line(struct run *run, const char *path, unsigned number, char *line) {
    const size_t bytes = strlen(line);
    if (bytes > 0 && line[bytes - 1] == '\r') /* as editors of another system end lines */
        line[bytes - 1] = '\0';
    const char first = line[strspn(line, " \t")];
    const size_t name_bytes = strcspn(line, "=");
    if (first == '\0' || first == '#')
        return CLI_OK;
    if (line[name_bytes] == '\0')
        return bad_line(run, path, number, "there is no '=' in it; a line is NAME=value");
    if (name_bytes == 0 || strcspn(line, " \t") < name_bytes)
        return bad_line(run, path, number, "the name is empty, or has blanks");
    return set_env(run, line, name_bytes, line);
}

/* run->env points into the text, which run->env_texts keeps. */
static char *keep_text(struct run *run, char *text) {
    char **grown = realloc(run->env_texts, (run->env_texts_count + 1) * sizeof *grown);
    if (grown == NULL) {
        free(text);
        return NULL;
    }
    run->env_texts = grown;
    run->env_texts[run->env_texts_count++] = text;
    return text;
}

int run_add_env_file(struct run *run, const char *path) {
    size_t count = 0;
    int code = CLI_OK;
    char *text = read_text(path, &count);
    if (text == NULL)
        return report_usage(&run->report, "--env-file: %s: %s", path,
                            errno != 0 ? strerror(errno) : "it has more than 16 MiB");
    char *line = keep_text(run, text), *end = text + count;
    if (line == NULL)
        return report_usage(&run->report, "out of memory");
    if (count >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) /* some editors begin files with it */
        line += 3;
    for (unsigned number = 1; line < end && code == CLI_OK; number++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *stop = newline != NULL ? newline : end;
        if (memchr(line, '\0', (size_t)(stop - line)) != NULL)
            return bad_line(run, path, number, "it has a NUL");
        *stop = '\0';
        code = take_line(run, path, number, line);
        line = stop + 1;
    }
    return code;
}

void run_env_done(struct run *run) {
    for (size_t i = 0; i < run->env_texts_count; i++)
        free(run->env_texts[i]);
    free(run->env_texts);
    free(run->env);
}
