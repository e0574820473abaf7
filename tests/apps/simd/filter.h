/*
 * tests/apps/simd/filter.h: for programs that read all of their standard input and write a result.
 * They are built twice from the same sources, as wasm with SIMD and natively, and must write the
 * same bytes.
 */
#ifndef FILTER_H
#define FILTER_H

#include <stdio.h>
#include <stdlib.h>

struct bytes {
    unsigned char *data;
    size_t count;
};

static inline void filter_fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static inline struct bytes filter_input(void) {
    struct bytes input = {NULL, 0};
    size_t cap = 0;
    for (;;) {
        if (input.count == cap) {
            cap = cap == 0 ? 65536 : cap * 2;
            input.data = (unsigned char *)realloc(input.data, cap);
            if (input.data == NULL)
                filter_fail("no memory");
        }
        size_t got = fread(input.data + input.count, 1, cap - input.count, stdin);
        if (got == 0)
            return input;
        input.count += got;
    }
}

static inline void filter_output(const void *data, size_t count) {
    if (fwrite(data, 1, count, stdout) != count || fflush(stdout) != 0)
        filter_fail("cannot write");
}

#endif
