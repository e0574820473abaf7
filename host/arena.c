/* host/arena.c: see arena.h. */
#include "arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "error.h"

/* Between the regions: a host-side overrun of one cannot reach the next. */
#define GUARD_BYTES ((uint64_t)HUSK_PAGE_SIZE)

static int make_accessible(uint8_t *hva, uint64_t bytes, struct husk_error *err) {
    if (bytes != 0 && mprotect(hva, bytes, PROT_READ | PROT_WRITE) != 0)
        return error_sys(err, errno, "cannot make %llu bytes of guest memory accessible",
                         (unsigned long long)bytes);
    return 0;
}

/* Lay the image's bytes over [hva, …), which stands for guest address base_gva. */
static int map_segments(const husk_image *image, uint32_t from, uint32_t to, uint8_t *hva, uint64_t base_gva,
                        struct husk_error *err) {
    for (uint32_t i = from; i < to; i++) {
        const struct image_segment *segment = &image->segments[i];
        if (segment->file_bytes == 0)
            continue;
        void *place = hva + (segment->gva - base_gva);
        if (mmap(place, segment->file_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
                 image->file.fd, (off_t)segment->file_offset) == MAP_FAILED)
            return error_sys(err, errno, "cannot map the image");
    }
    return 0;
}

static uint64_t total_bytes(const husk_image *image, const struct arena_sizes *sizes) {
    uint64_t total = sizes->data_bytes + HUSK_MBOX_BYTES + sizes->stack_bytes + 3 * GUARD_BYTES;
    for (uint32_t i = 0; i < image->memories_count; i++)
        total += sizes->memory_reserve_bytes[i] + GUARD_BYTES;
    return total;
}

static int map_memories(struct arena *arena, const husk_image *image, const struct arena_sizes *sizes,
                        uint8_t *place, struct husk_error *err) {
    uint32_t segment = image->data_segments_count;
    for (uint32_t i = 0; i < image->memories_count; i++) {
        struct arena_memory *memory = &arena->memories[i];
        memory->hva = place;
        memory->bytes = memory->covered_bytes = sizes->memory_bytes[i];
        memory->reserve_bytes = sizes->memory_reserve_bytes[i];
        place += memory->reserve_bytes + GUARD_BYTES;
        uint32_t first = segment;
        while (segment < image->segments_count &&
               image->segments[segment].gva < husk_mem_gva(i) + HUSK_MEM_WINDOW_BYTES)
            segment++;
        int status = make_accessible(memory->hva, memory->bytes, err);
        if (status == 0)
            status = map_segments(image, first, segment, memory->hva, husk_mem_gva(i), err);
        if (status != 0)
            return status;
    }
    return 0;
}

int arena_init(struct arena *arena, const husk_image *image, const struct arena_sizes *sizes,
               struct husk_error *err) {
    arena->memories = calloc(image->memories_count + 1u, sizeof *arena->memories);
    if (arena->memories == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a sandbox");
    arena->memories_count = image->memories_count;
    uint64_t total = total_bytes(image, sizes);
    void *base = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return error_sys(err, errno,
                         "cannot reserve %llu bytes of address space for a sandbox; a smaller "
                         "memory_max_bytes needs less",
                         (unsigned long long)total);
    arena->base = base;
    arena->base_bytes = total;
    arena->data = arena->base;
    arena->data_bytes = sizes->data_bytes;
    uint8_t *place = arena->data + sizes->data_bytes + GUARD_BYTES;
    arena->mailbox = (struct husk_mailbox *)(void *)place;
    place += HUSK_MBOX_BYTES + GUARD_BYTES;
    arena->stack = place;
    arena->stack_bytes = sizes->stack_bytes;
    place += sizes->stack_bytes + GUARD_BYTES;
    arena->next_slot = ARENA_SLOT_MEMORIES;
    int status = make_accessible(arena->data, arena->data_bytes, err);
    if (status == 0)
        status = map_segments(image, 0, image->data_segments_count, arena->data, HUSK_DATA_GVA, err);
    if (status == 0)
        status = make_accessible((uint8_t *)arena->mailbox, HUSK_MBOX_BYTES, err);
    if (status == 0)
        status = make_accessible(arena->stack, arena->stack_bytes, err);
    if (status == 0)
        status = map_memories(arena, image, sizes, place, err);
    return status; /* the caller calls arena_done() on failure */
}

void arena_done(struct arena *arena) {
    if (arena->base != NULL)
        munmap(arena->base, arena->base_bytes);
    free(arena->memories);
    *arena = (struct arena){0};
}

static gpa_t memory_gpa(uint32_t mem_idx, uint64_t offset) {
    return gpa(gpa_of_gva(gva(husk_mem_gva(mem_idx))).v + offset);
}

int arena_attach(struct arena *arena, const husk_image *image, const struct vm_ops *ops, struct vm *vm,
                 struct husk_error *err) {
    int status = ops->set_slot(vm, ARENA_SLOT_READONLY, gpa_of_gva(gva(HUSK_TEXT_GVA)), image->ro_hva,
                               image->ro_bytes, VM_SLOT_READONLY, err);
    if (status == 0 && arena->data_bytes != 0)
        status = ops->set_slot(vm, ARENA_SLOT_DATA, gpa_of_gva(gva(HUSK_DATA_GVA)), arena->data,
                               arena->data_bytes, 0, err);
    if (status == 0)
        status = ops->set_slot(vm, ARENA_SLOT_MAILBOX, gpa_of_gva(gva(HUSK_MAILBOX_GVA)),
                               (uint8_t *)arena->mailbox, HUSK_MBOX_BYTES, 0, err);
    if (status == 0)
        status = ops->set_slot(vm, ARENA_SLOT_STACK, gpa_of_gva(gva(HUSK_STACK_TOP_GVA - arena->stack_bytes)),
                               arena->stack, arena->stack_bytes, 0, err);
    for (uint32_t i = 0; status == 0 && i < arena->memories_count; i++) {
        struct arena_memory *memory = &arena->memories[i];
        if (memory->covered_bytes != 0)
            status = ops->set_slot(vm, arena->next_slot++, memory_gpa(i, 0), memory->hva,
                                   memory->covered_bytes, 0, err);
    }
    return status;
}

int arena_cover(struct arena *arena, uint32_t mem_idx, uint64_t bytes, const struct vm_ops *ops,
                struct vm *vm, struct husk_error *err) {
    struct arena_memory *memory = &arena->memories[mem_idx];
    if (bytes <= memory->covered_bytes)
        return 0;
    if (bytes > memory->reserve_bytes)
        return error_set(err, HUSK_E_LIMIT, "memory %u cannot have %llu bytes", mem_idx,
                         (unsigned long long)bytes);
    uint64_t target = 2 * memory->covered_bytes;
    if (target < bytes)
        target = bytes;
    if (target > memory->reserve_bytes)
        target = memory->reserve_bytes;
    uint64_t from = memory->covered_bytes;
    int status = make_accessible(memory->hva + from, target - from, err);
    if (status != 0)
        return status;
    status = ops->set_slot(vm, arena->next_slot, memory_gpa(mem_idx, from), memory->hva + from, target - from,
                           0, err);
    if (status != 0)
        return status;
    arena->next_slot++;
    memory->covered_bytes = target;
    return 0;
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
        return span_in((uint8_t *)arena->mailbox, HUSK_MBOX_BYTES, HUSK_MAILBOX_GVA, gva_value, count);
    if (gva_value < HUSK_MEM0_GVA) {
        uint64_t start = HUSK_STACK_TOP_GVA - arena->stack_bytes;
        return gva_value < start ? NULL : span_in(arena->stack, arena->stack_bytes, start, gva_value, count);
    }
    uint64_t mem_idx =
        gva_value < HUSK_MEM1_BASE_GVA ? 0 : (gva_value - HUSK_MEM1_BASE_GVA) / HUSK_MEM_STRIDE;
    if (mem_idx >= arena->memories_count || gva_value < husk_mem_gva((uint32_t)mem_idx))
        return NULL;
    const struct arena_memory *memory = &arena->memories[mem_idx];
    return span_in(memory->hva, memory->bytes, husk_mem_gva((uint32_t)mem_idx), gva_value, count);
}
