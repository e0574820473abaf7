/*
 * A private layer against a plain model: random operations, with everything compared again and
 * again, privfs_check() on it, limits that are reached, and copies of the whole region that are put
 * back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "privfs_play.h"

struct saved {
    uint8_t *bytes;
    uint64_t covered_bytes;
    struct model model;
};

static void save(const struct privfs_play *play, struct saved *saved) {
    struct privfs_usage usage;
    privfs_usage(&play->fs, &usage);
    free(saved->bytes);
    saved->bytes = malloc(usage.end_bytes);
    CHECK(saved->bytes != NULL);
    memcpy(saved->bytes, play->fs.base, usage.end_bytes);
    saved->covered_bytes = usage.end_bytes;
    saved->model = play->model;
}

static void restore(struct privfs_play *play, const struct saved *saved) {
    memset(play->fs.base, 0x5a, play->fs.region_bytes);
    memcpy(play->fs.base, saved->bytes, saved->covered_bytes);
    play->fs.covered_bytes = saved->covered_bytes;
    play->model = saved->model;
}

struct run {
    uint32_t operations;
    uint64_t region_bytes, limit_bytes, limit_entries, seed;
};

static void play_all(const struct run *run) {
    struct privfs_play *play = privfs_play_new(run->region_bytes);
    struct saved saved = {0};
    play->random = run->seed;
    play->fs.limit_bytes = run->limit_bytes;
    play->fs.limit_entries = run->limit_entries;
    save(play, &saved);
    for (uint32_t i = 0; i < run->operations; i++) {
        privfs_play_one(play);
        if (i % 64 == 0)
            model_compare(&play->model, &play->fs);
        const uint32_t what = privfs_play_number(play, 2000);
        if (what == 0)
            save(play, &saved);
        else if (what == 1)
            restore(play, &saved);
    }
    model_compare(&play->model, &play->fs);
    CHECK(play->succeeded > run->operations / 8);
    CHECK((play->full > 0) == (run->limit_entries != UINT64_MAX || run->limit_bytes < 8u << 20));
    free(saved.bytes);
    privfs_play_free(play);
}

#define OPERATIONS (HARNESS_SANITIZED ? 60000u : 200000u)

TEST(random_operations_are_as_in_a_model) {
    play_all(&(struct run){OPERATIONS, 16u << 20, 16u << 20, UINT64_MAX, 1});
}

TEST(random_operations_with_few_bytes) {
    play_all(&(struct run){OPERATIONS, 16u << 20, 200u << 10, UINT64_MAX, 2});
}

TEST(random_operations_in_a_small_region) {
    play_all(&(struct run){OPERATIONS, 160u << 10, 150u << 10, UINT64_MAX, 3});
}

TEST(random_operations_with_few_entries) {
    play_all(&(struct run){OPERATIONS, 16u << 20, 16u << 20, 40, 4});
}

TEST_MAIN()
