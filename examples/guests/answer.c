/*
 * examples/guests/answer.c: makes a table of primes, then reads a line with a number and answers.
 * It does so in two forms, with the same calls of WASI: as a command (_start), which husk snapshot
 * --until stdin stops at its first read; and as two functions to call, prepare and answer.
 *
 *   clang --target=wasm32 -O2 -c answer.c
 *   clang --target=wasm32 -nostdlib -Wl,--no-entry answer.o -o answer.wasm
 */
#include <stdint.h>

#define WASI(name)                                                                                 \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) uint16_t name

struct piece {
    const void *bytes;
    uint32_t count;
};

WASI(fd_read)(uint32_t fd, struct piece *pieces, uint32_t pieces_count, uint32_t *ret_count);
WASI(fd_write)(uint32_t fd, const struct piece *pieces, uint32_t pieces_count, uint32_t *ret_count);

#define NUMBERS (1u << 22)
static uint8_t is_composite[NUMBERS];

__attribute__((export_name("prepare"))) void prepare(void) {
    for (uint32_t i = 2; i * i < NUMBERS; i++)
        if (!is_composite[i])
            for (uint32_t j = i * i; j < NUMBERS; j += i)
                is_composite[j] = 1;
}

static void put(const char *text, uint32_t count) {
    const struct piece piece = {text, count};
    uint32_t done;
    fd_write(1, &piece, 1, &done);
}

/* The first prime that is not below the number. */
__attribute__((export_name("answer"))) void answer(void) {
    char line[64], digits[16];
    struct piece piece = {line, sizeof line};
    uint32_t count = 0, number = 0, at = sizeof digits;
    if (fd_read(0, &piece, 1, &count) != 0)
        return;
    for (uint32_t i = 0; i < count && line[i] >= '0' && line[i] <= '9'; i++)
        number = (number * 10 + (uint32_t)(line[i] - '0')) % NUMBERS;
    for (number = number < 2 ? 2 : number; number < NUMBERS && is_composite[number]; number++)
        ;
    digits[--at] = '\n';
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    put(digits + at, sizeof digits - at);
}

__attribute__((export_name("_start"))) void command(void) {
    prepare();
    answer();
}
