/* bench/programs/brotli.c: Brotli at a fast and a middle level; see filter.h. */
#include "filter.h"

#include <brotli/decode.h>
#include <brotli/encode.h>

size_t filter_bound(size_t count) {
    return BrotliEncoderMaxCompressedSize(count);
}

size_t filter_pack(int level, struct bytes from, struct bytes to) {
    size_t count = to.count;
    if (!BrotliEncoderCompress(level, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC, from.count,
                               from.at, &count, to.at))
        return 0;
    return count;
}

size_t filter_unpack(struct bytes from, struct bytes to) {
    size_t count = to.count;
    if (BrotliDecoderDecompress(from.count, from.at, &count, to.at) !=
        BROTLI_DECODER_RESULT_SUCCESS)
        return 0;
    return count;
}

int main(int argc, char **argv) {
    static const int levels[] = {1, 5};
    return filter_main(argc, argv, levels, sizeof levels / sizeof levels[0]);
}
