/* tests/support/object_maker.c: see object_maker.h. Sections: null, .text, data, .rela.text,
 * .symtab, .strtab. */
#include "object_maker.h"

#include <stdlib.h>
#include <string.h>

enum { SEC_NULL, SEC_TEXT, SEC_DATA, SEC_RELA, SEC_SYMTAB, SEC_STRTAB, SEC_COUNT };
#define OBJECT_BYTES_MAX 8192

uint32_t maker_symbol(struct object_maker *maker, const char *name, unsigned section,
                      uint64_t value, uint64_t size) {
    size_t i = maker->symbols_count++;
    maker->symbols[i].name = name;
    maker->symbols[i].section = section;
    maker->symbols[i].value = value;
    maker->symbols[i].size = size;
    maker->symbols[i].type = section == 1 ? STT_FUNC : STT_NOTYPE;
    return (uint32_t)i + 1;
}

void maker_rela(struct object_maker *maker, uint64_t offset, uint32_t symbol, uint32_t kind,
                int64_t addend) {
    maker->relas[maker->relas_count++] = (Elf64_Rela){
        .r_offset = offset, .r_info = ELF64_R_INFO((uint64_t)symbol, kind), .r_addend = addend};
}

struct output {
    uint8_t *bytes;
    size_t count;
    char names[1024];
    size_t names_bytes;
    Elf64_Shdr sections[SEC_COUNT];
};

static size_t put(struct output *out, const void *bytes, size_t count) {
    out->count = (out->count + 7) & ~(size_t)7;
    size_t offset = out->count;
    if (count > 0)
        memcpy(out->bytes + offset, bytes, count);
    out->count += count;
    return offset;
}

static uint32_t put_name(struct output *out, const char *name) {
    uint32_t offset = (uint32_t)out->names_bytes;
    memcpy(out->names + offset, name, strlen(name) + 1);
    out->names_bytes += strlen(name) + 1;
    return offset;
}

/* `section` has everything but name and place; its size is how much is put. */
static void put_section(struct output *out, size_t idx, const char *name, const void *bytes,
                        Elf64_Shdr section) {
    if (name != NULL)
        section.sh_name = put_name(out, name);
    section.sh_offset = put(out, bytes, section.sh_size);
    out->sections[idx] = section;
}

static void put_contents(struct output *out, const struct object_maker *maker) {
    put_section(out, SEC_TEXT, ".text", maker->text,
                (Elf64_Shdr){.sh_type = SHT_PROGBITS,
                             .sh_flags = SHF_ALLOC | SHF_EXECINSTR,
                             .sh_addralign = 16,
                             .sh_size = maker->text_bytes});
    put_section(out, SEC_DATA, maker->data_name != NULL ? maker->data_name : ".comment",
                maker->data,
                (Elf64_Shdr){.sh_type = SHT_PROGBITS,
                             .sh_flags = maker->data_flags,
                             .sh_addralign = 8,
                             .sh_size = maker->data_bytes});
    put_section(out, SEC_RELA, ".rela.text", maker->relas,
                (Elf64_Shdr){.sh_type = SHT_RELA,
                             .sh_link = SEC_SYMTAB,
                             .sh_info = SEC_TEXT,
                             .sh_entsize = sizeof(Elf64_Rela),
                             .sh_size = maker->relas_count * sizeof(Elf64_Rela)});
}

static void put_symbols(struct output *out, const struct object_maker *maker) {
    Elf64_Sym symbols[MAKER_SYMBOLS_MAX + 1] = {0};
    for (size_t i = 0; i < maker->symbols_count; i++)
        symbols[i + 1] =
            (Elf64_Sym){.st_name = put_name(out, maker->symbols[i].name),
                        .st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, maker->symbols[i].type),
                        .st_shndx = (uint16_t)maker->symbols[i].section,
                        .st_value = maker->symbols[i].value,
                        .st_size = maker->symbols[i].size};
    put_section(out, SEC_SYMTAB, NULL, symbols,
                (Elf64_Shdr){.sh_type = SHT_SYMTAB,
                             .sh_link = SEC_STRTAB,
                             .sh_info = 1,
                             .sh_entsize = sizeof(Elf64_Sym),
                             .sh_size = (maker->symbols_count + 1) * sizeof(Elf64_Sym)});
}

uint8_t *maker_finish(const struct object_maker *maker, size_t *ret_bytes) {
    struct output out = {
        .bytes = calloc(1, OBJECT_BYTES_MAX), .count = sizeof(Elf64_Ehdr), .names_bytes = 1};
    if (out.bytes == NULL)
        return NULL;
    put_contents(&out, maker);
    put_symbols(&out, maker);
    put_section(&out, SEC_STRTAB, NULL, out.names,
                (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_size = out.names_bytes});
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_REL,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_ehsize = sizeof header,
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = SEC_COUNT,
        .e_shstrndx = SEC_STRTAB};
    header.e_shoff = put(&out, out.sections, sizeof out.sections);
    memcpy(out.bytes, &header, sizeof header);
    *ret_bytes = out.count;
    return out.bytes;
}
