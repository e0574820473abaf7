/*
 * serve/access_log.c: a line for each request: in the Common Log Format, or as a JSON object.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve.h"

const char *end_name(enum exchange_end end) {
    switch (end) {
    case END_NOT_YET: return "none"; /* no guest had it */
    case END_GOOD: return "good";
    case END_TRAPPED: return "trapped";
    case END_DEADLINE: return "deadline";
    case END_MALFORMED: return "malformed";
    case END_TOO_LARGE: return "too_large";
    case END_LEFT: return "client_left";
    case END_STOPPED: return "stopped";
    case END_NO_WORKER: return "no_worker";
    case END_FAILED: return "failed";
    }
    return "?";
}

/* A part of the request line, quoted as Apache does it: it may say anything. */
static void put_quoted(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
}

/* 499, as nginx has it: the client left, or was cut off, before it got one. */
static unsigned status_for_log(const struct exchange *exchange) {
    return exchange->sent_status != 0 ? exchange->sent_status : 499;
}

static void put_common(FILE *out, const struct exchange *exchange) {
    const struct request *request = &exchange->request;
    const time_t now = time(NULL);
    const unsigned status = status_for_log(exchange);
    struct tm fields;
    char text[64];
    strftime(text, sizeof text, "%d/%b/%Y:%H:%M:%S %z", localtime_r(&now, &fields));
    fprintf(out, "%s - - [%s] \"", exchange->remote, text);
    put_quoted(out, request->method);
    fputc(' ', out);
    put_quoted(out, request->target);
    fputc(' ', out);
    put_quoted(out, request->version);
    if (exchange->sent_bytes != 0)
        fprintf(out, "\" %03u %llu\n", status, (unsigned long long)exchange->sent_bytes);
    else
        fprintf(out, "\" %03u -\n", status);
}

static void put_member(FILE *out, const char *name, const char *value) {
    fprintf(out, ",\"%s\":", name);
    json_text(out, value);
}

static void put_json(FILE *out, const struct exchange *exchange) {
    const struct request *request = &exchange->request;
    struct timespec now;
    struct tm fields;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &fields));
    fprintf(out, "{\"time\":\"%s.%03ldZ\"", text, now.tv_nsec / 1000000);
    put_member(out, "remote", exchange->remote);
    put_member(out, "method", request->method);
    put_member(out, "target", request->target);
    put_member(out, "version", request->version);
    put_member(out, "host", exchange->server_name);
    put_member(out, "route", exchange->route != NULL ? exchange->route->path : NULL);
    fprintf(out, ",\"status\":%u,\"bytes_in\":%llu,\"bytes_out\":%llu,\"duration_us\":%llu",
            status_for_log(exchange), (unsigned long long)exchange->body_bytes,
            (unsigned long long)exchange->sent_bytes,
            (unsigned long long)((now_ns() - exchange->begin_ns) / 1000));
    fprintf(out, ",\"guest_us\":%llu", (unsigned long long)(exchange->guest_ns_for_log / 1000));
    put_member(out, "end", end_name(exchange->end_for_log));
    fputs("}\n", out);
}

void access_log(const struct server *server, const struct exchange *exchange) {
    char *line = NULL;
    size_t count = 0;
    if (server->access_format == ACCESS_NONE)
        return;
    FILE *out = open_memstream(&line, &count);
    if (out == NULL)
        return;
    if (server->access_format == ACCESS_JSON)
        put_json(out, exchange);
    else
        put_common(out, exchange);
    if (fclose(out) == 0)
        log_put(true, line, count);
    free(line);
}
