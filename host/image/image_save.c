/*
 * host/image/image_save.c: an image as a file of its own. One that was opened from bytes is those bytes. A snapshot becomes an ELF file like the
 * compiler's: text and rodata of the compiled image, data and memories as they were, its note with the arrays of a snapshot behind
 * the others, and section headers and symbols for people's tools (image_sections.c).
 *
 * What is saved can be opened: what would break a limit of the reader is merged (segments) or refused before anything is written.
 */
#include "image_save.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "error.h"
#include "file.h"
#include "host_limits.h"
#include "pages.h"
#include "sha256.h"

/* ---- the segments ---- */

/* A memory's contents are one segment, or several where more than so much is empty between them: the file and its hash then do without
 * the hole. The distance is doubled while there are more segments than can be mapped without being merged first (image_runs.c). At most
 * 256 for each memory of 4 GiB, then. */
#define NEAR_BYTES_MIN ((uint64_t)HUSK_WASM_PAGE_SIZE)
#define NEAR_BYTES_MAX (16ull << 20)
#define MEMORY_SEGMENTS_FEW (IMAGE_RUNS_MAPPED_MAX - 4u)

/* What the segments may have in the file: all but 4 GiB of what the reader takes, for note, symbols and headers. */
#define CONTENTS_BYTES_MAX (LIMIT_IMAGE_BYTES - (4ull << 30))

static void add_load(struct buf *headers, uint32_t flags, uint64_t gva_value, uint64_t file_bytes,
                     uint64_t mem_bytes) {
    const Elf64_Phdr header = {.p_type = PT_LOAD,
                               .p_flags = flags,
                               .p_vaddr = gva_value,
                               .p_paddr = gva_value,
                               .p_filesz = file_bytes,
                               .p_memsz = mem_bytes,
                               .p_align = HUSK_PAGE_SIZE};
    buf_append(headers, &header, sizeof header);
}

static Elf64_Phdr *last_load(const struct buf *headers) {
    return (Elf64_Phdr *)(void *)(headers->data + headers->count) - 1;
}

static uint64_t run_end(const struct image_run *run) {
    return run->gva + run->bytes;
}

/* Neighbours become one: a table's first pages and those that it has grown into. So there is a hole between any two, and at most one
 * for every two pages of the region. */
static void plan_data(const husk_image *image, struct buf *headers) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < image->data_segments_count && !headers->failed; i++) {
        const struct image_segment *segment = &image->segments[i];
        if (segment->mem_bytes == 0)
            continue;
        if (segment->gva == end)
            last_load(headers)->p_memsz += segment->mem_bytes;
        else
            add_load(headers, PF_R | PF_W, segment->gva, 0, segment->mem_bytes);
        end = segment->gva + segment->mem_bytes;
    }
}

/* How much of each data segment is in the file: up to the last run in it. Both ascend; a run may reach over several segments. */
static void fill_data(const husk_image *image, struct buf *headers, size_t first) {
    Elf64_Phdr *loads = (Elf64_Phdr *)(void *)headers->data;
    const size_t count = headers->count / sizeof *loads;
    uint32_t run_idx = 0;
    for (size_t i = first; i < count; i++) {
        const uint64_t from = loads[i].p_vaddr, to = from + loads[i].p_memsz;
        while (run_idx < image->runs_count && image->runs[run_idx].gva < to) {
            const struct image_run *run = &image->runs[run_idx];
            if (run_end(run) > from)
                loads[i].p_filesz = (run_end(run) < to ? run_end(run) : to) - from;
            if (run_end(run) > to)
                break;
            run_idx++;
        }
    }
}

/* All of the memory, so that tools see its size: the first segment may have nothing in the file. */
static void plan_memory(const husk_image *image, uint32_t mem_idx, uint64_t near_bytes, struct buf *headers) {
    const uint64_t from = husk_mem_gva(mem_idx);
    const uint64_t to = from + image->memory_sizes[mem_idx] * HUSK_WASM_PAGE_SIZE;
    if (from == to)
        return;
    add_load(headers, PF_R | PF_W, from, 0, to - from);
    for (uint32_t i = 0; i < image->runs_count && !headers->failed; i++) {
        const struct image_run *run = &image->runs[i];
        if (run_end(run) <= from || run->gva >= to)
            continue;
        Elf64_Phdr *load = last_load(headers);
        if (run->gva - (load->p_vaddr + load->p_filesz) > near_bytes) {
            load->p_memsz = run->gva - load->p_vaddr;
            add_load(headers, PF_R | PF_W, run->gva, 0, to - run->gva);
            load = last_load(headers);
        }
        load->p_filesz = run_end(run) - load->p_vaddr;
    }
}

static void plan_memories(const husk_image *image, struct buf *headers) {
    const size_t before = headers->count;
    for (uint64_t near_bytes = NEAR_BYTES_MIN; near_bytes <= NEAR_BYTES_MAX; near_bytes *= 2) {
        headers->count = before;
        for (uint32_t i = 0; i < image->memories_count; i++)
            plan_memory(image, i, near_bytes, headers);
        if ((headers->count - before) / sizeof(Elf64_Phdr) <= MEMORY_SEGMENTS_FEW)
            return;
    }
}

static int check_plan(const struct buf *headers, struct husk_error *err) {
    const Elf64_Phdr *rows = (const Elf64_Phdr *)(const void *)headers->data;
    const size_t count = headers->count / sizeof *rows;
    uint64_t bytes = 0;
    if (headers->failed)
        return error_set(err, HUSK_E_NOMEM, "no memory to save a snapshot");
    if (count > LIMIT_PROGRAM_HEADERS) /* cannot be: see plan_data() and plan_memories() */
        return error_set(err, HUSK_E_LIMIT, "the snapshot has %zu segments; a file can have %u", count,
                         LIMIT_PROGRAM_HEADERS);
    for (size_t i = 0; i < count; i++)
        bytes += page_up(rows[i].p_filesz);
    if (bytes > CONTENTS_BYTES_MAX)
        return error_set(err, HUSK_E_LIMIT,
                         "what the snapshot's memories hold is spread over %llu bytes; a file can have %llu",
                         (unsigned long long)bytes, CONTENTS_BYTES_MAX);
    return 0;
}

static int plan_headers(const husk_image *image, struct buf *headers, struct husk_error *err) {
    const Elf64_Phdr note = {.p_type = PT_NOTE, .p_flags = PF_R, .p_align = 8};
    buf_append(headers, &note, sizeof note);
    add_load(headers, PF_R | PF_X, HUSK_TEXT_GVA, image->text_file_bytes, image->text_file_bytes);
    if (image->rodata_bytes != 0)
        add_load(headers, PF_R, image->rodata_gva, image->rodata_file_bytes, image->rodata_file_bytes);
    const size_t data_first = headers->count / sizeof(Elf64_Phdr);
    plan_data(image, headers);
    if (!headers->failed)
        fill_data(image, headers, data_first);
    plan_memories(image, headers);
    return check_plan(headers, err);
}

/* ---- the note ---- */

static void add_array(struct buf *note, struct husk_image_array *array, const void *rows, uint32_t count,
                      uint32_t elem_bytes) {
    buf_align(note, 8);
    *array =
        (struct husk_image_array){.offset = (uint32_t)note->count, .count = count, .elem_bytes = elem_bytes};
    buf_append(note, rows, (size_t)elem_bytes * count);
}

/* The arrays of the compiled image; they may overlap in its file, and here they do not. */
static int add_compiled_arrays(const husk_image *image, struct husk_image_note *header, struct buf *note,
                               struct husk_error *err) {
    const uint8_t *base = image_note_base(image);
    uint64_t bytes = note->count + (LIMIT_HOT_PAGES + HUSK_MAX_MEMORIES + LIMIT_TABLES) * sizeof(uint64_t) +
                     LIMIT_HOST_STATE_BYTES; /* at most, with what a snapshot adds */
    for (uint32_t i = 0; i < HUSK_ARR_MEMORY_SIZES; i++) {
        const struct husk_image_array *array = &image->note.arrays[i];
        bytes += (uint64_t)array->count * array->elem_bytes + 8;
        if (array->count != 0 && bytes > LIMIT_NOTE_BYTES)
            return error_set(err, HUSK_E_LIMIT, "the image's note is too large for the note of a snapshot");
        add_array(note, &header->arrays[i], base + array->offset, array->count, array->elem_bytes);
    }
    return 0;
}

static int make_note(const husk_image *image, struct buf *note, struct husk_error *err) {
    struct husk_image_note header = image->note;
    header.note_bytes = sizeof header;
    memset(header.content_sha256, 0, sizeof header.content_sha256);
    buf_append(note, &header, sizeof header);
    int status = add_compiled_arrays(image, &header, note, err);
    if (status != 0)
        return status;
    if (image->host_state_count > LIMIT_HOST_STATE_BYTES)
        return error_set(err, HUSK_E_LIMIT, "host functions keep %u bytes of state; a file can have %u",
                         image->host_state_count, LIMIT_HOST_STATE_BYTES);
    struct husk_image_array *arrays = header.arrays;
    const uint32_t word = sizeof(uint64_t);
    add_array(note, &arrays[HUSK_ARR_MEMORY_SIZES], image->memory_sizes, image->memories_count, word);
    add_array(note, &arrays[HUSK_ARR_TABLE_SIZES], image->table_sizes, image->tables_count, word);
    add_array(note, &arrays[HUSK_ARR_HOST_STATE], image->host_state, image->host_state_count, 1);
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&image->template_lock;
    pthread_mutex_lock(lock); /* sandboxes that are unloaded meanwhile add to the hot pages */
    add_array(note, &arrays[HUSK_ARR_HOT_PAGES], image->hot_gvas, image->hot_count, word);
    pthread_mutex_unlock(lock);
    if (note->failed)
        return error_set(err, HUSK_E_NOMEM, "no memory for a snapshot's note");
    memcpy(note->data, &header, sizeof header);
    return 0;
}

/* ---- writing ---- */

static int put_note(struct saver *saver, const struct buf *note) {
    static const char name[8] = HUSK_NOTE_NAME; /* and its NUL, padded */
    const Elf64_Nhdr nhdr = {
        .n_namesz = sizeof HUSK_NOTE_NAME, .n_descsz = (uint32_t)note->count, .n_type = HUSK_NOTE_TYPE};
    const uint64_t start = (saver->end + 7) & ~7ull;
    saver->descriptor_offset = (start + sizeof nhdr + sizeof name + 7) & ~7ull;
    Elf64_Phdr *header = &saver->headers[0];
    header->p_offset = start;
    header->p_filesz = header->p_memsz = saver->descriptor_offset + note->count - start;
    int status = saver_put(saver, start, &nhdr, sizeof nhdr);
    if (status == 0)
        status = saver_put(saver, start + sizeof nhdr, name, sizeof name);
    return status != 0 ? status : saver_put(saver, saver->descriptor_offset, note->data, note->count);
}

struct segment_place {
    struct saver *saver;
    const Elf64_Phdr *header;
};

static int put_contents(void *user, uint64_t gva_value, const uint8_t *contents, uint64_t bytes) {
    const struct segment_place *place = user;
    return saver_put(place->saver, place->header->p_offset + (gva_value - place->header->p_vaddr), contents,
                     bytes);
}

/* Pages of zeros stay holes. */
static int put_writable(struct saver *saver, const Elf64_Phdr *header) {
    struct segment_place place = {saver, header};
    return image_contents(saver->image, header->p_vaddr, header->p_filesz, put_contents, &place);
}

/* Text or rodata. Holes stay holes: through the file's mapping they would become memory. */
static int put_readonly(struct saver *saver, const Elf64_Phdr *header) {
    const husk_image *image = saver->image;
    const uint64_t start = (header->p_flags & PF_X) != 0 ? image->text_offset : image->rodata_offset;
    uint64_t from = start, data, data_end;
    int status = 0;
    for (; status == 0 && image_file_next_data(image->file, from, start + header->p_filesz, &data, &data_end);
         from = data_end)
        status =
            saver_put(saver, header->p_offset + (data - start), image->file->bytes + data, data_end - data);
    return status;
}

static int put_segments(struct saver *saver) {
    int status = 0;
    for (uint32_t i = 0; i < saver->headers_count && status == 0; i++) {
        Elf64_Phdr *header = &saver->headers[i];
        if (header->p_type != PT_LOAD)
            continue;
        header->p_offset = page_up(saver->end);
        saver->end = header->p_offset + header->p_filesz;
        if ((header->p_flags & PF_W) != 0)
            status = put_writable(saver, header);
        else
            status = put_readonly(saver, header);
    }
    return status;
}

static int put_headers(struct saver *saver) {
    Elf64_Ehdr ehdr = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC,
                       .e_machine = EM_X86_64,
                       .e_version = EV_CURRENT,
                       .e_entry = saver->image->note.entry_gva,
                       .e_phoff = sizeof ehdr,
                       .e_ehsize = sizeof ehdr,
                       .e_phentsize = sizeof(Elf64_Phdr),
                       .e_phnum = (uint16_t)saver->headers_count};
    int status = saver_put_sections(saver, &ehdr);
    if (status == 0)
        status = saver_put(saver, 0, &ehdr, sizeof ehdr);
    return status != 0
               ? status
               : saver_put(saver, sizeof ehdr, saver->headers, saver->headers_count * sizeof(Elf64_Phdr));
}

/* SHA-256 of the whole file with the hash's field zero, as it is now. Read, not mapped: others may change the file. */
static int put_hash(struct saver *saver) {
    struct sha256 hash;
    uint8_t bytes[16384], digest[SHA256_BYTES];
    sha256_init(&hash);
    for (uint64_t at = 0; at < saver->end;) {
        ssize_t got = pread(saver->fd, bytes, sizeof bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_sys(saver->err, got < 0 ? errno : EIO, "cannot read an image back");
        sha256_update(&hash, bytes, (size_t)got);
        at += (uint64_t)got;
    }
    sha256_final(&hash, digest);
    return saver_put(saver, saver->descriptor_offset + offsetof(struct husk_image_note, content_sha256),
                     digest, sizeof digest);
}

static int put_all(struct saver *saver, const struct buf *note) {
    int status = put_note(saver, note);
    if (status == 0)
        status = put_segments(saver);
    if (status == 0)
        status = put_headers(saver);
    return status != 0 ? status : put_hash(saver);
}

static int save_to(const char *path, struct saver *saver, const struct buf *note) {
    struct file_replacement new;
    int status = file_replacement_begin(&new, path, saver->err);
    if (status != 0)
        return status;
    saver->fd = new.fd;
    status = put_all(saver, note);
    if (status == 0)
        return file_replacement_commit(&new, saver->err);
    file_replacement_abort(&new);
    return status;
}

static int save_snapshot(const husk_image *image, const char *path, struct husk_error *err) {
    struct buf headers = {0}, note = {0};
    int status = plan_headers(image, &headers, err);
    if (status == 0)
        status = make_note(image, &note, err);
    if (status == 0) {
        struct saver saver = {.image = image,
                              .end = sizeof(Elf64_Ehdr) + headers.count,
                              .headers = (Elf64_Phdr *)(void *)headers.data,
                              .headers_count = (uint32_t)(headers.count / sizeof(Elf64_Phdr)),
                              .err = err};
        status = save_to(path, &saver, &note);
    }
    buf_done(&headers);
    buf_done(&note);
    return status;
}

int husk_image_save(const husk_image *image, const char *path, struct husk_error *err) {
    if (image == NULL || path == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_save: a NULL argument");
    int status = image->code == NULL ? file_replace(path, image->file->fd, image->file->count, err)
                                     : save_snapshot(image, path, err);
    return status != 0 ? error_while(err, status, "saving an image to %s", path) : 0;
}
