/*
 * examples/lines.h: parts of a server of lines: a place to listen at, lines from a descriptor with
 * limits on time and length, and a way to ask the server to end.
 */
#ifndef EXAMPLES_LINES_H
#define EXAMPLES_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* SIGINT, SIGTERM or stop_serving() ask everybody to end: then there are no more lines, and
 * stop_fd() is readable. A second signal ends the process. False: no descriptors. */
bool stop_init(void);
void stop_serving(void);
bool is_stopping(void);
int stop_fd(void);

#define LINE_BYTES_MAX (1u << 20)

struct lines {
    int fd;
    int timeout_ms;     /* of silence, then there are no more; -1: none */
    bool needs_newline; /* a last line without one is not a line: its sender was cut off */
    /* LINE_BYTES_MAX of them: [start, end) are read, and have no newline before `seen` */
    char *bytes;
    size_t start, seen, end;
    bool has_ended;
};

enum line_kind { LINE_END, LINE_READ, LINE_TOO_LONG, LINE_NO_MEMORY };

/* False: no memory. */
bool lines_init(struct lines *lines, int fd);
void lines_done(struct lines *lines);
/* *ret_line is malloc()ed and without its newline; of LINE_READ only. */
enum line_kind lines_next(struct lines *lines, char **ret_line, size_t *ret_count);

/* All of it, or false. A client that does not read is given up after some seconds. */
bool lines_send(int socket, const char *bytes, size_t count);

/* Listen at a path, or at HOST:PORT of this machine alone (port 0: any; says which on standard
 * error). Prints what is wrong, and returns -1. A path is to be unlinked after use. */
int listen_at(const char *place);
/* Is that a path? */
bool listens_at_path(const char *place);

#endif
