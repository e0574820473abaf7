/*
 * tests/support/nested_call.h: host functions (env.host of guest_lab.h) that call "spin" of the
 * guest that called them: an endless loop that has to be cut off.
 */
#ifndef TESTS_SUPPORT_NESTED_CALL_H
#define TESTS_SUPPORT_NESTED_CALL_H

#include <stdatomic.h>

#include "husk.h"

/* Their `user`. */
struct nested_call {
    uint64_t wall_ns;      /* the nested call's own limit; 0: none */
    atomic_bool has_begun; /* the host function runs */
    husk_sandbox *sandbox;
    struct husk_outcome outcome;
    int status;
};

/* On the calling thread; and on another one that it waits for, which is the one inside KVM_RUN
 * then. */
enum { NESTED_SPINS = 2 };
extern const husk_host_fn nested_spins[NESTED_SPINS];

#endif
