/*
 * host/memory/hotset.h: the pages that a sandbox's runs have written since its memory was mapped:
 * the ones that a restore copies back.
 *
 * They stay private between restores (docs/snapshots.md): unmapping 256 pages and taking the faults
 * again costs a millisecond on kvm-pvm, copying them 30 us. A page that a restore finds unchanged
 * several times in a row is discarded and leaves the set, so that one big request does not tax all
 * later ones.
 */
#ifndef HOST_HOTSET_H
#define HOST_HOTSET_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "pagemap.h"

/* A page that was equal to the image this many restores in a row is no longer hot. Each of them
 * costs a comparison (0.1 us), coming back costs a fault (1-4 us): more than a few tens would not
 * pay, and less would let alternating requests thrash. */
#define HOT_AGE_MAX 8u
/* 32 MiB: beyond that, comparing costs more than the faults. Further pages are discarded at
 * once. */
#define HOT_PAGES_MAX 8192u

struct hot_page {
    uint8_t *hva;
    const uint8_t *source; /* what it is restored from; NULL: zeros */
    uint32_t age;          /* restores in a row that found it equal */
    bool is_pinned;        /* the embedder may write it at any time through a span: never aged */
};

struct hotset {
    struct hot_page *pages; /* ascending by hva */
    uint32_t count, capacity;
    /* No page became private since these were taken if this thread took no fault since. */
    uint64_t thread_id, faults;
    uint32_t pinned_count;
    bool has_restored; /* so that age 0 means: written by the last run */
    bool must_scan;    /* nothing is pinned: every restore looks for written pages */
};

struct hot_counts {
    uint64_t copied, aged;
};

void hotset_done(struct hotset *hotset);
/* Bring the set up to date: every private page of the arena is in it afterwards. `image` is the one
 * that the arena is mapped over. */
int hotset_update(struct hotset *hotset, const struct arena *arena, const husk_image *image,
                  const struct pagemap *pagemap, struct husk_error *err);
/* The calling thread runs the guest, or writes its memory: what that makes private is not in
 * another thread's fault count. */
void hotset_written_here(struct hotset *hotset);
/* Drop the pages in [hva, hva + bytes) from the set, but for pinned ones: their mapping was
 * replaced or discarded. */
void hotset_forget(struct hotset *hotset, const uint8_t *hva, uint64_t bytes);
/* Point every page at its contents in another image, for the arena's addresses. They keep their
 * ages: who restores to two images in turn has history, too. */
void hotset_retarget(struct hotset *hotset, const struct arena *arena, const husk_image *image);
/* Copy back what differs; discard what has aged or is too much. */
int hotset_restore(struct hotset *hotset, struct hot_counts *ret_counts, struct husk_error *err);
/* The embedder got a writable view: these pages are restored whether or not a scan finds them, as
 * long as those of all views are few; from then on every restore scans. */
int hotset_pin(struct hotset *hotset, const struct arena *arena, const husk_image *image,
               uint8_t *hva, uint64_t bytes, struct husk_error *err);
/* All views have ended. */
void hotset_unpin(struct hotset *hotset);
/* Make pages private ahead of the first run: those that sandboxes of this image are known to
 * write. */
void hotset_prefill(struct hotset *hotset, const struct arena *arena, husk_image *image);
/* Tell the image which pages the run before the last restore wrote: what two sandboxes in a row say
 * is known of it. One that was never restored cannot tell a run from all that came before, and says
 * only which pages each call needs: globals, mailbox, stack. */
void hotset_learn(const struct hotset *hotset, const struct arena *arena, husk_image *image);

#endif
