/* host/memory/large.c: see large.h. Kernel: Documentation/admin-guide/mm/transhuge.rst. */
#include "large.h"

#include <errno.h>
#include <sys/mman.h>

#include "error.h"
#include "image_internal.h"
#include "pages.h"

/* Ranges of an image's zeros that are asked for: each may be a mapping more. */
#define RANGES_MAX 8u

/* ---- asking: a kernel that refuses only makes it slower ---- */

static bool ask(struct hotset *hotset, uint8_t *from, uint8_t *to) {
    struct hot_range *large = &hotset->large;
    if (from >= to || madvise(from, (size_t)(to - from), MADV_HUGEPAGE) != 0)
        return false;
    const bool is_first = large->from == large->to;
    large->from = is_first || from < large->from ? from : large->from;
    large->to = is_first || to > large->to ? to : large->to;
    return true;
}

/* The zeros of one memory, in whole large pages. Returns how many ranges were asked for. */
static uint32_t ask_zeros(struct machine *machine, uint32_t mem_idx, uint32_t ranges_max) {
    const struct arena_memory *memory = &machine->arena.memories[mem_idx];
    uint32_t count = 0;
    for (uint64_t at = 0, bytes; at < memory->bytes && count < ranges_max; at += bytes) {
        const uint8_t *source = image_source(machine->mapped, husk_mem_gva(mem_idx) + at, &bytes);
        bytes = bytes < memory->bytes - at ? bytes : memory->bytes - at;
        if (source == NULL)
            count += ask(&machine->hotset, memory->hva + large_page_up(at),
                         memory->hva + large_page_down(at + bytes));
    }
    return count;
}

static void ask_all_zeros(struct machine *machine) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < machine->arena.memories_count; i++)
        count += ask_zeros(machine, i, RANGES_MAX - count);
    machine->hotset.is_asking = count > 0;
}

/* Nothing known: the first few try it out. */
static bool is_expected_to_pay(husk_image *image) {
    pthread_mutex_lock(&image->template_lock);
    const bool is_trial = image->large_votes == 0 && image->large_trials < LARGE_TRIALS_MAX;
    const bool is_expected = image->large_votes > 0 || is_trial;
    image->large_trials += is_trial;
    pthread_mutex_unlock(&image->template_lock);
    return is_expected;
}

static bool has_large(const struct arena *arena) {
    for (uint32_t i = 0; i < arena->memories_count; i++)
        if (arena->memories[i].bytes >= LARGE_PAGE_BYTES)
            return true;
    return false;
}

void large_begin(struct machine *machine) {
    const uint32_t wish = machine->limits.large_pages;
    if (machine->hotset.is_asking || wish == HUSK_LARGE_PAGES_NEVER || !has_large(&machine->arena))
        return;
    if (wish == HUSK_LARGE_PAGES_ALWAYS || wish == HUSK_LARGE_PAGES_CONTENTS ||
        is_expected_to_pay(machine->mapped))
        ask_all_zeros(machine);
}

/* Much was added at once, or little by little: it will be written, and more will follow. So the
 * large page in which the memory ends is asked for, too: at most as much again as it has grown. The
 * rest of the one in which it ended before has small pages. They are made at once: KVM then gives
 * the guest eight of them with one fault. */
void large_grown(struct machine *machine, uint32_t mem_idx, uint64_t old_bytes) {
    const struct arena_memory *memory = &machine->arena.memories[mem_idx];
    const uint64_t first_bytes = machine->sizes.memory_bytes[mem_idx];
    const uint64_t from = large_page_up(old_bytes);
    const uint64_t end = large_page_up(memory->bytes);
    const uint64_t to = end <= memory->covered_bytes ? end : large_page_down(memory->bytes);
    const uint64_t rest = (from < memory->bytes ? from : memory->bytes) - old_bytes;
    const bool has_grown_before = old_bytes - first_bytes >= LARGE_PAGE_BYTES;
    if (machine->limits.large_pages == HUSK_LARGE_PAGES_NEVER ||
        memory->bytes - first_bytes < LARGE_PAGE_BYTES)
        return;
    if (!ask(&machine->hotset, memory->hva + from, memory->hva + to) || has_grown_before)
        return;
    madvise(memory->hva + old_bytes, rest, MADV_POPULATE_WRITE);
    if (machine->has_uncounted_faults) /* their first writes are faults of no thread */
        hotset_doubt(&machine->hotset);
}

uint64_t large_shrink(struct machine *machine, uint8_t *hva, uint64_t bytes) {
    struct hot_range *large = &machine->hotset.large;
    const uintptr_t end = (uintptr_t)hva + bytes;
    const uint64_t rest_bytes = large_page_up(end) - end;
    if (hva >= large->to || hva + bytes <= large->from)
        return bytes;
    if (hva + bytes + rest_bytes <= large->to)
        bytes += rest_bytes;
    if (madvise(hva, bytes, MADV_NOHUGEPAGE) == 0 && !machine->hotset.is_asking &&
        hva <= large->from && hva + bytes >= large->to)
        *large = (struct hot_range){0};
    return bytes;
}

/* ---- what a restore finds: blocks of 512 private pages, each perhaps a large page ---- */

struct block {
    struct hot_page *pages; /* LARGE_BLOCK_PAGES of them */
    uint32_t written;       /* by the last call */
    uint32_t used;          /* by one of the last calls: those of HOT_AGE_MAX restores */
    bool is_new;            /* this is the first restore that sees it */
    bool is_fresh;          /* the image has nothing there, and no view is open */
    bool is_asked;
};

static bool is_block(const struct hotset *hotset, uint32_t idx) {
    const struct hot_page *first = &hotset->pages[idx];
    return (uintptr_t)first->hva % LARGE_PAGE_BYTES == 0 &&
           hotset->count - idx >= LARGE_BLOCK_PAGES &&
           first[LARGE_BLOCK_PAGES - 1].hva == first->hva + LARGE_PAGE_BYTES - HUSK_PAGE_SIZE;
}

static struct block block_look(const struct hotset *hotset, uint32_t idx) {
    struct hot_page *pages = &hotset->pages[idx];
    struct block block = {
        .pages = pages, .is_fresh = true, .is_asked = hotset_is_large(hotset, pages[0].hva)};
    for (uint32_t i = 0; i < LARGE_BLOCK_PAGES; i++) {
        block.written += pages[i].age == 0;
        block.used += pages[i].age < HOT_AGE_MAX;
        block.is_new |= pages[i].age > HOT_AGE_FOUND;
        block.is_fresh &= pages[i].source == NULL && !pages[i].is_pinned;
    }
    return block;
}

static void set_ages(const struct block *block, uint32_t age_min, uint32_t age) {
    for (uint32_t i = 0; i < LARGE_BLOCK_PAGES; i++)
        if (block->pages[i].age >= age_min)
            block->pages[i].age = age;
}

/* All leave at a time, or none: a large page of which a part is discarded is split, and keeps its
 * memory. */
static void keep_whole(const struct block *block) {
    set_ages(block, HOT_AGE_MAX, HOT_AGE_MAX - 1);
}

/* Small pages in place of a large one, which is forbidden from here on. The used ones stay in the
 * set, and are made again: a write of what is there. The others leave it: hva NULL. */
static int exchange(const struct block *block, struct husk_error *err) {
    if (arena_discard(block->pages[0].hva, LARGE_PAGE_BYTES) != 0)
        return error_sys(err, errno, "cannot discard pages of a sandbox");
    for (uint32_t i = 0; i < LARGE_BLOCK_PAGES; i++) {
        volatile uint8_t *hva = block->pages[i].hva;
        if (block->pages[i].age < HOT_AGE_MAX)
            *hva = *hva;
        else
            block->pages[i].hva = NULL;
    }
    return 0;
}

/* Those beyond HOT_PAGES_MAX move below it. They were not compared, so they must leave, too. */
static void remove_exchanged(struct hotset *hotset, struct hot_counts *counts) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < hotset->count; i++) {
        struct hot_page *page = &hotset->pages[i];
        if (i >= HOT_PAGES_MAX && !page->is_pinned)
            page->age = HOT_AGE_MAX;
        if (page->hva != NULL)
            hotset->pages[kept++] = *page;
    }
    counts->aged += hotset->count - kept;
    hotset->count = kept;
}

static int block_settle(struct hotset *hotset, const struct block *block, struct hot_counts *counts,
                        struct husk_error *err) {
    counts->large_paid += block->is_fresh && block->written >= LARGE_WRITTEN_MIN;
    if (block->used == 0) { /* only read, or written with zeros */
        set_ages(block, HOT_AGE_MAX + 1, 1);
        counts->large_kept++;
        return 0;
    }
    if (!block->is_asked)
        return 0;
    if (!block->is_fresh || block->used >= LARGE_WRITTEN_MIN ||
        madvise(block->pages[0].hva, LARGE_PAGE_BYTES, MADV_NOHUGEPAGE) != 0) {
        keep_whole(block);
        counts->large_kept++;
        return 0;
    }
    counts->large_poor += block->is_new;
    hotset->given_up++;
    return exchange(block, err);
}

/* is_none_left: a search has just found all private pages, and no large one was kept. */
static void stop_asking(struct hotset *hotset, bool is_none_left) {
    struct hot_range *large = &hotset->large;
    if (madvise(large->from, (size_t)(large->to - large->from), MADV_NOHUGEPAGE) == 0 &&
        is_none_left)
        *large = (struct hot_range){0};
    hotset->is_asking = false;
    hotset->given_up = 0;
}

void large_begin_anew(struct machine *machine) {
    if (machine->hotset.is_asking)
        stop_asking(&machine->hotset, false);
    large_begin(machine);
}

/* A block that only begins below HOT_PAGES_MAX is not compared to its end, and is discarded. */
int large_settle(struct hotset *hotset, struct hot_counts *counts, struct husk_error *err) {
    const uint32_t given_up = hotset->given_up;
    int status = 0;
    for (uint32_t i = 0; i < hotset->count && i < HOT_PAGES_MAX && status == 0;) {
        if (!is_block(hotset, i)) {
            if (hotset->pages[i].age > HOT_AGE_FOUND)
                hotset->pages[i].age = 1;
            i++;
            continue;
        }
        const struct block block = block_look(hotset, i);
        i += LARGE_BLOCK_PAGES;
        if (i <= HOT_PAGES_MAX)
            status = block_settle(hotset, &block, counts, err);
        else if (block.is_asked)
            set_ages(&block, 0, HOT_AGE_MAX);
    }
    if (hotset->given_up == given_up)
        return status;
    remove_exchanged(hotset, counts);
    if (counts->large_poor > counts->large_paid || hotset->given_up > LARGE_GIVEN_UP_MAX)
        stop_asking(hotset, hotset->has_found && counts->large_kept == 0);
    return status;
}

/* A machine that asks no more, or never did, begins again when it has seen that it pays. */
void large_learn(struct machine *machine, const struct hot_counts *counts) {
    husk_image *image = machine->mapped;
    const bool has_paid = counts->large_paid > counts->large_poor;
    if (machine->limits.large_pages == HUSK_LARGE_PAGES_NEVER)
        return;
    pthread_mutex_lock(&image->template_lock);
    image->large_votes += has_paid ? 1 : -1;
    if (image->large_votes > LARGE_VOTES_MAX)
        image->large_votes = LARGE_VOTES_MAX;
    if (image->large_votes < -LARGE_VOTES_MAX)
        image->large_votes = -LARGE_VOTES_MAX;
    pthread_mutex_unlock(&image->template_lock);
    if (has_paid)
        large_begin(machine);
}
