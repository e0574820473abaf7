/* bench/cpu_x86_64.h: which CPU it is, where a limit depends on that. */
#ifndef BENCH_CPU_X86_64_H
#define BENCH_CPU_X86_64_H

#include <stdbool.h>

bool cpu_is_zen5(void);

#endif
