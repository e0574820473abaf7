/*
 * tests/kvm/code/function_refs_test.c: typed function references, at every level: calls, nulls,
 * locals that are never null, a table with an initialiser, and references from the host. The module
 * is in bytes, because not every text assembler knows the proposal.
 */
#include <string.h>

#include "levels.h"

/*
 * (type 0 (func (param i32) (result i32)))           (type 3 (func (param i64) (result i32)))
 * (type 1 (func (param (ref 0) i32) (result i32)))   (type 4 (func (result funcref)))
 * (type 2 (func (param (ref null 0) i32) (result i32)))
 * (type 5 (func (param i32 i32) (result i32)))
 * (table 3 3 (ref 0) (ref.func 0)) (elem (i32.const 1) (ref 0) (ref.func 8))
 * (func 0 (export "twice") (type 0) (i32.mul (local.get 0) (i32.const 2)))
 * (func 1 (export "other") (type 3) (i32.const 7))
 * (func 2 (export "call_ref") (type 1) (call_ref 0 (local.get 1) (local.get 0)))
 * (func 3 (export "call_null") (type 2) the same
 * (func 4 (export "as_non_null") (type 2) the same with (ref.as_non_null (local.get 0))
 * (func 5 (export "br_on_null") (type 2) calls it, or returns -1
 * (func 6 (export "br_on_non_null") (type 2) calls it from a local (ref 0), or returns -2
 * (func 7 (export "table") (type 5) (call_ref 0 (local.get 1) (table.get 0 (local.get 0))))
 * (func 8 (export "plus") (type 0) (i32.add (local.get 0) (i32.const 100)))
 * (func 9 (export "indirect") (type 5) call_indirect in place of call_ref
 * (func 10, 11 (export "get_twice", "get_other") (type 4) (ref.func 0), (ref.func 1)
 */
static const uint8_t wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x23, 0x06, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x60, 0x02, 0x64, 0x00, 0x7f, 0x01, 0x7f, 0x60, 0x02, 0x63, 0x00, 0x7f, 0x01, 0x7f, 0x60, 0x01,
    0x7e, 0x01, 0x7f, 0x60, 0x00, 0x01, 0x70, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f, 0x03, 0x0d, 0x0c,
    0x00, 0x03, 0x01, 0x02, 0x02, 0x02, 0x02, 0x05, 0x00, 0x05, 0x04, 0x04, 0x04, 0x0b, 0x01, 0x40,
    0x00, 0x64, 0x00, 0x01, 0x03, 0x03, 0xd2, 0x00, 0x0b, 0x07, 0x86, 0x01, 0x0c, 0x05, 0x74, 0x77,
    0x69, 0x63, 0x65, 0x00, 0x00, 0x05, 0x6f, 0x74, 0x68, 0x65, 0x72, 0x00, 0x01, 0x08, 0x63, 0x61,
    0x6c, 0x6c, 0x5f, 0x72, 0x65, 0x66, 0x00, 0x02, 0x09, 0x63, 0x61, 0x6c, 0x6c, 0x5f, 0x6e, 0x75,
    0x6c, 0x6c, 0x00, 0x03, 0x0b, 0x61, 0x73, 0x5f, 0x6e, 0x6f, 0x6e, 0x5f, 0x6e, 0x75, 0x6c, 0x6c,
    0x00, 0x04, 0x0a, 0x62, 0x72, 0x5f, 0x6f, 0x6e, 0x5f, 0x6e, 0x75, 0x6c, 0x6c, 0x00, 0x05, 0x0e,
    0x62, 0x72, 0x5f, 0x6f, 0x6e, 0x5f, 0x6e, 0x6f, 0x6e, 0x5f, 0x6e, 0x75, 0x6c, 0x6c, 0x00, 0x06,
    0x05, 0x74, 0x61, 0x62, 0x6c, 0x65, 0x00, 0x07, 0x04, 0x70, 0x6c, 0x75, 0x73, 0x00, 0x08, 0x08,
    0x69, 0x6e, 0x64, 0x69, 0x72, 0x65, 0x63, 0x74, 0x00, 0x09, 0x09, 0x67, 0x65, 0x74, 0x5f, 0x74,
    0x77, 0x69, 0x63, 0x65, 0x00, 0x0a, 0x09, 0x67, 0x65, 0x74, 0x5f, 0x6f, 0x74, 0x68, 0x65, 0x72,
    0x00, 0x0b, 0x09, 0x0c, 0x01, 0x06, 0x00, 0x41, 0x01, 0x0b, 0x64, 0x00, 0x01, 0xd2, 0x08, 0x0b,
    0x0a, 0x7c, 0x0c, 0x07, 0x00, 0x20, 0x00, 0x41, 0x02, 0x6c, 0x0b, 0x04, 0x00, 0x41, 0x07, 0x0b,
    0x08, 0x00, 0x20, 0x01, 0x20, 0x00, 0x14, 0x00, 0x0b, 0x08, 0x00, 0x20, 0x01, 0x20, 0x00, 0x14,
    0x00, 0x0b, 0x09, 0x00, 0x20, 0x01, 0x20, 0x00, 0xd4, 0x14, 0x00, 0x0b, 0x10, 0x00, 0x02, 0x40,
    0x20, 0x01, 0x20, 0x00, 0xd5, 0x00, 0x14, 0x00, 0x0f, 0x0b, 0x41, 0x7f, 0x0b, 0x18, 0x01, 0x01,
    0x64, 0x00, 0x02, 0x64, 0x00, 0x20, 0x00, 0xd6, 0x00, 0x41, 0x7e, 0x0f, 0x0b, 0x21, 0x02, 0x20,
    0x01, 0x20, 0x02, 0x14, 0x00, 0x0b, 0x0a, 0x00, 0x20, 0x01, 0x20, 0x00, 0x25, 0x00, 0x14, 0x00,
    0x0b, 0x08, 0x00, 0x20, 0x00, 0x41, 0xe4, 0x00, 0x6a, 0x0b, 0x09, 0x00, 0x20, 0x01, 0x20, 0x00,
    0x11, 0x00, 0x00, 0x0b, 0x04, 0x00, 0xd2, 0x00, 0x0b, 0x04, 0x00, 0xd2, 0x01, 0x0b};

#define TRAPS(trap) (-1000 - (int64_t)(trap))

/* The function's result for a reference and 21; or TRAPS(). */
static int64_t call_with(struct wat_lab *lab, const char *name, struct husk_value ref) {
    const struct husk_value args[2] = {ref, value_i32(21)};
    struct husk_value result = value_i32(0);
    CHECK_OK(wat_call(lab, name, args, 2, &result, 1), lab->err);
    return lab->outcome.kind == HUSK_RETURNED ? result.of.i32 : TRAPS(lab->outcome.trap);
}

static struct husk_value get_ref(struct wat_lab *lab, const char *name) {
    struct husk_value ref;
    CHECK_OK(wat_call(lab, name, NULL, 0, &ref, 1), lab->err);
    CHECK_EQ_U64(ref.type, HUSK_FUNCREF);
    return ref;
}

static void check_calls(struct wat_lab *lab) {
    struct husk_value twice = get_ref(lab, "get_twice");
    struct husk_value null = {.type = HUSK_FUNCREF};
    static const char *const names[] = {"call_ref", "call_null", "as_non_null", "br_on_null",
                                        "br_on_non_null"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK_EQ_I64(call_with(lab, names[i], twice), 42);
    CHECK_EQ_I64(call_with(lab, "call_null", null), TRAPS(HUSK_TRAP_NULL_FUNCTION_REFERENCE));
    CHECK_EQ_I64(call_with(lab, "as_non_null", null), TRAPS(HUSK_TRAP_NULL_REFERENCE));
    CHECK_EQ_I64(call_with(lab, "br_on_null", null), -1);
    CHECK_EQ_I64(call_with(lab, "br_on_non_null", null), -2);
}

/* The host sees a funcref. What it passes may be null or of another type: the call traps. */
static void check_host_refs(struct wat_lab *lab) {
    struct husk_value other = get_ref(lab, "get_other");
    struct husk_value null = {.type = HUSK_FUNCREF};
    CHECK_EQ_I64(call_with(lab, "call_ref", null), TRAPS(HUSK_TRAP_NULL_FUNCTION_REFERENCE));
    CHECK_EQ_I64(call_with(lab, "call_ref", other), TRAPS(HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH));
    CHECK_EQ_I64(call_with(lab, "br_on_null", other), TRAPS(HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH));
    struct husk_value number = value_i32(0);
    const struct husk_value args[2] = {number, number};
    CHECK_STATUS(wat_call(lab, "call_ref", args, 2, &number, 1), HUSK_E_TYPE);
}

/* Entry 1 is from the segment, the others from the table's initialiser. */
static void check_table(struct wat_lab *lab) {
    static const char *const names[] = {"table", "indirect"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK_EQ_I64(level_call(lab, names[i], (const int32_t[]){0, 5}), 10);
        CHECK_EQ_I64(level_call(lab, names[i], (const int32_t[]){1, 5}), 105);
        CHECK_EQ_I64(level_call(lab, names[i], (const int32_t[]){2, 5}), 10);
        (void)level_call(lab, names[i], (const int32_t[]){3, 5});
        CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_U64(lab->outcome.trap,
                     i == 0 ? HUSK_TRAP_TABLE_OUT_OF_BOUNDS : HUSK_TRAP_UNDEFINED_ELEMENT);
    }
}

TEST(typed_function_references_work_at_every_level) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, sizeof wasm);
        check_calls(&lab);
        check_host_refs(&lab);
        check_table(&lab);
        level_restore(&lab);
        check_table(&lab);
        level_close(&lab);
    }
    wat_lab_close(&lab);
}

TEST_MAIN()
