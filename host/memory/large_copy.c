/* host/memory/large_copy.c: see large_copy.h. */
#include "large_copy.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"
#include "image_internal.h"
#include "pages.h"

/* ---- the code ---- */

/* As KVM maps large pages: aligned as the guest's addresses are (the text starts at a multiple of
 * 2 MiB), and a whole number of them. What comes behind the image's part has no page-table
 * entry. */
_Static_assert(HUSK_TEXT_GVA % LARGE_PAGE_BYTES == 0, "the text can have large pages");

static int make_room(struct arena *arena, uint64_t bytes, struct husk_error *err) {
    uint8_t *const base = mmap(NULL, bytes + LARGE_PAGE_BYTES, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_sys(err, errno, "cannot reserve address space for a copy of the code");
    uint8_t *const hva = base + (large_page_up((uintptr_t)base) - (uintptr_t)base);
    const size_t before = (size_t)(hva - base), behind = LARGE_PAGE_BYTES - before;
    if (before != 0)
        munmap(base, before);
    if (behind != 0)
        munmap(hva + bytes, behind);
    arena->code = hva;
    arena->code_bytes = bytes;
    return 0;
}

/* A hole stays untouched, and so zero. */
static void copy_part(uint8_t *to, const struct image_file *file, uint64_t offset, uint64_t bytes) {
    uint64_t from = offset, data, data_end;
    for (; image_file_next_data(file, from, offset + bytes, &data, &data_end); from = data_end)
        memcpy(to + (data - offset), file->bytes + data, data_end - data);
}

static int copy_code(struct arena *arena, const struct image_code *code, struct husk_error *err) {
    int status = make_room(arena, large_page_up(code->ro_bytes), err);
    if (status != 0)
        return status;
    if (mprotect(arena->code, arena->code_bytes, PROT_READ | PROT_WRITE) != 0)
        return error_sys(err, errno, "no memory for a copy of the code");
    /* refused: the pages are small, and as good */
    (void)madvise(arena->code, arena->code_bytes, MADV_HUGEPAGE);
    copy_part(arena->code, code->file, code->text_offset, code->text_file_bytes);
    if (code->rodata_bytes != 0)
        copy_part(arena->code + (code->rodata_gva - HUSK_TEXT_GVA), code->file, code->rodata_offset,
                  code->rodata_file_bytes);
    if (mprotect(arena->code, arena->code_bytes, PROT_READ) != 0)
        return error_sys(err, errno, "cannot protect the copy of the code");
    return 0;
}

/* ---- memories ---- */

/* The sandbox has taken its contents over, in large pages. */
static bool is_taken_over(const husk_image *image, uint64_t gva_value, uint64_t bytes) {
    for (uint32_t i = 0; i < image->runs_count; i++)
        if (image->runs[i].file->fd < 0 && image->runs[i].gva - gva_value < bytes)
            return true;
    return false;
}

/* From the first to the last contents of a memory. */
struct span {
    uint64_t from, to;     /* of the memory; equal: it has none */
    uint64_t copied_bytes; /* without zeros between them */
    uint64_t large_bytes;  /* of the large pages that they need */
};

static struct span contents_of(const struct arena_memory *memory, const husk_image *image,
                               uint64_t gva_value) {
    struct span span = {0};
    uint64_t large_end = 0;
    for (uint64_t at = 0, bytes; at < memory->bytes; at += bytes) {
        const bool is_there = image_source(image, gva_value + at, &bytes) != NULL;
        bytes = bytes < memory->bytes - at ? bytes : memory->bytes - at;
        if (!is_there)
            continue;
        span.from = span.copied_bytes == 0 ? at : span.from;
        span.to = at + bytes;
        span.copied_bytes += bytes;
        const uint64_t large_from = large_page_down(at);
        span.large_bytes +=
            large_page_up(span.to) - (large_from > large_end ? large_from : large_end);
        large_end = large_page_up(span.to);
    }
    return span;
}

static int copy_pages(void *user, uint64_t gva_value, const uint8_t *contents, uint64_t bytes) {
    const struct arena *arena = user;
    memcpy(arena_span(arena, gva_value, bytes), contents, bytes);
    return 0;
}

static int copy_memory(struct arena *arena, husk_image *image, uint32_t mem_idx,
                       struct husk_error *err) {
    const struct arena_memory *memory = &arena->memories[mem_idx];
    const uint64_t gva_value = husk_mem_gva(mem_idx);
    if (is_taken_over(image, gva_value, memory->bytes))
        return 0;
    const struct span span = contents_of(memory, image, gva_value);
    if (span.copied_bytes < LARGE_COPY_MIN_BYTES || span.large_bytes > LARGE_COPY_MAX_BYTES)
        return 0;
    const uint64_t from = large_page_down(span.from), end = large_page_up(span.to);
    const uint64_t bytes = (end < memory->bytes ? end : memory->bytes) - from;
    int status = arena_overlay_push(arena, gva_value + from, bytes, err);
    if (status != 0)
        return status;
    if (mmap(memory->hva + from, bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
        const int sys_errno = errno;
        arena_overlay_pop(arena);
        return error_sys(err, sys_errno, "cannot map a copy of a memory (" MAPPINGS_HINT ")");
    }
    arena_overlay_settle(arena);
    (void)madvise(memory->hva + from, bytes, MADV_HUGEPAGE); /* as above */
    return image_contents(image, gva_value + from, bytes, copy_pages, arena);
}

bool large_copy_takes_code(const struct image_code *code) {
    return code->text_bytes >= LARGE_COPY_MIN_BYTES && code->ro_bytes <= LARGE_COPY_MAX_BYTES;
}

int large_copy(struct arena *arena, husk_image *image, struct husk_error *err) {
    int status = 0;
    if (large_copy_takes_code(image->code))
        status = copy_code(arena, image->code, err);
    for (uint32_t i = 0; i < arena->memories_count && status == 0; i++)
        status = copy_memory(arena, image, i, err);
    return status;
}
