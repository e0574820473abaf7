/*
 * host/call/bytes.c: husk_call_bytes(), over the module's exported allocator. The guest's pointers
 * and lengths are checked against its memory before they are used; a guest that lies gets
 * HUSK_E_GUEST.
 *
 * An exchange is a series of calls into the guest: allocate, the export, free. A routine of the
 * guest makes them in one entry (abi/exchange.h), as far as input and output have room there. It
 * may end early, with the results of a step. The steps that are left then have an entry each, as
 * all of them if there is no routine: exchange_prepare() makes the next call, exchange_accept()
 * takes its results. All state is in struct exchange, and none on the C stack. If a call is
 * pending, the exchange moves to the heap, and pending.c goes on with it.
 *
 * A module with cabi_realloc alone cannot free. The canonical ABI never asks for zero bytes of a
 * block, and allocators differ there. wit-bindgen's C does nothing. Its Rust keeps the allocator's
 * smallest block (and asserts against it in debug builds), as realloc() of wasi-libc does. Only
 * allocators written for it free the block. So the result is shrunk to one byte first, which all of
 * them can do, and then to zero. The input's block stays for the next call. Deliberately it is not
 * shrunk like the result: two blocks shrunk in turn would leave a hole in every call, just too
 * small for the blocks of the next call.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "bytes_internal.h"
#include "call.h"
#include "error.h"
#include "hot.h"
#include "name_text.h"
#include "options.h"
#include "outcome.h"
#include "sandbox_internal.h"

static uint64_t number_of(const struct exchange *exchange, const struct husk_value *value) {
    return exchange->exports.is_64 ? (uint64_t)value->of.i64 : (uint32_t)value->of.i32;
}

/* True: the host owns the input's block. If the module cannot free, the called function may believe
 * that it owns the block. */
HOT static bool input_is_ours(const struct exchange *exchange) {
    const enum bytes_release kind = exchange->exports.release_kind;
    return kind == BYTES_RELEASE_FREE || kind == BYTES_RELEASE_REALLOC;
}

/* ---- The next call ---- */

/* Set the arguments, and return their number. */
static size_t args_set(struct exchange *exchange, const uint64_t *numbers, size_t count) {
    for (size_t i = 0; i < count; i++)
        exchange->args[i] = value_of_number(exchange, numbers[i]);
    return count;
}

static uint64_t shrunk(const struct guest_block *block) {
    return block->bytes > 1 ? 1 : 0;
}

static void prepare_release(struct exchange *exchange, const struct guest_block *block,
                            struct call_request *request) {
    request->func = exchange->exports.release;
    if (exchange->exports.release_kind == BYTES_RELEASE_POST) {
        request->args_count = exchange->exports.form == BYTES_TWO_NUMBERS ? 2 : 1;
        memcpy(exchange->args, exchange->results, sizeof exchange->results);
    } else if (exchange->exports.release_kind == BYTES_RELEASE_FREE) {
        request->args_count = args_set(exchange, &block->addr, 1);
    } else {
        const uint64_t numbers[4] = {block->addr, block->bytes, 1, shrunk(block)};
        request->args_count = args_set(exchange, numbers, 4);
        request->results_count = 1;
    }
}

/* Make the call for the step. Its results go to the exchange. */
static struct call_request exchange_prepare(struct exchange *exchange) {
    const struct bytes_exports *exports = &exchange->exports;
    struct call_request request = {.args = exchange->args, .results = exchange->results};
    const uint64_t allocation[4] = {exchange->input.addr, exchange->input.bytes, 1,
                                    exchange->input_bytes};
    const uint64_t input[2] = {exchange->input.addr, exchange->count};
    switch (exchange->step) {
    case EXCHANGE_ALLOCATE:
        request.func = exports->allocate;
        request.args_count = exports->is_by_realloc ? args_set(exchange, allocation, 4)
                                                    : args_set(exchange, &allocation[3], 1);
        request.results_count = 1;
        break;
    case EXCHANGE_EXPORT:
        request.func = exports->func;
        request.args_count = args_set(exchange, input, 2);
        request.results_count = exports->form == BYTES_TWO_NUMBERS ? 2 : 1;
        break;
    case EXCHANGE_FREE_OUTPUT: prepare_release(exchange, &exchange->output, &request); break;
    case EXCHANGE_FREE_INPUT: prepare_release(exchange, &exchange->input, &request); break;
    case EXCHANGE_DONE: break;
    }
    return request;
}

/* ---- The results of a call ---- */

/* In the main instance's memory. */
static int exchange_span(const struct exchange *exchange, uint64_t addr, uint64_t count,
                         uint8_t **ret_span) {
    const uint32_t mem_idx = image_main_memory(exchange->sandbox->image->code);
    return sandbox_span(exchange->sandbox, mem_idx, addr, count, ret_span, NULL);
}

static int put_input(struct exchange *exchange, struct husk_error *err) {
    const uint64_t addr = exchange->input.addr;
    uint8_t *span;
    if (addr == 0 && exchange->count > 0)
        return error_set(err, HUSK_E_GUEST, "the module's allocator has no %llu bytes",
                         (unsigned long long)exchange->count);
    if (exchange_span(exchange, addr, exchange->count, &span) != 0)
        return error_set(err, HUSK_E_GUEST,
                         "the module's allocator gave address %llu for %llu bytes, which is "
                         "outside of its memory",
                         (unsigned long long)addr, (unsigned long long)exchange->count);
    hotset_host_writes(&exchange->sandbox->machine->hotset, span, exchange->count);
    if (exchange->count > 0)
        memcpy(span, exchange->bytes, exchange->count);
    exchange->step = EXCHANGE_EXPORT;
    return 0;
}

static int read_pair(const struct exchange *exchange, uint64_t addr, struct guest_block *ret_block,
                     struct husk_error *err) {
    const size_t width = exchange->exports.is_64 ? 8 : 4;
    struct guest_block block = {0, 0};
    uint8_t *span;
    if (exchange_span(exchange, addr, 2 * width, &span) != 0)
        return error_set(err, HUSK_E_GUEST,
                         "the result is at address %llu, which is outside of the guest's memory",
                         (unsigned long long)addr);
    memcpy(&block.addr, span, width);
    memcpy(&block.bytes, span + width, width);
    *ret_block = block;
    return 0;
}

static int copy_output(struct exchange *exchange, struct husk_error *err) {
    const struct guest_block *output = &exchange->output;
    uint8_t *span;
    if (exchange_span(exchange, output->addr, output->bytes, &span) != 0)
        return error_set(err, HUSK_E_GUEST,
                         "the result, %llu bytes at address %llu, is outside of the guest's memory",
                         (unsigned long long)output->bytes, (unsigned long long)output->addr);
    return exchange_keep_output(exchange, span, output->bytes, err);
}

static int accept_output(struct exchange *exchange, struct husk_error *err) {
    const struct husk_value *results = exchange->results;
    struct guest_block *output = &exchange->output;
    int status = 0;
    switch (exchange->exports.form) {
    case BYTES_PACKED_I64:
        output->addr = (uint32_t)results[0].of.i64;
        output->bytes = (uint32_t)((uint64_t)results[0].of.i64 >> 32);
        break;
    case BYTES_TWO_NUMBERS:
        output->addr = number_of(exchange, &results[0]);
        output->bytes = number_of(exchange, &results[1]);
        break;
    default: status = read_pair(exchange, number_of(exchange, &results[0]), output, err);
    }
    return status != 0 ? status : copy_output(exchange, err);
}

/* True: the output is a block that the host has to free. */
static bool output_is_block(const struct exchange *exchange) {
    const struct guest_block *input = &exchange->input, *output = &exchange->output;
    if (output->addr - input->addr < input->bytes) /* a part of the input, and freed with it */
        return false;
    if (output->bytes == 0) /* cabi_realloc needs a size */
        return exchange->exports.release_kind == BYTES_RELEASE_FREE &&
               output->addr >= HUSK_NO_BLOCK_BELOW;
    return output->addr != 0;
}

/* The step after the output's release. With cabi_realloc alone the input's block stays, unless a
 * call inside this one has left a block already. */
static enum exchange_step input_release(struct exchange *exchange) {
    const enum bytes_release kind = exchange->exports.release_kind;
    const bool is_too_many = kind == BYTES_RELEASE_FREE || exchange->sandbox->spare.addr != 0;
    return exchange->may_free && input_is_ours(exchange) && is_too_many && exchange->input.addr != 0
               ? EXCHANGE_FREE_INPUT
               : EXCHANGE_DONE;
}

static enum exchange_step output_release(struct exchange *exchange) {
    const enum bytes_release kind = exchange->exports.release_kind;
    if (exchange->may_free && kind != BYTES_RELEASE_NONE &&
        (kind == BYTES_RELEASE_POST || output_is_block(exchange)))
        return EXCHANGE_FREE_OUTPUT;
    return input_release(exchange);
}

/* True: the block is gone. Otherwise it was shrunk, and may have moved. */
static bool accept_release(const struct exchange *exchange, struct guest_block *block) {
    if (exchange->exports.release_kind != BYTES_RELEASE_REALLOC || shrunk(block) == 0)
        return true;
    *block = (struct guest_block){number_of(exchange, &exchange->results[0]), 1};
    return block->addr == 0;
}

/* Take the results of the step's call, and go on to the next step. */
RARE static int exchange_accept(struct exchange *exchange, struct husk_error *err) {
    int status = 0;
    switch (exchange->step) {
    case EXCHANGE_ALLOCATE:
        exchange->input =
            (struct guest_block){number_of(exchange, &exchange->results[0]), exchange->input_bytes};
        status = put_input(exchange, err);
        break;
    case EXCHANGE_EXPORT:
        status = accept_output(exchange, err);
        if (status == 0)
            exchange->step = output_release(exchange);
        break;
    case EXCHANGE_FREE_OUTPUT:
        if (accept_release(exchange, &exchange->output))
            exchange->step = input_release(exchange);
        break;
    case EXCHANGE_FREE_INPUT:
        if (accept_release(exchange, &exchange->input)) {
            exchange->input = (struct guest_block){0, 0};
            exchange->step = EXCHANGE_DONE;
        }
        break;
    case EXCHANGE_DONE: break;
    }
    return status;
}

HOT static void give_output(struct exchange *exchange, struct husk_bytes *bytes) {
    bytes->output = exchange->copy;
    bytes->output_count = exchange->copy_count;
    exchange->copy = NULL;
}

/* ---- The whole exchange ---- */

/* Deliberately not all of it: `exports` and the values are set before they are read, and to zero
 * them takes as long as a page of cold code. */
static inline void exchange_clear(struct exchange *exchange, husk_sandbox *sandbox) {
    exchange->sandbox = sandbox;
    exchange->step = EXCHANGE_ALLOCATE;
    exchange->run = EXCHANGE_RUNS_CALL;
    exchange->input = exchange->output = (struct guest_block){0, 0};
    exchange->copy = NULL;
    exchange->copy_count = 0;
}

/* Begin an exchange. The borrowed fields, `exports` and `may_free` are set. A block has at least
 * one byte, so that it can be freed. The canonical ABI is different: the guest frees the block, and
 * recognises empty input by its length. */
HOT static int exchange_begin(struct exchange *exchange, struct husk_error *err) {
    const enum bytes_release kind = exchange->exports.release_kind;
    exchange->step = EXCHANGE_ALLOCATE;
    exchange->input_bytes = exchange->count > 0 || kind == BYTES_RELEASE_POST ? exchange->count : 1;
    struct guest_block *spare = &exchange->sandbox->spare;
    const bool is_enough = spare->bytes >= exchange->input_bytes;
    if (!input_is_ours(exchange) || (!is_enough && !exchange->exports.is_by_realloc))
        return 0;
    exchange->input = *spare;
    *spare = (struct guest_block){0, 0};
    return is_enough ? put_input(exchange, err) : 0;
}

/* Keep the input's block, if there is one, for the next exchange, however this one ended. A
 * snapshot has that block, too. So each call after a restore to the snapshot enters the guest only
 * once. */
HOT static void exchange_end(struct exchange *exchange) {
    struct guest_block *spare = &exchange->sandbox->spare;
    if (exchange->run == EXCHANGE_RUNS_ROUTINE)
        routine_left(exchange);
    if (input_is_ours(exchange) && exchange->input.bytes > spare->bytes &&
        exchange->step != EXCHANGE_ALLOCATE && exchange->step != EXCHANGE_FREE_INPUT)
        *spare = exchange->input;
}

/* The routine has returned. If it ended early, go on with what its last call gave. */
HOT static int accept_routine(struct exchange *exchange, struct husk_error *err) {
    int status = routine_take(exchange, err);
    return UNLIKELY(status == 0 && exchange->step != EXCHANGE_DONE) ? exchange_accept(exchange, err)
                                                                    : status;
}

/* malloc() is next, and the caller's free() after it. Each is on a page that is cold right after an
 * exit: so both are fetched at once. */
static inline void prefetch_heap(void) {
    enum { LINES = 4, LINE_BYTES = 64 };
    const char *allocate = (const char *)(void *)&malloc;
    const char *release = (const char *)(void *)&free;
    for (int i = 0; i < LINES; i++) {
        __builtin_prefetch(allocate + (size_t)i * LINE_BYTES);
        __builtin_prefetch(release + (size_t)i * LINE_BYTES);
    }
}

HOT static int run_routine(struct exchange *exchange, const struct call_limits *limits,
                           struct husk_outcome *ret_outcome, struct husk_error *err) {
    husk_sandbox *sandbox = exchange->sandbox;
    const struct call_routine routine = {.gva = sandbox->image->code->routines.bytes_gva,
                                         .limits = limits};
    exchange->run = EXCHANGE_RUNS_ROUTINE;
    int status = call_routine(sandbox, &routine, ret_outcome, err);
    prefetch_heap();
    if (UNLIKELY(status != 0 || ret_outcome->kind != HUSK_RETURNED))
        return status;
    return accept_routine(exchange, err);
}

RARE static int run_step(struct exchange *exchange, const struct call_limits *limits,
                         struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_request request = exchange_prepare(exchange);
    request.limits = limits;
    int status = call_within(exchange->sandbox, &request, ret_outcome, err);
    if (status != 0 || ret_outcome->kind != HUSK_RETURNED)
        return status;
    return exchange_accept(exchange, err);
}

/* Run the next steps: those of the routine, or one. */
HOT static int run_some(struct exchange *exchange, const struct call_limits *limits,
                        struct husk_outcome *ret_outcome, struct husk_error *err) {
    const struct call_request nothing = {.limits = limits};
    int status = call_check_state(exchange->sandbox, err);
    exchange->run = EXCHANGE_RUNS_BEFORE;
    if (UNLIKELY(status == 0 && !call_is_prepared(exchange->sandbox)))
        status = call_prepare(exchange->sandbox, &nothing, NULL, ret_outcome, err);
    if (UNLIKELY(status != 0 || ret_outcome->kind != HUSK_RETURNED))
        return status;
    exchange->run = EXCHANGE_RUNS_CALL;
    return LIKELY(routine_put(exchange)) ? run_routine(exchange, limits, ret_outcome, err)
                                         : run_step(exchange, limits, ret_outcome, err);
}

/* Run the steps up to EXCHANGE_DONE, or until a call does not return: see the outcome. */
HOT static int exchange_run(struct exchange *exchange, const struct call_limits *limits,
                            struct husk_outcome *ret_outcome, struct husk_error *err) {
    int status = 0;
    outcome_begin(ret_outcome, HUSK_RETURNED);
    while (status == 0 && ret_outcome->kind == HUSK_RETURNED && exchange->step != EXCHANGE_DONE)
        status = run_some(exchange, limits, ret_outcome, err);
    return status;
}

static void exchange_free(struct exchange *exchange) {
    free(exchange->copy);
    free(exchange);
}

/* The step's call is pending: move the exchange to the heap. The input moves, too, if the guest
 * does not have it yet. */
RARE static void exchange_keep(struct exchange *exchange, struct husk_outcome *outcome) {
    struct call_pending *pending = &exchange->sandbox->calls.pending;
    const size_t input_bytes = exchange->step == EXCHANGE_ALLOCATE ? (size_t)exchange->count : 0;
    struct exchange *kept = malloc(sizeof *kept + input_bytes);
    if (kept == NULL) {
        call_drop_pending(exchange->sandbox, outcome);
        exchange_end(exchange);
        return;
    }
    *kept = *exchange;
    kept->bytes = kept + 1;
    if (input_bytes > 0)
        memcpy(kept + 1, exchange->bytes, input_bytes);
    exchange->copy = NULL;
    pending->exchange = kept;
    pending->exchange_free = exchange_free;
}

struct husk_value *exchange_results(struct exchange *exchange) {
    return exchange->results;
}

int exchange_go_on(struct exchange *exchange, const struct call_limits *limits,
                   struct husk_outcome *ret_outcome, struct husk_error *err) {
    int status = 0;
    if (exchange->run == EXCHANGE_RUNS_CALL)
        status = exchange_accept(exchange, err);
    else if (exchange->run == EXCHANGE_RUNS_ROUTINE)
        status = accept_routine(exchange, err);
    return status == 0 ? exchange_run(exchange, limits, ret_outcome, err) : status;
}

void exchange_leave(struct exchange *exchange, struct husk_bytes *bytes) {
    exchange_end(exchange);
    if (exchange->step == EXCHANGE_DONE)
        give_output(exchange, bytes);
}

/* Remember the last function's, unless a name was given: cabi_post_ depends on the name. */
RARE static int exports_look_up(struct exchange *exchange, husk_func func,
                                const struct image_name *name, struct husk_error *err) {
    husk_sandbox *sandbox = exchange->sandbox;
    int status = bytes_exports_find(sandbox->image, func, name, &exchange->exports, err);
    if (status == 0 && name->text == NULL) {
        sandbox->bytes_exports = exchange->exports;
        sandbox->bytes_exports.is_known = true;
    }
    return status;
}

HOT static int exports_find(struct exchange *exchange, husk_func func,
                            const struct image_name *name, struct husk_error *err) {
    const husk_sandbox *sandbox = exchange->sandbox;
    const husk_func *known = &sandbox->bytes_exports.func;
    if (UNLIKELY(!sandbox->bytes_exports.is_known || name->text != NULL ||
                 known->opaque[0] != func.opaque[0] || known->opaque[1] != func.opaque[1]))
        return exports_look_up(exchange, func, name, err);
    exchange->exports = sandbox->bytes_exports;
    return 0;
}

HOT static int exchange_find(struct exchange *exchange, const struct husk_call *call,
                             const struct husk_bytes *bytes, struct husk_error *err) {
    struct image_name name = {call->name, call->name_bytes};
    husk_func func;
    if (UNLIKELY(call->name != NULL))
        name.bytes = name_length(call->name, call->name_bytes);
    int status = call_find(exchange->sandbox, call, &func, err);
    if (status == 0)
        status = exports_find(exchange, func, &name, err);
    if (status == 0 && !exchange->exports.is_64 && bytes->input_count > UINT32_MAX)
        status = error_set(err, HUSK_E_LIMIT, "%zu bytes do not fit into a 32-bit memory",
                           bytes->input_count);
    exchange->bytes = bytes->input;
    exchange->count = bytes->input_count;
    exchange->may_free = !bytes->keeps;
    return status;
}

HOT int exchange_check_room(const struct husk_bytes *bytes, struct husk_error *err) {
    if (bytes->size < offsetof(struct husk_bytes, keeps))
        return error_set(err, HUSK_E_INVAL, "husk_bytes has no room for a result");
    return 0;
}

/* What the caller gave, or a copy of it if it is not of this version of husk.h. */
struct given {
    const struct husk_call *call;
    const struct husk_bytes *bytes;
    struct husk_call call_copy;
    struct husk_bytes bytes_copy;
};

static inline bool bytes_are_plain(const struct husk_bytes *bytes) {
    static const uint8_t zeros[sizeof bytes->reserved];
    return bytes->size == sizeof *bytes && memcmp(bytes->reserved, zeros, sizeof zeros) == 0;
}

RARE static int copy_given(struct given *given, struct husk_error *err) {
    int status = call_read(given->call, &given->call_copy, err);
    if (status == 0)
        status = bytes_read(given->bytes, &given->bytes_copy, err);
    if (status == 0)
        status = exchange_check_room(given->bytes, err);
    given->call = &given->call_copy;
    given->bytes = &given->bytes_copy;
    return status;
}

HOT static int read_given(struct given *given, struct husk_error *err) {
    int status = 0;
    if (UNLIKELY(given->call->size != sizeof *given->call || !bytes_are_plain(given->bytes)))
        status = copy_given(given, err);
    if (status != 0)
        return status;
    const struct husk_call *call = given->call;
    if (call->args != NULL || call->args_count > 0 || call->results != NULL ||
        call->results_count > 0)
        return error_set(err, HUSK_E_INVAL,
                         "husk_call_bytes: the call has args or results; a husk_bytes takes their "
                         "place");
    if (given->bytes->input == NULL && given->bytes->input_count > 0)
        return error_set(err, HUSK_E_INVAL, "husk_call_bytes: the input is NULL");
    return 0;
}

HOT static int exchange_all(struct exchange *exchange, const struct husk_call *call,
                            const struct husk_bytes *bytes, struct husk_outcome *ret_outcome,
                            struct husk_error *err) {
    struct call_limits limits;
    struct husk_outcome outcome;
    int status = sandbox_check_usable(exchange->sandbox, err);
    if (status == 0)
        status = exchange_find(exchange, call, bytes, err);
    if (status == 0)
        status = call_limits_make(call->limits, &limits, err);
    if (UNLIKELY(status != 0))
        return status;
    status = exchange_begin(exchange, err);
    if (status == 0)
        status = exchange_run(exchange, &limits, &outcome, err);
    if (UNLIKELY(status == 0 && outcome.kind == HUSK_PENDING))
        exchange_keep(exchange, &outcome);
    else
        exchange_end(exchange);
    call_limits_done(&limits);
    if (status == 0)
        call_give(&limits, &outcome, ret_outcome);
    return status;
}

HOT FLAT int husk_call_bytes(husk_sandbox *sandbox, const struct husk_call *call,
                             struct husk_bytes *bytes, struct husk_outcome *ret_outcome,
                             struct husk_error *err) {
    struct exchange exchange;
    struct given given;
    if (sandbox == NULL || call == NULL || bytes == NULL || ret_outcome == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_call_bytes: a NULL argument");
    exchange_clear(&exchange, sandbox);
    given.call = call;
    given.bytes = bytes;
    int status = 0;
    if (UNLIKELY(ret_outcome->size != sizeof *ret_outcome))
        status = output_check("husk_outcome", ret_outcome, err);
    if (status == 0)
        status = read_given(&given, err);
    if (UNLIKELY(status != 0))
        return status;
    status = exchange_all(&exchange, given.call, given.bytes, ret_outcome, err);
    if (exchange.step == EXCHANGE_DONE)
        give_output(&exchange, bytes);
    if (UNLIKELY(exchange.copy != NULL)) /* free() is cold here */
        free(exchange.copy);
    return LIKELY(status == 0) ? 0 : call_explain(given.call, " with bytes", status, err);
}
