/*
 * host/memory/hotset.h: the hot set: the pages that a sandbox's runs have written since its memory
 * was mapped. A restore copies them back.
 *
 * The pages stay private between restores (docs/snapshots.md). On kvm-pvm, unmapping 256 pages and
 * taking the faults again costs a millisecond; copying them costs 30 us. A page that several
 * restores in a row find unchanged is discarded and leaves the set. So one large request does not
 * slow down all later ones.
 */
#ifndef HOST_HOTSET_H
#define HOST_HOTSET_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "pagemap.h"

/* A page that equals the image for this many restores in a row is no longer hot. Each restore costs
 * a comparison (0.1 us); a later return to the set costs a fault (1-4 us). So more than a few tens
 * would cost more than they save. A smaller number would make alternating requests thrash. */
#define HOT_AGE_MAX 8u
/* 32 MiB. Beyond that, comparing costs more than the faults, so further pages are discarded at
 * once. */
#define HOT_PAGES_MAX 8192u

struct hot_page {
    uint8_t *hva;
    const uint8_t *source; /* the contents to restore; NULL: zeros */
    uint32_t age;          /* number of restores in a row that found the page equal */
    /* the embedder may write the page through a span at any time, so it never leaves the set */
    bool is_pinned;
};

struct hotset {
    struct hot_page *pages; /* ascending by hva */
    uint32_t count, capacity;
    /* The thread and its number of faults at the last scan. If this thread has the same number of
     * faults now, no page has become private since. */
    uint64_t thread_id, faults;
    uint32_t pinned_count;
    bool has_restored; /* if true, age 0 means that the last run wrote the page */
    /* the views are too large to pin pages: every restore scans for written pages */
    bool must_scan;
};

struct hot_counts {
    uint64_t copied, aged;
};

void hotset_done(struct hotset *hotset);
/* Update the set: afterwards it has every private page of the arena. `image` is the image that the
 * arena maps. */
int hotset_update(struct hotset *hotset, const struct arena *arena, const husk_image *image,
                  const struct pagemap *pagemap, struct husk_error *err);
/* Tell that the calling thread runs the guest or writes its memory. Another thread's number of
 * faults does not count the pages that become private here. */
void hotset_written_here(struct hotset *hotset);
/* Remove the pages in [hva, hva + bytes), except pinned ones, from the set, because their mapping
 * was replaced or discarded. */
void hotset_forget(struct hotset *hotset, const uint8_t *hva, uint64_t bytes);
/* Set the source of every page to another image. Pages keep their ages, because an embedder may
 * restore to two images in turn. */
void hotset_retarget(struct hotset *hotset, const struct arena *arena, const husk_image *image);
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
 * sandboxes in a row wrote it. A sandbox that was never restored cannot separate its last run from
 * earlier ones. It tells only the pages that each call needs: globals, mailbox, stack. */
void hotset_learn(const struct hotset *hotset, const struct arena *arena, husk_image *image);

#endif
