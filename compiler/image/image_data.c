/*
 * compiler/image/image_data.c: makes the initial state of an instance. It applies everything that
 * the plan calls static, in the order of the standard (core specification 2.0, section 4.5.4). See
 * image_write.h.
 */
#include "image_write.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "layout.h"

/* Zero ranges up to this size are written out rather than given a segment of their own. More if a
 * memory would get more segments than this: then its file has holes. */
#define RANGE_GAP_BYTES (64u << 10)
#define RANGES_MAX 1024

struct data_writer {
    const struct image_input *input;
    struct image_data data;
    struct husk_error *err;
};

static void put(struct data_writer *writer, uint32_t gva, const void *bytes, size_t count) {
    memcpy(writer->data.bytes + (gva - HUSK_DATA_GVA), bytes, count);
}

/* Zero is what is there already: not touching it keeps the pages of big empty tables unmade. */
static void put_u64(struct data_writer *writer, uint32_t gva, uint64_t value) {
    if (value != 0)
        put(writer, gva, &value, sizeof value);
}

static int funcref(const struct data_writer *writer, uint32_t func_idx, uint64_t *ret_value) {
    uint32_t code_gva = writer->input->linked->func_gva[func_idx];
    if (code_gva == 0)
        return error_set(writer->err, HUSK_E_COMPILER,
                         "function %u is referred to but was not generated", func_idx);
    uint64_t type_id =
        program_type_id(program_func_type_idx(writer->input->plan->program, func_idx));
    *ret_value = type_id << 32 | code_gva;
    return 0;
}

static int put_globals(struct data_writer *writer) {
    const struct plan *plan = writer->input->plan;
    const struct program *program = plan->program;
    for (uint32_t i = 0; i < program->globals_count; i++) {
        const struct program_instance *instance = program_instance(program, program->globals[i]);
        struct plan_const value;
        if (!plan->global_is_static[i])
            continue;
        if (!plan_const_eval(plan, instance, program_global(program, i)->init, &value))
            return error_set(writer->err, HUSK_E_COMPILER, "global %u lost its value", i);
        if (value.is_func) {
            int status = funcref(writer, value.func_idx, &value.bits);
            if (status != 0)
                return status;
        }
        if (value.type == WASM_V128)
            put(writer, plan->global_gva[i], value.v128, sizeof value.v128);
        else
            put_u64(writer, plan->global_gva[i], value.bits);
    }
    return 0;
}

static void put_memory_size(struct data_writer *writer, uint32_t memory_idx) {
    const struct plan *plan = writer->input->plan;
    const struct wasm_memory *memory = program_memory(plan->program, memory_idx);
    put_u64(writer, plan->mem_size_gva[memory_idx], wasm_memory_chunks(memory, memory->limits.min));
    if (memory->has_byte_pages)
        put_u64(writer, plan->mem_bytes_gva[memory_idx],
                wasm_memory_bytes(memory, memory->limits.min));
}

static void put_sizes(struct data_writer *writer) {
    const struct plan *plan = writer->input->plan;
    const struct program *program = plan->program;
    for (uint32_t i = 0; i < program->memories_count; i++)
        put_memory_size(writer, i);
    for (uint32_t i = 0; i < program->tables_count; i++)
        put_u64(writer, plan->tables[i].size_gva, program_table(program, i)->limits.min);
    for (uint32_t i = 0; i < program->elems_count; i++) {
        const struct wasm_elem *elem = program_elem(program, i);
        enum wasm_segment_mode mode = elem->mode;
        bool is_there = mode == WASM_SEGMENT_PASSIVE ||
                        (mode == WASM_SEGMENT_ACTIVE && !plan->elems[i].is_static);
        put_u64(writer, plan->elems[i].size_gva, is_there ? elem->count : 0);
    }
    for (uint32_t i = 0; i < program->datas_count; i++)
        put_u64(writer, plan->datas[i].size_gva,
                plan->datas[i].has_symbol ? program_data(program, i)->bytes.count : 0);
}

/* The elements of a segment, all known, to an array of uint64_t. */
static int put_elems(struct data_writer *writer, const struct program_instance *instance,
                     const struct wasm_elem *elem, uint32_t gva) {
    for (uint32_t i = 0; i < elem->count; i++) {
        struct plan_const value = {.is_func = true};
        if (elem->func_idxs != NULL)
            value.func_idx = instance->funcs[elem->func_idxs[i]];
        else if (!plan_const_eval(writer->input->plan, instance, elem->exprs[i], &value))
            return error_set(writer->err, HUSK_E_COMPILER, "an element segment lost its value");
        uint64_t bits = 0; /* what is not a function is null here */
        if (value.is_func) {
            int status = funcref(writer, value.func_idx, &bits);
            if (status != 0)
                return status;
        }
        put(writer, gva + 8 * i, &bits, sizeof bits);
    }
    return 0;
}

static int put_segments(struct data_writer *writer) {
    const struct plan *plan = writer->input->plan;
    const struct program *program = plan->program;
    for (uint32_t i = 0; i < program->elems_count; i++) {
        const struct program_instance *instance = program_instance(program, program->elems[i]);
        const struct wasm_elem *elem = program_elem(program, i);
        if (!plan->elems[i].is_static || elem->mode == WASM_SEGMENT_DECLARATIVE || elem->count == 0)
            continue;
        uint32_t gva = plan->elems[i].base_gva;
        if (elem->mode == WASM_SEGMENT_ACTIVE) {
            struct plan_const offset;
            if (!plan_const_eval(plan, instance, elem->offset, &offset))
                return error_set(writer->err, HUSK_E_COMPILER,
                                 "an element segment lost its offset");
            gva = plan->tables[instance->tables[elem->table_idx]].base_gva +
                  8 * (uint32_t)offset.bits;
        }
        int status = put_elems(writer, instance, elem, gva);
        if (status != 0)
            return status;
    }
    return 0;
}

int image_data_make(const struct image_input *input, struct image_data *ret_data,
                    struct husk_error *err) {
    struct data_writer writer = {.input = input, .err = err};
    writer.data.count = input->plan->data_end_gva - HUSK_DATA_GVA;
    writer.data.bytes = calloc(1, writer.data.count + 1);
    if (writer.data.bytes == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the data region (%llu bytes)",
                         (unsigned long long)writer.data.count);
    put_sizes(&writer);
    int status = put_globals(&writer);
    if (status == 0)
        status = put_segments(&writer);
    if (status != 0) {
        free(writer.data.bytes);
        return status;
    }
    *ret_data = writer.data;
    return 0;
}

/* ---- linear memories ---- */

bool image_fills_memory(const struct image_input *input, uint32_t data_idx, uint32_t mem_idx) {
    const struct program *program = input->plan->program;
    const struct wasm_data *data = program_data(program, data_idx);
    return input->plan->datas[data_idx].is_static && data->mode == WASM_SEGMENT_ACTIVE &&
           program_instance(program, program->datas[data_idx])->memories[data->memory_idx] ==
               mem_idx;
}

uint64_t image_segment_offset(const struct image_input *input, uint32_t data_idx) {
    const struct program *program = input->plan->program;
    struct plan_const offset = {0};
    plan_const_eval(input->plan, program_instance(program, program->datas[data_idx]),
                    program_data(program, data_idx)->offset, &offset); /* static: it has a value */
    return offset.bits;
}

static int range_order(const void *left, const void *right) {
    const struct image_range *a = left, *b = right;
    return a->start < b->start ? -1 : a->start > b->start;
}

/* The pages of a segment, without zeros at its ends. */
static struct image_range segment_range(uint64_t offset, struct wasm_bytes bytes) {
    uint64_t first = 0, last = bytes.count;
    while (last > 0 && bytes.data[last - 1] == 0)
        last--;
    while (first < last && bytes.data[first] == 0)
        first++;
    uint64_t mask = HUSK_PAGE_SIZE - 1;
    return (struct image_range){.start = (offset + first) & ~mask,
                                .end = first == last ? (offset + first) & ~mask
                                                     : (offset + last + mask) & ~mask};
}

/* Sorted ranges, at least one; those no farther apart than `gap` become one. Returns how many are
 * left. */
static size_t merge_ranges(struct image_range *list, size_t count, uint64_t gap) {
    size_t kept = 0;
    for (size_t i = 1; i < count; i++)
        if (list[i].start > list[kept].end + gap)
            list[++kept] = list[i];
        else if (list[i].end > list[kept].end)
            list[kept].end = list[i].end;
    return kept + 1;
}

int image_memory_ranges(const struct image_input *input, uint32_t mem_idx, struct buf *ranges,
                        struct husk_error *err) {
    const struct program *program = input->plan->program;
    for (uint32_t i = 0; i < program->datas_count; i++) {
        if (!image_fills_memory(input, i, mem_idx))
            continue;
        struct image_range range =
            segment_range(image_segment_offset(input, i), program_data(program, i)->bytes);
        if (range.end > range.start)
            buf_append(ranges, &range, sizeof range);
    }
    if (ranges->failed)
        return error_set(err, HUSK_E_NOMEM, "no memory for data segments");
    struct image_range *list = (struct image_range *)(void *)ranges->data;
    size_t count = ranges->count / sizeof list[0];
    if (count == 0)
        return 0;
    qsort(list, count, sizeof list[0], range_order);
    uint64_t gap = RANGE_GAP_BYTES;
    do {
        count = merge_ranges(list, count, gap);
        gap *= 2;
    } while (count > RANGES_MAX);
    ranges->count = count * sizeof list[0];
    return 0;
}
