/*
 * host/memory/read_pages.c: see read_pages.h. The process's own page tables tell which pages the
 * guest has read: KVM maps a page of a file for it after the process has it mapped. The kernel
 * maps up to 15 neighbours with each, so there are more here than were read: a page too many costs
 * a fault of the thread that makes spare VMs.
 */
#include "read_pages.h"

#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "image_internal.h"

/* Sandboxes that are asked: the first ones may have been called for little. */
#define LESSONS_MAX 4u

struct found_pages {
    uint64_t *gvas;
    uint32_t count;
    const uint8_t *hva; /* of the region that is searched */
    uint64_t gva;
};

static int add_run(void *user, uint8_t *hva, uint64_t bytes, bool is_zero, struct husk_error *err) {
    struct found_pages *found = user;
    (void)is_zero;
    (void)err;
    for (uint64_t at = 0; at < bytes && found->count < READ_PAGES_MAX; at += HUSK_PAGE_SIZE)
        found->gvas[found->count++] = found->gva + (uint64_t)(hva - found->hva) + at;
    return 0;
}

static void search(const struct machine *machine, struct found_pages *found,
                   const struct arena_region *region) {
    found->hva = region->hva;
    found->gva = region->gva;
    (void)pagemap_read(&machine->engine->pagemap, region->hva, region->bytes, add_run, found, NULL);
}

/* Ascending, as the regions are. Code that does not lie in the main slot is a copy, or mapped once
 * for all sandboxes: what is mapped there does not tell what the guest read. */
static void search_all(struct machine *machine, struct found_pages *found) {
    const struct arena *arena = &machine->arena;
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t count = arena_regions(arena, regions);
    const struct arena_region code = {.hva = arena->mem0 - arena->layout.ro,
                                      .gva = HUSK_TEXT_GVA,
                                      .bytes = machine->mapped->code->ro_bytes};
    if (!arena->layout.parts.is_ro_apart)
        search(machine, found, &code);
    for (uint32_t i = 0; i < count; i++)
        if (!regions[i].is_hidden)
            search(machine, found, &regions[i]);
}

/* Of two ascending lists. */
static uint32_t merge(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count,
                      uint64_t *ret_both) {
    uint32_t count = 0, i = 0, j = 0;
    while ((i < a_count || j < b_count) && count < READ_PAGES_MAX) {
        const uint64_t next_a = i < a_count ? a[i] : UINT64_MAX;
        const uint64_t next_b = j < b_count ? b[j] : UINT64_MAX;
        i += next_a <= next_b;
        j += next_b <= next_a;
        ret_both[count++] = next_a < next_b ? next_a : next_b;
    }
    return count;
}

/* Under the lock. */
static void add_lesson(husk_image *image, const struct found_pages *found) {
    uint64_t *both = malloc(READ_PAGES_MAX * sizeof *both);
    if (both == NULL)
        return;
    image->read_count = merge(image->read_gvas, image->read_count, found->gvas, found->count, both);
    free(image->read_gvas);
    image->read_gvas = both;
    image->read_lessons++;
}

void read_pages_learn(struct machine *machine) {
    husk_image *image = machine->mapped;
    struct found_pages found = {0};
    pthread_mutex_lock(&image->template_lock);
    const bool is_known = image->read_lessons >= LESSONS_MAX;
    pthread_mutex_unlock(&image->template_lock);
    if (is_known || (found.gvas = malloc(READ_PAGES_MAX * sizeof *found.gvas)) == NULL)
        return;
    search_all(machine, &found);
    pthread_mutex_lock(&image->template_lock);
    if (image->read_lessons < LESSONS_MAX)
        add_lesson(image, &found);
    pthread_mutex_unlock(&image->template_lock);
    free(found.gvas);
}
