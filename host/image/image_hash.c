/*
 * host/image/image_hash.c: compares the contents of an image's file with the hash in its note. It
 * finds damage, not attacks (base/content_hash.h). Files of older versions have a SHA-256 instead.
 */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "image_internal.h"
#include "sha256.h"

static int is_damaged(struct husk_error *err) {
    return error_set(err, HUSK_E_BAD_IMAGE,
                     "the image's contents do not match its hash: the file was damaged or changed");
}

/* ---- files of older versions ---- */

static void hash_zeros(struct sha256 *hash, uint64_t count) {
    static const uint8_t zeros[65536];
    for (uint64_t part; count > 0; count -= part) {
        part = count < sizeof zeros ? count : sizeof zeros;
        sha256_update(hash, zeros, part);
    }
}

/* [from, to) of the file. A hole is not read: it would become memory. */
static void hash_range(struct sha256 *hash, const struct image_file *file, uint64_t from,
                       uint64_t to) {
    uint64_t data, data_end;
    for (; image_file_next_data(file, from, to, &data, &data_end); from = data_end) {
        hash_zeros(hash, data - from);
        sha256_update(hash, file->bytes + data, data_end - data);
    }
    hash_zeros(hash, to - from);
}

/* With the stage in its place: it has nothing of the note in it. */
static void hash_staged(struct sha256 *hash, const struct image_file *file, uint64_t from,
                        uint64_t to) {
    const struct image_file *stage = file->stage;
    if (stage != NULL && from <= stage->stage_offset && stage->stage_offset < to) {
        hash_range(hash, file, from, stage->stage_offset);
        sha256_update(hash, stage->bytes, stage->count);
        from = stage->stage_offset + stage->count;
    }
    hash_range(hash, file, from, to);
}

/* SHA-256 of the file with the hash's own field zero. */
static int check_sha256(const struct image_code *code, struct husk_error *err) {
    const uint64_t at = code->note_offset + offsetof(struct husk_image_header, content_sha256);
    uint8_t digest[SHA256_BYTES];
    struct sha256 hash;
    int status = image_check_hash_cost(code, err);
    if (status != 0)
        return status;
    sha256_init(&hash);
    hash_staged(&hash, code->file, 0, at);
    hash_zeros(&hash, sizeof digest);
    hash_staged(&hash, code->file, at + sizeof digest, code->file->count);
    sha256_final(&hash, digest);
    return memcmp(digest, code->header.content_sha256, sizeof digest) == 0 ? 0 : is_damaged(err);
}

/* ---- today's ---- */

/* The pieces were hashed when the file was copied, unless it was sealed already. */
static int check_content_hash(const struct image_code *code, struct husk_error *err) {
    const uint64_t at = code->note_offset + offsetof(struct husk_image_header, content_hash);
    const struct image_file *file = code->file;
    uint8_t total[CONTENT_HASH_BYTES];
    const int rc = file->hash.pieces != NULL ? content_hash_total(&file->hash, file->fd, at, total)
                                             : content_hash_file(file->fd, file->count, at, total);
    if (rc != 0)
        return error_sys(err, errno, "cannot read the image");
    return memcmp(total, code->header.content_hash, sizeof total) == 0 ? 0 : is_damaged(err);
}

int image_check_hash(const struct image_code *code, struct husk_error *err) {
    static const uint8_t none[CONTENT_HASH_BYTES];
    return memcmp(code->header.content_hash, none, sizeof none) != 0 ? check_content_hash(code, err)
                                                                     : check_sha256(code, err);
}
