/*
 * tests/spec/spec_program.h: one image of a pack and its sandbox: starts instances, calls exports.
 */
#ifndef SPEC_PROGRAM_H
#define SPEC_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "husk.h"
#include "spec_values.h"

struct program {
    husk_image *image;
    size_t instances_count; /* 1: not linked, and starts as any image does */
    husk_sandbox *sandbox;  /* NULL: nothing of it runs */
};

/* What an action of the suite names. */
struct action {
    bool is_get;
    size_t image;
    const char *field;
    size_t field_bytes;
    struct spec_values args;
};

struct performed {
    int status;
    struct husk_error err;
    struct husk_outcome outcome;
    struct husk_value results[SPEC_VALUES_MAX];
    size_t results_count;
};

/* Start the instance at `stage`, the first time with a new sandbox. */
void program_start(struct program *program, const husk_imports *imports, size_t stage,
                   struct performed *done);
void program_perform(const struct program *program, const struct action *action,
                     struct performed *done);
void program_done(struct program *program);

bool performed_returned(const struct performed *done);
/* Did it end by a link error, of the load or, later, of a start? */
bool performed_refused(const struct performed *done);
/* Did it end by an exception that nobody caught? */
bool performed_threw(const struct performed *done);
/* Did it end by the trap of this text of the suite? */
bool performed_trapped(const struct performed *done, const char *text);
/* Say what came out: an error, a trap, or results. */
void performed_describe(const struct performed *done, char *text, size_t text_bytes);

#endif
