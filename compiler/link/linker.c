/*
 * compiler/link/linker.c: a static linker for the few constructs that occur. It places sections at
 * fixed addresses, resolves symbols, and applies the five relocation kinds of the small code model.
 * See linker.h. elfobj.c parses objects, symbols.c resolves names, code_map.c and unwind_x86_64.c
 * make tables.
 */
#include "linker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "code_map.h"
#include "elfobj.h"
#include "error.h"
#include "guest_rt.h"
#include "layout.h"
#include "symbols.h"
#include "unwind_x86_64.h"

#define TEXT_FILL 0xcc /* int3 */

struct linker {
    const struct plan *plan;
    const struct codegen_object *objects;
    struct elfobj *objs; /* dispatcher, runtime, then codegen's */
    uint32_t objs_count;
    char (*labels)[24];
    struct symbols symbols;
    uint32_t *data_gva; /* "i0.d<idx>" */
    uint64_t text_end, rodata_start, rodata_end;
    uint64_t runtime_start, runtime_end; /* the memory functions */
    struct linked *out;
    struct husk_error *err;
};

enum place { PLACE_NONE, PLACE_TEXT, PLACE_RODATA, PLACE_EH_FRAME, PLACE_DEBUG, PLACE_BAD };

static enum place section_place(const struct elfobj_section *section) {
    uint64_t flags = section->header.sh_flags;
    if (section->header.sh_size == 0 || section->header.sh_type == SHT_NOTE ||
        section->header.sh_type == SHT_NULL)
        return PLACE_NONE;
    if ((flags & SHF_ALLOC) == 0) {
        bool is_line = strcmp(section->name, ".debug_line") == 0 ||
                       strcmp(section->name, ".debug_line_str") == 0;
        return is_line && section->data != NULL ? PLACE_DEBUG : PLACE_NONE;
    }
    if (section->data == NULL || (flags & (SHF_WRITE | SHF_TLS)) != 0)
        return PLACE_BAD;
    if (strcmp(section->name, ".eh_frame") == 0)
        return PLACE_EH_FRAME;
    return (flags & SHF_EXECINSTR) != 0 ? PLACE_TEXT : PLACE_RODATA;
}

static int no_memory(const struct linker *linker) {
    return error_set(linker->err, HUSK_E_NOMEM, "no memory to link");
}

/* ---- objects ---- */

static int open_objects(struct linker *linker, const struct codegen_object *objects,
                        uint32_t objects_count, uint64_t cpu_features) {
    struct guest_object guest[GUEST_OBJECTS_COUNT];
    guest_objects(cpu_features, guest);
    linker->objs = calloc(GUEST_OBJECTS_COUNT + (size_t)objects_count, sizeof linker->objs[0]);
    linker->labels = calloc(GUEST_OBJECTS_COUNT + (size_t)objects_count, sizeof linker->labels[0]);
    if (linker->objs == NULL || linker->labels == NULL)
        return no_memory(linker);
    for (uint32_t i = 0; i < GUEST_OBJECTS_COUNT + objects_count; i++) {
        bool is_guest = i < GUEST_OBJECTS_COUNT;
        const uint8_t *elf = is_guest ? guest[i].elf : objects[i - GUEST_OBJECTS_COUNT].elf;
        size_t bytes = is_guest ? guest[i].bytes : objects[i - GUEST_OBJECTS_COUNT].bytes;
        snprintf(linker->labels[i], sizeof linker->labels[i], is_guest ? "runtime %u" : "%u",
                 is_guest ? i : i - GUEST_OBJECTS_COUNT);
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
        if (wanted == PLACE_TEXT && i == GUEST_OBJECTS_COUNT - 1) {
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

static int place_sections(struct linker *linker) {
    linker->text_end = HUSK_TEXT_GVA;
    int status = place_all(linker, PLACE_TEXT, &linker->text_end);
    if (status != 0)
        return status;
    linker->rodata_start =
        (linker->text_end + HUSK_PAGE_SIZE - 1) & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
    linker->rodata_end = linker->rodata_start;
    status = place_all(linker, PLACE_RODATA, &linker->rodata_end);
    if (status != 0)
        return status;
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
    case PLACE_EH_FRAME: /* not in the image: its address only has to be within reach of the code */
        section->address = HUSK_DATA_GVA;
        section->image = malloc(section->header.sh_size);
        break;
    case PLACE_DEBUG: section->image = malloc(section->header.sh_size); break;
    default: return 0;
    }
    if (section->image == NULL)
        return no_memory(linker);
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
        return no_memory(linker);
    memset(out->text, TEXT_FILL, out->text_bytes);
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        for (uint32_t k = 0; k < linker->objs[i].sections_count; k++) {
            int status = copy_section(linker, &linker->objs[i].sections[k]);
            if (status != 0)
                return status;
        }
    }
    copy_datas(linker);
    return 0;
}

/* ---- symbols ---- */

/* The address of a symbol that its own object defines; false if it is undefined or in a section
 * that was dropped. */
static bool local_address(const struct elfobj *obj, const Elf64_Sym *symbol,
                          uint64_t *ret_address) {
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= obj->sections_count ||
        !obj->sections[symbol->st_shndx].is_kept)
        return false;
    *ret_address = obj->sections[symbol->st_shndx].address + symbol->st_value;
    return true;
}

static int define_symbols(struct linker *linker, const struct elfobj *obj) {
    for (uint32_t i = 1; i < obj->symbols_count; i++) {
        const Elf64_Sym *symbol = &obj->symbols[i];
        uint64_t address;
        if (ELF64_ST_BIND(symbol->st_info) == STB_LOCAL || !local_address(obj, symbol, &address))
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
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || !local_address(obj, symbol, &address))
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
                     ? no_memory(linker)
                     : 0;
    for (uint32_t i = 0; i < linker->objs_count && status == 0; i++) {
        status = define_symbols(linker, &linker->objs[i]);
        if (status == 0)
            status = list_functions(linker, &linker->objs[i], i < GUEST_OBJECTS_COUNT, &list);
    }
    if (status == 0 && list.failed)
        status = no_memory(linker);
    if (status != 0) {
        buf_done(&list);
        return status;
    }
    out->symbols = (struct link_symbol *)(void *)list.data;
    out->symbols_count = (uint32_t)(list.count / sizeof out->symbols[0]);
    qsort(out->symbols, out->symbols_count, sizeof out->symbols[0], symbol_order);
    return 0;
}

/* ---- relocations (System V psABI 4.4) ---- */

static int symbol_address(struct linker *linker, const struct elfobj *obj, uint32_t symbol_idx,
                          uint64_t *ret_address) {
    if (symbol_idx >= obj->symbols_count)
        return error_set(linker->err, HUSK_E_COMPILER,
                         "object %s: relocation against symbol %u of %u", obj->label, symbol_idx,
                         obj->symbols_count);
    const Elf64_Sym *symbol = &obj->symbols[symbol_idx];
    const char *name = elfobj_symbol_name(obj, symbol);
    char kind[8];
    uint32_t idx;
    if (local_address(obj, symbol, ret_address) ||
        symbols_find(&linker->symbols, name, ret_address) ||
        symbol_absolute(linker->plan, name, ret_address))
        return 0;
    if (symbol_split(name, kind, &idx) && strcmp(kind, "d") == 0 &&
        idx < linker->plan->program->datas_count && linker->plan->datas[idx].has_symbol) {
        *ret_address = linker->data_gva[idx];
        return 0;
    }
    return error_set(linker->err, HUSK_E_COMPILER, "the code refers to %s, which does not exist",
                     *name != '\0' ? name : "a dropped section");
}

/* How many bytes the field has; *ret_fits says whether the value can be stored in them. 0: an
 * unknown kind. */
static size_t relocation_field(uint32_t kind, uint64_t value, bool *ret_fits) {
    switch (kind) {
    case R_X86_64_64: *ret_fits = true; return 8;
    case R_X86_64_32: *ret_fits = value <= UINT32_MAX; return 4;
    case R_X86_64_PC32:
    case R_X86_64_PLT32:
    case R_X86_64_32S:
        *ret_fits = (int64_t)value >= INT32_MIN && (int64_t)value <= INT32_MAX;
        return 4;
    default: return 0;
    }
}

static int relocate(struct linker *linker, const struct elfobj *obj, struct elfobj_section *section,
                    Elf64_Rela rela) {
    uint32_t kind = (uint32_t)ELF64_R_TYPE(rela.r_info);
    uint64_t value;
    bool fits = false;
    int status = symbol_address(linker, obj, (uint32_t)ELF64_R_SYM(rela.r_info), &value);
    if (status != 0)
        return status;
    value += (uint64_t)rela.r_addend;
    if (kind == R_X86_64_PC32 || kind == R_X86_64_PLT32)
        value -= section->address + rela.r_offset;
    size_t field_bytes = relocation_field(kind, value, &fits);
    if (field_bytes == 0)
        return error_set(linker->err, HUSK_E_COMPILER,
                         "object %s, section %s: relocation kind %u is not supported", obj->label,
                         section->name, kind);
    if (section->header.sh_size < field_bytes ||
        rela.r_offset > section->header.sh_size - field_bytes)
        return error_set(linker->err, HUSK_E_COMPILER,
                         "object %s: a relocation lies outside section %s", obj->label,
                         section->name);
    if (!fits)
        return error_set(linker->err, HUSK_E_COMPILER,
                         "object %s, section %s + 0x%llx: relocation of kind %u to %s overflows",
                         obj->label, section->name, (unsigned long long)rela.r_offset, kind,
                         elfobj_symbol_name(obj, &obj->symbols[ELF64_R_SYM(rela.r_info)]));
    memcpy(section->image + rela.r_offset, &value, field_bytes);
    return 0;
}

static int relocate_all(struct linker *linker) {
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        struct elfobj *obj = &linker->objs[i];
        for (uint32_t k = 0; k < obj->sections_count; k++) {
            struct elfobj_section *section = &obj->sections[k];
            for (uint64_t r = 0; section->is_kept && r < section->relas_count; r++) {
                int status = relocate(linker, obj, section, elfobj_rela(section, r));
                if (status != 0)
                    return status;
            }
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

static int read_tables(struct linker *linker, struct code_lines *lines, struct buf *unwind) {
    for (uint32_t i = 0; i < linker->objs_count; i++) {
        const struct elfobj *obj = &linker->objs[i];
        const struct elfobj_section *frames = elfobj_find(obj, ".eh_frame");
        int status = 0;
        if (frames != NULL && frames->is_kept)
            status = unwind_read(frames->image, frames->header.sh_size, frames->address, unwind,
                                 linker->err);
        if (status == 0 && i >= GUEST_OBJECTS_COUNT) {
            struct dwarf_line_input input = {.line = debug_bytes(obj, ".debug_line"),
                                             .line_str = debug_bytes(obj, ".debug_line_str")};
            status = code_map_read(&input, &linker->objects[i - GUEST_OBJECTS_COUNT], lines,
                                   linker->err);
        }
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
        return no_memory(linker);
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
    struct buf unwind = {0};
    int status = read_tables(linker, &lines, &unwind);
    if (status == 0)
        status = code_map_build(linker->plan->program, out, &lines, (uint32_t)linker->runtime_start,
                                (uint32_t)linker->runtime_end, &map, linker->err);
    if (status == 0)
        status = list_inlined(linker, &lines.inlined);
    code_lines_done(&lines);
    if (status != 0) {
        buf_done(&unwind);
        buf_done(&map.rows);
        buf_done(&map.inlined_rows);
        return status;
    }
    unwind_finish(&unwind);
    out->code_rows = (struct husk_image_code_row *)(void *)map.rows.data;
    out->code_rows_count = (uint32_t)(map.rows.count / sizeof out->code_rows[0]);
    out->inlined_rows = (struct husk_image_inlined_row *)(void *)map.inlined_rows.data;
    out->inlined_rows_count = (uint32_t)(map.inlined_rows.count / sizeof out->inlined_rows[0]);
    out->unwind_rows = (struct husk_image_unwind_x86_64 *)(void *)unwind.data;
    out->unwind_rows_count = (uint32_t)(unwind.count / sizeof out->unwind_rows[0]);
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
            if (place == PLACE_EH_FRAME || place == PLACE_DEBUG)
                free(obj->sections[k].image);
        }
        elfobj_done(obj);
    }
    free(linker->objs);
    free(linker->labels);
    free(linker->data_gva);
    symbols_done(&linker->symbols);
}

int link_objects(const struct plan *plan, const struct codegen_object *objects,
                 uint32_t objects_count, uint64_t cpu_features, struct linked *ret_linked,
                 struct husk_error *err) {
    struct linked linked = {0};
    struct linker linker = {.plan = plan, .objects = objects, .out = &linked, .err = err};
    linker.data_gva = calloc((size_t)plan->program->datas_count + 1, sizeof linker.data_gva[0]);
    int status = linker.data_gva == NULL ? no_memory(&linker) : 0;
    if (status == 0)
        status = open_objects(&linker, objects, objects_count, cpu_features);
    if (status == 0)
        status = place_sections(&linker);
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
