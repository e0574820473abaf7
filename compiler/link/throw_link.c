/* compiler/link/throw_link.c: frames and handlers → the guest's tables; see throw_link.h. */
#include "throw_link.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "exception.h"
#include "layout.h"
#include "types.h"

/* ---- rows and shapes ---- */

static int shape_order(const void *left, const void *right) {
    const struct unwind_frame *a = left, *b = right;
    return memcmp(&a->shape, &b->shape, sizeof a->shape);
}

static int place_order(const void *left, const void *right) {
    const struct unwind_frame *a = left, *b = right;
    return a->code_gva < b->code_gva ? -1 : a->code_gva > b->code_gva;
}

/* Programs have few different shapes: they are kept once. */
static void number_shapes(struct unwind_frame *frames, size_t count, struct buf *shapes) {
    qsort(frames, count, sizeof frames[0], shape_order);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || shape_order(&frames[i - 1], &frames[i]) != 0)
            buf_append(shapes, &frames[i].shape, sizeof frames[i].shape);
        frames[i].shape_idx = (uint32_t)(shapes->count / sizeof frames[i].shape) - 1;
    }
    qsort(frames, count, sizeof frames[0], place_order);
}

/* Rows and handlers ascend. */
static void mark_handlers(struct buf *rows_buf, const struct buf *handlers_buf) {
    struct throw_row *rows = (struct throw_row *)(void *)rows_buf->data;
    const size_t count = rows_buf->count / sizeof rows[0];
    const struct throw_handler *handler =
        (const struct throw_handler *)(const void *)handlers_buf->data;
    const struct throw_handler *end = handler + handlers_buf->count / sizeof *handler;
    for (size_t i = 0; i < count; i++) {
        const uint32_t row_end = i + 1 < count ? rows[i + 1].code_gva : UINT32_MAX;
        while (handler < end && handler->end <= rows[i].code_gva)
            handler++;
        if (handler < end && handler->start < row_end)
            rows[i].shape |= THROW_HAS_HANDLERS;
    }
}

static void make_rows(const struct unwind_tables *unwind, struct throw_image *image) {
    struct unwind_frame *frames = (struct unwind_frame *)(void *)unwind->frames.data;
    const size_t count = unwind->frames.count / sizeof frames[0];
    number_shapes(frames, count, &image->shapes);
    for (size_t i = 0; i < count; i++) {
        const struct throw_row row = {frames[i].code_gva, frames[i].shape_idx};
        buf_append(&image->rows, &row, sizeof row);
    }
    if (!image->rows.failed)
        mark_handlers(&image->rows, &image->lsda.handlers);
}

/* ---- where references may be ---- */

static void add_root(struct throw_image *image, uint64_t first, uint64_t count_at, uint64_t count) {
    const struct throw_root root = {.first = first, .count_at = count_at, .count = count};
    buf_append(&image->roots, &root, sizeof root);
}

static bool is_exnref(valtype_t type) {
    return wasm_abi_type(NULL, type) == WASM_EXNREF;
}

/* Globals, tables, segments of elements, and arguments and results on their way to or from the
 * host. */
static void make_roots(const struct plan *plan, struct throw_image *image) {
    const struct program *program = plan->program;
    for (uint32_t i = 0; i < program->globals_count; i++)
        if (is_exnref(program_global(program, i)->type))
            add_root(image, plan->global_gva[i], 0, 1);
    for (uint32_t i = 0; i < program->tables_count; i++)
        if (is_exnref(program_table(program, i)->elem_type))
            add_root(image, plan->tables[i].base_gva, plan->tables[i].size_gva, 0);
    for (uint32_t i = 0; i < program->elems_count; i++)
        if (is_exnref(program_elem(program, i)->elem_type))
            add_root(image, plan->elems[i].base_gva, plan->elems[i].size_gva, 0);
    add_root(image, HUSK_MAILBOX_GVA + HUSK_MBOX_CALL_SLOTS, 0,
             (HUSK_MBOX_EXCHANGE - HUSK_MBOX_CALL_SLOTS) / 8);
}

static void make_tag_values(const struct program *program, struct buf *tag_values) {
    for (uint32_t i = 0; i < program->tags_count; i++) {
        const uint32_t count = program_tag_type(program, i)->params_count;
        buf_append(tag_values, &count, sizeof count);
    }
}

int throw_image_make(const struct plan *plan, const struct unwind_tables *unwind,
                     struct throw_image *image, struct husk_error *err) {
    if (unwind->frames.count == 0)
        return error_set(err, HUSK_E_COMPILER, "code with exceptions has no call frames");
    make_rows(unwind, image);
    if (plan->exception_slots_gva != 0)
        make_roots(plan, image);
    make_tag_values(plan->program, &image->tag_values);
    if (image->rows.failed || image->shapes.failed || image->roots.failed ||
        image->tag_values.failed)
        return error_set(err, HUSK_E_NOMEM, "no memory for the tables of exceptions");
    return 0;
}

/* ---- the bytes ---- */

enum {
    PART_TABLES,
    PART_ROWS,
    PART_SHAPES,
    PART_HANDLERS,
    PART_CLAUSES,
    PART_ROOTS,
    PART_TAGS,
    PARTS_COUNT
};

struct part {
    const void *data;
    uint64_t bytes, offset;
};

static uint64_t lay_out(const struct throw_image *image, struct part parts[PARTS_COUNT]) {
    const struct buf *bufs[PARTS_COUNT] = {NULL,
                                           &image->rows,
                                           &image->shapes,
                                           &image->lsda.handlers,
                                           &image->lsda.clauses,
                                           &image->roots,
                                           &image->tag_values};
    uint64_t end = sizeof(struct throw_tables);
    parts[PART_TABLES] = (struct part){.bytes = end};
    for (int i = 1; i < PARTS_COUNT; i++) {
        parts[i] = (struct part){bufs[i]->data, bufs[i]->count, (end + 7) & ~(uint64_t)7};
        end = parts[i].offset + parts[i].bytes;
    }
    return end;
}

uint64_t throw_image_bytes(const struct throw_image *image) {
    struct part parts[PARTS_COUNT];
    return lay_out(image, parts);
}

void throw_image_write(const struct plan *plan, const struct throw_image *image, uint64_t gva,
                       uint8_t *ret_bytes) {
    struct part parts[PARTS_COUNT];
    lay_out(image, parts);
    const struct throw_tables tables = {
        .pending = plan->exception_gva,
        .slots = plan->exception_slots_gva,
        .slot_bytes =
            sizeof(struct husk_exception) + (uint64_t)plan->exception_values * HUSK_SLOT_BYTES,
        .stack_top = HUSK_STACK_TOP_GVA,
        .rows = gva + parts[PART_ROWS].offset,
        .rows_count = parts[PART_ROWS].bytes / sizeof(struct throw_row),
        .shapes = gva + parts[PART_SHAPES].offset,
        .handlers = gva + parts[PART_HANDLERS].offset,
        .handlers_count = parts[PART_HANDLERS].bytes / sizeof(struct throw_handler),
        .clauses = gva + parts[PART_CLAUSES].offset,
        .roots = gva + parts[PART_ROOTS].offset,
        .roots_count = parts[PART_ROOTS].bytes / sizeof(struct throw_root),
        .tag_values = gva + parts[PART_TAGS].offset};
    memcpy(ret_bytes, &tables, sizeof tables);
    for (int i = 1; i < PARTS_COUNT; i++)
        if (parts[i].bytes > 0)
            memcpy(ret_bytes + parts[i].offset, parts[i].data, parts[i].bytes);
}

void throw_image_done(struct throw_image *image) {
    buf_done(&image->rows);
    buf_done(&image->shapes);
    buf_done(&image->roots);
    buf_done(&image->tag_values);
    lsda_done(&image->lsda);
}
