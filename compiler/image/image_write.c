/*
 * compiler/image/image_write.c: lays the image file out and writes it (base/elf_writer.h); see
 * image_write.h.
 */
#include "image_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "elf_writer.h"
#include "error.h"
#include "layout.h"

#define PROGRAM_HEADERS_MAX 4000u /* the reader takes far more */

struct image_file {
    const struct image_input *input;
    struct elf_writer elf;
    struct husk_error *err;
};

static uint64_t page_up(uint64_t bytes) {
    return (bytes + HUSK_PAGE_SIZE - 1) & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
}

static size_t headers_count(const struct image_file *file) {
    return file->elf.headers.count / sizeof(Elf64_Phdr);
}

/* ---- segments ---- */

static int write_code(struct image_file *file) {
    const struct linked *linked = file->input->linked;
    struct elf_writer *elf = &file->elf;
    const Elf64_Phdr text = {.p_flags = PF_R | PF_X,
                             .p_vaddr = HUSK_TEXT_GVA,
                             .p_filesz = linked->text_bytes,
                             .p_memsz = linked->text_bytes};
    int status =
        elf_writer_put(elf, elf_writer_load(elf, ".text", &text), linked->text, linked->text_bytes);
    if (status != 0 || linked->rodata_bytes == 0)
        return status;
    const Elf64_Phdr rodata = {.p_flags = PF_R,
                               .p_vaddr = linked->rodata_gva,
                               .p_filesz = linked->rodata_bytes,
                               .p_memsz = linked->rodata_bytes};
    return elf_writer_put(elf, elf_writer_load(elf, ".rodata", &rodata), linked->rodata,
                          linked->rodata_bytes);
}

/* Bytes up to the last page that is not zero. */
static uint64_t trimmed(const uint8_t *bytes, uint64_t count) {
    static const uint8_t zero_page[HUSK_PAGE_SIZE];
    while (count > 0) {
        uint64_t start = (count - 1) / HUSK_PAGE_SIZE * HUSK_PAGE_SIZE;
        if (memcmp(bytes + start, zero_page, count - start) != 0)
            break;
        count = start;
    }
    return count;
}

static int write_data_part(struct image_file *file, const struct image_data *data, const char *name,
                           uint32_t gva, uint64_t bytes) {
    const uint8_t *start = data->bytes + (gva - HUSK_DATA_GVA);
    uint64_t used = trimmed(start, bytes);
    Elf64_Phdr header = {.p_flags = PF_R | PF_W,
                         .p_vaddr = gva,
                         .p_filesz = page_up(used),
                         .p_memsz = page_up(bytes)};
    return elf_writer_put(&file->elf, elf_writer_load(&file->elf, name, &header), start, used);
}

/* The fixed part, then the initial entries of each growable table, then the exception slots. */
static int write_data(struct image_file *file, const struct image_data *data) {
    const struct plan *plan = file->input->plan;
    int status = 0;
    if (plan->fixed_end_gva > HUSK_DATA_GVA)
        status = write_data_part(file, data, ".data", HUSK_DATA_GVA,
                                 plan->fixed_end_gva - HUSK_DATA_GVA);
    for (uint32_t i = 0; i < plan->program->tables_count && status == 0; i++) {
        uint64_t bytes = 8 * program_table(plan->program, i)->limits.min;
        char name[32];
        if (plan->tables[i].base_gva < plan->fixed_end_gva || bytes == 0)
            continue;
        if (headers_count(file) >= PROGRAM_HEADERS_MAX)
            return error_set(file->err, HUSK_E_LIMIT, "more than %u growable tables with elements",
                             PROGRAM_HEADERS_MAX);
        snprintf(name, sizeof name, ".table.%u", i);
        status = write_data_part(file, data, name, plan->tables[i].base_gva, bytes);
    }
    if (status == 0 && plan->exception_slots_gva != 0) {
        const Elf64_Phdr slots = {.p_flags = PF_R | PF_W, /* zeros: no bytes of the file */
                                  .p_vaddr = plan->exception_slots_gva,
                                  .p_memsz =
                                      page_up(plan->data_end_gva - plan->exception_slots_gva)};
        elf_writer_load(&file->elf, ".exceptions", &slots);
    }
    return status;
}

/* Segments are written in the program's order, each to the range that holds it: later ones
 * overwrite earlier ones. */
static int write_memory_bytes(struct image_file *file, uint32_t mem_idx,
                              const struct image_range *ranges, const uint64_t *offsets,
                              size_t count) {
    const struct program *program = file->input->plan->program;
    for (uint32_t i = 0; i < program->datas_count; i++) {
        const struct wasm_data *data = program_data(program, i);
        if (!image_fills_memory(file->input, i, mem_idx))
            continue;
        uint64_t start = image_segment_offset(file->input, i), end = start + data->bytes.count;
        /* zeros at a segment's ends may lie outside every range */
        for (size_t k = 0; k < count; k++) {
            uint64_t from = start > ranges[k].start ? start : ranges[k].start;
            uint64_t to = end < ranges[k].end ? end : ranges[k].end;
            if (from >= to)
                continue;
            int status = elf_writer_put(&file->elf, offsets[k] + (from - ranges[k].start),
                                        data->bytes.data + (from - start), to - from);
            if (status != 0)
                return status;
        }
    }
    return 0;
}

/* One segment per initialised range, the last (or only) one up to the memory's initial size. */
static int write_memory(struct image_file *file, uint32_t mem_idx) {
    const struct wasm_memory *memory = program_memory(file->input->plan->program, mem_idx);
    uint64_t size = wasm_memory_chunks(memory, memory->limits.min) * HUSK_WASM_PAGE_SIZE;
    uint64_t base = husk_mem_gva(mem_idx);
    struct buf list = {0};
    int status = image_memory_ranges(file->input, mem_idx, &list, file->err);
    size_t count = list.count / sizeof(struct image_range);
    if (status == 0 && count == 0 && size > 0) {
        struct image_range none = {0, 0};
        buf_append(&list, &none, sizeof none);
        count = 1;
    }
    if (status == 0 && count + headers_count(file) > PROGRAM_HEADERS_MAX) {
        struct image_range *all = (struct image_range *)(void *)list.data;
        all[0].end = all[count - 1].end; /* very scattered: one segment, holes in the file */
        count = 1;
    }
    const struct image_range *ranges = (const struct image_range *)(const void *)list.data;
    uint64_t *offsets = calloc(count + 1, sizeof offsets[0]);
    if (status == 0 && (offsets == NULL || list.failed))
        status = error_set(file->err, HUSK_E_NOMEM, "no memory for data segments");
    for (size_t i = 0; i < count && status == 0; i++) {
        char name[32];
        uint64_t filled = ranges[i].end - ranges[i].start;
        snprintf(name, sizeof name, count == 1 ? ".memory.%u" : ".memory.%u.%zu", mem_idx, i);
        Elf64_Phdr header = {.p_flags = PF_R | PF_W,
                             .p_vaddr = base + ranges[i].start,
                             .p_filesz = filled,
                             .p_memsz = i + 1 == count ? size - ranges[i].start : filled};
        offsets[i] = elf_writer_load(&file->elf, name, &header);
    }
    if (status == 0)
        status = write_memory_bytes(file, mem_idx, ranges, offsets, count);
    free(offsets);
    buf_done(&list);
    return status;
}

/* ---- the file ---- */

static uint32_t symbol_instance(const struct image_file *file, const struct link_symbol *symbol) {
    if (symbol->kind == LINK_FUNC)
        return file->input->plan->program->funcs[symbol->idx].instance;
    return symbol->kind == LINK_INIT ? symbol->idx : UINT32_MAX;
}

/* With several instances, names begin with that of the instance. */
static void add_named_symbol(struct image_file *file, const struct link_symbol *symbol,
                             const void *name, size_t bytes) {
    const struct program *program = file->input->plan->program;
    uint32_t instance = symbol_instance(file, symbol);
    struct buf long_name = {0};
    if (program->instances_count > 1 && instance != UINT32_MAX) {
        struct wasm_bytes prefix = program->instances[instance].name;
        buf_append(&long_name, prefix.data, prefix.count);
        buf_append(&long_name, "/", 1);
        buf_append(&long_name, name, bytes);
    }
    if (long_name.count > 0 && !long_name.failed)
        elf_writer_symbol(&file->elf, long_name.data, long_name.count, symbol->gva, symbol->bytes);
    else
        elf_writer_symbol(&file->elf, name, bytes, symbol->gva, symbol->bytes);
    buf_done(&long_name);
}

static void add_symbol(struct image_file *file, const struct link_symbol *symbol) {
    char text[64] = "husk.init";
    const void *name = text;
    if (symbol->kind == LINK_RUNTIME)
        name = symbol->name;
    else if (symbol->kind == LINK_THUNK)
        snprintf(text, sizeof text, "husk.thunk.%u", symbol->idx);
    else if (symbol->kind == LINK_FUNC)
        snprintf(text, sizeof text, "func.%u", symbol->idx);
    size_t bytes = strlen(name);
    if (symbol->kind == LINK_FUNC) {
        struct wasm_bytes own = program_func(file->input->plan->program, symbol->idx)->name;
        name = own.count > 0 ? own.data : name;
        bytes = own.count > 0 ? own.count : bytes;
    }
    add_named_symbol(file, symbol, name, bytes);
}

/* How many program headers there will be at most. */
static uint32_t headers_max(const struct image_input *input) {
    const struct plan *plan = input->plan;
    uint64_t count = 4 + (uint64_t)plan->program->tables_count;
    count += plan->exception_slots_gva != 0;
    for (uint32_t i = 0; i < plan->program->datas_count; i++)
        count += plan->datas[i].is_static;
    count += plan->program->memories_count;
    const uint32_t most = PROGRAM_HEADERS_MAX + 2 * HUSK_MAX_MEMORIES;
    return count < most ? (uint32_t)count : most;
}

static int write_note(struct image_file *file) {
    struct buf descriptor = {0};
    int status = image_note_make(file->input, &descriptor, file->err);
    const struct elf_note note = {.name = HUSK_NOTE_NAME,
                                  .type = HUSK_NOTE_TYPE,
                                  .alignment = 4,
                                  .descriptor = descriptor.data,
                                  .descriptor_bytes = descriptor.count};
    if (status == 0)
        status = elf_writer_note(&file->elf, headers_max(file->input), &note);
    buf_done(&descriptor);
    return status;
}

static int write_all(struct image_file *file) {
    const struct linked *linked = file->input->linked;
    struct image_data data = {0};
    int status = write_note(file);
    if (status == 0)
        status = write_code(file);
    if (status == 0)
        status = image_data_make(file->input, &data, file->err);
    if (status == 0)
        status = write_data(file, &data);
    free(data.bytes);
    for (uint32_t i = 0; i < file->input->plan->program->memories_count && status == 0; i++)
        status = write_memory(file, i);
    for (uint32_t i = 0; i < linked->symbols_count && status == 0; i++)
        add_symbol(file, &linked->symbols[i]);
    if (status == 0)
        status = elf_writer_finish(&file->elf, linked->entry_gva);
    return status != 0
               ? status
               : elf_writer_hash(&file->elf, offsetof(struct husk_image_header, content_hash));
}

int image_write(const struct image_input *input, int fd, uint64_t *ret_bytes,
                struct husk_error *err) {
    struct image_file file = {.input = input, .err = err};
    elf_writer_init(&file.elf, fd, HUSK_PAGE_SIZE, err);
    int status = write_all(&file);
    if (status == 0)
        *ret_bytes = file.elf.end;
    elf_writer_done(&file.elf);
    return status;
}
