/* base/elf_writer.c: writes image files as ELF; see elf_writer.h. */
#include "elf_writer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "content_hash.h"
#include "error.h"
#include "file.h"

#define NOTE_HEAD_BYTES_MAX (sizeof(Elf64_Nhdr) + 24) /* a name of 16 bytes, padded */

static uint64_t align_up(uint64_t offset, uint64_t alignment) {
    return (offset + alignment - 1) & ~(alignment - 1);
}

/* A place for so many bytes at the end of the file; returns its offset. */
static uint64_t take_room(struct elf_writer *writer, uint64_t bytes, uint64_t alignment) {
    const uint64_t offset = align_up(writer->end, alignment);
    writer->end = offset + bytes;
    return offset;
}

static uint16_t sections_count(const struct elf_writer *writer) {
    return (uint16_t)(writer->sections.count / sizeof(Elf64_Shdr));
}

static void add_section(struct elf_writer *writer, const char *name, Elf64_Shdr section) {
    section.sh_name = (uint32_t)writer->section_names.count;
    buf_append(&writer->section_names, name, strlen(name) + 1);
    buf_append(&writer->sections, &section, sizeof section);
}

void elf_writer_init(struct elf_writer *writer, int fd, uint32_t page_bytes,
                     struct husk_error *err) {
    *writer = (struct elf_writer){.fd = fd, .page_bytes = page_bytes, .err = err};
    add_section(writer, "", (Elf64_Shdr){0});
    buf_append_zeros(&writer->symbols, sizeof(Elf64_Sym));
    buf_append_zeros(&writer->symbol_names, 1);
}

void elf_writer_done(struct elf_writer *writer) {
    buf_done(&writer->headers);
    buf_done(&writer->sections);
    buf_done(&writer->section_names);
    buf_done(&writer->symbols);
    buf_done(&writer->symbol_names);
}

int elf_writer_put(struct elf_writer *writer, uint64_t offset, const void *bytes, size_t count) {
    if (count != 0 && file_write_at(writer->fd, offset, bytes, count) != 0)
        return error_sys(writer->err, errno, "cannot write %zu bytes of an image", count);
    return 0;
}

/* ---- the note and the segments ---- */

/* The bytes before the descriptor; returns how many. */
static size_t make_note_head(const struct elf_note *note, uint8_t head[NOTE_HEAD_BYTES_MAX]) {
    const size_t name_bytes = strlen(note->name) + 1;
    const Elf64_Nhdr header = {.n_namesz = (uint32_t)name_bytes,
                               .n_descsz = (uint32_t)note->descriptor_bytes,
                               .n_type = note->type};
    memset(head, 0, NOTE_HEAD_BYTES_MAX);
    memcpy(head, &header, sizeof header);
    memcpy(head + sizeof header, note->name, name_bytes);
    return align_up(sizeof header + name_bytes, note->alignment);
}

int elf_writer_note(struct elf_writer *writer, uint32_t headers_max, const struct elf_note *note) {
    uint8_t head[NOTE_HEAD_BYTES_MAX];
    char section_name[32];
    const size_t head_bytes = make_note_head(note, head);
    const uint64_t bytes = head_bytes + note->descriptor_bytes;
    const uint64_t headers_end = sizeof(Elf64_Ehdr) + headers_max * sizeof(Elf64_Phdr);
    writer->descriptor_offset = align_up(headers_end + head_bytes, 8);
    const Elf64_Phdr segment = {.p_type = PT_NOTE,
                                .p_flags = PF_R,
                                .p_offset = writer->descriptor_offset - head_bytes,
                                .p_filesz = bytes,
                                .p_memsz = bytes,
                                .p_align = note->alignment};
    buf_append(&writer->headers, &segment, sizeof segment);
    snprintf(section_name, sizeof section_name, ".note.%s", note->name);
    add_section(writer, section_name,
                (Elf64_Shdr){.sh_type = SHT_NOTE,
                             .sh_offset = segment.p_offset,
                             .sh_size = bytes,
                             .sh_addralign = note->alignment});
    writer->end = segment.p_offset + bytes;
    int status = elf_writer_put(writer, segment.p_offset, head, head_bytes);
    return status != 0 ? status
                       : elf_writer_put(writer, writer->descriptor_offset, note->descriptor,
                                        note->descriptor_bytes);
}

uint64_t elf_writer_load(struct elf_writer *writer, const char *section_name,
                         const Elf64_Phdr *load) {
    Elf64_Phdr header = *load;
    header.p_type = PT_LOAD;
    header.p_offset = take_room(writer, load->p_filesz, writer->page_bytes);
    header.p_paddr = load->p_vaddr;
    header.p_align = writer->page_bytes;
    buf_append(&writer->headers, &header, sizeof header);
    const bool is_empty = header.p_filesz == 0;
    Elf64_Shdr section = {.sh_type = is_empty ? SHT_NOBITS : SHT_PROGBITS,
                          .sh_flags = SHF_ALLOC,
                          .sh_addr = header.p_vaddr,
                          .sh_offset = header.p_offset,
                          .sh_size = is_empty ? header.p_memsz : header.p_filesz,
                          .sh_addralign = writer->page_bytes};
    if ((header.p_flags & PF_W) != 0)
        section.sh_flags |= SHF_WRITE;
    if ((header.p_flags & PF_X) != 0) {
        section.sh_flags |= SHF_EXECINSTR;
        writer->text_section_idx = sections_count(writer);
    }
    add_section(writer, section_name, section);
    return header.p_offset;
}

/* ---- symbols and section headers, for people's tools ---- */

void elf_writer_symbol(struct elf_writer *writer, const void *name, size_t name_bytes, uint64_t gva,
                       uint64_t bytes) {
    const size_t start = writer->symbol_names.count;
    const Elf64_Sym symbol = {.st_name = (uint32_t)start,
                              .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
                              .st_shndx = writer->text_section_idx,
                              .st_value = gva,
                              .st_size = bytes};
    if (start >= UINT32_MAX / 2)
        return;
    buf_append(&writer->symbol_names, name, name_bytes);
    for (size_t i = start; i < writer->symbol_names.count; i++)
        if (writer->symbol_names.data[i] == 0)
            writer->symbol_names.data[i] = '?';
    buf_append_zeros(&writer->symbol_names, 1);
    buf_append(&writer->symbols, &symbol, sizeof symbol);
}

/* A table at the end of the file; returns its offset. */
static uint64_t add_table(struct elf_writer *writer, const char *name, Elf64_Shdr section) {
    section.sh_offset = take_room(writer, section.sh_size, section.sh_addralign);
    add_section(writer, name, section);
    return section.sh_offset;
}

static Elf64_Shdr strings_of(size_t bytes) {
    return (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_size = bytes, .sh_addralign = 1};
}

int elf_writer_finish(struct elf_writer *writer, uint64_t entry_gva) {
    const Elf64_Shdr symtab = {.sh_type = SHT_SYMTAB,
                               .sh_size = writer->symbols.count,
                               .sh_link = sections_count(writer) + 1u, /* .strtab */
                               /* all are local */
                               .sh_info = (uint32_t)(writer->symbols.count / sizeof(Elf64_Sym)),
                               .sh_addralign = 8,
                               .sh_entsize = sizeof(Elf64_Sym)};
    const uint64_t symbols_at = add_table(writer, ".symtab", symtab);
    const uint64_t symbol_names_at =
        add_table(writer, ".strtab", strings_of(writer->symbol_names.count));
    const uint64_t section_names_at = add_table(
        writer, ".shstrtab", strings_of(writer->section_names.count + sizeof ".shstrtab"));
    const Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = entry_gva,
        .e_phoff = sizeof header,
        .e_shoff = take_room(writer, writer->sections.count, 8),
        .e_ehsize = sizeof header,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(writer->headers.count / sizeof(Elf64_Phdr)),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = sections_count(writer),
        .e_shstrndx = (uint16_t)(sections_count(writer) - 1)};
    const struct {
        uint64_t offset;
        const struct buf *table;
    } tables[] = {{sizeof header, &writer->headers},
                  {symbols_at, &writer->symbols},
                  {symbol_names_at, &writer->symbol_names},
                  {section_names_at, &writer->section_names},
                  {header.e_shoff, &writer->sections}};
    int status = 0;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0] && status == 0; i++)
        status = tables[i].table->failed
                     ? error_set(writer->err, HUSK_E_NOMEM, "no memory for the headers of an image")
                     : elf_writer_put(writer, tables[i].offset, tables[i].table->data,
                                      tables[i].table->count);
    return status != 0 ? status : elf_writer_put(writer, 0, &header, sizeof header);
}

int elf_writer_hash(struct elf_writer *writer, size_t descriptor_offset) {
    const uint64_t at = writer->descriptor_offset + descriptor_offset;
    uint8_t total[CONTENT_HASH_BYTES];
    return content_hash_file(writer->fd, writer->end, at, total) != 0
               ? error_sys(writer->err, errno, "cannot read an image back")
               : elf_writer_put(writer, at, total, sizeof total);
}
