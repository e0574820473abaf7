/* trace_plan.h: the plan of a run (plan.py describes the format), read into memory. */
#ifndef TRACE_PLAN_H
#define TRACE_PLAN_H

#include <stddef.h>

/* The words of one line. They point into the plan's text. */
struct plan_line {
    char **words;
    size_t count;
};

struct plan {
    char *text;
    char **words;
    struct plan_line *imports, *watches, *steps; /* steps: fresh, call, try, skip, in order */
    size_t imports_count, watches_count, steps_count;
};

/* Read a plan. If the file cannot be read, prints a message on standard error and returns -1, else
 * returns 0. plan.py writes plans, so they are not checked further. */
int plan_read(const char *path, struct plan *ret_plan);
void plan_done(struct plan *plan);

/* Split "i32,i64" into values of husk_type, at most `max`; "-" means none. Returns their number. */
size_t plan_types(const char *text, int *types, size_t max);

/* Read a whole file: ret_count bytes, malloc()ed, with a NUL after them. On failure, prints a
 * message on standard error and returns NULL. */
char *file_bytes(const char *path, size_t *ret_count);

#endif
