/*
 * The content hash of image files: its value, holes, the field that counts as zero, copies, and
 * files that are shorter than they were.
 */
#include "content_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "xxh3.h"

#define PIECE CONTENT_PIECE_BYTES
#define BYTES (3 * PIECE + 1000)
#define NO_FIELD (1ull << 40)

static uint8_t *pattern(size_t count) {
    uint8_t *bytes = malloc(count + 1);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251);
    return bytes;
}

static int file_of(const uint8_t *bytes, size_t count) {
    int fd = memfd_create("hashed", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, bytes, count) == (ssize_t)count);
    return fd;
}

static void total_of(int fd, uint64_t bytes, uint64_t field_offset,
                     uint8_t ret_total[CONTENT_HASH_BYTES]) {
    struct content_hash hash;
    CHECK_EQ_I64(content_hash_read(fd, bytes, &hash), 0);
    CHECK_EQ_I64(content_hash_total(&hash, fd, field_offset, ret_total), 0);
    content_hash_done(&hash);
    content_hash_done(&hash); /* twice is allowed */
}

static void bytes_total(const uint8_t *bytes, size_t count, uint64_t field_offset,
                        uint8_t ret_total[CONTENT_HASH_BYTES]) {
    int fd = file_of(bytes, count);
    total_of(fd, count, field_offset, ret_total);
    close(fd);
}

/* Made with xxhsum -H128 of Debian's xxhash 0.8.1: files in the wild have such hashes. */
TEST(values) {
    static const struct {
        size_t count;
        uint8_t total[CONTENT_HASH_BYTES];
    } known[] = {
        {0,
         {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8, 0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49,
          0x7f}},
        {1,
         {0xde, 0x68, 0x42, 0x9b, 0x8a, 0xfe, 0x28, 0xce, 0x97, 0xcd, 0xa3, 0x90, 0xd3, 0x8d, 0x6d,
          0x2b}},
        {PIECE,
         {0xaf, 0x45, 0xc2, 0xba, 0x6e, 0xc4, 0x60, 0x07, 0xfa, 0x1c, 0x2d, 0xc7, 0xe5, 0x89, 0xb5,
          0x3f}},
        {PIECE + 1,
         {0x2a, 0x6b, 0x67, 0xd4, 0x21, 0x89, 0x6c, 0x92, 0x4a, 0x5e, 0xdc, 0x34, 0xf6, 0xcf, 0x83,
          0x67}},
        {BYTES,
         {0x56, 0x0a, 0xe4, 0xbb, 0x73, 0xa7, 0xb9, 0xcd, 0xff, 0x3d, 0x5a, 0x71, 0xe9, 0x5a, 0xdf,
          0xc0}},
    };
    uint8_t *bytes = pattern(BYTES), total[CONTENT_HASH_BYTES];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        bytes_total(bytes, known[i].count, NO_FIELD, total);
        CHECK_MEM(total, known[i].total, sizeof total);
    }
    free(bytes);
}

/* With AVX2 and without: a file that one CPU made is read by another. */
TEST(all_cpus_agree) {
    uint8_t *bytes = pattern(BYTES), plain[XXH3_128_BYTES], wide[XXH3_128_BYTES];
    if (!__builtin_cpu_supports("avx2"))
        SKIP("this CPU has no AVX2");
    for (size_t count = 0; count < 4096; count += count < 1200 ? 1 : 61) {
        xxh3_128(bytes, count, plain); /* short ones: the plain code */
        xxh3_128_avx2(bytes, count, wide);
        CHECK_MEM(wide, plain, sizeof wide);
    }
    free(bytes);
}

TEST(every_byte_counts) {
    uint8_t *bytes = pattern(BYTES), before[CONTENT_HASH_BYTES], after[CONTENT_HASH_BYTES];
    bytes_total(bytes, BYTES, NO_FIELD, before);
    for (size_t at = 0; at < BYTES; at += at < PIECE - 64 ? 8191 : 4099) {
        bytes[at] ^= 1;
        bytes_total(bytes, BYTES, NO_FIELD, after);
        CHECK(memcmp(before, after, sizeof before) != 0);
        bytes[at] ^= 1;
    }
    bytes_total(bytes, BYTES - 1, NO_FIELD, after);
    CHECK(memcmp(before, after, sizeof before) != 0);
    bytes[BYTES] = 0; /* a zero more is another file */
    bytes_total(bytes, BYTES + 1, NO_FIELD, after);
    CHECK(memcmp(before, after, sizeof before) != 0);
    free(bytes);
}

/* Also where it lies in two pieces, or beyond the end in part. */
TEST(the_field_counts_as_zero) {
    static const uint64_t places[] = {0, 100, PIECE - 16, PIECE - 5, 3 * PIECE + 1, BYTES - 16};
    uint8_t *bytes = pattern(BYTES), zeroed[CONTENT_HASH_BYTES], total[CONTENT_HASH_BYTES];
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        uint8_t kept[CONTENT_HASH_BYTES];
        memcpy(kept, bytes + places[i], sizeof kept);
        memset(bytes + places[i], 0, sizeof kept);
        bytes_total(bytes, BYTES, NO_FIELD, zeroed);
        memset(bytes + places[i], 0x5a, sizeof kept);
        bytes_total(bytes, BYTES, places[i], total);
        CHECK_MEM(total, zeroed, sizeof total);
        bytes[places[i] + 16 == BYTES ? places[i] - 1 : places[i] + 16] ^= 1;
        bytes_total(bytes, BYTES, places[i], total);
        CHECK(memcmp(total, zeroed, sizeof total) != 0);
        bytes[places[i] + 16 == BYTES ? places[i] - 1 : places[i] + 16] ^= 1;
        memcpy(bytes + places[i], kept, sizeof kept);
    }
    free(bytes);
}

/* Parts of a file that is otherwise a hole: pages, and parts of pages, at the borders of pieces. */
static int sparse_file(uint8_t *bytes, size_t count) {
    static const struct {
        uint64_t at, bytes;
    } parts[] = {{2 * PIECE - 4096, 4097}, {5 * PIECE + 8192, 100}, {7 * PIECE, PIECE}};
    int fd = memfd_create("sparse", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)count) == 0);
    memset(bytes, 0, count);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memset(bytes + parts[i].at, (int)i + 1, parts[i].bytes);
        CHECK(pwrite(fd, bytes + parts[i].at, parts[i].bytes, (off_t)parts[i].at) ==
              (ssize_t)parts[i].bytes);
    }
    return fd;
}

static uint64_t spent_bytes(int fd) {
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

TEST(holes) {
    const size_t count = 12 * PIECE + 123;
    uint8_t *bytes = malloc(count), full[CONTENT_HASH_BYTES], total[CONTENT_HASH_BYTES];
    struct content_hash hash;
    CHECK(bytes != NULL);
    int fd = sparse_file(bytes, count), copy = memfd_create("copy", MFD_CLOEXEC);
    bytes_total(bytes, count, NO_FIELD, full);
    total_of(fd, count, NO_FIELD, total);
    CHECK_MEM(total, full, sizeof total);
    const uint64_t spent = spent_bytes(fd);
    CHECK(copy >= 0 && spent < 3 * PIECE);
    CHECK_EQ_I64(content_hash_copy(fd, copy, count, &hash), 0);
    CHECK(hash.has_holes);
    CHECK_EQ_I64(content_hash_total(&hash, copy, NO_FIELD, total), 0);
    CHECK_MEM(total, full, sizeof total);
    content_hash_done(&hash);
    CHECK_EQ_U64(spent_bytes(copy), spent);
    total_of(copy, count, NO_FIELD, total);
    CHECK_MEM(total, full, sizeof total);
    close(copy);
    close(fd);
    free(bytes);
}

TEST(copies) {
    uint8_t *bytes = pattern(BYTES), *read_back = malloc(BYTES), total[CONTENT_HASH_BYTES],
            expected[CONTENT_HASH_BYTES];
    struct content_hash hash;
    int fd = file_of(bytes, BYTES), copy = memfd_create("copy", MFD_CLOEXEC);
    CHECK(copy >= 0 && read_back != NULL);
    CHECK_EQ_I64(content_hash_copy(fd, copy, BYTES, &hash), 0);
    CHECK(!hash.has_holes);
    CHECK(pread(copy, read_back, BYTES, 0) == BYTES && lseek(copy, 0, SEEK_END) == BYTES);
    CHECK_MEM(read_back, bytes, BYTES);
    bytes_total(bytes, BYTES, 5, expected);
    CHECK_EQ_I64(content_hash_total(&hash, copy, 5, total), 0);
    CHECK_MEM(total, expected, sizeof total);
    content_hash_done(&hash);
    close(copy);
    close(fd);
    free(bytes);
    free(read_back);
}

/* A part that goes to memory: at, within and across the borders of pieces, and of the file. */
TEST(copies_with_a_part_apart) {
    static const uint64_t parts[][2] = {{0, BYTES},
                                        {0, 4096},
                                        {4096, 8192},
                                        {PIECE, 2 * PIECE},
                                        {PIECE - 4096, BYTES},
                                        {PIECE + 4096, BYTES - 1}};
    uint8_t *bytes = pattern(BYTES), *copied = malloc(BYTES), total[CONTENT_HASH_BYTES],
            expected[CONTENT_HASH_BYTES];
    bytes_total(bytes, BYTES, NO_FIELD, expected);
    int fd = file_of(bytes, BYTES);
    CHECK(copied != NULL);
    for (size_t i = 0; i < 2 * (sizeof parts / sizeof parts[0]); i++) {
        const uint64_t from = parts[i / 2][0], to = parts[i / 2][1];
        struct content_hash hash = {0};
        uint8_t *place = calloc(1, to - from);
        int copy = memfd_create("copy", MFD_CLOEXEC);
        CHECK(copy >= 0 && place != NULL);
        const struct content_part part = {place, from, to};
        CHECK_EQ_I64(content_hash_copy_apart(fd, copy, BYTES, &part, i % 2 == 0 ? &hash : NULL), 0);
        CHECK_MEM(place, bytes + from, to - from);
        CHECK(pread(copy, copied, BYTES, 0) == BYTES && lseek(copy, 0, SEEK_END) == BYTES);
        CHECK_MEM(copied, bytes, from);
        CHECK_MEM(copied + to, bytes + to, BYTES - to);
        if (i % 2 == 0) {
            memcpy(copied + from, place, to - from);
            CHECK(pwrite(copy, copied, BYTES, 0) == BYTES);
            CHECK_EQ_I64(content_hash_total(&hash, copy, NO_FIELD, total), 0);
            CHECK_MEM(total, expected, sizeof total);
        }
        CHECK(content_hash_copy_apart(fd, copy, BYTES + 1, &part, NULL) == -1 && errno == EIO);
        content_hash_done(&hash);
        close(copy);
        free(place);
    }
    close(fd);
    free(bytes);
    free(copied);
}

TEST(failures) {
    uint8_t *bytes = pattern(BYTES);
    struct content_hash hash = {.bytes = 77};
    int fd = file_of(bytes, BYTES), copy = memfd_create("copy", MFD_CLOEXEC);
    CHECK(copy >= 0);
    CHECK(content_hash_read(fd, BYTES + 1, &hash) == -1 && errno == EIO);
    CHECK(content_hash_copy(fd, copy, BYTES + 1, &hash) == -1 && errno == EIO);
    CHECK(content_hash_read(-1, BYTES, &hash) == -1 && errno == EBADF);
    CHECK(content_hash_copy(fd, -1, BYTES, &hash) == -1 && errno == EBADF);
    int unwritable = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK(content_hash_copy(fd, unwritable, BYTES, &hash) == -1);
    CHECK_EQ_U64(hash.bytes, 77); /* untouched */
    CHECK(hash.pieces == NULL);
    close(unwritable);
    CHECK_EQ_I64(content_hash_read(fd, 0, &hash), 0); /* nothing is a file, too */
    content_hash_done(&hash);
    close(copy);
    close(fd);
    free(bytes);
}

TEST_MAIN()
