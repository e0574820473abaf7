/*
 * tests/support/c_guest.h: from C, with wasi-libc, to an image: guests as clang makes them. Where
 * there is no clang with wasi-libc, a test is skipped.
 */
#ifndef TESTS_C_GUEST_H
#define TESTS_C_GUEST_H

#include "husk.h"

/* A reactor: call its _initialize first. flags: more of clang's. NULL: no clang can make it
 * here. */
husk_image *c_guest_image(husk_engine *engine, const char *source, const char *flags,
                          const char *worker_path);

#endif
