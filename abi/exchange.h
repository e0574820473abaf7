/*
 * abi/exchange.h: the exchange, the last part of the mailbox. With it, one entry of the guest makes
 * several calls. The host fills it, and enters the guest as for a call, with a routine of
 * guest/exchange.c in place of the call thunk. The routine makes the calls through their thunks.
 *
 * A head says what the routine has to do, and how far it got. Values or bytes follow it. The
 * routine keeps the head up to date before each call, because the guest may leave in any call for
 * good. The guest can write all of this: the host checks what it reads here, and a guest that lies
 * here cheats only itself.
 *
 * One entry at a time uses the exchange: that of the outermost call which found it free.
 */
#ifndef HUSK_ABI_EXCHANGE_H
#define HUSK_ABI_EXCHANGE_H

#define HUSK_EXCHANGE_BYTES 0x10000
#define HUSK_EXCHANGE_HEAD_BYTES 0x100
/* for values or bytes */
#define HUSK_EXCHANGE_ROOM (HUSK_EXCHANGE_BYTES - HUSK_EXCHANGE_HEAD_BYTES)

/* The steps of husk_call_bytes(): the calls that it makes, in order. */
#define HUSK_STEP_ALLOCATE 0
#define HUSK_STEP_EXPORT 1
#define HUSK_STEP_FREE_OUTPUT 2
#define HUSK_STEP_FREE_INPUT 3
#define HUSK_STEP_DONE 4

/* How the function gives its output: husk_call_bytes() explains the forms and the releases. */
#define HUSK_FORM_PACKED 0
#define HUSK_FORM_PAIR 1
#define HUSK_FORM_TWO 2

/* Who frees the blocks, and how. */
#define HUSK_RELEASE_NONE 0
#define HUSK_RELEASE_POST 1
#define HUSK_RELEASE_FREE 2
#define HUSK_RELEASE_REALLOC 3

/* An empty output below this address is no block of the allocator. Rust gives the alignment as the
 * address then. */
#define HUSK_NO_BLOCK_BELOW 16

#ifndef __ASSEMBLER__
#include <stdint.h>

/* The head for husk.many, which makes many calls of one function. Its code address comes in RDI.
 * Rows of slots (abi/mailbox.h) follow, one for each call: first its arguments, later its
 * results. */
struct husk_exchange_many {
    uint64_t thunk_gva;
    uint64_t calls; /* to make. The host sets it to 0 to end the routine after the running call */
    uint64_t returned;
    uint32_t params_count;
    uint32_t results_count; /* of which the row gets the values */
    uint32_t row_slots;
    uint32_t zero;
};

struct husk_exchange_func {
    uint64_t code_gva, thunk_gva;
};

/* The head for husk.bytes, which makes the calls of one husk_call_bytes(). The input follows, and
 * later the output.
 *
 * `step` is the step of the running call, or of the last one. If the routine ends before
 * HUSK_STEP_DONE, that call has returned `results`, and the host has to go on from there. It does
 * so for all that is rare: lies, memory that is used up, output without room here, blocks that only
 * the host knows of. */
struct husk_exchange_bytes {
    struct husk_exchange_func allocate, call, release;
    uint64_t memory_gva;
    uint64_t size_gva; /* of the memory's size word */
    uint64_t count;    /* bytes of input */
    uint32_t is_64;    /* pointers and sizes */
    uint32_t is_by_realloc;
    uint32_t form;
    uint32_t release_kind;
    uint32_t may_free;
    uint32_t step;
    /* the input's block; in HUSK_STEP_ALLOCATE the old block, which cabi_realloc gets */
    uint64_t input_addr, old_bytes, input_bytes;
    uint64_t output_addr, output_bytes; /* the output's block, as the release gets it */
    uint64_t copied_bytes; /* of output, which are here from HUSK_STEP_FREE_OUTPUT on */
    uint64_t results[2];   /* the low halves of the slots */
};

_Static_assert(sizeof(struct husk_exchange_many) <= HUSK_EXCHANGE_HEAD_BYTES, "exchange layout");
_Static_assert(sizeof(struct husk_exchange_bytes) <= HUSK_EXCHANGE_HEAD_BYTES, "exchange layout");
#endif
#endif
