/* host/memory/hotset.c: see hotset.h. */
#include "hotset.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "error.h"
#include "image_internal.h"
#include "large.h"
#include "page_copy.h"
#include "pages.h"
#include "rows.h"
#include "hot.h"

#define PAGE_BYTES ((uint64_t)HUSK_PAGE_SIZE)
/* To compare these costs as much as a scan. */
#define PIN_PAGES_MAX 64u
/* What an image remembers for its next sandboxes: 4 MiB. */
#define LEARN_PAGES_MAX 1024u

void hotset_done(struct hotset *hotset) {
    free(hotset->pages);
    *hotset = (struct hotset){0};
}

/* Threads are told apart by a number that is never given twice: an id of the system's may come back
 * with another thread's fault count. */
static uint64_t thread_number(void) {
    static atomic_uint_least64_t next = 1;
    static _Thread_local uint64_t number;
    if (number == 0)
        number = atomic_fetch_add(&next, 1);
    return number;
}

/* Page faults of this thread: those that KVM takes for the guest's first write to a page count as
 * the faults of the thread that runs it (mm_account_fault() in the kernel; a test holds us to
 * it). */
static uint64_t thread_faults(void) {
    struct rusage usage = {0};
    getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

/* ---- finding pages: a scan gives all private pages in ascending order; merge them with what is
 * known of the old ones ---- */

struct gather {
    struct hotset *hotset; /* the old one; read */
    struct hotset next;    /* the new one */
    uint32_t old_idx;
    const husk_image *image;
    const struct arena_region *region;
};

static struct hot_page *hotset_append(struct hotset *hotset) {
    if (hotset->count == hotset->capacity) {
        uint32_t capacity = hotset->capacity == 0 ? 64 : 2 * hotset->capacity;
        struct hot_page *pages = realloc(hotset->pages, capacity * sizeof *pages);
        if (pages == NULL)
            return NULL;
        hotset->pages = pages;
        hotset->capacity = capacity;
    }
    return &hotset->pages[hotset->count++];
}

static const uint8_t *source_of(const husk_image *image, uint64_t gva_value) {
    uint64_t bytes;
    return image_source(image, gva_value, &bytes);
}

static uint64_t gva_in(const struct arena_region *region, const uint8_t *hva) {
    return region->gva + (uint64_t)(hva - region->hva);
}

/* Old pages below `hva` that the scan did not report are not private any more; only pinned ones
 * stay. */
static int take_old(struct gather *gather, const uint8_t *hva) {
    struct hotset *old = gather->hotset;
    for (; gather->old_idx < old->count && old->pages[gather->old_idx].hva < hva;
         gather->old_idx++) {
        if (!old->pages[gather->old_idx].is_pinned)
            continue;
        struct hot_page *page = hotset_append(&gather->next);
        if (page == NULL)
            return HUSK_E_NOMEM;
        *page = old->pages[gather->old_idx];
    }
    return 0;
}

/* Of a page that is found: how long it stays, if it has left the set before. */
RARE static uint8_t patience_of(const struct hotset *hotset, const uint8_t *hva) {
    for (uint32_t i = 0; i < HOT_LEFT_MAX; i++) {
        const struct hot_left *left = &hotset->left[i];
        if (left->hva != hva)
            continue;
        const uint32_t more = left->patience != 0 ? left->patience * 4u : HOT_PATIENCE_FIRST;
        return (uint8_t)(more < HOT_PATIENCE_MAX ? more : HOT_PATIENCE_MAX);
    }
    return 0;
}

static int gather_page(struct gather *gather, uint8_t *hva, struct husk_error *err) {
    const struct hotset *old = gather->hotset;
    if (take_old(gather, hva) != 0)
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of written pages");
    struct hot_page *page = hotset_append(&gather->next);
    if (page == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for the list of written pages");
    if (gather->old_idx < old->count && old->pages[gather->old_idx].hva == hva)
        *page = old->pages[gather->old_idx++];
    else {
        const bool is_large = hotset_is_large(old, hva);
        *page = (struct hot_page){.hva = hva,
                                  .source = source_of(gather->image, gva_in(gather->region, hva)),
                                  .age = is_large ? HOT_AGE_FOUND : 0,
                                  .patience = is_large ? 0 : patience_of(old, hva)};
    }
    return 0;
}

/* How much there is at `hva` that is zeros in the image, too: the kernel's page of zeros is nothing
 * to restore there. */
static uint64_t zeros_bytes(const struct gather *gather, const uint8_t *hva, uint64_t bytes_max) {
    uint64_t bytes;
    if (image_source(gather->image, gva_in(gather->region, hva), &bytes) != NULL)
        return 0;
    return bytes < bytes_max ? bytes : bytes_max;
}

static int gather_run(void *user, uint8_t *hva, uint64_t bytes, bool is_zero,
                      struct husk_error *err) {
    struct gather *gather = user;
    const uint8_t *const end = hva + bytes;
    int status = 0;
    for (uint8_t *at = hva; at < end && status == 0;) {
        const uint64_t skipped = is_zero ? zeros_bytes(gather, at, (uint64_t)(end - at)) : 0;
        if (skipped == 0)
            status = gather_page(gather, at, err);
        at += skipped == 0 ? PAGE_BYTES : skipped;
    }
    return status;
}

static int gather_all(struct gather *gather, const struct arena *arena,
                      const struct pagemap *pagemap, struct husk_error *err) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    uint32_t count = arena_regions(arena, regions);
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        gather->region = &regions[i];
        status =
            pagemap_private(pagemap, regions[i].hva, regions[i].bytes, gather_run, gather, err);
    }
    if (status == 0 && take_old(gather, (const uint8_t *)UINTPTR_MAX) != 0)
        status = error_set(err, HUSK_E_NOMEM, "no memory for the list of written pages");
    return status;
}

RARE static int search(struct hotset *hotset, const struct hot_view *view, struct husk_error *err) {
    struct gather gather = {.hotset = hotset, .image = view->image};
    int status = gather_all(&gather, view->arena, view->pagemap, err);
    if (status != 0) {
        hotset_done(&gather.next);
        return status;
    }
    free(hotset->pages);
    hotset->pages = gather.next.pages;
    hotset->count = gather.next.count;
    hotset->capacity = gather.next.capacity;
    hotset->guest_faults = view->guest_faults;
    hotset->is_complete = hotset->has_found = true;
    return 0;
}

/* ---- knowing pages without a search ---- */

struct wide_look {
    struct hotset *hotset;
    const struct hot_view *view;
};

static uint32_t place_of(const struct hotset *hotset, const uint8_t *hva) {
    return rows_below(ROWS(hotset->pages, hotset->count, hva), (uintptr_t)hva);
}

static bool is_hot(const struct hotset *hotset, const uint8_t *hva) {
    const uint32_t place = place_of(hotset, hva);
    return place < hotset->count && hotset->pages[place].hva == hva;
}

static int page_add(struct hotset *hotset, uint8_t *hva, const uint8_t *source,
                    struct hot_page **ret_page) {
    const uint32_t place = place_of(hotset, hva);
    if (place == hotset->count || hotset->pages[place].hva != hva) {
        if (hotset_append(hotset) == NULL)
            return HUSK_E_NOMEM;
        memmove(&hotset->pages[place + 1], &hotset->pages[place],
                (hotset->count - 1 - place) * sizeof *hotset->pages);
        hotset->pages[place] = (struct hot_page){.hva = hva, .source = source};
    }
    *ret_page = &hotset->pages[place];
    return 0;
}

static inline bool is_noted(const struct hotset *hotset, const uint8_t *hva) {
    for (uint32_t i = hotset->noted_count; i > 0; i--)
        if (hotset->noted[i - 1] == hva)
            return true;
    return false;
}

/* false: there is no room. */
static inline bool note(struct hotset *hotset, uint8_t *hva) {
    if (is_noted(hotset, hva))
        return true;
    if (hotset->noted_count == HOT_NOTED_MAX)
        return is_hot(hotset, hva);
    hotset->noted[hotset->noted_count++] = hva;
    return true;
}

/* Ranges beyond HOT_WIDE_MAX become one with the last. What lies between them is looked at, too. */
RARE static void note_wide(struct hotset *hotset, uint8_t *from, uint8_t *to) {
    struct hot_range *wide = hotset->wide;
    uint32_t i = 0;
    while (i < hotset->wide_count && (to < wide[i].from || from > wide[i].to))
        i++;
    if (i == HOT_WIDE_MAX)
        i--;
    if (i == hotset->wide_count)
        wide[hotset->wide_count++] = (struct hot_range){from, to};
    wide[i].from = from < wide[i].from ? from : wide[i].from;
    wide[i].to = to > wide[i].to ? to : wide[i].to;
}

HOT void hotset_host_writes(struct hotset *hotset, const void *hva, uint64_t bytes) {
    const uintptr_t first = (uintptr_t)hva & ~(uintptr_t)(PAGE_BYTES - 1);
    const uintptr_t end = (uintptr_t)hva + bytes;
    if (LIKELY(end - first <= PAGE_BYTES && bytes != 0) && note(hotset, (uint8_t *)first))
        return; /* one page, as nearly always */
    bool is_noted_whole = end - first <= HOT_NOTED_MAX * PAGE_BYTES;
    for (uintptr_t at = first; bytes != 0 && is_noted_whole && at < end; at += PAGE_BYTES)
        is_noted_whole = note(hotset, (uint8_t *)at);
    if (bytes != 0 && !is_noted_whole)
        note_wide(hotset, (uint8_t *)first, (uint8_t *)page_up(end));
}

/* Note what has become private in a wide range. If that is much, a search is no slower. */
static int note_private(void *user, uint8_t *hva, uint64_t bytes, bool is_zero,
                        struct husk_error *err) {
    const struct wide_look *look = user;
    const struct hot_view *view = look->view;
    (void)err;
    for (uint8_t *at = hva; at < hva + bytes && look->hotset->is_complete; at += PAGE_BYTES) {
        const uint64_t gva_value = arena_gva_of(view->arena, at);
        if (gva_value == 0)
            continue; /* between regions: ranges that became one */
        const bool is_same = is_zero && source_of(view->image, gva_value) == NULL;
        if (!is_same && !is_hot(look->hotset, at) && !note(look->hotset, at))
            hotset_doubt(look->hotset);
    }
    return 0;
}

RARE static int note_wide_ranges(struct hotset *hotset, const struct hot_view *view,
                                 struct husk_error *err) {
    struct wide_look look = {hotset, view};
    int status = 0;
    for (uint32_t i = 0; i < hotset->wide_count && hotset->is_complete && status == 0; i++)
        status = pagemap_private(view->pagemap, hotset->wide[i].from,
                                 (uint64_t)(hotset->wide[i].to - hotset->wide[i].from),
                                 note_private, &look, err);
    return status;
}

/* The mailbox's page of arguments is the first that each call notes. To search for it would touch
 * lines all over the set. */
static bool is_first_noted_again(struct hotset *hotset, const uint8_t *hva) {
    if (hotset->noted_place < hotset->count && hotset->pages[hotset->noted_place].hva == hva)
        return true;
    hotset->noted_place = place_of(hotset, hva);
    return false;
}

/* A page that is noted and is not private costs a comparison at each restore, until it leaves. */
HOT static int take_noted(struct hotset *hotset, const struct hot_view *view,
                          struct husk_error *err) {
    for (uint32_t i = 0; i < hotset->noted_count; i++) {
        uint8_t *hva = hotset->noted[i];
        struct hot_page *page;
        if (i == 0 && is_first_noted_again(hotset, hva))
            continue;
        if (!is_hot(hotset, hva) &&
            page_add(hotset, hva, source_of(view->image, arena_gva_of(view->arena, hva)), &page) !=
                0)
            return error_set(err, HUSK_E_NOMEM, "no memory for the list of written pages");
    }
    return 0;
}

void hotset_watch(struct hotset *hotset) {
    if (hotset->is_watched && hotset->watched_thread == thread_number())
        return;
    if (hotset->is_watched)
        hotset_doubt(hotset);
    hotset->is_watched = true;
    hotset->watched_thread = thread_number();
    hotset->watched_faults = thread_faults();
}

HOT void hotset_unwatch(struct hotset *hotset) {
    if (LIKELY(!hotset->is_watched))
        return;
    hotset->is_watched = false;
    if (hotset->watched_thread != thread_number() || hotset->watched_faults != thread_faults())
        hotset_doubt(hotset);
}

HOT int hotset_update_all(struct hotset *hotset, const struct hot_view *view,
                          bool *ret_has_searched, struct husk_error *err) {
    int status = 0;
    hotset_unwatch(hotset);
    if (UNLIKELY(hotset->wide_count != 0) && !hotset_must_search(hotset, view))
        status = note_wide_ranges(hotset, view, err);
    if (UNLIKELY(status != 0))
        return status;
    *ret_has_searched = hotset_must_search(hotset, view);
    if (UNLIKELY(*ret_has_searched))
        status = search(hotset, view, err);
    else if (hotset->noted_count != 0)
        status = take_noted(hotset, view, err);
    if (status == 0)
        hotset->noted_count = hotset->wide_count = 0;
    return status;
}

void hotset_forget(struct hotset *hotset, const uint8_t *hva, uint64_t bytes) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < hotset->count; i++)
        if (hotset->pages[i].is_pinned || hotset->pages[i].hva < hva ||
            hotset->pages[i].hva >= hva + bytes)
            hotset->pages[kept++] = hotset->pages[i];
    hotset->count = kept;
    kept = 0;
    for (uint32_t i = 0; i < hotset->noted_count; i++)
        if (hotset->noted[i] < hva || hotset->noted[i] >= hva + bytes)
            hotset->noted[kept++] = hotset->noted[i];
    hotset->noted_count = kept;
}

void hotset_retarget(struct hotset *hotset, const struct arena *arena, const husk_image *image) {
    for (uint32_t i = 0; i < hotset->count; i++)
        hotset->pages[i].source = source_of(image, arena_gva_of(arena, hotset->pages[i].hva));
}

/* ---- restoring ---- */

static bool is_leaving(const struct hotset *hotset, uint32_t idx) {
    const struct hot_page *page = &hotset->pages[idx];
    return !page->is_pinned && (page->age >= HOT_AGE_MAX || idx >= HOT_PAGES_MAX);
}

static void note_left(struct hotset *hotset, const struct hot_page *page) {
    struct hot_left *left = NULL;
    for (uint32_t i = 0; i < HOT_LEFT_MAX && left == NULL; i++)
        if (hotset->left[i].hva == page->hva)
            left = &hotset->left[i];
    if (left == NULL)
        left = &hotset->left[hotset->left_next++ % HOT_LEFT_MAX];
    *left = (struct hot_left){page->hva, page->patience};
}

/* Neighbours leave together, in one system call. The mapping below them is the image's, so nothing
 * is lost. */
RARE static int discard_leaving(struct hotset *hotset, uint64_t *ret_count,
                                struct husk_error *err) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < hotset->count;) {
        if (!is_leaving(hotset, i)) {
            hotset->pages[kept++] = hotset->pages[i++];
            continue;
        }
        uint8_t *from = hotset->pages[i].hva, *to = from;
        for (; i < hotset->count && hotset->pages[i].hva == to && is_leaving(hotset, i); i++) {
            note_left(hotset, &hotset->pages[i]);
            to += PAGE_BYTES;
        }
        if (arena_discard(from, (uint64_t)(to - from)) != 0)
            return error_sys(err, errno, "cannot discard pages of a sandbox");
        *ret_count += (uint64_t)(to - from) / PAGE_BYTES;
    }
    hotset->count = kept;
    return 0;
}

/* The age of a page that was found equal. */
static inline uint32_t older(struct hot_page *page) {
    if (page->patience == 0 || page->age == 0)
        return page->age + 1;
    page->held++;
    if (page->held < page->patience)
        return page->age;
    page->held = 0;
    return page->age + 1;
}

/* Returns true if the page is about to leave the set. */
static inline bool restore_page(struct hot_page *page, const struct hot_page *next,
                                page_copy_fn copy, struct hot_counts *counts) {
    const bool was_written = copy(hot_page_pair(page), hot_page_pair(next));
    const uint32_t age = was_written ? 0 : older(page);
    if (UNLIKELY(page->age != age))
        page->age = age; /* most stay 0, and their lines clean */
    counts->copied += was_written;
    return age >= HOT_AGE_MAX && !page->is_pinned;
}

HOT FLAT int hotset_restore(struct hotset *hotset, struct hot_counts *ret_counts,
                            struct husk_error *err) {
    struct hot_counts counts = {0};
    const uint32_t count = hotset->count;
    bool is_any_leaving = count > HOT_PAGES_MAX;
    const page_copy_fn copy = page_copy_best();
    struct hot_page *page = count > 0 ? hotset_in_turn(hotset, 0) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct hot_page *next = i + 1 < count ? hotset_in_turn(hotset, i + 1) : page;
        if (LIKELY(page - hotset->pages < HOT_PAGES_MAX) ||
            page->is_pinned) /* else it is discarded */
            is_any_leaving |= restore_page(page, next, copy, &counts);
        page = next;
    }
    hotset->is_backward = !hotset->is_backward;
    const bool may_have_large = hotset_has_large(hotset) && count >= LARGE_BLOCK_PAGES;
    int status =
        UNLIKELY(hotset->has_found || may_have_large) ? large_settle(hotset, &counts, err) : 0;
    if (UNLIKELY(is_any_leaving) && status == 0)
        status = discard_leaving(hotset, &counts.aged, err);
    if (UNLIKELY(status != 0))
        return status;
    hotset->has_restored = true;
    hotset->has_found = false;
    *ret_counts = counts;
    return 0;
}

/* ---- knowing pages before a search finds them ---- */

/* They stay in the set, as what they are: written, or soon to be forgotten. */
static void unpin_all(struct hotset *hotset) {
    for (uint32_t i = 0; i < hotset->count; i++)
        hotset->pages[i].is_pinned = false;
    hotset->pinned_count = 0;
}

int hotset_pin(struct hotset *hotset, const struct arena *arena, const husk_image *image,
               uint8_t *hva, uint64_t bytes, struct husk_error *err) {
    uint8_t *from = hva - (uintptr_t)hva % PAGE_BYTES;
    if (hotset->must_scan)
        return 0;
    hotset->must_scan = (uint64_t)(hva + bytes - from) > PIN_PAGES_MAX * PAGE_BYTES;
    for (uint8_t *at = from; at < hva + bytes && !hotset->must_scan; at += PAGE_BYTES) {
        struct hot_page *page;
        if (page_add(hotset, at, source_of(image, arena_gva_of(arena, at)), &page) != 0)
            return error_set(err, HUSK_E_NOMEM, "no memory for the list of written pages");
        hotset->pinned_count += !page->is_pinned;
        page->is_pinned = true;
        hotset->must_scan = hotset->pinned_count > PIN_PAGES_MAX;
    }
    if (hotset->must_scan)
        unpin_all(hotset);
    return 0;
}

void hotset_unpin(struct hotset *hotset) {
    if (hotset->must_scan || hotset->pinned_count > 0)
        hotset_doubt(hotset); /* a last search tells which of them are private */
    unpin_all(hotset);
    hotset->must_scan = false;
}

/* At once: a write of each page would be two faults, one for what is there. Older kernels (before
 * 5.14) do not know it, and get the writes, of what is there. */
static void make_private(uint8_t *from, uint8_t *to) {
    if (from == to || madvise(from, (size_t)(to - from), MADV_POPULATE_WRITE) == 0)
        return;
    for (volatile uint8_t *at = from; at < to; at += PAGE_BYTES)
        *at = *at;
}

static uint8_t *hva_in(const struct arena_region *regions, uint32_t count, uint64_t gva_value) {
    for (uint32_t i = 0; i < count; i++)
        if (gva_value >= regions[i].gva && gva_value - regions[i].gva < regions[i].bytes)
            return regions[i].hva + (gva_value - regions[i].gva);
    return NULL;
}

/* Neighbours go together. */
void hotset_prefill(struct hotset *hotset, const struct arena *arena, husk_image *image) {
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t count = arena_regions(arena, regions);
    uint8_t *from = NULL, *to = NULL;
    bool has_memory = true;
    hotset_doubt(hotset); /* the first restore searches: it finds what fails here */
    pthread_mutex_lock(&image->template_lock);
    for (uint32_t i = 0; i < image->hot_count && has_memory; i++) {
        uint8_t *hva = hva_in(regions, count, image->hot_gvas[i]);
        struct hot_page *page;
        if (hva == NULL)
            continue;
        if (hva != to) {
            make_private(from, to);
            from = hva;
        }
        to = hva + PAGE_BYTES;
        has_memory = page_add(hotset, hva, source_of(image, image->hot_gvas[i]), &page) == 0;
    }
    make_private(from, to);
    pthread_mutex_unlock(&image->template_lock);
}

static uint64_t *list_written(const struct hotset *hotset, const struct arena *arena,
                              bool is_one_run, uint32_t *ret_count) {
    uint64_t *gvas = malloc((hotset->count + 1u) * sizeof *gvas);
    uint32_t count = 0;
    for (uint32_t i = 0; gvas != NULL && i < hotset->count; i++) {
        const struct hot_page *page = &hotset->pages[i];
        const uint64_t gva_value = arena_gva_of(arena, page->hva);
        if (page->age == 0 && !page->is_pinned && (is_one_run || gva_value < HUSK_MEM0_GVA))
            gvas[count++] = gva_value;
    }
    *ret_count = count;
    return gvas;
}

/* What is in both lists, in the first. Both ascend. Returns how many. */
static uint32_t list_intersect(uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count) {
    uint32_t count = 0, at = 0;
    for (uint32_t i = 0; i < a_count; i++) {
        while (at < b_count && b[at] < a[i])
            at++;
        if (at < b_count && b[at] == a[i])
            a[count++] = a[i];
    }
    return count;
}

/* The pages ascend by guest address as they do by host address: regions ascend alike. Deliberately
 * not the union of what all sandboxes wrote: one large request would have every later sandbox start
 * with its pages. */
void hotset_learn(const struct hotset *hotset, const struct arena *arena, husk_image *image,
                  bool is_one_run) {
    uint32_t count;
    uint64_t *gvas = list_written(hotset, arena, is_one_run && hotset->has_restored, &count);
    if (gvas == NULL || count == 0 || count > LEARN_PAGES_MAX) {
        free(gvas);
        return;
    }
    pthread_mutex_lock(&image->template_lock);
    uint64_t *known = image->seen_gvas;
    uint32_t known_count = image->seen_count;
    if (known != NULL) {
        known_count = list_intersect(known, known_count, gvas, count);
    } else if (image->hot_gvas == NULL && (known = malloc(count * sizeof *known)) != NULL) {
        memcpy(known, gvas, count * sizeof *known);
        known_count = count;
    }
    if (known != NULL) {
        free(image->hot_gvas);
        image->hot_gvas = known;
        image->hot_count = known_count;
    }
    image->seen_gvas = gvas;
    image->seen_count = count;
    pthread_mutex_unlock(&image->template_lock);
}
