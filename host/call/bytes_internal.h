/*
 * host/call/bytes_internal.h: one husk_call_bytes() in progress, for its two files: bytes.c makes
 * the calls one by one, and bytes_routine.c in one entry of the guest.
 */
#ifndef HOST_BYTES_INTERNAL_H
#define HOST_BYTES_INTERNAL_H

#include "bytes_exports.h"
#include "exchange.h"
#include "sandbox_internal.h"

enum exchange_step {
    EXCHANGE_ALLOCATE = HUSK_STEP_ALLOCATE,
    EXCHANGE_EXPORT = HUSK_STEP_EXPORT,
    EXCHANGE_FREE_OUTPUT = HUSK_STEP_FREE_OUTPUT,
    EXCHANGE_FREE_INPUT = HUSK_STEP_FREE_INPUT,
    EXCHANGE_DONE = HUSK_STEP_DONE
};

/* What the sandbox runs, or is pending in. */
enum exchange_run {
    EXCHANGE_RUNS_CALL,    /* of the step, or a step before the call */
    EXCHANGE_RUNS_BEFORE,  /* the steps before the routine */
    EXCHANGE_RUNS_ROUTINE, /* which says how far it got */
};

/* One husk_call_bytes() in progress. */
struct exchange {
    husk_sandbox *sandbox;
    const void *bytes; /* the input; borrowed */
    uint64_t count;
    bool may_free;
    struct bytes_exports exports;
    enum exchange_step step;
    enum exchange_run run;
    struct guest_block input, output;
    uint64_t input_bytes;                  /* size of the input's block */
    struct husk_value args[4], results[2]; /* of the next call, or of the last one */
    char *copy;                            /* a copy of the output; owned */
    size_t copy_count;
};

/* A pointer or a size, of the width that the module's memory has. */
static inline struct husk_value value_of_number(const struct exchange *exchange, uint64_t number) {
    return exchange->exports.is_64
               ? (struct husk_value){.type = HUSK_I64, .of.i64 = (int64_t)number}
               : (struct husk_value){.type = HUSK_I32, .of.i32 = (int32_t)number};
}

/* bytes_routine.c. Put the next steps into the sandbox's exchange (abi/exchange.h), for the
 * image's routine. False: make the step's call alone. */
bool routine_put(const struct exchange *exchange);
/* The routine has returned: at EXCHANGE_DONE, or in a step of which the exchange then has the
 * results. The output is taken over if the routine copied it. HUSK_E_GUEST, HUSK_E_NOMEM. */
int routine_take(struct exchange *exchange, struct husk_error *err);
/* The routine has not returned: take over which step it was in. */
void routine_left(struct exchange *exchange);
/* Copy the output to the heap. HUSK_E_NOMEM. */
int exchange_keep_output(struct exchange *exchange, const uint8_t *bytes, uint64_t count,
                         struct husk_error *err);

#endif
