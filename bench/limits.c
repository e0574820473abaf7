/*
 * bench/limits.c: see limits.h. The part `limits` of husk_bench: runs the groups.
 */
#include "limits.h"

#include <string.h>

static const struct {
    const char *name;
    int (*run)(const struct bench *bench);
} groups[] = {{"restore", limits_restore},  {"calls", limits_calls},   {"cold", limits_cold},
              {"touch", limits_touch},      {"parked", limits_parked}, {"open", limits_open},
              {"standing", limits_standing}};

/* Is it one of the names, with commas between them? */
static bool is_wanted(const struct bench *bench, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = bench->only_limits; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return bench->only_limits == NULL;
}

int bench_limits(const struct bench *bench) {
    limits_head("limits: what must be reached on any CPU");
    int result = 0;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (is_wanted(bench, groups[i].name))
            result |= groups[i].run(bench);
    return result;
}
