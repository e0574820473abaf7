/*
 * serve/routes.c: the routes file, and which route a path belongs to.
 *
 *   # a comment
 *   /           = hello.wasm
 *   /api/users  = "api server.wasm" --env MODE=fast --timeout 2s -- --verbose
 *
 * Words are separated by blanks; one with blanks stands in quotation marks, where \" and \\ stand
 * for a quotation mark and a backslash. Paths of files start from the folder in which the server
 * was started, as everywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve.h"

#define ROUTES_MAX_BYTES (UINT32_C(1) << 20)
#define LINE_WORDS_MAX 256

/* ---- Which route ---- */

static bool is_at(const struct route *route, const char *path) {
    return strncmp(path, route->path, route->path_bytes) == 0 &&
           (path[route->path_bytes] == '/' || path[route->path_bytes] == '\0');
}

static struct route *find_locked(const struct route_table *routes, const char *path) {
    struct route *found = NULL;
    for (size_t i = 0; i < routes->count; i++) {
        struct route *route = routes->rows[i];
        if (is_at(route, path) && (found == NULL || route->path_bytes > found->path_bytes))
            found = route;
    }
    return found;
}

struct route *route_use(struct route *route) {
    atomic_fetch_add(&route->uses, 1);
    return route;
}

struct route *routes_take(struct server *server, const char *path) {
    pthread_mutex_lock(&server->routes_lock);
    struct route *found = find_locked(&server->routes, path);
    if (found != NULL)
        (void)route_use(found);
    pthread_mutex_unlock(&server->routes_lock);
    return found;
}

void route_release(struct route *route) {
    if (route != NULL)
        atomic_fetch_sub(&route->uses, 1);
}

/* ---- The table ---- */

bool routes_add(struct route_table *table, struct route *route) {
    struct route **grown = realloc(table->rows, (table->count + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    table->rows = grown;
    table->rows[table->count++] = route;
    return true;
}

void routes_done(struct route_table *table) {
    for (size_t i = 0; i < table->count; i++)
        route_free(table->rows[i]);
    free(table->rows);
    *table = (struct route_table){0};
}

/* ---- The file ---- */

/* The whole file, with a NUL behind it; its owner frees it, also on failure. */
static int read_file(const struct server *server, char **ret_text) {
    struct stat st;
    size_t count = 0;
    ssize_t got = -1;
    char *text = *ret_text = malloc(ROUTES_MAX_BYTES + 1);
    const int fd = open(server->routes_file, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        errno = EISDIR;
    else if (fd >= 0 && text != NULL)
        while ((got = read(fd, text + count, ROUTES_MAX_BYTES - count)) > 0)
            count += (size_t)got;
    const int number = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return report_usage(&server->report, "%s: %s", server->routes_file, strerror(number));
    if (count == ROUTES_MAX_BYTES)
        return report_usage(&server->report, "%s: has 1 MiB or more", server->routes_file);
    text[count] = '\0';
    if (strlen(text) != count)
        return report_usage(&server->report, "%s: has a NUL", server->routes_file);
    return CLI_OK;
}

/* The next word, without its quotation marks, in place; NULL: there is none. `*at` goes on behind
 * it. */
static char *next_word(char **at, bool *ret_is_bad) {
    char *from = *at + strspn(*at, " \t\r"), *to = from, *word = from;
    bool is_quoted = false;
    *ret_is_bad = false;
    if (*from == '\0' || *from == '#')
        return NULL;
    for (; *from != '\0' && (is_quoted || strchr(" \t\r", *from) == NULL); from++) {
        if (*from == '"') {
            is_quoted = !is_quoted;
            continue;
        }
        if (is_quoted && *from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        *to++ = *from;
    }
    *ret_is_bad = is_quoted;
    *at = *from != '\0' ? from + 1 : from;
    *to = '\0';
    return word;
}

/* Of what a label may have: see husk_sandbox_set_label(). */
static const char *what_is_wrong(const struct route_table *table, const char *path) {
    const size_t bytes = strlen(path);
    if (path[0] != '/')
        return "a route begins with a path, such as /api";
    if (bytes > 1 && path[bytes - 1] == '/')
        return "the path of a route does not end with '/'";
    if (bytes > 128)
        return "the path of a route has at most 128 bytes";
    for (size_t i = 0; i < bytes; i++)
        if (path[i] <= ' ' || path[i] > '~' || strchr("?#%\"\\", path[i]) != NULL)
            return "the path of a route has printable characters of ASCII, decoded, without "
                   "? # % \" and \\";
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i]->path, path) == 0)
            return "this path has a route already";
    return NULL;
}

/* One line: where it is, what it says. */
struct line {
    struct server *server;
    unsigned number;
    int count;
    char *text, **words; /* the words, and NULL */
};

static int this_line(const struct line *line, const char *what) {
    return report_usage(&line->server->report, "%s, line %u: %s", line->server->routes_file,
                        line->number, what);
}

/* The route takes the line over, also on failure. */
static int make_route(struct line *line, struct route **ret_route) {
    static char program[] = "serve";
    char **words = line->words;
    int end = 2;
    words[1] = program; /* in the place of '=' */
    while (end < line->count && strcmp(words[end], "--") != 0)
        end++;
    const struct route_source source = {.path = words[0],
                                        .argc = end - 1,
                                        .argv = &words[1],
                                        .args = &words[end < line->count ? end + 1 : end],
                                        .line = line->text,
                                        .words = words};
    line->text = NULL;
    line->words = NULL;
    const int code = route_make(line->server, &source, ret_route);
    return code != 0 ? this_line(line, "this route is not understood") : CLI_OK;
}

static int take_route(struct line *line, struct route_table *table) {
    struct route *route = NULL;
    const char *wrong = what_is_wrong(table, line->words[0]);
    if (wrong != NULL)
        return this_line(line, wrong);
    if (line->count < 3 || strcmp(line->words[1], "=") != 0)
        return this_line(line, "a route is written /path = module.wasm [options]");
    const int code = make_route(line, &route);
    if (code == 0 && !routes_add(table, route)) {
        route_free(route);
        return this_line(line, "out of memory");
    }
    return code;
}

static int split(struct line *line) {
    char *at = line->text, *word;
    bool is_bad = false;
    while (line->count < LINE_WORDS_MAX && (word = next_word(&at, &is_bad)) != NULL) {
        if (is_bad)
            return this_line(line, "a quotation mark has no second one");
        line->words[line->count++] = word;
    }
    return line->count == LINE_WORDS_MAX ? this_line(line, "there are 256 words or more") : CLI_OK;
}

static int take_line(struct line *line, struct route_table *table, const char *text) {
    line->text = strdup(text);
    line->words = calloc(LINE_WORDS_MAX + 1, sizeof *line->words);
    line->count = 0;
    int code =
        line->text == NULL || line->words == NULL ? this_line(line, "out of memory") : split(line);
    if (code == 0 && line->count != 0)
        code = take_route(line, table);
    free(line->text);
    free((void *)line->words);
    return code;
}

int routes_read(struct server *server, struct route_table *ret_table) {
    struct line line = {.server = server};
    char *text = NULL;
    int code = read_file(server, &text);
    for (char *from = text; code == 0 && from != NULL;) {
        char *end = strchr(from, '\n');
        if (end != NULL)
            *end = '\0';
        line.number++;
        code = take_line(&line, ret_table, from);
        from = end != NULL ? end + 1 : NULL;
    }
    free(text);
    if (code == 0 && ret_table->count == 0)
        code = report_usage(&server->report, "%s: has no route", server->routes_file);
    if (code != 0)
        routes_done(ret_table);
    return code;
}
