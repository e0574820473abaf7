/* tests/support/privfs_lab.h: a private layer in zeroed memory, for the suites about it. */
#ifndef TESTS_SUPPORT_PRIVFS_LAB_H
#define TESTS_SUPPORT_PRIVFS_LAB_H

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"
#include "privfs_internal.h"

struct privfs_lab {
    struct privfs fs;
    struct privfs_id root;
    int cover_status; /* what cover() returns */
};

static inline int privfs_lab_cover(struct privfs *fs, uint64_t bytes) {
    const struct privfs_lab *lab = fs->user;
    if (lab->cover_status == 0)
        fs->covered_bytes = bytes;
    return lab->cover_status;
}

/* Nothing is covered, and there is no limit but the region. */
static inline void privfs_lab_open(struct privfs_lab *lab, uint64_t region_bytes) {
    void *base = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(base != MAP_FAILED);
    *lab = (struct privfs_lab){.fs = {.base = base,
                                      .region_bytes = region_bytes,
                                      .limit_bytes = region_bytes,
                                      .limit_entries = UINT64_MAX,
                                      .cover = privfs_lab_cover,
                                      .user = lab,
                                      .now_ns = 1}};
    CHECK_EQ_I64(privfs_root(&lab->fs, 0, &lab->root), 0);
}

static inline void privfs_lab_close(struct privfs_lab *lab) {
    munmap(lab->fs.base, lab->fs.region_bytes);
}

static inline struct privfs_id privfs_lab_make(struct privfs_lab *lab, struct privfs_id dir,
                                               const char *name, enum privfs_kind kind) {
    struct privfs_id id = {0, 0};
    CHECK_EQ_I64(privfs_create(&lab->fs, dir, name, strlen(name), kind, &id), 0);
    return id;
}

static inline int privfs_lab_remove(struct privfs_lab *lab, struct privfs_id dir,
                                    const char *name) {
    return privfs_remove(&lab->fs, dir, name, strlen(name), (struct privfs_removal){false, false});
}

static inline struct privfs_usage privfs_lab_usage(const struct privfs_lab *lab) {
    struct privfs_usage usage;
    privfs_usage(&lab->fs, &usage);
    return usage;
}

static inline struct privfs_stat privfs_lab_stat(const struct privfs_lab *lab,
                                                 struct privfs_id id) {
    struct privfs_stat stat = {0};
    CHECK_EQ_I64(privfs_stat(&lab->fs, id, &stat), 0);
    return stat;
}

/* What the check says: NULL if nothing. */
static inline const char *privfs_lab_fault(const struct privfs_lab *lab) {
    const char *what = NULL;
    uint64_t offset;
    int status = privfs_check(lab->fs.base, privfs_lab_usage(lab).end_bytes, &what, &offset);
    CHECK(status == 0 || what != NULL);
    return status == 0 ? NULL : what;
}

#endif
