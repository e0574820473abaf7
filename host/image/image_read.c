/*
 * host/image/image_read.c: from bytes to segments and arrays. ELF header, program headers (System V gABI ch. 4-5) and the husk
 * note; every offset and size is checked here, the contents of the arrays' rows in image_check.c.
 *
 * The bytes are hostile but constant (image_file.c), so they are read in place.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"

#define PAGE_MASK_BYTES ((uint64_t)HUSK_PAGE_SIZE - 1)

static bool in_file(const struct image_code *code, uint64_t offset, uint64_t bytes) {
    return bytes <= code->file->count && offset <= code->file->count - bytes;
}

static int check_elf_header(const struct image_code *code, Elf64_Ehdr *ret_header, struct husk_error *err) {
    Elf64_Ehdr header;
    if (code->file->count < sizeof header)
        return error_at(err, HUSK_E_BAD_IMAGE, 0, "not an image: %llu bytes are too few for an ELF header",
                        (unsigned long long)code->file->count);
    memcpy(&header, code->file->bytes, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        if (memcmp(header.e_ident, "\0asm", 4) == 0)
            return error_at(err, HUSK_E_BAD_IMAGE, 0,
                            "this is a WebAssembly module, not an image; compile it first "
                            "(husk_compile(), or husk compile)");
        return error_at(err, HUSK_E_BAD_IMAGE, 0, "not an image: no ELF magic number");
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != EM_X86_64 || header.e_type != ET_EXEC)
        return error_at(err, HUSK_E_BAD_IMAGE, EI_CLASS, "not an image: not a 64-bit x86-64 ELF executable");
    if (header.e_phentsize != sizeof(Elf64_Phdr))
        return error_at(err, HUSK_E_BAD_IMAGE, offsetof(Elf64_Ehdr, e_phentsize),
                        "program headers of %u bytes, not %zu", header.e_phentsize, sizeof(Elf64_Phdr));
    if (header.e_phnum == 0 || header.e_phnum > LIMIT_PROGRAM_HEADERS)
        return error_at(err, HUSK_E_BAD_IMAGE, offsetof(Elf64_Ehdr, e_phnum),
                        "%u program headers; expected 1 to %u", header.e_phnum, LIMIT_PROGRAM_HEADERS);
    if (!in_file(code, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr)))
        return error_at(err, HUSK_E_BAD_IMAGE, offsetof(Elf64_Ehdr, e_phoff),
                        "program headers beyond the file's end: it is truncated or damaged");
    *ret_header = header;
    return 0;
}

static int bad_segment(struct husk_error *err, uint64_t at, const Elf64_Phdr *ph, const char *what) {
    return error_at(err, HUSK_E_BAD_IMAGE, at, "segment at address 0x%llx: %s",
                    (unsigned long long)ph->p_vaddr, what);
}

/* Text comes first and once, rodata at most once after it. */
static int add_readonly(struct image_code *code, const Elf64_Phdr *ph, uint64_t at, struct husk_error *err) {
    if (ph->p_memsz != ph->p_filesz)
        return bad_segment(err, at, ph, "read-only, but not all of it is in the file");
    if (ph->p_vaddr < HUSK_TEXT_GVA || ph->p_memsz > HUSK_TEXT_END_GVA - HUSK_TEXT_GVA ||
        ph->p_vaddr - HUSK_TEXT_GVA > HUSK_TEXT_END_GVA - HUSK_TEXT_GVA - ph->p_memsz)
        return bad_segment(err, at, ph, "outside the text region");
    uint64_t bytes = page_up(ph->p_memsz);
    if (ph->p_flags == (PF_R | PF_X)) {
        if (ph->p_vaddr != HUSK_TEXT_GVA || code->text_bytes != 0)
            return bad_segment(err, at, ph,
                               "there must be one executable segment, at the start of the text region");
        code->text_bytes = bytes;
        code->text_file_bytes = ph->p_filesz;
        code->text_offset = ph->p_offset;
        code->ro_bytes = bytes;
        return 0;
    }
    if (code->text_bytes == 0 || code->rodata_bytes != 0)
        return bad_segment(err, at, ph, "there must be at most one read-only segment, after the text");
    code->rodata_gva = ph->p_vaddr;
    code->rodata_bytes = bytes;
    code->rodata_file_bytes = ph->p_filesz;
    code->rodata_offset = ph->p_offset;
    code->ro_bytes = ph->p_vaddr + bytes - HUSK_TEXT_GVA;
    return 0;
}

static int add_writable(struct image_code *code, const Elf64_Phdr *ph, uint64_t at, struct husk_error *err) {
    if (((ph->p_filesz | ph->p_memsz) & PAGE_MASK_BYTES) != 0)
        return bad_segment(err, at, ph, "the size is not a multiple of the page size");
    bool is_data = ph->p_vaddr >= HUSK_DATA_GVA && ph->p_vaddr < HUSK_DATA_END_GVA;
    if (is_data && ph->p_memsz > HUSK_DATA_END_GVA - ph->p_vaddr)
        return bad_segment(err, at, ph, "does not fit the data region");
    if (!is_data && ph->p_vaddr < HUSK_MEM0_GVA)
        return bad_segment(err, at, ph, "writable, but neither data nor linear memory");
    code->segments[code->segments_count++] = (struct image_segment){.gva = ph->p_vaddr,
                                                                    .file_offset = ph->p_offset,
                                                                    .file_bytes = ph->p_filesz,
                                                                    .mem_bytes = ph->p_memsz};
    if (is_data)
        code->data_segments_count = code->segments_count;
    return 0;
}

static int add_load(struct image_code *code, const Elf64_Phdr *ph, uint64_t at, struct husk_error *err) {
    if (((ph->p_vaddr | ph->p_offset) & PAGE_MASK_BYTES) != 0)
        return bad_segment(err, at, ph, "address and file offset must be multiples of the page size");
    if (ph->p_filesz > ph->p_memsz)
        return bad_segment(err, at, ph, "more bytes in the file than in memory");
    if (!in_file(code, ph->p_offset, ph->p_filesz))
        return bad_segment(err, at, ph, "reaches beyond the file's end: the file is truncated or damaged");
    if (ph->p_memsz > UINT64_MAX / 2 || ph->p_vaddr > UINT64_MAX / 2)
        return bad_segment(err, at, ph, "impossible address or size");
    if ((ph->p_flags & (PF_R | PF_W | PF_X)) == (PF_R | PF_W))
        return add_writable(code, ph, at, err);
    if (ph->p_flags == (PF_R | PF_X) || ph->p_flags == PF_R)
        return add_readonly(code, ph, at, err);
    return bad_segment(err, at, ph, "its permissions must be R, RX or RW");
}

/* Find the husk note's descriptor in one PT_NOTE segment (gABI ch. 5, "Note Section"). */
static bool note_find(const struct image_code *code, const Elf64_Phdr *ph, uint64_t *ret_offset,
                      uint64_t *ret_bytes) {
    if (!in_file(code, ph->p_offset, ph->p_filesz))
        return false;
    uint64_t align = ph->p_align == 8 ? 8 : 4;
    const uint8_t *bytes = code->file->bytes + ph->p_offset;
    uint64_t pos = 0, name_bytes = sizeof HUSK_NOTE_NAME;
    for (uint32_t notes = 0; notes < 64 && ph->p_filesz - pos >= sizeof(Elf64_Nhdr); notes++) {
        Elf64_Nhdr header;
        memcpy(&header, bytes + pos, sizeof header);
        uint64_t desc = (pos + sizeof header + header.n_namesz + align - 1) & ~(align - 1);
        if (desc > ph->p_filesz || header.n_descsz > ph->p_filesz - desc)
            return false;
        if (header.n_type == HUSK_NOTE_TYPE && header.n_namesz == name_bytes &&
            memcmp(bytes + pos + sizeof header, HUSK_NOTE_NAME, name_bytes) == 0) {
            *ret_offset = ph->p_offset + desc;
            *ret_bytes = header.n_descsz;
            return true;
        }
        pos = (desc + header.n_descsz + align - 1) & ~(align - 1);
        if (pos > ph->p_filesz)
            return false;
    }
    return false;
}

static int read_segments(struct image_code *code, const Elf64_Ehdr *header, uint64_t *ret_note_offset,
                         uint64_t *ret_note_bytes, struct husk_error *err) {
    code->segments = calloc(header->e_phnum, sizeof *code->segments);
    if (code->segments == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's segments");
    uint64_t end = 0;
    bool has_note = false;
    for (uint32_t i = 0; i < header->e_phnum; i++) {
        uint64_t at = header->e_phoff + i * sizeof(Elf64_Phdr);
        Elf64_Phdr ph;
        memcpy(&ph, code->file->bytes + at, sizeof ph);
        if (ph.p_type == PT_NOTE && !has_note)
            has_note = note_find(code, &ph, ret_note_offset, ret_note_bytes);
        if (ph.p_type != PT_LOAD || ph.p_memsz == 0)
            continue;
        int status = add_load(code, &ph, at, err);
        if (status != 0)
            return status;
        if (ph.p_vaddr < end)
            return bad_segment(err, at, &ph, "segments must ascend and not overlap");
        end = page_up(ph.p_vaddr + ph.p_memsz);
    }
    if (code->text_bytes == 0)
        return error_at(err, HUSK_E_BAD_IMAGE, header->e_phoff, "no executable segment");
    if (!has_note)
        return error_at(err, HUSK_E_BAD_IMAGE, header->e_phoff,
                        "an ELF file, but not an image: it has no \"husk\" note");
    return 0;
}

/* Images of the first releases have no arrays behind the source lines. */
#define ARRAYS_FIRST_COUNT ((uint32_t)HUSK_ARR_MEMORY_SIZES)

static int bad_version(const struct husk_image_note *note, uint64_t offset, struct husk_error *err) {
    const bool is_newer = note->format > HUSK_IMAGE_FORMAT || note->abi > HUSK_ABI_VERSION;
    return error_at(err, HUSK_E_IMAGE_VERSION, offset + offsetof(struct husk_image_note, format),
                    "image format %u, ABI %u; this husk reads format %u, ABI %u. The image is of %s, or "
                    "compile the module again (and take its snapshot again)",
                    note->format, note->abi, HUSK_IMAGE_FORMAT, HUSK_ABI_VERSION,
                    is_newer ? "a newer husk: use that" : "an older husk: use that");
}

static int check_note_header(const struct image_code *code, uint64_t offset, const Elf64_Ehdr *header,
                             struct husk_error *err) {
    const struct husk_image_note *note = &code->note;
    if (note->magic != HUSK_IMAGE_MAGIC)
        return error_at(err, HUSK_E_BAD_IMAGE, offset, "the husk note has no magic number");
    if (note->format != HUSK_IMAGE_FORMAT || note->abi != HUSK_ABI_VERSION)
        return bad_version(note, offset, err);
    const uint32_t fixed = offsetof(struct husk_image_note, arrays), row = sizeof(struct husk_image_array);
    if (note->note_bytes < fixed + ARRAYS_FIRST_COUNT * row || note->note_bytes > sizeof *note ||
        (note->note_bytes - fixed) % row != 0)
        return error_at(err, HUSK_E_BAD_IMAGE, offset + offsetof(struct husk_image_note, note_bytes),
                        "a note header of %u bytes; %zu expected", note->note_bytes, sizeof *note);
    if (note->entry_gva != header->e_entry)
        return error_at(err, HUSK_E_BAD_IMAGE, offset + offsetof(struct husk_image_note, entry_gva),
                        "entry point 0x%x, but the ELF header says 0x%llx", note->entry_gva,
                        (unsigned long long)header->e_entry);
    return 0;
}

struct array_rule {
    const char *name;
    uint32_t elem_bytes;
    uint32_t limit;
};

static const struct array_rule array_rules[HUSK_ARR_COUNT] = {
    [HUSK_ARR_STRINGS] = {"strings", 1, LIMIT_STRING_BYTES},
    [HUSK_ARR_VALTYPES] = {"value types", 1, LIMIT_VALTYPES},
    [HUSK_ARR_TYPES] = {"types", sizeof(struct husk_image_type), LIMIT_TYPES},
    [HUSK_ARR_FUNCS] = {"functions", sizeof(struct husk_image_func), LIMIT_FUNCS},
    [HUSK_ARR_IMPORTS] = {"imports", sizeof(struct husk_image_import), LIMIT_IMPORTS},
    [HUSK_ARR_EXPORTS] = {"exports", sizeof(struct husk_image_export), LIMIT_EXPORTS},
    [HUSK_ARR_MEMORIES] = {"memories", sizeof(struct husk_image_memory), HUSK_MAX_MEMORIES},
    [HUSK_ARR_TABLES] = {"tables", sizeof(struct husk_image_table), LIMIT_TABLES},
    [HUSK_ARR_GLOBALS] = {"globals", sizeof(struct husk_image_global), LIMIT_GLOBALS},
    [HUSK_ARR_CODE_MAP] = {"code rows", sizeof(struct husk_image_code_row), LIMIT_ROWS},
    [HUSK_ARR_UNWIND] = {"unwind rows", sizeof(struct husk_image_unwind_row), LIMIT_ROWS},
    [HUSK_ARR_FILES] = {"source files", sizeof(struct husk_image_str), LIMIT_FILES},
    [HUSK_ARR_LINES] = {"line rows", sizeof(struct husk_image_line_row), LIMIT_ROWS},
    [HUSK_ARR_MEMORY_SIZES] = {"memory sizes", sizeof(uint64_t), HUSK_MAX_MEMORIES},
    [HUSK_ARR_TABLE_SIZES] = {"table sizes", sizeof(uint64_t), LIMIT_TABLES},
    [HUSK_ARR_HOST_STATE] = {"host state", 1, LIMIT_HOST_STATE_BYTES},
    [HUSK_ARR_HOT_PAGES] = {"hot pages", sizeof(uint64_t), LIMIT_HOT_PAGES},
};

static int check_array(const struct husk_image_array *array, const struct array_rule *rule,
                       uint64_t note_bytes, uint64_t at, struct husk_error *err) {
    if (array->count == 0)
        return 0;
    if (array->elem_bytes != rule->elem_bytes)
        return error_at(err, HUSK_E_BAD_IMAGE, at, "%s: rows of %u bytes, not %u", rule->name,
                        array->elem_bytes, rule->elem_bytes);
    if (array->count > rule->limit)
        return error_at(err, HUSK_E_BAD_IMAGE, at, "%s: %u rows, more than the limit of %u", rule->name,
                        array->count, rule->limit);
    uint64_t bytes = (uint64_t)array->count * array->elem_bytes;
    if (array->offset % 8 != 0 || bytes > note_bytes || array->offset > note_bytes - bytes)
        return error_at(err, HUSK_E_BAD_IMAGE, at,
                        "%s: offset %u, %u rows do not lie in the note of %llu bytes", rule->name,
                        array->offset, array->count, (unsigned long long)note_bytes);
    return 0;
}

static void set_arrays(struct image_code *code, const uint8_t *base) {
    const struct husk_image_array *arrays = code->note.arrays;
#define SET_ARRAY(field, id)                                                                                 \
    code->field = (const void *)(base + arrays[id].offset);                                                  \
    code->field##_count = arrays[id].count
    SET_ARRAY(strings, HUSK_ARR_STRINGS);
    SET_ARRAY(valtypes, HUSK_ARR_VALTYPES);
    SET_ARRAY(types, HUSK_ARR_TYPES);
    SET_ARRAY(funcs, HUSK_ARR_FUNCS);
    SET_ARRAY(imports, HUSK_ARR_IMPORTS);
    SET_ARRAY(exports, HUSK_ARR_EXPORTS);
    SET_ARRAY(memories, HUSK_ARR_MEMORIES);
    SET_ARRAY(tables, HUSK_ARR_TABLES);
    SET_ARRAY(globals, HUSK_ARR_GLOBALS);
    SET_ARRAY(code_rows, HUSK_ARR_CODE_MAP);
    SET_ARRAY(unwind_rows, HUSK_ARR_UNWIND);
    SET_ARRAY(files, HUSK_ARR_FILES);
    SET_ARRAY(lines, HUSK_ARR_LINES);
    SET_ARRAY(host_state, HUSK_ARR_HOST_STATE);
    SET_ARRAY(hot_pages, HUSK_ARR_HOT_PAGES);
#undef SET_ARRAY
}

/* A compiled image starts with what the module declares. */
static int declare_sizes(struct image_code *code, struct husk_error *err) {
    code->sizes = calloc((size_t)code->memories_count + code->tables_count + 1, sizeof *code->sizes);
    if (code->sizes == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the image's sizes");
    for (uint32_t i = 0; i < code->memories_count; i++)
        code->sizes[i] = code->memories[i].min_pages;
    for (uint32_t i = 0; i < code->tables_count; i++)
        code->sizes[code->memories_count + i] = code->tables[i].min_entries;
    code->memory_sizes = code->sizes;
    code->table_sizes = code->sizes + code->memories_count;
    return 0;
}

static int use_sizes_of_note(struct image_code *code, const uint8_t *base, struct husk_error *err) {
    const struct husk_image_array *arrays = code->note.arrays;
    if (arrays[HUSK_ARR_MEMORY_SIZES].count != code->memories_count ||
        arrays[HUSK_ARR_TABLE_SIZES].count != code->tables_count)
        return error_set(err, HUSK_E_BAD_IMAGE, "a snapshot must say the size of every memory and table");
    code->memory_sizes = (const void *)(base + arrays[HUSK_ARR_MEMORY_SIZES].offset);
    code->table_sizes = (const void *)(base + arrays[HUSK_ARR_TABLE_SIZES].offset);
    return 0;
}

static int read_note(struct image_code *code, const Elf64_Ehdr *header, uint64_t offset, uint64_t bytes,
                     struct husk_error *err) {
    if (bytes < offsetof(struct husk_image_note, arrays) || bytes > LIMIT_NOTE_BYTES)
        return error_at(err, HUSK_E_BAD_IMAGE, offset, "a note of %llu bytes", (unsigned long long)bytes);
    int status = image_check_note_holes(code, offset, bytes, err);
    if (status != 0)
        return status;
    const uint8_t *base = code->file->bytes + offset;
    memcpy(&code->note, base, bytes < sizeof code->note ? bytes : sizeof code->note);
    code->note_offset = offset;
    status = check_note_header(code, offset, header, err);
    if (status == 0 && code->note.note_bytes > bytes)
        status = error_at(err, HUSK_E_BAD_IMAGE, offset, "a note of %llu bytes", (unsigned long long)bytes);
    if (status == 0) /* what the file does not have is empty */
        memset((uint8_t *)&code->note + code->note.note_bytes, 0, sizeof code->note - code->note.note_bytes);
    for (uint32_t i = 0; status == 0 && i < HUSK_ARR_COUNT; i++) {
        uint64_t at = offset + offsetof(struct husk_image_note, arrays) + i * sizeof(struct husk_image_array);
        status = check_array(&code->note.arrays[i], &array_rules[i], bytes, at, err);
    }
    if (status != 0)
        return status;
    if (((uintptr_t)base & 7) != 0) { /* a note with 4-byte alignment: rows are read as structs */
        code->note_copy = malloc(bytes);
        if (code->note_copy == NULL)
            return error_set(err, HUSK_E_NOMEM, "no memory for the image's note");
        memcpy(code->note_copy, base, bytes);
        base = code->note_copy;
    }
    for (uint32_t i = 0; i < HUSK_ARR_COUNT; i++) {
        if (code->note.arrays[i].count == 0)
            code->note.arrays[i].offset = 0; /* not looked at; keep the pointer inside */
    }
    set_arrays(code, base);
    return (code->note.flags & HUSK_IMAGE_SNAPSHOT) != 0 ? use_sizes_of_note(code, base, err)
                                                         : declare_sizes(code, err);
}

int image_read(struct image_code *code, struct husk_error *err) {
    Elf64_Ehdr header = {0};
    uint64_t note_offset = 0, note_bytes = 0;
    int status = check_elf_header(code, &header, err);
    if (status == 0)
        status = read_segments(code, &header, &note_offset, &note_bytes, err);
    if (status == 0)
        status = read_note(code, &header, note_offset, note_bytes, err);
    return status;
}
