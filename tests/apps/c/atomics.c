/* atomics.c: C11 atomics, a mutex that waits and notifies, thread-local variables, without a C
 * library. Natively, run() is a part of the program that prints its result. */
#include <stdatomic.h>
#include <stdint.h>

#ifdef __wasm__
#define WAIT(word, old) __builtin_wasm_memory_atomic_wait32((int *)(word), (old), 1000)
#define NOTIFY(word) __builtin_wasm_memory_atomic_notify((int *)(word), 1)
#define EXPORT(name) __attribute__((export_name(name)))
__attribute__((import_module("wasi"), import_name("thread-spawn"))) int thread_spawn(int argument);
#else
#include <stdio.h>
#define WAIT(word, old) ((void)(word), (void)(old), 2)
#define NOTIFY(word) ((void)(word), 0)
#define EXPORT(name)
static int thread_spawn(int argument) {
    (void)argument;
    return -6;
}
#endif

static atomic_int lock; /* 0 free, 1 taken, 2 taken and awaited */
static _Atomic uint8_t bytes[64];
static _Atomic uint16_t halves[32];
static _Atomic uint32_t words[16];
static _Atomic uint64_t longs[8];
static _Thread_local uint32_t seed = 12345;
static int timeouts;

static void take(void) {
    int expected = 0;
    if (atomic_compare_exchange_strong(&lock, &expected, 1))
        return;
    for (int tries = 0; tries < 3 && atomic_exchange(&lock, 2) != 0; tries++)
        timeouts += WAIT(&lock, 2) == 2;
}

static void give(void) {
    if (atomic_exchange(&lock, 0) == 2)
        NOTIFY(&lock);
}

static uint32_t random_number(void) {
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

static uint64_t step(uint32_t i) {
    const uint32_t r = random_number();
    switch (r % 8) {
    case 0: return atomic_fetch_add(&bytes[i % 64], (uint8_t)r);
    case 1: return atomic_fetch_sub(&halves[i % 32], (uint16_t)r);
    case 2: return atomic_fetch_xor(&words[i % 16], r);
    case 3: return atomic_fetch_or(&longs[i % 8], (uint64_t)r << 20);
    case 4: return atomic_fetch_and(&longs[i % 8], ~(uint64_t)r);
    case 5: return atomic_exchange(&halves[i % 32], (uint16_t)r);
    case 6: {
        uint8_t expected = (uint8_t)r;
        atomic_compare_exchange_strong(&bytes[i % 64], &expected, 77);
        return expected;
    }
    default: atomic_store(&words[i % 16], r); return atomic_load(&longs[i % 8]);
    }
}

EXPORT("run") uint64_t run(uint32_t steps) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < steps; i++) {
        take();
        hash = (hash ^ step(i)) * UINT64_C(0x100000001b3);
        give();
    }
    take();
    take(); /* it is taken: three waits end at their time-out */
    atomic_thread_fence(memory_order_seq_cst);
    return hash ^ (uint64_t)timeouts ^ (uint64_t)(uint32_t)thread_spawn(1);
}

#ifndef __wasm__
int main(void) {
    printf("%lld:i64\n", (long long)run(100000));
    return 0;
}
#endif
