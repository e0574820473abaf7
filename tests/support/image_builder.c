/* tests/support/image_builder.c: see image_builder.h. */
#include "image_builder.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "content_hash.h"
#include "file.h"
#include "image.h"
#include "image_records.h"
#include "layout.h"
#include "sha256.h"

void builder_init(struct image_builder *builder) {
    memset(builder, 0, sizeof *builder);
    builder->note_align = 8;
    builder->module =
        (struct husk_image_module){.entry_gva = HUSK_TEXT_GVA, .resume_gva = HUSK_TEXT_GVA};
    builder->module.compiler = builder_string(builder, "image builder");
    builder->module.target_cpu = builder_string(builder, "x86-64");
}

void builder_done(struct image_builder *builder) {
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        buf_done(&builder->records[i]);
    for (uint32_t i = 0; i < builder->segments_count; i++)
        buf_done(&builder->segments[i].bytes);
}

struct husk_image_str builder_string(struct image_builder *builder, const char *text) {
    struct buf *strings = &builder->records[HUSK_REC_STRINGS];
    struct husk_image_str str = {(uint32_t)strings->count, (uint32_t)strlen(text)};
    buf_append(strings, text, strlen(text));
    return str;
}

uint32_t builder_row(struct image_builder *builder, enum husk_image_record_id id, const void *row,
                     size_t row_bytes) {
    struct buf *rows = &builder->records[id];
    uint32_t idx = (uint32_t)(rows->count / image_record_kinds[id].row_bytes);
    buf_append(rows, row, row_bytes);
    return idx;
}

static uint32_t type_of_letter(char letter) {
    switch (letter) {
    case 'i': return HUSK_ABI_I32;
    case 'I': return HUSK_ABI_I64;
    case 'f': return HUSK_ABI_F32;
    case 'F': return HUSK_ABI_F64;
    case 'v': return HUSK_ABI_V128;
    case 'c': return HUSK_ABI_FUNCREF;
    case 'x': return HUSK_ABI_EXNREF;
    default: return HUSK_ABI_EXTERNREF;
    }
}

uint32_t builder_type(struct image_builder *builder, const char *types, uint32_t thunk_gva) {
    struct husk_image_type row = {
        .valtypes_idx = (uint32_t)(builder->records[HUSK_REC_VALTYPES].count / sizeof(uint32_t)),
        .thunk_gva = thunk_gva};
    uint32_t *count = &row.params_count;
    for (const char *letter = types; *letter != '\0'; letter++) {
        if (*letter == '>') {
            count = &row.results_count;
            continue;
        }
        uint32_t type = type_of_letter(*letter);
        builder_row(builder, HUSK_REC_VALTYPES, &type, sizeof type);
        (*count)++;
    }
    return builder_row(builder, HUSK_REC_TYPES, &row, sizeof row);
}

uint32_t builder_func(struct image_builder *builder, uint32_t type_idx, uint32_t code_gva,
                      uint32_t code_bytes, const char *name) {
    struct husk_image_func row = {.type_idx = type_idx,
                                  .code_gva = code_gva,
                                  .code_bytes = code_bytes,
                                  .name = builder_string(builder, name)};
    return builder_row(builder, HUSK_REC_FUNCS, &row, sizeof row);
}

void builder_import(struct image_builder *builder, const char *module, const char *name,
                    uint32_t kind, uint32_t idx) {
    struct husk_image_import row = {.kind = kind, .idx = idx};
    row.module = builder_string(builder, module);
    row.name = builder_string(builder, name);
    builder_row(builder, HUSK_REC_IMPORTS, &row, sizeof row);
}

void builder_export(struct image_builder *builder, const char *name, uint32_t kind, uint32_t idx) {
    struct husk_image_export row = {
        .name = builder_string(builder, name), .kind = kind, .idx = idx};
    builder_row(builder, HUSK_REC_EXPORTS, &row, sizeof row);
}

void builder_segment(struct image_builder *builder, uint64_t gva, uint32_t flags, const void *bytes,
                     size_t count, uint64_t mem_bytes) {
    if (builder->segments_count == BUILDER_SEGMENTS_MAX)
        abort();
    struct builder_segment *segment = &builder->segments[builder->segments_count++];
    *segment = (struct builder_segment){.gva = gva, .flags = flags, .mem_bytes = mem_bytes};
    buf_append(&segment->bytes, bytes, count);
}

void builder_word(struct image_builder *builder, uint64_t gva, uint64_t word) {
    for (uint32_t i = 0; i < builder->segments_count; i++) {
        struct builder_segment *segment = &builder->segments[i];
        if (gva >= segment->gva && gva + 8 <= segment->gva + segment->bytes.count)
            memcpy(segment->bytes.data + (gva - segment->gva), &word, sizeof word);
    }
}

/* The note's descriptor, as everybody writes it, and then with what the test wants wrong. */
static void make_descriptor(struct image_builder *builder, struct buf *desc) {
    static const uint8_t wasm_sha256[32];
    struct image_record_rows records[HUSK_REC_COUNT];
    buf_append(&builder->records[HUSK_REC_MODULE], &builder->module, sizeof builder->module);
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        records[i] = (struct image_record_rows){
            builder->records[i].data, builder->records[i].count / image_record_kinds[i].row_bytes};
    image_records_write(desc, wasm_sha256, records);
    if (builder->change_note != NULL)
        builder->change_note(desc);
}

static void append_note(const struct image_builder *builder, const struct buf *desc,
                        struct buf *file, Elf64_Phdr *ret_header) {
    Elf64_Nhdr header = {.n_namesz = sizeof HUSK_NOTE_NAME,
                         .n_descsz = (uint32_t)desc->count,
                         .n_type = HUSK_NOTE_TYPE};
    buf_align(file, 8);
    uint64_t start = file->count;
    buf_append(file, &header, sizeof header);
    buf_append(file, HUSK_NOTE_NAME, sizeof HUSK_NOTE_NAME);
    buf_align(file, builder->note_align);
    buf_append(file, desc->data, desc->count);
    *ret_header = (Elf64_Phdr){.p_type = PT_NOTE,
                               .p_flags = PF_R,
                               .p_offset = start,
                               .p_filesz = file->count - start,
                               .p_align = builder->note_align};
}

uint8_t *image_note_find(uint8_t *bytes, size_t count) {
    const uint64_t magic = HUSK_IMAGE_MAGIC;
    for (size_t at = 0; at + sizeof(struct husk_image_header) <= count; at += 4)
        if (memcmp(bytes + at, &magic, sizeof magic) == 0)
            return bytes + at;
    return NULL;
}

void *image_note_rows(uint8_t *descriptor, enum husk_image_record_id id, uint64_t *ret_count) {
    struct husk_image_header header;
    struct husk_image_record record;
    memcpy(&header, descriptor, sizeof header);
    for (uint32_t i = 0; i < header.records_count; i++) {
        memcpy(&record, descriptor + header.header_bytes + i * header.record_bytes, sizeof record);
        if (strcmp(record.name, image_record_kinds[id].name) != 0)
            continue;
        if (ret_count != NULL)
            *ret_count = record.count;
        return descriptor + record.offset;
    }
    return NULL;
}

void image_content_hash(const uint8_t *bytes, size_t count, size_t field_offset,
                        uint8_t ret_total[16]) {
    struct content_hash hash;
    int fd = memfd_create("hashed", MFD_CLOEXEC);
    if (fd < 0 || file_write_all(fd, bytes, count) != 0 ||
        content_hash_read(fd, count, &hash) != 0 ||
        content_hash_total(&hash, fd, field_offset, ret_total) != 0)
        abort();
    content_hash_done(&hash);
    close(fd);
}

void image_hash_again(uint8_t *bytes, size_t count) {
    uint8_t *note = image_note_find(bytes, count);
    struct husk_image_header header;
    if (note == NULL) /* a test took it away */
        return;
    memcpy(&header, note, sizeof header);
    if (header.header_bytes < sizeof header) { /* of an older version */
        uint8_t *place = note + offsetof(struct husk_image_header, content_sha256);
        memset(place, 0, SHA256_BYTES);
        sha256_bytes(bytes, count, header.content_sha256);
        memcpy(place, header.content_sha256, SHA256_BYTES);
        return;
    }
    uint8_t *place = note + offsetof(struct husk_image_header, content_hash);
    image_content_hash(bytes, count, (size_t)(place - bytes), header.content_hash);
    memcpy(place, header.content_hash, CONTENT_HASH_BYTES);
}

uint8_t *builder_finish(struct image_builder *builder, size_t *ret_count) {
    struct buf file = {0}, desc = {0};
    Elf64_Phdr headers[BUILDER_SEGMENTS_MAX + 1];
    uint32_t count = 0;
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = builder->module.entry_gva,
        .e_phoff = sizeof header,
        .e_ehsize = sizeof header,
        .e_phentsize = sizeof headers[0],
        .e_phnum = (uint16_t)(builder->segments_count + 1)};
    make_descriptor(builder, &desc);
    buf_append_zeros(&file, HUSK_PAGE_SIZE);
    for (uint32_t i = 0; i < builder->segments_count; i++) {
        const struct builder_segment *segment = &builder->segments[i];
        buf_align(&file, HUSK_PAGE_SIZE);
        headers[count++] = (Elf64_Phdr){.p_type = PT_LOAD,
                                        .p_flags = segment->flags,
                                        .p_offset = file.count,
                                        .p_vaddr = segment->gva,
                                        .p_paddr = segment->gva,
                                        .p_filesz = segment->bytes.count,
                                        .p_memsz = segment->mem_bytes,
                                        .p_align = HUSK_PAGE_SIZE};
        buf_append(&file, segment->bytes.data, segment->bytes.count);
    }
    append_note(builder, &desc, &file, &headers[count]);
    count++;
    if (file.failed || desc.failed)
        abort();
    memcpy(file.data, &header, sizeof header);
    memcpy(file.data + sizeof header, headers, count * sizeof headers[0]);
    image_hash_again(file.data, file.count);
    buf_done(&desc);
    *ret_count = file.count;
    return file.data;
}
