/*
 * host/memory/large.h: large pages (2 MiB) for memory that is written for the first time.
 *
 * A first write to a page is a fault that KVM handles: 25 us and more where leaving the guest is
 * slow, for 4 KiB or for 2 MiB. Afterwards a large page is 512 private pages to a restore: it
 * compares all of them, however few were written. So the kernel gives large pages only where
 * somebody asks (arena.c forbids them everywhere), and these are the places:
 *
 *   what memory.grow adds, if it adds much: a restore discards it as a whole. Always.
 *   what the image has as zeros: if large pages paid in other sandboxes of the image, and in the
 *     first few of an image of which nothing is known.
 *
 * A restore looks at each large page that the last call filled first. If the call wrote less than
 * half of it, it is exchanged for small pages, and after some of these the machine asks no more. A
 * large page that no call writes leaves as small ones do: after HOT_AGE_MAX restores, as a whole.
 * husk_sandbox_options.large_pages overrules what was learned.
 */
#ifndef HOST_LARGE_H
#define HOST_LARGE_H

#include "machine.h"

/* Fewer written pages of the 512 do not pay at a restore: each other one is compared in vain. */
#define LARGE_WRITTEN_MIN 256u
/* Each exchange splits a mapping in three, and a process has 65,530 mappings. */
#define LARGE_GIVEN_UP_MAX 8u
/* Machines of an image that ask before anything is known. They bound the memory that is lost if
 * large pages do not pay, and if no restore ever tells. */
#define LARGE_TRIALS_MAX 4u
/* Restores that say the same are enough. */
#define LARGE_VOTES_MAX 3

/* The machine's memory is mapped: ask for large pages where the image has zeros, if they are
 * expected to pay. */
void large_begin(struct machine *machine);
/* A memory has grown from old_bytes to its size. */
void large_grown(struct machine *machine, uint32_t mem_idx, uint64_t old_bytes);
/* A memory is about to end before `hva`, where it ended at hva + bytes. Returns how much is to be
 * discarded: more, if a large page reaches beyond the old end. */
uint64_t large_shrink(struct machine *machine, uint8_t *hva, uint64_t bytes);
/* Within a restore, between comparing and discarding: decide about large pages. The ages tell. */
int large_settle(struct hotset *hotset, struct hot_counts *counts, struct husk_error *err);
/* After a restore: what it saw is told to the image. */
void large_learn(struct machine *machine, const struct hot_counts *counts);

#endif
