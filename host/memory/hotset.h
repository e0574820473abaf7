/*
 * host/memory/hotset.h: the hot set: the pages that a sandbox's runs have written since its memory
 * was mapped. A restore copies them back.
 *
 * The pages stay private between restores (docs/snapshots.md). On kvm-pvm, unmapping 256 pages and
 * taking the faults again costs a millisecond; copying them costs 30 us. A page that several
 * restores in a row find unchanged is discarded and leaves the set. So one large request does not
 * slow down all later ones.
 *
 * A search of all memory for private pages costs 5 us a MiB, so a restore makes one only if there
 * may be pages that the set does not have. A page becomes private in three ways:
 *   the guest writes it: its vCPU took a page fault then, and the hypervisor counts those, whatever
 *     thread ran the guest (vcpu_ops.faults). If it does not count them, runs are watched.
 *   the library writes it, or the embedder in a host function or a callback, which may hand the
 *     work to another thread: hotset_host_writes() notes the pages before. Of many pages it notes
 *     the range, and only there the next restore looks for private pages. Where the places are not
 *     known, the writer is watched: hotset_watch() to hotset_unwatch(), the page faults of the
 *     thread are counted, and one or more mean a search.
 *   the embedder writes it through a span: hotset_pin().
 */
#ifndef HOST_HOTSET_H
#define HOST_HOTSET_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "hot.h"
#include "page_copy.h"
#include "pagemap.h"

/* A page that equals the image for this many restores in a row is no longer hot. Each restore costs
 * a comparison (0.1 us); a later return to the set costs a fault (1-4 us). So more than a few tens
 * would cost more than they save. A smaller number would make alternating requests thrash. */
#define HOT_AGE_MAX 8u
/* The age of a page that a search finds where large pages were asked for: it may be private without
 * having been written, as a part of one. The next comparison tells. */
#define HOT_AGE_FOUND HOT_AGE_MAX
/* 32 MiB. Beyond that, comparing costs more than the faults, so further pages are discarded at
 * once. */
#define HOT_PAGES_MAX 8192u

struct hot_page {
    uint8_t *hva;
    const uint8_t *source; /* the contents to restore; NULL: zeros */
    uint32_t age;          /* number of restores in a row that found the page equal */
    /* the embedder may write the page through a span at any time, so it never leaves the set */
    bool is_pinned;
    /* once it is not written, it gets older in every so many restores only; 0 is 1 */
    uint8_t patience, held;
};

/* A page that leaves the set, and is there again, is written by every run, which leaves what was
 * there before: a count of references, say. Equal as it is, it stays longer each time: 8 restores,
 * then 29, 113 and 449. So many of those that left last are known. Not where large pages were asked
 * for: with it, the first request of a snapshot that wrote 16 MiB took 20 times as long. */
#define HOT_LEFT_MAX 16u
#define HOT_PATIENCE_FIRST 4u
#define HOT_PATIENCE_MAX 64u
struct hot_left {
    const uint8_t *hva;
    uint8_t patience;
};

/* To note more pages costs more than to look at their range. */
#define HOT_NOTED_MAX 32u
#define HOT_WIDE_MAX 8u

struct hot_range {
    uint8_t *from, *to; /* whole pages */
};

/* The fields that every restore looks at come first, in one cache line. */
struct hotset {
    struct hot_page *pages; /* ascending by hva */
    uint32_t count, capacity;
    uint64_t guest_faults; /* vcpu_ops.faults() at the last search */
    uint32_t noted_count, wide_count, pinned_count;
    uint32_t
        noted_place; /* where the first noted page was in the set, when it was looked for last */
    /* false: there may be private pages that are neither in the set nor noted nor counted */
    bool is_complete;
    bool is_watched;
    bool is_backward;  /* the next restore compares the last page first */
    bool has_restored; /* if true, age 0 means that the last run wrote the page */
    /* the views are too large to pin pages: every restore scans for written pages */
    bool must_scan;
    /* large.c: between these, large pages were asked for and may be there, also by khugepaged in
     * place of small ones; equal: nowhere. So a part of one may be private that nobody has written.
     * Its first write is a fault of the guest, but of no thread: only vcpu_ops.faults() tells. */
    struct hot_range large;
    bool is_asking;    /* for more of them, where the image has zeros */
    bool has_found;    /* a search was made since the last restore */
    uint32_t given_up; /* large pages that were exchanged for small ones */
    /* pages that the library has written since, or was about to write */
    uint8_t *noted[HOT_NOTED_MAX];
    struct hot_range wide[HOT_WIDE_MAX]; /* the same, for more pages */
    /* is_watched: this thread had so many faults when the watch began */
    uint64_t watched_thread, watched_faults;
    struct hot_left left[HOT_LEFT_MAX]; /* a ring */
    uint32_t left_next;
};

struct hot_counts {
    uint64_t copied, aged;
    /* blocks of a large page that the last call filled with much, and with little */
    uint64_t large_paid, large_poor;
    uint64_t large_kept; /* large pages that are there still */
};

void hotset_done(struct hotset *hotset);
/* What hotset_update() needs to know. */
struct hot_view {
    const struct arena *arena;
    const husk_image *image; /* that the arena maps */
    const struct pagemap *pagemap;
    uint64_t guest_faults; /* vcpu_ops.faults(), now */
};
/* Update the set: afterwards it has every private page of the arena. ret_has_searched: all memory
 * was searched for them. */
static inline int hotset_update(struct hotset *hotset, const struct hot_view *view,
                                bool *ret_has_searched, struct husk_error *err);
/* Note that [hva, hva + bytes) is about to be written, by any thread, until the next
 * hotset_update(). */
void hotset_host_writes(struct hotset *hotset, const void *hva, uint64_t bytes);
/* From here to hotset_unwatch() the calling thread may write anywhere. Several calls of
 * hotset_watch() need one hotset_unwatch(). */
void hotset_watch(struct hotset *hotset);
void hotset_unwatch(struct hotset *hotset);
/* There may be private pages of which nothing above tells. */
static inline void hotset_doubt(struct hotset *hotset) {
    hotset->is_complete = false;
}
static inline bool hotset_has_large(const struct hotset *hotset) {
    return hotset->large.from != hotset->large.to;
}
static inline bool hotset_is_large(const struct hotset *hotset, const uint8_t *hva) {
    return hva >= hotset->large.from && hva < hotset->large.to;
}
/* Remove the pages in [hva, hva + bytes), except pinned ones, from the set, because their mapping
 * was replaced or discarded. */
void hotset_forget(struct hotset *hotset, const uint8_t *hva, uint64_t bytes);
/* Set the source of every page to another image. Pages keep their ages, because an embedder may
 * restore to two images in turn. */
void hotset_retarget(struct hotset *hotset, const struct arena *arena, const husk_image *image);
/* Prefetch what hotset_restore() compares first. */
static inline void hotset_prefetch(const struct hotset *hotset);
/* Copy back the pages that differ. Discard pages that are too old or beyond HOT_PAGES_MAX. */
int hotset_restore(struct hotset *hotset, struct hot_counts *ret_counts, struct husk_error *err);
/* Tell that the embedder got a writable view. If the pages of all views are few, they are pinned:
 * restored even if no scan finds them. Otherwise every restore scans. */
int hotset_pin(struct hotset *hotset, const struct arena *arena, const husk_image *image,
               uint8_t *hva, uint64_t bytes, struct husk_error *err);
/* Tell that all views have ended. */
void hotset_unpin(struct hotset *hotset);
/* Before the first run, make the pages private that sandboxes of this image are known to write. */
void hotset_prefill(struct hotset *hotset, const struct arena *arena, husk_image *image);
/* Tell the image which pages the last run before the last restore wrote. A page is learned once two
 * sandboxes in a row wrote it. is_one_run: what was written since the last restore is what a run
 * writes. Without that, or without a restore, only the pages are told that each call needs:
 * globals, mailbox, stack. */
void hotset_learn(const struct hotset *hotset, const struct arena *arena, husk_image *image,
                  bool is_one_run);

/* ---- within the functions that every restore runs (base/hot.h) ---- */

static inline bool hotset_must_search(const struct hotset *hotset, const struct hot_view *view) {
    return UNLIKELY(hotset->must_scan || !hotset->is_complete ||
                    hotset->guest_faults != view->guest_faults);
}

/* The same as hotset_update(), also where there is something to do. */
int hotset_update_all(struct hotset *hotset, const struct hot_view *view, bool *ret_has_searched,
                      struct husk_error *err);

static inline int hotset_update(struct hotset *hotset, const struct hot_view *view,
                                bool *ret_has_searched, struct husk_error *err) {
    const bool is_noted = (hotset->noted_count | hotset->wide_count) != 0;
    if (is_noted || UNLIKELY(hotset->is_watched || hotset_must_search(hotset, view)))
        return hotset_update_all(hotset, view, ret_has_searched, err);
    *ret_has_searched = false;
    return 0;
}

static inline struct page_pair hot_page_pair(const struct hot_page *page) {
    return (struct page_pair){page->hva, page->source};
}

/* Each restore goes the other way than the one before. So it begins with the pages that are still
 * in the second-level cache, if not all are. */
static inline struct hot_page *hotset_in_turn(const struct hotset *hotset, uint32_t idx) {
    return &hotset->pages[hotset->is_backward ? hotset->count - 1 - idx : idx];
}

/* So much at a time as the CPU can wait for: it has 10 to 16 buffers for lines that come. */
#define HOT_PREFETCH_LINES 4u
#define HOT_PREFETCH_PAGES 3u

static inline void hotset_prefetch(const struct hotset *hotset) {
    const uint32_t count = hotset->count;
    if (count > 0)
        page_copy_prefetch(hot_page_pair(hotset_in_turn(hotset, 0)), HOT_PREFETCH_LINES);
    for (uint32_t i = 1; i < count && i < HOT_PREFETCH_PAGES; i++)
        page_copy_prefetch(hot_page_pair(hotset_in_turn(hotset, i)), 1);
}

#endif
