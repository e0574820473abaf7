/* trace_plan.h: the plan of a run (plan.py describes the format), read into memory. */
#ifndef TRACE_PLAN_H
#define TRACE_PLAN_H

#include <stddef.h>

/* Words of one line; they point into the plan's text. */
struct plan_line {
    char **words;
    size_t count;
};

struct plan {
    char *text;
    char **words;
    struct plan_line *imports, *watches, *steps; /* of steps: fresh, call, try, skip, in order */
    size_t imports_count, watches_count, steps_count;
};

/* 0, or -1 with a message on standard error: the file cannot be read. A plan is written by plan.py,
 * so it is not checked further. */
int plan_read(const char *path, struct plan *ret_plan);
void plan_done(struct plan *plan);

/* Cuts "i32,i64" into the numbers of husk_type; "-" is none. At most `max`. Returns how many. */
size_t plan_types(const char *text, int *types, size_t max);

/* The whole of a file, malloc()ed and NUL-terminated behind ret_count bytes; NULL with a message on
 * standard error. */
char *file_bytes(const char *path, size_t *ret_count);

#endif
