/*
 * compiler/worker/contain.h: contains the compiler's process, because hostile wasm may take LLVM
 * over. After contain_close(), code in the process can read its input, write its output, use memory
 * and CPU time up to its limits, and exit. It reaches no other file, no socket and no other
 * process. It cannot start threads: the threads that compile start before (crew.h).
 */
#ifndef COMPILER_CONTAIN_H
#define COMPILER_CONTAIN_H

#include "husk.h"

/* First step: no new privileges, no capabilities, no file system and no network (Landlock).
 * Afterwards nothing can be opened by path. These restrictions apply to the calling thread and the
 * threads that it starts later, so call this while there is one thread. A restriction that the
 * kernel refuses is left out, because the second step protects without it. */
void contain_begin(void);

/* Second step, for all threads of the process: allow only the system calls that compiling needs
 * (contain_filter_x86_64.c). It cannot be undone. HUSK_E_SYS: this kernel, or a sandbox around this
 * program, refuses seccomp filters; then nothing has changed. */
int contain_close(struct husk_error *err);

/* contain_filter_x86_64.c: loads the filter into every thread. Returns 0, or -1 with errno. */
int contain_load_filter(void);

#endif
