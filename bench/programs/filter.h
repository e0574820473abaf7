/*
 * bench/programs/filter.h: what the programs of compression share: `PROGRAM ROUNDS` reads standard
 * input, packs and unpacks it that often at each level, checks what comes back, and prints the
 * packed sizes. With 0 rounds it only reads: what starting costs.
 */
#ifndef BENCH_FILTER_H
#define BENCH_FILTER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *at;
    size_t count;
};

/* Each returns the bytes that it wrote, or 0. */
size_t filter_bound(size_t count);
size_t filter_pack(int level, struct bytes from, struct bytes to);
size_t filter_unpack(struct bytes from, struct bytes to);

static struct bytes input_read(void) {
    struct bytes input = {.at = NULL};
    size_t got;
    do {
        input.at = realloc(input.at, input.count + 65536);
        if (input.at == NULL)
            exit(1);
        got = fread(input.at + input.count, 1, 65536, stdin);
        input.count += got;
    } while (got > 0);
    return input;
}

static void level_run(int level, struct bytes input, struct bytes packed, struct bytes back) {
    packed.count = filter_pack(level, input, packed);
    back.count = filter_unpack(packed, back);
    printf("%d %llu\n", level, (unsigned long long)packed.count); /* wide_size.h */
    if (back.count == input.count && memcmp(back.at, input.at, input.count) == 0)
        return;
    puts("something else came back");
    exit(1);
}

static int filter_main(int argc, char **argv, const int levels[], size_t count) {
    const int rounds = argc > 1 ? atoi(argv[1]) : 1;
    const struct bytes input = input_read();
    struct bytes packed = {.count = filter_bound(input.count)}, back = {.count = input.count};
    packed.at = malloc(packed.count);
    back.at = malloc(back.count + 1);
    if (packed.at == NULL || back.at == NULL)
        return 1;
    for (int i = 0; i < rounds; i++)
        for (size_t level = 0; level < count; level++)
            level_run(levels[level], input, packed, back);
    return 0;
}

#endif
