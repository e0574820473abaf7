/*
 * host/engine/pagemap.h: which pages of this process are private, that is, written since they were
 * mapped. This is how a restore finds what a run has changed without the guest's or KVM's help: a
 * copy-on-write page is private exactly once it was written, whoever wrote it.
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

/* One run of private pages. `is_zero`: of the kernel's shared page of zeros. Where zeros are
 * mapped, that is how a page looks that was only read. Where there is a file, its page was written
 * all the same: the kernel's samepage merging (KSM, use_zero_pages) puts the page of zeros in the
 * place of a private one that is full of zeros. Return 0, or a status that ends the walk. */
typedef int (*pagemap_run_fn)(void *user, uint8_t *hva, uint64_t bytes, bool is_zero,
                              struct husk_error *err);

/* Every run of private pages in [hva, hva + bytes) of a MAP_PRIVATE mapping, ascending: present or
 * swapped out, and not backed by the file. Without PAGEMAP_SCAN the shared page of zeros cannot be
 * told, and `is_zero` is false. Cost follows the pages that are present, not the size: 1 us for an
 * untouched range, 10 us/MiB where all pages were read. */
int pagemap_private(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes, pagemap_run_fn fn,
                    void *user, struct husk_error *err);

#endif
