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

/* Behind "http://", as a client of a proxy sends it. NULL: it does not begin so. */
static const char *authority_of(const char *target) {
    if (strncasecmp(target, "http://", 7) == 0)
        return target + 7;
    return strncasecmp(target, "https://", 8) == 0 ? target + 8 : NULL;
}

/* "http://host/path" is "/path", "http://host?query" is "/?query": of `ret_slash` and of what is
 * returned. NULL: it is no target of these two forms. */
static const char *path_of(const char *target, const char **ret_slash) {
    const char *authority = authority_of(target);
    *ret_slash = "";
    if (target[0] == '/' || authority == NULL)
        return target[0] == '/' ? target : NULL;
    const char *rest = authority + strcspn(authority, "/?");
    *ret_slash = rest[0] == '/' ? "" : "/";
    return rest;
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

static char *put_joined(char **at, const char *first, const char *text) {
    char *copy = *at;
    *at = stpcpy(stpcpy(copy, first), text) + 1;
    return copy;
}

static char *put(char **at, const char *text) {
    return put_joined(at, "", text);
}

/* Blanks behind a value are no part of it; libmicrohttpd leaves them. */
static char *trim(char *value) {
    size_t bytes = strlen(value);
    while (bytes != 0 && (value[bytes - 1] == ' ' || value[bytes - 1] == '\t'))
        value[--bytes] = '\0';
    return value;
}

static size_t block_bytes(const struct request_parts *parts, const char *target) {
    size_t bytes = parts->headers_count * sizeof *parts->headers + strlen(parts->method) +
                   strlen(parts->version) + 2 * strlen(target) + 4 +
                   2; /* NULs; path_of()'s slash */
    for (size_t i = 0; i < parts->headers_count; i++)
        bytes += strlen(parts->headers[i].name) + strlen(parts->headers[i].value) + 2;
    return bytes;
}

static void copy_parts(struct request *request, const struct request_parts *parts,
                       const char *slash, const char *target) {
    char *at = request->block + parts->headers_count * sizeof *parts->headers;
    request->headers = (struct header *)request->block;
    request->headers_count = parts->headers_count;
    for (size_t i = 0; i < parts->headers_count; i++) {
        request->headers[i].name = put(&at, parts->headers[i].name);
        request->headers[i].value = trim(put(&at, parts->headers[i].value));
    }
    request->method = put(&at, parts->method);
    request->version = put(&at, parts->version);
    request->target = put_joined(&at, slash, target);
    request->path = put_joined(&at, slash, target);
    char *query = strchr(request->path, '?');
    request->query = query != NULL ? query + 1 : "";
    if (query != NULL)
        *query = '\0';
}

/* ---- What two servers may understand in two ways (RFC 9112, section 11.2) is refused ---- */

/* RFC 9110, section 5.6.2. A blank before the colon would be a part of the name. */
static bool is_token(const char *text) {
    return text[0] != '\0' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                        "!#$%&'*+-.^_`|~") == strlen(text);
}

static bool has_control(const char *text) {
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return true;
    return false;
}

static bool has_clear_headers(const struct request *request) {
    for (size_t i = 0; i < request->headers_count; i++)
        if (!is_token(request->headers[i].name) || has_control(request->headers[i].value))
            return false;
    return is_token(request->method);
}

static size_t headers_of_name(const struct request *request, const char *name) {
    size_t count = 0;
    for (size_t i = 0; i < request->headers_count; i++)
        count += strcasecmp(request->headers[i].name, name) == 0;
    return count;
}

/* None, or the one that libmicrohttpd takes for one, letter by letter: of any other, it would read
 * all that comes as the body. */
static bool has_clear_coding(const struct request_parts *parts) {
    for (size_t i = 0; i < parts->headers_count; i++)
        if (strcasecmp(parts->headers[i].name, "Transfer-Encoding") == 0 &&
            (strcasecmp(parts->headers[i].value, "chunked") != 0 ||
             strcmp(parts->version, "HTTP/1.0") == 0))
            return false;
    return true;
}

/* Two lengths, or two kinds of length: what stands before this server may have believed the other
 * one. */
static bool has_clear_length(struct request *request) {
    const char *length = request_header(request, "Content-Length");
    const size_t chunked = headers_of_name(request, "Transfer-Encoding");
    if (headers_of_name(request, "Content-Length") + chunked > 1)
        return false;
    request->is_chunked = chunked != 0;
    request->content_length = chunked != 0 ? EXCHANGE_NO_LENGTH : 0;
    return length == NULL || parse_number(length, UINT64_MAX - 1, &request->content_length);
}

/* A lone CR would be an end of a line to some, and a '#' the end of the target. */
static bool has_clear_target(const char *target) {
    for (; *target != '\0'; target++)
        if ((unsigned char)*target <= ' ' || *target == 0x7f || *target == '#')
            return false;
    return true;
}

/* One host, that of the target if that has one. */
static bool has_clear_host(const struct request *request, const char *target) {
    const char *host = request_header(request, "Host"), *authority = authority_of(target);
    if (headers_of_name(request, "Host") > 1)
        return false;
    if (host != NULL && strpbrk(host, " \t,/?#@\\<>\"") != NULL)
        return false;
    if (authority == NULL)
        return true;
    const size_t bytes = strcspn(authority, "/?");
    return bytes != 0 &&
           (host == NULL || (strlen(host) == bytes && strncasecmp(host, authority, bytes) == 0));
}

unsigned request_make(struct request *ret_request, const struct request_parts *parts) {
    struct request request = {0};
    const char *slash, *target = path_of(parts->target, &slash);
    if (target == NULL)
        return 400;
    request.block = malloc(block_bytes(parts, target));
    if (request.block == NULL)
        return 503;
    copy_parts(&request, parts, slash, target);
    request.path_info = request.path;
    if (!has_clear_target(parts->target) || !decode(request.path) || !has_clear_headers(&request) ||
        !has_clear_coding(parts) || !has_clear_length(&request) ||
        !has_clear_host(&request, parts->target)) {
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
    exchange->route = route_use(route);
    if (strlen(exchange->request.path) > route->path_bytes)
        exchange->request.path_info = exchange->request.path + route->path_bytes;
    strcpy(exchange->server_name, "localhost");
    strcpy(exchange->remote, "127.0.0.1");
    exchange->begin_ns = exchange->queued_ns = now_ns();
    exchange->has_whole_body = exchange->is_discarded = true;
    exchange->max_response_bytes = route->max_response_bytes;
    return exchange;
}
