/* trace_stubs.h: everything that a plan's module imports, as stubs that write each call to the
 * trace. */
#ifndef TRACE_STUBS_H
#define TRACE_STUBS_H

#include <stdint.h>
#include <stdio.h>

#include "husk.h"
#include "trace_plan.h"

/* Stubs fail from this call on in one call of the guest's; the same number is in v8_trace.mjs and
 * wasmtime_trace.py. */
#define HOST_CALLS_MAX 1000
#define STUB_VALUES_MAX 1000

/* Read and written by all stubs of a run. The caller sets seed and calls before each call of the
 * guest's. */
struct stub_state {
    FILE *out;
    uint32_t seed, calls;
    bool is_wrong; /* return another number than the trace says */
};

struct stub {
    struct stub_state *state;
    uint32_t idx; /* of the import */
    husk_type params[STUB_VALUES_MAX], results[STUB_VALUES_MAX];
    struct husk_functype type;
};

/* Defines all imports; `state` must outlive every sandbox that uses them. 0, or a status with err
 * filled. */
int stubs_define(husk_imports *imports, const struct plan *plan, struct stub_state *state,
                 struct husk_error *err);

#endif
