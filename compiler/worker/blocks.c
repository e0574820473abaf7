/*
 * compiler/worker/blocks.c: see blocks.h.
 *
 * Memory comes in segments of 4 MiB, aligned to that. A segment has 64 pages of 64 KiB. The first
 * one holds the size class of each other page; the others hold blocks of one class. A thread has
 * segments of its own and a list of free blocks for each class. So nothing is locked, and a block
 * has no header. A block that is given back goes to the list of the thread that gives it.
 *
 * Deliberately nothing is joined, and nothing goes back to the kernel: the process ends soon, and
 * LLVM asks for the same sizes again and again.
 */
#include "blocks.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#define SEGMENT_LOG2 22
#define SEGMENT_BYTES ((size_t)1 << SEGMENT_LOG2)
#define PAGE_LOG2 16
#define PAGE_BYTES ((size_t)1 << PAGE_LOG2)
#define PAGES (SEGMENT_BYTES / PAGE_BYTES)

/* Steps of 16 bytes, then four for each power of two. */
#define STEP_BYTES 16u
#define STEPS_LOG2 10
#define STEPS ((1u << STEPS_LOG2) / STEP_BYTES)
#define CLASSES (STEPS + 1 + 4 * (15 - STEPS_LOG2))

_Static_assert(BLOCK_BYTES_MAX == 1u << 15, "the last class");

#define ADDRESS_BITS 47 /* of user space, as mmap() gives them */
#define MAP_WORDS ((size_t)1 << (ADDRESS_BITS - SEGMENT_LOG2 - 6))

struct segment {
    uint8_t class_of_page[PAGES];
};

struct free_block {
    struct free_block *next;
};

struct cache {
    struct free_block *free[CLASSES];
    uint8_t *fresh[CLASSES], *fresh_end[CLASSES]; /* of a page: blocks that were never taken */
    struct segment *segment;
    size_t pages_used;
};

static _Thread_local struct cache cache;
/* A bit for each segment of the address space. 4 MiB, of which few pages are ever touched. */
static _Atomic uint64_t segments[MAP_WORDS];

/* ---- classes ---- */

static unsigned class_of(size_t bytes) {
    if (bytes <= STEPS * STEP_BYTES)
        return (unsigned)((bytes + STEP_BYTES - 1) / STEP_BYTES);
    const unsigned log2 = 63 - (unsigned)__builtin_clzll(bytes - 1);
    const unsigned quarter = (unsigned)((bytes - 1) >> (log2 - 2)) & 3;
    return STEPS + 1 + (log2 - STEPS_LOG2) * 4 + quarter;
}

static size_t bytes_of(unsigned class) {
    if (class <= STEPS)
        return (size_t)class * STEP_BYTES;
    const unsigned log2 = STEPS_LOG2 + (class - STEPS - 1) / 4;
    return ((size_t)5 + (class - STEPS - 1) % 4) << (log2 - 2);
}

/* ---- segments ---- */

static void *map_aligned(void) {
    const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    uint8_t *memory = mmap(NULL, SEGMENT_BYTES, prot, flags, -1, 0);
    if (memory == MAP_FAILED || (uintptr_t)memory % SEGMENT_BYTES == 0)
        return memory == MAP_FAILED ? NULL : memory;
    munmap(memory, SEGMENT_BYTES);
    memory = mmap(NULL, 2 * SEGMENT_BYTES, prot, flags, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    const size_t before = SEGMENT_BYTES - (uintptr_t)memory % SEGMENT_BYTES;
    munmap(memory, before); /* all of the first half, if that is aligned itself */
    if (before < SEGMENT_BYTES)
        munmap(memory + before + SEGMENT_BYTES, SEGMENT_BYTES - before);
    return memory + before;
}

static bool segment_new(void) {
    struct segment *segment = map_aligned();
    if (segment == NULL || (uintptr_t)segment >> ADDRESS_BITS != 0)
        return false;
    const uintptr_t number = (uintptr_t)segment >> SEGMENT_LOG2;
    atomic_fetch_or_explicit(&segments[number / 64], UINT64_C(1) << number % 64,
                             memory_order_release);
    cache.segment = segment;
    cache.pages_used = 1; /* its head */
    return true;
}

static bool page_new(unsigned class) {
    if ((cache.segment == NULL || cache.pages_used == PAGES) && !segment_new())
        return false;
    uint8_t *page = (uint8_t *)cache.segment + cache.pages_used * PAGE_BYTES;
    cache.segment->class_of_page[cache.pages_used++] = (uint8_t)class;
    cache.fresh[class] = page;
    cache.fresh_end[class] = page + PAGE_BYTES / bytes_of(class) * bytes_of(class);
    return true;
}

/* ---- blocks ---- */

bool block_is_one(const void *pointer) {
    const uintptr_t number = (uintptr_t)pointer >> SEGMENT_LOG2;
    if (number / 64 >= MAP_WORDS)
        return false;
    const uint64_t word = atomic_load_explicit(&segments[number / 64], memory_order_acquire);
    return (word >> number % 64 & 1) != 0;
}

static unsigned class_of_block(const void *block) {
    const uintptr_t address = (uintptr_t)block;
    const struct segment *segment = (const void *)(address & ~(SEGMENT_BYTES - 1));
    return segment->class_of_page[(address & (SEGMENT_BYTES - 1)) >> PAGE_LOG2];
}

size_t block_bytes(const void *block) {
    return bytes_of(class_of_block(block));
}

void *block_take(size_t bytes) {
    if (bytes > BLOCK_BYTES_MAX)
        return NULL;
    const unsigned class = class_of(bytes + (bytes == 0));
    struct free_block *block = cache.free[class];
    if (block != NULL) {
        cache.free[class] = block->next;
        return block;
    }
    if (cache.fresh[class] == cache.fresh_end[class] && !page_new(class))
        return NULL;
    uint8_t *fresh = cache.fresh[class];
    cache.fresh[class] += bytes_of(class);
    return fresh;
}

void block_give(void *block) {
    struct free_block *given = block;
    const unsigned class = class_of_block(block);
    given->next = cache.free[class];
    cache.free[class] = given;
}
