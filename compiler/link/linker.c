/*
 * compiler/link/linker.c: a static linker for the few constructs that occur. It places sections at
 * fixed addresses, resolves symbols, and has relocations applied. See linker.h. elfobj.c parses
 * objects, symbols.c and relocate.c resolve names, link_frames.c reads the call frames, code_map.c,
 * unwind_x86_64.c and throw_link.c make tables.
 */
#include "linker_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "code_map.h"
#include "error.h"
#include "guest_rt.h"
#include "layout.h"

#define TEXT_FILL 0xcc /* int3 */

/* ---- objects ---- */

static int open_objects(struct linker *linker, const struct codegen_object *objects,
                        uint32_t objects_count, uint64_t cpu_features) {
    struct guest_object guest[GUEST_OBJECTS_MAX];
    const uint32_t guest_count =
        guest_objects(cpu_features, linker->plan->exception_gva != 0, guest);
    linker->guest_count = guest_count;
    linker->objs = calloc(guest_count + (size_t)objects_count, sizeof linker->objs[0]);
    linker->labels = calloc(guest_count + (size_t)objects_count, sizeof linker->labels[0]);
    if (linker->objs == NULL || linker->labels == NULL)
        return linker_no_memory(linker);
    for (uint32_t i = 0; i < guest_count + objects_count; i++) {
        bool is_guest = i < guest_count;
        const uint8_t *elf = is_guest ? guest[i].elf : objects[i - guest_count].elf;
        size_t bytes = is_guest ? guest[i].bytes : objects[i - guest_count].bytes;
        snprintf(linker->labels[i], sizeof linker->labels[i], is_guest ? "runtime %u" : "%u",
                 is_guest ? i : i - guest_count);
        int status = elfobj_open(&linker->objs[i], linker->labels[i], elf, bytes, linker->err);
        if (status != 0)
            return status;
        linker->objs_count = i + 1;
    }
    return 0;
}

/* ---- addresses ---- */

static int place_section(struct linker *linker, const struct elfobj *obj,
                         struct elfobj_section *section, uint64_t *end) {
    uint64_t alignment = section->header.sh_addralign == 0 ? 1 : section->header.sh_addralign;
    if ((alignment & (alignment - 1)) != 0 || alignment > HUSK_PAGE_SIZE)
        return error_set(linker->err, HUSK_E_COMPILER,
                         "object %s: section %s wants an alignment of %llu", obj->label,
                         section->name, (unsigned long long)alignment);
    section->is_kept = true;
    section->address = (*end + alignment - 1) & ~(alignment - 1);
    *end = section->address + section->header.sh_size;
    return 0;
}

static int place_all(struct linker *linker, enum place wanted, uint64_t *end) {
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        struct elfobj *obj = &linker->objs[i];
        uint64_t start = *end;
        for (uint32_t k = 0; k < obj->sections_count; k++) {
            enum place place = section_place(&obj->sections[k]);
            if (place == PLACE_BAD)
                return error_set(linker->err, HUSK_E_COMPILER,
                                 "object %s: unexpected writable section %s", obj->label,
                                 obj->sections[k].name);
            if (place != wanted)
                continue;
            int status = place_section(linker, obj, &obj->sections[k], end);
            if (status != 0)
                return status;
        }
        if (wanted == PLACE_TEXT && i == GUEST_RUNTIME_IDX) {
            linker->runtime_start = start;
            linker->runtime_end = *end;
        }
    }
    return 0;
}

/* Passive segments, and active ones that the init function copies, lie in rodata. */
static void place_datas(struct linker *linker) {
    const struct program *program = linker->plan->program;
    for (uint32_t i = 0; i < program->datas_count; i++) {
        if (!linker->plan->datas[i].has_symbol)
            continue;
        uint64_t start = (linker->rodata_end + 15) & ~(uint64_t)15;
        linker->data_gva[i] = (uint32_t)start;
        linker->rodata_end = start + program_data(program, i)->bytes.count;
    }
}

static int place_text(struct linker *linker) {
    linker->text_end = HUSK_TEXT_GVA;
    return place_all(linker, PLACE_TEXT, &linker->text_end);
}

static int place_rodata(struct linker *linker) {
    linker->rodata_start =
        (linker->text_end + HUSK_PAGE_SIZE - 1) & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
    linker->rodata_end = linker->rodata_start;
    int status = place_all(linker, PLACE_RODATA, &linker->rodata_end);
    if (status != 0)
        return status;
    if (linker->plan->exception_gva != 0) {
        linker->throw_gva = (linker->rodata_end + 15) & ~(uint64_t)15;
        linker->rodata_end = linker->throw_gva + throw_image_bytes(&linker->throw_image);
    }
    place_datas(linker);
    if (linker->rodata_end > HUSK_TEXT_END_GVA)
        return error_set(linker->err, HUSK_E_LIMIT,
                         "code and constants take %llu MiB; an instance has %u MiB for them: try a "
                         "lower optimisation level",
                         (unsigned long long)((linker->rodata_end - HUSK_TEXT_GVA) >> 20),
                         (HUSK_TEXT_END_GVA - HUSK_TEXT_GVA) >> 20);
    return 0;
}

/* ---- bytes ---- */

static int copy_section(struct linker *linker, struct elfobj_section *section) {
    struct linked *out = linker->out;
    switch (section_place(section)) {
    case PLACE_TEXT: section->image = out->text + (section->address - HUSK_TEXT_GVA); break;
    case PLACE_RODATA:
        section->image = out->rodata + (section->address - linker->rodata_start);
        break;
    case PLACE_DEBUG: section->image = malloc(section->header.sh_size); break;
    default: return 0;
    }
    if (section->image == NULL)
        return linker_no_memory(linker);
    memcpy(section->image, section->data, section->header.sh_size);
    section->is_kept = true;
    return 0;
}

static void copy_datas(struct linker *linker) {
    const struct program *program = linker->plan->program;
    for (uint32_t i = 0; i < program->datas_count; i++) {
        struct wasm_bytes bytes = program_data(program, i)->bytes;
        if (linker->plan->datas[i].has_symbol && bytes.count > 0)
            memcpy(linker->out->rodata + (linker->data_gva[i] - linker->rodata_start), bytes.data,
                   bytes.count);
    }
}

static int copy_sections(struct linker *linker) {
    struct linked *out = linker->out;
    out->text_bytes = linker->text_end - HUSK_TEXT_GVA;
    out->rodata_gva = (uint32_t)linker->rodata_start;
    out->rodata_bytes = linker->rodata_end - linker->rodata_start;
    out->text = malloc(out->text_bytes + 1);
    out->rodata = calloc(1, out->rodata_bytes + 1);
    if (out->text == NULL || out->rodata == NULL)
        return linker_no_memory(linker);
    memset(out->text, TEXT_FILL, out->text_bytes);
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        for (uint32_t k = 0; k < linker->objs[i].sections_count; k++) {
            int status = copy_section(linker, &linker->objs[i].sections[k]);
            if (status != 0)
                return status;
        }
    }
    copy_datas(linker);
    if (linker->plan->exception_gva != 0)
        throw_image_write(linker->plan, &linker->throw_image, linker->throw_gva,
                          out->rodata + (linker->throw_gva - linker->rodata_start));
    return 0;
}

/* ---- symbols ---- */

static int define_symbols(struct linker *linker, const struct elfobj *obj) {
    for (uint32_t i = 1; i < obj->symbols_count; i++) {
        const Elf64_Sym *symbol = &obj->symbols[i];
        uint64_t address;
        if (ELF64_ST_BIND(symbol->st_info) == STB_LOCAL ||
            !linker_local_address(obj, symbol, &address))
            continue;
        int status =
            symbols_add(&linker->symbols, elfobj_symbol_name(obj, symbol), address, linker->err);
        if (status != 0)
            return status;
    }
    return 0;
}

/* Files a function symbol where the image's tables want it. */
static void note_function(struct linker *linker, const char *name, struct link_symbol *symbol) {
    const struct program *program = linker->plan->program;
    char kind[8] = "";
    uint32_t idx = 0;
    bool is_indexed = symbol_split(name, kind, &idx);
    symbol->kind = LINK_RUNTIME;
    symbol->name = name;
    symbol->idx = idx;
    if (is_indexed && strcmp(kind, "f") == 0 && idx < program->funcs_count) {
        symbol->kind = LINK_FUNC;
        linker->out->func_gva[idx] = symbol->gva;
        linker->out->func_bytes[idx] = symbol->bytes;
    } else if (is_indexed && strcmp(kind, "t") == 0 && idx < program->types_count) {
        symbol->kind = LINK_THUNK;
        linker->out->thunk_gva[idx] = symbol->gva;
    } else if (strcmp(name, "i0.init") == 0) {
        symbol->kind = LINK_INIT;
        symbol->idx = UINT32_MAX;
        linker->out->init_gva = symbol->gva;
    } else if (is_indexed && strcmp(kind, "n") == 0 && idx < program->instances_count) {
        symbol->kind = LINK_INIT;
        linker->out->instance_init_gva[idx] = symbol->gva;
    }
}

static int list_functions(struct linker *linker, const struct elfobj *obj, bool is_guest,
                          struct buf *list) {
    for (uint32_t i = 1; i < obj->symbols_count; i++) {
        const Elf64_Sym *symbol = &obj->symbols[i];
        uint64_t address;
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC ||
            !linker_local_address(obj, symbol, &address))
            continue;
        if (address + symbol->st_size > linker->text_end)
            return error_set(linker->err, HUSK_E_COMPILER,
                             "object %s: function %s lies outside its section", obj->label,
                             elfobj_symbol_name(obj, symbol));
        struct link_symbol entry = {.gva = (uint32_t)address, .bytes = (uint32_t)symbol->st_size};
        note_function(linker, elfobj_symbol_name(obj, symbol), &entry);
        if (entry.kind != LINK_RUNTIME || is_guest) /* other names go away with codegen's objects */
            buf_append(list, &entry, sizeof entry);
    }
    return 0;
}

static int symbol_order(const void *left, const void *right) {
    const struct link_symbol *a = left, *b = right;
    if (a->gva != b->gva)
        return a->gva < b->gva ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

static int collect_symbols(struct linker *linker) {
    const struct program *program = linker->plan->program;
    struct linked *out = linker->out;
    struct buf list = {0};
    out->func_gva = calloc((size_t)program->funcs_count + 1, sizeof out->func_gva[0]);
    out->func_bytes = calloc((size_t)program->funcs_count + 1, sizeof out->func_bytes[0]);
    out->thunk_gva = calloc((size_t)program->types_count + 1, sizeof out->thunk_gva[0]);
    out->instance_init_gva =
        calloc((size_t)program->instances_count + 1, sizeof out->instance_init_gva[0]);
    int status = out->func_gva == NULL || out->func_bytes == NULL || out->thunk_gva == NULL ||
                         out->instance_init_gva == NULL
                     ? linker_no_memory(linker)
                     : 0;
    if (status == 0 && linker->plan->exception_gva != 0)
        status = symbols_add(&linker->symbols, "husk.throw_tables", linker->throw_gva, linker->err);
    for (uint32_t i = 0; i < linker->objs_count && status == 0; i++) {
        status = define_symbols(linker, &linker->objs[i]);
        if (status == 0)
            status = list_functions(linker, &linker->objs[i], i < linker->guest_count, &list);
    }
    if (status == 0 && list.failed)
        status = linker_no_memory(linker);
    if (status != 0) {
        buf_done(&list);
        return status;
    }
    out->symbols = (struct link_symbol *)(void *)list.data;
    out->symbols_count = (uint32_t)(list.count / sizeof out->symbols[0]);
    qsort(out->symbols, out->symbols_count, sizeof out->symbols[0], symbol_order);
    return 0;
}

/* Relocates the sections with bytes; those of call frames are relocated already. */
static int relocate_all(struct linker *linker) {
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        struct elfobj *obj = &linker->objs[i];
        for (uint32_t k = 0; k < obj->sections_count; k++) {
            const enum place place = section_place(&obj->sections[k]);
            if (place == PLACE_EH_FRAME || place == PLACE_LSDA || !obj->sections[k].is_kept)
                continue;
            int status = linker_relocate(linker, obj, &obj->sections[k]);
            if (status != 0)
                return status;
        }
    }
    return 0;
}

/* ---- tables ---- */

static struct dwarf_bytes debug_bytes(const struct elfobj *obj, const char *name) {
    const struct elfobj_section *section = elfobj_find(obj, name);
    if (section == NULL || !section->is_kept)
        return (struct dwarf_bytes){0};
    return (struct dwarf_bytes){.data = section->image, .count = section->header.sh_size};
}

static int read_lines(struct linker *linker, struct code_lines *lines) {
    for (uint32_t i = linker->guest_count; i < linker->objs_count; i++) {
        const struct elfobj *obj = &linker->objs[i];
        struct dwarf_line_input input = {.line = debug_bytes(obj, ".debug_line"),
                                         .line_str = debug_bytes(obj, ".debug_line_str")};
        int status =
            code_map_read(&input, &linker->objects[i - linker->guest_count], lines, linker->err);
        if (status != 0)
            return status;
    }
    return 0;
}

/* The image has no callees: the code map names the function of inlined code. */
static int list_inlined(struct linker *linker, const struct buf *inlined) {
    struct linked *out = linker->out;
    const struct codegen_inlined *calls =
        (const struct codegen_inlined *)(const void *)inlined->data;
    out->inlined_calls_count = (uint32_t)(inlined->count / sizeof calls[0]);
    out->inlined_calls = calloc((size_t)out->inlined_calls_count + 1, sizeof out->inlined_calls[0]);
    if (out->inlined_calls == NULL)
        return linker_no_memory(linker);
    for (uint32_t i = 0; i < out->inlined_calls_count; i++)
        out->inlined_calls[i] =
            (struct husk_image_inlined_call){.func_idx = calls[i].caller_idx,
                                             .wasm_offset = calls[i].wasm_offset,
                                             .outer = calls[i].outer};
    return 0;
}

static int make_tables(struct linker *linker) {
    struct linked *out = linker->out;
    struct code_lines lines = {0};
    struct code_map map = {0};
    int status = read_lines(linker, &lines);
    if (status == 0)
        status = code_map_build(linker->plan->program, out, &lines, (uint32_t)linker->runtime_start,
                                (uint32_t)linker->runtime_end, &map, linker->err);
    if (status == 0)
        status = list_inlined(linker, &lines.inlined);
    code_lines_done(&lines);
    if (status != 0) {
        buf_done(&map.rows);
        buf_done(&map.inlined_rows);
        return status;
    }
    out->code_rows = (struct husk_image_code_row *)(void *)map.rows.data;
    out->code_rows_count = (uint32_t)(map.rows.count / sizeof out->code_rows[0]);
    out->inlined_rows = (struct husk_image_inlined_row *)(void *)map.inlined_rows.data;
    out->inlined_rows_count = (uint32_t)(map.inlined_rows.count / sizeof out->inlined_rows[0]);
    struct buf *unwind = &linker->unwind.rows;
    out->unwind_rows = (struct husk_image_unwind_x86_64 *)(void *)unwind->data;
    out->unwind_rows_count = (uint32_t)(unwind->count / sizeof out->unwind_rows[0]);
    *unwind = (struct buf){0}; /* `out` owns it */
    return 0;
}

static int find_fixed(struct linker *linker) {
    struct linked *out = linker->out;
    uint64_t entry = 0, resume = 0, thunk = 0;
    if (!symbols_find(&linker->symbols, "husk.entry", &entry) || entry != HUSK_TEXT_GVA ||
        !symbols_find(&linker->symbols, "husk.resume", &resume) ||
        !symbols_find(&linker->symbols, "husk.init_thunk", &thunk))
        return error_set(linker->err, HUSK_E_COMPILER, "the guest runtime is not as it should be");
    if (linker->plan->needs_init && out->init_gva == 0)
        return error_set(linker->err, HUSK_E_COMPILER, "no init function was generated");
    uint64_t throw_host = 0;
    if (linker->plan->exception_gva != 0 &&
        !symbols_find(&linker->symbols, "husk.throw_host", &throw_host))
        return error_set(linker->err, HUSK_E_COMPILER, "the guest runtime cannot throw");
    uint64_t many = 0, bytes = 0;
    if (!symbols_find(&linker->symbols, "husk.many", &many) ||
        !symbols_find(&linker->symbols, "husk.bytes", &bytes))
        return error_set(linker->err, HUSK_E_COMPILER, "the guest runtime has no routines");
    out->routines =
        (struct husk_image_routines){.many_gva = (uint32_t)many, .bytes_gva = (uint32_t)bytes};
    out->throw_gva = (uint32_t)throw_host;
    out->entry_gva = (uint32_t)entry;
    out->resume_gva = (uint32_t)resume;
    out->init_thunk_gva = linker->plan->needs_init ? (uint32_t)thunk : 0;
    out->init_gva = linker->plan->needs_init ? out->init_gva : 0;
    return 0;
}

/* ---- all of it ---- */

static void linker_done(struct linker *linker) {
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        struct elfobj *obj = &linker->objs[i];
        for (uint32_t k = 0; k < obj->sections_count; k++) {
            enum place place = section_place(&obj->sections[k]);
            if (place == PLACE_EH_FRAME || place == PLACE_LSDA || place == PLACE_DEBUG)
                free(obj->sections[k].image);
        }
        elfobj_done(obj);
    }
    free(linker->objs);
    free(linker->labels);
    free(linker->data_gva);
    symbols_done(&linker->symbols);
    unwind_done(&linker->unwind);
    throw_image_done(&linker->throw_image);
}

int link_objects(const struct plan *plan, const struct codegen_object *objects,
                 uint32_t objects_count, uint64_t cpu_features, struct linked *ret_linked,
                 struct husk_error *err) {
    struct linked linked = {0};
    struct linker linker = {.plan = plan, .objects = objects, .out = &linked, .err = err};
    linker.data_gva = calloc((size_t)plan->program->datas_count + 1, sizeof linker.data_gva[0]);
    int status = linker.data_gva == NULL ? linker_no_memory(&linker) : 0;
    if (status == 0)
        status = open_objects(&linker, objects, objects_count, cpu_features);
    if (status == 0)
        status = place_text(&linker);
    if (status == 0)
        status = link_frames(&linker);
    if (status == 0)
        status = place_rodata(&linker);
    if (status == 0)
        status = copy_sections(&linker);
    if (status == 0)
        status = collect_symbols(&linker);
    if (status == 0)
        status = relocate_all(&linker);
    if (status == 0)
        status = find_fixed(&linker);
    if (status == 0)
        status = make_tables(&linker);
    linker_done(&linker);
    if (status != 0) {
        linked_done(&linked);
        return status;
    }
    *ret_linked = linked;
    return 0;
}

void linked_done(struct linked *linked) {
    free(linked->text);
    free(linked->rodata);
    free(linked->func_gva);
    free(linked->func_bytes);
    free(linked->thunk_gva);
    free(linked->instance_init_gva);
    free(linked->symbols);
    free(linked->code_rows);
    free(linked->inlined_rows);
    free(linked->inlined_calls);
    free(linked->unwind_rows);
    *linked = (struct linked){0};
}
