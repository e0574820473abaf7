/*
 * host/image/image_save.c: writes an image to a separate file. An image that was opened from bytes
 * is saved as those bytes. A snapshot becomes an ELF file like the compiler's. It has text and
 * rodata of the compiled image, and the snapshot's data and memories. Its note has a snapshot's
 * records in addition to the others. Section headers and symbols are for debuggers and other tools
 * (base/elf_writer.h).
 *
 * A saved file can be opened. If it would break a limit of the reader, segments are merged, or the
 * image is refused before anything is written.
 */
#include <stdio.h>
#include <string.h>

#include "auto.h"
#include "buf.h"
#include "elf_writer.h"
#include "error.h"
#include "file.h"
#include "host_limits.h"
#include "image_internal.h"
#include "image_records.h"
#include "pages.h"

/* ---- the segments ---- */

/* A memory's contents are one segment, or several where more than so much is empty between them:
 * the file and its hash then do without the hole. The distance is doubled while there are more
 * segments than can be mapped without being merged first (image_runs.c). At most 256 for each
 * memory of 4 GiB, then, and 512 for a private layer. */
#define NEAR_BYTES_MIN ((uint64_t)HUSK_WASM_PAGE_SIZE)
#define NEAR_BYTES_MAX (16ull << 20)
#define MEMORY_SEGMENTS_FEW (IMAGE_RUNS_MAPPED_MAX - 4u)

/* What the segments may have in the file: all but 4 GiB of what the reader takes, for note, symbols
 * and headers. */
#define CONTENTS_BYTES_MAX (LIMIT_IMAGE_BYTES - (4ull << 30))

static void add_load(struct buf *loads, uint32_t flags, uint64_t gva_value, uint64_t file_bytes,
                     uint64_t mem_bytes) {
    const Elf64_Phdr load = {
        .p_flags = flags, .p_vaddr = gva_value, .p_filesz = file_bytes, .p_memsz = mem_bytes};
    buf_append(loads, &load, sizeof load);
}

static Elf64_Phdr *last_load(const struct buf *loads) {
    return (Elf64_Phdr *)(void *)(loads->data + loads->count) - 1;
}

static uint64_t run_end(const struct image_run *run) {
    return run->gva + run->bytes;
}

/* Neighbours become one: a table's first pages and those that it has grown into. So there is a hole
 * between any two, and at most one for every two pages of the region. */
static void plan_data(const husk_image *image, struct buf *loads) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < image->data_segments_count && !loads->failed; i++) {
        const struct image_segment *segment = &image->segments[i];
        if (segment->mem_bytes == 0)
            continue;
        if (segment->gva == end)
            last_load(loads)->p_memsz += segment->mem_bytes;
        else
            add_load(loads, PF_R | PF_W, segment->gva, 0, segment->mem_bytes);
        end = segment->gva + segment->mem_bytes;
    }
}

/* How much of each data segment is in the file: up to the last run in it. Both ascend; a run may
 * reach over several segments. */
static void fill_data(const husk_image *image, struct buf *loads, size_t first) {
    Elf64_Phdr *rows = (Elf64_Phdr *)(void *)loads->data;
    const size_t count = loads->count / sizeof *rows;
    uint32_t run_idx = 0;
    for (size_t i = first; i < count; i++) {
        const uint64_t from = rows[i].p_vaddr, to = from + rows[i].p_memsz;
        while (run_idx < image->runs_count && image->runs[run_idx].gva < to) {
            const struct image_run *run = &image->runs[run_idx];
            if (run_end(run) > from)
                rows[i].p_filesz = (run_end(run) < to ? run_end(run) : to) - from;
            if (run_end(run) > to)
                break;
            run_idx++;
        }
    }
}

/* A memory, or the private layer: [from, to). All of it, so that tools see its size: the first
 * segment may have nothing in the file. */
static void plan_memory(const husk_image *image, uint64_t from, uint64_t to, uint64_t near_bytes,
                        struct buf *loads) {
    if (from == to)
        return;
    add_load(loads, PF_R | PF_W, from, 0, to - from);
    for (uint32_t i = 0; i < image->runs_count && !loads->failed; i++) {
        const struct image_run *run = &image->runs[i];
        if (run_end(run) <= from || run->gva >= to)
            continue;
        Elf64_Phdr *load = last_load(loads);
        if (run->gva - (load->p_vaddr + load->p_filesz) > near_bytes) {
            load->p_memsz = run->gva - load->p_vaddr;
            add_load(loads, PF_R | PF_W, run->gva, 0, to - run->gva);
            load = last_load(loads);
        }
        load->p_filesz = run_end(run) - load->p_vaddr;
    }
}

static void plan_all_memories(const husk_image *image, uint64_t near_bytes, struct buf *loads) {
    const uint32_t count = image->code->memories_count;
    for (uint32_t i = 0; i < count || i <= 1; i++) {
        if (i == 1) /* where its addresses are, also where there is no memory */
            plan_memory(image, HUSK_FILES_GVA, HUSK_FILES_GVA + image->files_bytes, near_bytes,
                        loads);
        const uint64_t from = husk_mem_gva(i);
        if (i < count)
            plan_memory(image, from, from + image->memory_sizes[i] * HUSK_WASM_PAGE_SIZE,
                        near_bytes, loads);
    }
}

static void plan_memories(const husk_image *image, struct buf *loads) {
    const size_t before = loads->count;
    for (uint64_t near_bytes = NEAR_BYTES_MIN; near_bytes <= NEAR_BYTES_MAX; near_bytes *= 2) {
        loads->count = before;
        plan_all_memories(image, near_bytes, loads);
        if ((loads->count - before) / sizeof(Elf64_Phdr) <= MEMORY_SEGMENTS_FEW)
            return;
    }
}

static int check_plan(const struct buf *loads, struct husk_error *err) {
    const Elf64_Phdr *rows = (const Elf64_Phdr *)(const void *)loads->data;
    const size_t count = loads->count / sizeof *rows;
    uint64_t bytes = 0;
    if (loads->failed)
        return error_set(err, HUSK_E_NOMEM, "no memory to save a snapshot");
    if (count >= LIMIT_PROGRAM_HEADERS) /* cannot be: see plan_data() and plan_memories() */
        return error_set(err, HUSK_E_LIMIT,
                         "the snapshot has %zu segments and a note; a file can have %u", count,
                         LIMIT_PROGRAM_HEADERS);
    for (size_t i = 0; i < count; i++)
        bytes += page_up(rows[i].p_filesz);
    if (bytes > CONTENTS_BYTES_MAX)
        return error_set(
            err, HUSK_E_LIMIT,
            "what the snapshot's memories hold is spread over %llu bytes; a file can have %llu",
            (unsigned long long)bytes, CONTENTS_BYTES_MAX);
    return 0;
}

/* Elf64_Phdr rows with flags, address and sizes: text, rodata, data, the stack of a standing call,
 * memory 0, the private layer, the other memories. They ascend by address. */
static int plan_loads(const husk_image *image, struct buf *loads, struct husk_error *err) {
    const struct image_code *code = image->code;
    add_load(loads, PF_R | PF_X, HUSK_TEXT_GVA, code->text_file_bytes, code->text_file_bytes);
    if (code->rodata_bytes != 0)
        add_load(loads, PF_R, code->rodata_gva, code->rodata_file_bytes, code->rodata_file_bytes);
    const size_t data_first = loads->count / sizeof(Elf64_Phdr);
    plan_data(image, loads);
    if (!loads->failed)
        fill_data(image, loads, data_first);
    plan_memory(image, image_stack_gva(image), HUSK_STACK_TOP_GVA, UINT64_MAX, loads);
    plan_memories(image, loads);
    return check_plan(loads, err);
}

/* ---- the note ---- */

/* A copy: sandboxes that are unloaded meanwhile add to them, and must not wait for the note. */
static void copy_hot_pages(const husk_image *image, struct buf *pages) {
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&image->template_lock;
    pthread_mutex_lock(lock);
    buf_append(pages, image->hot_gvas, image->hot_count * sizeof image->hot_gvas[0]);
    pthread_mutex_unlock(lock);
}

/* What the compiled image has, with the flags of a snapshot, and what the snapshot has of its
 * own. */
static int write_note(const husk_image *image, const struct buf *hot_pages, struct buf *note,
                      struct husk_error *err) {
    const struct image_code *code = image->code;
    struct husk_image_module module = code->module;
    struct image_record_rows records[HUSK_REC_COUNT];
    module.flags = image->flags;
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++)
        records[i] = (struct image_record_rows){code->records[i].rows, code->records[i].count};
    records[HUSK_REC_MODULE].rows = &module;
    records[HUSK_REC_MEMORY_SIZES] =
        (struct image_record_rows){image->memory_sizes, code->memories_count};
    records[HUSK_REC_TABLE_SIZES] =
        (struct image_record_rows){image->table_sizes, code->tables_count};
    records[HUSK_REC_HOST_STATE] =
        (struct image_record_rows){image->host_state, image->host_state_count};
    records[HUSK_REC_HOT_PAGES] =
        (struct image_record_rows){hot_pages->data, hot_pages->count / sizeof(uint64_t)};
    if (image->standing != NULL) {
        records[HUSK_REC_STANDING] = (struct image_record_rows){image->standing, 1};
        records[HUSK_REC_STANDING_ARGS] = (struct image_record_rows){
            image->standing_args, (uint32_t)image_standing_type(image).params_count};
    } else {
        records[HUSK_REC_STANDING].count = records[HUSK_REC_STANDING_ARGS].count = 0;
    }
    if (image->host_state_count > LIMIT_HOST_STATE_BYTES)
        return error_set(err, HUSK_E_LIMIT,
                         "host functions keep %u bytes of state; a file can have %u",
                         image->host_state_count, LIMIT_HOST_STATE_BYTES);
    if (image_records_bytes(records) > LIMIT_NOTE_BYTES)
        return error_set(err, HUSK_E_LIMIT,
                         "the image's note is too large for the note of a snapshot");
    image_records_write(note, code->header.wasm_sha256, records);
    return 0;
}

static int make_note(const husk_image *image, struct buf *note, struct husk_error *err) {
    struct buf hot_pages = {0};
    copy_hot_pages(image, &hot_pages);
    int status = hot_pages.failed ? 0 : write_note(image, &hot_pages, note, err);
    if (status == 0 && (hot_pages.failed || note->failed))
        status = error_set(err, HUSK_E_NOMEM, "no memory for a snapshot's note");
    buf_done(&hot_pages);
    return status;
}

/* ---- writing ---- */

struct saver {
    const husk_image *image;
    struct elf_writer elf;
};

/* A segment that has its place in the file. */
struct saved_load {
    struct saver *saver;
    const Elf64_Phdr *load;
    uint64_t offset;
};

static int put_contents(void *user, uint64_t gva_value, const uint8_t *contents, uint64_t bytes) {
    const struct saved_load *saved = user;
    return elf_writer_put(&saved->saver->elf, saved->offset + (gva_value - saved->load->p_vaddr),
                          contents, bytes);
}

/* Text or rodata. Holes stay holes: through the file's mapping they would become memory. */
static int put_readonly(const struct saved_load *saved) {
    const husk_image *image = saved->saver->image;
    const struct image_code *code = image->code;
    const uint64_t start =
        (saved->load->p_flags & PF_X) != 0 ? code->text_offset : code->rodata_offset;
    const uint64_t end = start + saved->load->p_filesz;
    uint64_t from = start, data, data_end;
    int status = 0;
    for (; status == 0 && image_file_next_data(code->file, from, end, &data, &data_end);
         from = data_end)
        status = elf_writer_put(&saved->saver->elf, saved->offset + (data - start),
                                code->file->bytes + data, data_end - data);
    return status;
}

/* .data, .data.1, …; .memory.I, .memory.I.1, …; .files, .files.1, …: as the compiler names them
 * (image-format.md), so that a debugger can read the memory. */
static void writable_name(const Elf64_Phdr *load, char name[48], uint32_t *part_idx) {
    const bool is_data = load->p_vaddr < HUSK_DATA_END_GVA;
    const bool is_files = husk_is_files_gva(load->p_vaddr);
    if (image_is_stack_gva(load->p_vaddr)) {
        snprintf(name, 48, ".stack");
        return;
    }
    const uint32_t mem_idx =
        load->p_vaddr < HUSK_MEM1_BASE_GVA
            ? 0
            : (uint32_t)((load->p_vaddr - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE);
    const uint64_t first_gva = is_data    ? HUSK_DATA_GVA
                               : is_files ? (uint64_t)HUSK_FILES_GVA
                                          : husk_mem_gva(mem_idx);
    const Elf64_Phdr *before = load - 1; /* text comes before all of them */
    *part_idx = load->p_vaddr == first_gva || before->p_vaddr < HUSK_DATA_GVA ? 0 : *part_idx + 1;
    int bytes = is_data    ? snprintf(name, 48, ".data")
                : is_files ? snprintf(name, 48, ".files")
                           : snprintf(name, 48, ".memory.%u", mem_idx);
    if (*part_idx != 0)
        snprintf(name + bytes, 48 - (size_t)bytes, ".%u", *part_idx);
}

static int put_segments(struct saver *saver, const struct buf *loads) {
    const Elf64_Phdr *rows = (const Elf64_Phdr *)(const void *)loads->data;
    uint32_t part_idx = 0;
    int status = 0;
    for (size_t i = 0; i < loads->count / sizeof *rows && status == 0; i++) {
        const Elf64_Phdr *load = &rows[i];
        struct saved_load saved = {.saver = saver, .load = load};
        char name[48];
        if ((load->p_flags & PF_W) == 0) {
            saved.offset = elf_writer_load(&saver->elf,
                                           (load->p_flags & PF_X) != 0 ? ".text" : ".rodata", load);
            status = put_readonly(&saved);
        } else { /* pages of zeros stay holes */
            writable_name(load, name, &part_idx);
            saved.offset = elf_writer_load(&saver->elf, name, load);
            status =
                image_contents(saver->image, load->p_vaddr, load->p_filesz, put_contents, &saved);
        }
    }
    return status;
}

/* Their names were checked (plan_make()). */
static void add_symbols(struct saver *saver) {
    const struct image_code *code = saver->image->code;
    for (uint32_t i = 0; i < code->funcs_count; i++) {
        const struct husk_image_func *func = &code->funcs[i];
        struct image_name name = {"", 0};
        char number[32];
        if (func->code_gva == 0)
            continue;
        (void)image_func_symbol(code, i, &name, NULL);
        if (name.bytes == 0)
            name =
                (struct image_name){number, (size_t)snprintf(number, sizeof number, "func.%u", i)};
        elf_writer_symbol(&saver->elf, name.text, name.bytes, func->code_gva, func->code_bytes);
    }
}

static int put_all(struct saver *saver, const struct buf *loads, const struct buf *descriptor) {
    const struct elf_note note = {.name = HUSK_NOTE_NAME,
                                  .type = HUSK_NOTE_TYPE,
                                  .alignment = 8,
                                  .descriptor = descriptor->data,
                                  .descriptor_bytes = descriptor->count};
    const size_t headers_count = 1 + loads->count / sizeof(Elf64_Phdr);
    int status = elf_writer_note(&saver->elf, (uint32_t)headers_count, &note);
    if (status == 0)
        status = put_segments(saver, loads);
    if (status != 0)
        return status;
    add_symbols(saver);
    status = elf_writer_finish(&saver->elf, saver->image->code->module.entry_gva);
    return status != 0
               ? status
               : elf_writer_hash(&saver->elf, offsetof(struct husk_image_header, content_hash));
}

/* What a snapshot's file is made of. */
struct plan {
    struct buf loads, descriptor;
};

static void plan_done(struct plan *plan) {
    buf_done(&plan->loads);
    buf_done(&plan->descriptor);
}

/* All that is refused is refused here. */
static int plan_make(const husk_image *image, struct plan *ret_plan, struct husk_error *err) {
    struct plan plan = {0};
    int status = image_check_func_names(image->code, err);
    if (status == 0)
        status = plan_loads(image, &plan.loads, err);
    if (status == 0)
        status = make_note(image, &plan.descriptor, err);
    if (status != 0)
        plan_done(&plan);
    else
        *ret_plan = plan;
    return status;
}

/* To an empty file. */
static int write_file(const husk_image *image, const struct plan *plan, int fd,
                      struct husk_error *err) {
    struct saver saver = {.image = image};
    elf_writer_init(&saver.elf, fd, HUSK_PAGE_SIZE, err);
    int status = put_all(&saver, &plan->loads, &plan->descriptor);
    elf_writer_done(&saver.elf);
    return status;
}

static int save_snapshot(const husk_image *image, const char *path, struct husk_error *err) {
    struct file_replacement new;
    struct plan plan;
    int status = plan_make(image, &plan, err);
    if (status != 0)
        return status;
    status = file_replacement_begin(&new, path, err);
    if (status == 0) {
        status = write_file(image, &plan, new.fd, err);
        if (status == 0)
            status = file_replacement_commit(&new, err);
        else
            file_replacement_abort(&new);
    }
    plan_done(&plan);
    return status;
}

int image_save_memory(const husk_image *image, struct image_file **ret_file,
                      struct husk_error *err) {
    struct plan plan;
    auto_fd fd = -1;
    int status = plan_make(image, &plan, err);
    if (status != 0)
        return status;
    status = image_file_memfd(&fd, err);
    if (status == 0)
        status = write_file(image, &plan, fd, err);
    plan_done(&plan);
    if (status == 0)
        status = image_file_seal(fd, ret_file, err);
    if (status == 0)
        take_fd(&fd);
    return status;
}

int husk_image_save(const husk_image *image, const char *path, struct husk_error *err) {
    if (image == NULL || path == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_image_save: a NULL argument");
    int status = image_check_keeps(image, err);
    if (status == 0)
        status = image->is_file
                     ? file_replace(path, image->code->file->fd, image->code->file->count, err)
                     : save_snapshot(image, path, err);
    return status != 0 ? error_while(err, status, "saving an image to %s", path) : 0;
}
