/* tests/kvm/calls/limits_test.c: memory, table and stack limits of sandboxes, and invalid
 * options. */
#include <string.h>

#include "last_backtrace.h"
#include "wat.h"

static const char wat[] =
    "(module (memory 1) (memory $b 1 3) (table $t 2 funcref) (table $u 3 5 externref)"
    "(func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"
    "(func (export \"growb\") (param i32) (result i32) (memory.grow $b (local.get 0)))"
    "(func (export \"tgrow\") (param i32) (result i32) (table.grow $t (ref.null func) (local.get "
    "0)))"
    "(func (export \"ugrow\") (param i32) (result i32) (table.grow $u (ref.null extern) (local.get "
    "0)))"
    "(func (export \"read\") (param i32) (result i32) (i32.load (local.get 0)))"
    "(func (export \"readb\") (param i32) (result i32) (i32.load $b (local.get 0)))"
    "(func (export \"fill\") (param i32) (result i32) (i32.store (local.get 0) (i32.const -1)) "
    "(i32.load "
    "(local.get 0)))"
    "(func (export \"get\") (param i32) (result i32) (ref.is_null (table.get $t (local.get 0))))"
    "(func $depth (export \"depth\") (param i32) (result i32)"
    "  (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))"
    "  (i32.add (i32.const 1) (call $depth (i32.sub (local.get 0) (i32.const 1))))))";

TEST(memories_share_one_limit) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = 10 * 65536 + 5; /* 10 pages in all */
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, &options);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 9), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 6), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "growb", 3), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "growb", 2), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "growb", 0), 3);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 0x7fffffff), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", -1), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "readb", 3 * 65536 - 4), 0);
    CHECK_EQ_I64(wat_call_i32(&lab, "fill", 7 * 65536 - 4), -1);
    struct husk_value arg = value_i32(7 * 65536 - 3), result;
    CHECK_OK(wat_call(&lab, "read", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    wat_lab_close(&lab);
}

/* Growth in many steps: new pages are zero, old ones keep what they hold. */
TEST(growing_step_by_step) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    for (int pages = 1; pages < 400; pages += pages < 10 ? 1 : 13) {
        CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), (uint64_t)pages * 65536);
        CHECK_EQ_I64(wat_call_i32(&lab, "read", pages * 65536 - 4), 0);
        CHECK_EQ_I64(wat_call_i32(&lab, "fill", pages * 65536 - 4), -1);
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", pages < 10 ? 1 : 13), pages);
        CHECK_EQ_I64(wat_call_i32(&lab, "read", pages * 65536 - 4), -1);
        CHECK_EQ_I64(wat_call_i32(&lab, "read", pages * 65536), 0);
    }
    /* and nearly to the end of what 32 bits can address (image_note.c says why not to the end) */
    int64_t pages = (int64_t)(husk_memory_bytes(lab.sandbox, 0) / 65536);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", (int32_t)(65536 - pages)), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", (int32_t)(65535 - pages)), pages);
    CHECK_EQ_I64(wat_call_i32(&lab, "fill", -65536 - 4), -1);
    struct husk_value last = value_i32(-65536 - 3), result;
    CHECK_OK(wat_call(&lab, "read", &last, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), -1);
    wat_lab_close(&lab);
}

TEST(tables_share_one_limit) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.table_max_entries = 2000;
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, &options);
    CHECK_EQ_I64(wat_call_i32(&lab, "tgrow", 1996), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "tgrow", 1994), 2);
    CHECK_EQ_I64(wat_call_i32(&lab, "get", 1995), 1);
    CHECK_EQ_I64(wat_call_i32(&lab, "ugrow", 2), -1);
    CHECK_EQ_I64(wat_call_i32(&lab, "ugrow", 1), 3);
    struct husk_value arg = value_i32(1996), result;
    CHECK_OK(wat_call(&lab, "get", &arg, 1, &result, 1), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_TABLE_OUT_OF_BOUNDS);
    wat_lab_close(&lab);
}

TEST(stacks_of_any_size) {
    SKIP_WITHOUT_COMPILER();
    static const uint64_t sizes[] = {16384, 20000, 65536, 1 << 20, 64 << 20};
    int64_t last = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct wat_lab lab;
        struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
        options.stack_bytes = sizes[i];
        wat_lab_init(&lab);
        wat_lab_open(&lab, wat, &options);
        CHECK_EQ_I64(wat_call_i32(&lab, "depth", 100), 100);
        struct husk_value arg = value_i32(100000000), result;
        CHECK_OK(wat_call(&lab, "depth", &arg, 1, &result, 1), lab.err);
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_CALL_STACK_EXHAUSTED);
        const uint32_t frames_total = last_backtrace(lab.sandbox).frames_total;
        CHECK(frames_total > last);
        CHECK(frames_total <= 100000); /* as many as are counted */
        last = frames_total < 60000 ? frames_total : 59999;
        CHECK_EQ_I64(wat_call_i32(&lab, "depth", 100), 100);
        wat_lab_close(&lab);
    }
}

TEST(what_does_not_fit_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    static const struct {
        struct husk_sandbox_options options;
        int status;
        const char *part;
    } rows[] = {
        {{.size = sizeof rows[0].options, .memory_max_bytes = 65536 * 2 - 1},
         HUSK_E_LIMIT,
         "memory_max_bytes"},
        {{.size = sizeof rows[0].options, .table_max_entries = 4},
         HUSK_E_LIMIT,
         "table_max_entries"},
        {{.size = sizeof rows[0].options, .stack_bytes = 16383}, HUSK_E_INVAL, "stack_bytes"},
        {{.size = sizeof rows[0].options, .stack_bytes = (64 << 20) + 1},
         HUSK_E_INVAL,
         "stack_bytes"},
        {{.size = sizeof rows[0].options, .host_call_depth_max = 100000},
         HUSK_E_INVAL,
         "host_call_depth_max"},
        {{.size = 0}, HUSK_E_INVAL, "size"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        husk_sandbox *sandbox = NULL;
        CHECK_STATUS(husk_sandbox_new(lab.image, NULL, &rows[i].options, &sandbox, &lab.err),
                     rows[i].status);
        CHECK_CONTAINS(lab.err.message, rows[i].part);
        CHECK(sandbox == NULL);
    }
    wat_lab_close(&lab);
}

TEST_MAIN()
