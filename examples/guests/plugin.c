/*
 * A plug-in: functions from a string to a string. husk_call_bytes() copies the input into memory
 * from `malloc` and calls the function with (address, length). The function returns address |
 * length << 32. husk_call_bytes() gives both buffers to `free`.
 *
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -O2 -g -c plugin.c
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -mexec-model=reactor \
 *       -Wl,--export=malloc,--export=free plugin.o -o plugin.wasm
 */
#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

static uint64_t string_result(const char *text, size_t bytes) {
    return (uint64_t)(uintptr_t)text | (uint64_t)bytes << 32;
}

EXPORT("shout") uint64_t shout(const char *text, size_t bytes) {
    char *loud = malloc(bytes + 1);
    if (loud == NULL)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        loud[i] = (char)toupper((unsigned char)text[i]);
    loud[bytes] = '!';
    return string_result(loud, bytes + 1);
}

EXPORT("reverse") uint64_t reverse(const char *text, size_t bytes) {
    char *turned = malloc(bytes + 1); /* never zero bytes */
    if (turned == NULL)
        return 0;
    for (size_t i = 0; i < bytes; i++)
        turned[i] = text[bytes - 1 - i];
    return string_result(turned, bytes);
}

/* What a plug-in with a bug does. The host gets an outcome, not a crash. */
EXPORT("crash") uint64_t crash(const char *text, size_t bytes) {
    (void)text;
    return *(volatile uint64_t *)(uintptr_t)(0xfffffff0u - (bytes & 1));
}

/* And one that never ends: the host's time limit ends it. */
EXPORT("spin") uint64_t spin(const char *text, size_t bytes) {
    (void)text;
    for (volatile size_t i = 0;; i += bytes)
        ;
}

/* And one that lies about its result. */
EXPORT("lie") uint64_t lie(const char *text, size_t bytes) {
    return string_result(text, bytes | 0x7fffffff);
}
