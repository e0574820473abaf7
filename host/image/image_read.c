/*
 * host/image/image_read.c: reads the ELF header and the program headers (System V gABI ch. 4-5),
 * and finds the segments and the husk note. It checks every offset and size.
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

static int check_elf_header(const struct image_code *code, Elf64_Ehdr *ret_header,
                            struct husk_error *err) {
    Elf64_Ehdr header;
    if (code->file->count < sizeof header)
        return error_at(err, HUSK_E_BAD_IMAGE, 0,
                        "not an image: %llu bytes are too few for an ELF header",
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
        return error_at(err, HUSK_E_BAD_IMAGE, EI_CLASS,
                        "not an image: not a 64-bit x86-64 ELF executable");
    if (header.e_phentsize != sizeof(Elf64_Phdr))
        return error_at(err, HUSK_E_BAD_IMAGE, offsetof(Elf64_Ehdr, e_phentsize),
                        "program headers of %u bytes, not %zu", header.e_phentsize,
                        sizeof(Elf64_Phdr));
    if (header.e_phnum == 0 || header.e_phnum > LIMIT_PROGRAM_HEADERS)
        return error_at(err, HUSK_E_BAD_IMAGE, offsetof(Elf64_Ehdr, e_phnum),
                        "%u program headers; expected 1 to %u", header.e_phnum,
                        LIMIT_PROGRAM_HEADERS);
    if (!in_file(code, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr)))
        return error_at(err, HUSK_E_BAD_IMAGE, offsetof(Elf64_Ehdr, e_phoff),
                        "program headers beyond the file's end: it is truncated or damaged");
    *ret_header = header;
    return 0;
}

static int bad_segment(struct husk_error *err, uint64_t at, const Elf64_Phdr *ph,
                       const char *what) {
    return error_at(err, HUSK_E_BAD_IMAGE, at, "segment at address 0x%llx: %s",
                    (unsigned long long)ph->p_vaddr, what);
}

/* Text comes first and once, rodata at most once after it. */
static int add_readonly(struct image_code *code, const Elf64_Phdr *ph, uint64_t at,
                        struct husk_error *err) {
    if (ph->p_memsz != ph->p_filesz)
        return bad_segment(err, at, ph, "read-only, but not all of it is in the file");
    if (ph->p_vaddr < HUSK_TEXT_GVA || ph->p_memsz > HUSK_TEXT_END_GVA - HUSK_TEXT_GVA ||
        ph->p_vaddr - HUSK_TEXT_GVA > HUSK_TEXT_END_GVA - HUSK_TEXT_GVA - ph->p_memsz)
        return bad_segment(err, at, ph, "outside the text region");
    uint64_t bytes = page_up(ph->p_memsz);
    if (ph->p_flags == (PF_R | PF_X)) {
        if (ph->p_vaddr != HUSK_TEXT_GVA || code->text_bytes != 0)
            return bad_segment(
                err, at, ph,
                "there must be one executable segment, at the start of the text region");
        code->text_bytes = bytes;
        code->text_file_bytes = ph->p_filesz;
        code->text_offset = ph->p_offset;
        code->ro_bytes = bytes;
        return 0;
    }
    if (code->text_bytes == 0 || code->rodata_bytes != 0)
        return bad_segment(err, at, ph,
                           "there must be at most one read-only segment, after the text");
    code->rodata_gva = ph->p_vaddr;
    code->rodata_bytes = bytes;
    code->rodata_file_bytes = ph->p_filesz;
    code->rodata_offset = ph->p_offset;
    code->ro_bytes = ph->p_vaddr + bytes - HUSK_TEXT_GVA;
    return 0;
}

static int add_writable(struct image_code *code, const Elf64_Phdr *ph, uint64_t at,
                        struct husk_error *err) {
    if (((ph->p_filesz | ph->p_memsz) & PAGE_MASK_BYTES) != 0)
        return bad_segment(err, at, ph, "the size is not a multiple of the page size");
    bool is_data = ph->p_vaddr >= HUSK_DATA_GVA && ph->p_vaddr < HUSK_DATA_END_GVA;
    if (is_data && ph->p_memsz > HUSK_DATA_END_GVA - ph->p_vaddr)
        return bad_segment(err, at, ph, "does not fit the data region");
    const bool is_stack = image_is_stack_gva(ph->p_vaddr);
    if (is_stack && ph->p_memsz > HUSK_STACK_TOP_GVA - ph->p_vaddr)
        return bad_segment(err, at, ph, "does not fit the stack region");
    if (!is_data && !is_stack && ph->p_vaddr < HUSK_MEM0_GVA)
        return bad_segment(err, at, ph, "writable, but neither data, stack nor linear memory");
    code->segments[code->segments_count++] = (struct image_segment){.gva = ph->p_vaddr,
                                                                    .file_offset = ph->p_offset,
                                                                    .file_bytes = ph->p_filesz,
                                                                    .mem_bytes = ph->p_memsz};
    if (is_data)
        code->data_segments_count = code->segments_count;
    return 0;
}

static int add_load(struct image_code *code, const Elf64_Phdr *ph, uint64_t at,
                    struct husk_error *err) {
    if (((ph->p_vaddr | ph->p_offset) & PAGE_MASK_BYTES) != 0)
        return bad_segment(err, at, ph,
                           "address and file offset must be multiples of the page size");
    if (ph->p_filesz > ph->p_memsz)
        return bad_segment(err, at, ph, "more bytes in the file than in memory");
    if (!in_file(code, ph->p_offset, ph->p_filesz))
        return bad_segment(err, at, ph,
                           "reaches beyond the file's end: the file is truncated or damaged");
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

static int read_segments(struct image_code *code, const Elf64_Ehdr *header,
                         struct husk_error *err) {
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
            has_note = note_find(code, &ph, &code->note_offset, &code->note_bytes);
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

int image_read(struct image_code *code, struct husk_error *err) {
    Elf64_Ehdr header = {0};
    int status = check_elf_header(code, &header, err);
    if (status == 0)
        status = read_segments(code, &header, err);
    if (status == 0)
        status = image_header_read(code, err);
    code->elf_entry = header.e_entry;
    return status;
}
