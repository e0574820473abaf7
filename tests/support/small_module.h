/*
 * tests/support/small_module.h: a module that compiles very fast, for suites that test compilation
 * itself, and the worker that compiles it.
 */
#ifndef TESTS_SUPPORT_SMALL_MODULE_H
#define TESTS_SUPPORT_SMALL_MODULE_H

#include <stdint.h>
#include <unistd.h>

#include "harness.h"

#define WORKER HUSK_TEST_BUILD_DIR "/husk-compile-worker"

/* (module (func (export "f") (result i32) (i32.const 42))) */
static const uint8_t small_wasm[] = {0, 'a', 's',  'm', 1, 0, 0, 0,    1,  5,   1, 0x60,
                                     0, 1,   0x7f, 3,   2, 1, 0, 7,    5,  1,   1, 'f',
                                     0, 0,   10,   6,   1, 4, 0, 0x41, 42, 0x0b};

/* Skip the test if there is no worker. */
static inline void need_worker(void) {
    if (access(WORKER, X_OK) != 0)
        SKIP("built without the compiler (HUSK_COMPILER=OFF)");
}

#endif
