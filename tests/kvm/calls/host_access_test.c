/*
 * tests/kvm/calls/host_access_test.c: the embedder reads, writes and grows guest memory and tables,
 * between calls and in host functions, as modules of emscripten need it.
 */
#include <pthread.h>
#include <string.h>

#include "wat.h"
#include "literals.h"

static const char access_wat[] =
    "(module (import \"env\" \"resize\" (func $resize (param i32) (result i32)))"
    " (memory $a (export \"memory\") 1 10) (memory $b 1 2)"
    " (table $t (export \"t\") 2 8 funcref) (table $u (export \"u\") 1 externref)"
    " (func (export \"grow\") (param i32) (result i32)"
    "  (drop (call $resize (local.get 0))) (memory.size $a))"
    " (func (export \"size\") (param i32) (result i32) (memory.size $a))"
    " (func (export \"load\") (param i32) (result i32) (i32.load $a (local.get 0)))"
    " (func (export \"loadb\") (param i32) (result i32) (i32.load $b (local.get 0)))"
    " (func (export \"entries\") (param i32) (result i32) (table.size $t))"
    " (func (export \"spin\") (loop br 0)))";

/* env.resize(bytes): emscripten_resize_heap(). */
static int resize(husk_caller *caller, void *user, const struct husk_value *args,
                  struct husk_value *results) {
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    struct husk_error *err = user;
    const uint64_t have = husk_memory_bytes(sandbox, 0), want = (uint32_t)args[0].of.i32;
    if (want <= have)
        return 0;
    results[0].of.i32 = husk_memory_grow(sandbox, 0, (want - have + 65535) / 65536, NULL, err) == 0;
    return 0;
}

static void open_lab(struct wat_lab *lab, const struct husk_sandbox_options *options) {
    wat_lab_init(lab);
    wat_lab_func(lab, "resize", "i>i", resize, &lab->err);
    wat_lab_open(lab, access_wat, options);
}

TEST(copies_are_checked) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    static const uint64_t far[][2] = {{65536, 1},      {65533, 4},         {0, 65537},
                                      {UINT64_MAX, 1}, {UINT64_MAX, 0},    {1, UINT64_MAX},
                                      {1ull << 32, 0}, {4, UINT64_MAX - 3}};
    struct husk_range range = {65532, 4, 0}, empty = {65536, 0, 0}, second = {8, 4, 1};
    uint32_t number = 0x01020304, back = 0;
    open_lab(&lab, NULL);
    CHECK_OK(husk_memory_write(lab.sandbox, &range, &number, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "load", 65532), 0x01020304);
    CHECK_OK(husk_memory_read(lab.sandbox, &range, &back, &lab.err), lab.err);
    CHECK_EQ_U64(back, number);
    CHECK_OK(husk_memory_write(lab.sandbox, &second, &number, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "loadb", 8), 0x01020304);
    CHECK_OK(husk_memory_read(lab.sandbox, &empty, NULL, &lab.err), lab.err);
    CHECK_OK(husk_memory_write(lab.sandbox, &empty, NULL, &lab.err), lab.err);
    for (size_t i = 0; i < sizeof far / sizeof far[0]; i++) {
        struct husk_range beyond = {far[i][0], far[i][1], 0};
        back = 7;
        CHECK_STATUS(husk_memory_read(lab.sandbox, &beyond, &back, &lab.err), HUSK_E_LIMIT);
        CHECK_STATUS(husk_memory_write(lab.sandbox, &beyond, &back, &lab.err), HUSK_E_LIMIT);
        CHECK_EQ_U64(back, 7);
    }
    range.mem_idx = 2;
    CHECK_STATUS(husk_memory_read(lab.sandbox, &range, &back, &lab.err), HUSK_E_LIMIT);
    range.mem_idx = 0;
    CHECK_STATUS(husk_memory_read(lab.sandbox, &range, NULL, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_memory_read(lab.sandbox, NULL, &back, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_memory_write(NULL, &range, &back, &lab.err), HUSK_E_INVAL);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_STATUS(husk_memory_read(lab.sandbox, &range, &back, &lab.err), HUSK_E_STATE);
    CHECK_STATUS(husk_memory_write(lab.sandbox, &range, &back, &lab.err), HUSK_E_STATE);
    wat_lab_close(&lab);
}

static void *write_there(void *user) {
    husk_sandbox *sandbox = user;
    const struct husk_range range = {4096, 4, 0};
    const uint32_t number = 9;
    return (void *)(intptr_t)husk_memory_write(sandbox, &range, &number, NULL);
}

/* A restore finds the writes of any thread. */
TEST(restores_undo_writes_and_growth) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    open_lab(&lab, NULL);
    for (int round = 0; round < 20; round++) {
        pthread_t thread;
        void *status = NULL;
        struct husk_value null = {.type = HUSK_EXTERNREF, .of.ref = 77};
        CHECK_EQ_I64(wat_call_i32(&lab, "load", 4096), 0);
        CHECK(pthread_create(&thread, NULL, write_there, lab.sandbox) == 0);
        CHECK(pthread_join(thread, &status) == 0 && status == NULL);
        CHECK_OK(husk_memory_grow(lab.sandbox, 0, 1, NULL, &lab.err), lab.err);
        CHECK_OK(husk_table_grow(lab.sandbox, 0, 2, NULL, &lab.err), lab.err);
        CHECK_OK(husk_table_set(lab.sandbox, 1, 0, &null, &lab.err), lab.err);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", 4096), 9);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_OK(husk_table_get(lab.sandbox, 1, 0, &null, &lab.err), lab.err);
        CHECK_EQ_U64(null.of.ref, 0);
        CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), 65536);
        CHECK_EQ_U64(husk_table_size(lab.sandbox, 0), 2);
    }
    wat_lab_close(&lab);
}

TEST(a_host_function_grows_memory) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_value size = value_i32(0), want = value_i32(131072);
    open_lab(&lab, NULL);
    CHECK_OK(wat_call(&lab, "grow", &want, 1, &size, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(size.of.i32, 2);
    CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), 131072);
    CHECK_EQ_I64(wat_call_i32(&lab, "load", 131068), 0);
    want = value_i32(11 * 65536); /* the module's maximum is 10 */
    CHECK_OK(wat_call(&lab, "grow", &want, 1, &size, 1), lab.err);
    CHECK_EQ_I64(size.of.i32, 2);
    CHECK_CONTAINS(lab.err.message, "can have 10");
    wat_lab_close(&lab);
}

TEST(growth_keeps_to_the_limits) {
    SKIP_WITHOUT_COMPILER();
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    struct wat_lab lab;
    uint64_t old = 99;
    void *span;
    options.memory_max_bytes = 5 * 65536; /* both memories together */
    options.table_max_entries = 6;
    open_lab(&lab, &options);
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = 65536), &span, &lab.err), lab.err);
    CHECK_OK(husk_memory_grow(lab.sandbox, 0, 2, &old, &lab.err), lab.err);
    CHECK_EQ_U64(old, 1);
    memset(span, 1, 65536);
    CHECK_EQ_I64(wat_call_i32(&lab, "load", 65532), 0x01010101);
    CHECK_EQ_I64(wat_call_i32(&lab, "size", 0), 3);
    old = 99;
    CHECK_STATUS(husk_memory_grow(lab.sandbox, 0, 2, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_CONTAINS(lab.err.message, "memory_max_bytes");
    CHECK_STATUS(husk_memory_grow(lab.sandbox, 0, UINT64_MAX, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_memory_grow(lab.sandbox, 0, 1ull << 48, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_memory_grow(lab.sandbox, 2, 0, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_EQ_U64(old, 99);
    CHECK_OK(husk_memory_grow(lab.sandbox, 1, 1, &old, &lab.err), lab.err);
    CHECK_OK(husk_memory_grow(lab.sandbox, 1, 0, &old, &lab.err), lab.err);
    CHECK_EQ_U64(old, 2);

    CHECK_OK(husk_table_grow(lab.sandbox, 0, 3, &old, &lab.err), lab.err);
    CHECK_EQ_U64(old, 2);
    CHECK_EQ_U64(husk_table_size(lab.sandbox, 0), 5);
    CHECK_EQ_I64(wat_call_i32(&lab, "entries", 0), 5);
    old = 99;
    CHECK_STATUS(husk_table_grow(lab.sandbox, 0, 1, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_CONTAINS(lab.err.message, "table_max_entries");
    CHECK_STATUS(husk_table_grow(lab.sandbox, 0, 4, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_table_grow(lab.sandbox, 0, UINT64_MAX, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_table_grow(lab.sandbox, 9, 0, &old, &lab.err), HUSK_E_LIMIT);
    CHECK_EQ_U64(old, 99);
    wat_lab_close(&lab);
}

/* After a cut-off the embedder may only read. */
TEST(poisoned_sandboxes_are_read_only) {
    SKIP_WITHOUT_COMPILER();
    struct husk_limits options = HUSK_LIMITS_INIT;
    const struct husk_range range = {0, 4, 0};
    struct wat_lab lab;
    struct husk_value value;
    uint32_t number;
    open_lab(&lab, NULL);
    /* on a slow machine the limit may pass before the guest runs */
    for (options.wall_ns = 1000000; !lab.outcome.is_poisoned; options.wall_ns *= 2)
        CHECK_OK(husk_call(lab.sandbox, CALL(.name = "spin", .limits = &options), &lab.outcome,
                           &lab.err),
                 lab.err);
    CHECK_OK(husk_memory_read(lab.sandbox, &range, &number, &lab.err), lab.err);
    CHECK_STATUS(husk_memory_grow(lab.sandbox, 0, 1, NULL, &lab.err), HUSK_E_POISONED);
    CHECK_STATUS(husk_table_grow(lab.sandbox, 0, 1, NULL, &lab.err), HUSK_E_POISONED);
    CHECK_STATUS(husk_table_get(lab.sandbox, 0, 0, &value, &lab.err), HUSK_E_POISONED);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_OK(husk_memory_grow(lab.sandbox, 0, 1, NULL, &lab.err), lab.err);
    wat_lab_close(&lab);
}

TEST(tables_are_found_and_checked) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_value value, number = value_i64(5), handle = {.type = HUSK_EXTERNREF, .of.ref = 42};
    uint32_t t = 9, u = 9;
    open_lab(&lab, NULL);
    CHECK_OK(husk_image_table(lab.image, "t", 1, &t, &lab.err), lab.err);
    CHECK_OK(husk_image_table(lab.image, "u", 1, &u, &lab.err), lab.err);
    CHECK_EQ_U64(t, 0);
    CHECK_EQ_U64(u, 1);
    CHECK_STATUS(husk_image_table(lab.image, "size", 4, &t, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(husk_image_table(lab.image, "t\0", 2, &t, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_OK(husk_table_set(lab.sandbox, u, 0, &handle, &lab.err), lab.err);
    CHECK_OK(husk_table_get(lab.sandbox, u, 0, &value, &lab.err), lab.err);
    CHECK_EQ_U64(value.type, HUSK_EXTERNREF);
    CHECK_EQ_U64(value.of.ref, 42);
    CHECK_STATUS(husk_table_set(lab.sandbox, t, 0, &handle, &lab.err), HUSK_E_TYPE);
    CHECK_STATUS(husk_table_set(lab.sandbox, u, 0, &number, &lab.err), HUSK_E_TYPE);
    CHECK_STATUS(husk_table_set(lab.sandbox, u, 1, &handle, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_table_get(lab.sandbox, u, UINT64_MAX, &value, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_table_get(lab.sandbox, u, 1ull << 61, &value, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_table_get(lab.sandbox, 2, 0, &value, &lab.err), HUSK_E_LIMIT);
    CHECK_EQ_U64(husk_table_size(lab.sandbox, 2), 0);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_EQ_U64(husk_table_size(lab.sandbox, t), 0);
    CHECK_STATUS(husk_table_get(lab.sandbox, u, 0, &value, &lab.err), HUSK_E_STATE);
    wat_lab_close(&lab);
}

TEST_MAIN()
