/*
 * husk_call_bytes() with a module whose memory has 64-bit addresses: pointers and sizes are i64,
 * blocks may lie above 4 GiB, and a guest may answer with any number.
 */
#include <stdlib.h>
#include <string.h>

#include "wat.h"

/* Blocks are never used twice; `live` counts them. The heap begins above 4 GiB. */
#define HEAP                                                                                       \
    "(module (memory (export \"memory\") i64 65538)"                                               \
    "(global $top (mut i64) (i64.const 0x100000010))"                                              \
    "(global $live (export \"live\") (mut i32) (i32.const 0))"                                     \
    "(func $new (param $n i64) (result i64)"                                                       \
    "  (global.set $live (i32.add (global.get $live) (i32.const 1)))"                              \
    "  (global.get $top)"                                                                          \
    "  (global.set $top (i64.add (global.get $top) (i64.add (local.get $n) (i64.const 16)))))"     \
    "(func $gone (param i64)"                                                                      \
    "  (if (i64.lt_u (local.get 0) (i64.const 0x100000010)) (then unreachable))"                   \
    "  (global.set $live (i32.sub (global.get $live) (i32.const 1))))"                             \
    "(func $copy (param $p i64) (param $n i64) (result i64) (local $q i64)"                        \
    "  (local.set $q (call $new (local.get $n)))"                                                  \
    "  (memory.copy (local.get $q) (local.get $p) (local.get $n)) local.get $q)"
#define MALLOC "(func (export \"malloc\") (param i64) (result i64) (call $new (local.get 0)))"
#define FREE                                                                                       \
    "(func (export \"free\") (param i64) (if (i64.ne (local.get 0) (i64.const 0))"                 \
    "  (then (call $gone (local.get 0)))))"
#define REALLOC                                                                                    \
    "(func (export \"cabi_realloc\") (param i64 i64 i64 i64) (result i64)"                         \
    "  (call $new (local.get 3)))"
#define TWO                                                                                        \
    "(func (export \"two\") (param i64 i64) (result i64 i64)"                                      \
    "  (call $copy (local.get 0) (local.get 1)) (local.get 1))"
#define PAIR                                                                                       \
    "(func (export \"pair\") (param i64 i64) (result i64)"                                         \
    "  (i64.store (i64.const 64) (call $copy (local.get 0) (local.get 1)))"                        \
    "  (i64.store (i64.const 72) (local.get 1)) (i64.const 64))"
#define LIES                                                                                       \
    "(func (export \"far\") (param i64 i64) (result i64 i64) (i64.const -8) (i64.const 16))"       \
    "(func (export \"long\") (param i64 i64) (result i64 i64) (i64.const 8) (i64.const -4))"       \
    "(func (export \"lost\") (param i64 i64) (result i64) (i64.const -8))"                         \
    "(func (export \"narrow\") (param i32 i32) (result i64) (i64.const 8))"

static void check_copies(struct wat_lab *lab, const char *name, int32_t live) {
    struct husk_bytes bytes;
    struct husk_value count;
    CHECK_OK(wat_call_bytes(lab, name, "eleven byte", 11, &bytes), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s", lab->outcome.message);
    CHECK(bytes.output_count == 11 && memcmp(bytes.output, "eleven byte", 12) == 0);
    free(bytes.output);
    CHECK_OK(husk_global_get(lab->sandbox, "live", 0, &count, &lab->err), lab->err);
    CHECK_EQ_I64(count.of.i32, live);
}

TEST(blocks_above_4_gib) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, HEAP MALLOC FREE TWO PAIR ")", NULL);
    check_copies(&lab, "two", 0);
    check_copies(&lab, "pair", 0);
    wat_lab_close(&lab);
    wat_lab_init(&lab);
    wat_lab_open(&lab, HEAP REALLOC TWO ")", NULL);
    check_copies(&lab, "two", 4); /* the input, the result, and the result shrunk twice */
    wat_lab_close(&lab);
}

static void check_lie(struct wat_lab *lab, const char *name, int status, const char *message) {
    struct husk_bytes bytes;
    CHECK_EQ_I64(wat_call_bytes(lab, name, "x", 1, &bytes), status);
    CHECK_CONTAINS(lab->err.message, message);
}

TEST(a_guest_that_lies_is_found_out) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, HEAP MALLOC FREE LIES ")", NULL);
    check_lie(&lab, "far", HUSK_E_GUEST,
              "16 bytes at address 18446744073709551608, is outside of the guest's memory");
    check_lie(&lab, "long", HUSK_E_GUEST, "18446744073709551612 bytes at address 8, is outside");
    check_lie(&lab, "lost", HUSK_E_GUEST, "at address 18446744073709551608, which is outside");
    check_lie(&lab, "narrow", HUSK_E_TYPE,
              "expected (i64, i64) -> i64 or (i64, i64), because the memory has i64 addresses");
    wat_lab_close(&lab);
    wat_lab_init(&lab);
    wat_lab_open(&lab,
                 "(module (memory (export \"memory\") i64 1)"
                 " (func (export \"malloc\") (param i32) (result i32) (i32.const 8))"
                 " (func (export \"two\") (param i64 i64) (result i64 i64) local.get 0"
                 " local.get 1))",
                 NULL);
    check_lie(&lab, "two", HUSK_E_NOT_FOUND, "nor malloc(i64) -> i64");
    wat_lab_close(&lab);
}

TEST_MAIN()
