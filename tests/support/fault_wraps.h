/*
 * tests/support/fault_wraps.h: library functions and system calls of the code under test, of which
 * the n-th fails, is interrupted by a signal, or does only half of what it was asked for. For the
 * suites that tests/CMakeLists.txt links with --wrap.
 */
#ifndef TESTS_SUPPORT_FAULT_WRAPS_H
#define TESTS_SUPPORT_FAULT_WRAPS_H

#include <stdbool.h>

enum fault_mode {
    FAULT_ONCE,      /* the n-th fails */
    FAULT_EVER,      /* the n-th and all after it fail, as when memory or disk is used up */
    FAULT_INTERRUPT, /* the n-th of those that a signal can interrupt is interrupted */
    FAULT_SHORT,     /* the n-th transfer transfers half */
    FAULT_MODES
};
extern const char *const fault_mode_names[FAULT_MODES];

/* Nothing has so many operations. */
#define FAULT_NEVER 1000000u

/* Count from here on; n from 1. `name` not NULL: only calls of this name count. */
void fault_arm(enum fault_mode mode, unsigned nth, const char *name);
void fault_disarm(void);
bool fault_has_fired(void);
/* Of the first one that failed: the function's name, or that of the ioctl; "" if none did. Static
 * storage. */
const char *fault_name(void);
/* For a scripted VM (struct vm_backend.fails): is this operation to fail? */
bool fault_next(const char *name);

/* What makes a new file last, in the order in which it was done since fault_arm(), a letter for
 * each success: f fsync() of a file, d of a folder; p: a file was put in its place, or got a name
 * (rename(), linkat()). */
const char *fault_durable(void);

/* Heap blocks and mapped bytes that are in use now. */
long fault_live_blocks(void);
long fault_live_mapped(void);
/* pthread_cond_signal() calls so far: each may be a system call. */
unsigned fault_wakes(void);

#endif
