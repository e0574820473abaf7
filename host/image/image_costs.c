/*
 * host/image/image_costs.c: limits an image's cost to the host beyond the size of its file. A file
 * may have holes, and segments may have more memory than bytes: both claim large sizes without
 * content. Memory and time are bounded by the bytes in the file, by a limit of the embedder, or by
 * a limit here.
 */
#include <errno.h>
#include <unistd.h>

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "layout.h"

bool image_file_next_data(const struct image_file *file, uint64_t from, uint64_t to,
                          uint64_t *ret_from, uint64_t *ret_to) {
    if (from >= to)
        return false;
    if (file->has_no_holes) { /* the search for one would look at every page */
        *ret_from = from;
        *ret_to = to;
        return true;
    }
    off_t data = lseek(file->fd, (off_t)from, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return false;
    *ret_from = data < 0 ? from : (uint64_t)data; /* a file system without SEEK_DATA: all is data */
    off_t hole = data < 0 ? -1 : lseek(file->fd, data, SEEK_HOLE);
    *ret_to = hole < 0 || (uint64_t)hole > to ? to : (uint64_t)hole;
    return *ret_from < to;
}

bool image_next_mapped(const struct image_file *file, uint64_t from, uint64_t to,
                       uint64_t *ret_from, uint64_t *ret_to) {
    if (file->hole_bytes > LIMIT_FEW_HOLE_BYTES || from >= to)
        return image_file_next_data(file, from, to, ret_from, ret_to);
    *ret_from = from;
    *ret_to = to;
    return true;
}

uint64_t image_file_data_bytes(const struct image_file *file, uint64_t from, uint64_t to) {
    const uint64_t at = from;
    uint64_t total = 0, data, data_end;
    for (; image_file_next_data(file, from, to, &data, &data_end); from = data_end)
        total += data_end - data;
    /* it is a hole of this file, unless nobody looks for any */
    const struct image_file *stage = file->has_no_holes ? NULL : file->stage;
    if (stage != NULL && at <= stage->stage_offset && stage->stage_offset < to)
        total += stage->stage_data_bytes;
    return total;
}

/* Every row of the note is read, and the note stays mapped: its holes would become memory. */
int image_check_note_holes(const struct image_code *code, uint64_t offset, uint64_t bytes,
                           struct husk_error *err) {
    if (code->file->hole_bytes <= LIMIT_NOTE_HOLE_BYTES)
        return 0;
    const uint64_t holes = bytes - image_file_data_bytes(code->file, offset, offset + bytes);
    if (holes <= LIMIT_NOTE_HOLE_BYTES)
        return 0;
    return error_at(
        err, HUSK_E_BAD_IMAGE, offset,
        "%llu bytes of the note are a hole of the file: no image has so many zeros there",
        (unsigned long long)holes);
}

int image_check_hash_cost(const struct image_code *code, struct husk_error *err) {
    const struct image_file *file = code->file;
    const uint64_t data = image_file_data_bytes(file, 0, file->count), holes = file->count - data;
    const uint64_t pages = data / HUSK_PAGE_SIZE + 1;
    if (holes <= LIMIT_HASHED_HOLE_BYTES + pages * LIMIT_HASHED_HOLE_BYTES_PER_PAGE)
        return 0;
    return error_set(err, HUSK_E_BAD_IMAGE,
                     "the file has %llu bytes, and holes of %llu: that is more than any image has, "
                     "and its hash is not computed (what is not verified can be opened)",
                     (unsigned long long)data, (unsigned long long)holes);
}

/* Pages of zeros of the data segments: a guest that writes to them makes each sandbox spend so
 * much. */
static uint64_t data_zero_bytes(const struct image_code *code) {
    uint64_t zeros = 0;
    for (uint32_t i = 0; i < code->data_segments_count; i++) {
        const struct image_segment *segment = &code->segments[i];
        zeros +=
            segment->mem_bytes - image_file_data_bytes(code->file, segment->file_offset,
                                                       segment->file_offset + segment->file_bytes);
    }
    return zeros;
}

/* Of the image's exception slots, which start as zeros. */
static uint64_t exception_slot_bytes(const struct image_code *code) {
    if (code->module.exception_slots_gva == 0)
        return 0;
    const uint64_t bytes = image_exception_slot_bytes(code);
    return bytes < LIMIT_EXCEPTION_SLOT_BYTES ? bytes : LIMIT_EXCEPTION_SLOT_BYTES;
}

/* Table entries have a limit of their own; a global or a size word is less than its row in the
 * note. For what the compiler has there besides (which segments were dropped, element segments, the
 * rest of a page) as much again as the file has is enough. */
uint64_t image_data_excess(const struct image_code *code) {
    const uint64_t words = code->memories_count + (uint64_t)code->tables_count;
    uint64_t expected = 16ull * code->globals_count + 8 * words + LIMIT_DATA_SLACK_BYTES;
    for (uint32_t i = 0; i < code->tables_count; i++)
        expected += 8 * code->table_sizes[i];
    expected += exception_slot_bytes(code);
    const uint64_t zeros = data_zero_bytes(code);
    if (zeros > expected) /* seldom: it looks at all of the file */
        expected += image_file_data_bytes(code->file, 0, code->file->count);
    return zeros > expected ? zeros - expected : 0;
}
