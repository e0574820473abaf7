/*
 * tests/kvm/snapshots/snapshot_sizes_test.c: memories and tables are restored to their size in the
 * snapshot. Parts that grew later are out of bounds, and empty if they grow again. Sizes are
 * random, above and below the range of a large page-table entry, with two memories and two tables.
 * HUSK_TEST_ROUNDS sets how long.
 */
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "layout.h"
#include "state_guest.h"
#include "wat.h"

static unsigned rounds_wanted(void) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 3000;
}

/* Two memories, of which one starts without any, and two tables that grow past what one large
 * page-table entry maps. "dirt" counts the words of a memory, or the entries of a table, from one
 * on, that are not as a fresh one's. */
static const char sizes_module[] =
    "(module (memory $a 0 100) (memory $b 1 100)"
    " (table $s 0 450000 externref) (table $t 3 450000 externref)"
    " (func (export \"grow0\") (param i32) (result i32) local.get 0 memory.grow $a)"
    " (func (export \"grow1\") (param i32) (result i32) local.get 0 memory.grow $b)"
    " (func (export \"grow2\") (param i32) (result i32) ref.null extern local.get 0 table.grow $s)"
    " (func (export \"grow3\") (param i32) (result i32) ref.null extern local.get 0 table.grow $t)"
    " (func (export \"size0\") (result i32) memory.size $a) (func (export \"size1\") (result i32) "
    "memory.size $b)"
    " (func (export \"size2\") (result i32) table.size $s) (func (export \"size3\") (result i32) "
    "table.size "
    "$t)"
    " (func (export \"put0\") (param i32 i32) local.get 0 local.get 1 i32.store $a)"
    " (func (export \"put1\") (param i32 i32) local.get 0 local.get 1 i32.store $b)"
    " (func (export \"put2\") (param i32 externref) local.get 0 local.get 1 table.set $s)"
    " (func (export \"put3\") (param i32 externref) local.get 0 local.get 1 table.set $t)"
    " (func (export \"get0\") (param i32) (result i32) local.get 0 i32.load $a)"
    " (func (export \"get1\") (param i32) (result i32) local.get 0 i32.load $b)"
    " (func (export \"get2\") (param i32) (result externref) local.get 0 table.get $s)"
    " (func (export \"get3\") (param i32) (result externref) local.get 0 table.get $t)"
    " (func (export \"dirt0\") (param $at i32) (result i32) (local $n i32) (block (loop"
    "   (br_if 1 (i32.ge_u (local.get $at) (i32.shl (memory.size $a) (i32.const 16))))"
    "   (local.set $n (i32.add (local.get $n) (i32.ne (i32.load $a (local.get $at)) (i32.const "
    "0))))"
    "   (local.set $at (i32.add (local.get $at) (i32.const 4))) (br 0))) local.get $n)"
    " (func (export \"dirt1\") (param $at i32) (result i32) (local $n i32) (block (loop"
    "   (br_if 1 (i32.ge_u (local.get $at) (i32.shl (memory.size $b) (i32.const 16))))"
    "   (local.set $n (i32.add (local.get $n) (i32.ne (i32.load $b (local.get $at)) (i32.const "
    "0))))"
    "   (local.set $at (i32.add (local.get $at) (i32.const 4))) (br 0))) local.get $n)"
    " (func (export \"dirt2\") (param $at i32) (result i32) (local $n i32) (block (loop"
    "   (br_if 1 (i32.ge_u (local.get $at) (table.size $s)))"
    "   (local.set $n (i32.add (local.get $n) (i32.eqz (ref.is_null (table.get $s (local.get "
    "$at))))))"
    "   (local.set $at (i32.add (local.get $at) (i32.const 1))) (br 0))) local.get $n)"
    " (func (export \"dirt3\") (param $at i32) (result i32) (local $n i32) (block (loop"
    "   (br_if 1 (i32.ge_u (local.get $at) (table.size $t)))"
    "   (local.set $n (i32.add (local.get $n) (i32.eqz (ref.is_null (table.get $t (local.get "
    "$at))))))"
    "   (local.set $at (i32.add (local.get $at) (i32.const 1))) (br 0))) local.get $n))";

#define KINDS 4u /* memory $a, memory $b, table $s, table $t */

static const uint32_t most_of[KINDS] = {100, 100, 450000, 450000};

struct sizes_lab {
    struct wat_lab wat;
    uint64_t random;
    unsigned step;
};

/* What is known of a state: sizes, and what was put last into the last word or entry of each. */
struct sizes_state {
    uint32_t size[KINDS];
    int32_t last[KINDS];
    husk_image *image;
};

static bool is_table(unsigned kind) {
    return kind >= 2;
}

static struct husk_value value_ref(int32_t number) {
    return (struct husk_value){.type = HUSK_EXTERNREF, .of.ref = (uint32_t)number};
}

/* "grow" and 1: grow1. How it ended is in the lab; the result's bits, or -1. */
static int32_t sizes_call(struct sizes_lab *lab, const char *verb, unsigned kind,
                          struct husk_value *args, size_t args_count, bool has_result) {
    char name[16];
    struct husk_value result = {0};
    snprintf(name, sizeof name, "%s%u", verb, kind);
    CHECK_OK(wat_call(&lab->wat, name, args, args_count, &result, has_result), lab->wat.err);
    return lab->wat.outcome.kind == HUSK_RETURNED ? result.of.i32 : -1;
}

static int32_t sizes_call_i32(struct sizes_lab *lab, const char *verb, unsigned kind,
                              uint32_t argument) {
    struct husk_value arg = value_i32((int32_t)argument);
    return sizes_call(lab, verb, kind, &arg, 1, true);
}

/* Of the last word or entry; only of what is not empty. */
static uint32_t last_place(const struct sizes_state *now, unsigned kind) {
    return is_table(kind) ? now->size[kind] - 1 : now->size[kind] * HUSK_WASM_PAGE_SIZE - 4;
}

static uint32_t end_place(const struct sizes_state *now, unsigned kind) {
    return is_table(kind) ? now->size[kind] : now->size[kind] * HUSK_WASM_PAGE_SIZE;
}

static void sizes_change(struct sizes_lab *lab, struct sizes_state *now) {
    const unsigned kind = (unsigned)(state_random(&lab->random) % KINDS);
    const uint32_t step = is_table(kind) ? 150000 : 40;
    uint32_t delta = (uint32_t)(state_random(&lab->random) % step);
    if (delta > most_of[kind] - now->size[kind])
        delta = most_of[kind] - now->size[kind];
    CHECK_EQ_I64(sizes_call_i32(lab, "grow", kind, delta), now->size[kind]);
    if (delta > 0)
        now->last[kind] = 0;
    now->size[kind] += delta;
    if (now->size[kind] == 0)
        return;
    const int32_t number = 1 + (int32_t)(state_random(&lab->random) % 1000000);
    struct husk_value args[2] = {value_i32((int32_t)last_place(now, kind)),
                                 is_table(kind) ? value_ref(number) : value_i32(number)};
    sizes_call(lab, "put", kind, args, 2, false);
    CHECK_MSG(lab->wat.outcome.kind == HUSK_RETURNED, "step %u: put%u: %s", lab->step, kind,
              lab->wat.outcome.message);
    now->last[kind] = number;
}

static void sizes_check(struct sizes_lab *lab, const struct sizes_state *now) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        CHECK_EQ_I64(sizes_call(lab, "size", kind, NULL, 0, true), now->size[kind]);
        if (now->size[kind] != 0)
            CHECK_MSG(sizes_call_i32(lab, "get", kind, last_place(now, kind)) == now->last[kind],
                      "step %u: the last of %u is not %d", lab->step, kind, now->last[kind]);
        sizes_call_i32(lab, "get", kind, end_place(now, kind));
        CHECK_MSG(lab->wat.outcome.kind == HUSK_TRAPPED, "step %u: the end of %u can be read",
                  lab->step, kind);
    }
}

/* All that was ever grown, grown again: a guest that searches it finds nothing. */
static void sizes_search(struct sizes_lab *lab, const struct sizes_state *now) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        CHECK_EQ_I64(sizes_call_i32(lab, "grow", kind, most_of[kind] - now->size[kind]),
                     now->size[kind]);
        CHECK_MSG(sizes_call_i32(lab, "dirt", kind, end_place(now, kind)) == 0,
                  "step %u: what has grown anew in %u holds something", lab->step, kind);
    }
}

static void sizes_go(struct sizes_lab *lab, const struct sizes_state *to, struct sizes_state *now) {
    struct wat_lab *wat = &lab->wat;
    if (state_random(&lab->random) % 8 != 0) {
        CHECK_OK(husk_sandbox_restore(wat->sandbox, to->image, &wat->err), wat->err);
    } else {
        husk_sandbox_free(wat->sandbox);
        wat->sandbox = NULL;
        CHECK_OK(husk_sandbox_new(to->image, NULL, NULL, &wat->sandbox, &wat->err), wat->err);
    }
    *now = *to;
    sizes_check(lab, now);
}

#define STATES 8u

TEST(memories_and_tables_of_every_size) {
    SKIP_WITHOUT_COMPILER();
    struct sizes_lab lab = {.random = 31};
    struct sizes_state states[STATES] = {{.size = {0, 1, 0, 3}}}, now = states[0];
    const unsigned steps = rounds_wanted() / 10;
    wat_lab_init(&lab.wat);
    wat_lab_open(&lab.wat, sizes_module, NULL);
    states[0].image = husk_image_ref(lab.wat.image);
    for (lab.step = 0; lab.step < steps; lab.step++) {
        struct sizes_state *state = &states[state_random(&lab.random) % STATES];
        for (unsigned i = (unsigned)(state_random(&lab.random) % 4); i > 0; i--)
            sizes_change(&lab, &now);
        sizes_check(&lab, &now);
        if (state->image != NULL) {
            if (state_random(&lab.random) % 16 == 0)
                sizes_search(&lab, &now);
            sizes_go(&lab, state, &now);
        }
        if (state != &states[0] && state_random(&lab.random) % 3 == 0) {
            husk_image_unref(state->image);
            *state = now;
            CHECK_OK(husk_sandbox_snapshot(lab.wat.sandbox, &state->image, &lab.wat.err),
                     lab.wat.err);
        }
    }
    for (unsigned i = 0; i < STATES; i++)
        husk_image_unref(states[i].image);
    wat_lab_close(&lab.wat);
}

TEST_MAIN()
