/*
 * A sandbox remembers the functions that a husk_call_bytes() by husk_func needs. The next call must
 * not use those of another function, of another name, or of other machine code.
 */
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "wat.h"

/* "f" and "g" are one function, and only "g" has a cabi_post_. "h" gives one byte less. */
static const char module[] =
    "(module (memory (export \"memory\") 2) (global $freed (export \"freed\") (mut i32) (i32.const "
    "0)) (global $posted (export \"posted\") (mut i32) (i32.const 0))"
    "(func (export \"malloc\") (param i32) (result i32) (i32.const 1024))"
    "(func (export \"free\") (param i32)"
    "  (global.set $freed (i32.add (global.get $freed) (i32.const 1))))"
    "(func (export \"cabi_post_g\") (param i64)"
    "  (global.set $posted (i32.add (global.get $posted) (i32.const 1))))"
    "(func $f (export \"f\") (export \"g\") (param $p i32) (param $n i32) (result i64)"
    "  (i64.or (i64.extend_i32_u (local.get $p))"
    "    (i64.shl (i64.extend_i32_u (local.get $n)) (i64.const 32))))"
    "(func (export \"h\") (param $p i32) (param $n i32) (result i64)"
    "  (call $f (local.get $p) (i32.sub (local.get $n) (i32.const 1)))))";

static void check_call(struct wat_lab *lab, const char *name, husk_func func, uint64_t expected) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    call.name = name;
    call.func = func;
    bytes.input = "abcde";
    bytes.input_count = 5;
    CHECK_OK(husk_call_bytes(lab->sandbox, &call, &bytes, &lab->outcome, &lab->err), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(bytes.output_count, expected);
    CHECK_MEM(bytes.output, "abcde", expected);
    free(bytes.output);
}

static void check_frees(struct wat_lab *lab, int32_t freed, int32_t posted) {
    struct husk_value value;
    CHECK_OK(husk_global_get(lab->sandbox, "freed", 0, &value, &lab->err), lab->err);
    CHECK_EQ_I64(value.of.i32, freed);
    CHECK_OK(husk_global_get(lab->sandbox, "posted", 0, &value, &lab->err), lab->err);
    CHECK_EQ_I64(value.of.i32, posted);
}

TEST(functions_and_names_in_turns) {
    SKIP_WITHOUT_COMPILER();
    const husk_func none = {{0, 0}};
    struct wat_lab lab;
    husk_func f, h;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    CHECK_OK(husk_image_func(lab.image, "f", 0, &f, &lab.err), lab.err);
    CHECK_OK(husk_image_func(lab.image, "h", 0, &h, &lab.err), lab.err);
    for (int32_t i = 1; i <= 3; i++) {
        check_call(&lab, NULL, f, 5);
        check_call(&lab, NULL, h, 4);
        check_call(&lab, NULL, f, 5);
        check_call(&lab, "g", none, 5);
        check_frees(&lab, 3 * i, i);
    }
    wat_lab_close(&lab);
}

TEST(a_func_of_no_module_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, module, NULL);
    CHECK_EQ_I64(husk_call_bytes(lab.sandbox, &call, &bytes, &lab.outcome, &lab.err), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

TEST(the_module_in_other_machine_code) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    husk_func f;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(module, &count);
    wat_lab_init(&lab);
    level_open(&lab, &levels[0], wasm, count);
    struct wat_lab other = lab;
    level_open(&other, &levels[2], wasm, count);
    free(wasm);
    CHECK_OK(husk_image_func(lab.image, "f", 0, &f, &lab.err), lab.err);
    for (int i = 0; i < 4; i++) {
        husk_image *image = i % 2 == 0 ? other.image : lab.image;
        check_call(&lab, NULL, f, 5);
        check_call(&lab, NULL, f, 5);
        CHECK_OK(husk_sandbox_load(lab.sandbox, image, lab.imports, &lab.err), lab.err);
        check_call(&lab, NULL, f, 5);
        check_frees(&lab, 1, 0);
    }
    level_close(&other);
    wat_lab_close(&lab);
}

TEST_MAIN()
