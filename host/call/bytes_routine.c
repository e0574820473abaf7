/*
 * host/call/bytes_routine.c: the calls of a husk_call_bytes() in one entry, by the guest's routine
 * husk.bytes (abi/exchange.h, guest/exchange.c). The routine goes as far as it can, and says how
 * far. All of that is the guest's word: a step, addresses that are checked when they are used, and
 * a number of bytes that is checked here.
 */
#include <string.h>

#include "bytes_internal.h"
#include "call.h"
#include "error.h"
#include "hot.h"

/* True: the next steps can be those of the routine. Input without room gets into the guest first,
 * in an entry of its own, and output without room leaves it before the entry that frees blocks.
 * cabi_post_ and the release of the input are one call. */
HOT static bool routine_can_run(const struct exchange *exchange) {
    if (!exchange->exports.has_targets ||
        exchange->exports.memory_idx >= exchange->sandbox->machine->arena.memories_count)
        return false;
    switch (exchange->step) {
    case EXCHANGE_ALLOCATE: return exchange->count <= HUSK_EXCHANGE_ROOM;
    case EXCHANGE_EXPORT: return true;
    case EXCHANGE_FREE_OUTPUT: return exchange->exports.release_kind != BYTES_RELEASE_POST;
    case EXCHANGE_FREE_INPUT:
    case EXCHANGE_DONE: break;
    }
    return false;
}

HOT static void head_make(const struct exchange *exchange, struct husk_exchange_bytes *ret_head) {
    const struct bytes_exports *exports = &exchange->exports;
    *ret_head = (struct husk_exchange_bytes){.allocate = exports->allocate_target,
                                             .call = exports->call_target,
                                             .release = exports->release_target,
                                             .memory_gva = husk_mem_gva(exports->memory_idx),
                                             .size_gva = exports->size_gva,
                                             .count = exchange->count,
                                             .is_64 = exports->is_64,
                                             .is_by_realloc = exports->is_by_realloc,
                                             .form = (uint32_t)exports->form,
                                             .release_kind = (uint32_t)exports->release_kind,
                                             .may_free = exchange->may_free,
                                             .step = (uint32_t)exchange->step,
                                             .input_addr = exchange->input.addr,
                                             .old_bytes = exchange->input.bytes,
                                             .input_bytes = exchange->input_bytes,
                                             .output_addr = exchange->output.addr,
                                             .output_bytes = exchange->output.bytes};
}

/* The C library's memcpy() is on pages that are cold right after an exit. */
#define COPIED_HERE_MAX 512u

static inline void bytes_copy(uint8_t *to, const uint8_t *from, size_t count) {
    enum { STEP = 16 };
    if (UNLIKELY(count < STEP || count > COPIED_HERE_MAX)) {
        if (count > 0)
            memcpy(to, from, count);
        return;
    }
    memcpy(to + count - STEP, from + count - STEP, STEP);
    for (size_t at = 0; at < count - STEP; at += STEP)
        memcpy(to + at, from + at, STEP);
}

HOT int exchange_keep_output(struct exchange *exchange, const uint8_t *bytes, uint64_t count,
                             struct husk_error *err) {
    exchange->copy = malloc((size_t)count + 1);
    if (UNLIKELY(exchange->copy == NULL))
        return error_set(err, HUSK_E_NOMEM, "no memory for a result of %llu bytes",
                         (unsigned long long)count);
    bytes_copy((uint8_t *)exchange->copy, bytes, (size_t)count);
    exchange->copy[count] = 0;
    exchange->copy_count = (size_t)count;
    return 0;
}

HOT FLAT bool routine_put(const struct exchange *exchange) {
    husk_sandbox *sandbox = exchange->sandbox;
    struct husk_exchange_bytes head;
    uint8_t *area = call_exchange(sandbox, sandbox->image->code->routines.bytes_gva);
    if (UNLIKELY(area == NULL || !routine_can_run(exchange)))
        return false;
    head_make(exchange, &head);
    const size_t count = exchange->step == EXCHANGE_ALLOCATE ? (size_t)exchange->count : 0;
    hotset_host_writes(&sandbox->machine->hotset, area, HUSK_EXCHANGE_HEAD_BYTES + count);
    memcpy(area, &head, sizeof head);
    bytes_copy(area + HUSK_EXCHANGE_HEAD_BYTES, exchange->bytes, count);
    return true;
}

/* A number that the guest gave, as a result of the step's call. */
static struct husk_value value_of_result(const struct exchange *exchange, uint64_t number) {
    if (exchange->step == EXCHANGE_EXPORT && exchange->exports.form == BYTES_PACKED_I64)
        return (struct husk_value){.type = HUSK_I64, .of.i64 = (int64_t)number};
    return value_of_number(exchange, number);
}

/* The routine has ended in some way: see how far it got. All of this is the guest's word. */
HOT static void routine_took(struct exchange *exchange, struct husk_exchange_bytes *ret_head) {
    const husk_sandbox *sandbox = exchange->sandbox;
    memcpy(ret_head, sandbox->machine->arena.mailbox->exchange, sizeof *ret_head);
    exchange->run = EXCHANGE_RUNS_CALL;
    if (UNLIKELY(ret_head->step < (uint32_t)exchange->step || ret_head->step > HUSK_STEP_DONE))
        ret_head->step = (uint32_t)exchange->step;
    if (exchange->step == EXCHANGE_ALLOCATE && ret_head->step > HUSK_STEP_ALLOCATE)
        exchange->input = (struct guest_block){ret_head->input_addr, exchange->input_bytes};
    exchange->step = (enum exchange_step)ret_head->step;
}

HOT static int routine_output(struct exchange *exchange, const struct husk_exchange_bytes *head,
                              struct husk_error *err) {
    const uint8_t *area = exchange->sandbox->machine->arena.mailbox->exchange;
    const uint64_t count = head->copied_bytes;
    if (count > HUSK_EXCHANGE_ROOM)
        return error_set(err, HUSK_E_GUEST, "the guest says that it copied %llu bytes of output",
                         (unsigned long long)count);
    exchange->output = (struct guest_block){head->output_addr, head->output_bytes};
    if (exchange->copy != NULL) /* it had no room here */
        return 0;
    return exchange_keep_output(exchange, area + HUSK_EXCHANGE_HEAD_BYTES, count, err);
}

HOT FLAT int routine_take(struct exchange *exchange, struct husk_error *err) {
    struct husk_exchange_bytes head;
    routine_took(exchange, &head);
    int status =
        LIKELY(exchange->step > EXCHANGE_EXPORT) ? routine_output(exchange, &head, err) : 0;
    if (UNLIKELY(status != 0))
        return status;
    if (LIKELY(exchange->step == EXCHANGE_DONE)) {
        if (exchange->may_free && exchange->exports.release_kind == BYTES_RELEASE_FREE)
            exchange->input = (struct guest_block){0, 0};
        return 0;
    }
    for (int i = 0; i < 2; i++)
        exchange->results[i] = value_of_result(exchange, head.results[i]);
    return 0;
}

void routine_left(struct exchange *exchange) {
    struct husk_exchange_bytes head;
    routine_took(exchange, &head);
}
