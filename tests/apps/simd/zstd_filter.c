/* tests/apps/simd/zstd_filter.c: "LEVEL" compresses standard input, "-d" decompresses it. */
#include <stdbool.h>
#include <string.h>

#include "filter.h"
#include "zstd.h"

int main(int argc, char **argv) {
    struct bytes input = filter_input();
    bool decompresses = argc > 1 && strcmp(argv[1], "-d") == 0;
    unsigned long long cap = decompresses ? ZSTD_getFrameContentSize(input.data, input.count)
                                          : ZSTD_compressBound(input.count);
    if (cap > 1u << 30)
        filter_fail("not a frame with a size");
    void *output = malloc(cap + 1);
    size_t count = decompresses ? ZSTD_decompress(output, cap, input.data, input.count)
                                : ZSTD_compress(output, cap, input.data, input.count,
                                                argc > 1 ? atoi(argv[1]) : 3);
    if (ZSTD_isError(count))
        filter_fail(ZSTD_getErrorName(count));
    filter_output(output, count);
    return 0;
}
