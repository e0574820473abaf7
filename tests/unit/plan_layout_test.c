/*
 * The plan of the data region: addresses, static items, reserves and limits. Modules are made as
 * structs, not as bytes.
 */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "layout.h"

#define EXPR(...)                                                                                  \
    {                                                                                              \
        .data = (const uint8_t[]){__VA_ARGS__, 0x0b},                                              \
        .count = sizeof((const uint8_t[]){__VA_ARGS__, 0x0b})                                      \
    }
#define I32(n) EXPR(0x41, n)

static struct program *program; /* of the plan in hand */

static struct plan *plan_of(const struct wasm_module *module) {
    struct plan *plan = NULL;
    struct husk_error err;
    CHECK_OK(program_from_module(module, &program, &err), err);
    CHECK_OK(plan_new(program, &plan, &err), err);
    return plan;
}

static void plan_done(struct plan *plan) {
    plan_free(plan);
    program_free(program);
}

static struct wasm_table table(uint64_t min, uint64_t max, bool has_max) {
    return (struct wasm_table){.limits = {.min = min, .max = max, .has_max = has_max},
                               .elem_type = WASM_FUNCREF};
}

TEST(everything_has_a_place_of_its_own) {
    struct wasm_global globals[3] = {{.type = WASM_I32, .init = I32(1)},
                                     {.type = WASM_I32, .init = I32(2)},
                                     {.type = WASM_I32, .init = I32(3)}};
    struct wasm_memory memories[2] = {{.limits = {.min = 1}}, {.limits = {.min = 2}}};
    struct wasm_table tables[3] = {table(10, 10, true), table(3, 0, false), table(5, 7, true)};
    struct wasm_elem elems[1] = {
        {.mode = WASM_SEGMENT_PASSIVE, .count = 6, .func_idxs = (const uint32_t[6]){0}}};
    struct wasm_data datas[1] = {{.mode = WASM_SEGMENT_PASSIVE}};
    struct wasm_module module = {.globals = globals,
                                 .globals_count = 3,
                                 .memories = memories,
                                 .memories_count = 2,
                                 .tables = tables,
                                 .tables_count = 3,
                                 .elems = elems,
                                 .elems_count = 1,
                                 .datas = datas,
                                 .datas_count = 1};
    struct plan *plan = plan_of(&module);
    CHECK_EQ_U64(plan->global_gva[0], HUSK_DATA_GVA);
    CHECK_EQ_U64(plan->global_gva[2], HUSK_DATA_GVA + 32);
    CHECK_EQ_U64(plan->mem_size_gva[1], plan->mem_size_gva[0] + 8);
    CHECK(plan->tables[0].size_gva > plan->mem_size_gva[1]);
    CHECK(plan->elems[0].base_gva > plan->datas[0].size_gva);
    CHECK(plan->elems[0].base_gva + 6 * 8 <= plan->tables[0].base_gva);
    CHECK(plan->tables[0].base_gva + 10 * 8 <= plan->fixed_end_gva);
    CHECK_EQ_U64(plan->tables[0].reserve_entries, 10);
    for (int i = 1; i < 3; i++) {
        CHECK(plan->tables[i].base_gva >= plan->fixed_end_gva);
        CHECK_EQ_U64(plan->tables[i].base_gva % HUSK_PAGE_SIZE, 0);
    }
    CHECK_EQ_U64(plan->tables[2].reserve_entries, 7);
    CHECK(plan->tables[1].reserve_entries > 1000000);
    CHECK(plan->tables[2].base_gva >=
          plan->tables[1].base_gva + 8ull * plan->tables[1].reserve_entries);
    CHECK(plan->data_end_gva <= HUSK_DATA_END_GVA);
    CHECK(!plan->needs_init);
    plan_done(plan);
}

TEST(constants_are_evaluated) {
    struct wasm_global globals[6] = {
        {.type = WASM_I32, .is_import = true},
        /* (5 - 3) * -1 */
        {.type = WASM_I32, .init = EXPR(0x41, 0x05, 0x41, 0x03, 0x6b, 0x41, 0x7f, 0x6c)},
        {.type = WASM_I64, .init = EXPR(0x42, 0x7f, 0x42, 0x02, 0x7c)}, /* -1 + 2 */
        {.type = WASM_I32, .init = EXPR(0x23, 0x01)},                   /* global 1 */
        {.type = WASM_I32, .init = EXPR(0x23, 0x00)},                   /* the imported one */
        {.type = WASM_FUNCREF, .init = EXPR(0xd2, 0x07)},               /* ref.func 7 */
    };
    struct wasm_module module = {
        .globals = globals, .globals_count = 6, .imported_globals_count = 1, .funcs_count = 8};
    struct plan *plan = plan_of(&module);
    struct plan_const value;
    CHECK(plan_const_eval(plan, &program->instances[0], globals[1].init, &value));
    CHECK_EQ_U64(value.bits, 0xfffffffe);
    CHECK(plan_const_eval(plan, &program->instances[0], globals[2].init, &value));
    CHECK_EQ_U64(value.bits, 1);
    CHECK(plan_const_eval(plan, &program->instances[0], globals[3].init, &value));
    CHECK_EQ_U64(value.bits, 0xfffffffe);
    CHECK(!plan->global_is_static[0] && plan->global_is_static[3] && !plan->global_is_static[4]);
    CHECK(!plan_const_eval(plan, &program->instances[0], globals[4].init, &value));
    CHECK(plan_const_eval(plan, &program->instances[0], globals[5].init, &value));
    CHECK(value.is_func && value.func_idx == 7);
    CHECK(plan->needs_init);
    plan_done(plan);
}

/* From the first segment that must wait on, all later ones of its kind wait; and data waits for
 * elements. */
TEST(order_of_segments_is_kept) {
    static const uint32_t func_idxs[4] = {0};
    struct wasm_table tables[1] = {table(4, 4, true)};
    struct wasm_memory memories[1] = {{.limits = {.min = 1}}};
    struct wasm_elem elems[4] = {
        {.mode = WASM_SEGMENT_ACTIVE, .offset = I32(2), .count = 2, .func_idxs = func_idxs},
        {.mode = WASM_SEGMENT_ACTIVE,
         .offset = I32(3),
         .count = 2,
         .func_idxs = func_idxs}, /* beyond the end: must trap */
        {.mode = WASM_SEGMENT_ACTIVE, .offset = I32(0), .count = 1, .func_idxs = func_idxs},
        {.mode = WASM_SEGMENT_DECLARATIVE, .count = 1, .func_idxs = func_idxs},
    };
    struct wasm_data datas[2] = {
        {.mode = WASM_SEGMENT_ACTIVE, .offset = I32(0), .bytes = {.count = 4}},
        {.mode = WASM_SEGMENT_PASSIVE, .bytes = {.count = 4}}};
    struct wasm_module module = {.tables = tables,
                                 .tables_count = 1,
                                 .memories = memories,
                                 .memories_count = 1,
                                 .elems = elems,
                                 .elems_count = 4,
                                 .datas = datas,
                                 .datas_count = 2};
    struct plan *plan = plan_of(&module);
    CHECK(plan->elems[0].is_static && !plan->elems[1].is_static && !plan->elems[2].is_static &&
          plan->elems[3].is_static);
    CHECK(!plan->datas[0].is_static && plan->datas[0].has_symbol && plan->datas[1].has_symbol);
    CHECK(plan->needs_init);
    plan_done(plan);
    module.elems_count = 1;
    plan = plan_of(&module);
    CHECK(plan->elems[0].is_static && plan->datas[0].is_static && !plan->datas[0].has_symbol);
    CHECK(!plan->needs_init);
    plan_done(plan);
}

TEST(segment_ends_are_exact) {
    struct wasm_memory memories[1] = {{.limits = {.min = 1}}};
    /* 65536 */
    struct wasm_data data = {.mode = WASM_SEGMENT_ACTIVE, .offset = EXPR(0x41, 0x80, 0x80, 0x04)};
    struct wasm_module module = {
        .memories = memories, .memories_count = 1, .datas = &data, .datas_count = 1};
    struct plan *plan = plan_of(&module);
    CHECK(plan->datas[0].is_static); /* nothing at the very end is in bounds */
    plan_done(plan);
    data.bytes.count = 1;
    plan = plan_of(&module);
    CHECK(!plan->datas[0].is_static);
    plan_done(plan);
    data.bytes.count = 0;
    data.offset = (struct wasm_bytes)I32(0x7f); /* -1: 4 GiB - 1 */
    plan = plan_of(&module);
    CHECK(!plan->datas[0].is_static);
    plan_done(plan);
}

TEST(too_much_for_the_region) {
    enum { TABLES = 70000 };
    struct wasm_table *tables = calloc(TABLES, sizeof tables[0]);
    struct plan *plan = NULL;
    struct husk_error err;
    CHECK(tables != NULL);
    for (int i = 0; i < TABLES; i++)
        tables[i] = table(1, 0, false);
    struct wasm_module module = {.tables = tables, .tables_count = TABLES};
    CHECK_OK(program_from_module(&module, &program, &err), err);
    CHECK_STATUS(plan_new(program, &plan, &err), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "70000 tables");
    CHECK(plan == NULL);
    program_free(program);
    module.tables_count = 4;
    tables[0] = table(10000000, 0, false);
    plan = plan_of(&module);
    CHECK(plan->tables[0].reserve_entries >= 10000000);
    for (int i = 1; i < 4; i++)
        CHECK(plan->tables[i].reserve_entries >= 4000000);
    plan_done(plan);
    tables[0] = table(10000001, 0, false);
    CHECK_OK(program_from_module(&module, &program, &err), err);
    CHECK_STATUS(plan_new(program, &plan, &err), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "table of 10000001 entries");
    program_free(program);
    free(tables);
    plan_free(NULL);
    program_free(NULL);
}

/* As deep as no real module's: left to the init function rather than evaluated with unbounded
 * memory. */
TEST(deep_constant_expressions_wait) {
    static uint8_t code[3000];
    size_t count = 0;
    for (int i = 0; i < 900; i++) {
        code[count++] = 0x41;
        code[count++] = 1;
    }
    for (int i = 0; i < 899; i++)
        code[count++] = 0x6a;
    code[count++] = 0x0b;
    struct wasm_global global = {.type = WASM_I32,
                                 .init = {.data = code, .count = (uint32_t)count}};
    struct wasm_module module = {.globals = &global, .globals_count = 1};
    struct plan *plan = plan_of(&module);
    CHECK(!plan->global_is_static[0] && plan->needs_init);
    plan_done(plan);
}

/* An image of gigabytes of zeros helps nobody: many segments far apart are left to the init
 * function. */
TEST(scattered_data_waits) {
    enum { DATAS = 3000 };
    static struct wasm_data datas[DATAS];
    static uint8_t exprs[DATAS][7];
    struct wasm_memory memory = {.limits = {.min = 65536}};
    struct wasm_module module = {
        .memories = &memory, .memories_count = 1, .datas = datas, .datas_count = DATAS};
    for (uint32_t spacing = 1000; spacing <= 1000000; spacing *= 1000) {
        for (uint32_t i = 0; i < DATAS; i++) {
            int64_t left = (int32_t)(i * spacing); /* i32.const as a signed LEB of five bytes */
            exprs[i][0] = 0x41;
            for (int k = 0; k < 5; k++)
                exprs[i][1 + k] = (uint8_t)((left >> 7 * k & 0x7f) | (k < 4 ? 0x80 : 0));
            exprs[i][6] = 0x0b;
            datas[i] = (struct wasm_data){.mode = WASM_SEGMENT_ACTIVE, .bytes = {.count = 1}};
            datas[i].offset = (struct wasm_bytes){.data = exprs[i], .count = 7};
        }
        struct plan *plan = plan_of(&module);
        CHECK(plan->datas[DATAS - 1].is_static == (spacing == 1000));
        CHECK(plan->needs_init == (spacing != 1000));
        plan_done(plan);
    }
}

TEST_MAIN()
