/*
 * tests/unit/wasm_types_test.c: canonical types of one and of several modules, subtyping, locals
 * without a default value, and type sections that are made to cost time. The standard's suite
 * (wasm_corpus_test.c) has the rules; this suite has what it lacks.
 */
#include <time.h>

#include "types.h"
#include "wasm_writer.h"

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The index of a heap type is a signed integer. */
static void put_idx(struct bytes *bytes, uint32_t idx) {
    for (; idx >= 0x40; idx >>= 7)
        put_byte(bytes, (idx & 0x7f) | 0x80);
    put_byte(bytes, idx);
}

static struct wasm_module *decode_types(const struct bytes *types, struct husk_error *err) {
    struct bytes wasm = {0};
    struct wasm_module *module = NULL;
    put_header(&wasm);
    put_section(&wasm, 1, types);
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, err), *err);
    free(wasm.data); /* types are copied */
    return module;
}

static int judge_types(const struct bytes *types, struct husk_error *err) {
    struct bytes wasm = {0};
    put_header(&wasm);
    put_section(&wasm, 1, types);
    int status = judge(&wasm, err);
    free(wasm.data);
    return status;
}

static void check_canonical(const struct wasm_module *module, const uint32_t *expected,
                            uint32_t count) {
    CHECK_EQ_U64(module->types_count, count);
    for (uint32_t i = 0; i < count; i++)
        CHECK_EQ_U64(module->types[i].canonical_idx, expected[i]);
}

TEST(groups_are_compared_by_structure) {
    struct husk_error err = {0};
    struct bytes types = {0};
    PUT(&types, 7);
    PUT(&types, 0x60, 1, 0x64, 0, 0);                               /* 0: func (ref 0) */
    PUT(&types, 0x60, 1, 0x64, 1, 0);                               /* 1: func (ref 1) */
    PUT(&types, 0x60, 1, 0x64, 0, 0);                               /* 2: func (ref 0) */
    PUT(&types, 0x4e, 2, 0x60, 1, 0x64, 4, 0, 0x60, 1, 0x64, 3, 0); /* 3, 4: of one another */
    PUT(&types, 0x4e, 2, 0x60, 1, 0x64, 6, 0, 0x60, 1, 0x64, 5, 0); /* 5, 6: the same */
    PUT(&types, 0x4e, 1, 0x60, 1, 0x64, 7, 0);                      /* 7: as 0 */
    PUT(&types, 0x50, 0, 0x60, 1, 0x64, 8, 0);                      /* 8: open, so another type */
    struct wasm_module *module = decode_types(&types, &err);
    CHECK_OK(wasm_validate(module, &err), err);
    check_canonical(module, (const uint32_t[]){0, 0, 2, 3, 4, 3, 4, 0, 8}, 9);
    CHECK(wasm_is_subtype(module, wasm_ref_idx(5, false), wasm_ref_idx(3, true)));
    CHECK(!wasm_is_subtype(module, wasm_ref_idx(5, true), wasm_ref_idx(3, false)));
    CHECK(!wasm_is_subtype(module, wasm_ref_idx(8, false), wasm_ref_idx(0, false)));
    CHECK(wasm_is_subtype(module, wasm_ref(WASM_HEAP_NOFUNC, false), wasm_ref_idx(8, false)));
    wasm_module_free(module);
    free(types.data);
}

TEST(ids_are_shared_by_modules) {
    struct husk_error err = {0};
    struct bytes first = {0}, second = {0};
    PUT(&first, 2, 0x60, 0, 0, 0x60, 1, 0x64, 0, 0);                    /* (), ((ref 0)) */
    PUT(&second, 3, 0x60, 1, 0x7f, 0, 0x60, 0, 0, 0x60, 1, 0x64, 1, 0); /* (i32), (), ((ref 1)) */
    const struct wasm_module *modules[2] = {decode_types(&first, &err),
                                            decode_types(&second, &err)};
    uint32_t ids[2][3];
    uint32_t *const ret_ids[2] = {ids[0], ids[1]};
    CHECK_OK(wasm_types_canonicalise(modules, 2, ret_ids, &err), err);
    CHECK(ids[0][0] == 0 && ids[0][1] == 1);
    CHECK(ids[1][0] == 2 && ids[1][1] == 0 && ids[1][2] == 1);
    for (int i = 0; i < 2; i++)
        wasm_module_free((struct wasm_module *)modules[i]);
    free(first.data);
    free(second.data);
}

TEST(supertypes_have_a_limit) {
    for (uint32_t depth = 63; depth <= 64; depth++) {
        struct husk_error err = {0};
        struct bytes types = {0};
        put_u32(&types, depth + 1);
        PUT(&types, 0x50, 0, 0x5f, 0);
        for (uint32_t i = 0; i < depth; i++)
            PUT(&types, 0x50, 1, (uint8_t)i, 0x5f, 0);
        CHECK_STATUS(judge_types(&types, &err), depth == 63 ? 0 : HUSK_E_LIMIT);
        free(types.data);
    }
}

/* ---- hostile ---- */

/* Twice the same list of types, each with two references to the one before: written out, the last
 * would have 2^250000 parts. */
TEST(types_that_explode_are_fast) {
    const uint32_t half = 250000;
    struct husk_error err = {0};
    struct bytes types = {0};
    put_u32(&types, 2 * half);
    for (uint32_t i = 0; i < 2 * half; i++) {
        if (i % half == 0) {
            PUT(&types, 0x5f, 0);
            continue;
        }
        PUT(&types, 0x5f, 2, 0x64);
        put_idx(&types, i - 1);
        PUT(&types, 0, 0x64);
        put_idx(&types, i - 1);
        PUT(&types, 0);
    }
    double start = seconds();
    struct wasm_module *module = decode_types(&types, &err);
    CHECK_OK(wasm_validate(module, &err), err);
    CHECK_EQ_U64(module->types[2 * half - 1].canonical_idx, half - 1);
    CHECK(wasm_is_subtype(module, wasm_ref_idx(2 * half - 1, false), wasm_ref_idx(half - 1, true)));
    CHECK(seconds() - start < 10);
    wasm_module_free(module);
    free(types.data);
}

/* Two equal groups of 500,000 structs, each of which names the next one of its group. */
TEST(a_million_types_in_two_groups_are_fast) {
    const uint32_t half = 500000;
    struct husk_error err = {0};
    struct bytes types = {0};
    PUT(&types, 2);
    for (uint32_t i = 0; i < 2 * half; i++) {
        if (i % half == 0) {
            PUT(&types, 0x4e);
            put_u32(&types, half);
        }
        PUT(&types, 0x50, 0, 0x5f, 1, 0x63);
        put_idx(&types, i % half == half - 1 ? i : i + 1);
        PUT(&types, 1);
    }
    double start = seconds();
    struct wasm_module *module = decode_types(&types, &err);
    CHECK_OK(wasm_validate(module, &err), err);
    CHECK_EQ_U64(module->types[2 * half - 1].canonical_idx, half - 1);
    CHECK(seconds() - start < 10);
    wasm_module_free(module);
    types.data[0] = 3; /* and one type more */
    PUT(&types, 0x60, 0, 0);
    CHECK_STATUS(judge_types(&types, &err), HUSK_E_LIMIT);
    free(types.data);
}

/* br_table alternates between two labels of 1,000 references, whose types are equal, but not
 * written with the same index: each must be looked at. */
TEST(labels_of_other_indices_are_fast) {
    struct husk_error err = {0};
    struct bytes type = {0}, body = {0};
    PUT(&type, 5, 0x60, 0, 0, 0x60, 0, 0); /* 0, 1: func */
    for (uint8_t i = 0; i < 3; i++) { /* 2: () → 1,000 (ref 0); 3: 1,000 (ref 1); 4: … (ref 0) */
        PUT(&type, 0x60, 0);
        put_u32(&type, 1000);
        for (uint32_t k = 0; k < 1000; k++)
            PUT(&type, 0x64, i & 1);
    }
    PUT(&body, 1, 1, 0x64, 0, 0x02, 2, 0x02, 3, 0x02, 4, 0x00);
    for (uint32_t k = 0; k < 1000;
         k++) /* as (ref null nofunc), then as the non-null local's type */
        PUT(&body, 0xd0, 0x73, 0xd4);
    PUT(&body, 0x41, 0, 0x0e);
    put_u32(&body, 65520);
    for (uint32_t k = 0; k <= 65520; k++)
        put_byte(&body, k & 1);
    PUT(&body, 0x0b, 0x00, 0x0b, 0x00, 0x0b, 0x00, 0x0b);
    struct bytes wasm = module_of(&type, &body);
    double start = seconds();
    CHECK_OK(judge(&wasm, &err), err);
    CHECK(seconds() - start < 10);
    free(wasm.data);
    free(type.data);
    free(body.data);
}

TEST(a_local_without_a_default_must_be_set) {
    struct husk_error err = {0};
    static const uint8_t type[] = {1, 0x60, 0, 0};
    /* (local (ref func)), block: perhaps set; then local.get */
    static const uint8_t set_outside[] = {1, 1,    0x64, 0x70, 0xd0, 0x70, 0xd4, 0x21,
                                          0, 0x02, 0x40, 0x20, 0,    0x1a, 0x0b, 0x0b};
    static const uint8_t set_inside[] = {1,    1,    0x64, 0x70, 0x02, 0x40, 0xd0, 0x70,
                                         0xd4, 0x21, 0,    0x0b, 0x20, 0,    0x1a, 0x0b};
    const struct bytes types = {(uint8_t *)type, sizeof type, sizeof type};
    const struct bytes good = {(uint8_t *)set_outside, sizeof set_outside, sizeof set_outside};
    const struct bytes bad = {(uint8_t *)set_inside, sizeof set_inside, sizeof set_inside};
    struct bytes wasm = module_of(&types, &good);
    CHECK_OK(judge(&wasm, &err), err);
    free(wasm.data);
    wasm = module_of(&types, &bad);
    CHECK_STATUS(judge(&wasm, &err), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "uninitialized local: local 0 has no default value");
    free(wasm.data);
}

/* The initialiser of a table gets an imported global of (ref null 999999). */
TEST(a_table_gets_a_global_of_an_unknown_type) {
    struct husk_error err = {0};
    struct bytes wasm = {0};
    put_header(&wasm);
    PUT(&wasm, 1, 4, 1, 0x60, 0, 0);
    PUT(&wasm, 2, 11, 1, 1, 'a', 1, 'b', 3, 0x63, 0xbf, 0x84, 0x3d, 0);
    PUT(&wasm, 4, 10, 1, 0x40, 0, 0x63, 0, 0, 1, 0x23, 0, 0x0b);
    CHECK_STATUS(judge(&wasm, &err), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "unknown type 999999");
    free(wasm.data);
}

TEST_MAIN()
