/*
 * bench/floor.c: the least cost of every call: the same KVM_RUN without Husk, of a VM whose only
 * code is `out; jmp`.
 */
#include <errno.h>
#include <string.h>

#include "bare_vm.h"
#include "bench.h"

enum { SAMPLES = 4000, WARMING = 100, MEMORY_BYTES = 2 << 20 };

/* µs of one KVM_RUN, or negative. */
static double floor_sample(struct bare_vm *vm) {
    uint64_t start = bench_now_ns();
    int result = bare_vm_run(vm);
    uint64_t end = bench_now_ns();
    return result == 0 ? (double)(end - start) / 1e3 : -1;
}

int bench_floor(const struct bench *bench) {
    static double samples[SAMPLES];
    struct bare_vm vm;
    int result = bare_vm_open(&vm, MEMORY_BYTES, 0, false);
    for (int i = 0; i < WARMING + SAMPLES && result == 0; i++) {
        double us = floor_sample(&vm);
        samples[i < WARMING ? 0 : i - WARMING] = us;
        result = us < 0 ? -1 : 0;
    }
    if (result != 0) {
        fprintf(stderr, "husk_bench: floor: the bare VM did not run: %s\n", strerror(errno));
    } else {
        struct spread us = spread_of(samples, SAMPLES);
        printf("\nfloor: a bare KVM_RUN to an `out` in ring 3 and back: %.2f / %.2f / %.2f µs (p10 "
               "/ median "
               "/ p90)\n",
               us.p10, us.p50, us.p90);
        fprintf(bench->json, "{\"bench\":\"floor\",\"name\":\"kvm_run\",\"samples\":%d,", SAMPLES);
        json_spread(bench->json, "us", us);
        fputs("}\n", bench->json);
    }
    bare_vm_close(&vm);
    return result;
}
