/*
 * tests/kvm/code/unrolled_test.c: loops that were unrolled, at every level. The compiler makes one
 * round of them again (compiler/lower/reroll.c) where that changes nothing. Here are loops where,
 * for some arguments, it would. Many more: tests/diff/gen-unrolled.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "levels.h"
#include "wat.h"

#define ADD(value, number) "(i32.add " value " (i32.const " number "))"
#define GET(name) "(local.get $" name ")"
#define SET(name, value) "(local.set $" name " " value ")"
/* Bytes 0 to 65535 of the memory are 0, 1, 2 …, modulo 251. */
#define FILLED                                                                                     \
    "(module (memory 2)"                                                                           \
    " (func (export \"fill\") (param $x i32) (result i32) (local $i i32)"                          \
    "  (loop (i32.store8 " GET("i") " (i32.rem_u " GET(                                            \
        "i") " (i32.const 251)))"                                                                  \
             "   " SET("i", ADD(GET("i"), "1")) "   (br_if 0 (i32.lt_u " GET(                      \
                 "i") " (i32.const 65536)))) (i32.const 0))"                                       \
                      " (func (export \"hash\") (param $x i32) (result i32) (local $i i32) "       \
                      "(local $h i32)"                                                             \
                      "  (loop " SET(                                                              \
                          "h",                                                                     \
                          "(i32.add (i32.mul " GET(                                                \
                              "h") " (i32.const 31))"                                              \
                                   "    (i32.load8_u " GET(                                        \
                                       "i") "))") "   " SET("i",                                   \
                                                            ADD(GET("i"),                          \
                                                                "1")) "   (br_if 0 "               \
                                                                      "(i32.lt_u " GET(            \
                                                                          "i") " ("                \
                                                                               "i32."              \
                                                                               "cons"              \
                                                                               "t "                \
                                                                               "6553"              \
                                                                               "6)))"              \
                                                                               ")"                 \
                                                                               " " GET("h") ")"

/* The same loop in C, on the same bytes. */
typedef int (*model)(uint8_t *memory, const int32_t args[3]);

static uint32_t hash_of(const uint8_t *memory) {
    uint32_t hash = 0;
    for (uint32_t i = 0; i < 65536; i++)
        hash = hash * 31 + memory[i];
    return hash;
}

static void check_call(struct wat_lab *lab, const int32_t args[3], model run, int level) {
    static uint8_t memory[65536];
    struct husk_value values[3] = {value_i32(args[0]), value_i32(args[1]), value_i32(args[2])};
    struct husk_value result = value_i32(0);
    for (uint32_t i = 0; i < sizeof memory; i++)
        memory[i] = (uint8_t)(i % 251);
    (void)wat_call_i32(lab, "fill", 0);
    CHECK_OK(wat_call(lab, "f", values, 3, &result, 1), lab->err);
    int expected = run(memory, args);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED && result.of.i32 == expected,
              "f(%d, %d, %d) at level %d: %d instead of %d", args[0], args[1], args[2], level,
              result.of.i32, expected);
    uint32_t hash = (uint32_t)wat_call_i32(lab, "hash", 0);
    CHECK_MSG(hash == hash_of(memory), "f(%d, %d, %d) at level %d: other bytes", args[0], args[1],
              args[2], level);
}

static void check_calls(const char *wat, const int32_t (*calls)[3], size_t count, model run) {
    for (int level = 0; level < LEVELS_COUNT; level++) {
        struct wat_lab lab;
        level_lab_open(&lab, &levels[level], wat);
        for (size_t i = 0; i < count; i++)
            check_call(&lab, calls[i], run, level);
        wat_lab_close(&lab);
    }
}

#define CHECK_CALLS(wat, calls, run) check_calls(wat, calls, sizeof calls / sizeof calls[0], run)

/* ---- the second round writes to a pointer that is not the first one's ---- */

static int two_pointers(uint8_t *memory, const int32_t args[3]) {
    for (int32_t i = 0; i != args[2]; i += 2) {
        memory[args[0] + 2 * i] = memory[i] ^ 1;
        memory[args[1] + 2 * i] = memory[i + 1] ^ 1;
    }
    return 0;
}

TEST(places_that_look_different) {
    SKIP_WITHOUT_LEVELS();
    static const char wat[] = FILLED
        " (func (export \"f\") (param $p i32) (param $q i32) (param $n i32) (result i32)"
        " (local $i i32)"
        " (loop (i32.store8 " GET("p") " (i32.xor (i32.load8_u " GET(
            "i") ") (i32.const 1)))"
                 "  (i32.store8 " GET("q") " (i32.xor (i32.load8_u offset=1 " GET(
                     "i") ") (i32.const 1)))"
                          "  " SET("p", ADD(GET("p"), "4")) SET("q", ADD(GET("q"), "4")) "  " SET(
                              "i",
                              ADD(GET("i"),
                                  "2")) " (br_if 0 (i32.ne " GET("i") " " GET("n") ")))"
                                                                                   " (i32.const "
                                                                                   "0)))";
    static const int32_t calls[][3] = {
        {30000, 30002, 200}, {30000, 30001, 200}, {30000, 30000, 64},
        {30000, 30003, 2},   {30002, 30000, 200}, {40, 42, 200},
        {0, 2, 100},         {1, 3, 1000},        {30000, 40000, 80}};
    CHECK_CALLS(wat, calls, two_pointers);
}

/* ---- stores that later rounds read ---- */

static int neighbours(uint8_t *memory, const int32_t args[3]) {
    uint32_t sum = 0;
    for (int32_t i = 0; i != args[2]; i++) {
        uint32_t a, b;
        memcpy(&a, memory + args[0] + 4 * i, 4);
        memcpy(&b, memory + args[0] + 4 * i + 4, 4);
        sum += a * b;
        a += b;
        memcpy(memory + args[1] + 4 * i, &a, 4);
    }
    return (int32_t)sum;
}

#define ROUND4(at)                                                                                 \
    SET("sum",                                                                                     \
        "(i32.add " GET("sum") " (i32.mul (i32.load offset=" at                                    \
                               " " GET("p") ")"                                                    \
                                            " (i32.load offset=" at " " ADD(GET("p"), "4") ")))")  \
    "(i32.store offset=" at " " GET("q") " (i32.add (i32.load offset=" at                          \
                                         " " GET("p") ")"                                          \
                                                      " (i32.load offset=" at                      \
                                                      " " ADD(GET("p"), "4") ")))"

TEST(stores_that_later_rounds_read) {
    SKIP_WITHOUT_LEVELS();
    static const char wat[] = FILLED
        " (func (export \"f\") (param $p i32) (param $q i32) (param $n i32) (result i32)"
        " (local $i i32) (local $sum i32)"
        " (loop " ROUND4("0") ROUND4("4") ROUND4("8")
            ROUND4("12") "  " SET("p", ADD(GET("p"), "16")) SET("q", ADD(GET("q"), "16")) "  " SET(
                "i",
                ADD(GET("i"), "4")) " (br_if 0 (i32.ne " GET("i") " " GET("n") ")))"
                                                                               " " GET("sum") "))";
    static const int32_t calls[][3] = {{0, 30000, 400}, {0, 0, 400},   {0, 4, 400},  {0, 8, 400},
                                       {0, 1, 400},     {0, 20, 400},  {0, 5, 4},    {8, 0, 400},
                                       {100, 97, 400},  {96, 160, 64}, {0, 7000, 8}, {3, 70, 16}};
    CHECK_CALLS(wat, calls, neighbours);
}

/* ---- an index wraps, an index plus an offset does not ---- */

/* Adds up the n bytes at p, two in an iteration. */
#define SUM_OF_BYTES(memory)                                                                       \
    "(module (memory " memory ")"                                                                  \
    " (func (export \"f\") (param $p i32) (param $n i32) (result i32)"                             \
    "  (local $i i32) (local $sum i32)"                                                            \
    "  (loop " SET("sum", "(i32.add " GET("sum") " (i32.load8_u " GET("p") "))") "   " SET(        \
        "sum", "(i32.add " GET("sum") " (i32.load8_u offset=1 " GET(                               \
                   "p") "))") "   " SET("p", ADD(GET("p"), "2"))                                   \
        SET("i", ADD(GET("i"), "2")) "   (br_if 0 (i32.ne " GET("i") " " GET("n") "))) " GET(      \
            "sum") "))"

struct end_call {
    int32_t p, n;
    bool is_trap;
};

static void check_ends(const char *wat, const struct end_call *calls, size_t count) {
    for (int level = 0; level < LEVELS_COUNT; level++) {
        struct wat_lab lab;
        level_lab_open(&lab, &levels[level], wat);
        for (size_t i = 0; i < count; i++) {
            struct husk_value values[2] = {value_i32(calls[i].p), value_i32(calls[i].n)};
            struct husk_value result = value_i32(0);
            CHECK_OK(wat_call(&lab, "f", values, 2, &result, 1), lab.err);
            CHECK_MSG(lab.outcome.kind == (calls[i].is_trap ? HUSK_TRAPPED : HUSK_RETURNED),
                      "f(%d, %d) at level %d: %s", calls[i].p, calls[i].n, level,
                      lab.outcome.message);
            if (calls[i].is_trap)
                CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        }
        wat_lab_close(&lab);
    }
}

TEST(the_end_of_a_memory) {
    SKIP_WITHOUT_LEVELS();
    static const struct end_call calls[] = {{-1, 2, true},     {-4, 8, true},    {-1, 64, true},
                                            {65534, 2, false}, {65535, 2, true}, {65535, 64, true},
                                            {0, 65536, false}, {2, 65536, true}};
    check_ends(SUM_OF_BYTES("1"), calls, sizeof calls / sizeof calls[0]);
}

/* The byte at 2^32 - 1 is there. The one behind it is not that at 0. */
TEST(the_end_of_the_largest_memory) {
    SKIP_WITHOUT_LEVELS();
    static const struct end_call calls[] = {{-2, 2, false},  {-64, 64, false}, {-64, 128, false},
                                            {-1, 2, true},   {-3, 4, true},    {-63, 128, true},
                                            {-65, 128, true}};
    check_ends(SUM_OF_BYTES("65536"), calls, sizeof calls / sizeof calls[0]);
}
TEST_MAIN()
