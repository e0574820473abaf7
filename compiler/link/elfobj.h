/*
 * compiler/link/elfobj.h: reads one ELF64 x86-64 relocatable object (System V gABI ch. 4), made by
 * LLVM or by the build of the guest runtime. Every access is bounds-checked. A malformed object is
 * HUSK_E_COMPILER, never a crash.
 */
#ifndef COMPILER_ELFOBJ_H
#define COMPILER_ELFOBJ_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "husk.h"

struct elfobj_section {
    Elf64_Shdr header;
    const char *name;
    const uint8_t *data;  /* header.sh_size bytes; NULL for SHT_NOBITS */
    const uint8_t *relas; /* Elf64_Rela[relas_count], perhaps unaligned */
    uint64_t relas_count;
    bool is_kept; /* is in the image; linker.c has set `address` and `image` */
    uint64_t address;
    uint8_t *image; /* the section's bytes in the image, which relocations change */
};

struct elfobj {
    const char *label; /* for messages */
    const uint8_t *elf;
    size_t bytes;
    struct elfobj_section *sections;
    uint32_t sections_count;
    Elf64_Sym *symbols;
    uint32_t symbols_count;
    const char *strings; /* the symbols' string table; it ends with a NUL */
    uint64_t strings_bytes;
};

/* `elf` is borrowed. */
int elfobj_open(struct elfobj *obj, const char *label, const uint8_t *elf, size_t bytes,
                struct husk_error *err);
void elfobj_done(struct elfobj *obj);
/* "" if the name lies outside the string table. */
const char *elfobj_symbol_name(const struct elfobj *obj, const Elf64_Sym *symbol);
/* The section with this name, or NULL. */
struct elfobj_section *elfobj_find(const struct elfobj *obj, const char *name);
Elf64_Rela elfobj_rela(const struct elfobj_section *section, uint64_t idx);

#endif
