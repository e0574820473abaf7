/*
 * host/image/image_stage.c: contents of memory that one sandbox takes over instead of copying them
 * (husk_open_options.serves_once). They are read into memory of the process, in large pages where
 * the kernel gives some, and are not in the image's file: a hole is there.
 *
 * The stage is a part of the file like others to whoever reads it, an image_file without a
 * descriptor. image_stage_move() moves its pages into the arena, once. A stage is whole large pages
 * as the guest addresses them, so the large pages move as such; what is around the segment in them
 * is zero, and belongs to no other segment.
 *
 * Which segment that is must be known before the file is read, and what is on disk may change until
 * then. So the first look at the program headers is a guess, which image_stage_check() compares
 * with the copy.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auto.h"
#include "error.h"
#include "host_limits.h"
#include "image_internal.h"
#include "pages.h"

/* As for any copy in large pages: less is not worth one, which must be cleared first. */
#define STAGE_MIN_BYTES (1ull << 20)
/* Holes are zeros in a stage, and may take memory: half of it must be data, in so many parts. */
#define STAGE_PARTS_MAX 4096

static bool do_overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
    return a_bytes != 0 && b_bytes != 0 && a < b + b_bytes && b < a + a_bytes;
}

/* Sizes and offsets that are checked later: here they only must not overflow. */
static bool is_sane(const Elf64_Phdr *ph, uint64_t file_bytes) {
    return ph->p_filesz <= file_bytes && ph->p_offset <= file_bytes - ph->p_filesz &&
           ph->p_memsz >= ph->p_filesz && ph->p_memsz <= UINT64_MAX / 4 &&
           ph->p_vaddr <= UINT64_MAX / 4;
}

static bool is_candidate(const Elf64_Phdr *ph) {
    return ph->p_type == PT_LOAD && ph->p_flags == (PF_R | PF_W) && ph->p_vaddr >= HUSK_MEM0_GVA &&
           !husk_is_files_gva(ph->p_vaddr) && ph->p_filesz >= STAGE_MIN_BYTES &&
           ((ph->p_vaddr | ph->p_offset | ph->p_filesz) & (HUSK_PAGE_SIZE - 1)) == 0;
}

/* Nothing else is in the segment's part of the file, or in its large pages. */
static bool is_alone(const Elf64_Ehdr *header, const Elf64_Phdr *phs, const Elf64_Phdr *own) {
    const uint64_t from = large_page_down(own->p_vaddr);
    const uint64_t bytes = large_page_up(own->p_vaddr + own->p_filesz) - from;
    if (own->p_offset < sizeof *header || do_overlap(own->p_offset, own->p_filesz, header->e_phoff,
                                                     (uint64_t)header->e_phnum * sizeof *phs))
        return false;
    for (uint32_t i = 0; i < header->e_phnum; i++) {
        const Elf64_Phdr *ph = &phs[i];
        if (ph != own &&
            (do_overlap(own->p_offset, own->p_filesz, ph->p_offset, ph->p_filesz) ||
             (ph->p_type == PT_LOAD && do_overlap(from, bytes, ph->p_vaddr, ph->p_filesz))))
            return false;
    }
    return true;
}

/* The largest segment of a memory, if it can be a stage. */
static bool find_segment(const Elf64_Ehdr *header, const Elf64_Phdr *phs, uint64_t file_bytes,
                         struct image_segment *ret_segment) {
    const Elf64_Phdr *best = NULL;
    uint32_t runs = 0;
    for (uint32_t i = 0; i < header->e_phnum; i++) {
        runs += phs[i].p_type == PT_LOAD && phs[i].p_filesz != 0;
        if (!is_sane(&phs[i], file_bytes) || runs > IMAGE_RUNS_MAPPED_MAX)
            return false; /* more runs would be made flat first */
        if (is_candidate(&phs[i]) && (best == NULL || phs[i].p_filesz > best->p_filesz))
            best = &phs[i];
    }
    if (best == NULL || !is_alone(header, phs, best))
        return false;
    *ret_segment = (struct image_segment){.gva = best->p_vaddr,
                                          .file_offset = best->p_offset,
                                          .file_bytes = best->p_filesz,
                                          .mem_bytes = best->p_memsz};
    return true;
}

static bool is_header(const Elf64_Ehdr *header, uint64_t file_bytes) {
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_phentsize == sizeof(Elf64_Phdr) && header->e_phnum <= LIMIT_PROGRAM_HEADERS &&
           header->e_phoff <= file_bytes &&
           header->e_phnum * sizeof(Elf64_Phdr) <= file_bytes - header->e_phoff;
}

static bool look(int fd, uint64_t file_bytes, struct image_segment *ret_segment) {
    Elf64_Ehdr header;
    if (pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header ||
        !is_header(&header, file_bytes))
        return false;
    const size_t bytes = header.e_phnum * sizeof(Elf64_Phdr);
    auto_free Elf64_Phdr *phs = malloc(bytes + 1);
    return phs != NULL && pread(fd, phs, bytes, (off_t)header.e_phoff) == (ssize_t)bytes &&
           find_segment(&header, phs, file_bytes, ret_segment);
}

/* Zeros, which become large pages when they are written. */
static uint8_t *reserve(uint64_t bytes) {
    uint8_t *const base = mmap(NULL, bytes + LARGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    uint8_t *const place = base + (large_page_up((uintptr_t)base) - (uintptr_t)base);
    const size_t before = (size_t)(place - base);
    if (before != 0)
        munmap(base, before);
    munmap(place + bytes, LARGE_PAGE_BYTES - before);
    (void)madvise(place, bytes, MADV_HUGEPAGE); /* refused: small pages are as good */
    return place;
}

/* How much of the segment is no hole. 0: it has too many to count. */
static uint64_t data_bytes_of(int fd, const struct image_segment *segment) {
    const off_t end = (off_t)(segment->file_offset + segment->file_bytes);
    off_t at = (off_t)segment->file_offset, hole;
    uint64_t total = 0;
    for (int i = 0; i < STAGE_PARTS_MAX; i++, at = hole) {
        at = lseek(fd, at, SEEK_DATA);
        if (at < 0 || at >= end)
            return total;
        hole = lseek(fd, at, SEEK_HOLE);
        if (hole < 0 || hole >= end)
            return total + (uint64_t)(end - at);
        total += (uint64_t)(hole - at);
    }
    return 0;
}

struct image_file *image_stage_begin(int fd, uint64_t file_bytes) {
    struct image_segment segment;
    if (!look(fd, file_bytes, &segment))
        return NULL;
    const uint64_t data_bytes = data_bytes_of(fd, &segment);
    if (data_bytes < segment.file_bytes / 2)
        return NULL;
    struct image_file *stage = calloc(1, sizeof *stage);
    if (stage == NULL)
        return NULL;
    const uint64_t lead = segment.gva - large_page_down(segment.gva);
    stage->stage_bytes = large_page_up(lead + segment.file_bytes);
    stage->stage_base = reserve(stage->stage_bytes);
    if (stage->stage_base == NULL) {
        free(stage);
        return NULL;
    }
    atomic_init(&stage->refs, 1);
    stage->fd = -1;
    stage->bytes = stage->stage_base + lead;
    stage->count = segment.file_bytes;
    stage->stage_offset = segment.file_offset;
    stage->stage_data_bytes = data_bytes;
    stage->has_no_holes = true; /* they have become zeros */
    return stage;
}

int image_stage_check(const struct image_file *file, struct husk_error *err) {
    const struct image_file *stage = file->stage;
    struct image_segment segment;
    Elf64_Ehdr header;
    if (stage == NULL)
        return 0;
    if (file->count >= sizeof header) {
        memcpy(&header, file->bytes, sizeof header);
        if (is_header(&header, file->count)) {
            const size_t bytes = header.e_phnum * sizeof(Elf64_Phdr);
            auto_free Elf64_Phdr *phs = malloc(bytes + 1);
            if (phs == NULL)
                return error_set(err, HUSK_E_NOMEM, "no memory for the image's segments");
            memcpy(phs, file->bytes + header.e_phoff, bytes);
            if (find_segment(&header, phs, file->count, &segment) &&
                segment.file_offset == stage->stage_offset && segment.file_bytes == stage->count &&
                segment.gva % LARGE_PAGE_BYTES == (uint64_t)(stage->bytes - stage->stage_base))
                return 0;
        }
    }
    return error_set(err, HUSK_E_BAD_IMAGE, "the file changed while it was opened");
}

/* Where the pages cannot move: Linux before 5.7. */
static int copy_over(uint8_t *hva, const uint8_t *bytes, uint64_t count) {
    if (mmap(hva, count, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        return -1;
    (void)madvise(hva, count, MADV_HUGEPAGE);
    memcpy(hva, bytes, count);
    return 0;
}

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

int image_stage_move(struct image_file *stage, uint8_t *hva, const struct image_hva_range *room) {
    const uint64_t lead = (uint64_t)(stage->bytes - stage->stage_base);
    const uint64_t room_before = (uint64_t)(hva - room->from);
    const uint64_t skipped = room_before < lead ? lead : 0;
    uint8_t *const to = hva - lead + skipped;
    const uint64_t rest = (uint64_t)(room->to - to), all = stage->stage_bytes - skipped;
    const uint64_t count = rest < all ? rest : all;
    uint8_t *const from = stage->stage_base + skipped;
    /* The place stays mapped, and empty: nobody else's mapping gets there. */
    if (mremap(from, count, count, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) ==
        MAP_FAILED)
        return errno == EINVAL ? copy_over(to, from, count) : -1;
    return 0;
}
