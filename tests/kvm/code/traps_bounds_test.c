/*
 * tests/kvm/code/traps_bounds_test.c: accesses out of bounds and stack exhaustion
 * (docs/validation.md, "Traps"). At level 0 and in strict images, each of them traps before any
 * later effect, and all earlier writes are done. In the default mode, no access reaches anything
 * outside the memory. But LLVM may drop an access whose value is not needed, or delay stores; the
 * outcome says so.
 */
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "literals.h"

/* Functions of missed_traps.wat that the default mode may miss: another trap comes first, or the
 * value is needed on another path only, or a later store replaces the first, or only some lanes are
 * read. Deliberately not the arithmetic ones (or_ones, rem_1, …): those count as unneeded. */
static const char *const may_be_missed[] = {
    "select_other",        "if_unused_path",  "loop_zero_trips", "then_div_by_zero",
    "then_unreachable",    "then_global_set", "store_twice",     "store_both_ways",
    "load_then_div_const", "f64_select",      "br_table_path",   "last_byte"};

static bool is_missable(const char *name) {
    for (size_t i = 0; i < sizeof may_be_missed / sizeof may_be_missed[0]; i++)
        if (strcmp(may_be_missed[i], name) == 0)
            return true;
    return strncmp(name, "on_condition_", 13) == 0; /* all of masked_traps.wat */
}

static bool traps_rightly(struct wat_lab *lab, const char *name) {
    struct husk_value global;
    level_call(lab, name, (const int32_t[]){0x10000, 1});
    bool is_right =
        lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == HUSK_TRAP_MEMORY_OUT_OF_BOUNDS;
    CHECK_OK(husk_global_get(lab->sandbox, "g", 0, &global, &lab->err), lab->err);
    return is_right && global.of.i32 == 0;
}

static void check_none_is_missed(const char *file, size_t expected_funcs) {
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = level_wasm(file, &count);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        size_t funcs = 0;
        for (size_t e = 0; e < husk_image_exports_count(lab.image); e++) {
            struct husk_extern item = HUSK_EXTERN_INIT;
            CHECK_OK(husk_image_export(lab.image, e, &item), lab.err);
            if (item.kind != HUSK_EXTERN_FUNC)
                continue;
            funcs++;
            bool is_right = traps_rightly(&lab, item.name);
            CHECK_MSG(is_right || (!levels[i].is_exact && is_missable(item.name)), "%s: %s: %s",
                      levels[i].name, item.name, lab.outcome.message);
            CHECK_MSG(!is_right || lab.outcome.state_is_exact == levels[i].is_exact,
                      "%s: %s: state_is_exact", levels[i].name, item.name);
            level_restore(&lab);
        }
        CHECK_EQ_U64(funcs, expected_funcs);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST(no_access_out_of_bounds_is_missed) {
    SKIP_WITHOUT_LEVELS();
    check_none_is_missed("missed_traps", 30);
}

TEST(no_access_of_dropped_lanes_is_missed) {
    SKIP_WITHOUT_LEVELS();
    check_none_is_missed("missed_traps_simd", 19);
}

TEST(no_access_that_a_mask_leaves_out_is_missed) {
    SKIP_WITHOUT_LEVELS();
    check_none_is_missed("masked_traps", 74);
}

/* One function of trap_order.wat: how it ends, and what is read afterwards. */
struct order {
    const char *name;
    int32_t argument;
    enum husk_trap trap;
    const char *get;
    int32_t get_argument;
    int64_t value;
    bool is_asked_for;
};

#define OUTSIDE (-16)
static const struct order orders[] = {
    {"a_load", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 11, false},
    {"a_loaddrop", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 11, false},
    {"a_store", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 11, false},
    {"a_unr", OUTSIDE, HUSK_TRAP_UNREACHABLE, "get", 0, 11, true},
    {"a_div", OUTSIDE, HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO, "get", 0, 11, true},
    {"a_trunc", OUTSIDE, HUSK_TRAP_INTEGER_OVERFLOW, "get", 0, 11, true},
    {"a_calli", OUTSIDE, HUSK_TRAP_UNDEFINED_ELEMENT, "get", 0, 11, true},
    {"a_callimis", OUTSIDE, HUSK_TRAP_INDIRECT_CALL_TYPE_MISMATCH, "get", 0, 11, true},
    {"a_fill", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 11, true},
    {"a_init", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 11, true},
    {"a_rec", OUTSIDE, HUSK_TRAP_CALL_STACK_EXHAUSTED, "get", 0, 11, false},
    {"b_load", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "gget", 0, 11, false},
    {"b_store", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "gget", 0, 11, false},
    {"b_unr", OUTSIDE, HUSK_TRAP_UNREACHABLE, "gget", 0, 11, true},
    {"b_div", OUTSIDE, HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO, "gget", 0, 11, true},
    {"b_fill", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "gget", 0, 11, true},
    {"b_rec", OUTSIDE, HUSK_TRAP_CALL_STACK_EXHAUSTED, "gget", 0, 11, false},
    {"c_gloop", 64536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "gget", 0, 1000, false},
    {"c_gread", 64536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "gget", 0, 1000, false},
    {"c_mloop", 64536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 1000, false},
    {"d_second", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 0, false},
    {"d_load2", OUTSIDE, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "get", 0, 0, false},
    {"d_rev", 65524, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "peek", 65528, 0, false},
    {"d_fwd", 65524, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS, "peek", 65532, 3, false},
};

static void check_order(struct wat_lab *lab, const struct level *level, const struct order *row) {
    level_call(lab, row->name, &row->argument);
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == row->trap, "%s: %s: %s",
              level->name, row->name, lab->outcome.message);
    bool is_exact = row->is_asked_for || level->is_exact;
    CHECK_MSG(lab->outcome.state_is_exact == is_exact, "%s: %s: state_is_exact is %d", level->name,
              row->name, lab->outcome.state_is_exact);
    int64_t value = level_call(lab, row->get, &row->get_argument);
    CHECK_MSG(!is_exact || value == row->value, "%s: %s left %lld, not %lld", level->name,
              row->name, (long long)value, (long long)row->value);
    level_restore(lab);
}

TEST(what_came_before_is_there) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = level_wasm("trap_order", &count);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t row = 0; row < sizeof orders / sizeof orders[0]; row++)
            check_order(&lab, &levels[i], &orders[row]);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* A guest that notes each step for its host, as a plug-in in C does. */
TEST(a_guest_that_notes_its_steps) {
    SKIP_WITHOUT_LEVELS();
    static const char *const wat =
        "(module (memory 1) (func (export \"stage\") (result i32) (i32.load (i32.const 1024)))"
        " (func (export \"work\") (param $d i32) (param $p i32)"
        "  (i32.store (i32.const 1024) (i32.const 1))"
        "  (i32.store (i32.const 1028) (i32.div_s (i32.const 100) (local.get $d)))"
        "  (i32.store (i32.const 1024) (i32.const 2))"
        "  (i32.store (i32.const 1032) (i32.load (local.get $p)))"
        "  (i32.store (i32.const 1024) (i32.const 3))"
        "  (if (i32.eq (local.get $p) (i32.const 64)) (then unreachable))"
        "  (i32.store (i32.const 1024) (i32.const 4))))";
    static const struct {
        int32_t args[2];
        int64_t stage;
        bool is_asked_for;
    } runs[] = {{{0, 0}, 1, true}, {{1, OUTSIDE}, 2, false}, {{1, 64}, 3, true}, {{1, 0}, 4, true}};
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t run = 0; run < sizeof runs / sizeof runs[0]; run++) {
            level_call(&lab, "work", runs[run].args);
            CHECK_EQ_U64(lab.outcome.kind == HUSK_RETURNED, runs[run].stage == 4);
            CHECK_EQ_U64(lab.outcome.state_is_exact, runs[run].is_asked_for || levels[i].is_exact);
            int64_t stage = level_call(&lab, "stage", NULL);
            CHECK_MSG(!(runs[run].is_asked_for || levels[i].is_exact) || stage == runs[run].stage,
                      "%s: stage %lld, not %lld", levels[i].name, (long long)stage,
                      (long long)runs[run].stage);
            level_restore(&lab);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* The guest's own check must not be deleted because of an access that the default mode may drop:
 * whether the load traps or not, nothing but the check's own trap or result may come out. */
TEST(no_check_of_the_guests_is_lost) {
    SKIP_WITHOUT_LEVELS();
    static const char *const wat =
        "(module (memory 1)"
        /* does p + 4 wrap? asked after a load there */
        " (func (export \"wraps\") (param $p i32) (param $n i32) (result i32)"
        "  (drop (i32.load (i32.add (local.get $p) (i32.const 4))))"
        "  (i32.lt_u (i32.add (local.get $p) (i32.const 4)) (local.get $p)))"
        /* is p + n below p? after a store there that a second one replaces */
        " (func (export \"ends\") (param $p i32) (param $n i32) (result i32)"
        "  (i32.store8 (i32.add (local.get $p) (local.get $n)) (i32.const 1))"
        "  (i32.store8 (i32.add (local.get $p) (local.get $n)) (i32.const 2))"
        "  (i32.lt_u (i32.add (local.get $p) (local.get $n)) (local.get $p)))"
        /* null and alignment prove nothing */
        " (func (export \"null\") (param $p i32) (param $n i32) (result i32)"
        "  (drop (i32.load align=4 (local.get $p)))"
        "  (i32.add (i32.eqz (local.get $p)) (i32.and (local.get $p) (i32.const 3))))"
        /* a loop that must wrap around */
        " (func (export \"around\") (param $p i32) (param $n i32) (result i32) (local $s i32)"
        "  (loop $l (drop (i32.load8_u (i32.and (local.get $p) (i32.const 255))))"
        "   (local.set $s (i32.add (local.get $s) (i32.const 1)))"
        "   (local.set $p (i32.add (local.get $p) (i32.const 16)))"
        "   (br_if $l (i32.ne (local.get $p) (local.get $n))))"
        "  (local.get $s)))";
    static const struct {
        const char *name;
        int32_t args[2];
        int64_t value;
    } calls[] = {{"wraps", {-4, 0}, 1},  {"wraps", {-2, 0}, 1},       {"wraps", {8, 0}, 0},
                 {"ends", {-16, 16}, 1}, {"ends", {-16, 40}, 1},      {"ends", {16, 40}, 0},
                 {"null", {0, 0}, 1},    {"null", {5, 0}, 1},         {"null", {7, 0}, 3},
                 {"null", {8, 0}, 0},    {"around", {-1600, 32}, 102}};
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++) {
            int64_t value = level_call(&lab, calls[c].name, calls[c].args);
            CHECK_MSG(lab.outcome.kind == HUSK_RETURNED && value == calls[c].value,
                      "%s: %s(%d, %d) gave %lld %s", levels[i].name, calls[c].name,
                      calls[c].args[0], calls[c].args[1], (long long)value, lab.outcome.message);
        }
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* A snapshot says of its traps what its image says. */
TEST(snapshots_keep_it) {
    SKIP_WITHOUT_LEVELS();
    static const char *const wat = "(module (memory 1) (func (export \"f\") (param i32) (result "
                                   "i32) (i32.load (local.get 0))))";
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    const int32_t outside = OUTSIDE;
    wat_lab_init(&lab);
    for (int i = 0; i < LEVELS_COUNT; i++) {
        husk_image *snapshot = NULL;
        struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
        level_open(&lab, &levels[i], wasm, count);
        CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
        husk_image_info(lab.image, &info);
        CHECK_EQ_U64(info.is_strict, levels[i].is_exact);
        husk_image_info(snapshot, &info);
        CHECK_EQ_U64(info.is_strict, levels[i].is_exact);
        level_close(&lab);
        lab.image = snapshot;
        CHECK_OK(husk_sandbox_new(snapshot, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
        level_call(&lab, "f", &outside);
        CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        CHECK_EQ_U64(lab.outcome.state_is_exact, levels[i].is_exact);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* A call that was cut off stands anywhere; one that never began changed nothing. */
TEST(what_is_cut_off_is_not_exact) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    struct husk_limits options = HUSK_LIMITS_INIT;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm("(module (func (export \"spin\") (loop $l (br $l))))", &count);
    wat_lab_init(&lab);
    level_open(&lab, &levels[6], wasm, count);
    options.wall_ns = 20000000;
    CHECK_OK(
        husk_call(lab.sandbox, CALL(.name = "spin", .limits = &options), &lab.outcome, &lab.err),
        lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK(!lab.outcome.state_is_exact && lab.outcome.is_poisoned);
    level_restore(&lab);
    husk_interrupt(lab.sandbox);
    CHECK_OK(husk_call(lab.sandbox, CALL(.name = "spin"), &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
    CHECK(lab.outcome.state_is_exact && !lab.outcome.is_poisoned);
    level_close(&lab);
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
