/*
 * compiler/image_write.c: lays the image file out and writes it; see image_write.h. The order in the file:
 * headers, note, then every segment on pages of its own, then what only people's tools read (symbols, section
 * headers).
 */
#include "image_write.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error.h"
#include "layout.h"
#include "sha256.h"

#define PROGRAM_HEADERS_MAX 4000u /* the reader takes far more */
#define NOTE_ALIGN 4
#define HASH_PIECE_BYTES 262144
#define NOTE_DESC_OFFSET 20 /* Elf64_Nhdr and "husk\0", padded to 4 */

struct image_file {
    const struct image_input *input;
    int fd;
    uint64_t end;     /* of what has a place in the file */
    struct buf phdrs; /* Elf64_Phdr[] */
    struct buf shdrs; /* Elf64_Shdr[] */
    struct buf shnames;
    uint32_t text_shndx;
    uint64_t note_offset; /* of the descriptor */
    struct husk_error *err;
};

static uint64_t page_up(uint64_t bytes) {
    return (bytes + HUSK_PAGE_SIZE - 1) & ~(uint64_t)(HUSK_PAGE_SIZE - 1);
}

static int write_at(struct image_file *file, uint64_t offset, const void *bytes, uint64_t count) {
    const uint8_t *pos = bytes;
    while (count > 0) {
        ssize_t wrote = pwrite(file->fd, pos, count, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return error_sys(file->err, wrote == 0 ? EIO : errno, "cannot write the image");
        pos += wrote;
        offset += (uint64_t)wrote;
        count -= (uint64_t)wrote;
    }
    return 0;
}

/* ---- headers ------------------------------------------------------------------------------------------- */

static void add_section(struct image_file *file, const char *name, const Elf64_Shdr *header) {
    Elf64_Shdr row = *header;
    row.sh_name = (uint32_t)file->shnames.count;
    buf_append(&file->shnames, name, strlen(name) + 1);
    buf_append(&file->shdrs, &row, sizeof row);
}

/* A PT_LOAD at the file's end, on a fresh page, and the section that shows it. Returns its file offset. */
static uint64_t add_load(struct image_file *file, const char *name, const Elf64_Phdr *header) {
    Elf64_Phdr row = *header;
    row.p_type = PT_LOAD;
    row.p_offset = page_up(file->end);
    row.p_paddr = row.p_vaddr;
    row.p_align = HUSK_PAGE_SIZE;
    buf_append(&file->phdrs, &row, sizeof row);
    bool is_empty = row.p_filesz == 0;
    Elf64_Shdr section = {.sh_type = is_empty ? SHT_NOBITS : SHT_PROGBITS,
                          .sh_flags = SHF_ALLOC | ((row.p_flags & PF_X) != 0 ? SHF_EXECINSTR : 0) |
                                      ((row.p_flags & PF_W) != 0 ? SHF_WRITE : 0),
                          .sh_addr = row.p_vaddr,
                          .sh_offset = row.p_offset,
                          .sh_size = is_empty ? row.p_memsz : row.p_filesz,
                          .sh_addralign = HUSK_PAGE_SIZE};
    add_section(file, name, &section);
    file->end = row.p_offset + row.p_filesz;
    return row.p_offset;
}

/* ---- segments ------------------------------------------------------------------------------------------ */

static int write_code(struct image_file *file) {
    const struct linked *linked = file->input->linked;
    Elf64_Phdr text = {.p_flags = PF_R | PF_X,
                       .p_vaddr = HUSK_TEXT_GVA,
                       .p_filesz = linked->text_bytes,
                       .p_memsz = linked->text_bytes};
    file->text_shndx = (uint32_t)(file->shdrs.count / sizeof(Elf64_Shdr));
    int status = write_at(file, add_load(file, ".text", &text), linked->text, linked->text_bytes);
    if (status != 0 || linked->rodata_bytes == 0)
        return status;
    Elf64_Phdr rodata = {.p_flags = PF_R,
                         .p_vaddr = linked->rodata_gva,
                         .p_filesz = linked->rodata_bytes,
                         .p_memsz = linked->rodata_bytes};
    return write_at(file, add_load(file, ".rodata", &rodata), linked->rodata, linked->rodata_bytes);
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
    Elf64_Phdr header = {
        .p_flags = PF_R | PF_W, .p_vaddr = gva, .p_filesz = page_up(used), .p_memsz = page_up(bytes)};
    return write_at(file, add_load(file, name, &header), start, used);
}

/* The fixed part, then the initial entries of each growable table. */
static int write_data(struct image_file *file, const struct image_data *data) {
    const struct plan *plan = file->input->plan;
    int status = 0;
    if (plan->fixed_end_gva > HUSK_DATA_GVA)
        status = write_data_part(file, data, ".data", HUSK_DATA_GVA, plan->fixed_end_gva - HUSK_DATA_GVA);
    for (uint32_t i = 0; i < plan->module->tables_count && status == 0; i++) {
        uint64_t bytes = 8 * plan->module->tables[i].limits.min;
        char name[32];
        if (plan->tables[i].base_gva < plan->fixed_end_gva || bytes == 0)
            continue;
        if (file->phdrs.count / sizeof(Elf64_Phdr) >= PROGRAM_HEADERS_MAX)
            return error_set(file->err, HUSK_E_LIMIT, "more than %u growable tables with elements",
                             PROGRAM_HEADERS_MAX);
        snprintf(name, sizeof name, ".table.%u", i);
        status = write_data_part(file, data, name, plan->tables[i].base_gva, bytes);
    }
    return status;
}

/* Segments are written in the module's order, each to the range that holds it: later ones overwrite
 * earlier ones. */
static int write_memory_bytes(struct image_file *file, uint32_t mem_idx, const struct image_range *ranges,
                              const uint64_t *offsets, size_t count) {
    const struct plan *plan = file->input->plan;
    for (uint32_t i = 0; i < plan->module->datas_count; i++) {
        const struct wasm_data *data = &plan->module->datas[i];
        if (!plan->datas[i].is_static || data->mode != WASM_SEGMENT_ACTIVE || data->memory_idx != mem_idx)
            continue;
        uint64_t start = image_segment_offset(file->input, i), end = start + data->bytes.count;
        for (size_t k = 0; k < count; k++) { /* zeros at a segment's ends may lie outside every range */
            uint64_t from = start > ranges[k].start ? start : ranges[k].start;
            uint64_t to = end < ranges[k].end ? end : ranges[k].end;
            if (from >= to)
                continue;
            int status = write_at(file, offsets[k] + (from - ranges[k].start),
                                  data->bytes.data + (from - start), to - from);
            if (status != 0)
                return status;
        }
    }
    return 0;
}

/* One segment per initialised range, the last (or only) one up to the memory's initial size. */
static int write_memory(struct image_file *file, uint32_t mem_idx) {
    uint64_t size = file->input->plan->module->memories[mem_idx].limits.min * HUSK_WASM_PAGE_SIZE;
    uint64_t base = husk_mem_gva(mem_idx);
    struct buf list = {0};
    int status = image_memory_ranges(file->input, mem_idx, &list, file->err);
    size_t count = list.count / sizeof(struct image_range);
    if (status == 0 && count == 0 && size > 0) {
        struct image_range none = {0, 0};
        buf_append(&list, &none, sizeof none);
        count = 1;
    }
    if (status == 0 && count + file->phdrs.count / sizeof(Elf64_Phdr) > PROGRAM_HEADERS_MAX) {
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
        offsets[i] = add_load(file, name, &header);
    }
    if (status == 0)
        status = write_memory_bytes(file, mem_idx, ranges, offsets, count);
    free(offsets);
    buf_done(&list);
    return status;
}

/* ---- symbols ------------------------------------------------------------------------------------------- */

static void add_symbol_name(const struct image_input *input, const struct link_symbol *symbol,
                            struct buf *names) {
    const struct wasm_module *module = input->plan->module;
    char text[64] = "husk.init";
    const uint8_t *name = (const uint8_t *)text;
    if (symbol->kind == LINK_RUNTIME)
        name = (const uint8_t *)symbol->name;
    else if (symbol->kind == LINK_THUNK)
        snprintf(text, sizeof text, "husk.thunk.%u", symbol->idx);
    else if (symbol->kind == LINK_FUNC)
        snprintf(text, sizeof text, "func.%u", symbol->idx);
    size_t bytes = strlen((const char *)name);
    if (symbol->kind == LINK_FUNC && module->funcs[symbol->idx].name.count > 0) {
        name = module->funcs[symbol->idx].name.data;
        bytes = module->funcs[symbol->idx].name.count;
    }
    size_t start = names->count;
    buf_append(names, name, bytes);
    for (size_t i = start; i < names->count; i++) /* string tables end names with NUL */
        if (names->data[i] == 0)
            names->data[i] = '?';
    buf_append(names, "", 1);
}

static int write_symbols(struct image_file *file) {
    const struct linked *linked = file->input->linked;
    struct buf symbols = {0}, names = {0};
    Elf64_Sym none = {0};
    buf_append(&symbols, &none, sizeof none);
    buf_append(&names, "", 1);
    for (uint32_t i = 0; i < linked->symbols_count && names.count < UINT32_MAX / 2; i++) {
        Elf64_Sym symbol = {.st_name = (uint32_t)names.count,
                            .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
                            .st_shndx = (uint16_t)file->text_shndx,
                            .st_value = linked->symbols[i].gva,
                            .st_size = linked->symbols[i].bytes};
        add_symbol_name(file->input, &linked->symbols[i], &names);
        buf_append(&symbols, &symbol, sizeof symbol);
    }
    file->end = (file->end + 7) & ~(uint64_t)7;
    Elf64_Shdr symtab = {.sh_type = SHT_SYMTAB,
                         .sh_offset = file->end,
                         .sh_size = symbols.count,
                         .sh_link = (uint32_t)(file->shdrs.count / sizeof(Elf64_Shdr)) + 1,
                         .sh_info = (uint32_t)(symbols.count / sizeof(Elf64_Sym)), /* all are local */
                         .sh_addralign = 8,
                         .sh_entsize = sizeof(Elf64_Sym)};
    Elf64_Shdr strtab = {.sh_type = SHT_STRTAB,
                         .sh_offset = file->end + symbols.count,
                         .sh_size = names.count,
                         .sh_addralign = 1};
    add_section(file, ".symtab", &symtab);
    add_section(file, ".strtab", &strtab);
    int status =
        symbols.failed || names.failed ? error_set(file->err, HUSK_E_NOMEM, "no memory for symbols") : 0;
    if (status == 0)
        status = write_at(file, symtab.sh_offset, symbols.data, symbols.count);
    if (status == 0)
        status = write_at(file, strtab.sh_offset, names.data, names.count);
    file->end = strtab.sh_offset + names.count;
    buf_done(&symbols);
    buf_done(&names);
    return status;
}

/* ---- the file ------------------------------------------------------------------------------------------ */

/* How many program headers there will be at most: room for them is left before the note. */
static uint64_t headers_room(const struct image_input *input) {
    const struct plan *plan = input->plan;
    uint64_t count = 4 + (uint64_t)plan->module->tables_count;
    for (uint32_t i = 0; i < plan->module->datas_count; i++)
        count += plan->datas[i].is_static;
    count += plan->module->memories_count;
    uint64_t most = PROGRAM_HEADERS_MAX + 2 * HUSK_MAX_MEMORIES;
    return sizeof(Elf64_Ehdr) + (count < most ? count : most) * sizeof(Elf64_Phdr);
}

static int write_note(struct image_file *file) {
    struct buf note = {0}, desc = {0};
    int status = image_note_make(file->input, &desc, file->err);
    Elf64_Nhdr header = {
        .n_namesz = sizeof HUSK_NOTE_NAME, .n_descsz = (uint32_t)desc.count, .n_type = HUSK_NOTE_TYPE};
    buf_append(&note, &header, sizeof header);
    buf_append(&note, HUSK_NOTE_NAME, sizeof HUSK_NOTE_NAME);
    buf_align(&note, NOTE_ALIGN);
    buf_append(&note, desc.data, desc.count);
    if (status == 0 && note.failed)
        status = error_set(file->err, HUSK_E_NOMEM, "no memory for the image's note");
    /* so that the descriptor, whose rows hold 64-bit numbers, is at a multiple of 8 */
    uint64_t offset = ((headers_room(file->input) + NOTE_DESC_OFFSET + 7) & ~(uint64_t)7) - NOTE_DESC_OFFSET;
    Elf64_Phdr segment = {.p_type = PT_NOTE,
                          .p_flags = PF_R,
                          .p_offset = offset,
                          .p_filesz = note.count,
                          .p_memsz = note.count,
                          .p_align = NOTE_ALIGN};
    Elf64_Shdr section = {
        .sh_type = SHT_NOTE, .sh_offset = offset, .sh_size = note.count, .sh_addralign = NOTE_ALIGN};
    buf_append(&file->phdrs, &segment, sizeof segment);
    add_section(file, ".note.husk", &section);
    if (status == 0)
        status = write_at(file, offset, note.data, note.count);
    file->note_offset = offset + NOTE_DESC_OFFSET;
    file->end = offset + note.count;
    buf_done(&note);
    buf_done(&desc);
    return status;
}

static int write_headers(struct image_file *file) {
    Elf64_Shdr names = {.sh_type = SHT_STRTAB, .sh_offset = file->end, .sh_addralign = 1};
    names.sh_size = file->shnames.count + sizeof ".shstrtab";
    add_section(file, ".shstrtab", &names);
    if (file->phdrs.failed || file->shdrs.failed || file->shnames.failed)
        return error_set(file->err, HUSK_E_NOMEM, "no memory for ELF headers");
    uint64_t shoff = (names.sh_offset + names.sh_size + 7) & ~(uint64_t)7;
    Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                         .e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_entry = file->input->linked->entry_gva,
                         .e_phoff = sizeof header,
                         .e_shoff = shoff,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = (uint16_t)(file->phdrs.count / sizeof(Elf64_Phdr)),
                         .e_shentsize = sizeof(Elf64_Shdr),
                         .e_shnum = (uint16_t)(file->shdrs.count / sizeof(Elf64_Shdr)),
                         .e_shstrndx = (uint16_t)(file->shdrs.count / sizeof(Elf64_Shdr) - 1)};
    int status = write_at(file, 0, &header, sizeof header);
    if (status == 0)
        status = write_at(file, sizeof header, file->phdrs.data, file->phdrs.count);
    if (status == 0)
        status = write_at(file, names.sh_offset, file->shnames.data, file->shnames.count);
    if (status == 0)
        status = write_at(file, shoff, file->shdrs.data, file->shdrs.count);
    file->end = shoff + file->shdrs.count;
    return status;
}

/* SHA-256 of the file, in which the hash itself is still zero. Read, not mapped: mapping would fill the
 * holes of a memory file. */
static int write_hash(struct image_file *file) {
    uint8_t digest[SHA256_BYTES];
    struct sha256 hash;
    uint8_t *piece = malloc(HASH_PIECE_BYTES);
    if (piece == NULL)
        return error_set(file->err, HUSK_E_NOMEM, "no memory to hash the image");
    sha256_init(&hash);
    int status = 0;
    for (uint64_t pos = 0; pos < file->end && status == 0;) {
        uint64_t left = file->end - pos;
        ssize_t got = pread(file->fd, piece, left < HASH_PIECE_BYTES ? left : HASH_PIECE_BYTES, (off_t)pos);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            status = error_sys(file->err, got == 0 ? EIO : errno, "cannot read the image to hash it");
        else
            sha256_update(&hash, piece, (size_t)got);
        pos += got > 0 ? (uint64_t)got : 0;
    }
    free(piece);
    if (status != 0)
        return status;
    sha256_final(&hash, digest);
    return write_at(file, file->note_offset + offsetof(struct husk_image_note, content_sha256), digest,
                    sizeof digest);
}

static int write_all(struct image_file *file) {
    struct image_data data = {0};
    Elf64_Shdr none = {0};
    add_section(file, "", &none);
    int status = write_note(file);
    if (status == 0)
        status = write_code(file);
    if (status == 0)
        status = image_data_make(file->input, &data, file->err);
    if (status == 0)
        status = write_data(file, &data);
    free(data.bytes);
    for (uint32_t i = 0; i < file->input->plan->module->memories_count && status == 0; i++)
        status = write_memory(file, i);
    if (status == 0)
        status = write_symbols(file);
    if (status == 0)
        status = write_headers(file);
    return status == 0 ? write_hash(file) : status;
}

int image_write(const struct image_input *input, int fd, uint64_t *ret_bytes, struct husk_error *err) {
    struct image_file file = {.input = input, .fd = fd, .err = err};
    int status = write_all(&file);
    buf_done(&file.phdrs);
    buf_done(&file.shdrs);
    buf_done(&file.shnames);
    if (status == 0)
        *ret_bytes = file.end;
    return status;
}
