/*
 * host/image/image_places.c: the rows of the note that say what an address of the code is: function
 * and wasm offset, the caller's frame, inlined calls, source lines. Traps and backtraces look for a
 * few of them, and a large file has millions. So a row is checked where it is used, not when the
 * image is opened.
 *
 * Each function copies the row and checks the copy. A search in rows that are out of order ends,
 * too, with a row whose place is at or below the address and followed by one above: such rows
 * mislead only those who read the backtrace. image_check_rows() checks all of them.
 */
#include <string.h>

#include "error.h"
#include "image_check.h"
#include "image_internal.h"
#include "rows.h"

/* ---- one row, a copy: is it possible? ---- */

static int check_code_row(const struct image_code *code, const struct husk_image_code_row *row,
                          uint64_t idx, struct husk_error *err) {
    if (row->func_idx < HUSK_FUNC_RUNTIME && row->func_idx >= code->funcs_count)
        return image_bad_row(err, "code row", idx, "no such function");
    return 0;
}

static int check_inlined_row(const struct image_code *code,
                             const struct husk_image_inlined_row *row, uint64_t idx,
                             struct husk_error *err) {
    if (row->call > code->inlined_calls_count)
        return image_bad_row(err, "inlined row", idx, "no such call");
    return 0;
}

/* A call in another one has a greater index, so chains end. */
static int check_inlined_call(const struct image_code *code,
                              const struct husk_image_inlined_call *call, uint64_t idx,
                              struct husk_error *err) {
    if (call->func_idx >= code->funcs_count)
        return image_bad_row(err, "inlined call", idx, "no such function");
    if (call->outer > idx)
        return image_bad_row(err, "inlined call", idx, "its outer call does not come before it");
    return 0;
}

static int check_line_row(const struct image_code *code, const struct husk_image_line_row *row,
                          uint64_t idx, struct husk_error *err) {
    if (row->file_idx != UINT32_MAX && row->file_idx >= code->files_count)
        return image_bad_row(err, "line row", idx, "no such file");
    return 0;
}

/* ---- searching ---- */

/* Copies the last row with this key or a smaller one. False: there is none. HUSK_E_BAD_IMAGE: its
 * neighbour says that the rows do not ascend. */
static int find(const struct rows *rows, const char *array, uint64_t key, void *ret_row,
                uint32_t *ret_idx, struct husk_error *err) {
    const uint32_t count = rows_up_to(rows, key);
    uint32_t before = 0, own = 0;
    *ret_idx = count - 1;
    if (count == 0)
        return 0;
    const uint8_t *row = (const uint8_t *)rows->first + (size_t)(count - 1) * rows->row_bytes;
    memcpy(ret_row, row, rows->row_bytes);
    memcpy(&own, (const uint8_t *)ret_row + rows->key_offset, sizeof own);
    if (count > 1)
        memcpy(&before, row - rows->row_bytes + rows->key_offset, sizeof before);
    return before <= own && own <= key ? 0 : image_bad_row(err, array, count - 1, "out of order");
}

int image_code_row(const struct image_code *code, uint64_t code_gva,
                   struct husk_image_code_row *ret_row, struct husk_error *err) {
    uint32_t idx;
    *ret_row = (struct husk_image_code_row){.func_idx = HUSK_FUNC_NONE};
    int status = find(ROWS(code->code_rows, code->code_rows_count, code_gva), "code row", code_gva,
                      ret_row, &idx, err);
    return status != 0 ? status : check_code_row(code, ret_row, idx, err);
}

int image_unwind_row(const struct image_code *code, uint64_t code_gva,
                     struct husk_image_unwind_x86_64 *ret_row, struct husk_error *err) {
    uint32_t idx;
    *ret_row = (struct husk_image_unwind_x86_64){0};
    return find(ROWS(code->unwind_rows, code->unwind_rows_count, code_gva), "unwind row", code_gva,
                ret_row, &idx, err);
}

int image_inlined_row(const struct image_code *code, uint64_t code_gva,
                      struct husk_image_inlined_row *ret_row, struct husk_error *err) {
    uint32_t idx;
    *ret_row = (struct husk_image_inlined_row){0};
    int status = find(ROWS(code->inlined_rows, code->inlined_rows_count, code_gva), "inlined row",
                      code_gva, ret_row, &idx, err);
    return status != 0 ? status : check_inlined_row(code, ret_row, idx, err);
}

int image_inlined_call(const struct image_code *code, uint32_t idx,
                       struct husk_image_inlined_call *ret_call, struct husk_error *err) {
    memcpy(ret_call, &code->inlined_calls[idx], sizeof *ret_call);
    return check_inlined_call(code, ret_call, idx, err);
}

int image_line_row(const struct image_code *code, uint64_t wasm_offset,
                   struct husk_image_line_row *ret_row, struct husk_error *err) {
    uint32_t idx;
    *ret_row = (struct husk_image_line_row){.file_idx = UINT32_MAX};
    int status = find(ROWS(code->lines, code->lines_count, wasm_offset), "line row", wasm_offset,
                      ret_row, &idx, err);
    return status != 0 ? status : check_line_row(code, ret_row, idx, err);
}

/* ---- all of them ---- */

static int check_code_rows(const struct image_code *code, struct husk_error *err) {
    uint64_t last = 0;
    int status = 0;
    for (uint32_t i = 0; i < code->code_rows_count && status == 0; i++) {
        const struct husk_image_code_row row = code->code_rows[i];
        status = row.code_gva < last ? image_bad_row(err, "code row", i, "out of order")
                                     : check_code_row(code, &row, i, err);
        last = row.code_gva;
    }
    last = 0;
    for (uint32_t i = 0; i < code->unwind_rows_count && status == 0; i++) {
        const uint64_t code_gva = code->unwind_rows[i].code_gva;
        if (code_gva < last)
            status = image_bad_row(err, "unwind row", i, "out of order");
        last = code_gva;
    }
    return status;
}

static int check_inlined(const struct image_code *code, struct husk_error *err) {
    uint64_t last = 0;
    int status = 0;
    for (uint32_t i = 0; i < code->inlined_rows_count && status == 0; i++) {
        const struct husk_image_inlined_row row = code->inlined_rows[i];
        status = row.code_gva < last ? image_bad_row(err, "inlined row", i, "out of order")
                                     : check_inlined_row(code, &row, i, err);
        last = row.code_gva;
    }
    for (uint32_t i = 0; i < code->inlined_calls_count && status == 0; i++) {
        const struct husk_image_inlined_call call = code->inlined_calls[i];
        status = check_inlined_call(code, &call, i, err);
    }
    return status;
}

static int check_lines(const struct image_code *code, struct husk_error *err) {
    uint64_t last = 0;
    int status = 0;
    for (uint32_t i = 0; i < code->lines_count && status == 0; i++) {
        const struct husk_image_line_row row = code->lines[i];
        status = row.wasm_offset < last ? image_bad_row(err, "line row", i, "out of order")
                                        : check_line_row(code, &row, i, err);
        last = row.wasm_offset;
    }
    return status;
}

int image_check_rows(const struct image_code *code, struct husk_error *err) {
    int status = check_code_rows(code, err);
    if (status == 0)
        status = check_inlined(code, err);
    return status != 0 ? status : check_lines(code, err);
}
