/*
 * tests/unit/blocks_test.c: the blocks that the compiler's process is served with
 * (compiler/worker/blocks.c).
 */
#include "blocks.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

TEST(a_block_of_any_size_is_large_enough_and_aligned) {
    for (size_t bytes = 0; bytes <= BLOCK_BYTES_MAX; bytes++) {
        uint8_t *block = block_take(bytes);
        CHECK_MSG(block != NULL, "%zu bytes", bytes);
        CHECK_EQ_U64((uintptr_t)block % 16, 0);
        CHECK(block_is_one(block));
        CHECK_MSG(block_bytes(block) >= bytes, "%zu bytes", bytes);
        CHECK_MSG(block_bytes(block) <= bytes + bytes / 4 + 16, "%zu bytes", bytes);
        memset(block, 0xa5, block_bytes(block));
        CHECK(block_take(bytes) != block);
        block_give(block);
        CHECK(block_take(bytes) == block); /* the last one given is the next one taken */
    }
    CHECK(block_take(BLOCK_BYTES_MAX + 1) == NULL);
    CHECK(block_take(SIZE_MAX) == NULL);
}

TEST(what_was_not_taken_is_no_block) {
    int local = 0;
    void *other = malloc(16);
    CHECK(!block_is_one(NULL) && !block_is_one(&local) && !block_is_one(other));
    CHECK(!block_is_one((const void *)UINTPTR_MAX) && !block_is_one("text"));
    CHECK(!block_is_one((const void *)(uintptr_t)0xffff800000000000));
    free(other);
}

/* ---- many blocks, by several threads ---- */

enum { THREADS = 4, SLOTS = 2000, STEPS = 200000 };

/* Slots are handed on from thread to thread: one takes a block, another one gives it back. */
struct slot {
    pthread_mutex_t lock;
    uint8_t *block;
    size_t bytes;
    uint8_t mark;
};
static struct slot slots[SLOTS];
static int wrong;

static uint32_t random_next(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void slot_empty(struct slot *slot) {
    for (size_t i = 0; i < slot->bytes; i++)
        if (slot->block[i] != slot->mark)
            __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
    block_give(slot->block);
    slot->block = NULL;
}

static void slot_fill(struct slot *slot, uint32_t *state) {
    const uint32_t kind = random_next(state);
    slot->bytes = random_next(state) % (kind % 16 == 0 ? BLOCK_BYTES_MAX : 300);
    slot->block = block_take(slot->bytes);
    slot->mark = (uint8_t)random_next(state);
    memset(slot->block, slot->mark, slot->bytes);
}

static void *thread_work(void *seed) {
    uint32_t state = (uint32_t)(uintptr_t)seed;
    for (int i = 0; i < STEPS; i++) {
        struct slot *slot = &slots[random_next(&state) % SLOTS];
        pthread_mutex_lock(&slot->lock);
        if (slot->block != NULL)
            slot_empty(slot);
        else
            slot_fill(slot, &state);
        pthread_mutex_unlock(&slot->lock);
    }
    return NULL;
}

TEST(no_block_is_taken_twice) {
    pthread_t threads[THREADS];
    for (int i = 0; i < SLOTS; i++)
        pthread_mutex_init(&slots[i].lock, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, thread_work, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].block != NULL)
            slot_empty(&slots[i]);
    CHECK_EQ_I64(wrong, 0);
}

/* ---- a limit on memory ---- */

/* In a process of its own: how many blocks are to be had below a limit. */
static int blocks_below(rlim_t bytes) {
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = bytes};
    int count = 0;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return -1;
    for (uint8_t *block; count < 4096 && (block = block_take(BLOCK_BYTES_MAX)) != NULL; count++)
        block[0] = 1;
    return count;
}

TEST(where_memory_ends_there_is_no_block) {
    int pipes[2], count = -1;
    CHECK_EQ_I64(pipe(pipes), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        count = blocks_below((rlim_t)1); /* nothing can be mapped any more */
        _exit(write(pipes[1], &count, sizeof count) != sizeof count);
    }
    CHECK_EQ_I64(read(pipes[0], &count, sizeof count), sizeof count);
    CHECK_MSG(count >= 0 && count < 200, "%d blocks", count); /* those of a segment in use */
    CHECK_EQ_I64(waitpid(child, NULL, 0), child);
    close(pipes[0]);
    close(pipes[1]);
}
TEST_MAIN()
