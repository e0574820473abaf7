/*
 * tests/hostile/exception_hostile_test.c: guests and images that lie about exceptions: a pending
 * exception of no tag, or where something else is; code that throws where nothing throws; an image
 * that claims to be the same module with another place for exceptions. Each is a violation, an
 * outcome or a refusal; the host takes no harm.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "built_image.h"
#include "exception.h"
#include "exception_place.h"
#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "layout.h"
#include "literals.h"

static struct husk_error err;
static husk_engine *engine;
static husk_imports *imports;

/* What the host function throws. */
static struct {
    int64_t number;
    bool is_nested; /* it first calls "throw", which leaves another exception */
} host;

static int host_throws(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    husk_image *const *image_of_test = user;
    struct husk_throw throws = HUSK_THROW_INIT;
    const struct husk_value number = {.type = HUSK_I64, .of.i64 = host.number};
    const struct husk_value given[] = {{.type = HUSK_I32, .of.i32 = 3}, number};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    (void)args, (void)results;
    CHECK_OK(husk_image_tag(*image_of_test, "oops", 0, &throws.tag, &err), err);
    throws.values = &number;
    throws.values_count = 1;
    int status = husk_caller_throw(caller, &throws);
    if (host.is_nested)
        CHECK_OK(husk_call(husk_caller_sandbox(caller),
                           CALL(.name = "throw", .args = given, .args_count = 2), &outcome, &err),
                 err);
    return status;
}

static husk_image *image; /* of the running test */

static void begin(void) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    SKIP_WITHOUT_KVM();
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_unknown(imports, HUSK_UNKNOWN_TRAP, &err), err);
    CHECK_OK(
        husk_imports_funcs(
            imports,
            &(struct husk_host_func){
                .module = "env", .name = "host", .type = &type, .fn = host_throws, .user = &image},
            1, &err),
        err);
}

static void end(void) {
    husk_image_unref(image);
    image = NULL;
    husk_imports_free(imports);
    husk_engine_unref(engine);
}

static husk_sandbox *sandbox_of(struct image_builder *builder) {
    husk_sandbox *sandbox = NULL;
    husk_image_unref(image);
    image = built_image_open(builder, engine);
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    return sandbox;
}

static struct husk_outcome throw_in(husk_sandbox *sandbox, uint32_t number, uint64_t bits) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const struct husk_value args[] = {{.type = HUSK_I32, .of.i32 = (int32_t)number},
                                      {.type = HUSK_I64, .of.i64 = (int64_t)bits}};
    CHECK_OK(
        husk_call(sandbox, CALL(.name = "throw", .args = args, .args_count = 2), &outcome, &err),
        err);
    return outcome;
}

static struct husk_outcome call_host(husk_sandbox *sandbox, int64_t *ret_number) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    const struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1};
    struct husk_value result = {.type = HUSK_I64};
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = 200000000;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &limits),
                       &outcome, &err),
             err);
    *ret_number = result.of.i64;
    return outcome;
}

static void check_violation(husk_sandbox *sandbox, const struct husk_outcome *outcome,
                            const char *part) {
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    CHECK_MSG(outcome->kind == HUSK_GUEST_VIOLATION, "%d: %s", outcome->kind, outcome->message);
    CHECK(outcome->is_poisoned);
    CHECK_CONTAINS(outcome->message, part);
    CHECK_STATUS(husk_sandbox_exception(sandbox, &info, &err), HUSK_E_NOT_FOUND);
    CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
}

TEST(a_pending_exception_of_no_tag) {
    struct image_builder builder;
    begin();
    guest_exception_build(&builder);
    husk_sandbox *sandbox = sandbox_of(&builder);
    static const uint32_t numbers[] = {0, 4, 5, 0x7fffffff, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const struct husk_outcome outcome = throw_in(sandbox, numbers[i], 1);
        check_violation(sandbox, &outcome, "which does not exist");
        struct husk_outcome good = throw_in(sandbox, 2, 5);
        CHECK_EQ_U64(good.kind, HUSK_THREW);
        CHECK_STR(good.message, "uncaught exception: tag \"oops\" (i64 5)");
    }
    husk_sandbox_free(sandbox);
    end();
}

TEST(a_pending_exception_of_any_bits) {
    struct image_builder builder;
    begin();
    guest_exception_build(&builder);
    husk_sandbox *sandbox = sandbox_of(&builder);
    static const uint64_t bits[] = {0, UINT64_MAX, 0x7ff0000000000001, 0xfff8000000000000,
                                    1ull << 63};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        for (uint32_t number = 1; number <= 3; number++) {
            struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
            const struct husk_outcome outcome = throw_in(sandbox, number, bits[i]);
            CHECK(outcome.kind == HUSK_THREW && !outcome.is_poisoned);
            CHECK_OK(husk_sandbox_exception(sandbox, &info, &err), err);
            CHECK_EQ_U64(info.tag_idx, number - 1);
            CHECK_EQ_U64(info.values_count, number == 3 ? 0 : 1);
            CHECK(number == 3 || memcmp(&info.values[0].of, &bits[i], 8) == 0);
        }
    husk_sandbox_free(sandbox);
    end();
}

TEST(an_image_without_exceptions_that_throws) {
    struct image_builder builder;
    begin();
    guest_exception_build(&builder);
    builder.module.exception_gva = builder.module.exception_values = 0;
    builder.module.throw_gva = 0;
    husk_sandbox *sandbox = sandbox_of(&builder);
    const struct husk_outcome outcome = throw_in(sandbox, 2, 5);
    check_violation(sandbox, &outcome, "the guest threw an exception, and has none");
    int64_t number; /* its host function cannot throw either */
    const struct husk_outcome refused = call_host(sandbox, &number);
    CHECK_EQ_U64(refused.trap, HUSK_TRAP_HOST_FUNCTION);
    CHECK_CONTAINS(refused.message, "no code with which a host function can throw");
    husk_sandbox_free(sandbox);
    end();
}

TEST(host_functions_throw_into_code_that_is_not_there) {
    struct image_builder builder;
    int64_t number = 0;
    begin();
    guest_exception_build(&builder);
    husk_sandbox *sandbox = sandbox_of(&builder);
    for (int is_nested = 0; is_nested < 2; is_nested++) {
        host.is_nested = is_nested != 0;
        host.number = 7;
        struct husk_outcome outcome = call_host(sandbox, &number);
        CHECK_MSG(outcome.kind == HUSK_RETURNED && number == 1008, "%d, %lld: %s", outcome.kind,
                  (long long)number, outcome.message);
        host.number = -7;
        outcome = call_host(sandbox, &number);
        CHECK_STR(outcome.message, "uncaught exception: tag \"oops\" (i64 -7)");
    }
    husk_sandbox_free(sandbox);
    static const uint32_t wild[] = {0, 1, 7, 100, 4095};
    const uint32_t text_bytes = (uint32_t)(guest_code_end - guest_code_start);
    for (size_t i = 0; i < sizeof wild / sizeof wild[0]; i++) { /* it does whatever is there */
        guest_exception_build(&builder);
        builder.module.throw_gva = HUSK_TEXT_GVA + wild[i] % text_bytes;
        sandbox = sandbox_of(&builder);
        host.is_nested = i % 2 == 1;
        const struct husk_outcome outcome = call_host(sandbox, &number);
        CHECK(outcome.kind == HUSK_RETURNED || outcome.message[0] != '\0');
        CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
        husk_sandbox_free(sandbox);
    }
    end();
}

/* The exception lies over the memory's size word. The guest spoils what it reads itself. */
TEST(a_pending_exception_over_other_data) {
    struct image_builder builder;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int64_t number = 0;
    begin();
    guest_exception_build(&builder);
    builder.module.exception_gva = HUSK_DATA_GVA;
    husk_sandbox *sandbox = sandbox_of(&builder);
    host.is_nested = false;
    host.number = INT64_MAX;
    (void)call_host(sandbox, &number);
    CHECK_EQ_U64(husk_memory_bytes(sandbox, 0), HUSK_WASM_PAGE_SIZE);
    uint8_t byte;
    CHECK_STATUS(husk_memory_read(sandbox, RANGE(HUSK_WASM_PAGE_SIZE, 1, 0), &byte, &err),
                 HUSK_E_LIMIT);
    const struct husk_value beyond = {.type = HUSK_I64, .of.i64 = HUSK_WASM_PAGE_SIZE};
    struct husk_value result = {.type = HUSK_I64};
    CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
    (void)call_host(sandbox, &number);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "read", .args = &beyond, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &err),
             err);
    CHECK_EQ_U64(outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    husk_sandbox_free(sandbox);
    end();
}

/* The sandbox has room for the values of the image that it was made of. */
TEST(an_image_of_the_same_code_with_other_exceptions) {
    begin();
    for (int change = 0; change < 5; change++) {
        struct image_builder builder;
        guest_exception_build(&builder);
        husk_sandbox *sandbox = sandbox_of(&builder);
        guest_exception_build(&builder);
        switch (change) {
        case 0: break; /* the same */
        case 1: builder.module.exception_values = 100; break;
        case 2: builder.module.exception_gva += 64; break;
        case 3: builder.module.throw_gva = HUSK_TEXT_GVA; break;
        default: /* a tag with another type */
            ((struct husk_image_tag *)(void *)builder.records[HUSK_REC_TAGS].data)[1].type_idx =
                ((struct husk_image_tag *)(void *)builder.records[HUSK_REC_TAGS].data)[0].type_idx;
            break;
        }
        husk_image *other = built_image_open(&builder, engine);
        const int status = husk_sandbox_restore(sandbox, other, &err);
        CHECK_MSG(status == (change == 0 ? 0 : HUSK_E_INVAL), "change %d: %d", change, status);
        CHECK_EQ_U64(throw_in(sandbox, 2, 5).kind, HUSK_THREW);
        husk_image_unref(other);
        husk_sandbox_free(sandbox);
    }
    end();
}

/* Slots of exceptions with many values are memory like any other. */
TEST(exception_slots_count_as_memory) {
    static const struct {
        uint32_t values;
        uint64_t memory_max_bytes;
        bool fits;
    } rows[] = {{1, 65536, true}, {15, 65536, true},       {100, 65536, false},
                {1000, 0, true},  {1000, 32 << 20, false}, {1000, 128 << 20, true}};
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct image_builder builder;
        husk_sandbox *sandbox = NULL;
        const uint64_t slots_gva = HUSK_DATA_GVA + 16 * HUSK_PAGE_SIZE;
        const uint64_t bytes = HUSK_EXCEPTION_SLOTS * 16ull * (1 + rows[i].values);
        guest_exception_build(&builder);
        builder.module.exception_gva = HUSK_DATA_GVA + HUSK_PAGE_SIZE;
        builder.module.exception_values = rows[i].values;
        builder.module.exception_slots_gva = (uint32_t)slots_gva;
        for (uint32_t k = 0; k < builder.segments_count; k++)
            if (builder.segments[k].gva == HUSK_DATA_GVA)
                builder.segments[k].mem_bytes =
                    slots_gva - HUSK_DATA_GVA +
                    (bytes + HUSK_PAGE_SIZE - 1) / HUSK_PAGE_SIZE * HUSK_PAGE_SIZE;
        struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
        options.memory_max_bytes = rows[i].memory_max_bytes;
        husk_image_unref(image);
        image = built_image_open(&builder, engine);
        const int status = husk_sandbox_new(image, imports, &options, &sandbox, &err);
        CHECK_MSG(status == (rows[i].fits ? 0 : HUSK_E_LIMIT), "row %zu: %d", i, status);
        husk_sandbox_free(sandbox);
    }
    end();
}

TEST_MAIN()
