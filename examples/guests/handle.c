/*
 * A module that answers requests by a function from bytes to bytes: it gets the request as text of
 * HTTP/1.1, and returns an answer as CGI has it. What husk_init() makes is made once, and each
 * request finds it so.
 *
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -O2 -g -c handle.c
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -mexec-model=reactor \
 *       -Wl,--export=malloc,--export=free handle.o -o handle.wasm
 *   husk serve handle.wasm
 *   curl http://127.0.0.1:8080/30
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE_COUNT 94

static uint64_t table[TABLE_COUNT];
static unsigned requests_count;

__attribute__((export_name("husk_init"))) void husk_init(void) {
    table[1] = 1;
    for (unsigned i = 2; i < TABLE_COUNT; i++)
        table[i] = table[i - 1] + table[i - 2];
}

/* The bytes' place is the result's low half, their number the high one. The host frees both blocks.
 */
__attribute__((export_name("husk_handle"))) uint64_t husk_handle(const char *request,
                                                                 uint32_t count) {
    const char *slash = memchr(request, '/', count);
    const unsigned long n = slash != NULL ? strtoul(slash + 1, NULL, 10) : 0;
    char *answer = malloc(160);
    int bytes;
    requests_count++;
    if (n < TABLE_COUNT)
        bytes = snprintf(answer, 160,
                         "Content-Type: text/plain\n\nfib(%lu) = %llu, and this is request %u\n", n,
                         (unsigned long long)table[n], requests_count);
    else
        bytes = snprintf(answer, 160, "Status: 400\nContent-Type: text/plain\n\nat most %d\n",
                         TABLE_COUNT - 1);
    return (uint64_t)(uint32_t)bytes << 32 | (uint32_t)(uintptr_t)answer;
}
