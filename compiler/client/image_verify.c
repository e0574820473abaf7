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

static bool read_header(int fd, struct husk_image_header *ret_header, uint64_t *ret_offset) {
    struct husk_image_header header;
    uint64_t offset;
    if (!find_note(fd, &offset) || !read_at(fd, &header, sizeof header, offset) ||
        header.magic != HUSK_IMAGE_MAGIC || header.format != HUSK_IMAGE_FORMAT ||
        header.abi != HUSK_ABI_VERSION || header.header_bytes < sizeof header)
        return false;
    *ret_header = header;
    *ret_offset = offset;
    return true;
}

bool image_is_of(int fd, const uint8_t wasm_sha256[32], struct husk_image_header *ret_header,
                 uint64_t *ret_offset) {
    struct husk_image_header header;
    uint64_t offset;
    if (!read_header(fd, &header, &offset) ||
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

/* ---- What an image says of itself ---- */

struct note {
    int fd;
    uint64_t start; /* of the descriptor */
    struct husk_image_header header;
};

#define RECORDS_MAX 64 /* far more than there are (abi/image_records.def) */

static bool find_record(const struct note *note, const char *name,
                        struct husk_image_record *ret_record) {
    const uint32_t count = note->header.records_count, row_bytes = note->header.record_bytes;
    struct husk_image_record record;
    if (row_bytes < sizeof record)
        return false;
    for (uint32_t i = 0; i < count && i < RECORDS_MAX; i++) {
        const uint64_t offset = note->start + note->header.header_bytes + (uint64_t)i * row_bytes;
        if (!read_at(note->fd, &record, sizeof record, offset))
            return false;
        if (strncmp(record.name, name, sizeof record.name) == 0) {
            *ret_record = record;
            return record.offset <= CLIENT_IMAGE_BYTES_MAX;
        }
    }
    return false;
}

/* As much as there is room for, and nothing if that is not in the file. */
static void read_text(const struct note *note, const struct husk_image_record *strings,
                      struct husk_image_str text, char *out, size_t out_bytes) {
    const size_t bytes = text.bytes < out_bytes ? text.bytes : out_bytes - 1;
    memset(out, 0, out_bytes);
    if (text.offset > strings->count || bytes > strings->count - text.offset ||
        !read_at(note->fd, out, bytes, note->start + strings->offset + text.offset))
        out[0] = '\0';
}

bool image_summarize(int fd, struct image_summary *ret_summary) {
    struct note note = {.fd = fd};
    struct husk_image_record record, strings;
    struct husk_image_module module = {0};
    struct image_summary summary;
    if (!read_header(fd, &note.header, &note.start) || !find_record(&note, "module", &record) ||
        !find_record(&note, "strings", &strings) || record.count != 1)
        return false;
    const size_t bytes = record.row_bytes < sizeof module ? record.row_bytes : sizeof module;
    if (!read_at(fd, &module, bytes, note.start + record.offset) || module.opt_level > 3)
        return false;
    memcpy(summary.wasm_sha256, note.header.wasm_sha256, sizeof summary.wasm_sha256);
    read_text(&note, &strings, module.compiler, summary.compiler, sizeof summary.compiler);
    read_text(&note, &strings, module.target_cpu, summary.target_cpu, sizeof summary.target_cpu);
    read_text(&note, &strings, module.name, summary.module_name, sizeof summary.module_name);
    summary.opt_level = (int)module.opt_level;
    summary.is_strict = (module.flags & HUSK_IMAGE_STRICT) != 0;
    *ret_summary = summary;
    return true;
}
