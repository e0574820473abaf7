/*
 * tests/support/fault_wraps.h: wraps library functions and system calls of the code under test. The
 * n-th call fails, is interrupted by a signal, or does only half of its work. For the suites that
 * tests/CMakeLists.txt links with --wrap.
 */
#ifndef TESTS_SUPPORT_FAULT_WRAPS_H
#define TESTS_SUPPORT_FAULT_WRAPS_H

#include <stdbool.h>

enum fault_mode {
    FAULT_ONCE,      /* the n-th fails */
    FAULT_EVER,      /* the n-th and all later ones fail, as if memory or disk were used up */
    FAULT_INTERRUPT, /* of the calls that a signal can interrupt, the n-th is interrupted */
    FAULT_SHORT,     /* the n-th transfer is half as long */
    FAULT_MODES
};
extern const char *const fault_mode_names[FAULT_MODES];

/* More operations than any step has. */
#define FAULT_NEVER 1000000u

/* Start counting; n is at least 1. If `name` is not NULL, only calls of this name count. */
void fault_arm(enum fault_mode mode, unsigned nth, const char *name);
void fault_disarm(void);
bool fault_has_fired(void);
/* The name of the first function or ioctl that was made to fail; "" if there is none. Static
 * storage. */
const char *fault_name(void);
/* For a scripted VM (struct vm_backend.fails): must this operation fail? */
bool fault_next(const char *name);

/* The successful calls since fault_arm() that make a new file durable, in order, one letter each.
 * f: fsync() of a file; d: fsync() of a folder; p: a file was put in its place or got a name
 * (rename(), linkat()). */
const char *fault_durable(void);

/* Heap blocks and mapped bytes that are in use now. */
long fault_live_blocks(void);
long fault_live_mapped(void);
/* pthread_cond_signal() calls so far: each may be a system call. */
unsigned fault_wakes(void);

#endif
