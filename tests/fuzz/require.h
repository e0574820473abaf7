/* tests/fuzz/require.h: what must hold, whatever the input is; where not, the fuzzer ends. */
#ifndef FUZZ_REQUIRE_H
#define FUZZ_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#include "husk.h"

static struct husk_error err; /* of the last call that failed */

#define REQUIRE(is_true)                                                                           \
    do {                                                                                           \
        if (!(is_true)) {                                                                          \
            fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #is_true, err.message);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
