/*
 * serve/cgi_head.c: reads the head of an answer. A guest is hostile: a head that is not exactly as
 * it should be is refused as a whole, so that it can neither add headers of its own to the
 * server's, nor end the answer early and begin another one.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cgi_head.h"

size_t cgi_head_find(const char *bytes, size_t count, size_t *seen) {
    /* an empty line at the very start: a head without lines, which is refused later */
    for (size_t at = *seen; at < count; at++) {
        if (bytes[at] != '\n')
            continue;
        const size_t line_end = at > 0 && bytes[at - 1] == '\r' ? at - 1 : at;
        if (line_end == 0 || bytes[line_end - 1] == '\n')
            return at + 1;
    }
    *seen = count;
    return 0;
}

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *text, size_t count) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < count; i++) {
        const char c = text[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
              (c != '\0' && strchr(others, c) != NULL)))
            return false;
    }
    return count != 0;
}

/* No control characters, of which a tab is none. */
static bool is_value(const char *text) {
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

/* Three digits, then the end or a blank; a status that can end a request. */
static bool read_status(const char *text, unsigned *ret_status) {
    unsigned status = 0;
    for (int i = 0; i < 3; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        status = status * 10 + (unsigned)(text[i] - '0');
    }
    *ret_status = status;
    return (text[3] == '\0' || text[3] == ' ') && status >= 200 && status <= 599;
}

static bool read_length(const char *text, uint64_t *ret_length) {
    uint64_t length = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits <= 18; digits++)
        length = length * 10 + (uint64_t)(text[digits] - '0');
    *ret_length = length;
    return digits != 0 && digits <= 18 && text[digits] == '\0';
}

/* These say how the server sends the answer, which is the server's to say. */
static bool is_servers_own(const char *name) {
    static const char *const names[] = {
        "Connection", "Keep-Alive", "Transfer-Encoding", "TE",
        "Trailer",    "Upgrade",    "Proxy-Connection",  "Proxy-Authenticate"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static const char *take_header(struct cgi_head *head, char *name, bool *has_status) {
    char *colon = strchr(name, ':');
    if (colon == NULL || !is_token(name, (size_t)(colon - name)))
        return "a line of its head is no \"Name: value\"";
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t bytes = strlen(value);
    while (bytes != 0 && (value[bytes - 1] == ' ' || value[bytes - 1] == '\t'))
        value[--bytes] = '\0';
    if (!is_value(value))
        return "a value in its head has a control character";
    if (strcasecmp(name, "Status") == 0) {
        if (*has_status || !read_status(value, &head->status))
            return "its Status is not one from 200 to 599";
        *has_status = true;
        return NULL;
    }
    if (strcasecmp(name, "Content-Length") == 0) {
        if (head->content_length != CGI_NO_LENGTH || !read_length(value, &head->content_length))
            return "its Content-Length is not one number";
        return NULL;
    }
    if (is_servers_own(name))
        return NULL;
    if (head->headers_count == CGI_HEADERS_MAX)
        return "its head has too many lines";
    head->headers[head->headers_count++] = (struct header){name, value};
    return NULL;
}

/* "HTTP/1.1 200 OK" in the place of "Status: 200 OK". */
static const char *take_status_line(struct cgi_head *head, const char *line, bool *has_status) {
    const char *blank = strchr(line, ' ');
    if (blank == NULL || !read_status(blank + 1, &head->status))
        return "its status line is not one";
    *has_status = true;
    return NULL;
}

static const char *take_lines(struct cgi_head *head, char *text) {
    bool has_status = false;
    const char *why = NULL;
    size_t lines = 0;
    for (char *line = text; why == NULL; lines++) {
        char *end = strchr(line, '\n');
        if (end > line && end[-1] == '\r')
            end[-1] = '\0';
        *end = '\0';
        if (line[0] == '\0')
            break;
        why = lines == 0 && strncmp(line, "HTTP/1.", 7) == 0
                  ? take_status_line(head, line, &has_status)
                  : take_header(head, line, &has_status);
        line = end + 1;
    }
    if (why == NULL && lines == 0)
        return "it begins with an empty line, and has no head";
    for (size_t i = 0; i < head->headers_count && !has_status; i++)
        if (strcasecmp(head->headers[i].name, "Location") == 0)
            head->status = 302;
    return why;
}

const char *cgi_head_read(struct cgi_head *ret_head, const char *bytes, size_t count) {
    struct cgi_head head = {.status = 200, .content_length = CGI_NO_LENGTH};
    if (memchr(bytes, '\0', count) != NULL)
        return "its head has a NUL";
    head.text = malloc(count + 1);
    head.headers = calloc(CGI_HEADERS_MAX, sizeof *head.headers);
    const char *why = "out of memory";
    if (head.text != NULL && head.headers != NULL) {
        memcpy(head.text, bytes, count);
        head.text[count] = '\0';
        why = take_lines(&head, head.text);
    }
    if (why != NULL)
        cgi_head_done(&head);
    else
        *ret_head = head;
    return why;
}

void cgi_head_done(struct cgi_head *head) {
    free(head->headers);
    free(head->text);
    *head = (struct cgi_head){0};
}
