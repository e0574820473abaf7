/*
 * tests/kvm/code/exception_tails_test.c: exceptions out of functions that were tail-called, at
 * every level (wat/exception_tails.wat). V8 gave the expected values.
 */
#include <stdio.h>
#include <stdlib.h>

#include "levels.h"

static const struct {
    const char *name;
    int64_t result;
} expected[] = {
    {"of_twelve", 4102308376365873772},
    {"of_one", -3674614812433148312},
    {"of_ten", -6568221725956215060},
    {"many", 1042549549744140352},
};

TEST(at_every_level) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count;
    const int32_t argument = 1;
    uint8_t *wasm = level_wasm("exception_tails", &count);
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t k = 0; k < sizeof expected / sizeof expected[0]; k++) {
            const int64_t result = level_call(&lab, expected[k].name, &argument);
            if (result != expected[k].result)
                fprintf(stderr, "%s: %s\n", levels[i].name, expected[k].name);
            CHECK_EQ_I64(result, expected[k].result);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
