/*
 * tests/kvm/code/touches_test.c: loads whose value the next instruction drops, at every level
 * (compiler/lower/lower_touch.c). They trap where other loads do, also after memory.grow, and are
 * prefetches otherwise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "wat_text.h"

static const struct {
    const char *name;
    uint32_t width;
} loads[] = {{"i32.load", 4},     {"i64.load", 8},     {"f32.load", 4},     {"f64.load", 8},
             {"i32.load8_s", 1},  {"i32.load8_u", 1},  {"i32.load16_s", 2}, {"i32.load16_u", 2},
             {"i64.load8_s", 1},  {"i64.load8_u", 1},  {"i64.load16_s", 2}, {"i64.load16_u", 2},
             {"i64.load32_s", 4}, {"i64.load32_u", 4}, {"v128.load", 16}};
static const uint32_t offsets[] = {0, 1, 65535, 0x1000000, 0xffffffff};
#define COUNT(list) (sizeof list / sizeof list[0])

/* Each function adds 1 to $steps before the load, and 65536 after it. */
static uint8_t *touches_wasm(size_t *ret_count) {
    struct wat_text text = wat_text_new();
    wat_text_format(&text, "(module (memory 1 3) (global $steps (mut i32) (i32.const 0))"
                           " (func (export \"grow\") (result i32) (memory.grow (i32.const 1)))\n"
                           " (func (export \"steps\") (result i32) (global.get $steps)"
                           "  (global.set $steps (i32.const 0)))\n");
    for (size_t i = 0; i < COUNT(loads); i++)
        for (size_t k = 0; k < COUNT(offsets); k++)
            wat_text_format(&text,
                            " (func (export \"f%zu_%zu\") (param $p i32)"
                            " (global.set $steps (i32.add (global.get $steps) (i32.const 1)))"
                            " (drop (%s offset=%u (local.get $p)))"
                            " (global.set $steps (i32.add (global.get $steps)"
                            " (i32.const 65536))))\n",
                            i, k, loads[i].name, offsets[k]);
    wat_text_format(&text, ")");
    return wat_text_finish(&text, ret_count);
}

static void touch_check(struct wat_lab *lab, const struct level *level, size_t load, size_t k,
                        uint32_t index, uint64_t memory_bytes) {
    char name[24];
    const int32_t argument = (int32_t)index;
    const bool is_outside = (uint64_t)index + offsets[k] + loads[load].width > memory_bytes;
    snprintf(name, sizeof name, "f%zu_%zu", load, k);
    level_call(lab, name, &argument);
    CHECK_MSG((lab->outcome.kind == HUSK_TRAPPED) == is_outside,
              "%s: %s offset=%u (0x%x) of %llu: %s", level->name, loads[load].name, offsets[k],
              index, (unsigned long long)memory_bytes, lab->outcome.message);
    if (is_outside) {
        CHECK_EQ_U64(lab->outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        CHECK_EQ_U64(lab->outcome.state_is_exact, level->is_exact);
    }
    const int64_t steps = level_call(lab, "steps", NULL);
    if (level->is_exact || !is_outside)
        CHECK_EQ_I64(steps, is_outside ? 1 : 65537);
}

static void edges_check(struct wat_lab *lab, const struct level *level, uint64_t memory_bytes) {
    static const uint32_t others[] = {0, 65535, 0x7fffffff, 0xffff0000, 0xfffffff0, 0xffffffff};
    for (size_t load = 0; load < COUNT(loads); load++)
        for (size_t k = 0; k < COUNT(offsets); k++) {
            const uint32_t last = (uint32_t)memory_bytes - offsets[k] - loads[load].width;
            touch_check(lab, level, load, k, last, memory_bytes);
            touch_check(lab, level, load, k, last + 1, memory_bytes);
            for (size_t i = 0; i < COUNT(others); i++)
                touch_check(lab, level, load, k, others[i], memory_bytes);
        }
}

TEST(a_dropped_load_traps_where_others_do) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = touches_wasm(&count);
    wat_lab_init(&lab);
    for (int level = 0; level < LEVELS_COUNT; level++) {
        level_open(&lab, &levels[level], wasm, count);
        edges_check(&lab, &levels[level], 65536);
        CHECK_EQ_I64(level_call(&lab, "grow", NULL), 1);
        edges_check(&lab, &levels[level], 131072);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* The size is read anew after a growth between two rounds, and after one in a function called. */
TEST(the_size_is_todays) {
    SKIP_WITHOUT_LEVELS();
    static const char wat[] =
        "(module (memory 1) (func $more (drop (memory.grow (i32.const 1))))"
        " (func (export \"up\") (param $p i32) (param $how i32) (result i32) (local $n i32)"
        "  (loop"
        "   (if (local.get $how) (then"
        "    (if (i32.eq (local.get $how) (i32.const 1))"
        "     (then (drop (memory.grow (i32.const 1)))) (else (call $more)))))"
        "   (drop (i32.load8_u (local.get $p))) (drop (i32.load8_u offset=1 (local.get $p)))"
        "   (local.set $p (i32.add (local.get $p) (i32.const 65536)))"
        "   (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))"
        "    (i32.const 4))))"
        "  (memory.size)))";
    static const struct {
        int32_t args[2];
        int64_t pages; /* 0: it traps */
    } calls[] = {{{65536, 0}, 0},  {{0, 0}, 0},      {{131070, 1}, 5},
                 {{131070, 2}, 5}, {{131071, 1}, 0}, {{131071, 2}, 0}};
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(&lab);
    for (int level = 0; level < LEVELS_COUNT; level++) {
        level_open(&lab, &levels[level], wasm, count);
        for (size_t i = 0; i < COUNT(calls); i++) {
            const int64_t pages = level_call(&lab, "up", calls[i].args);
            CHECK_MSG(pages == calls[i].pages, "%s: call %zu: %lld pages: %s", levels[level].name,
                      i, (long long)pages, lab.outcome.message);
            level_restore(&lab);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* prefetcht0 is 0f 18 /1. */
static int prefetches_count(void *user, const void *bytes, size_t count) {
    size_t *found = user;
    const uint8_t *at = bytes;
    for (size_t i = 0; i + 2 < count; i++)
        *found += at[i] == 0x0f && at[i + 1] == 0x18 && (at[i + 2] >> 3 & 7) == 1;
    return 0;
}

TEST(a_dropped_load_is_a_prefetch) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0, base = 0;
    uint8_t *wasm = touches_wasm(&count);
    wat_lab_init(&lab);
    for (int level = 0; level < LEVELS_COUNT; level++) {
        const bool has_prefetches = !levels[level].is_exact;
        size_t found = 0;
        level_open(&lab, &levels[level], wasm, count);
        CHECK_OK(husk_image_save_to(lab.image, prefetches_count, &found, &lab.err), lab.err);
        if (level == 0)
            base = found; /* those of other code, and chance */
        const size_t wanted = has_prefetches ? (COUNT(loads) - 1) * COUNT(offsets) : 0;
        CHECK_MSG(found >= wanted && (has_prefetches || found <= base + 8), "%s: %zu prefetches",
                  levels[level].name, found);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
