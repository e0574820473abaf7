/*
 * compiler/lower/crew.h: threads that start before the compiler's process is contained (contain.h),
 * and wait for work. A contained process cannot start threads, so a module that takes it over
 * cannot fill the machine with threads.
 */
#ifndef COMPILER_CREW_H
#define COMPILER_CREW_H

#include <stdint.h>

#include "husk.h"

#define CREW_STACK_BYTES (256ull << 20) /* LLVM's passes recurse. Only used pages take memory */

struct crew;

/* Start up to `wanted` threads: at least one, at most 64, and fewer if the system refuses more. If
 * it refuses the first one: HUSK_E_LIMIT or HUSK_E_SYS. HUSK_E_NOMEM. */
int crew_new(uint32_t wanted, struct crew **ret_crew, struct husk_error *err);
/* Every thread of the crew calls work(arg) once. crew_run() returns when all calls have returned.
 * One caller at a time. */
void crew_run(struct crew *crew, void (*work)(void *arg), void *arg);
/* End the threads. NULL is allowed. */
void crew_free(struct crew *crew);

#endif
