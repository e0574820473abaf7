/*
 * serve/request.c: what a client asked for, copied, because the connection's thread and a worker
 * need it for different times, and checked.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "serve.h"

const char *request_header(const struct request *request, const char *name) {
    for (size_t i = 0; i < request->headers_count; i++)
        if (strcasecmp(request->headers[i].name, name) == 0)
            return request->headers[i].value;
    return NULL;
}

/* "http://host/path", as a client of a proxy sends it, is "/path". NULL: it has no path. */
static const char *path_of(const char *target) {
    const char *rest = strstr(target, "://");
    if (target[0] == '/')
        return target;
    if (rest == NULL || rest - target > 5)
        return NULL;
    rest = strpbrk(rest + 3, "/?");
    return rest != NULL && rest[0] == '/' ? rest : NULL;
}

static int hex(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %41 → A, in place. False: half an escape, or a NUL. */
static bool decode(char *text) {
    char *out = text;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '%') {
            *out++ = *at;
            continue;
        }
        const int high = hex(at[1]), low = high >= 0 ? hex(at[2]) : -1;
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *out++ = (char)(high << 4 | low);
        at += 2;
    }
    *out = '\0';
    return true;
}

static char *put(char **at, const char *text) {
    char *copy = *at;
    const size_t bytes = strlen(text) + 1;
    memcpy(copy, text, bytes);
    *at += bytes;
    return copy;
}

static size_t block_bytes(const struct request_parts *parts, const char *target) {
    size_t bytes = parts->headers_count * sizeof *parts->headers + strlen(parts->method) +
                   strlen(parts->version) + 2 * strlen(target) + 8;
    for (size_t i = 0; i < parts->headers_count; i++)
        bytes += strlen(parts->headers[i].name) + strlen(parts->headers[i].value) + 2;
    return bytes;
}

static void copy_parts(struct request *request, const struct request_parts *parts,
                       const char *target) {
    char *at = request->block + parts->headers_count * sizeof *parts->headers;
    request->headers = (struct header *)request->block;
    request->headers_count = parts->headers_count;
    for (size_t i = 0; i < parts->headers_count; i++) {
        request->headers[i].name = put(&at, parts->headers[i].name);
        request->headers[i].value = put(&at, parts->headers[i].value);
    }
    request->method = put(&at, parts->method);
    request->version = put(&at, parts->version);
    request->target = put(&at, target);
    request->path = put(&at, target);
    char *query = strchr(request->path, '?');
    request->query = query != NULL ? query + 1 : "";
    if (query != NULL)
        *query = '\0';
}

/* Two lengths, or two kinds of length, are how one request is made to look like two (RFC 9112,
 * section 6.3): what stands before this server may have believed the other one. */
static bool has_clear_length(struct request *request) {
    const char *length = request_header(request, "Content-Length");
    const bool is_chunked = request_header(request, "Transfer-Encoding") != NULL;
    size_t lengths = 0;
    for (size_t i = 0; i < request->headers_count; i++)
        lengths += strcasecmp(request->headers[i].name, "Content-Length") == 0;
    if (lengths > 1 || (lengths == 1 && is_chunked))
        return false;
    request->content_length = is_chunked ? EXCHANGE_NO_LENGTH : 0;
    return length == NULL || parse_number(length, UINT64_MAX - 1, &request->content_length);
}

unsigned request_make(struct request *ret_request, const struct request_parts *parts) {
    struct request request = {0};
    const char *target = path_of(parts->target);
    if (target == NULL)
        return 400;
    request.block = malloc(block_bytes(parts, target));
    if (request.block == NULL)
        return 503;
    copy_parts(&request, parts, target);
    request.path_info = request.path;
    if (!decode(request.path) || !has_clear_length(&request)) {
        free(request.block);
        return 400;
    }
    *ret_request = request;
    return 0;
}

struct exchange *exchange_for_path(struct route *route, const char *target) {
    static const struct header headers[] = {{"Host", "localhost"}, {"User-Agent", "husk-serve"}};
    const struct request_parts parts = {
        .method = "GET", .version = "HTTP/1.1", .target = target, .headers = headers, 2};
    struct exchange *exchange = exchange_new();
    if (exchange == NULL || request_make(&exchange->request, &parts) != 0) {
        exchange_unref(exchange);
        return NULL;
    }
    exchange->route = route;
    if (strlen(exchange->request.path) > route->path_bytes)
        exchange->request.path_info = exchange->request.path + route->path_bytes;
    strcpy(exchange->server_name, "localhost");
    strcpy(exchange->remote, "127.0.0.1");
    exchange->begin_ns = now_ns();
    exchange->has_whole_body = exchange->is_discarded = true;
    exchange->max_response_bytes = route->max_response_bytes;
    return exchange;
}
