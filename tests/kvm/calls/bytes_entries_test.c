/*
 * How often husk_call_bytes() enters the guest, by the size of input and output.
 */
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "wat.h"

/* Its blocks are never used again. "fill" gives as many bytes as the first four bytes of the input
 * say, all of them like the input's last one. */
#define WIDE(FREES)                                                                                \
    "(module (memory (export \"memory\") 64 400) (global $top (mut i32) (i32.const 1024))"         \
    "(global $freed (export \"freed\") (mut i32) (i32.const 0))"                                   \
    "(func $new (export \"malloc\") (param i32) (result i32)"                                      \
    "  (global.set $top (i32.add (global.get $top) (local.get 0)))"                                \
    "  (i32.sub (global.get $top) (local.get 0)))" FREES                                           \
    "(func (export \"fill\") (param $p i32) (param $n i32) (result i64) (local $q i32)"            \
    "  (local.set $q (call $new (i32.load (local.get $p))))"                                       \
    "  (memory.fill (local.get $q)"                                                                \
    "    (i32.load8_u (i32.sub (i32.add (local.get $p) (local.get $n)) (i32.const 1)))"            \
    "    (i32.load (local.get $p)))"                                                               \
    "  (i64.or (i64.extend_i32_u (local.get $q))"                                                  \
    "    (i64.shl (i64.extend_i32_u (i32.load (local.get $p))) (i64.const 32)))))"
#define WIDE_FREE                                                                                  \
    "(func (export \"free\") (param i32)"                                                          \
    "  (global.set $freed (i32.add (global.get $freed) (i32.const 1))))"
#define WIDE_POST                                                                                  \
    "(func (export \"cabi_post_fill\") (param i64)"                                                \
    "  (global.set $freed (i32.add (global.get $freed) (i32.const 1))))"

static uint64_t entries_filling(struct wat_lab *lab, uint32_t input_count, uint32_t output_count) {
    static uint8_t input[100000];
    struct husk_bytes bytes;
    memset(input, 1 + (int)(input_count + output_count) % 250, sizeof input);
    memcpy(input, &output_count, sizeof output_count);
    entries_count(lab->sandbox);
    CHECK_OK(wat_call_bytes(lab, "fill", input, input_count, &bytes), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(bytes.output_count, output_count);
    const uint8_t *output = bytes.output;
    for (uint32_t i = 0; i < output_count; i++)
        CHECK(output[i] == input[input_count - 1]);
    CHECK(output[output_count] == 0);
    free(bytes.output);
    return entries_made;
}

/* How many entries each size takes: what has room in the exchange, and one byte more. */
static void entries_by_size(enum calls_way way, const char *wat, int64_t freed,
                            const uint64_t entries_expected[4]) {
    const uint32_t room = 65280;
    const uint32_t sizes[4][2] = {{room, room}, {room + 1, room}, {room, room + 1}, {90000, 90000}};
    struct wat_lab lab;
    struct husk_value value;
    wat_lab_init(&lab);
    wat_lab_open(&lab, wat, NULL);
    image_set_way(lab.image, way);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ_U64(entries_filling(&lab, sizes[i][0], sizes[i][1]), entries_expected[i]);
        CHECK_OK(husk_global_get(lab.sandbox, "freed", 0, &value, &lab.err), lab.err);
        CHECK_EQ_I64(value.of.i32, freed * (i + 1));
    }
    CHECK_EQ_U64(entries_filling(&lab, 5, 0), entries_expected[0]);
    wat_lab_close(&lab);
}

TEST(entries_by_the_size_of_input_and_output) {
    SKIP_WITHOUT_COMPILER();
    entries_by_size(WAY_ROUTINE, WIDE(WIDE_FREE), 2, (const uint64_t[]){1, 2, 2, 3});
    entries_by_size(WAY_ROUTINE, WIDE(WIDE_POST), 1, (const uint64_t[]){1, 2, 2, 3});
    entries_by_size(WAY_ROUTINE, WIDE(""), 0, (const uint64_t[]){1, 2, 1, 2});
    entries_by_size(WAY_SINGLE, WIDE(WIDE_FREE), 2, (const uint64_t[]){4, 4, 4, 4});
    entries_by_size(WAY_SINGLE, WIDE(WIDE_POST), 1, (const uint64_t[]){3, 3, 3, 3});
    entries_by_size(WAY_SINGLE, WIDE(""), 0, (const uint64_t[]){2, 2, 2, 2});
}

TEST_MAIN()
