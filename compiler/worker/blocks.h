/*
 * compiler/worker/blocks.h: blocks of memory by size classes, for worker_malloc.c. Any thread may
 * give back what another one took.
 */
#ifndef COMPILER_BLOCKS_H
#define COMPILER_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>

/* Larger ones are not for this file. */
#define BLOCK_BYTES_MAX 32768u

/* At least `bytes` bytes, aligned to 16; not set. NULL: too large, or no memory. */
void *block_take(size_t bytes);

/* Was it taken by block_take()? Any pointer may be asked for. */
bool block_is_one(const void *pointer);
/* Of a block. */
size_t block_bytes(const void *block);
void block_give(void *block);

#endif
