/*
 * tests/kvm/code/table64_test.c: tables with 64-bit indices, at every level. The official suite has
 * their instructions; here are numbers that only fit in 64 bits, and the embedder's view.
 */
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "literals.h"

/* wat2wasm knows no such tables. with_table64() changes the table's type, makes nops of
 * i32.wrap_i64 (0xa7) and i64.extend_i32_u (0xad), and of the segment's i32.const i64.const. */
static const char table64[] =
    "(module (table (export \"t\") 6 20 funcref) (type $t (func (result i64)))"
    " (func $five (type $t) (i64.const 5)) (func $six (type $t) (i64.const 6))"
    " (elem (table 0) (i32.const 1) func $five $six) (elem $passive func $six $five)"
    " (func (export \"call\") (param i64) (result i64)"
    "   (call_indirect (type $t) (i32.wrap_i64 (local.get 0))))"
    " (func (export \"is_null\") (param i64) (result i32)"
    "   (ref.is_null (table.get 0 (i32.wrap_i64 (local.get 0)))))"
    " (func (export \"set\") (param i64)"
    "   (table.set 0 (i32.wrap_i64 (local.get 0)) (ref.func $six)))"
    " (func (export \"size\") (result i64) (i64.extend_i32_u (table.size 0)))"
    " (func (export \"grow\") (param i64) (result i64)"
    "   (i64.extend_i32_u (table.grow 0 (ref.func $five) (i32.wrap_i64 (local.get 0)))))"
    " (func (export \"fill\") (param i64 i64)"
    "   (table.fill 0 (i32.wrap_i64 (local.get 0)) (ref.func $five)"
    "     (i32.wrap_i64 (local.get 1))))"
    " (func (export \"copy\") (param i64 i64 i64)"
    "   (table.copy (i32.wrap_i64 (local.get 0)) (i32.wrap_i64 (local.get 1))"
    "     (i32.wrap_i64 (local.get 2))))"
    " (func (export \"init\") (param i64 i32 i32)"
    "   (table.init $passive (i32.wrap_i64 (local.get 0)) (local.get 1) (local.get 2))))";

static void replace_once(uint8_t *wasm, size_t count, const uint8_t *before, const uint8_t *after) {
    uint8_t *place = memmem(wasm, count, before, 6);
    CHECK(place != NULL &&
          memmem(place + 1, (size_t)(wasm + count - place) - 1, before, 6) == NULL);
    memcpy(place, after, 6);
}

static uint8_t *with_table64(size_t *ret_count) {
    static const uint8_t type[2][6] = {{4, 5, 1, 0x70, 1, 6}, {4, 5, 1, 0x70, 5, 6}};
    static const uint8_t offset[2][6] = {{0, 0x41, 1, 0x0b, 2, 0}, {0, 0x42, 1, 0x0b, 2, 0}};
    uint8_t *wasm = wat_to_wasm(table64, ret_count);
    replace_once(wasm, *ret_count, type[0], type[1]);
    replace_once(wasm, *ret_count, offset[0], offset[1]);
    for (size_t i = 0; i < *ret_count; i++)
        if (wasm[i] == 0xa7 || wasm[i] == 0xad)
            wasm[i] = 1;
    return wasm;
}

static int64_t returned(struct wat_lab *lab, const char *name, int64_t a, int64_t b, int64_t c) {
    struct husk_value result = wat_call_numbers(lab, name, (const int64_t[]){a, b, c});
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.type == HUSK_I64 ? result.of.i64 : result.of.i32;
}

static void trapped(struct wat_lab *lab, enum husk_trap trap, const char *name,
                    const int64_t args[3]) {
    wat_call_numbers(lab, name, args);
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == trap,
              "%s(0x%llx, 0x%llx): %s", name, (unsigned long long)args[0],
              (unsigned long long)args[1], lab->outcome.message);
    CHECK(lab->outcome.state_is_exact);
}

static void check_indices(struct wat_lab *lab) {
    static const int64_t outside[] = {6,         7,         0x100000001, 0x2000000000000001,
                                      1ll << 61, INT64_MAX, INT64_MIN,   -1};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        const int64_t args[3] = {outside[i], 1, 0}, from[3] = {0, outside[i], 1};
        trapped(lab, HUSK_TRAP_UNDEFINED_ELEMENT, "call", args);
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "is_null", args);
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "set", args);
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "fill", args);
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "copy", from);
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "init", (const int64_t[]){outside[i], 0, 1});
    }
    CHECK_EQ_I64(returned(lab, "call", 1, 0, 0), 5);
    CHECK_EQ_I64(returned(lab, "call", 2, 0, 0), 6);
    trapped(lab, HUSK_TRAP_UNINITIALIZED_ELEMENT, "call", (const int64_t[]){3, 0, 0});
}

static void check_ranges(struct wat_lab *lab) {
    static const int64_t outside[][2] = {{1, -1}, {-1, 2},        {-1, 1},
                                         {4, -4}, {0, 1ll << 61}, {1ll << 61, 1},
                                         {0, 7},  {7, 0},         {INT64_MIN, INT64_MIN}};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        const int64_t at = outside[i][0], count = outside[i][1];
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "fill", (const int64_t[]){at, count, 0});
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "copy", (const int64_t[]){at, 0, count});
        trapped(lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS, "copy", (const int64_t[]){0, at, count});
    }
    CHECK_EQ_I64(returned(lab, "is_null", 0, 0, 0), 1); /* nothing was written */
    returned(lab, "init", 4, 0, 2);
    CHECK_EQ_I64(returned(lab, "call", 4, 0, 0), 6);
    returned(lab, "copy", 0, 4, 2);
    CHECK_EQ_I64(returned(lab, "call", 1, 0, 0), 5);
    returned(lab, "fill", 3, 3, 0);
    CHECK_EQ_I64(returned(lab, "call", 5, 0, 0), 5);
}

static void check_growth(struct wat_lab *lab) {
    static const int64_t refused[] = {15, 1ll << 32, 1ll << 61, INT64_MIN, -1, -6};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        CHECK_EQ_I64(returned(lab, "grow", refused[i], 0, 0), -1);
    CHECK_EQ_I64(returned(lab, "size", 0, 0, 0), 6);
    CHECK_EQ_I64(returned(lab, "grow", 14, 0, 0), 6);
    CHECK_EQ_I64(returned(lab, "size", 0, 0, 0), 20);
    CHECK_EQ_I64(returned(lab, "call", 19, 0, 0), 5);
}

TEST(nothing_outside_of_a_64_bit_table_is_reached) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    struct husk_extern item = HUSK_EXTERN_INIT;
    size_t count = 0;
    uint8_t *wasm = with_table64(&count);
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        CHECK_OK(husk_image_export(lab.image, 0, &item), lab.err);
        CHECK(item.kind == HUSK_EXTERN_TABLE && item.is_64 && item.max == 20);
        check_indices(&lab);
        check_ranges(&lab);
        check_growth(&lab);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
