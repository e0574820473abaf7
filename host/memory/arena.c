/* host/memory/arena.c: see arena.h. */
#include "arena.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "error.h"
#include "image_internal.h"
#include "pages.h"

/* Between the memories: a host-side overrun of one cannot reach the next. */
#define GUARD_BYTES ((uint64_t)HUSK_PAGE_SIZE)

static int make_accessible(uint8_t *hva, uint64_t bytes, struct husk_error *err) {
    if (bytes != 0 && mprotect(hva, bytes, PROT_READ | PROT_WRITE) != 0)
        return error_sys(err, errno,
                         "cannot make %llu bytes of guest memory accessible (" MAPPINGS_HINT ")",
                         (unsigned long long)bytes);
    return 0;
}

/* The part [from, to) of a run, at hva. */
static int map_run(const struct image_run *run, uint8_t *hva, uint64_t from, uint64_t to,
                   const struct image_hva_range *room, struct husk_error *err) {
    if (run->file->fd < 0) { /* an image that serves once: in a new arena, so all of the run */
        if (to - from == run->bytes && image_stage_move(run->file, hva, room) == 0)
            return 0;
    } else if (mmap(hva, to - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                    run->file->fd, (off_t)(run->offset + (from - run->gva))) != MAP_FAILED) {
        return 0;
    }
    return error_sys(err, errno, "cannot map the image (" MAPPINGS_HINT ")");
}

/* The image's runs that lie in [gva, gva + bytes), over [hva, …). Zero pages are there already. */
static int map_runs(husk_image *image, uint8_t *hva, uint64_t gva_value, uint64_t bytes,
                    struct husk_error *err) {
    const struct image_run *runs;
    uint32_t count;
    int status = image_mapped_runs(image, &runs, &count, err);
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        const struct image_run *run = &runs[i];
        uint64_t from = run->gva > gva_value ? run->gva : gva_value;
        uint64_t to =
            run->gva + run->bytes < gva_value + bytes ? run->gva + run->bytes : gva_value + bytes;
        if (from < to)
            status = map_run(run, hva + (from - gva_value), from, to,
                             &(struct image_hva_range){hva, hva + bytes}, err);
    }
    return status;
}

/* A memory that can have a large page is aligned as its guest-physical addresses are: only then KVM
 * maps a large page as one. Memory 0 always is. */
static bool is_aligned_large(uint64_t reserve_bytes) {
    return reserve_bytes >= LARGE_PAGE_BYTES;
}

static uint64_t total_bytes(const husk_image *image, const struct arena_sizes *sizes,
                            uint64_t room_bytes) {
    uint64_t total = LARGE_PAGE_BYTES + sizes->layout.low_bytes + room_bytes + GUARD_BYTES;
    for (uint32_t i = 1; i < image->code->memories_count; i++)
        total += sizes->memory_reserve_bytes[i] + GUARD_BYTES +
                 (is_aligned_large(sizes->memory_reserve_bytes[i]) ? LARGE_PAGE_BYTES : 0);
    return total + sizes->files_reserve_bytes + GUARD_BYTES;
}

/* Returns the place behind it. */
static uint8_t *place_memory(struct arena_memory *memory, uint8_t *place, uint64_t bytes,
                             uint64_t reserve_bytes) {
    memory->hva = place;
    memory->bytes = memory->covered_bytes = bytes;
    memory->reserve_bytes = reserve_bytes;
    return place + reserve_bytes + GUARD_BYTES;
}

static uint8_t *align_memory(uint8_t *place, uint64_t reserve_bytes) {
    const uintptr_t at = (uintptr_t)place;
    return is_aligned_large(reserve_bytes) ? place + (large_page_up(at) - at) : place;
}

/* The private layer comes after memory 0, as its addresses do: regions must ascend alike. */
static void place_memories(struct arena *arena, const struct arena_sizes *sizes) {
    uint8_t *place = arena->mem0 + arena->room_bytes + GUARD_BYTES;
    if (arena->memories_count > 0)
        place_memory(&arena->memories[0], arena->mem0, sizes->memory_bytes[0],
                     sizes->memory_reserve_bytes[0]);
    place = place_memory(&arena->files, place, sizes->files_bytes, sizes->files_reserve_bytes);
    for (uint32_t i = 1; i < arena->memories_count; i++) {
        const uint64_t reserve_bytes = sizes->memory_reserve_bytes[i];
        place = place_memory(&arena->memories[i], align_memory(place, reserve_bytes),
                             sizes->memory_bytes[i], reserve_bytes);
    }
}

/* A restore must find single pages, and a large page would be copied as a whole for one byte
 * written. large.c asks for some. Where the kernel has no large pages the call fails, which is as
 * good. */
static void forbid_large_pages(uint8_t *hva, uint64_t bytes) {
    madvise(hva, bytes, MADV_NOHUGEPAGE);
}

static void place_lanes(struct arena *arena, const struct space_layout *layout) {
    arena->layout = *layout;
    arena->data = arena->mem0 - layout->data;
    arena->data_bytes = layout->parts.data_bytes;
    arena->mailbox = (struct husk_mailbox *)(void *)(arena->mem0 - layout->mailbox);
    arena->stack = arena->mem0 - layout->stack;
    arena->stack_bytes = layout->parts.stack_bytes;
}

static void add_region(struct arena_region *regions, uint32_t *count,
                       const struct arena_memory *memory, uint64_t gva_value) {
    if (memory->covered_bytes != 0)
        regions[(*count)++] = (struct arena_region){.hva = memory->hva,
                                                    .gva = gva_value,
                                                    .bytes = memory->covered_bytes,
                                                    .is_hidden = gva_value == HUSK_FILES_GVA};
}

uint32_t arena_regions(const struct arena *arena, struct arena_region *ret_regions) {
    uint32_t count = 0;
    if (arena->data_bytes != 0)
        ret_regions[count++] = (struct arena_region){
            .hva = arena->data, .gva = HUSK_DATA_GVA, .bytes = arena->data_bytes};
    ret_regions[count++] = (struct arena_region){
        .hva = (uint8_t *)arena->mailbox, .gva = HUSK_MAILBOX_GVA, .bytes = HUSK_MBOX_BYTES};
    ret_regions[count++] = (struct arena_region){.hva = arena->stack,
                                                 .gva = HUSK_STACK_TOP_GVA - arena->stack_bytes,
                                                 .bytes = arena->stack_bytes};
    if (arena->memories_count > 0)
        add_region(ret_regions, &count, &arena->memories[0], husk_mem_gva(0));
    add_region(ret_regions, &count, &arena->files, HUSK_FILES_GVA);
    for (uint32_t i = 1; i < arena->memories_count; i++)
        add_region(ret_regions, &count, &arena->memories[i], husk_mem_gva(i));
    return count;
}

uint64_t arena_gva_of(const struct arena *arena, const uint8_t *hva) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t count = arena_regions(arena, regions);
    for (uint32_t i = 0; i < count; i++)
        if (hva >= regions[i].hva && (uint64_t)(hva - regions[i].hva) < regions[i].bytes)
            return regions[i].gva + (uint64_t)(hva - regions[i].hva);
    return 0;
}

static bool is_in_one_run(husk_image *image, uint64_t gva_value, uint64_t bytes) {
    const struct image_run *runs;
    uint32_t count;
    if (image_mapped_runs(image, &runs, &count, NULL) != 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (gva_value >= runs[i].gva && gva_value + bytes <= runs[i].gva + runs[i].bytes)
            return true;
    return false;
}

/* Of `room_bytes` for memory 0. */
static bool try_reserve(struct arena *arena, const husk_image *image,
                        const struct arena_sizes *sizes, uint64_t room_bytes) {
    const uint64_t total = total_bytes(image, sizes, room_bytes);
    void *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    arena->base = base;
    arena->base_bytes = total;
    arena->low_bytes = sizes->layout.low_bytes;
    arena->room_bytes = room_bytes;
    const uintptr_t lowest = (uintptr_t)(arena->base + arena->low_bytes);
    arena->mem0 = arena->base + arena->low_bytes + (large_page_up(lowest) - lowest);
    return true;
}

/* If there are not so many addresses, only what this image's memory may have. */
static int reserve(struct arena *arena, const husk_image *image, const struct arena_sizes *sizes,
                   struct husk_error *err) {
    const uint64_t least = arena->memories_count > 0 ? sizes->memory_reserve_bytes[0] : 0;
    const uint64_t room = sizes->room_bytes > least ? sizes->room_bytes : least;
    if (!try_reserve(arena, image, sizes, room) && !try_reserve(arena, image, sizes, least))
        return error_sys(err, errno,
                         "cannot reserve %llu bytes of address space for a sandbox; a smaller "
                         "memory_max_bytes needs less",
                         (unsigned long long)total_bytes(image, sizes, least));
    forbid_large_pages(arena->base, arena->base_bytes);
    return 0;
}

/* The guest cannot write it, and nobody else: the mapping has no right to. */
static int map_readonly(const struct arena *arena, const husk_image *image,
                        struct husk_error *err) {
    const struct image_code *code = image->code;
    if (arena->layout.parts.is_ro_apart)
        return 0;
    if (mmap(arena->mem0 - arena->layout.ro, code->ro_bytes, PROT_READ, MAP_PRIVATE | MAP_FIXED,
             code->file->fd, (off_t)code->text_offset) == MAP_FAILED)
        return error_sys(err, errno, "cannot map the image (" MAPPINGS_HINT ")");
    return 0;
}

int arena_init(struct arena *arena, husk_image *image, const struct arena_sizes *sizes,
               struct husk_error *err) {
    arena->memories = calloc(image->code->memories_count + 1u, sizeof *arena->memories);
    if (arena->memories == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
    arena->memories_count = image->code->memories_count;
    int status = reserve(arena, image, sizes, err);
    if (status != 0)
        return status;
    place_lanes(arena, &sizes->layout);
    place_memories(arena, sizes);
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t count = arena_regions(arena, regions);
    status = map_readonly(arena, image, err);
    if (status == 0) /* the mailbox and the stack, which are zero, but for a standing call's */
        status =
            make_accessible((uint8_t *)arena->mailbox, HUSK_MBOX_BYTES + arena->stack_bytes, err);
    for (uint32_t i = 0; i < count && status == 0; i++) {
        const struct arena_region *region = &regions[i];
        const bool is_accessible = region->gva >= HUSK_MAILBOX_GVA && region->gva < HUSK_MEM0_GVA;
        if (!is_accessible && !is_in_one_run(image, region->gva, region->bytes))
            status = make_accessible(region->hva, region->bytes, err);
        if (status == 0)
            status = map_runs(image, region->hva, region->gva, region->bytes, err);
    }
    return status;
}

/* Zero pages, of which nothing was there before. */
static int map_zeros(uint8_t *hva, uint64_t bytes, int prot, struct husk_error *err) {
    if (bytes == 0)
        return 0;
    if (mmap(hva, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) ==
        MAP_FAILED)
        return error_sys(err, errno, "cannot map zero pages over guest memory (" MAPPINGS_HINT ")");
    forbid_large_pages(hva, bytes);
    return 0;
}

/* The image's contents, in place of what is there. Zero pages below them only where they show. */
static int map_contents(husk_image *image, uint8_t *hva, uint64_t gva_value, uint64_t bytes,
                        struct husk_error *err) {
    int status = is_in_one_run(image, gva_value, bytes)
                     ? 0
                     : map_zeros(hva, bytes, PROT_READ | PROT_WRITE, err);
    return status == 0 ? map_runs(image, hva, gva_value, bytes, err) : status;
}

int arena_map_range(struct arena *arena, husk_image *image, uint64_t gva_value, uint64_t bytes,
                    struct husk_error *err) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t count = arena_regions(arena, regions);
    for (uint32_t i = 0; i < count; i++) {
        const struct arena_region *region = &regions[i];
        if (gva_value < region->gva || gva_value - region->gva >= region->bytes)
            continue;
        uint8_t *hva = region->hva + (gva_value - region->gva);
        return map_contents(image, hva, gva_value, bytes, err);
    }
    return error_set(err, HUSK_E_INVAL, "no region of the sandbox at 0x%llx",
                     (unsigned long long)gva_value);
}

/* What the old part of a lane had behind the new one. */
static int clear_rest(uint8_t *lane, uint64_t old_bytes, uint64_t new_bytes,
                      struct husk_error *err) {
    return old_bytes > new_bytes
               ? map_zeros(lane + new_bytes, old_bytes - new_bytes, PROT_NONE, err)
               : 0;
}

/* If a lane moves, one mapping takes away everything, from the lower end of the two layouts on. */
static int clear_lanes(const struct arena *arena, const struct space_layout *layout,
                       struct husk_error *err) {
    const struct space_layout *old = &arena->layout;
    const uint64_t low = layout->ro > old->ro ? layout->ro : old->ro;
    if (old->ro != layout->ro || old->data != layout->data)
        return map_zeros(arena->mem0 - low, low - layout->mailbox, PROT_NONE, err);
    int status =
        clear_rest(arena->mem0 - layout->ro, old->parts.ro_bytes, layout->parts.ro_bytes, err);
    return status == 0 ? clear_rest(arena->mem0 - layout->data, old->parts.data_bytes,
                                    layout->parts.data_bytes, err)
                       : status;
}

int arena_map_lanes(struct arena *arena, husk_image *image, const struct space_layout *layout,
                    struct husk_error *err) {
    int status = clear_lanes(arena, layout, err);
    if (status != 0)
        return status;
    place_lanes(arena, layout);
    status = map_readonly(arena, image, err);
    return status == 0 ? map_contents(image, arena->data, HUSK_DATA_GVA, arena->data_bytes, err)
                       : status;
}

void arena_done(struct arena *arena) {
    if (arena->base != NULL)
        munmap(arena->base, arena->base_bytes);
    if (arena->code != NULL)
        munmap(arena->code, arena->code_bytes);
    free(arena->memories);
    free(arena->overlays);
    *arena = (struct arena){0};
}

/* Within the reserve. The accessible part at least doubles, so that growing is cheap. It ends where
 * a large page does: KVM maps none that lies in two slots. */
static int make_room(const struct arena_memory *memory, uint64_t bytes, uint64_t *ret_more_bytes,
                     struct husk_error *err) {
    uint64_t target = 2 * memory->covered_bytes;
    if (target < bytes)
        target = bytes;
    if (target > LARGE_PAGE_BYTES && (uintptr_t)memory->hva % LARGE_PAGE_BYTES == 0)
        target = large_page_up(target);
    if (target > memory->reserve_bytes)
        target = memory->reserve_bytes;
    const uint64_t more_bytes = target - memory->covered_bytes;
    int status = make_accessible(memory->hva + memory->covered_bytes, more_bytes, err);
    if (status == 0)
        *ret_more_bytes = more_bytes;
    return status;
}

int arena_make_room(struct arena *arena, uint32_t mem_idx, uint64_t bytes, uint64_t *ret_more_bytes,
                    struct husk_error *err) {
    const struct arena_memory *memory = &arena->memories[mem_idx];
    if (bytes > memory->reserve_bytes)
        return error_set(err, HUSK_E_LIMIT, "memory %u cannot have %llu bytes", mem_idx,
                         (unsigned long long)bytes);
    return make_room(memory, bytes, ret_more_bytes, err);
}

/* So that a layer that begins to grow does not ask the kernel for each page. */
#define FILES_COVERED_MIN_BYTES ((uint64_t)HUSK_WASM_PAGE_SIZE)

int arena_cover_files(struct arena *arena, uint64_t bytes, struct husk_error *err) {
    struct arena_memory *files = &arena->files;
    uint64_t more_bytes = 0;
    if (bytes <= files->covered_bytes)
        return 0;
    if (bytes > files->reserve_bytes)
        return error_set(err, HUSK_E_LIMIT,
                         "a private layer of %llu bytes is wanted; the sandbox has room for %llu",
                         (unsigned long long)bytes, (unsigned long long)files->reserve_bytes);
    bytes = page_up(bytes < FILES_COVERED_MIN_BYTES ? FILES_COVERED_MIN_BYTES : bytes);
    int status = make_room(files, bytes, &more_bytes, err);
    if (status == 0)
        files->bytes = files->covered_bytes += more_bytes;
    return status;
}

/* Newer (5.18) than the oldest kernel headers we build with. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* Pages that are locked in memory (the embedder called mlockall()) are discarded only by those who
 * say that they mean it. */
int arena_discard(uint8_t *hva, uint64_t bytes) {
    if (madvise(hva, bytes, MADV_DONTNEED) == 0)
        return 0;
    return errno == EINVAL ? madvise(hva, bytes, MADV_DONTNEED_LOCKED) : -1;
}

static uint8_t *span_in(uint8_t *hva, uint64_t bytes, uint64_t start_gva, uint64_t gva_value,
                        uint64_t count) {
    uint64_t offset = gva_value - start_gva;
    return count <= bytes && offset <= bytes - count ? hva + offset : NULL;
}

uint8_t *arena_span(const struct arena *arena, uint64_t gva_value, uint64_t count) {
    if (gva_value < HUSK_DATA_GVA)
        return NULL;
    if (gva_value < HUSK_MAILBOX_GVA)
        return span_in(arena->data, arena->data_bytes, HUSK_DATA_GVA, gva_value, count);
    if (gva_value < HUSK_STACK_LOW_GVA)
        return span_in((uint8_t *)arena->mailbox, HUSK_MBOX_BYTES, HUSK_MAILBOX_GVA, gva_value,
                       count);
    if (gva_value < HUSK_MEM0_GVA) {
        uint64_t start = HUSK_STACK_TOP_GVA - arena->stack_bytes;
        return gva_value < start
                   ? NULL
                   : span_in(arena->stack, arena->stack_bytes, start, gva_value, count);
    }
    uint64_t mem_idx =
        gva_value < HUSK_MEM1_BASE_GVA ? 0 : (gva_value - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE;
    if (husk_is_files_gva(gva_value))
        return NULL;
    if (mem_idx >= arena->memories_count || gva_value < husk_mem_gva((uint32_t)mem_idx))
        return NULL;
    const struct arena_memory *memory = &arena->memories[mem_idx];
    return span_in(memory->hva, memory->bytes, husk_mem_gva((uint32_t)mem_idx), gva_value, count);
}

uint8_t *arena_hva_of(const struct arena *arena, uint64_t gva_value) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t count = arena_regions(arena, regions);
    for (uint32_t i = 0; i < count; i++)
        if (gva_value >= regions[i].gva && gva_value - regions[i].gva < regions[i].bytes)
            return regions[i].hva + (gva_value - regions[i].gva);
    return NULL;
}

static bool is_covered(const struct arena_overlay *overlay, uint64_t gva_value, uint64_t bytes) {
    return overlay->gva >= gva_value && overlay->gva + overlay->bytes <= gva_value + bytes;
}

int arena_overlay_push(struct arena *arena, uint64_t gva_value, uint64_t bytes,
                       struct husk_error *err) {
    uint32_t count = arena->overlays_count;
    for (uint32_t i = 0; count == ARENA_OVERLAYS_MAX && i < arena->overlays_count; i++)
        count -= is_covered(&arena->overlays[i], gva_value, bytes);
    if (count == ARENA_OVERLAYS_MAX)
        return error_set(
            err, HUSK_E_LIMIT,
            "more than %u memory images are mapped in one sandbox; a restore takes them away",
            ARENA_OVERLAYS_MAX);
    struct arena_overlay *overlays =
        realloc(arena->overlays, (arena->overlays_count + 1u) * sizeof *arena->overlays);
    if (overlays == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of mapped memory images");
    arena->overlays = overlays;
    arena->overlays[arena->overlays_count++] = (struct arena_overlay){gva_value, bytes};
    return 0;
}

void arena_overlay_settle(struct arena *arena) {
    const uint32_t last = arena->overlays_count - 1;
    const struct arena_overlay newest = arena->overlays[last];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < last; i++) {
        const struct arena_overlay *old = &arena->overlays[i];
        if (!is_covered(old, newest.gva, newest.bytes))
            arena->overlays[kept++] = *old;
    }
    arena->overlays[kept++] = newest;
    arena->overlays_count = kept;
}

void arena_overlay_pop(struct arena *arena) {
    arena->overlays_count--;
}
