/*
 * bench/micro/bytes.c: a module with a function from bytes to bytes and an allocator, for
 * husk_call_bytes(), and a small function for husk_call_many().
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))

/* Blocks have a size of 16, 32, 64, …, and a list of free ones for each size. A word before the
 * block has its list. */
enum { SIZES = 20, FIRST = 1 << 17, HEAD_BYTES = 16 };
static uint32_t free_blocks[SIZES], top = FIRST;

static uint32_t *word_at(uint32_t addr) {
    return (uint32_t *)(uintptr_t)addr;
}

EXPORT(malloc) uint32_t block_new(uint32_t bytes);
uint32_t block_new(uint32_t bytes) {
    uint32_t idx = 0;
    while (idx < SIZES && (16u << idx) < bytes)
        idx++;
    if (idx == SIZES)
        return 0;
    uint32_t addr = free_blocks[idx];
    if (addr != 0) {
        free_blocks[idx] = *word_at(addr);
        return addr;
    }
    addr = top + HEAD_BYTES;
    if (addr + (16u << idx) > __builtin_wasm_memory_size(0) << 16)
        return 0;
    top = addr + (16u << idx);
    *word_at(addr - HEAD_BYTES) = idx;
    return addr;
}

EXPORT(free) void block_free(uint32_t addr);
void block_free(uint32_t addr) {
    if (addr == 0)
        return;
    uint32_t idx = *word_at(addr - HEAD_BYTES);
    *word_at(addr) = free_blocks[idx];
    free_blocks[idx] = addr;
}

/* A copy with every bit turned. */
EXPORT(turn) uint64_t turn(const uint8_t *input, uint32_t count);
uint64_t turn(const uint8_t *input, uint32_t count) {
    uint32_t addr = block_new(count);
    uint8_t *output = (uint8_t *)(uintptr_t)addr;
    if (addr == 0)
        __builtin_trap();
    for (uint32_t i = 0; i < count; i++)
        output[i] = (uint8_t)~input[i];
    return (uint64_t)count << 32 | addr;
}

EXPORT(empty) void empty(void);
void empty(void) {
}

EXPORT(mix) int32_t mix(int32_t a, int32_t b);
int32_t mix(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a * 31u ^ (uint32_t)b);
}
