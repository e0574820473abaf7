/*
 * trace_stubs.h: defines everything that a plan's module imports as stubs. They write each call to
 * the trace.
 */
#ifndef TRACE_STUBS_H
#define TRACE_STUBS_H

#include <stdint.h>
#include <stdio.h>

#include "husk.h"
#include "trace_plan.h"

/* In one call of the guest, stubs fail from this call on. The same number is in v8_trace.mjs and
 * wasmtime_trace.py. */
#define HOST_CALLS_MAX 1000
#define STUB_VALUES_MAX 1000

/* All stubs of a run read and write it. The caller sets seed and calls before each call of the
 * guest. */
struct stub_state {
    FILE *out;
    uint32_t seed, calls;
    bool is_wrong; /* return another number than the one in the trace */
};

struct stub {
    struct stub_state *state;
    uint32_t idx; /* of the import */
    husk_type params[STUB_VALUES_MAX], results[STUB_VALUES_MAX];
    struct husk_functype type;
};

/* Define all imports. `state` must outlive every sandbox that uses them. Returns 0, or a status and
 * fills err. */
int stubs_define(husk_imports *imports, const struct plan *plan, struct stub_state *state,
                 struct husk_error *err);

#endif
