/*
 * tests/support/privfs_play.h: plays operations on a private layer and on its model. A sequence of
 * bytes says which; where it ends, so does the play.
 */
#ifndef TESTS_SUPPORT_PRIVFS_PLAY_H
#define TESTS_SUPPORT_PRIVFS_PLAY_H

#include "privfs_model.h"

struct privfs_play {
    struct privfs fs;
    struct model model;
    /* Where the bytes come from: from `data`, or made from `random` if that is not 0. */
    const uint8_t *data;
    size_t size, at;
    uint64_t random;
    uint64_t succeeded, full; /* operations; the latter ended with -ENOSPC */
};

/* A layer in a region of so many bytes, not covered at first. Aborts without memory. */
struct privfs_play *privfs_play_new(uint64_t region_bytes);
void privfs_play_free(struct privfs_play *play);
/* One operation. */
void privfs_play_one(struct privfs_play *play);
uint32_t privfs_play_number(struct privfs_play *play, uint32_t below);
bool privfs_play_is_over(const struct privfs_play *play);

#endif
