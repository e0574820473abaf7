/*
 * compiler/worker/contain.h: closes the compiler's process in. Hostile wasm may take LLVM over.
 * From contain_close() on, whoever runs in the process can read its input, write its output, use
 * memory and CPU time up to its limits, and exit. It reaches no other file, no socket, no process,
 * and it cannot start threads: those that compile were started before (crew.h).
 */
#ifndef COMPILER_CONTAIN_H
#define COMPILER_CONTAIN_H

#include "husk.h"

/* First step, in the only thread, because these bind the calling thread and those that it starts
 * later: no new privileges, no capabilities, no file system and no network (Landlock). Nothing
 * can be opened by path afterwards. Where the kernel refuses one of them it is left out: the
 * second step is the wall. */
void contain_begin(void);

/* Second step, for all threads of the process: the system calls that compiling needs
 * (contain_filter_x86_64.c) and no others. It cannot be undone. HUSK_E_SYS: this kernel, or a
 * sandbox around us, has no seccomp filters; nothing is changed then. */
int contain_close(struct husk_error *err);

/* contain_filter_x86_64.c: load the filter into every thread. 0, or -1 with errno. */
int contain_load_filter(void);

#endif
