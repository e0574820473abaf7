/*
 * compiler/lower/crew.h: threads that are started before the compiler's process is closed in, and
 * wait for work: contained, it can start none, so that a module that takes it over cannot fill the
 * machine with threads.
 */
#ifndef COMPILER_CREW_H
#define COMPILER_CREW_H

#include <stdint.h>

#include "husk.h"

#define CREW_STACK_BYTES (256ull << 20) /* LLVM's passes recurse; address space only, until used */

struct crew;

/* Up to `wanted` threads (at least one, at most 64); fewer if no more can be had. HUSK_E_SYS,
 * HUSK_E_LIMIT (not even one), HUSK_E_NOMEM. */
int crew_new(uint32_t wanted, struct crew **ret_crew, struct husk_error *err);
/* Every thread of the crew calls work(arg) once; returns when all have come back. One caller at
 * a time. */
void crew_run(struct crew *crew, void (*work)(void *arg), void *arg);
/* Ends the threads. NULL is fine. */
void crew_free(struct crew *crew);

#endif
