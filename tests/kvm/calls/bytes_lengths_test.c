/*
 * husk_call_bytes() copies short input and output itself, and reads structs of its own size where
 * they are: every length comes back as it was, and structs of other sizes are still told apart.
 */
#include <stdlib.h>
#include <string.h>

#include "wat.h"

#define LENGTH_MAX 1100u
#define MARK 0x5a

/* "turn" gives a copy of its input in another place, with every bit turned. */
static const char module[] =
    "(module (memory (export \"memory\") 1)"
    "(global $next (mut i32) (i32.const 1024)) (global $freed (export \"freed\") (mut i32)"
    " (i32.const 0))"
    "(func $malloc (export \"malloc\") (param $n i32) (result i32)"
    "  (global.set $next (i32.add (i32.const 1024) (i32.and (i32.const 0x3fff)"
    "   (i32.add (global.get $next) (i32.const 1301))))) (global.get $next))"
    "(func (export \"free\") (param i32)"
    "  (global.set $freed (i32.add (global.get $freed) (i32.const 1))))"
    "(func (export \"turn\") (param $p i32) (param $n i32) (result i64) (local $q i32) (local $i "
    "i32)"
    "  (local.set $q (call $malloc (local.get $n)))"
    "  (block $end (loop $next (br_if $end (i32.eq (local.get $i) (local.get $n)))"
    "    (i32.store8 (i32.add (local.get $q) (local.get $i)) (i32.xor (i32.const 255)"
    "      (i32.load8_u (i32.add (local.get $p) (local.get $i)))))"
    "    (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $next)))"
    "  (i64.or (i64.extend_i32_u (local.get $q))"
    "    (i64.shl (i64.extend_i32_u (local.get $n)) (i64.const 32)))))";

static void open_lab(struct wat_lab *lab, husk_func *ret_turn) {
    wat_lab_init(lab);
    wat_lab_open(lab, module, NULL);
    CHECK_OK(husk_image_func(lab->image, "turn", 0, ret_turn, &lab->err), lab->err);
}

static void check_length(struct wat_lab *lab, husk_func turn, size_t count) {
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    uint8_t *input = malloc(count + 1); /* so that a sanitizer sees what is read beyond it */
    CHECK(input != NULL);
    for (size_t i = 0; i < count; i++)
        input[i] = (uint8_t)(7 * i + count);
    call.func = turn;
    bytes.input = input;
    bytes.input_count = count;
    CHECK_OK(husk_call_bytes(lab->sandbox, &call, &bytes, &lab->outcome, &lab->err), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(bytes.output_count, count);
    const uint8_t *output = bytes.output;
    for (size_t i = 0; i < count; i++)
        CHECK_EQ_U64(output[i], (uint8_t)~input[i]);
    CHECK_EQ_U64(output[count], 0);
    free(bytes.output);
    free(input);
}

TEST(every_length_comes_back) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func turn;
    open_lab(&lab, &turn);
    for (size_t count = 0; count <= LENGTH_MAX; count++)
        check_length(&lab, turn, count);
    wat_lab_close(&lab);
}

/* Of an older or a later husk.h. */
struct later {
    struct husk_bytes bytes;
    uint64_t more;
};

static int call_with(struct wat_lab *lab, husk_func turn, struct husk_bytes *bytes) {
    struct husk_call call = HUSK_CALL_INIT;
    call.func = turn;
    bytes->input = "abc";
    bytes->input_count = 3;
    bytes->output = NULL;
    return husk_call_bytes(lab->sandbox, &call, bytes, &lab->outcome, &lab->err);
}

static void check_answer(struct wat_lab *lab, husk_func turn, struct husk_bytes *bytes) {
    CHECK_OK(call_with(lab, turn, bytes), lab->err);
    CHECK_EQ_U64(bytes->output_count, 3);
    CHECK_MEM(bytes->output, "\x9e\x9d\x9c", 3);
    free(bytes->output);
}

static int64_t freed_of(struct wat_lab *lab) {
    struct husk_value value;
    CHECK_OK(husk_global_get(lab->sandbox, "freed", 0, &value, &lab->err), lab->err);
    return value.of.i32;
}

TEST(structs_of_other_versions) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct later later = {.bytes = HUSK_BYTES_INIT};
    husk_func turn;
    open_lab(&lab, &turn);
    later.bytes.size = sizeof later;
    check_answer(&lab, turn, &later.bytes);
    later.more = 1;
    CHECK_STATUS(call_with(&lab, turn, &later.bytes), HUSK_E_INVAL);
    later.bytes.keeps = true; /* an older struct ends before it */
    later.bytes.size = offsetof(struct husk_bytes, keeps);
    const int64_t freed = freed_of(&lab);
    check_answer(&lab, turn, &later.bytes);
    CHECK_EQ_I64(freed_of(&lab), freed + 2);
    wat_lab_close(&lab);
}

TEST(reserved_bytes_must_be_zero) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func turn;
    open_lab(&lab, &turn);
    for (size_t i = 0; i < sizeof((struct husk_bytes){0}.reserved); i++) {
        struct husk_bytes bytes = HUSK_BYTES_INIT;
        bytes.reserved[i] = MARK;
        CHECK_STATUS(call_with(&lab, turn, &bytes), HUSK_E_INVAL);
        CHECK_CONTAINS(lab.err.message, "reserved");
        CHECK(bytes.output == NULL);
    }
    wat_lab_close(&lab);
}

TEST_MAIN()
