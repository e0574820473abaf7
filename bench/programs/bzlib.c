/* bench/programs/bzlib.c: bzip2's library at its usual level; see filter.h. */
#include "filter.h"

#include <bzlib.h>

size_t filter_bound(size_t count) {
    return count + count / 100 + 600;
}

size_t filter_pack(int level, struct bytes from, struct bytes to) {
    unsigned count = (unsigned)to.count;
    int status = BZ2_bzBuffToBuffCompress((char *)to.at, &count, (char *)from.at,
                                          (unsigned)from.count, level, 0, 0);
    return status == BZ_OK ? count : 0;
}

size_t filter_unpack(struct bytes from, struct bytes to) {
    unsigned count = (unsigned)to.count;
    int status = BZ2_bzBuffToBuffDecompress((char *)to.at, &count, (char *)from.at,
                                            (unsigned)from.count, 0, 0);
    return status == BZ_OK ? count : 0;
}

int main(int argc, char **argv) {
    static const int levels[] = {9};
    return filter_main(argc, argv, levels, sizeof levels / sizeof levels[0]);
}
