/*
 * tests/support/c_guest.h: makes an image from C with clang and wasi-libc. Without them, a test is
 * skipped.
 */
#ifndef TESTS_C_GUEST_H
#define TESTS_C_GUEST_H

#include "husk.h"

/* Make the image of a reactor; call its _initialize first. flags: further options of clang. NULL if
 * clang cannot compile the source here. */
husk_image *c_guest_image(husk_engine *engine, const char *source, const char *flags,
                          const char *worker_path);

#endif
