/*
 * bench/limits.c: see limits.h. The part `limits` of husk_bench: runs the groups.
 */
#include "limits.h"

int bench_limits(const struct bench *bench) {
    limits_head("limits: what must be reached on any CPU");
    int result = 0;
    result |= limits_restore(bench);
    result |= limits_calls(bench);
    result |= limits_cold(bench);
    result |= limits_touch(bench);
    result |= limits_parked(bench);
    result |= limits_open(bench);
    return result;
}
