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

#include "client.h"
#include "content_hash.h"
#include "image.h"
#include "layout.h"

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

static bool content_matches(int fd, uint64_t bytes, uint64_t hash_offset,
                            const uint8_t expected[CONTENT_HASH_BYTES]) {
    uint8_t total[CONTENT_HASH_BYTES];
    return content_hash_file(fd, bytes, hash_offset, total) == 0 &&
           memcmp(total, expected, sizeof total) == 0 && lseek(fd, 0, SEEK_SET) == 0;
}

bool image_is_of(int fd, const uint8_t wasm_sha256[32], struct husk_image_header *ret_header,
                 uint64_t *ret_offset) {
    struct husk_image_header header;
    uint64_t offset;
    if (!find_note(fd, &offset) || !read_at(fd, &header, sizeof header, offset))
        return false;
    if (header.magic != HUSK_IMAGE_MAGIC || header.format != HUSK_IMAGE_FORMAT ||
        header.abi != HUSK_ABI_VERSION || header.header_bytes < sizeof header ||
        memcmp(header.wasm_sha256, wasm_sha256, sizeof header.wasm_sha256) != 0)
        return false;
    *ret_header = header;
    *ret_offset = offset;
    return true;
}

bool image_verify(int fd, const uint8_t wasm_sha256[32]) {
    struct husk_image_header header;
    struct stat st;
    uint64_t offset;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size <= CLIENT_IMAGE_BYTES_MAX &&
           image_is_of(fd, wasm_sha256, &header, &offset) &&
           content_matches(fd, (uint64_t)st.st_size,
                           offset + offsetof(struct husk_image_header, content_hash),
                           header.content_hash);
}
