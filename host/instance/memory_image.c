/*
 * host/instance/memory_image.c: memory images: a range of linear memory as an object that can be
 * mapped copy-on-write into any sandbox. Like an image, it is a sealed file. A sandbox records
 * where it has mapped memory images (arena overlays), so that a restore brings the image's own
 * contents back. A mapping holds the file itself, so a mapped memory image may be freed.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "auto.h"
#include "error.h"
#include "file.h"
#include "image_internal.h"
#include "sandbox_internal.h"

struct husk_memory_image {
    atomic_uint refs;
    husk_engine *engine; /* referenced */
    struct image_file *file;
};

static int check_aligned(uint64_t addr, uint64_t offset, uint64_t bytes, struct husk_error *err) {
    if (((addr | offset | bytes) & (HUSK_PAGE_SIZE - 1)) != 0 || bytes == 0)
        return error_set(
            err, HUSK_E_INVAL,
            "address 0x%llx, offset 0x%llx, size 0x%llx: all must be multiples of %u, and the size "
            "not 0",
            (unsigned long long)addr, (unsigned long long)offset, (unsigned long long)bytes,
            HUSK_PAGE_SIZE);
    return 0;
}

/* Find the range in the arena. */
static int find_range(husk_sandbox *sandbox, const struct husk_range *range, uint8_t **ret_hva,
                      struct husk_error *err) {
    if (engine_check_process(sandbox->engine, err) != 0)
        return HUSK_E_STATE;
    if (sandbox->image == NULL)
        return error_set(err, HUSK_E_STATE, "nothing is loaded, so there is no linear memory");
    if (range->mem_idx >= sandbox->machine->arena.memories_count)
        return error_set(err, HUSK_E_LIMIT, "the module has no memory %u", range->mem_idx);
    const struct arena_memory *memory = &sandbox->machine->arena.memories[range->mem_idx];
    if (range->count > memory->bytes || range->addr > memory->bytes - range->count)
        return error_set(err, HUSK_E_LIMIT,
                         "[0x%llx, + 0x%llx) is outside of memory %u, which has 0x%llx bytes",
                         (unsigned long long)range->addr, (unsigned long long)range->count,
                         range->mem_idx, (unsigned long long)memory->bytes);
    *ret_hva = memory->hva + range->addr;
    return 0;
}

static int map_file(struct machine *machine, uint8_t *hva, const struct image_file *file,
                    uint64_t offset, uint64_t bytes, struct husk_error *err) {
    uint64_t gva_value = arena_gva_of(&machine->arena, hva);
    int status = arena_overlay_push(&machine->arena, gva_value, bytes, err);
    if (status != 0)
        return status;
    if (mmap(hva, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file->fd,
             (off_t)offset) == MAP_FAILED) {
        int sys_errno = errno;
        arena_overlay_pop(&machine->arena);
        return error_sys(err, sys_errno, "cannot map a memory image of %llu bytes",
                         (unsigned long long)bytes);
    }
    arena_overlay_settle(&machine->arena);
    hotset_forget(&machine->hotset, hva, bytes);
    return 0;
}

static int copy_to_file(const uint8_t *hva, uint64_t bytes, struct image_file **ret_file,
                        struct husk_error *err) {
    auto_fd fd = -1;
    int status = image_file_memfd(&fd, err);
    if (status == 0 && file_write_all(fd, hva, bytes) != 0)
        status = error_sys(err, errno, "cannot write a memory image of %llu bytes",
                           (unsigned long long)bytes);
    if (status == 0)
        status = image_file_seal(fd, ret_file, err);
    if (status == 0)
        take_fd(&fd);
    return status;
}

int husk_memory_image_new(husk_sandbox *sandbox, const struct husk_range *range,
                          husk_memory_image **ret_image, struct husk_error *err) {
    uint8_t *hva = NULL;
    if (sandbox == NULL || range == NULL || ret_image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_memory_image_new: a NULL argument");
    int status = check_aligned(range->addr, 0, range->count, err);
    if (status == 0)
        status = find_range(sandbox, range, &hva, err);
    if (status != 0)
        return status;
    husk_memory_image *image = calloc(1, sizeof *image);
    if (image == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for a memory image");
    atomic_init(&image->refs, 1);
    image->engine = engine_ref(sandbox->engine);
    status = copy_to_file(hva, range->count, &image->file, err);
    if (status == 0)
        status = map_file(sandbox->machine, hva, image->file, 0, range->count, err);
    if (status != 0) {
        husk_memory_image_unref(image);
        return status;
    }
    stat_count(sandbox->tally, STAT_memory_images_made);
    *ret_image = image;
    return 0;
}

int husk_memory_image_map(husk_sandbox *sandbox, const struct husk_range *range,
                          const husk_memory_image *image, uint64_t offset, struct husk_error *err) {
    uint8_t *hva = NULL;
    if (sandbox == NULL || range == NULL || image == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_memory_image_map: a NULL argument");
    if (image->engine != sandbox->engine)
        return error_set(err, HUSK_E_INVAL, "the memory image was made by another engine");
    const uint64_t bytes = range->count;
    int status = check_aligned(range->addr, offset, bytes, err);
    if (status == 0 && (bytes > image->file->count || offset > image->file->count - bytes))
        status =
            error_set(err, HUSK_E_LIMIT,
                      "[0x%llx, + 0x%llx) is outside of the memory image, which has 0x%llx bytes",
                      (unsigned long long)offset, (unsigned long long)bytes,
                      (unsigned long long)image->file->count);
    if (status == 0)
        status = find_range(sandbox, range, &hva, err);
    if (status == 0)
        status = map_file(sandbox->machine, hva, image->file, offset, bytes, err);
    if (status == 0)
        stat_count(sandbox->tally, STAT_memory_images_mapped);
    return status;
}

uint64_t husk_memory_image_bytes(const husk_memory_image *image) {
    return image != NULL ? image->file->count : 0;
}

husk_memory_image *husk_memory_image_ref(husk_memory_image *image) {
    if (image != NULL)
        atomic_fetch_add(&image->refs, 1);
    return image;
}

void husk_memory_image_unref(husk_memory_image *image) {
    if (image == NULL || atomic_fetch_sub(&image->refs, 1) != 1)
        return;
    image_file_unref(image->file);
    engine_unref(image->engine);
    free(image);
}
