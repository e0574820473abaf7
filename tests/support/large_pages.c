/* tests/support/large_pages.c: see large_pages.h. */
#include "large_pages.h"

#include <stdio.h>
#include <sys/mman.h>

#include "harness.h"
#include "layout.h"
#include "pages.h"

unsigned large_pages_in(const uint8_t *hva, uint64_t bytes) {
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long first, second, from = 0, to = 0, kib = 0, total = 0;
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%lx-%lx ", &first, &second) == 2) {
            from = first;
            to = second;
        }
        if (sscanf(line, "AnonHugePages: %lu", &kib) == 1 && from < (uintptr_t)hva + bytes &&
            to > (uintptr_t)hva)
            total += kib;
    }
    fclose(file);
    return (unsigned)(total / (LARGE_PAGE_BYTES / 1024));
}

static bool gets_large_pages(unsigned count, bool reads_first) {
    const size_t bytes = (count + 1) * LARGE_PAGE_BYTES;
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    bool has_some = madvise(memory, bytes, MADV_HUGEPAGE) == 0;
    for (size_t at = 0; at < bytes && reads_first; at += HUSK_PAGE_SIZE)
        (void)*(volatile uint8_t *)(memory + at);
    for (size_t at = 0; at < bytes; at += HUSK_PAGE_SIZE)
        *(volatile uint8_t *)(memory + at) = 1;
    has_some = has_some && large_pages_in(memory, bytes) >= count;
    munmap(memory, bytes);
    return has_some;
}

bool has_large_pages(unsigned count) {
    return gets_large_pages(count, false);
}

bool has_large_pages_after_reads(void) {
    return gets_large_pages(1, true);
}
