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

struct route *routes_find(const struct server *server, const char *path) {
    struct route *found = NULL;
    for (size_t i = 0; i < server->routes_count; i++) {
        struct route *route = server->routes[i];
        if (is_at(route, path) && (found == NULL || route->path_bytes > found->path_bytes))
            found = route;
    }
    return found;
}

/* ---- The file ---- */

static int line_error(const struct server *server, unsigned line, const char *what) {
    return report_usage(&server->report, "%s, line %u: %s", server->routes_file, line, what);
}

/* The whole file, with a NUL behind it. */
static int read_file(struct server *server) {
    struct stat st;
    size_t count = 0;
    ssize_t got = -1;
    const int fd = open(server->routes_file, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        errno = EISDIR;
    else if (fd >= 0 && (server->routes_text = malloc(ROUTES_MAX_BYTES + 1)) != NULL)
        while ((got = read(fd, server->routes_text + count, ROUTES_MAX_BYTES - count)) > 0)
            count += (size_t)got;
    const int number = errno;
    if (fd >= 0)
        close(fd);
    if (got < 0)
        return report_usage(&server->report, "%s: %s", server->routes_file, strerror(number));
    if (count == ROUTES_MAX_BYTES)
        return report_usage(&server->report, "%s: has 1 MiB or more", server->routes_file);
    server->routes_text[count] = '\0';
    if (strlen(server->routes_text) != count)
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
static const char *what_is_wrong(const struct server *server, const char *path) {
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
    for (size_t i = 0; i < server->routes_count; i++)
        if (strcmp(server->routes[i]->path, path) == 0)
            return "this path has a route already";
    return NULL;
}

/* words: of the line, "husk" in the place of '='. */
static int take_route(struct server *server, unsigned line, char **words, int count) {
    static char program[] = "serve";
    const char *wrong = what_is_wrong(server, words[0]);
    int end = 2;
    if (wrong != NULL)
        return line_error(server, line, wrong);
    if (count < 3 || strcmp(words[1], "=") != 0)
        return line_error(server, line, "a route is written /path = module.wasm [options]");
    words[1] = program;
    while (end < count && strcmp(words[end], "--") != 0)
        end++;
    char **args = end < count ? &words[end + 1] : &words[count];
    int code = route_add(server, words[0], end - 1, &words[1], args);
    return code != 0 ? line_error(server, line, "this route is not understood") : CLI_OK;
}

static int take_line(struct server *server, unsigned line, char *text) {
    char **words = &server->routes_words[server->routes_words_count];
    bool is_bad = false;
    int count = 0;
    char *word;
    while (count < LINE_WORDS_MAX && (word = next_word(&text, &is_bad)) != NULL) {
        if (is_bad)
            return line_error(server, line, "a quotation mark has no second one");
        words[count++] = word;
    }
    if (count == LINE_WORDS_MAX)
        return line_error(server, line, "there are 256 words or more");
    words[count] = NULL;
    server->routes_words_count += (size_t)count + 1;
    return count != 0 ? take_route(server, line, words, count) : CLI_OK;
}

int routes_read(struct server *server) {
    int code = read_file(server);
    if (code != 0)
        return code;
    const size_t bytes = strlen(server->routes_text);
    /* a word and its end have two bytes at least; a line that is empty has one word, its end */
    server->routes_words = calloc(2 * bytes + 4, sizeof *server->routes_words);
    if (server->routes_words == NULL)
        return report_usage(&server->report, "out of memory");
    char *line = server->routes_text;
    for (unsigned number = 1; line != NULL && code == 0; number++) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        code = take_line(server, number, line);
        line = end != NULL ? end + 1 : NULL;
    }
    if (code == 0 && server->routes_count == 0)
        code = report_usage(&server->report, "%s: has no route", server->routes_file);
    return code;
}
