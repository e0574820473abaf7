/*
 * tests/kvm/code/loops_test.c: loops whose counter is narrower than their addresses, at every
 * level. LLVM's vectoriser assumes that neither wraps, and must check both
 * (compiler/lower/lower_widths.c).
 *
 * In each iteration, a loop adds 1 to the next byte of a zeroed memory, at p + DESTINATION. It ends
 * when p is $m or its condition is false. So the sum of the bytes is the number of iterations,
 * which follows from the condition. For example, a byte is never 300, so (i & 255) < 300 is always
 * true.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "levels.h"
#include "wat.h"

enum { WAT_MAX = 100000 };

struct loop {
    const char *name;
    const char *type;  /* of $i and $n */
    const char *step;  /* new value of $i */
    const char *go_on; /* i32: another iteration */
    int64_t n;
    int32_t m;
    int32_t iterations;
};

#define I_PLUS(type, number) "(" type ".add (local.get $i) (" type ".const " #number "))"
#define ADD1 I_PLUS("i32", 1)
#define N_ABOVE(value) "(i32.gt_u (local.get $n) " value ")"
#define N_ABOVE_SIGNED(value) "(i32.gt_s (local.get $n) " value ")"
#define N64_ABOVE(value) "(i64.gt_u (local.get $n) " value ")"
#define MASKED(mask) "(i32.and (local.get $i) (i32.const " #mask "))"
#define MASKED64(mask) "(i64.and (local.get $i) (i64.const " #mask "))"

static const struct loop loops[] = {
    {"mask_8", "i32", ADD1, N_ABOVE(MASKED(255)), 300, 5000, 5000},
    {"mask_8_ends", "i32", ADD1, N_ABOVE(MASKED(255)), 200, 5000, 200},
    {"mask_8_all", "i32", ADD1, N_ABOVE(MASKED(255)), 255, 5000, 255},
    {"mask_8_never", "i32", ADD1, N_ABOVE(MASKED(255)), 256, 5000, 5000},
    {"mask_8_large", "i32", ADD1, N_ABOVE(MASKED(255)), -1, 5000, 5000},
    {"mask_5", "i32", ADD1, N_ABOVE(MASKED(31)), 40, 5000, 5000},
    {"mask_12", "i32", ADD1, N_ABOVE(MASKED(4095)), 4500, 5000, 5000},
    {"mask_16", "i32", ADD1, N_ABOVE(MASKED(65535)), 66000, 69000, 69000},
    {"mask_16_ends", "i32", ADD1, N_ABOVE(MASKED(65535)), 65535, 69000, 65535},
    {"mask_15_signed", "i32", ADD1, N_ABOVE_SIGNED(MASKED(32767)), 40000, 69000, 69000},
    {"mask_not_low", "i32", ADD1, N_ABOVE(MASKED(0xfc)), 300, 5000, 5000},
    {"mask_not_low_ends", "i32", ADD1, N_ABOVE(MASKED(0xfc)), 101, 5000, 104},
    {"not_equal", "i32", ADD1, "(i32.ne (local.get $n) " MASKED(255) ")", 300, 5000, 5000},
    {"extend8", "i32", ADD1, N_ABOVE_SIGNED("(i32.extend8_s (local.get $i))"), 300, 5000, 5000},
    {"extend8_ends", "i32", ADD1, N_ABOVE_SIGNED("(i32.extend8_s (local.get $i))"), 127, 5000, 127},
    {"extend16", "i32", ADD1, N_ABOVE_SIGNED("(i32.extend16_s (local.get $i))"), 40000, 60000,
     60000},
    {"shifts_signed", "i32", ADD1,
     N_ABOVE_SIGNED("(i32.shr_s (i32.shl (local.get $i) (i32.const 20)) (i32.const 20))"), 3000,
     5000, 5000},
    {"shifts_unsigned", "i32", ADD1,
     N_ABOVE("(i32.shr_u (i32.shl (local.get $i) (i32.const 24)) (i32.const 24))"), 300, 5000,
     5000},
    {"remainder", "i32", ADD1, N_ABOVE("(i32.rem_u (local.get $i) (i32.const 256))"), 300, 5000,
     5000},
    {"remainder_100", "i32", ADD1, N_ABOVE("(i32.rem_u (local.get $i) (i32.const 100))"), 300, 5000,
     5000},
    {"kept_narrow", "i32", "(i32.and " ADD1 " (i32.const 255))", N_ABOVE("(local.get $i)"), 300,
     5000, 5000},
    {"kept_narrow_signed", "i32", "(i32.extend8_s " ADD1 ")", N_ABOVE_SIGNED("(local.get $i)"), 300,
     5000, 5000},
    {"down", "i32", I_PLUS("i32", -1), N_ABOVE(MASKED(255)), 300, 5000, 5000},
    {"down_ends", "i32", I_PLUS("i32", -1), "(i32.lt_u (local.get $n) " MASKED(255) ")", 56, 5000,
     200},
    {"by_three", "i32", I_PLUS("i32", 3), N_ABOVE(MASKED(255)), 300, 5000, 5000},
    {"by_three_ends", "i32", I_PLUS("i32", 3), N_ABOVE(MASKED(255)), 255, 5000, 85},
    {"two_counters", "i32", ADD1,
     "(i32.and " N_ABOVE(MASKED(255))
         N_ABOVE("(i32.and (i32.add (local.get $i) (local.get $i)) (i32.const 127))") ")",
     300, 5000, 5000},
    {"of_64_bits", "i64", I_PLUS("i64", 1), N64_ABOVE(MASKED64(255)), 300, 5000, 5000},
    {"of_64_bits_to_8", "i64", I_PLUS("i64", 1),
     "(i64.gt_s (local.get $n) (i64.extend8_s (local.get $i)))", 300, 5000, 5000},
    {"of_64_bits_to_16", "i64", I_PLUS("i64", 1),
     "(i64.gt_s (local.get $n) (i64.extend16_s (local.get $i)))", 40000, 60000, 60000},
    {"of_64_bits_wrapped", "i64", I_PLUS("i64", 1),
     "(i32.gt_u (i32.wrap_i64 (local.get $n)) (i32.and (i32.wrap_i64 (local.get $i)) (i32.const "
     "255)))",
     300, 5000, 5000},
    {"of_64_bits_by_much", "i64", I_PLUS("i64", 0x40000001),
     N64_ABOVE("(i64.extend_i32_u (i32.wrap_i64 (local.get $i)))"), 0x100000000, 5000, 5000},
    {"of_64_bits_to_40", "i64", I_PLUS("i64", 0x4000000001), N64_ABOVE(MASKED64(0xffffffffff)),
     0x10000000000, 5000, 5000},
};

#define DESTINATION 82176
#define LOOPS_COUNT (sizeof loops / sizeof loops[0])

/* Two functions of each loop: $m and the condition in a branch each, and both in one. */
static char *loops_wat(void) {
    char *wat = malloc(WAT_MAX);
    CHECK(wat != NULL);
    size_t used = (size_t)snprintf(wat, WAT_MAX, "(module (memory 4)");
    for (size_t i = 0; i < 2 * LOOPS_COUNT; i++) {
        const struct loop *loop = &loops[i / 2];
        const char *first = i % 2 == 0 ? "(br_if 1 (i32.eq (local.get $p) (local.get $m)))" : "";
        const char *joined =
            i % 2 == 0 ? "(i32.const 1)" : "(i32.lt_u (local.get $p) (local.get $m))";
        used += (size_t)snprintf(
            wat + used, WAT_MAX - used,
            "(func (export \"%s%s\") (param $n %s) (param $m i32) (result i32)"
            " (local $i %s) (local $p i32) (local $sum i32)"
            " (block (loop (i32.store8 (i32.add (local.get $p) (i32.const %d))"
            "   (i32.add (i32.load8_u (i32.add (local.get $p) (i32.const 16))) (i32.const 1)))"
            "  (local.set $p (i32.add (local.get $p) (i32.const 1)))"
            "  (local.set $i %s) %s (br_if 0 (i32.and %s %s))))"
            " (local.set $p (i32.const %d))"
            " (loop (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $p))))"
            "  (i32.store8 (local.get $p) (i32.const 0))"
            "  (br_if 0 (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const "
            "262144))))"
            " (local.get $sum))\n",
            loop->name, i % 2 == 0 ? "" : "_joined", loop->type, loop->type, DESTINATION,
            loop->step, first, joined, loop->go_on, DESTINATION);
        CHECK(used < WAT_MAX - 100);
    }
    strcpy(wat + used, ")");
    return wat;
}

static void loop_check(struct wat_lab *lab, const struct loop *loop, bool is_joined, int level) {
    struct husk_value args[2] = {loop->type[1] == '3' ? value_i32((int32_t)loop->n)
                                                      : value_i64(loop->n),
                                 value_i32(loop->m)};
    struct husk_value result = value_i32(0);
    char name[64];
    snprintf(name, sizeof name, "%s%s", loop->name, is_joined ? "_joined" : "");
    CHECK_OK(wat_call(lab, name, args, 2, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s at -O%d: %s", name, level,
              lab->outcome.message);
    CHECK_MSG(result.of.i32 == loop->iterations, "%s at -O%d: %d iterations instead of %d", name,
              level, result.of.i32, loop->iterations);
}

TEST(a_narrow_counter_ends_the_loop_where_it_says) {
    SKIP_WITHOUT_LEVELS();
    char *wat = loops_wat();
    for (int level = 0; level < LEVELS_COUNT; level++) {
        struct wat_lab lab;
        level_lab_open(&lab, &levels[level], wat);
        for (size_t i = 0; i < 2 * LOOPS_COUNT; i++)
            loop_check(&lab, &loops[i / 2], i % 2 != 0, level);
        wat_lab_close(&lab);
    }
    free(wat);
}

/* 256 bytes of 1 are read again and again: what lies behind them is 100. */
TEST(a_narrow_counter_in_an_address_wraps) {
    SKIP_WITHOUT_LEVELS();
    static const char wat[] =
        "(module (memory 4) (func (export \"f\") (param $m i32) (result i32)"
        " (local $i i32) (local $p i32) (local $sum i32)"
        " (memory.fill (i32.const 1024) (i32.const 1) (i32.const 256))"
        " (memory.fill (i32.const 1280) (i32.const 100) (i32.const 60000))"
        " (loop (i32.store8 (i32.add (local.get $p) (i32.const 82176))"
        "   (i32.load8_u (i32.add (i32.and (local.get $i) (i32.const 255)) (i32.const 1024))))"
        "  (local.set $p (i32.add (local.get $p) (i32.const 1)))"
        "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"
        "  (br_if 0 (i32.lt_u (local.get $p) (local.get $m))))"
        " (loop (local.set $sum (i32.add (local.get $sum)"
        "   (i32.load8_u (i32.add (local.tee $p (i32.sub (local.get $p) (i32.const 1))) (i32.const "
        "82176)))))"
        "  (br_if 0 (local.get $p)))"
        " (local.get $sum)))";
    for (int level = 0; level < LEVELS_COUNT; level++) {
        struct wat_lab lab;
        level_lab_open(&lab, &levels[level], wat);
        CHECK_EQ_I64(wat_call_i32(&lab, "f", 5000), 5000);
        CHECK_EQ_I64(wat_call_i32(&lab, "f", 257), 257);
        wat_lab_close(&lab);
    }
}
TEST_MAIN()
