/*
 * host/engine/pagemap.h: finds the pages of this process that are private, that is, written since
 * they were mapped. So a restore finds the changes of a run without help from the guest or KVM. A
 * copy-on-write page is private exactly if it was written, whoever wrote it.
 */
#ifndef HOST_PAGEMAP_H
#define HOST_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "husk.h"

/* An open /proc/self/pagemap; may be used by several threads. */
struct pagemap {
    int fd;
    bool has_scan; /* PAGEMAP_SCAN, Linux 6.7; otherwise the entries are read one by one */
};

int pagemap_open(struct pagemap *pagemap, struct husk_error *err);
void pagemap_close(struct pagemap *pagemap);

/* Called for each run of private pages. `is_zero`: the kernel's shared page of zeros is mapped
 * there. If the mapping is of zeros, such a page was only read. If the mapping is of a file, the
 * page was written: the kernel's samepage merging (KSM, use_zero_pages) replaces a private page
 * full of zeros by the page of zeros. Returns 0, or a status that ends the walk. */
typedef int (*pagemap_run_fn)(void *user, uint8_t *hva, uint64_t bytes, bool is_zero,
                              struct husk_error *err);

/* Find every run of private pages in [hva, hva + bytes) of a MAP_PRIVATE mapping, ascending.
 * Private means present or swapped out, and not backed by the file. Without PAGEMAP_SCAN, the
 * shared page of zeros looks like any other, and `is_zero` is false. Cost follows the number of
 * present pages, not the size: 1 us for an untouched range, 10 us/MiB if all pages were read. */
int pagemap_private(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes, pagemap_run_fn fn,
                    void *user, struct husk_error *err);

/* The same for pages that are mapped, and are those of the file: they were read, or a neighbour
 * was, and not written. `is_zero` is false. */
int pagemap_read(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes, pagemap_run_fn fn,
                 void *user, struct husk_error *err);

#endif
