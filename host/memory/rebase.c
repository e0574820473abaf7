/*
 * host/memory/rebase.c: maps another image over a machine's memory where the two differ: another
 * state of the same module (restore.c), or what another module has in the same places (takeover.c).
 */
#include "error.h"
#include "image_internal.h"
#include "machine_space.h"

/* With more differing pieces than this, regions are mapped as a whole: a mapping costs some
 * microseconds. */
#define REBASE_PIECES_MAX 16u

/* What comes from elsewhere in the two images: to be mapped anew. */
struct pieces {
    struct piece {
        uint64_t gva, bytes;
    } rows[REBASE_PIECES_MAX + ARENA_REGIONS_MAX];
    uint32_t count;
};

/* Does the new image go on where the piece before ends, so that one mapping does for both? */
static bool is_continued(const struct piece *before, const uint8_t *before_source, uint64_t at,
                         const uint8_t *source) {
    return source != NULL && before_source != NULL && before->gva + before->bytes == at &&
           before_source + before->bytes == source;
}

/* The one walk over both images. A region whose pieces are too many is one piece. */
static void list_differing(const struct machine *machine, const husk_image *image,
                           uint64_t from_gva, struct pieces *ret_pieces) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t regions_count = arena_regions(&machine->arena, regions);
    const uint8_t *last_source = NULL; /* of the last piece, in the new image */
    uint32_t count = 0;
    for (uint32_t i = 0; i < regions_count; i++) {
        const uint64_t end = regions[i].gva + regions[i].bytes;
        const uint32_t first = count;
        if (regions[i].gva < from_gva)
            continue;
        for (uint64_t at = regions[i].gva, bytes; at < end; at += bytes) {
            uint64_t old_bytes, new_bytes;
            const uint8_t *old_source = image_source(machine->mapped, at, &old_bytes);
            const uint8_t *new_source = image_source(image, at, &new_bytes);
            bytes = old_bytes < new_bytes ? old_bytes : new_bytes;
            bytes = bytes < end - at ? bytes : end - at;
            if (old_source == new_source)
                continue;
            struct piece *last = count > first ? &ret_pieces->rows[count - 1] : NULL;
            if (last != NULL && is_continued(last, last_source, at, new_source)) {
                last->bytes += bytes;
                continue;
            }
            if (count >= REBASE_PIECES_MAX) {
                count = first;
                at = regions[i].gva;
                bytes = regions[i].bytes;
            }
            ret_pieces->rows[count++] = (struct piece){at, bytes};
            last_source = new_source;
        }
    }
    ret_pieces->count = count;
}

static int remap_piece(struct machine *machine, husk_image *image, struct piece piece,
                       struct husk_error *err) {
    int status = arena_map_range(&machine->arena, image, piece.gva, piece.bytes, err);
    if (status == 0)
        hotset_forget(&machine->hotset, arena_hva_of(&machine->arena, piece.gva), piece.bytes);
    return status;
}

int machine_make_mappable(husk_image *image, struct husk_error *err) {
    const struct image_run *runs;
    uint32_t count;
    return image_mapped_runs(image, &runs, &count, err);
}

/* Deliberately not inlined: its arrays would move what every restore touches 3 KiB down the
 * stack. */
__attribute__((noinline)) int machine_rebase(struct machine *machine, husk_image *image,
                                             uint64_t from_gva, struct husk_error *err) {
    struct pieces pieces;
    list_differing(machine, image, from_gva, &pieces);
    int status = pieces.count > 0 ? machine_make_mappable(image, err) : 0;
    if (status != 0)
        return status;
    machine_change_begin(machine);
    for (uint32_t i = 0; i < pieces.count && status == 0; i++)
        status = remap_piece(machine, image, pieces.rows[i], err);
    if (status != 0)
        return status;
    hotset_retarget(&machine->hotset, &machine->arena, image);
    husk_image_unref(machine->mapped);
    machine->mapped = husk_image_ref(image);
    return 0;
}

int machine_drop_overlays(struct machine *machine, struct husk_error *err) {
    int status = 0;
    while (machine->arena.overlays_count > 0 && status == 0) {
        const struct arena_overlay *overlay =
            &machine->arena.overlays[machine->arena.overlays_count - 1];
        status = remap_piece(machine, machine->mapped, (struct piece){overlay->gva, overlay->bytes},
                             err);
        if (status == 0)
            arena_overlay_pop(&machine->arena);
    }
    return status;
}
