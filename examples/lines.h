/*
 * examples/lines.h: parts of a server of lines: a place to listen at, lines from a descriptor with
 * limits on time and length, and a way to ask the server to end.
 */
#ifndef EXAMPLES_LINES_H
#define EXAMPLES_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* After stop_init(), SIGINT, SIGTERM and stop_serving() ask all threads to end. Then there are no
 * more lines, and stop_fd() is readable. A second signal ends the process. stop_init() is false if
 * there are no descriptors left. */
bool stop_init(void);
void stop_serving(void);
bool is_stopping(void);
int stop_fd(void);

#define LINE_BYTES_MAX (1u << 20)

struct lines {
    int fd;
    int timeout_ms;     /* after this time without data, there are no more lines; -1: no timeout */
    bool needs_newline; /* ignore a last line without a newline: its sender was interrupted */
    /* LINE_BYTES_MAX bytes. [start, end) is read, and has no newline before `seen` */
    char *bytes;
    size_t start, seen, end;
    bool has_ended;
};

enum line_kind { LINE_END, LINE_READ, LINE_TOO_LONG, LINE_NO_MEMORY };

/* False: out of memory. */
bool lines_init(struct lines *lines, int fd);
void lines_done(struct lines *lines);
/* Read the next line. *ret_line is malloc()ed, without the newline, and set only with LINE_READ. */
enum line_kind lines_next(struct lines *lines, char **ret_line, size_t *ret_count);

/* Send all bytes; false on failure. If the client does not read, it fails after some seconds. */
bool lines_send(int socket, const char *bytes, size_t count);

/* Listen at a path, or at HOST:PORT of this machine only. Port 0 means any port; the number is
 * printed on standard error. Returns a descriptor, or prints the error and returns -1. The caller
 * must unlink the path after use. */
int listen_at(const char *place);
/* Is `place` a path? */
bool listens_at_path(const char *place);

#endif
