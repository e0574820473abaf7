/*
 * serve/handler_cgi.c: a request as a guest gets it: as CGI's variables (RFC 3875, section 4.1, as
 * WAGI has them for wasm), or as the text of HTTP/1.1.
 *
 * Some headers are the server's own business, and no guest gets them:
 *
 *   Authorization, Proxy-Authorization   so RFC 3875, section 4.1.18, says: any program may be able
 *                                        to see a variable; --pass-authorization gives the first
 *   Proxy          would be HTTP_PROXY, which many programs take for the proxy that they are to use
 *   Connection and its like              are about this connection alone
 *   names with other characters than letters, digits and '-'   X_Y would be the same variable as
 *                  X-Y, which a proxy in front may have checked
 *   Husk-…         are made here
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "serve.h"

static bool is_passed(const struct exchange *exchange, const char *name) {
    static const char *const names[] = {"Proxy",      "Proxy-Authorization", "Proxy-Connection",
                                        "Connection", "Keep-Alive",          "TE",
                                        "Trailer",    "Transfer-Encoding",   "Upgrade"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return false;
    if (strcasecmp(name, "Authorization") == 0)
        return exchange->route->passes_authorization;
    for (const char *at = name; *at != '\0'; at++)
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
              (*at >= '0' && *at <= '9') || *at == '-'))
            return false;
    return name[0] != '\0' && strncasecmp(name, "Husk-", 5) != 0;
}

/* ---- Variables ---- */

/* Rows of pointers, and behind them the strings; measured first, with `at` NULL. */
struct rows {
    const struct run *run; /* whose own variables count more: no client replaces them */
    const char **rows;
    size_t count;
    char *at;
    size_t bytes;
};

static void add_bytes(struct rows *rows, const char *text, size_t count) {
    if (rows->at != NULL) {
        memcpy(rows->at, text, count);
        rows->at += count;
    }
    rows->bytes += count;
}

static void begin_row(struct rows *rows) {
    if (rows->at != NULL)
        rows->rows[rows->count] = rows->at;
    rows->count++;
}

static char variable_letter(char c) {
    if (c == '-')
        return '_';
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Is there one of this name already? Languages do not agree on which of two counts. */
static bool is_given(const struct rows *rows, const char *prefix, const char *name) {
    const size_t prefix_bytes = strlen(prefix), bytes = strlen(name);
    for (size_t i = 0; i < rows->run->env_count; i++) {
        const char *row = rows->run->env[i];
        size_t same = 0;
        if (strncmp(row, prefix, prefix_bytes) != 0)
            continue;
        for (row += prefix_bytes; same < bytes && row[same] == variable_letter(name[same]); same++)
            ;
        if (same == bytes && row[same] == '=')
            return true;
    }
    return false;
}

static void add(struct rows *rows, const char *name, const char *value) {
    if (is_given(rows, "", name))
        return;
    begin_row(rows);
    add_bytes(rows, name, strlen(name));
    add_bytes(rows, "=", 1);
    add_bytes(rows, value, strlen(value) + 1);
}

static void add_number(struct rows *rows, const char *name, uint64_t number) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    add(rows, name, text);
}

/* X-Some-Name → HTTP_X_SOME_NAME. */
static void add_header_name(struct rows *rows, const char *name) {
    add_bytes(rows, "HTTP_", 5);
    for (; *name != '\0'; name++) {
        const char c = variable_letter(*name);
        add_bytes(rows, &c, 1);
    }
}

/* The lines of one name are one variable, as RFC 3875 wants. */
static void add_header(struct rows *rows, const struct request *request, size_t idx) {
    const char *name = request->headers[idx].name;
    const char *separator = strcasecmp(name, "Cookie") == 0 ? "; " : ", ";
    for (size_t i = 0; i < idx; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return; /* it came with that one */
    if (is_given(rows, "HTTP_", name))
        return;
    begin_row(rows);
    add_header_name(rows, name);
    add_bytes(rows, "=", 1);
    for (size_t i = idx; i < request->headers_count; i++) {
        if (strcasecmp(request->headers[i].name, name) != 0)
            continue;
        if (i != idx)
            add_bytes(rows, separator, 2);
        add_bytes(rows, request->headers[i].value, strlen(request->headers[i].value));
    }
    add_bytes(rows, "", 1);
}

static void add_variables(struct rows *rows, const struct exchange *exchange) {
    const struct request *request = &exchange->request;
    const struct route *route = exchange->route;
    const char *type = request_header(request, "Content-Type");
    char software[32];
    snprintf(software, sizeof software, "husk/%s", husk_version());
    add(rows, "GATEWAY_INTERFACE", "CGI/1.1");
    add(rows, "SERVER_SOFTWARE", software);
    add(rows, "SERVER_PROTOCOL", request->version);
    add(rows, "SERVER_NAME", exchange->server_name);
    add_number(rows, "SERVER_PORT", exchange->server_port);
    add(rows, "REQUEST_METHOD", request->method);
    add(rows, "REQUEST_URI", request->target);
    add(rows, "SCRIPT_NAME", route->path_bytes != 0 ? route->path : "");
    add(rows, "PATH_INFO", request->path_info);
    add(rows, "QUERY_STRING", request->query);
    add(rows, "REMOTE_ADDR", exchange->remote);
    add(rows, "REMOTE_HOST", exchange->remote);
    if (request->content_length != EXCHANGE_NO_LENGTH && request->content_length != 0)
        add_number(rows, "CONTENT_LENGTH", request->content_length);
    if (type != NULL)
        add(rows, "CONTENT_TYPE", type);
    for (size_t i = 0; i < request->headers_count; i++) {
        const char *name = request->headers[i].name;
        if (is_passed(exchange, name) && strcasecmp(name, "Content-Type") != 0 &&
            strcasecmp(name, "Content-Length") != 0)
            add_header(rows, request, i);
    }
}

const char **cgi_environment(const struct exchange *exchange, size_t *ret_count) {
    const struct run *run = &exchange->route->run;
    struct rows rows = {.run = run};
    add_variables(&rows, exchange);
    const size_t own = run->env_count, all = own + rows.count;
    const char **env = malloc(all * sizeof *env + rows.bytes);
    if (env == NULL)
        return NULL;
    if (own != 0)
        memcpy((void *)env, (const void *)run->env, own * sizeof *env);
    rows = (struct rows){.run = run, .rows = env + own, .at = (char *)(env + all)};
    add_variables(&rows, exchange);
    *ret_count = all;
    return env;
}

/* ---- Text ---- */

static bool put_text_of(struct bytes *text, const char *part) {
    return bytes_put(text, part, strlen(part));
}

static bool put_line(struct bytes *text, const char *name, const char *value) {
    return put_text_of(text, name) && put_text_of(text, ": ") && put_text_of(text, value) &&
           put_text_of(text, "\r\n");
}

/* The target is whole; Husk-Script-Name is the part of it that is the route. */
bool request_text(const struct exchange *exchange, struct bytes *ret_text) {
    const struct request *request = &exchange->request;
    const uint64_t body_bytes = exchange->in.count;
    struct bytes text = {0};
    char length[24];
    bool is_good = put_text_of(&text, request->method) && put_text_of(&text, " ") &&
                   put_text_of(&text, request->target) && put_text_of(&text, " HTTP/1.1\r\n");
    for (size_t i = 0; i < request->headers_count && is_good; i++)
        if (is_passed(exchange, request->headers[i].name) &&
            strcasecmp(request->headers[i].name, "Content-Length") != 0)
            is_good = put_line(&text, request->headers[i].name, request->headers[i].value);
    snprintf(length, sizeof length, "%llu", (unsigned long long)body_bytes);
    if (is_good && (body_bytes != 0 || request_header(request, "Content-Length") != NULL))
        is_good = put_line(&text, "Content-Length", length);
    is_good = is_good && put_text_of(&text, "Husk-Script-Name: ") &&
              bytes_put(&text, exchange->route->path, exchange->route->path_bytes) &&
              put_text_of(&text, "\r\n") && put_line(&text, "Husk-Remote-Addr", exchange->remote) &&
              put_text_of(&text, "\r\n");
    if (is_good)
        *ret_text = text;
    else
        bytes_done(&text);
    return is_good;
}
