/*
 * cli/units.c: numbers, durations and sizes as people write them.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit durations[] = {{"", 1000000000},     {"ns", 1},         {"us", 1000},
                                        {"ms", 1000000},      {"s", 1000000000}, {"m", 60000000000},
                                        {"h", 3600000000000}, {NULL, 0}};
static const struct unit sizes[] = {{"", 1},           {"K", 1u << 10},   {"KiB", 1u << 10},
                                    {"M", 1u << 20},   {"MiB", 1u << 20}, {"G", 1u << 30},
                                    {"GiB", 1u << 30}, {NULL, 0}};

static bool parse_units(const char *text, const struct unit *units, uint64_t *ret_value) {
    char *end = NULL;
    if ((isdigit((unsigned char)text[0])) == 0 && text[0] != '.')
        return false; /* no signs, no "inf" */
    errno = 0;
    double number = strtod(text, &end);
    if (errno != 0 || end == text)
        return false;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(end, unit->name) != 0)
            continue;
        double value = number * (double)unit->factor;
        if (!(value < 9.2e18) || value != value)
            return false;
        *ret_value = (uint64_t)llround(value);
        return number == 0 || *ret_value > 0;
    }
    return false;
}

bool parse_duration(const char *text, uint64_t *ret_ns) {
    return parse_units(text, durations, ret_ns);
}

bool parse_size(const char *text, uint64_t *ret_bytes) {
    return parse_units(text, sizes, ret_bytes);
}

bool parse_number(const char *text, uint64_t max, uint64_t *ret_number) {
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number > max)
        return false;
    *ret_number = number;
    return true;
}

void format_bytes(uint64_t bytes, char *out, size_t out_bytes) {
    static const char *const names[] = {"B", "KiB", "MiB", "GiB"};
    double value = (double)bytes;
    unsigned i = 0;
    while (value >= 1024 && i < 3) {
        value /= 1024;
        i++;
    }
    snprintf(out, out_bytes, i == 0 || value == (double)(uint64_t)value ? "%.0f %s" : "%.1f %s",
             value, names[i]);
}

uint64_t now_ns(void) {
    struct timespec ts = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
