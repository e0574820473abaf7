/*
 * The decoder and the validator on hostile modules: sizes at and above the limits, false counts,
 * and every way to damage a small module by one byte. Each ends in an error with an offset, in
 * bounded time and memory.
 */
#include <malloc.h>
#include <time.h>

#include "limits.h"
#include "wasm_writer.h"

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- hostile sizes ---- */

TEST(nesting_has_a_limit) {
    static const uint32_t depths[2] = {WASM_LIMIT_NESTING, 1000000};
    for (size_t i = 0; i < 2; i++) {
        struct bytes body = {0};
        struct husk_error err = {0};
        put_byte(&body, 0);
        for (uint32_t k = 0; k < depths[i]; k++)
            PUT(&body, 0x02, 0x40);
        for (uint32_t k = 0; k <= depths[i]; k++)
            put_byte(&body, 0x0b);
        double start = seconds();
        CHECK_STATUS(judge_body(&body, &err), i == 0 ? 0 : HUSK_E_LIMIT);
        CHECK(seconds() - start < 5);
    }
}

TEST(locals_have_a_limit) {
    static const struct {
        uint32_t count;
        int status;
    } cases[] = {{50000, 0}, {50001, HUSK_E_LIMIT}, {UINT32_MAX, HUSK_E_LIMIT}};
    for (size_t i = 0; i < 3; i++) {
        struct bytes body = {0};
        struct husk_error err = {0};
        PUT(&body, 2, 1, 0x7f);
        put_u32(&body, cases[i].count - 1);
        PUT(&body, 0x7e, 0x0b);
        CHECK_STATUS(judge_body(&body, &err), cases[i].status);
    }
    struct bytes body = {0};
    struct husk_error err = {0};
    PUT(&body, 2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 1, 0x7f, 0x0b); /* 2^32 */
    CHECK_STATUS(judge_body(&body, &err), HUSK_E_BAD_WASM);
}

/* 50,000 runs of one local, alternating types, read from the far end: the look-up must not walk
 * them each time. */
TEST(many_local_runs_are_fast) {
    struct bytes body = {0};
    struct husk_error err = {0};
    put_u32(&body, 50000);
    for (uint32_t i = 0; i < 50000; i++)
        PUT(&body, 1, i % 2 == 0 ? 0x7f : 0x7e);
    for (uint32_t i = 0; i < 500000; i++) {
        put_byte(&body, 0x20);
        put_u32(&body, 49999 - i % 16);
        put_byte(&body, i % 2 == 0 ? 0x50 : 0x45); /* i64.eqz on odd locals, i32.eqz on even ones */
        put_byte(&body, 0x1a);
    }
    put_byte(&body, 0x0b);
    double start = seconds();
    CHECK_STATUS(judge_body(&body, &err), 0);
    CHECK(seconds() - start < 5);
}

TEST(br_table_has_a_limit) {
    static const uint32_t counts[2] = {WASM_LIMIT_BR_TABLE, WASM_LIMIT_BR_TABLE + 1};
    for (size_t i = 0; i < 2; i++) {
        struct bytes body = {0};
        struct husk_error err = {0};
        PUT(&body, 0, 0x41, 0, 0x0e);
        put_u32(&body, counts[i]);
        for (uint32_t k = 0; k <= counts[i]; k++)
            put_byte(&body, 0);
        put_byte(&body, 0x0b);
        CHECK_STATUS(judge_body(&body, &err), i == 0 ? 0 : HUSK_E_LIMIT);
    }
    struct husk_error err = {0};
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0x0b),
                 HUSK_E_BAD_WASM);
}

/* Two bytes of code push a thousand values: the stack must not grow with the square of the body. */
TEST(operand_stack_has_a_limit) {
    struct bytes type = {0};
    struct bytes body = {0};
    struct husk_error err = {0};
    PUT(&type, 1, 0x60, 0);
    put_u32(&type, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        put_byte(&type, 0x7f);
    put_byte(&body, 0);
    for (uint32_t i = 0; i < 2000000; i++)
        PUT(&body, 0x10, 0);
    put_byte(&body, 0x0b);
    struct bytes wasm = module_of(&type, &body);
    CHECK_STATUS(judge(&wasm, &err), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "operand stack");
    free(wasm.data);
    free(body.data);
    free(type.data);
}

/* Labels of 1,000 types each, against a stack of 1,000 unknown ones. */
TEST(wide_labels_on_an_unknown_stack_are_fast) {
    struct bytes type = {0};
    struct bytes body = {0};
    struct husk_error err = {0};
    PUT(&type, 2, 0x60, 0);
    put_u32(&type, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        put_byte(&type, 0x7f);
    PUT(&type, 0x60, 0);
    put_u32(&type, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        put_byte(&type, i == 0 ? 0x7e : 0x7f);
    /* block (type 1) inside the function (type 0), then unreachable */
    PUT(&body, 0, 0x02, 1, 0x00);
    for (uint32_t i = 0; i < 1000; i++)
        put_byte(&body, 0x1b); /* select: of unknown type */
    PUT(&body, 0x0e);
    put_u32(&body, 65000);
    for (uint32_t i = 0; i < 65000; i++)
        put_byte(&body, i % 2);
    PUT(&body, 0, 0x0b, 0x00, 0x0b);
    struct bytes wasm = module_of(&type, &body);
    double start = seconds();
    CHECK_OK(judge(&wasm, &err), err);
    CHECK(seconds() - start < 1);
    free(wasm.data);
    free(body.data);
    free(type.data);
}

/* A count of 2^32 - 1 in every section, and nothing behind it. */
TEST(lying_counts_cost_nothing) {
    for (uint8_t id = 1; id <= 12; id++) {
        struct husk_error err = {0};
        double start = seconds();
        size_t before = mallinfo2().hblkhd;
        CHECK(JUDGE_SECTIONS(&err, id, 5, 0xff, 0xff, 0xff, 0xff, 0x0f) != 0);
        CHECK(err.offset != HUSK_NO_OFFSET && err.offset <= 16);
        CHECK(JUDGE_SECTIONS(&err, id, 0xff, 0xff, 0xff, 0xff, 0x0f, 0) == HUSK_E_BAD_WASM);
        CHECK(mallinfo2().hblkhd == before && seconds() - start < 1);
    }
}

TEST(many_exports_and_types_are_fast) {
    struct bytes wasm = {0};
    struct bytes contents = {0};
    struct husk_error err = {0};
    put_header(&wasm);
    put_u32(&contents, 300000);
    for (uint32_t i = 0; i < 300000; i++)
        PUT(&contents, 0x60, 3, 0x7f - i % 4, 0x7f - i / 4 % 4, 0x7f - i / 16 % 4, 0);
    put_section(&wasm, 1, &contents);
    PUT(&wasm, 5, 3, 1, 0, 1);
    contents.count = 0;
    put_u32(&contents, 300000);
    for (uint32_t i = 0; i < 300000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%08x", i);
        put_byte(&contents, 8);
        put(&contents, name, 8);
        PUT(&contents, 2, 0);
    }
    put_section(&wasm, 7, &contents);
    double start = seconds();
    CHECK_OK(judge(&wasm, &err), err);
    CHECK(seconds() - start < 10);
    memcpy(wasm.data + wasm.count - 10, "00000001", 8);
    CHECK_STATUS(judge(&wasm, &err), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "duplicate export name: exports 1 and 299999");
    free(contents.data);
    free(wasm.data);
}

/* ---- damaged modules ---- */

static const char *const samples[] = {"control", "bulk", "simd"};

static void check_judged(const struct bytes *wasm) {
    struct husk_error err = {.status = 1};
    int status = judge(wasm, &err);
    if (status == 0)
        return;
    CHECK(status == HUSK_E_BAD_WASM || status == HUSK_E_INVALID_WASM ||
          status == HUSK_E_UNSUPPORTED || status == HUSK_E_LIMIT);
    CHECK_EQ_I64(err.status, status);
    CHECK(err.message[0] != '\0' && err.offset <= wasm->count);
}

TEST(tags_have_a_limit) {
    for (uint32_t more = 0; more < 2; more++) {
        struct bytes wasm = {0}, tags = {0};
        struct husk_error err = {0};
        put_header(&wasm);
        PUT(&wasm, 1, 4, 1, 0x60, 0, 0);
        put_u32(&tags, WASM_LIMIT_TAGS + more);
        for (uint32_t i = 0; i < WASM_LIMIT_TAGS + more; i++)
            PUT(&tags, 0, 0);
        put_section(&wasm, 13, &tags);
        double start = seconds();
        CHECK_STATUS(judge(&wasm, &err), more == 0 ? 0 : HUSK_E_LIMIT);
        CHECK(seconds() - start < 5);
        free(tags.data);
        free(wasm.data);
    }
}

/* Blocks that catch, within blocks that catch: the old ones and the new ones. */
TEST(nested_handlers_are_fast) {
    for (int is_legacy = 0; is_legacy < 2; is_legacy++) {
        struct bytes body = {0};
        struct husk_error err = {0};
        put_byte(&body, 0);
        for (uint32_t k = 0; k < WASM_LIMIT_NESTING; k++)
            if (is_legacy != 0)
                PUT(&body, 0x06, 0x40);
            else
                PUT(&body, 0x1f, 0x40, 2, 2, 0, 2, 0);
        for (uint32_t k = 0; k < WASM_LIMIT_NESTING; k++)
            if (is_legacy != 0)
                PUT(&body, 0x19, 0x09, 0, 0x0b); /* catch_all rethrow 0 end */
            else
                put_byte(&body, 0x0b);
        put_byte(&body, 0x0b);
        double start = seconds();
        CHECK_STATUS(judge_body(&body, &err), 0);
        CHECK(seconds() - start < 5);
    }
}

TEST(catch_clauses_have_a_limit) {
    for (uint32_t more = 0; more < 2; more++) {
        struct bytes body = {0};
        struct husk_error err = {0};
        PUT(&body, 0, 0x1f, 0x40);
        put_u32(&body, WASM_LIMIT_BR_TABLE + more);
        for (uint32_t i = 0; i < WASM_LIMIT_BR_TABLE + more; i++)
            PUT(&body, 2, 0);
        PUT(&body, 0x0b, 0x0b);
        CHECK_STATUS(judge_body(&body, &err), more == 0 ? 0 : HUSK_E_LIMIT);
    }
}

/* No size that a module declares makes the validator allocate anything. */
TEST(large_memories_cost_nothing) {
    struct husk_error err = {0};
    double start = seconds();
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 9, 1, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40), 0);
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 9, 1, 4, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40),
                 HUSK_E_INVALID_WASM);
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 13, 1, 12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                0xff, 1, 0),
                 0); /* one-byte pages: 2^64 - 1 */
    CHECK_STATUS(JUDGE_SECTIONS(&err, 4, 13, 1, 0x70, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                0xff, 0xff, 1),
                 0); /* the plan refuses it */
    CHECK(seconds() - start < 1);
}

TEST(truncated_anywhere) {
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        struct bytes wasm = file_bytes(samples[i]);
        for (size_t count = 0; count < wasm.count; count++) {
            struct bytes cut = {malloc(count != 0 ? count : 1), count, count};
            CHECK(cut.data != NULL);
            memcpy(cut.data, wasm.data, count);
            check_judged(&cut);
            free(cut.data);
        }
        free(wasm.data);
    }
}

TEST(every_byte_replaced_by_every_other) {
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        struct bytes wasm = file_bytes(samples[i]);
        for (size_t at = 0; at < wasm.count; at++) {
            uint8_t original = wasm.data[at];
            for (unsigned byte = 0; byte < 256; byte++) {
                wasm.data[at] = (uint8_t)byte;
                check_judged(&wasm);
            }
            wasm.data[at] = original;
        }
        free(wasm.data);
    }
}

TEST_MAIN()
