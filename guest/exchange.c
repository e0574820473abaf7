/*
 * guest/exchange.c: the routines that make several calls in one entry of the guest
 * (abi/exchange.h). The host enters them as it enters a call thunk, and a routine calls the thunks
 * of the functions. So arguments and results are where they are in a single call, and host
 * functions, traps, exceptions and exits work as there: the guest then leaves in the middle of the
 * routine.
 *
 * The guest's own code can write the exchange and the memory's size word. Whatever it writes there,
 * the accesses below are those of ring 3.
 */
#include <stddef.h>

#include "layout.h"
#include "mailbox.h"

void *memcpy(void *restrict to, const void *restrict from, size_t count); /* runtime.c */

void many(uint64_t code_gva) __asm__("husk.many");
void bytes(uint64_t zero) __asm__("husk.bytes");

/* Slots and numbers overlay bytes of any type. */
typedef uint8_t slot __attribute__((vector_size(HUSK_SLOT_BYTES), may_alias));
typedef uint64_t word64 __attribute__((may_alias, aligned(1)));
typedef uint32_t word32 __attribute__((may_alias, aligned(1)));

typedef void (*thunk_fn)(uint64_t code_gva);

#define EXCHANGE_GVA ((uintptr_t)HUSK_MAILBOX_GVA + HUSK_MBOX_EXCHANGE)
#define ROOM_GVA (EXCHANGE_GVA + HUSK_EXCHANGE_HEAD_BYTES)
#define SLOTS ((slot *)((uintptr_t)HUSK_MAILBOX_GVA + HUSK_MBOX_CALL_SLOTS))

/* ---- many calls of one function ---- */

void many(uint64_t code_gva) {
    struct husk_exchange_many *const head = (struct husk_exchange_many *)EXCHANGE_GVA;
    const thunk_fn thunk = (thunk_fn)head->thunk_gva;
    const uint32_t params = head->params_count, results = head->results_count;
    const uint32_t row_slots = head->row_slots;
    slot *row = (slot *)ROOM_GVA;
    for (uint64_t done = 0; done < head->calls; row += row_slots) {
        for (uint32_t i = 0; i < params; i++)
            SLOTS[i] = row[i];
        thunk(code_gva);
        for (uint32_t i = 0; i < results; i++)
            row[i] = SLOTS[i];
        head->returned = ++done;
    }
}

/* ---- bytes in and out ---- */

#define HEAD ((struct husk_exchange_bytes *)EXCHANGE_GVA)

/* A pointer or a size, as a function gave it. */
static uint64_t number(uint64_t result) {
    return HEAD->is_64 != 0 ? result : (uint32_t)result;
}

static int is_inside(uint64_t addr, uint64_t count) {
    const uint64_t size = *(const word64 *)HEAD->size_gva * HUSK_WASM_PAGE_SIZE;
    return count <= size && addr <= size - count;
}

/* Sets an argument. The functions here have pointers, sizes and numbers of 64 bits. */
static inline void argument(uint32_t idx, uint64_t value) {
    *(word64 *)&SLOTS[idx] = value;
}

static void call(uint32_t step, const struct husk_exchange_func *func) {
    HEAD->step = step;
    ((thunk_fn)func->thunk_gva)(func->code_gva);
    HEAD->results[0] = *(const word64 *)&SLOTS[0];
    HEAD->results[1] = *(const word64 *)&SLOTS[1];
}

/* Returns 0 if the host has to go on, as do the next functions. */
static int put_input(void) {
    struct husk_exchange_bytes *const head = HEAD;
    if (head->is_by_realloc != 0) {
        argument(0, head->input_addr);
        argument(1, head->old_bytes);
        argument(2, 1);
        argument(3, head->input_bytes);
    } else {
        argument(0, head->input_bytes);
    }
    call(HUSK_STEP_ALLOCATE, &head->allocate);
    const uint64_t addr = number(head->results[0]);
    if ((addr == 0 && head->count != 0) || !is_inside(addr, head->count))
        return 0;
    memcpy((uint8_t *)head->memory_gva + addr, (const uint8_t *)ROOM_GVA, head->count);
    head->input_addr = addr;
    return 1;
}

static int find_output(void) {
    struct husk_exchange_bytes *const head = HEAD;
    const uint64_t width = head->is_64 != 0 ? 8 : 4, at = number(head->results[0]);
    if (head->form == HUSK_FORM_PACKED) {
        head->output_addr = (uint32_t)head->results[0];
        head->output_bytes = head->results[0] >> 32;
        return 1;
    }
    if (head->form == HUSK_FORM_TWO) {
        head->output_addr = at;
        head->output_bytes = number(head->results[1]);
        return 1;
    }
    if (!is_inside(at, 2 * width))
        return 0;
    const uint8_t *pair = (const uint8_t *)head->memory_gva + at;
    head->output_addr = width == 8 ? *(const word64 *)pair : *(const word32 *)pair;
    head->output_bytes = width == 8 ? *(const word64 *)(pair + 8) : *(const word32 *)(pair + 4);
    return 1;
}

static int take_output(void) {
    struct husk_exchange_bytes *const head = HEAD;
    argument(0, head->input_addr);
    argument(1, head->count);
    call(HUSK_STEP_EXPORT, &head->call);
    if (!find_output() || head->output_bytes > HUSK_EXCHANGE_ROOM ||
        !is_inside(head->output_addr, head->output_bytes))
        return 0;
    memcpy((uint8_t *)ROOM_GVA, (const uint8_t *)head->memory_gva + head->output_addr,
           head->output_bytes);
    head->copied_bytes = head->output_bytes;
    return 1;
}

/* As output_is_block() of host/call/bytes.c. */
static int output_is_block(void) {
    const struct husk_exchange_bytes *const head = HEAD;
    if (head->output_addr - head->input_addr < head->input_bytes)
        return 0;
    if (head->output_bytes == 0)
        return head->release_kind == HUSK_RELEASE_FREE && head->output_addr >= HUSK_NO_BLOCK_BELOW;
    return head->output_addr != 0;
}

/* cabi_realloc() shrinks the block to one byte, and then to none. Whether the input's block goes,
 * too, the host knows: a call inside this one may have left another one. */
static void shrink_output(void) {
    struct husk_exchange_bytes *const head = HEAD;
    for (;;) {
        const uint64_t bytes_left = head->output_bytes > 1 ? 1 : 0;
        argument(0, head->output_addr);
        argument(1, head->output_bytes);
        argument(2, 1);
        argument(3, bytes_left);
        call(HUSK_STEP_FREE_OUTPUT, &head->release);
        if (bytes_left == 0 || number(head->results[0]) == 0)
            return;
        head->output_addr = number(head->results[0]);
        head->output_bytes = bytes_left;
    }
}

static void free_blocks(void) {
    struct husk_exchange_bytes *const head = HEAD;
    if (head->release_kind == HUSK_RELEASE_POST) {
        argument(0, head->results[0]);
        argument(1, head->results[1]);
        call(HUSK_STEP_FREE_OUTPUT, &head->release);
        return;
    }
    if (output_is_block()) {
        argument(0, head->output_addr);
        call(HUSK_STEP_FREE_OUTPUT, &head->release);
    }
    if (head->input_addr != 0) {
        argument(0, head->input_addr);
        call(HUSK_STEP_FREE_INPUT, &head->release);
    }
}

void bytes(uint64_t zero) {
    struct husk_exchange_bytes *const head = HEAD;
    (void)zero;
    if ((head->step == HUSK_STEP_ALLOCATE && !put_input()) ||
        (head->step < HUSK_STEP_FREE_OUTPUT && !take_output()))
        return;
    if (head->may_free != 0 && head->release_kind == HUSK_RELEASE_REALLOC) {
        if (output_is_block())
            shrink_output();
        return;
    }
    if (head->may_free != 0 && head->release_kind != HUSK_RELEASE_NONE)
        free_blocks();
    head->step = HUSK_STEP_DONE;
}
