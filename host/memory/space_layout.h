/*
 * host/memory/space_layout.h: where everything below memory 0 is, in host memory and in
 * guest-physical memory alike. It lies in lanes, downward from memory 0:
 *
 *   … | read-only part | guard | data | guard | mailbox | stack | guard | system pages | guard |
 *   memory 0 …
 *
 * So one memory slot has all of it and memory 0: the main slot. The lanes of the data and of the
 * read-only part are rounded up. System pages, stack and mailbox have the same place for all images
 * of machines with the same stack, but for a few with many memories. So another module can take a
 * machine over without any change of slots (takeover.c).
 *
 * A read-only part may stand apart: in a slot of its own, shared with other sandboxes, where
 * guest-physical and guest-virtual addresses are equal.
 */
#ifndef HOST_SPACE_LAYOUT_H
#define HOST_SPACE_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

struct space_parts {
    uint64_t sys_bytes, stack_bytes, data_bytes, ro_bytes; /* page multiples */
    bool is_ro_apart;                                      /* ro_bytes is not looked at */
};

/* Where each lane starts: so many bytes below memory 0. */
struct space_layout {
    struct space_parts parts;
    uint64_t sys, stack, mailbox, data, ro;
    uint64_t low_bytes; /* a multiple of 2 MiB; everything is in it */
};

struct space_layout space_layout_of(const struct space_parts *parts);
/* The guest-physical address of a guest-virtual one. Below memory 0 it must be in a part. */
gpa_t space_layout_gpa(const struct space_layout *layout, uint64_t gva_value);

#endif
