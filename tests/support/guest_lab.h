/*
 * tests/support/guest_lab.h: an engine on the real KVM, and sandboxes of guest_image.c, for suites
 * that need no compiler. The import "env"."host" is the caller's function.
 */
#ifndef TESTS_SUPPORT_GUEST_LAB_H
#define TESTS_SUPPORT_GUEST_LAB_H

#include "husk.h"

struct guest_lab {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    struct husk_error err;
    struct husk_outcome outcome;
};

/* Make everything, including one sandbox. fn NULL: a function that doubles its argument. Ends the
 * test on failure. */
void guest_lab_open(struct guest_lab *lab, husk_host_fn fn, void *user,
                    const struct husk_sandbox_options *options);
void guest_lab_close(struct guest_lab *lab);
/* Make another sandbox of the same image. The caller frees it. */
husk_sandbox *guest_lab_sandbox(struct guest_lab *lab);
/* Call an (i64) -> i64 export. The outcome is in *ret_outcome. */
int64_t guest_call(husk_sandbox *sandbox, const char *name, int64_t argument,
                   struct husk_outcome *ret_outcome);
/* Call a () -> () export. `options` may be NULL. */
void guest_run(husk_sandbox *sandbox, const char *name, const struct husk_limits *options,
               struct husk_outcome *ret_outcome);

#endif
