/*
 * The flat program: the indices of modules become flat indices, and the plan uses those. The second
 * instance imports from the first one, and numbers everything in another order.
 */
#include "program.h"

#include <string.h>

#include "harness.h"
#include "layout.h"
#include "plan.h"

#define EXPR(...)                                                                                  \
    {                                                                                              \
        .data = (const uint8_t[]){__VA_ARGS__, 0x0b},                                              \
        .count = sizeof((const uint8_t[]){__VA_ARGS__, 0x0b})                                      \
    }

static struct wasm_functype types[2] = {{.params_count = 0},
                                        {.params_count = 1, .canonical_idx = 1}};
static struct wasm_functype turned_types[2] = {{.params_count = 1},
                                               {.params_count = 0, .canonical_idx = 1}};
static struct wasm_func funcs[2] = {{.type_idx = 0}, {.type_idx = 1}};
static struct wasm_func second_funcs[2] = {{.type_idx = 0, .is_import = true}, {.type_idx = 1}};
static struct wasm_table tables[1] = {{.limits = {.min = 4, .max = 4, .has_max = true}}};
static struct wasm_memory memories[1] = {{.limits = {.min = 1}}};
static struct wasm_memory second_memories[2] = {{.is_import = true}, {.limits = {.min = 2}}};
static struct wasm_global globals[1] = {{.type = WASM_I32, .init = EXPR(0x41, 0x07)}};
static struct wasm_global second_globals[2] = {{.type = WASM_I32, .is_import = true},
                                               {.type = WASM_I32, .init = EXPR(0x23, 0x00)}};
static const uint32_t own_func[1] = {1};
static struct wasm_elem elems[1] = {
    {.mode = WASM_SEGMENT_ACTIVE, .offset = EXPR(0x41, 0x03), .count = 1, .func_idxs = own_func}};
/* The second one's offset is its own global: 7. It fits its own memory, not the imported one. */
static struct wasm_data datas[1] = {{.mode = WASM_SEGMENT_ACTIVE, .offset = EXPR(0x41, 0x00)}};
static struct wasm_data second_datas[1] = {{.mode = WASM_SEGMENT_ACTIVE,
                                            .memory_idx = 1,
                                            .offset = EXPR(0x23, 0x01),
                                            .bytes = {.count = 100000}}};

static const struct wasm_module modules[2] = {{.types = types,
                                               .funcs = funcs,
                                               .tables = tables,
                                               .memories = memories,
                                               .globals = globals,
                                               .elems = elems,
                                               .datas = datas,
                                               .globals_count = 1,
                                               .elems_count = 1,
                                               .datas_count = 1},
                                              {.types = turned_types,
                                               .funcs = second_funcs,
                                               .tables = tables,
                                               .memories = second_memories,
                                               .globals = second_globals,
                                               .elems = elems,
                                               .datas = second_datas,
                                               .globals_count = 2,
                                               .elems_count = 1,
                                               .datas_count = 1}};

#define MAP(...)                                                                                   \
    (const uint32_t[]) {                                                                           \
        __VA_ARGS__                                                                                \
    }
static const struct program_instance instances[2] = {{.module = &modules[0],
                                                      .types = MAP(0, 1),
                                                      .funcs = MAP(0, 1),
                                                      .tables = MAP(0),
                                                      .memories = MAP(0),
                                                      .globals = MAP(0)},
                                                     {.module = &modules[1],
                                                      .types = MAP(1, 0),
                                                      .funcs = MAP(1, 2),
                                                      .tables = MAP(1),
                                                      .memories = MAP(0, 1),
                                                      .globals = MAP(0, 1),
                                                      .elems_first = 1,
                                                      .datas_first = 1}};
static const struct program_def one_each[2] = {{0, 0}, {1, 0}}; /* both define their first */
/* the second one imports its first */
static const struct program_def shared_first[2] = {{0, 0}, {1, 1}};
static const struct program program = {.instances = instances,
                                       .instances_count = 2,
                                       .types = types,
                                       .types_count = 2,
                                       .funcs =
                                           (const struct program_def[3]){{0, 0}, {0, 1}, {1, 1}},
                                       .funcs_count = 3,
                                       .tables = one_each,
                                       .tables_count = 2,
                                       .memories = shared_first,
                                       .memories_count = 2,
                                       .globals = shared_first,
                                       .globals_count = 2,
                                       .elems = one_each,
                                       .elems_count = 2,
                                       .datas = one_each,
                                       .datas_count = 2};

/* The instruction as the second instance has it. */
static struct wasm_instr read(const uint8_t *code, uint32_t count) {
    struct wasm_reader reader;
    struct wasm_instr instr;
    wasm_reader_init(&reader, (struct wasm_bytes){.data = code, .count = count}, NULL);
    CHECK_EQ_U64(program_read_instr(&instances[1], &reader, &instr), 0);
    CHECK(reader.pos == reader.end);
    return instr;
}
#define READ(...) read((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void check_indices(struct wasm_instr instr, uint32_t idx, uint32_t idx2) {
    CHECK_EQ_U64(instr.idx, idx);
    CHECK_EQ_U64(instr.idx2, idx2);
}

TEST(instructions_have_flat_indices) {
    check_indices(READ(0x10, 0), 1, 0);          /* call */
    check_indices(READ(0xd2, 1), 2, 0);          /* ref.func */
    check_indices(READ(0x11, 1, 0), 0, 1);       /* call_indirect: type, table */
    check_indices(READ(0x23, 1), 1, 0);          /* global.get */
    check_indices(READ(0x25, 0), 1, 0);          /* table.get */
    check_indices(READ(0xfc, 0x0e, 0, 0), 1, 1); /* table.copy */
    check_indices(READ(0xfc, 0x0c, 0, 0), 1, 1); /* table.init: segment, table */
    check_indices(READ(0xfc, 0x0d, 0), 1, 0);    /* elem.drop */
    check_indices(READ(0x3f, 1), 1, 0);          /* memory.size */
    check_indices(READ(0xfc, 0x0a, 1, 0), 1, 0); /* memory.copy */
    check_indices(READ(0xfc, 0x08, 0, 0), 1, 0); /* memory.init: segment, memory */
    check_indices(READ(0xfc, 0x09, 0), 1, 0);    /* data.drop */
    CHECK_EQ_U64(READ(0x28, 0x42, 1, 0).mem.memory_idx, 1);
    CHECK_EQ_U64(READ(0x02, 0).block.type_idx, 1);
    CHECK(!READ(0x02, 0x40).block.is_index);
    check_indices(READ(0x20, 1), 1, 0); /* local.get */
    check_indices(READ(0x0c, 1), 1, 0); /* br */
    struct wasm_reader reader;
    struct wasm_instr instr;
    wasm_reader_init(&reader, (struct wasm_bytes){.data = (const uint8_t *)"", .count = 0}, NULL);
    CHECK_EQ_U64(program_read_instr(&instances[1], &reader, &instr), HUSK_E_BAD_WASM);
}

TEST(flat_indices_lead_to_definitions) {
    CHECK(program_func(&program, 2) == &second_funcs[1]);
    CHECK_EQ_U64(program_func_type_idx(&program, 1), 1);
    CHECK_EQ_U64(program_func_type_idx(&program, 2), 0);
    CHECK(program_func_type(&program, 2) == &types[0]);
    CHECK(program_memory(&program, 1) == &second_memories[1]);
    CHECK(program_data(&program, 1) == &second_datas[0]);
    CHECK(program_main(&program) == &instances[1]);
    CHECK_EQ_U64(program_type_id(0), 1);
}

TEST(plan_of_two_instances) {
    struct plan *plan = NULL;
    struct plan_const value;
    struct husk_error err;
    CHECK_OK(plan_new(&program, &plan, &err), err);
    CHECK(!plan->needs_init);
    CHECK_EQ_U64(plan->global_gva[1], HUSK_DATA_GVA + 16);
    CHECK(plan_const_eval(plan, &instances[1], second_datas[0].offset, &value));
    CHECK_EQ_U64(value.bits, 7);
    CHECK(plan->elems[1].is_static && plan->datas[1].is_static);
    plan_free(plan);
    second_datas[0].memory_idx = 0; /* the first one's memory has one page */
    CHECK_OK(plan_new(&program, &plan, &err), err);
    CHECK(plan->needs_init && plan->datas[0].is_static && plan->datas[1].has_symbol);
    plan_free(plan);
    second_datas[0].memory_idx = 1;
}

TEST_MAIN()
