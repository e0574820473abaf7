/*
 * host/image/image_sections.c: section headers and symbols of a saved snapshot, for readelf, objdump, gdb and perf; libhusk does not look at
 * them. One section per segment, named as the compiler's are (image-format.md), so that a debugger can read the memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "error.h"
#include "file.h"
#include "image_save.h"

int saver_put(struct saver *saver, uint64_t offset, const void *bytes, uint64_t count) {
    if (count == 0)
        return 0;
    if (lseek(saver->fd, (off_t)offset, SEEK_SET) < 0 || file_write_all(saver->fd, bytes, count) != 0)
        return error_sys(saver->err, errno, "cannot write %llu bytes of an image", (unsigned long long)count);
    if (offset + count > saver->end)
        saver->end = offset + count;
    return 0;
}

struct sections {
    struct buf rows, names; /* Elf64_Shdr; section names */
    struct buf symbols, strings;
};

static void sections_done(struct sections *sections) {
    buf_done(&sections->rows);
    buf_done(&sections->names);
    buf_done(&sections->symbols);
    buf_done(&sections->strings);
}

static uint32_t section_count(const struct sections *sections) {
    return (uint32_t)(sections->rows.count / sizeof(Elf64_Shdr));
}

static void add_section(struct sections *sections, const char *name, Elf64_Shdr section) {
    section.sh_name = (uint32_t)sections->names.count;
    buf_append(&sections->names, name, strlen(name) + 1);
    buf_append(&sections->rows, &section, sizeof section);
}

/* .data, .data.1, …; .memory.I, .memory.I.1, … */
static void writable_name(const Elf64_Phdr *header, const Elf64_Phdr *before, char name[48],
                          uint32_t *part_idx) {
    const bool is_data = header->p_vaddr < HUSK_DATA_END_GVA;
    const uint64_t mem_idx =
        header->p_vaddr < HUSK_MEM1_BASE_GVA ? 0 : (header->p_vaddr - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE;
    const bool is_first =
        is_data ? header->p_vaddr == HUSK_DATA_GVA : header->p_vaddr == husk_mem_gva((uint32_t)mem_idx);
    *part_idx = is_first || before->p_vaddr < HUSK_DATA_GVA ? 0 : *part_idx + 1;
    int bytes = is_data ? snprintf(name, 48, ".data") : snprintf(name, 48, ".memory.%u", (uint32_t)mem_idx);
    if (*part_idx != 0)
        snprintf(name + bytes, 48 - (size_t)bytes, ".%u", *part_idx);
}

static Elf64_Shdr section_of(const Elf64_Phdr *header) {
    Elf64_Shdr section = {.sh_type = SHT_PROGBITS,
                          .sh_flags = SHF_ALLOC,
                          .sh_addr = header->p_vaddr,
                          .sh_offset = header->p_offset,
                          .sh_size = header->p_filesz,
                          .sh_addralign = HUSK_PAGE_SIZE};
    if ((header->p_flags & PF_W) != 0)
        section.sh_flags |= SHF_WRITE;
    if ((header->p_flags & PF_X) != 0)
        section.sh_flags |= SHF_EXECINSTR;
    if (header->p_filesz == 0) {
        section.sh_type = SHT_NOBITS;
        section.sh_size = header->p_memsz;
    }
    return section;
}

static void add_segments(const struct saver *saver, struct sections *sections) {
    uint32_t part_idx = 0;
    add_section(sections, "", (Elf64_Shdr){0});
    for (uint32_t i = 0; i < saver->headers_count; i++) {
        const Elf64_Phdr *header = &saver->headers[i];
        char name[48];
        if (header->p_type == PT_NOTE) {
            add_section(sections, ".note.husk",
                        (Elf64_Shdr){.sh_type = SHT_NOTE,
                                     .sh_offset = header->p_offset,
                                     .sh_size = header->p_filesz,
                                     .sh_addralign = header->p_align});
        } else if ((header->p_flags & PF_W) == 0) {
            const bool is_text = (header->p_flags & PF_X) != 0;
            add_section(sections, is_text ? ".text" : ".rodata", section_of(header));
        } else {
            writable_name(header, header - 1, name, &part_idx);
            add_section(sections, name, section_of(header));
        }
    }
}

#define TEXT_SECTION 2u /* behind the empty one and the note */

static void add_symbols(const husk_image *image, struct sections *sections) {
    const Elf64_Sym none = {0};
    buf_append(&sections->symbols, &none, sizeof none);
    buf_append(&sections->strings, "", 1);
    for (uint32_t i = 0; i < image->funcs_count && sections->strings.count < UINT32_MAX / 2; i++) {
        const struct husk_image_func *func = &image->funcs[i];
        char number[32];
        if (func->code_gva == 0)
            continue;
        Elf64_Sym symbol = {.st_name = (uint32_t)sections->strings.count,
                            .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
                            .st_shndx = TEXT_SECTION,
                            .st_value = func->code_gva,
                            .st_size = func->code_bytes};
        const char *name = image->func_names[i].text;
        if (name[0] == 0) {
            snprintf(number, sizeof number, "func.%u", i);
            name = number;
        }
        buf_append(&sections->strings, name, strlen(name) + 1);
        buf_append(&sections->symbols, &symbol, sizeof symbol);
    }
}

/* Places for the three tables and the section headers, behind one another at the end of the file. */
static uint64_t add_tables(const struct saver *saver, struct sections *sections) {
    const uint64_t symbols_at = (saver->end + 7) & ~7ull;
    const uint64_t strings_at = symbols_at + sections->symbols.count;
    const uint64_t names_at = strings_at + sections->strings.count;
    add_section(
        sections, ".symtab",
        (Elf64_Shdr){.sh_type = SHT_SYMTAB,
                     .sh_offset = symbols_at,
                     .sh_size = sections->symbols.count,
                     .sh_link = section_count(sections) + 1,
                     .sh_info = (uint32_t)(sections->symbols.count / sizeof(Elf64_Sym)), /* all are local */
                     .sh_addralign = 8,
                     .sh_entsize = sizeof(Elf64_Sym)});
    add_section(sections, ".strtab",
                (Elf64_Shdr){.sh_type = SHT_STRTAB,
                             .sh_offset = strings_at,
                             .sh_size = sections->strings.count,
                             .sh_addralign = 1});
    add_section(sections, ".shstrtab",
                (Elf64_Shdr){.sh_type = SHT_STRTAB,
                             .sh_offset = names_at,
                             .sh_size = sections->names.count + sizeof ".shstrtab",
                             .sh_addralign = 1});
    return symbols_at;
}

static int put_tables(struct saver *saver, struct sections *sections, Elf64_Ehdr *ehdr) {
    add_segments(saver, sections);
    add_symbols(saver->image, sections);
    uint64_t at = add_tables(saver, sections);
    if (sections->rows.failed || sections->names.failed || sections->symbols.failed ||
        sections->strings.failed)
        return error_set(saver->err, HUSK_E_NOMEM, "no memory for the symbols of an image");
    int status = 0;
    const struct buf *const tables[] = {&sections->symbols, &sections->strings, &sections->names};
    for (size_t i = 0; i < 3 && status == 0; i++) {
        status = saver_put(saver, at, tables[i]->data, tables[i]->count);
        at += tables[i]->count;
    }
    at = (at + 7) & ~7ull;
    if (status == 0)
        status = saver_put(saver, at, sections->rows.data, sections->rows.count);
    ehdr->e_shoff = at;
    ehdr->e_shentsize = sizeof(Elf64_Shdr);
    ehdr->e_shnum = (uint16_t)section_count(sections);
    ehdr->e_shstrndx = (uint16_t)(section_count(sections) - 1);
    return status;
}

int saver_put_sections(struct saver *saver, Elf64_Ehdr *ehdr) {
    struct sections sections = {0};
    int status = put_tables(saver, &sections, ehdr);
    sections_done(&sections);
    return status;
}
