/*
 * base/elf_writer.h: writes image files as ELF64 x86-64 executables (System V gABI, ch. 4 and 5).
 * The compiler writes images with it, and the host writes snapshots. The file holds headers, the
 * note, the segments (each on its own pages), symbols and section headers. Symbols and section
 * headers exist for debuggers and other tools.
 *
 * Order of calls: init, note, for each segment load and put, symbols, finish, hash, done. A writer
 * remembers that memory ran out, as buf.h does. elf_writer_finish() reports it.
 */
#ifndef BASE_ELF_WRITER_H
#define BASE_ELF_WRITER_H

#include <elf.h>

#include "buf.h"
#include "husk.h"

struct elf_writer {
    int fd;                     /* borrowed: an empty file to read and write; its offset moves */
    uint32_t page_bytes;        /* segments start at multiples of it in the file */
    uint64_t end;               /* the end of the file so far; the next part starts here or later */
    uint64_t descriptor_offset; /* of the note, in the file: a multiple of 8 */
    uint16_t text_section_idx;  /* of the last executable segment */
    struct buf headers;         /* Elf64_Phdr */
    struct buf sections;        /* Elf64_Shdr */
    struct buf section_names;
    struct buf symbols; /* Elf64_Sym */
    struct buf symbol_names;
    struct husk_error *err; /* for every error; may be NULL */
};

void elf_writer_init(struct elf_writer *writer, int fd, uint32_t page_bytes,
                     struct husk_error *err);
void elf_writer_done(struct elf_writer *writer);

struct elf_note {
    const char *name; /* shown as section .note.NAME; with its NUL at most 16 bytes */
    uint32_t type;
    uint32_t alignment; /* of the note and its descriptor: 4 or 8 */
    const void *descriptor;
    size_t descriptor_bytes;
};

/* Write the note, after room for headers_max program headers. HUSK_E_SYS. */
int elf_writer_note(struct elf_writer *writer, uint32_t headers_max, const struct elf_note *note);
/* Add a PT_LOAD segment at the end of the file, and a section for it. Only flags, address and sizes
 * of `load` are used. Returns the segment's offset in the file. The caller puts the bytes there;
 * bytes that it does not put are zero. */
uint64_t elf_writer_load(struct elf_writer *writer, const char *section_name,
                         const Elf64_Phdr *load);
/* Write bytes of a segment to this offset in the file. HUSK_E_SYS. */
int elf_writer_put(struct elf_writer *writer, uint64_t offset, const void *bytes, size_t count);
/* Add a symbol for a function of the executable segment. A NUL in its name is written as '?'. Once
 * there are 2 GiB of names, further symbols are dropped. */
void elf_writer_symbol(struct elf_writer *writer, const void *name, size_t name_bytes, uint64_t gva,
                       uint64_t bytes);
/* Write symbols, section headers, program headers and the ELF header. Then the file is complete,
 * and writer->end is its size. HUSK_E_NOMEM, HUSK_E_SYS. */
int elf_writer_finish(struct elf_writer *writer, uint64_t entry_gva);
/* Hash the whole file as it is now (content_hash.h), and write the hash at this offset of the
 * note's descriptor. HUSK_E_SYS, HUSK_E_NOMEM. */
int elf_writer_hash(struct elf_writer *writer, size_t descriptor_offset);

#endif
