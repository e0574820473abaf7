/*
 * compiler/link/relocate.c: the linker's five relocation kinds of the small code model (System V
 * psABI 4.4), and the addresses of symbols. See linker_internal.h.
 */
#include <string.h>

#include "error.h"
#include "linker_internal.h"

bool linker_local_address(const struct elfobj *obj, const Elf64_Sym *symbol,
                          uint64_t *ret_address) {
    if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= obj->sections_count ||
        !obj->sections[symbol->st_shndx].is_kept)
        return false;
    *ret_address = obj->sections[symbol->st_shndx].address + symbol->st_value;
    return true;
}

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
    if (linker_local_address(obj, symbol, ret_address) ||
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

int linker_relocate(struct linker *linker, const struct elfobj *obj,
                    struct elfobj_section *section) {
    int status = 0;
    for (uint64_t r = 0; r < section->relas_count && status == 0; r++)
        status = relocate(linker, obj, section, elfobj_rela(section, r));
    return status;
}
