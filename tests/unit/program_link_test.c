/* Several modules become one program: what imports are, flat indices, exports, what is refused. */
#include "program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "plan.h"
#include "wat.h"

#define MODULES_MAX 4

/* A module as a test writes it. */
struct text {
    const char *name, *wat;
    struct program_alias aliases[2];
    uint32_t aliases_count;
};

static struct wasm_bytes name_of(const char *text) {
    return (struct wasm_bytes){.data = (const uint8_t *)text, .count = (uint32_t)strlen(text)};
}

struct lab {
    uint8_t *wasm[MODULES_MAX];
    struct wasm_module *modules[MODULES_MAX];
    struct program_source sources[MODULES_MAX];
    struct program *program;
    struct husk_error err;
    bool is_staged;
};

static int lab_link(struct lab *lab, const struct text *texts, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = 0;
        lab->wasm[i] = wat_to_wasm(texts[i].wat, &bytes);
        CHECK_OK(wasm_decode(lab->wasm[i], bytes, &lab->modules[i], &lab->err), lab->err);
        CHECK_OK(wasm_validate(lab->modules[i], &lab->err), lab->err);
        lab->sources[i] = (struct program_source){.module = lab->modules[i],
                                                  .name = name_of(texts[i].name),
                                                  .aliases = texts[i].aliases,
                                                  .aliases_count = texts[i].aliases_count};
    }
    const struct program_sources sources = {
        .list = lab->sources, .count = count, .is_staged = lab->is_staged};
    return program_link(&sources, &lab->program, &lab->err);
}

static void lab_done(struct lab *lab) {
    program_free(lab->program);
    for (uint32_t i = 0; i < MODULES_MAX; i++) {
        wasm_module_free(lab->modules[i]);
        free(lab->wasm[i]);
    }
}

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof(array)[0])
#define SKIP_WITHOUT_WAT()                                                                         \
    if (wat_missing(WAT_WORKER) != NULL)                                                           \
    SKIP("%s", wat_missing(WAT_WORKER))

static void check_name(struct wasm_bytes name, const char *text) {
    CHECK_EQ_U64(name.count, strlen(text));
    CHECK_MEM(name.data, text, name.count);
}

TEST(imports_are_definitions_of_others) {
    SKIP_WITHOUT_WAT();
    static const struct text texts[] = {
        {.name = "lib",
         .wat = "(module (import \"env\" \"log\" (func (param i32)))"
                " (type (func)) (type (func (param i32) (result i32)))"
                " (func (export \"f\") (type 1) local.get 0)"
                " (memory (export \"m\") 1) (global (export \"g\") (mut i32) (i32.const 7))"
                " (table (export \"t\") 4 4 funcref) (data (i32.const 0) \"x\"))"},
        {.name = "main",
         .wat = "(module (import \"env\" \"log\" (func (param i32)))"
                " (import \"lib\" \"f\" (func (param i32) (result i32)))"
                " (import \"lib\" \"m\" (memory 1)) (import \"lib\" \"g\" (global (mut i32)))"
                " (import \"lib\" \"t\" (table 2 4 funcref)) (memory (export \"memory\") 3)"
                " (func (export \"f\") (result i32) (call 1 (i32.const 1)))"
                " (data (memory 1) (i32.const 0) \"y\") (data (i32.const 4) \"z\"))"}};
    struct lab lab = {0};
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    const struct program *program = lab.program;
    const struct program_instance *lib = &program->instances[0], *main = &program->instances[1];
    CHECK_EQ_U64(program->imports_count, 2); /* one log function for each */
    CHECK_EQ_U64(program->funcs_count, 4);
    CHECK(lib->funcs[0] == 0 && main->funcs[0] == 1);
    CHECK(lib->funcs[1] == 2 && main->funcs[1] == 2 && main->funcs[2] == 3);
    CHECK(lib->types[1] != lib->types[2] && program->types_count == 4);
    CHECK_EQ_U64(program_func_type_idx(program, 2), lib->types[1]);
    /* the main memory is number 0 */
    CHECK(main->memories[1] == 0 && main->memories[0] == 1 && lib->memories[0] == 1);
    CHECK(main->memory_idx == 0 && lib->memory_idx == 1);
    CHECK(main->globals[0] == 0 && main->tables[0] == 0 && program->tables_count == 1);
    CHECK(main->datas_first == 1 && program->datas_count == 3);
    CHECK_EQ_U64(program->exports_count, 6);
    check_name(program->exports[0].name, "memory");
    check_name(program->exports[1].name, "f");
    check_name(program->exports[2].name, "lib/f");
    CHECK_EQ_U64(program->exports[2].idx, 2);
    struct plan *plan = NULL;
    CHECK_OK(plan_new(program, &plan, &lab.err), lab.err);
    CHECK(!plan->needs_init && plan->datas[1].is_static);
    plan_free(plan);
    lab_done(&lab);
}

#define MEMORY_OF(contents) "(module (memory (export \"m\") 1 4)" contents ")"
#define TWO_DATAS "(module (import \"a\" \"m\" (memory 1)) (data (i32.const 0) \"y\"))"

static bool second_data_is_static(const char *first, bool is_staged) {
    const struct text texts[] = {{.name = "a", .wat = first}, {.name = "b", .wat = TWO_DATAS}};
    struct lab lab = {.is_staged = is_staged};
    struct plan *plan = NULL;
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    CHECK_OK(plan_new(lab.program, &plan, &lab.err), lab.err);
    bool is_static = plan->datas[1].is_static;
    CHECK(plan->datas[0].is_static && plan->instance_needs_init[1] == !is_static);
    plan_free(plan);
    lab_done(&lab);
    return is_static;
}

TEST(segments_wait_for_earlier_instances) {
    SKIP_WITHOUT_WAT();
    CHECK(second_data_is_static(MEMORY_OF("(data (i32.const 0) \"x\")"), false));
    CHECK(!second_data_is_static(MEMORY_OF("(data (i32.const 0) \"x\") (func) (start 0)"), false));
    CHECK(!second_data_is_static(MEMORY_OF("(data (i32.const 0) \"x\")"), true));
}

TEST(imports_of_the_image_are_shared) {
    SKIP_WITHOUT_WAT();
    static const struct text texts[] = {
        {.name = "a",
         .wat = "(module (import \"env\" \"m\" (memory 1)) (export \"m\" (memory 0)))"},
        {.name = "b",
         .wat = "(module (import \"env\" \"m\" (memory 1)) (export \"n\" (memory 0)))"},
        {.name = "c",
         .wat = "(module (import \"b\" \"n\" (memory 1)) (import \"a\" \"m\" (memory 1)))"}};
    struct lab lab = {0};
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    CHECK(lab.program->memories_count == 1 && lab.program->imports_count == 1);
    CHECK(lab.program->instances[2].memories[0] == 0 && lab.program->instances[2].memories[1] == 0);
    lab_done(&lab);
}

/* The tag that a clause of the first try_table catches, or a throw throws; flat. */
static uint32_t first_tag(const struct program *program, uint32_t func_idx, enum wasm_op op) {
    const struct program_instance *instance = program_instance(program, program->funcs[func_idx]);
    struct wasm_reader reader;
    struct wasm_instr instr = {.op = WASM_OP_NOP};
    wasm_reader_init(&reader, program_func(program, func_idx)->code, NULL);
    while (instr.op != op)
        CHECK_EQ_I64(program_read_instr(instance, &reader, &instr), 0);
    return instr.idx;
}

TEST(tags_are_shared) {
    SKIP_WITHOUT_WAT();
    static const struct text texts[] = {
        {.name = "lib",
         .wat = "(module (import \"env\" \"t\" (tag (param i64))) (tag (param i32 i32 f32))"
                " (tag (export \"own\") (param i32)) (func (throw 2 (i32.const 1))))"},
        {.name = "main",
         .wat = "(module (type (func (param f64))) (import \"lib\" \"own\" (tag (param i32)))"
                " (import \"env\" \"t\" (tag (param i64))) (tag (type 0)) (func (throw 0 "
                "(i32.const 1)))"
                " (func (throw 1 (i64.const 1))) (func (throw 2 (f64.const 1)))"
                " (func try nop catch_all rethrow 0 end) (export \"e\" (tag 2)))"}};
    struct lab lab = {0};
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    const struct program *program = lab.program;
    CHECK(program->has_exceptions && program->tags_count == 4 && program->imports_count == 1);
    CHECK(program->imports[0].kind == WASM_KIND_TAG && program->imports[0].idx == 0);
    CHECK_EQ_U64(first_tag(program, 0, WASM_OP_THROW), 2);
    CHECK_EQ_U64(first_tag(program, 1, WASM_OP_THROW), 2);
    CHECK_EQ_U64(first_tag(program, 2, WASM_OP_THROW), 0);
    CHECK_EQ_U64(first_tag(program, 3, WASM_OP_THROW), 3);
    CHECK_EQ_U64(program_tag_type(program, 1)->params_count, 3);
    CHECK(program_tag_type(program, 3)->params[0] == WASM_F64);
    check_name(program->exports[1].name, "lib/own");
    CHECK(program->exports[0].idx == 3 && program->exports[1].idx == 2);
    struct plan *plan = NULL;
    CHECK_OK(plan_new(program, &plan, &lab.err), lab.err);
    CHECK(plan->exception_values == 3 && plan->exception_gva != 0);
    CHECK(plan->exception_gva + 64 <= plan->fixed_end_gva);
    CHECK(plan->exception_slots_gva >= plan->fixed_end_gva &&
          plan->exception_slots_gva % 4096 == 0);
    CHECK_EQ_U64(plan->data_end_gva - plan->exception_slots_gva, 4096 * 64);
    plan_free(plan);
    lab_done(&lab);
}

/* Whoever defines imports does it by name. */
TEST(a_tag_imported_twice_is_one) {
    SKIP_WITHOUT_WAT();
    static const struct text texts[] = {
        {.name = "a",
         .wat = "(module (import \"env\" \"t\" (tag)) (import \"env\" \"u\" (tag))"
                " (import \"env\" \"t\" (tag)) (tag) (func (throw 2)) (func (throw 3)))"},
        {.name = "b", .wat = "(module (import \"env\" \"t\" (tag)) (func (throw 0)))"}};
    struct lab lab = {0};
    struct program *program = NULL;
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    CHECK_EQ_U64(lab.program->imports_count, 2);
    CHECK_EQ_U64(lab.program->tags_count, 3);
    CHECK_EQ_U64(first_tag(lab.program, 0, WASM_OP_THROW), 0);
    CHECK_EQ_U64(first_tag(lab.program, 1, WASM_OP_THROW), 2);
    CHECK_EQ_U64(first_tag(lab.program, 2, WASM_OP_THROW), 0);
    CHECK_OK(program_from_module(lab.modules[0], &program, &lab.err), lab.err);
    CHECK_EQ_U64(first_tag(program, 0, WASM_OP_THROW), 0);
    CHECK_EQ_U64(first_tag(program, 1, WASM_OP_THROW), 3);
    program_free(program);
    lab_done(&lab);
}

TEST(aliases_choose_the_export) {
    SKIP_WITHOUT_WAT();
    struct text texts[] = {{.name = "env",
                            .wat = "(module (global (export \"a\") i32 (i32.const 1))"
                                   " (global (export \"b\") i32 (i32.const 2)))"},
                           {.name = "one",
                            .wat = "(module (import \"env\" \"base\" (global i32)))",
                            .aliases_count = 1},
                           {.name = "two",
                            .wat = "(module (import \"env\" \"base\" (global i32)))",
                            .aliases_count = 1}};
    texts[1].aliases[0] =
        (struct program_alias){name_of("env"), name_of("base"), name_of("env"), name_of("a")};
    texts[2].aliases[0] =
        (struct program_alias){name_of("env"), name_of("base"), name_of("env"), name_of("b")};
    struct lab lab = {0};
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    CHECK(lab.program->instances[1].globals[0] == 0 && lab.program->instances[2].globals[0] == 1);
    lab_done(&lab);
}

static void check_refused(const struct text *texts, uint32_t count, int status, const char *part) {
    struct lab lab = {0};
    CHECK_STATUS(lab_link(&lab, texts, count), status);
    CHECK_CONTAINS(lab.err.message, part);
    lab_done(&lab);
}
#define REFUSED(status, part, ...)                                                                 \
    check_refused((const struct text[]){__VA_ARGS__}, COUNT(((const struct text[]){__VA_ARGS__})), \
                  status, part)

TEST(types_must_match) {
    SKIP_WITHOUT_WAT();
#define MATCH(exports, imports, part)                                                              \
    REFUSED(HUSK_E_LINK, part, {.name = "a", .wat = "(module " exports ")"},                       \
            {.name = "b", .wat = "(module " imports ")"})
    MATCH("(func (export \"x\") (param i32))", "(import \"a\" \"x\" (func (param i64)))",
          "\"b\" imports function \"a.x\": (i64) -> (); \"a.x\" is a function: (i32) -> ()");
    MATCH("(func (export \"x\"))", "(import \"a\" \"x\" (memory 1))", "is a function");
    MATCH("(memory (export \"x\") 1)", "(import \"a\" \"x\" (memory 2))",
          "memory \"a.x\": 2 or more; \"a.x\" is a memory: 1 or more");
    MATCH("(memory (export \"x\") 1 3) (func) (start 0)", "(import \"a\" \"x\" (memory 4))",
          "is a memory: 1 to 3");
    MATCH("(memory (export \"x\") 1)", "(import \"a\" \"x\" (memory 1 2))", "1 to 2");
    MATCH("(memory (export \"x\") 1 2 shared)", "(import \"a\" \"x\" (memory 1 2))",
          "memory \"a.x\": 1 to 2; \"a.x\" is a memory: 1 to 2, shared");
    MATCH("(memory (export \"x\") 1 2)", "(import \"a\" \"x\" (memory 1 2 shared))",
          "memory \"a.x\": 1 to 2, shared; \"a.x\" is a memory: 1 to 2");
    MATCH("(table (export \"x\") 1 funcref)", "(import \"a\" \"x\" (table 1 externref))",
          "externref");
    MATCH("(tag (export \"x\") (param i32))", "(import \"a\" \"x\" (tag (param i64)))",
          "\"b\" imports tag \"a.x\": (i64); \"a.x\" is a tag: (i32)");
    MATCH("(import \"env\" \"x\" (tag (param i32)))", "(import \"env\" \"x\" (tag (param i64)))",
          "in two ways: (i32); (i64)");
    MATCH("(global (export \"x\") i32 (i32.const 0))", "(import \"a\" \"x\" (global (mut i32)))",
          "mutable i32");
    REFUSED(HUSK_E_LINK, "in two ways: 1 or more; 2 or more",
            {.name = "a", .wat = "(module (import \"env\" \"m\" (memory 1)))"},
            {.name = "b", .wat = "(module (import \"env\" \"m\" (memory 2)))"});
    REFUSED(HUSK_E_LINK, "in two ways: 1 to 2; 1 to 2, shared",
            {.name = "a", .wat = "(module (import \"env\" \"m\" (memory 1 2)))"},
            {.name = "b", .wat = "(module (import \"env\" \"m\" (memory 1 2 shared)))"});
}

TEST(a_memory_may_have_grown) {
    SKIP_WITHOUT_WAT();
    static const struct text texts[] = {
        {.name = "a",
         .wat = "(module (memory (export \"m\") 1) (func (drop (memory.grow (i32.const 1))))"
                " (start 0))"},
        {.name = "b", .wat = "(module (import \"a\" \"m\" (memory 2)))"}};
    struct lab lab = {0};
    struct plan *plan = NULL;
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    CHECK(program_memory_may_be_small(lab.program, &lab.program->instances[1], 0));
    CHECK_OK(plan_new(lab.program, &plan, &lab.err), lab.err);
    CHECK(plan->instance_needs_init[1]);
    plan_free(plan);
    lab_done(&lab);
}

/* The offset of the error is one in that module. */
TEST(the_plan_s_errors_name_the_module) {
    SKIP_WITHOUT_WAT();
    static const struct text texts[] = {{.name = "a", .wat = "(module)"},
                                        {.name = "big", .wat = "(module (table 20000000 funcref))"},
                                        {.name = "b", .wat = "(module)"}};
    struct lab lab = {0};
    struct plan *plan = NULL;
    CHECK_OK(lab_link(&lab, texts, COUNT(texts)), lab.err);
    CHECK_STATUS(plan_new(lab.program, &plan, &lab.err), HUSK_E_LIMIT);
    CHECK_CONTAINS(lab.err.message, "the module \"big\"");
    lab_done(&lab);
}

#define NOTHING "(module)"

TEST(bad_names_and_aliases) {
    SKIP_WITHOUT_WAT();
    const struct program_alias self = {name_of("a"), name_of("x"), name_of("b"), name_of("x")};
    const struct program_alias gone = {name_of("a"), name_of("x"), name_of("c"), name_of("x")};
    const struct program_alias none = {name_of("a"), name_of("x"), name_of("a"), name_of("y")};
    static const char imports[] = "(module (import \"a\" \"x\" (func)) (func (export \"x\")))";
    REFUSED(HUSK_E_INVAL, "two modules", {.name = "a", .wat = NOTHING},
            {.name = "a", .wat = NOTHING});
    REFUSED(HUSK_E_INVAL, "module 0 has the name \"\"", {.name = "", .wat = NOTHING});
    REFUSED(HUSK_E_INVAL, "module 0 has the name", {.name = "\xff", .wat = NOTHING});
    REFUSED(HUSK_E_LINK, "round in a circle", {.name = "b", .wat = imports},
            {.name = "a", .wat = imports});
    REFUSED(HUSK_E_LINK, "round in a circle",
            {.name = "b", .wat = imports, .aliases = {self}, .aliases_count = 1});
    REFUSED(HUSK_E_LINK, "no module has that name",
            {.name = "b", .wat = imports, .aliases = {gone}, .aliases_count = 1});
    REFUSED(HUSK_E_LINK, "does not export", {.name = "a", .wat = NOTHING},
            {.name = "b", .wat = imports, .aliases = {none}, .aliases_count = 1});
    REFUSED(HUSK_E_LINK, "does not import",
            {.name = "b", .wat = NOTHING, .aliases = {self}, .aliases_count = 1});
    REFUSED(HUSK_E_INVAL, "two aliases",
            {.name = "b", .wat = imports, .aliases = {self, none}, .aliases_count = 2});
    REFUSED(HUSK_E_INVAL, "two exports", {.name = "a", .wat = "(module (func (export \"b/x\")))"},
            {.name = "a/b", .wat = "(module (func (export \"x\")))"},
            {.name = "m", .wat = NOTHING});
    struct lab lab = {0};
    CHECK_STATUS(lab_link(&lab, NULL, 0), HUSK_E_INVAL);
}

TEST_MAIN()
