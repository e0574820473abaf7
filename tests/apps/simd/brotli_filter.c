/* tests/apps/simd/brotli_filter.c: "QUALITY" compresses standard input, "-d" decompresses it. */
#include <brotli/decode.h>
#include <brotli/encode.h>
#include <string.h>

#include "filter.h"

#define OUTPUT_MAX ((size_t)64 << 20)

int main(int argc, char **argv) {
    struct bytes input = filter_input();
    size_t count = OUTPUT_MAX;
    unsigned char *output = malloc(count);
    if (output == NULL)
        filter_fail("no memory");
    if (argc > 1 && strcmp(argv[1], "-d") == 0) {
        if (BrotliDecoderDecompress(input.count, input.data, &count, output) !=
            BROTLI_DECODER_RESULT_SUCCESS)
            filter_fail("not a brotli stream");
    } else if (!BrotliEncoderCompress(argc > 1 ? atoi(argv[1]) : 5, BROTLI_DEFAULT_WINDOW,
                                      BROTLI_MODE_GENERIC, input.count, input.data, &count,
                                      output)) {
        filter_fail("cannot compress");
    }
    filter_output(output, count);
    return 0;
}
