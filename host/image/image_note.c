/*
 * host/image/image_note.c: the embedder's note in a snapshot: bytes that the library keeps and
 * does not read. It lies among the states of host functions (abi/image.h), under a name that no
 * family of functions has, so an older husk passes it over.
 */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "error.h"
#include "host_limits.h"
#include "image_internal.h"

#define NOTE_NAME "embedder's note"

static bool is_note(const struct image_state *state) {
    return state->name_bytes == strlen(NOTE_NAME) &&
           memcmp(state->name, NOTE_NAME, state->name_bytes) == 0;
}

static void append(struct buf *buf, const char *name, uint32_t name_bytes, const void *bytes,
                   uint32_t bytes_count) {
    const struct husk_image_host_state row = {.name_bytes = name_bytes, .state_bytes = bytes_count};
    buf_append(buf, &row, sizeof row);
    buf_append(buf, name, name_bytes);
    buf_align(buf, 8);
    buf_append(buf, bytes, bytes_count);
    buf_align(buf, 8);
}

int husk_image_set_note(husk_image *image, const void *bytes, size_t count,
                        struct husk_error *err) {
    struct image_state state;
    struct buf buf = {0};
    uint32_t at = 0;
    if (image == NULL || (bytes == NULL && count > 0))
        return error_set(err, HUSK_E_INVAL, "husk_image_set_note: a NULL argument");
    if (!image->is_snapshot || image->is_file)
        return error_set(err, HUSK_E_INVAL,
                         "only a snapshot that was taken in this process can get a note");
    if (count > LIMIT_IMAGE_NOTE_BYTES)
        return error_set(err, HUSK_E_LIMIT, "a note of %zu bytes; at most %u are possible", count,
                         LIMIT_IMAGE_NOTE_BYTES);
    while (image_state_next(image, &at, &state))
        if (!is_note(&state))
            append(&buf, state.name, state.name_bytes, state.state, state.state_bytes);
    if (count > 0)
        append(&buf, NOTE_NAME, (uint32_t)strlen(NOTE_NAME), bytes, (uint32_t)count);
    if (buf.failed) {
        buf_done(&buf);
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot's note");
    }
    free(image->own_host_state);
    image->own_host_state = buf.data;
    image->host_state = buf.data;
    image->host_state_count = (uint32_t)buf.count;
    return 0;
}

const void *husk_image_note(const husk_image *image, size_t *ret_count) {
    struct image_state state;
    uint32_t at = 0;
    while (image_state_next(image, &at, &state))
        if (is_note(&state)) {
            *ret_count = state.state_bytes;
            return state.state;
        }
    *ret_count = 0;
    return NULL;
}
