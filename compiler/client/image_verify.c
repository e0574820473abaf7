/*
 * compiler/client/image_verify.c: checks that a file from the cache is undamaged: format, module
 * and content hash. This protects against damage only. Libhusk trusts no image, whatever this check
 * says.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auto.h"
#include "client.h"
#include "image.h"
#include "layout.h"
#include "sha256.h"

#define HASH_PIECE_BYTES 262144

static bool read_at(int fd, void *bytes, size_t count, uint64_t offset) {
    return pread(fd, bytes, count, (off_t)offset) == (ssize_t)count;
}

/* Offset of the note's descriptor: the writer makes it the first program header. */
static bool find_note(int fd, uint64_t *ret_offset) {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    Elf64_Nhdr note;
    if (!read_at(fd, &header, sizeof header, 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
        header.e_phnum == 0 || !read_at(fd, &segment, sizeof segment, header.e_phoff) ||
        segment.p_type != PT_NOTE || !read_at(fd, &note, sizeof note, segment.p_offset) ||
        note.n_namesz != sizeof HUSK_NOTE_NAME || note.n_type != HUSK_NOTE_TYPE)
        return false;
    *ret_offset = segment.p_offset + sizeof note + ((sizeof HUSK_NOTE_NAME + 3) & ~3u);
    return true;
}

/* The hash is over the file with the hash's own bytes zero. */
static bool content_matches(int fd, uint64_t bytes, uint64_t hash_offset,
                            const uint8_t expected[SHA256_BYTES]) {
    auto_free uint8_t *piece = malloc(HASH_PIECE_BYTES);
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    if (piece == NULL)
        return false;
    sha256_init(&hash);
    for (uint64_t pos = 0; pos < bytes; pos += HASH_PIECE_BYTES) {
        uint64_t count = bytes - pos < HASH_PIECE_BYTES ? bytes - pos : HASH_PIECE_BYTES;
        if (!read_at(fd, piece, count, pos))
            return false;
        for (uint64_t i = 0; i < SHA256_BYTES; i++)
            if (hash_offset + i >= pos && hash_offset + i < pos + count)
                piece[hash_offset + i - pos] = 0;
        sha256_update(&hash, piece, count);
    }
    sha256_final(&hash, digest);
    return memcmp(digest, expected, sizeof digest) == 0;
}

bool image_verify(int fd, const uint8_t wasm_sha256[32]) {
    struct husk_image_header header;
    struct stat st;
    uint64_t offset;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size > CLIENT_IMAGE_BYTES_MAX || !find_note(fd, &offset) ||
        !read_at(fd, &header, sizeof header, offset))
        return false;
    if (header.magic != HUSK_IMAGE_MAGIC || header.format != HUSK_IMAGE_FORMAT ||
        header.abi != HUSK_ABI_VERSION ||
        memcmp(header.wasm_sha256, wasm_sha256, sizeof header.wasm_sha256) != 0)
        return false;
    return content_matches(fd, (uint64_t)st.st_size,
                           offset + offsetof(struct husk_image_header, content_sha256),
                           header.content_sha256);
}
