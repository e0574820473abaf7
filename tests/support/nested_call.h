/*
 * tests/support/nested_call.h: host functions (env.host of guest_lab.h) that call "spin" in the
 * guest that called them. That is an endless loop, which must be interrupted.
 */
#ifndef TESTS_SUPPORT_NESTED_CALL_H
#define TESTS_SUPPORT_NESTED_CALL_H

#include <stdatomic.h>

#include "husk.h"

/* The `user` of these functions. */
struct nested_call {
    uint64_t wall_ns;      /* the nested call's own limit; 0: none */
    atomic_bool has_begun; /* the host function has started */
    husk_sandbox *sandbox;
    struct husk_outcome outcome;
    int status;
};

/* One calls on the same thread. The other calls on a second thread, which is then inside KVM_RUN,
 * and waits for it. */
enum { NESTED_SPINS = 2 };
extern const husk_host_fn nested_spins[NESTED_SPINS];

#endif
