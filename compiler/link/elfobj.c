/* compiler/link/elfobj.c: reads one relocatable object; see elfobj.h. Used by linker.c only. */
#include "elfobj.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

static int bad_object(const struct elfobj *obj, struct husk_error *err, const char *what) {
    return error_set(err, HUSK_E_COMPILER, "object %s: %s", obj->label, what);
}

static bool in_file(const struct elfobj *obj, uint64_t offset, uint64_t count) {
    return count <= obj->bytes && offset <= obj->bytes - count;
}

static int read_section_headers(struct elfobj *obj, const Elf64_Ehdr *header,
                                struct husk_error *err) {
    if (header->e_shentsize != sizeof(Elf64_Shdr) || header->e_shnum == 0 ||
        header->e_shstrndx >= header->e_shnum)
        return bad_object(obj, err, "unusable section header table");
    if (!in_file(obj, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr)))
        return bad_object(obj, err, "the section header table lies outside the file");
    obj->sections = calloc(header->e_shnum, sizeof obj->sections[0]);
    if (obj->sections == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to link");
    obj->sections_count = header->e_shnum;
    for (uint32_t i = 0; i < obj->sections_count; i++) {
        struct elfobj_section *section = &obj->sections[i];
        memcpy(&section->header, obj->elf + header->e_shoff + i * sizeof(Elf64_Shdr),
               sizeof(Elf64_Shdr));
        section->name = "";
        if (section->header.sh_type == SHT_NOBITS || section->header.sh_type == SHT_NULL)
            continue;
        if (!in_file(obj, section->header.sh_offset, section->header.sh_size))
            return bad_object(obj, err, "a section lies outside the file");
        section->data = obj->elf + section->header.sh_offset;
    }
    return 0;
}

/* A string table must end in NUL, so that every name in it ends. */
static bool is_string_table(const struct elfobj_section *section) {
    return section->header.sh_type == SHT_STRTAB && section->header.sh_size > 0 &&
           section->data != NULL && section->data[section->header.sh_size - 1] == 0;
}

static int name_sections(struct elfobj *obj, uint32_t strings_idx, struct husk_error *err) {
    const struct elfobj_section *strings = &obj->sections[strings_idx];
    if (!is_string_table(strings))
        return bad_object(obj, err, "no table of section names");
    for (uint32_t i = 0; i < obj->sections_count; i++) {
        if (obj->sections[i].header.sh_name >= strings->header.sh_size)
            return bad_object(obj, err, "a section's name lies outside its table");
        obj->sections[i].name = (const char *)strings->data + obj->sections[i].header.sh_name;
    }
    return 0;
}

static int read_symbols(struct elfobj *obj, const struct elfobj_section *section,
                        struct husk_error *err) {
    uint32_t strings_idx = section->header.sh_link;
    uint64_t count = section->header.sh_size / sizeof(Elf64_Sym);
    if (obj->symbols != NULL || section->header.sh_entsize != sizeof(Elf64_Sym) ||
        count > UINT32_MAX || strings_idx >= obj->sections_count ||
        !is_string_table(&obj->sections[strings_idx]))
        return bad_object(obj, err, "unusable symbol table");
    obj->symbols = malloc((size_t)count * sizeof(Elf64_Sym) + 1);
    if (obj->symbols == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to link");
    memcpy(obj->symbols, section->data, (size_t)count * sizeof(Elf64_Sym));
    obj->symbols_count = (uint32_t)count;
    obj->strings = (const char *)obj->sections[strings_idx].data;
    obj->strings_bytes = obj->sections[strings_idx].header.sh_size;
    return 0;
}

static int read_relas(struct elfobj *obj, const struct elfobj_section *section,
                      struct husk_error *err) {
    uint32_t target = section->header.sh_info;
    if (section->header.sh_entsize != sizeof(Elf64_Rela) || target >= obj->sections_count ||
        obj->sections[target].relas != NULL)
        return bad_object(obj, err, "unusable relocation section");
    obj->sections[target].relas = section->data;
    obj->sections[target].relas_count = section->header.sh_size / sizeof(Elf64_Rela);
    return 0;
}

static int read_tables(struct elfobj *obj, struct husk_error *err) {
    for (uint32_t i = 0; i < obj->sections_count; i++) {
        const struct elfobj_section *section = &obj->sections[i];
        int status = 0;
        if (section->header.sh_type == SHT_SYMTAB)
            status = read_symbols(obj, section, err);
        else if (section->header.sh_type == SHT_RELA)
            status = read_relas(obj, section, err);
        else if (section->header.sh_type == SHT_REL)
            status = bad_object(obj, err, "relocations without addends");
        if (status != 0)
            return status;
    }
    return 0;
}

int elfobj_open(struct elfobj *obj, const char *label, const uint8_t *elf, size_t bytes,
                struct husk_error *err) {
    Elf64_Ehdr header;
    *obj = (struct elfobj){.label = label, .elf = elf, .bytes = bytes};
    if (bytes < sizeof header)
        return bad_object(obj, err, "shorter than an ELF header");
    memcpy(&header, elf, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_type != ET_REL || header.e_machine != EM_X86_64)
        return bad_object(obj, err, "not an x86-64 ELF relocatable");
    int status = read_section_headers(obj, &header, err);
    if (status == 0)
        status = name_sections(obj, header.e_shstrndx, err);
    if (status == 0)
        status = read_tables(obj, err);
    if (status != 0)
        elfobj_done(obj);
    return status;
}

void elfobj_done(struct elfobj *obj) {
    free(obj->sections);
    free(obj->symbols);
    *obj = (struct elfobj){0};
}

const char *elfobj_symbol_name(const struct elfobj *obj, const Elf64_Sym *symbol) {
    return symbol->st_name < obj->strings_bytes ? obj->strings + symbol->st_name : "";
}

struct elfobj_section *elfobj_find(const struct elfobj *obj, const char *name) {
    for (uint32_t i = 0; i < obj->sections_count; i++)
        if (strcmp(obj->sections[i].name, name) == 0)
            return &obj->sections[i];
    return NULL;
}

Elf64_Rela elfobj_rela(const struct elfobj_section *section, uint64_t idx) {
    Elf64_Rela rela;
    memcpy(&rela, section->relas + idx * sizeof rela, sizeof rela);
    return rela;
}
