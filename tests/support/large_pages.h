/*
 * tests/support/large_pages.h: asks the kernel how much of a range is in large pages (2 MiB), and
 * whether it gives any here.
 */
#ifndef TESTS_SUPPORT_LARGE_PAGES_H
#define TESTS_SUPPORT_LARGE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* Large pages in the mappings of this process that [hva, hva + bytes) has a part of. */
unsigned large_pages_in(const uint8_t *hva, uint64_t bytes);
/* Does the kernel give so many now? They may be switched off, and memory may be too fragmented. */
bool has_large_pages(unsigned count);
/* The same, if memory was read before it is written: then the large page of zeros is there, which
 * kernels before Linux 6.13 exchange for small ones. */
bool has_large_pages_after_reads(void);

#define SKIP_WITHOUT_LARGE_PAGES()                                                                 \
    do {                                                                                           \
        if (!has_large_pages(7))                                                                   \
            SKIP("the kernel gives no large pages");                                               \
    } while (0)

/* Check how many there are. There may be fewer where the kernel has no more to give. */
#define CHECK_LARGE_PAGES(number, wanted)                                                          \
    do {                                                                                           \
        const unsigned large_number = (number), large_wanted = (wanted);                           \
        if (large_number < large_wanted && !has_large_pages(large_wanted))                         \
            SKIP("the kernel has too few large pages: %u of %u", large_number, large_wanted);      \
        CHECK_EQ_U64(large_number, large_wanted);                                                  \
    } while (0)

#endif
