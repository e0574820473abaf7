/*
 * bench/limits_kernels.c: the limits of generated code, at the default level and at level 0, behind
 * the table of kernels.
 */
#include <string.h>

#include "cpu_x86_64.h"
#include "kernel_list.h"
#include "limits.h"

/* The geometric mean at the default level. Zen 5 has 512-bit vectors that native code uses well. */
static const double mean_limit = 1.05, mean_limit_zen5 = 1.07;
static const double worst_limit = 1.7, slow_from = 1.25, slow_count_limit = 4;
static const double unoptimised_limit = 2.2;

static void row_print(const struct bench *bench, const char *name, const char *unit, double value,
                      double limit) {
    struct limit_row row = {
        .name = name, .unit = unit, .spread = {value, value, value}, .limit = limit};
    limits_print(bench, &row);
}

static size_t worst_of(const struct kernel_ratios *ratios) {
    size_t worst = 0;
    for (size_t i = 1; i < ratios->count; i++)
        if (ratios->husk[i] > ratios->husk[worst])
            worst = i;
    return worst;
}

/* How many are slow; their names to `ret_names`, cut where it ends. */
static size_t slow_find(const struct kernel_ratios *ratios, char *ret_names, size_t bytes) {
    size_t count = 0, length = 0;
    for (size_t i = 0; i < ratios->count; i++) {
        if (ratios->husk[i] <= slow_from)
            continue;
        int more = snprintf(ret_names + length, bytes - length, "%s%s %.2f", count > 0 ? ", " : "",
                            ratios->names[i], ratios->husk[i]);
        length = length + (size_t)more < bytes ? length + (size_t)more : bytes - 1;
        count++;
    }
    return count;
}

void limits_kernels(const struct bench *bench, const struct kernel_ratios *plain,
                    const struct kernel_ratios *unoptimised) {
    char name[128], slow[512] = "";
    const size_t worst = worst_of(plain);
    limits_head("limits of generated code");
    snprintf(name, sizeof name, "%zu kernels / native, geometric mean", plain->count);
    row_print(bench, name, "x native", geomean_of(plain->husk, plain->count),
              cpu_is_zen5() ? mean_limit_zen5 : mean_limit);
    snprintf(name, sizeof name, "the slowest kernel: %s", plain->names[worst]);
    row_print(bench, name, "x native", plain->husk[worst], worst_limit);
    size_t count = slow_find(plain, slow, sizeof slow);
    snprintf(name, sizeof name, "kernels above %.2f", slow_from);
    row_print(bench, name, "kernels", (double)count, slow_count_limit);
    if (count > 0)
        printf("    %s\n", slow);
    snprintf(name, sizeof name, "-O0: %zu kernels / native, geometric mean", unoptimised->count);
    row_print(bench, name, "x native", geomean_of(unoptimised->husk, unoptimised->count),
              unoptimised_limit);
}
