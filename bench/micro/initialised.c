/*
 * bench/micro/initialised.c: a module with 1 MiB of initialised memory. A call writes a few pages
 * of it.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
enum { PAGE_WORDS = 1024, WORDS = 1 << 18 };

static uint32_t words[WORDS] = {[0 ... WORDS - 1] = 0x6b737548};

EXPORT(empty) void empty(void);
void empty(void) {
}

EXPORT(touch) void touch(int32_t count, int32_t stride);
void touch(int32_t count, int32_t stride) {
    for (int32_t i = 0; i < count; i++)
        *(volatile uint32_t *)&words[(uint32_t)(i * stride) * PAGE_WORDS % WORDS] += 1;
}
