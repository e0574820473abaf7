/*
 * tests/kvm/calls/ended_test.c: backtraces on request: the call that they belong to, how long they
 * last, and what may happen in between.
 */
#include <stdlib.h>
#include <string.h>

#include "guest_lab.h"
#include "harness.h"
#include "last_backtrace.h"
#include "literals.h"
#include "wat.h"

#define MS 1000000ull

/* The function that the last call was in; "" if there is no frame. */
static const char *last_place(husk_sandbox *sandbox) {
    const struct husk_backtrace backtrace = last_backtrace(sandbox);
    CHECK((backtrace.frames_count == 0) == (backtrace.frames_total == 0));
    return backtrace.frames_count == 0 ? "" : backtrace.frames[0].func_name;
}

TEST(a_backtrace_lasts_until_the_next_call) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    CHECK_STR(last_place(lab.sandbox), "");
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    const struct husk_backtrace first = last_backtrace(lab.sandbox);
    const struct husk_backtrace second = last_backtrace(lab.sandbox);
    CHECK_STR(first.frames[0].func_name, "trap");
    CHECK_MEM(&first, &second, sizeof first);
    CHECK_EQ_I64(guest_call(lab.sandbox, "host", 4, &lab.outcome), 9);
    CHECK_STR(last_place(lab.sandbox), "");
    guest_lab_close(&lab);
}

TEST(a_call_that_is_refused_changes_nothing) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct husk_value results[2];
    guest_lab_open(&lab, NULL, NULL, NULL);
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    CHECK_STATUS(husk_call(lab.sandbox,
                           CALL(.name = "spin", .results = results, .results_count = 2),
                           &lab.outcome, &lab.err),
                 HUSK_E_TYPE);
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.name = "none"), &lab.outcome, &lab.err),
                 HUSK_E_NOT_FOUND);
    CHECK_STR(last_place(lab.sandbox), "trap");
    guest_lab_close(&lab);
}

TEST(a_restore_a_load_and_an_unload_end_it) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_STR(last_place(lab.sandbox), "");
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
    CHECK_STR(last_place(lab.sandbox), "");
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    backtrace.frames_total = 77;
    CHECK_STATUS(husk_sandbox_backtrace(lab.sandbox, &backtrace, &lab.err), HUSK_E_STATE);
    CHECK_EQ_U64(backtrace.frames_total, 77);
    CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
    CHECK_STR(last_place(lab.sandbox), "");
    guest_lab_close(&lab);
}

TEST(a_poisoned_sandbox_says_where_it_was_cut_off) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    guest_lab_open(&lab, NULL, NULL, NULL);
    limits.wall_ns = 300 * MS; /* an emulated CPU needs a while to get there */
    guest_run(lab.sandbox, "spin", &limits, &lab.outcome);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_DEADLINE);
    CHECK_STR(last_place(lab.sandbox), "spin");
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.name = "trap"), &lab.outcome, &lab.err),
                 HUSK_E_POISONED);
    CHECK_STR(last_place(lab.sandbox), "spin");
    guest_lab_close(&lab);
}

/* Whatever happens to the sandbox before the question, the answer is bounded. */
TEST(snapshots_clones_and_writes_in_between) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    husk_image *snapshot = NULL;
    husk_memory_image *pages = NULL;
    husk_sandbox *clone = NULL;
    void *span = NULL;
    guest_lab_open(&lab, NULL, NULL, NULL);
    guest_run(lab.sandbox, "recurse", NULL, &lab.outcome);
    const struct husk_backtrace first = last_backtrace(lab.sandbox);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_clone(lab.sandbox, &clone, &lab.err), lab.err);
    CHECK_OK(husk_memory_image_new(lab.sandbox, RANGE(.count = 65536), &pages, &lab.err), lab.err);
    CHECK_OK(husk_memory_image_map(lab.sandbox, RANGE(.count = 65536), pages, 0, &lab.err),
             lab.err);
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = 65536), &span, &lab.err), lab.err);
    memset(span, 0xff, 65536);
    const struct husk_backtrace second = last_backtrace(lab.sandbox);
    CHECK_MEM(&first, &second, sizeof first);
    CHECK_STR(last_place(clone), "");
    husk_sandbox_free(clone);
    husk_memory_image_unref(pages);
    husk_image_unref(snapshot);
    guest_lab_close(&lab);
}

TEST(structs_of_other_versions) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct {
        struct husk_backtrace backtrace;
        uint64_t later[4];
    } newer;
    guest_lab_open(&lab, NULL, NULL, NULL);
    guest_run(lab.sandbox, "trap", NULL, &lab.outcome);
    memset(&newer, 0x55, sizeof newer);
    newer.backtrace.size = sizeof newer;
    CHECK_OK(husk_sandbox_backtrace(lab.sandbox, &newer.backtrace, &lab.err), lab.err);
    CHECK_EQ_U64(newer.backtrace.frames_count, 1);
    CHECK_EQ_U64(newer.backtrace.size, sizeof newer);
    CHECK_EQ_U64(newer.later[0] | newer.later[3], 0);
    /* sizes with room for no frame, or for one */
    const size_t head = offsetof(struct husk_backtrace, frames);
    for (size_t size = sizeof size; size <= head + sizeof(struct husk_frame); size += 8) {
        struct husk_backtrace older;
        memset(&older, 0x55, sizeof older);
        older.size = size;
        CHECK_OK(husk_sandbox_backtrace(lab.sandbox, &older, &lab.err), lab.err);
        if (size >= head)
            CHECK_EQ_U64(older.frames_count, size == head + sizeof(struct husk_frame));
        const uint8_t *behind = (const uint8_t *)&older + size;
        CHECK(behind[0] == 0x55);
    }
    newer.backtrace.size = 0;
    CHECK_STATUS(husk_sandbox_backtrace(lab.sandbox, &newer.backtrace, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_backtrace(lab.sandbox, NULL, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_backtrace(NULL, &newer.backtrace, &lab.err), HUSK_E_INVAL);
    guest_lab_close(&lab);
}

/* ---- Nested calls ---- */

#define NESTED_WAT                                                                                 \
    "(module (import \"env\" \"nest\" (func $nest (param i32)))"                                   \
    "(import \"env\" \"look\" (func $look))"                                                       \
    "(func (export \"f\") (param i32) (call $nest (local.get 0)) (call $look))"                    \
    "(func (export \"bad\") unreachable)"                                                          \
    "(func (export \"spin\") (loop br 0))"                                                         \
    "(func (export \"fine\")))"

enum nest { NEST_BAD, NEST_SPIN, NEST_FINE, NEST_BAD_AND_FAIL };

struct seen {
    const char *before, *inside, *later;
};

static int host_nest(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    static const char *const names[] = {"bad", "spin", "fine", "bad"};
    (void)results;
    struct seen *seen = user;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_error err;
    limits.wall_ns = args[0].of.i32 == NEST_SPIN ? 100 * MS : 0;
    seen->before = last_place(sandbox);
    CHECK_OK(
        husk_call(sandbox, CALL(.name = names[args[0].of.i32], .limits = &limits), &outcome, &err),
        err);
    seen->inside = last_place(sandbox);
    return args[0].of.i32 == NEST_BAD_AND_FAIL ? husk_caller_fail(caller, "no") : 0;
}

static int host_look(husk_caller *caller, void *user, const struct husk_value *args,
                     struct husk_value *results) {
    (void)args, (void)results;
    struct seen *seen = user;
    seen->later = last_place(husk_caller_sandbox(caller));
    return 0;
}

static void check_nested(struct wat_lab *lab, struct seen *seen, enum nest nest,
                         enum husk_outcome_kind kind, const struct seen *expected) {
    const struct husk_value arg = value_i32((int32_t)nest);
    *seen = (struct seen){"?", "?", "?"};
    CHECK_OK(wat_call(lab, "f", &arg, 1, NULL, 0), lab->err);
    CHECK_EQ_I64(lab->outcome.kind, kind);
    CHECK_STR(seen->before, expected->before);
    CHECK_STR(seen->inside, expected->inside);
    CHECK_STR(seen->later, expected->later);
}

/* A host function sees the call that it made. The outer calls end at their host functions. */
TEST(nested_calls_have_their_own) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct seen seen;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "nest", "i>", host_nest, &seen);
    wat_lab_func(&lab, "look", ">", host_look, &seen);
    wat_lab_open(&lab, NESTED_WAT, NULL);
    check_nested(&lab, &seen, NEST_BAD, HUSK_RETURNED, &(struct seen){"", "bad", ""});
    CHECK_STR(last_place(lab.sandbox), "");
    check_nested(&lab, &seen, NEST_FINE, HUSK_RETURNED, &(struct seen){"", "", ""});
    check_nested(&lab, &seen, NEST_BAD_AND_FAIL, HUSK_TRAPPED, &(struct seen){"", "bad", "?"});
    CHECK_STR(last_place(lab.sandbox), "nest");
    CHECK_STR(last_backtrace(lab.sandbox).frames[1].func_name, "f");
    check_nested(&lab, &seen, NEST_SPIN, HUSK_DEADLINE, &(struct seen){"", "spin", "?"});
    CHECK_STR(last_place(lab.sandbox), "nest");
    CHECK_STR(last_backtrace(lab.sandbox).frames[1].func_name, "f");
    wat_lab_close(&lab);
}

TEST(exits_have_one_too) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_func(&lab, "leave", ">", wat_host_leave, NULL);
    wat_lab_open(&lab,
                 "(module (import \"env\" \"leave\" (func $leave)) (func (export \"f\") call "
                 "$leave))",
                 NULL);
    CHECK_OK(wat_call(&lab, "f", NULL, 0, NULL, 0), lab.err);
    CHECK_EQ_I64(lab.outcome.kind, HUSK_EXITED);
    CHECK_STR(last_place(lab.sandbox), "leave");
    wat_lab_close(&lab);
}

TEST_MAIN()
