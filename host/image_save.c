/*
 * host/image_save.c: an image as a file of its own. One that was opened from bytes is those bytes. A snapshot becomes an ELF file like the compiler's:
 * text and rodata of the compiled image, data and memories as they were, its note with the arrays of a snapshot behind the
 * others, and section headers and symbols for people's tools.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auto.h"
#include "buf.h"
#include "error.h"
#include "file.h"
#include "image_internal.h"
#include "sha256.h"
#include "sizing.h"

struct saver {
    const husk_image *image;
    int fd;
    uint64_t end; /* of the file */
    Elf64_Phdr *headers;
    uint32_t headers_count;
    uint64_t note_offset, note_bytes; /* the descriptor */
    struct husk_error *err;
};

static int put(struct saver *saver, uint64_t offset, const void *bytes, uint64_t count) {
    if (count == 0)
        return 0;
    if (lseek(saver->fd, (off_t)offset, SEEK_SET) < 0 || file_write_all(saver->fd, bytes, count) != 0)
        return error_sys(saver->err, errno, "cannot write %llu bytes of an image", (unsigned long long)count);
    if (offset + count > saver->end)
        saver->end = offset + count;
    return 0;
}

/* A page-aligned place at the end for a segment. */
static Elf64_Phdr *add_header(struct saver *saver, uint32_t flags, uint64_t gva_value, uint64_t file_bytes,
                              uint64_t mem_bytes) {
    saver->end = page_up(saver->end);
    Elf64_Phdr *header = &saver->headers[saver->headers_count++];
    *header = (Elf64_Phdr){.p_type = PT_LOAD,
                           .p_flags = flags,
                           .p_offset = saver->end,
                           .p_vaddr = gva_value,
                           .p_paddr = gva_value,
                           .p_filesz = file_bytes,
                           .p_memsz = mem_bytes,
                           .p_align = HUSK_PAGE_SIZE};
    saver->end += file_bytes;
    return header;
}

static int put_readonly(struct saver *saver) {
    const husk_image *image = saver->image;
    const uint8_t *file = image->file->bytes;
    const Elf64_Phdr *text =
        add_header(saver, PF_R | PF_X, HUSK_TEXT_GVA, image->text_file_bytes, image->text_file_bytes);
    int status = put(saver, text->p_offset, file + image->text_offset, image->text_file_bytes);
    if (status != 0 || image->rodata_bytes == 0)
        return status;
    const Elf64_Phdr *rodata =
        add_header(saver, PF_R, image->rodata_gva, image->rodata_file_bytes, image->rodata_file_bytes);
    return put(saver, rodata->p_offset, file + image->rodata_offset, image->rodata_file_bytes);
}

/* One writable region with what the image's runs have in it; the rest of the file's part is a hole. */
static int put_writable(struct saver *saver, uint64_t gva_value, uint64_t mem_bytes) {
    const husk_image *image = saver->image;
    uint64_t file_bytes = 0;
    for (uint32_t i = 0; i < image->runs_count; i++) {
        const struct image_run *run = &image->runs[i];
        if (run->gva >= gva_value && run->gva < gva_value + mem_bytes)
            file_bytes = run->gva + run->bytes - gva_value;
        else if (run->gva < gva_value && run->gva + run->bytes > gva_value)
            file_bytes = run->gva + run->bytes - gva_value;
    }
    file_bytes = file_bytes < mem_bytes ? file_bytes : mem_bytes;
    const Elf64_Phdr *header = add_header(saver, PF_R | PF_W, gva_value, file_bytes, mem_bytes);
    int status = 0;
    for (uint64_t at = 0, bytes; at < file_bytes && status == 0; at += bytes) {
        const uint8_t *source = image_source(image, gva_value + at, &bytes);
        bytes = bytes < file_bytes - at ? bytes : file_bytes - at;
        if (source != NULL)
            status = put(saver, header->p_offset + at, source, bytes);
    }
    return status;
}

static int put_segments(struct saver *saver) {
    const husk_image *image = saver->image;
    int status = put_readonly(saver);
    for (uint32_t i = 0; i < image->data_segments_count && status == 0; i++)
        status = put_writable(saver, image->segments[i].gva, image->segments[i].mem_bytes);
    for (uint32_t i = 0; i < image->memories_count && status == 0; i++) {
        if (image->memory_sizes[i] != 0)
            status = put_writable(saver, husk_mem_gva(i), image->memory_sizes[i] * HUSK_WASM_PAGE_SIZE);
    }
    return status;
}

static void add_array(struct buf *note, struct husk_image_array *arrays, uint32_t id, uint32_t elem_bytes,
                      const void *rows, uint32_t count) {
    buf_align(note, 8);
    arrays[id] =
        (struct husk_image_array){.offset = (uint32_t)note->count, .count = count, .elem_bytes = elem_bytes};
    buf_append(note, rows, (size_t)elem_bytes * count);
}

/* A snapshot's header, the compiled image's whole descriptor behind it (so its arrays are further on by so much), and the snapshot's arrays. */
static int put_note(struct saver *saver) {
    const husk_image *image = saver->image;
    struct husk_image_note header = image->note;
    struct buf note = {0};
    const Elf64_Nhdr nhdr = {.n_namesz = sizeof HUSK_NOTE_NAME, .n_descsz = 0, .n_type = HUSK_NOTE_TYPE};
    header.note_bytes = sizeof header;
    for (uint32_t i = 0; i < HUSK_ARR_COUNT; i++)
        header.arrays[i].offset += (uint32_t)sizeof header;
    buf_append(&note, &header, sizeof header);
    buf_append(&note, image->file->bytes + image->note_offset, image->note_total_bytes);
    add_array(&note, header.arrays, HUSK_ARR_MEMORY_SIZES, 8, image->memory_sizes, image->memories_count);
    add_array(&note, header.arrays, HUSK_ARR_TABLE_SIZES, 8, image->table_sizes, image->tables_count);
    add_array(&note, header.arrays, HUSK_ARR_HOST_STATE, 1, image->host_state, image->host_state_count);
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&image->template_lock;
    pthread_mutex_lock(lock); /* sandboxes that are unloaded meanwhile add to the hot pages */
    add_array(&note, header.arrays, HUSK_ARR_HOT_PAGES, 8, image->hot_gvas, image->hot_count);
    pthread_mutex_unlock(lock);
    int status = note.failed ? error_set(saver->err, HUSK_E_NOMEM, "no memory for a snapshot's note") : 0;
    if (status == 0) {
        memset(header.content_sha256, 0, sizeof header.content_sha256);
        memcpy(note.data, &header, sizeof header);
        Elf64_Nhdr own = nhdr;
        own.n_descsz = (uint32_t)note.count;
        saver->end = page_up(saver->end);
        const uint64_t start = saver->end, name_bytes = 8; /* "husk" and its NUL, padded */
        static const char name[8] = HUSK_NOTE_NAME;
        saver->note_offset = start + sizeof own + name_bytes + 4; /* descriptors are aligned to 8 */
        saver->note_bytes = note.count;
        saver->headers[saver->headers_count++] =
            (Elf64_Phdr){.p_type = PT_NOTE,
                         .p_flags = PF_R,
                         .p_offset = start,
                         .p_filesz = saver->note_offset - start + note.count,
                         .p_memsz = saver->note_offset - start + note.count,
                         .p_align = 8};
        status = put(saver, start, &own, sizeof own);
        if (status == 0)
            status = put(saver, start + sizeof own, name, sizeof name);
        if (status == 0)
            status = put(saver, saver->note_offset, note.data, note.count);
    }
    buf_done(&note);
    return status;
}

/* ---- for readelf, objdump, gdb and perf ---- */

enum { SECTION_NULL, SECTION_TEXT, SECTION_RODATA, SECTION_NOTE, SECTION_SYMTAB, SECTION_STRTAB, SECTIONS };

static const char section_names[] = "\0.text\0.rodata\0.note.husk\0.symtab\0.strtab";

static void add_symbols(const husk_image *image, struct buf *symbols, struct buf *strings) {
    const Elf64_Sym none = {0};
    buf_append(symbols, &none, sizeof none);
    buf_append(strings, section_names, sizeof section_names);
    for (uint32_t i = 0; i < image->funcs_count; i++) {
        const struct husk_image_func *func = &image->funcs[i];
        if (func->code_gva == 0)
            continue;
        Elf64_Sym symbol = {.st_name = (uint32_t)strings->count,
                            .st_info = ELF64_ST_INFO(STB_LOCAL, STT_FUNC),
                            .st_shndx = SECTION_TEXT,
                            .st_value = func->code_gva,
                            .st_size = func->code_bytes};
        buf_append(strings, image->func_names[i].text, strlen(image->func_names[i].text) + 1);
        buf_append(symbols, &symbol, sizeof symbol);
    }
}

static Elf64_Shdr section_of(uint32_t name, const Elf64_Phdr *header, uint32_t type, uint64_t flags) {
    return (Elf64_Shdr){.sh_name = name,
                        .sh_type = type,
                        .sh_flags = flags,
                        .sh_addr = header->p_vaddr,
                        .sh_offset = header->p_offset,
                        .sh_size = header->p_filesz,
                        .sh_addralign = 16};
}

static int put_sections(struct saver *saver, Elf64_Ehdr *ehdr) {
    const husk_image *image = saver->image;
    struct buf symbols = {0}, strings = {0};
    add_symbols(image, &symbols, &strings);
    int status =
        symbols.failed || strings.failed ? error_set(saver->err, HUSK_E_NOMEM, "no memory for symbols") : 0;
    const uint64_t symbols_at = (saver->end + 7) & ~7ull, strings_at = symbols_at + symbols.count;
    const uint64_t sections_at = (strings_at + strings.count + 7) & ~7ull;
    Elf64_Shdr sections[SECTIONS] = {{0}};
    sections[SECTION_TEXT] = section_of(1, &saver->headers[0], SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR);
    sections[SECTION_RODATA] = image->rodata_bytes != 0
                                   ? section_of(7, &saver->headers[1], SHT_PROGBITS, SHF_ALLOC)
                                   : (Elf64_Shdr){.sh_name = 7, .sh_type = SHT_NOBITS};
    sections[SECTION_NOTE] = section_of(15, &saver->headers[saver->headers_count - 1], SHT_NOTE, 0);
    sections[SECTION_NOTE].sh_addralign = 8;
    sections[SECTION_SYMTAB] = (Elf64_Shdr){.sh_name = 26,
                                            .sh_type = SHT_SYMTAB,
                                            .sh_offset = symbols_at,
                                            .sh_size = symbols.count,
                                            .sh_link = SECTION_STRTAB,
                                            .sh_info = (uint32_t)(symbols.count / sizeof(Elf64_Sym)),
                                            .sh_addralign = 8,
                                            .sh_entsize = sizeof(Elf64_Sym)};
    sections[SECTION_STRTAB] = (Elf64_Shdr){.sh_name = 34,
                                            .sh_type = SHT_STRTAB,
                                            .sh_offset = strings_at,
                                            .sh_size = strings.count,
                                            .sh_addralign = 1};
    if (status == 0)
        status = put(saver, symbols_at, symbols.data, symbols.count);
    if (status == 0)
        status = put(saver, strings_at, strings.data, strings.count);
    if (status == 0)
        status = put(saver, sections_at, sections, sizeof sections);
    ehdr->e_shoff = sections_at;
    ehdr->e_shentsize = sizeof(Elf64_Shdr);
    ehdr->e_shnum = SECTIONS;
    ehdr->e_shstrndx = SECTION_STRTAB;
    buf_done(&symbols);
    buf_done(&strings);
    return status;
}

static int put_elf_header(struct saver *saver) {
    Elf64_Ehdr ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC,
                       .e_machine = EM_X86_64,
                       .e_version = EV_CURRENT,
                       .e_entry = saver->image->note.entry_gva,
                       .e_phoff = sizeof ehdr,
                       .e_ehsize = sizeof ehdr,
                       .e_phentsize = sizeof(Elf64_Phdr),
                       .e_phnum = (uint16_t)saver->headers_count};
    int status = put_sections(saver, &ehdr);
    if (status == 0)
        status = put(saver, 0, &ehdr, sizeof ehdr);
    return status != 0 ? status
                       : put(saver, sizeof ehdr, saver->headers, saver->headers_count * sizeof(Elf64_Phdr));
}

/* SHA-256 of the whole file with the hash's field zero, as it is now. */
static int put_hash(struct saver *saver) {
    void *bytes = mmap(NULL, saver->end, PROT_READ, MAP_SHARED, saver->fd, 0);
    if (bytes == MAP_FAILED)
        return error_sys(saver->err, errno, "cannot read an image back");
    uint8_t digest[SHA256_BYTES];
    sha256_bytes(bytes, saver->end, digest);
    munmap(bytes, saver->end);
    return put(saver, saver->note_offset + offsetof(struct husk_image_note, content_sha256), digest,
               sizeof digest);
}

static int save_snapshot(const husk_image *image, const char *path, struct husk_error *err) {
    auto_fd fd = -1;
    const uint32_t most = 3 + image->data_segments_count + image->memories_count;
    auto_free Elf64_Phdr *headers = calloc(most, sizeof *headers);
    if (headers == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory to save a snapshot");
    int status = image_file_memfd(&fd, err);
    if (status != 0)
        return status;
    struct saver saver = {.image = image,
                          .fd = fd,
                          .end = sizeof(Elf64_Ehdr) + most * sizeof(Elf64_Phdr),
                          .headers = headers,
                          .err = err};
    status = put_segments(&saver);
    if (status == 0)
        status = put_note(&saver);
    if (status == 0)
        status = put_elf_header(&saver);
    if (status == 0)
        status = put_hash(&saver);
    return status != 0 ? status : file_replace(path, fd, saver.end, err);
}

int husk_image_save(const husk_image *image, const char *path, struct husk_error *err) {
    if (image == NULL || path == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_save: a NULL argument");
    int status = image->code == NULL ? file_replace(path, image->file->fd, image->file->count, err)
                                     : save_snapshot(image, path, err);
    return status != 0 ? error_while(err, status, "saving an image to %s", path) : 0;
}
