/*
 * host/engine/pagemap.c: see pagemap.h. Kernel: Documentation/admin-guide/mm/pagemap.rst.
 */
#include "pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "error.h"
#include "layout.h"

/* PAGEMAP_SCAN (6.7) is newer than the oldest kernel headers we build with.
 * include/uapi/linux/fs.h */
struct scan_region {
    uint64_t start, end, categories;
};

struct scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define CATEGORY_FILE (1u << 2)
#define CATEGORY_PRESENT (1u << 3)
#define CATEGORY_SWAPPED (1u << 4)
#define CATEGORY_ZERO_PAGE (1u << 5)

/* Bits of a pagemap entry. */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)

#define REGIONS_MAX 128
#define ENTRIES_MAX 512

int pagemap_open(struct pagemap *pagemap, struct husk_error *err) {
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_sys(err, errno,
                         "cannot open /proc/self/pagemap, which tells what a guest has written (is "
                         "/proc mounted?)");
    pagemap->fd = fd;
    struct scan_arg probe = {.size = sizeof probe};
    pagemap->has_scan = ioctl(fd, PAGEMAP_SCAN_IOCTL, &probe) >= 0 || errno != ENOTTY;
    return 0;
}

void pagemap_close(struct pagemap *pagemap) {
    if (pagemap->fd >= 0)
        close(pagemap->fd);
    pagemap->fd = -1;
}

/* Which pages: all bits of `all` and one of `any`, where those of `inverted` mean the opposite. */
struct wanted_pages {
    uint64_t inverted, all, any;
    bool are_private;
};
static const struct wanted_pages private_pages = {
    .inverted = CATEGORY_FILE,
    .all = CATEGORY_FILE,
    .any = CATEGORY_PRESENT | CATEGORY_SWAPPED,
    .are_private = true,
};
static const struct wanted_pages read_pages = {.all = CATEGORY_FILE | CATEGORY_PRESENT};

/* What a walk does. */
struct walk {
    const struct wanted_pages *wanted;
    pagemap_run_fn fn;
    void *user;
};

static int scan_ranges(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes,
                       const struct walk *walk, struct husk_error *err) {
    struct scan_region regions[REGIONS_MAX];
    struct scan_arg arg = {.size = sizeof arg,
                           .start = (uintptr_t)hva,
                           .end = (uintptr_t)hva + bytes,
                           .vec = (uintptr_t)regions,
                           .vec_len = REGIONS_MAX,
                           .category_inverted = walk->wanted->inverted,
                           .category_mask = walk->wanted->all,
                           .return_mask = CATEGORY_ZERO_PAGE,
                           .category_anyof_mask = walk->wanted->any};
    while (arg.start < arg.end) {
        int count = ioctl(pagemap->fd, PAGEMAP_SCAN_IOCTL, &arg);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return error_sys(err, errno, "cannot find out what the guest wrote (PAGEMAP_SCAN)");
        for (int i = 0; i < count; i++) {
            uint8_t *run = hva + (regions[i].start - (uintptr_t)hva);
            int status = walk->fn(walk->user, run, regions[i].end - regions[i].start,
                                  (regions[i].categories & CATEGORY_ZERO_PAGE) != 0, err);
            if (status != 0)
                return status;
        }
        arg.start = arg.walk_end;
    }
    return 0;
}

/* Without the scan, the shared zero page looks like a private page. To treat it as one only costs
 * time. */
static bool entry_is_wanted(uint64_t entry, bool are_private) {
    return are_private ? (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) != 0 && (entry & ENTRY_FILE) == 0
                       : (entry & ENTRY_PRESENT) != 0 && (entry & ENTRY_FILE) != 0;
}

static int read_entries(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes,
                        const struct walk *walk, struct husk_error *err) {
    uint64_t entries[ENTRIES_MAX];
    const uint64_t pages = bytes / HUSK_PAGE_SIZE;
    uint64_t run_start = 0, run_pages = 0;
    for (uint64_t page = 0; page < pages;) {
        uint64_t wanted = pages - page < ENTRIES_MAX ? pages - page : ENTRIES_MAX;
        off_t offset = (off_t)(((uintptr_t)hva / HUSK_PAGE_SIZE + page) * sizeof entries[0]);
        ssize_t got = pread(pagemap->fd, entries, wanted * sizeof entries[0], offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < (ssize_t)sizeof entries[0])
            return error_sys(err, got < 0 ? errno : EIO,
                             "cannot find out what the guest wrote (reading /proc/self/pagemap)");
        uint64_t count = (uint64_t)got / sizeof entries[0];
        for (uint64_t i = 0; i < count; i++, page++) {
            bool is_wanted = entry_is_wanted(entries[i], walk->wanted->are_private);
            if (is_wanted && run_pages++ == 0)
                run_start = page;
            bool is_last = page + 1 == pages;
            if (run_pages == 0 || (is_wanted && !is_last))
                continue;
            int status = walk->fn(walk->user, hva + run_start * HUSK_PAGE_SIZE,
                                  run_pages * HUSK_PAGE_SIZE, false, err);
            if (status != 0)
                return status;
            run_pages = 0;
        }
    }
    return 0;
}

int pagemap_private(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes, pagemap_run_fn fn,
                    void *user, struct husk_error *err) {
    const struct walk walk = {&private_pages, fn, user};
    return pagemap->has_scan ? scan_ranges(pagemap, hva, bytes, &walk, err)
                             : read_entries(pagemap, hva, bytes, &walk, err);
}

int pagemap_read(const struct pagemap *pagemap, uint8_t *hva, uint64_t bytes, pagemap_run_fn fn,
                 void *user, struct husk_error *err) {
    const struct walk walk = {&read_pages, fn, user};
    return pagemap->has_scan ? scan_ranges(pagemap, hva, bytes, &walk, err)
                             : read_entries(pagemap, hva, bytes, &walk, err);
}
