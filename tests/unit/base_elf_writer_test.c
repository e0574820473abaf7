/* The ELF writer: every header, section, symbol and the hash, read back from the file; and its
 * failures. */
#include "elf_writer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "husk.h"
#include "image_builder.h"
#include "content_hash.h"

#define PAGE 4096u
#define TEXT_GVA 0x400000u
#define DATA_GVA 0x20000000u
#define DIGEST_OFFSET 8u

static const uint8_t code[] = {0x90, 0x90, 0xc3};
static const uint8_t descriptor[48] = {1, 2, 3, [40] = 4};

/* The file, read back. */
struct written {
    uint8_t *bytes;
    size_t count;
    uint64_t descriptor_offset;
    Elf64_Ehdr header;
    Elf64_Phdr loads[8];
    Elf64_Shdr sections[16];
};

/* Text, a segment with two bytes in its middle, an empty one, three symbols. */
static int write_file(struct elf_writer *writer, uint32_t alignment) {
    const struct elf_note note = {"husk", 7, alignment, descriptor, sizeof descriptor};
    const Elf64_Phdr text = {.p_flags = PF_R | PF_X,
                             .p_vaddr = TEXT_GVA,
                             .p_filesz = sizeof code,
                             .p_memsz = sizeof code};
    const Elf64_Phdr data = {
        .p_flags = PF_R | PF_W, .p_vaddr = DATA_GVA, .p_filesz = PAGE, .p_memsz = 3 * PAGE};
    const Elf64_Phdr empty = {
        .p_flags = PF_R | PF_W, .p_vaddr = DATA_GVA + 4 * PAGE, .p_memsz = PAGE};
    int status = elf_writer_note(writer, 9, &note);
    if (status == 0)
        status = elf_writer_put(writer, elf_writer_load(writer, ".text", &text), code, sizeof code);
    if (status == 0)
        status = elf_writer_put(writer, elf_writer_load(writer, ".data", &data) + 100, "ab", 2);
    elf_writer_load(writer, ".empty", &empty);
    elf_writer_symbol(writer, "first", 5, TEXT_GVA, 1);
    elf_writer_symbol(writer, "a\0b", 3, TEXT_GVA + 1, 2);
    elf_writer_symbol(writer, "", 0, TEXT_GVA + 2, 3);
    if (status == 0)
        status = elf_writer_finish(writer, TEXT_GVA + 1);
    return status != 0 ? status : elf_writer_hash(writer, DIGEST_OFFSET);
}

static void write_and_read(uint32_t alignment, struct written *ret) {
    struct husk_error err;
    struct elf_writer writer;
    int fd = memfd_create("elf-writer", MFD_CLOEXEC);
    CHECK(fd >= 0);
    elf_writer_init(&writer, fd, PAGE, &err);
    CHECK_OK(write_file(&writer, alignment), err);
    *ret = (struct written){.count = writer.end, .descriptor_offset = writer.descriptor_offset};
    elf_writer_done(&writer);
    CHECK_EQ_U64(lseek(fd, 0, SEEK_END), ret->count);
    ret->bytes = malloc(ret->count);
    CHECK(ret->bytes != NULL && pread(fd, ret->bytes, ret->count, 0) == (ssize_t)ret->count);
    close(fd);
    memcpy(&ret->header, ret->bytes, sizeof ret->header);
    CHECK(ret->header.e_phnum <= 8 && ret->header.e_shnum <= 16);
    memcpy(ret->loads, ret->bytes + ret->header.e_phoff, ret->header.e_phnum * sizeof(Elf64_Phdr));
    memcpy(ret->sections, ret->bytes + ret->header.e_shoff,
           ret->header.e_shnum * sizeof(Elf64_Shdr));
}

TEST(headers_and_segments) {
    struct written file;
    write_and_read(8, &file);
    const Elf64_Ehdr *header = &file.header;
    CHECK_MEM(header->e_ident,
              ((uint8_t[]){0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}), 7);
    CHECK(header->e_type == ET_EXEC && header->e_machine == EM_X86_64);
    CHECK_EQ_U64(header->e_entry, TEXT_GVA + 1);
    CHECK_EQ_U64(header->e_phoff, sizeof *header);
    CHECK_EQ_U64(header->e_phnum, 4);
    static const Elf64_Phdr expected[] = {{.p_type = PT_LOAD,
                                           .p_flags = PF_R | PF_X,
                                           .p_vaddr = TEXT_GVA,
                                           .p_filesz = 3,
                                           .p_memsz = 3},
                                          {.p_type = PT_LOAD,
                                           .p_flags = PF_R | PF_W,
                                           .p_vaddr = DATA_GVA,
                                           .p_filesz = PAGE,
                                           .p_memsz = 3 * PAGE},
                                          {.p_type = PT_LOAD,
                                           .p_flags = PF_R | PF_W,
                                           .p_vaddr = DATA_GVA + 4 * PAGE,
                                           .p_memsz = PAGE}};
    for (size_t i = 0; i < 3; i++) {
        Elf64_Phdr load = file.loads[1 + i];
        CHECK(load.p_offset % PAGE == 0 && load.p_align == PAGE && load.p_paddr == load.p_vaddr);
        load.p_offset = load.p_align = load.p_paddr = 0;
        CHECK_MEM(&load, &expected[i], sizeof load);
    }
    CHECK_MEM(file.bytes + file.loads[1].p_offset, code, sizeof code);
    const uint8_t *data = file.bytes + file.loads[2].p_offset;
    CHECK(data[99] == 0 && data[100] == 'a' && data[101] == 'b' && data[102] == 0);
    free(file.bytes);
}

/* The descriptor lies at a multiple of 8, also in a note that is aligned to 4; and no program
 * header reaches the note. */
TEST(notes_of_both_alignments) {
    for (uint32_t alignment = 4; alignment <= 8; alignment += 4) {
        struct written file;
        Elf64_Nhdr note;
        write_and_read(alignment, &file);
        const Elf64_Phdr *segment = &file.loads[0];
        CHECK(segment->p_type == PT_NOTE && segment->p_flags == PF_R &&
              segment->p_align == alignment);
        CHECK(segment->p_offset % alignment == 0 && file.descriptor_offset % 8 == 0);
        CHECK(segment->p_offset >= sizeof(Elf64_Ehdr) + 9 * sizeof(Elf64_Phdr));
        CHECK_EQ_U64(segment->p_offset + segment->p_filesz,
                     file.descriptor_offset + sizeof descriptor);
        CHECK_EQ_U64(segment->p_memsz, segment->p_filesz);
        memcpy(&note, file.bytes + segment->p_offset, sizeof note);
        CHECK(note.n_namesz == 5 && note.n_descsz == sizeof descriptor && note.n_type == 7);
        CHECK_STR((const char *)file.bytes + segment->p_offset + sizeof note, "husk");
        CHECK_EQ_U64((segment->p_offset + sizeof note + 5 + alignment - 1) / alignment * alignment,
                     file.descriptor_offset);
        free(file.bytes);
    }
}

TEST(sections_show_the_segments) {
    static const char *const names[] = {"",       ".note.husk", ".text",   ".data",
                                        ".empty", ".symtab",    ".strtab", ".shstrtab"};
    static const uint32_t types[] = {SHT_NULL,   SHT_NOTE,   SHT_PROGBITS, SHT_PROGBITS,
                                     SHT_NOBITS, SHT_SYMTAB, SHT_STRTAB,   SHT_STRTAB};
    static const uint64_t flags[] = {
        0, 0, SHF_ALLOC | SHF_EXECINSTR, SHF_ALLOC | SHF_WRITE, SHF_ALLOC | SHF_WRITE, 0, 0, 0};
    struct written file;
    write_and_read(4, &file);
    CHECK_EQ_U64(file.header.e_shnum, 8);
    CHECK_EQ_U64(file.header.e_shstrndx, 7);
    const char *text = (const char *)file.bytes + file.sections[7].sh_offset;
    for (size_t i = 0; i < 8; i++) {
        const Elf64_Shdr *section = &file.sections[i];
        CHECK_STR(text + section->sh_name, names[i]);
        CHECK(section->sh_type == types[i] && section->sh_flags == flags[i]);
        CHECK(i < 1 || i > 4 || section->sh_offset == file.loads[i - 1].p_offset);
    }
    CHECK_EQ_U64(file.sections[3].sh_size, PAGE);
    CHECK_EQ_U64(file.sections[4].sh_size, PAGE); /* in memory */
    CHECK_EQ_U64(file.header.e_shoff + 8 * sizeof(Elf64_Shdr), file.count);
    free(file.bytes);
}

TEST(symbols) {
    static const char *const names[] = {"", "first", "a?b", ""};
    struct written file;
    write_and_read(4, &file);
    const Elf64_Shdr *table = &file.sections[5];
    CHECK(table->sh_link == 6 && table->sh_info == 4 && table->sh_offset % 8 == 0);
    CHECK_EQ_U64(table->sh_size, 4 * sizeof(Elf64_Sym));
    for (size_t i = 0; i < 4; i++) {
        Elf64_Sym symbol;
        memcpy(&symbol, file.bytes + table->sh_offset + i * sizeof symbol, sizeof symbol);
        CHECK_STR((const char *)file.bytes + file.sections[6].sh_offset + symbol.st_name, names[i]);
        CHECK_EQ_U64(symbol.st_value, i == 0 ? 0 : TEXT_GVA + i - 1);
        CHECK_EQ_U64(symbol.st_size, i);
        CHECK(i == 0 || (symbol.st_shndx == 2 && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC));
    }
    free(file.bytes);
}

TEST(the_hash_is_that_of_the_file_without_it) {
    struct written file;
    uint8_t expected[CONTENT_HASH_BYTES], *stored;
    write_and_read(8, &file);
    CHECK_MEM(file.bytes + file.descriptor_offset, descriptor, DIGEST_OFFSET);
    stored = file.bytes + file.descriptor_offset + DIGEST_OFFSET;
    uint8_t digest[CONTENT_HASH_BYTES];
    memcpy(digest, stored, sizeof digest);
    image_content_hash(file.bytes, file.count, (size_t)(stored - file.bytes), expected);
    CHECK_MEM(digest, expected, sizeof digest);
    free(file.bytes);
}

TEST(failures) {
    struct husk_error err;
    struct elf_writer writer;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    elf_writer_init(&writer, fd, PAGE, &err);
    CHECK_STATUS(write_file(&writer, 8), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "cannot write 24 bytes of an image");
    elf_writer_done(&writer);
    close(fd);
    fd = memfd_create("elf-writer", MFD_CLOEXEC);
    elf_writer_init(&writer, fd, PAGE, &err);
    writer.symbols.failed = true;
    CHECK_STATUS(write_file(&writer, 8), HUSK_E_NOMEM);
    elf_writer_done(&writer);
    elf_writer_init(&writer, fd, PAGE, &err);
    writer.end = 1u << 20; /* the file is shorter */
    CHECK_STATUS(elf_writer_hash(&writer, 0), HUSK_E_SYS);
    CHECK_CONTAINS(err.message, "cannot read an image back");
    elf_writer_done(&writer);
    close(fd);
}

TEST_MAIN()
