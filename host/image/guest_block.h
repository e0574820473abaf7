/*
 * host/image/guest_block.h: a block of memory that the library got from a guest's own allocator.
 * Address and size are the guest's words, and unchecked: check them before every use.
 */
#ifndef HOST_GUEST_BLOCK_H
#define HOST_GUEST_BLOCK_H

#include <stdint.h>

/* In memory 0; addr 0: no block. */
struct guest_block {
    uint64_t addr, bytes;
};

#endif
