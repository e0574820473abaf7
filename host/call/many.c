/*
 * host/call/many.c: husk_call_many(). A batch of calls goes through the exchange (abi/exchange.h):
 * their arguments are put into its rows, one entry of the guest makes them (guest/exchange.c), and
 * the rows have the results then. Larger batches take several entries. Without the exchange, each
 * call is one of husk_call().
 *
 * The guest can write the exchange while it runs. So the number of calls that returned is the
 * guest's word, limited by the number that it was to make. Rows are only read as values.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "error.h"
#include "image_internal.h"
#include "options.h"
#include "outcome.h"
#include "sandbox_internal.h"
#include "values.h"

/* Calls in one entry, if they have no values: so that the counts of calls are not far behind. */
#define CALLS_MAX (1u << 20)

struct batch {
    husk_sandbox *sandbox;
    husk_func func;
    const struct husk_image_func *row;
    struct husk_functype type;
    const struct husk_value *args; /* of all calls; borrowed, as are the results */
    struct husk_value *results;    /* NULL: nobody wants them */
    struct husk_value *unwanted;   /* room for those of one call, if run_single() needs it; owned */
    size_t count, returned;
    const struct call_limits *limits;
};

/* The call that is next. */
static struct call_request batch_next(const struct batch *batch) {
    const struct husk_functype *type = &batch->type;
    return (struct call_request){
        .func = batch->func,
        .args = type->params_count > 0 ? batch->args + batch->returned * type->params_count : NULL,
        .args_count = type->params_count,
        .results =
            batch->results != NULL ? batch->results + batch->returned * type->results_count : NULL,
        .results_count = type->results_count,
        .limits = batch->limits};
}

/* ---- each call in an entry of its own ---- */

static int run_single(struct batch *batch, struct husk_outcome *ret_outcome,
                      struct husk_error *err) {
    struct call_request request = batch_next(batch);
    if (batch->results == NULL && batch->unwanted == NULL)
        batch->unwanted = malloc((batch->type.results_count + 1) * sizeof *batch->unwanted);
    if (batch->results == NULL && batch->unwanted == NULL)
        return error_set(err, HUSK_E_NOMEM, "no memory for results that nobody wants");
    if (batch->results == NULL)
        request.results = batch->unwanted;
    int status = call_within(batch->sandbox, &request, ret_outcome, err);
    if (status == 0 && ret_outcome->kind == HUSK_RETURNED)
        batch->returned++;
    return status;
}

/* ---- many calls in one entry ---- */

static size_t row_slots(const struct batch *batch) {
    const size_t results_count = batch->results != NULL ? batch->type.results_count : 0;
    return batch->type.params_count > results_count ? batch->type.params_count : results_count;
}

/* How many of the calls that are left fit into the exchange. */
static size_t calls_fitting(const struct batch *batch) {
    const size_t slots = row_slots(batch), left = batch->count - batch->returned;
    const size_t most =
        slots > 0 ? HUSK_EXCHANGE_ROOM / HUSK_SLOT_BYTES / slots : (size_t)CALLS_MAX;
    return left < most ? left : most;
}

static struct husk_slot *first_row(void *exchange) {
    return (struct husk_slot *)(void *)((uint8_t *)exchange + HUSK_EXCHANGE_HEAD_BYTES);
}

static void put_calls(const struct batch *batch, void *exchange, size_t calls) {
    const size_t params = batch->type.params_count, stride = row_slots(batch);
    const struct husk_exchange_many head = {
        .thunk_gva = batch->sandbox->image->code->types[batch->row->type_idx].thunk_gva,
        .calls = calls,
        .params_count = (uint32_t)params,
        .results_count = batch->results != NULL ? (uint32_t)batch->type.results_count : 0,
        .row_slots = (uint32_t)stride};
    hotset_host_writes(&batch->sandbox->machine->hotset, exchange,
                       HUSK_EXCHANGE_HEAD_BYTES +
                           (params > 0 ? calls * stride * HUSK_SLOT_BYTES : 0));
    memcpy(exchange, &head, sizeof head);
    struct husk_slot *row = first_row(exchange);
    const struct husk_value *args =
        params > 0 ? batch->args + batch->returned * params : batch->args;
    for (size_t i = 0; i < calls && params > 0; i++, row += stride, args += params)
        for (size_t k = 0; k < params; k++)
            value_to_slot(&args[k], &row[k]);
}

static void take_results(const struct batch *batch, void *exchange, size_t calls) {
    const size_t count = batch->type.results_count, stride = row_slots(batch);
    if (batch->results == NULL || count == 0)
        return;
    const struct husk_slot *row = first_row(exchange);
    struct husk_value *results = batch->results + batch->returned * count;
    for (size_t i = 0; i < calls; i++, row += stride, results += count)
        for (size_t k = 0; k < count; k++)
            results[k] = value_from_slot(batch->type.results[k], &row[k]);
}

/* The routine has ended, or stands still in a pending call. */
static int routine_ended(struct batch *batch, void *exchange, size_t calls,
                         const struct husk_outcome *outcome, struct husk_error *err) {
    volatile struct husk_exchange_many *head = exchange;
    const uint64_t said = head->returned;
    const bool has_all = outcome->kind == HUSK_RETURNED;
    /* the call that did not return is none of these */
    const size_t most = has_all ? calls : calls - 1;
    const size_t returned = said < most ? (size_t)said : most;
    if (outcome->kind == HUSK_PENDING)
        head->calls = 0; /* the page was noted when the exchange was filled */
    take_results(batch, exchange, returned);
    batch->returned += returned;
    if (returned > 0) /* the entry was counted as one call */
        stat_add(batch->sandbox->tally, STAT_calls, has_all ? returned - 1 : returned);
    if (has_all && said != calls)
        return error_set(err, HUSK_E_GUEST, "the guest was to make %zu calls, and made %llu", calls,
                         (unsigned long long)said);
    return 0;
}

static int run_routine(struct batch *batch, void *exchange, struct husk_outcome *ret_outcome,
                       struct husk_error *err) {
    const size_t calls = calls_fitting(batch);
    const struct call_routine routine = {.gva = batch->sandbox->image->code->routines.many_gva,
                                         .code_gva = batch->row->code_gva,
                                         .row = batch->row,
                                         .limits = batch->limits};
    put_calls(batch, exchange, calls);
    int status = call_routine(batch->sandbox, &routine, ret_outcome, err);
    return status != 0 ? status : routine_ended(batch, exchange, calls, ret_outcome, err);
}

/* ---- all of it ---- */

/* Make the calls that are left, or some of them. */
static int run_some(struct batch *batch, struct husk_outcome *ret_outcome, struct husk_error *err) {
    husk_sandbox *sandbox = batch->sandbox;
    const struct call_request request = batch_next(batch);
    int status = call_check_state(sandbox, err);
    if (status == 0)
        status = call_prepare(sandbox, &request, batch->row, ret_outcome, err);
    if (status != 0 || ret_outcome->kind != HUSK_RETURNED)
        return status;
    void *exchange = call_exchange(sandbox, sandbox->image->code->routines.many_gva);
    return exchange != NULL ? run_routine(batch, exchange, ret_outcome, err)
                            : run_single(batch, ret_outcome, err);
}

static int batch_run(struct batch *batch, struct husk_outcome *ret_outcome,
                     struct husk_error *err) {
    int status = 0;
    outcome_begin(ret_outcome, HUSK_RETURNED);
    while (status == 0 && ret_outcome->kind == HUSK_RETURNED && batch->returned < batch->count)
        status = run_some(batch, ret_outcome, err);
    return status;
}

/* True: `given` is count times `each`. */
static bool is_product(size_t given, size_t count, size_t each) {
    return each == 0 ? given == 0 : given / each == count && given % each == 0;
}

/* Check all calls before the first one. */
static int batch_check(struct batch *batch, const struct husk_call *call, struct husk_error *err) {
    const size_t params_count = batch->type.params_count;
    if (!is_product(call->args_count, batch->count, params_count))
        return error_set(err, HUSK_E_TYPE, "%zu arguments given for %zu calls of %zu",
                         call->args_count, batch->count, params_count);
    if (call->results != NULL &&
        !is_product(call->results_count, batch->count, batch->type.results_count))
        return error_set(err, HUSK_E_TYPE, "room for %zu results given; %zu calls have %zu each",
                         call->results_count, batch->count, batch->type.results_count);
    for (size_t i = 0; i < call->args_count; i += params_count) {
        int status = values_check(batch->type.params, params_count, call->args + i, params_count,
                                  "argument", err);
        if (status != 0)
            return error_while(err, status, "checking call %zu of %zu", i / params_count,
                               batch->count);
    }
    return 0;
}

static int batch_find(struct batch *batch, const struct husk_call *call, struct husk_error *err) {
    const struct image_code *code = batch->sandbox->image->code;
    int status = call_find(batch->sandbox, call, &batch->func, err);
    if (status != 0)
        return status;
    batch->row = call_row(batch->sandbox, batch->func);
    if (batch->row == NULL)
        return image_func_refuse(code, batch->func, err);
    batch->type = image_functype(code, batch->row->type_idx);
    return batch_check(batch, call, err);
}

/* *has_begun: batch->returned is to be given to the caller. */
static int batch_all(struct batch *batch, const struct husk_call *call, bool *has_begun,
                     struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct call_limits limits;
    struct husk_outcome outcome;
    int status = call_check_state(batch->sandbox, err);
    if (status == 0)
        status = batch_find(batch, call, err);
    if (status == 0)
        status = call_limits_make(call->limits, &limits, err);
    if (status != 0)
        return status;
    batch->limits = &limits;
    *has_begun = true;
    status = batch_run(batch, &outcome, err);
    free(batch->unwanted);
    call_limits_done(&limits);
    if (status == 0)
        call_give(&limits, &outcome, ret_outcome);
    return status;
}

static int read_arguments(const struct husk_call *call, const struct husk_many *many,
                          struct husk_call *ret_call, struct husk_many *ret_many,
                          struct husk_error *err) {
    int status = call_read(call, ret_call, err);
    if (status == 0)
        status = many_read(many, ret_many, err);
    if (status != 0)
        return status;
    if (call_lacks_values(ret_call))
        return error_set(err, HUSK_E_INVAL, "husk_call_many: args or results are NULL");
    if (many->size < offsetof(struct husk_many, returned) + sizeof many->returned)
        return error_set(err, HUSK_E_INVAL, "husk_many has no room for a result");
    return 0;
}

int husk_call_many(husk_sandbox *sandbox, const struct husk_call *call, struct husk_many *many,
                   struct husk_outcome *ret_outcome, struct husk_error *err) {
    struct husk_call call_copy;
    struct husk_many many_copy;
    bool has_begun = false;
    if (sandbox == NULL || call == NULL || many == NULL || ret_outcome == NULL)
        return error_set(err, HUSK_E_INVAL, "husk_call_many: a NULL argument");
    int status = output_check("husk_outcome", ret_outcome, err);
    if (status == 0)
        status = read_arguments(call, many, &call_copy, &many_copy, err);
    if (status != 0)
        return status;
    struct batch batch = {.sandbox = sandbox,
                          .args = call_copy.args,
                          .results = call_copy.results,
                          .count = many_copy.count};
    status = batch_all(&batch, &call_copy, &has_begun, ret_outcome, err);
    if (has_begun)
        many->returned = batch.returned;
    return call_explain(&call_copy, " many times", status, err);
}
