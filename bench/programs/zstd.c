/* bench/programs/zstd.c: zstd at a fast, the usual and a slow level; see filter.h. */
#include "filter.h"

#include <zstd.h>

size_t filter_bound(size_t count) {
    return ZSTD_compressBound(count);
}

size_t filter_pack(int level, struct bytes from, struct bytes to) {
    size_t count = ZSTD_compress(to.at, to.count, from.at, from.count, level);
    return ZSTD_isError(count) ? 0 : count;
}

size_t filter_unpack(struct bytes from, struct bytes to) {
    size_t count = ZSTD_decompress(to.at, to.count, from.at, from.count);
    return ZSTD_isError(count) ? 0 : count;
}

int main(int argc, char **argv) {
    static const int levels[] = {1, 3, 9};
    return filter_main(argc, argv, levels, sizeof levels / sizeof levels[0]);
}
