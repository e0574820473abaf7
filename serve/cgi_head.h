/*
 * serve/cgi_head.h: the head of what a guest answers, by CGI's rules (RFC 3875, section 6): lines
 * "Name: value" up to an empty one. A first line "HTTP/1.1 200 OK" is taken, too.
 */
#ifndef SERVE_CGI_HEAD_H
#define SERVE_CGI_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define CGI_HEAD_MAX_BYTES 65536u
#define CGI_HEADERS_MAX 128u
#define CGI_NO_LENGTH UINT64_MAX

struct header {
    const char *name, *value;
};

struct cgi_head {
    unsigned status;         /* of HTTP */
    uint64_t content_length; /* CGI_NO_LENGTH: the guest gave none */
    struct header *headers;  /* those that go to the client; they point into `text` */
    size_t headers_count;
    char *text;
};

/* The length of the head at the front of these bytes, with its empty line. 0: they do not have all
 * of it. `*seen` is where the last search ended, 0 at first. */
size_t cgi_head_find(const char *bytes, size_t count, size_t *seen);
/* Read a head that cgi_head_find() found. NULL, or what is wrong with it; then nothing is to be
 * freed. */
const char *cgi_head_read(struct cgi_head *ret_head, const char *bytes, size_t count);
void cgi_head_done(struct cgi_head *head);

#endif
