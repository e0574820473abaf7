/*
 * host/image/guest_block.h: memory that the library has from a guest's own allocator. What the
 * guest said of it is not checked: whoever uses it does that.
 */
#ifndef HOST_GUEST_BLOCK_H
#define HOST_GUEST_BLOCK_H

#include <stdint.h>

/* In memory 0; addr 0: none. */
struct guest_block {
    uint32_t addr, bytes;
};

#endif
