/* bench/kernels/fib.c: plain recursion: Fibonacci and Ackermann. Calls, returns and little else. */
#include "kernel.h"

static __attribute__((noinline)) uint32_t fib(uint32_t i) {
    return i < 2 ? i : fib(i - 1) + fib(i - 2);
}

static __attribute__((noinline)) uint32_t ackermann(uint32_t m, uint32_t i) {
    if (m == 0)
        return i + 1;
    return i == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, i - 1));
}

KERNEL(fib) {
    return sum_mix(sum_mix(SUM_START, fib(n)), ackermann(2, n * 10));
}
