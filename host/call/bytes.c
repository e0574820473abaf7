/*
 * host/call/bytes.c: bytes in, bytes out, over the module's exported allocator. Every pointer and
 * length that the guest gives is checked against its memory before it is used; a guest that lies
 * gets HUSK_E_GUEST.
 */
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "error.h"
#include "name_text.h"
#include "options.h"
#include "sandbox_internal.h"
#include "values.h"

/* One husk_call_bytes() in progress. */
struct exchange {
    husk_sandbox *sandbox;
    struct call_limits limits; /* of the whole */
    struct husk_outcome *outcome;
    struct husk_error *err;
};

enum result_form { RESULT_PACKED_I64, RESULT_POINTER_TO_PAIR, RESULT_TWO_I32 };

/* 0: returned. 1: ended otherwise (see the outcome). Else a status. */
static int exchange_call(struct exchange *exchange, husk_func func, const struct husk_value *args,
                         size_t args_count, struct husk_value *results, size_t results_count) {
    const struct call_request request = {func,    args,          args_count,
                                         results, results_count, &exchange->limits};
    int status = call_within(exchange->sandbox, &request, exchange->outcome, exchange->err);
    return status != 0 ? status : exchange->outcome->kind == HUSK_RETURNED ? 0 : 1;
}

/* An export of this name and type; types: parameters and results, one letter each, "iii>i". */
static bool export_is(const struct exchange *exchange, const char *name, const char *types,
                      husk_func *ret_func) {
    struct husk_functype type;
    husk_func func;
    const husk_image *image = exchange->sandbox->image;
    if (husk_image_func(image, name, 0, &func, NULL) != 0 ||
        husk_image_func_type(image, func, &type, NULL) != 0)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < type.params_count + type.results_count; i++) {
        if (i == type.params_count && types[at++] != '>')
            return false;
        husk_type have =
            i < type.params_count ? type.params[i] : type.results[i - type.params_count];
        if ((types[at] != 'i' || have != HUSK_I32) && (types[at] != 'I' || have != HUSK_I64))
            return false;
        at++;
    }
    if (type.results_count == 0 && types[at++] != '>')
        return false;
    if (types[at] != '\0')
        return false;
    *ret_func = func;
    return true;
}

static struct husk_value value_u32(uint32_t number) {
    return (struct husk_value){.type = HUSK_I32, .of.i32 = (int32_t)number};
}

/* A guest buffer that holds the input. */
static int put_bytes(struct exchange *exchange, const void *bytes, size_t count,
                     uint32_t *ret_address) {
    husk_func func;
    struct husk_value result;
    int status;
    if (count > UINT32_MAX)
        return error_set(exchange->err, HUSK_E_LIMIT, "%zu bytes do not fit into a 32-bit memory",
                         count);
    if (export_is(exchange, "cabi_realloc", "iiii>i", &func)) {
        struct husk_value args[4] = {value_u32(0), value_u32(0), value_u32(1),
                                     value_u32((uint32_t)count)};
        status = exchange_call(exchange, func, args, 4, &result, 1);
    } else if (export_is(exchange, "malloc", "i>i", &func)) {
        struct husk_value argument = value_u32((uint32_t)(count > 0 ? count : 1));
        status = exchange_call(exchange, func, &argument, 1, &result, 1);
    } else {
        return error_set(exchange->err, HUSK_E_NOT_FOUND,
                         "the module exports no allocator: neither cabi_realloc(i32, i32, i32, "
                         "i32) -> i32 nor malloc(i32) -> i32");
    }
    if (status != 0)
        return status;
    uint32_t address = (uint32_t)result.of.i32;
    uint8_t *span;
    if (address == 0 && count > 0)
        return error_set(exchange->err, HUSK_E_GUEST, "the module's allocator has no %zu bytes",
                         count);
    if (sandbox_span(exchange->sandbox, 0, address, count, &span, NULL) != 0)
        return error_set(
            exchange->err, HUSK_E_GUEST,
            "the module's allocator gave address %u for %zu bytes, which is outside of its memory",
            address, count);
    if (count > 0)
        memcpy(span, bytes, count);
    *ret_address = address;
    return 0;
}

static int read_pair(struct exchange *exchange, uint32_t address, uint32_t pair[2]) {
    uint8_t *span;
    if (sandbox_span(exchange->sandbox, 0, address, 8, &span, NULL) != 0)
        return error_set(exchange->err, HUSK_E_GUEST,
                         "the result is at address %u, which is outside of the guest's memory",
                         address);
    memcpy(pair, span, 8);
    return 0;
}

static int find_export(struct exchange *exchange, const char *name, husk_func *ret_func,
                       enum result_form *ret_form) {
    static const char *const types[] = {[RESULT_PACKED_I64] = "ii>I",
                                        [RESULT_POINTER_TO_PAIR] = "ii>i",
                                        [RESULT_TWO_I32] = "ii>ii"};
    struct husk_functype type;
    const husk_image *image = exchange->sandbox->image;
    int status = husk_image_func(image, name, 0, ret_func, exchange->err);
    if (status == 0)
        status = husk_image_func_type(image, *ret_func, &type, exchange->err);
    if (status != 0)
        return status;
    for (int form = RESULT_PACKED_I64; form <= RESULT_TWO_I32; form++) {
        if (export_is(exchange, name, types[form], ret_func)) {
            *ret_form = (enum result_form)form;
            return 0;
        }
    }
    char text[160];
    functype_format(&type, text, sizeof text);
    return error_set(exchange->err, HUSK_E_TYPE,
                     "\"%s\" is %s; expected (i32, i32) -> i64, i32 or (i32, i32)",
                     NAME_SHOWN(name), text);
}

static int call_export(struct exchange *exchange, husk_func func, enum result_form form,
                       const uint32_t input[2], uint32_t output[2]) {
    struct husk_value args[2] = {value_u32(input[0]), value_u32(input[1])};
    struct husk_value results[2];
    int status = exchange_call(exchange, func, args, 2, results, form == RESULT_TWO_I32 ? 2 : 1);
    if (status != 0)
        return status;
    if (form == RESULT_POINTER_TO_PAIR)
        return read_pair(exchange, (uint32_t)results[0].of.i32, output);
    output[0] =
        form == RESULT_PACKED_I64 ? (uint32_t)results[0].of.i64 : (uint32_t)results[0].of.i32;
    output[1] = form == RESULT_PACKED_I64 ? (uint32_t)((uint64_t)results[0].of.i64 >> 32)
                                          : (uint32_t)results[1].of.i32;
    return 0;
}

static int copy_out(struct exchange *exchange, const uint32_t output[2], char **ret_copy) {
    uint8_t *span;
    if (sandbox_span(exchange->sandbox, 0, output[0], output[1], &span, NULL) != 0)
        return error_set(exchange->err, HUSK_E_GUEST,
                         "the result, %u bytes at address %u, is outside of the guest's memory",
                         output[1], output[0]);
    char *copy = malloc((size_t)output[1] + 1);
    if (copy == NULL)
        return error_set(exchange->err, HUSK_E_NOMEM, "no memory for a result of %u bytes",
                         output[1]);
    memcpy(copy, span, output[1]);
    copy[output[1]] = 0;
    *ret_copy = copy;
    return 0;
}

/* Give the guest its buffers back, if it says how: the input, and the result if it is another
 * buffer. */
static int free_buffers(struct exchange *exchange, uint32_t input, uint32_t output) {
    husk_func func;
    int status = 0;
    if (!export_is(exchange, "free", "i>", &func))
        return 0;
    struct husk_value argument = value_u32(input);
    if (output != input && output != 0) {
        struct husk_value second = value_u32(output);
        status = exchange_call(exchange, func, &second, 1, NULL, 0);
    }
    if (status == 0 && input != 0)
        status = exchange_call(exchange, func, &argument, 1, NULL, 0);
    return status;
}

static int exchange_run(struct exchange *exchange, const char *export_name, const void *bytes,
                        size_t count, char **ret_copy, size_t *ret_count) {
    husk_func func;
    enum result_form form = RESULT_PACKED_I64;
    uint32_t input[2] = {0, (uint32_t)count}, output[2] = {0, 0};
    int status = find_export(exchange, export_name, &func, &form);
    if (status == 0)
        status = put_bytes(exchange, bytes, count, &input[0]);
    if (status == 0)
        status = call_export(exchange, func, form, input, output);
    if (status != 0)
        return status;
    char *copy = NULL;
    status = copy_out(exchange, output, &copy);
    if (status == 0)
        status = free_buffers(exchange, input[0], output[0]);
    if (status != 0) {
        free(copy);
        return status;
    }
    *ret_copy = copy;
    *ret_count = output[1];
    return 0;
}

int husk_call_bytes(husk_sandbox *sandbox, const char *export_name, const void *bytes, size_t count,
                    void **ret_bytes, size_t *ret_count, const struct husk_limits *options,
                    struct husk_outcome *ret_outcome, struct husk_error *err) {
    if (sandbox == NULL || export_name == NULL || ret_bytes == NULL || ret_count == NULL ||
        ret_outcome == NULL || (bytes == NULL && count > 0))
        return error_set(err, HUSK_E_INVAL, "husk_call_bytes: a NULL argument");
    struct husk_outcome whole;
    struct exchange exchange = {.sandbox = sandbox, .outcome = &whole, .err = err};
    int status = output_check("husk_outcome", ret_outcome, err);
    if (status == 0)
        status = call_limits_make(options, &exchange.limits, err);
    if (status != 0)
        return status;
    char *copy = NULL;
    size_t copy_count = 0;
    status = exchange_run(&exchange, export_name, bytes, count, &copy, &copy_count);
    if (status < 0)
        return error_while(err, status, "calling \"%s\" with bytes", NAME_SHOWN(export_name));
    if (status == 0) {
        *ret_bytes = copy;
        *ret_count = copy_count;
    }
    call_give(&exchange.limits, &whole, ret_outcome);
    return 0;
}
