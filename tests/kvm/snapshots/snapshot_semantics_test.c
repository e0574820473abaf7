/*
 * tests/kvm/snapshots/snapshot_semantics_test.c: restores work, and snapshots cannot evade limits,
 * with: the limits of the restored sandbox, threads that make calls for one another, forks, the
 * library's own use of memory.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "helper_thread.h"
#include "layout.h"
#include "sandbox_internal.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

/* ---- Limits that a snapshot must not get around ---- */

static const char table_module[] =
    "(module (import \"env\" \"t\" (table $t 1 externref)) (memory (export \"memory\") 1)"
    " (table $own 1 externref)"
    " (func (export \"grow\") (param i32) (result i32) ref.null extern local.get 0 table.grow $t)"
    " (func (export \"grow_own\") (param i32) (result i32) ref.null extern local.get 0 table.grow "
    "$own)"
    " (func (export \"size\") (param i32) (result i32) table.size $t))";

static void open_tables(struct wat_lab *lab) {
    wat_lab_init(lab);
    CHECK_OK(husk_imports_define(lab->imports,
                                 EXTERN(TABLE, "env", "t", .type = HUSK_EXTERNREF, .min = 1,
                                        .has_max = true, .max = 5000),
                                 NULL, &lab->err),
             lab->err);
    wat_lab_open(lab, table_module, NULL);
}

static int64_t call_one(struct wat_lab *lab, husk_sandbox *sandbox, const char *name,
                        int32_t argument) {
    struct husk_value arg = value_i32(argument), result = value_i32(0);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab->outcome, &lab->err),
             lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.of.i32;
}

/* Refused, with everything as it was: spans that were given out are valid still. */
static void refuses(struct wat_lab *lab, husk_sandbox *sandbox, husk_image *snapshot,
                    const char *word) {
    void *span, *after;
    CHECK_OK(husk_memory_span(sandbox, RANGE(.addr = 100, .count = 4), &span, &lab->err), lab->err);
    memcpy(span, "mine", 4);
    CHECK_STATUS(husk_sandbox_restore(sandbox, snapshot, &lab->err), HUSK_E_LIMIT);
    CHECK_CONTAINS(lab->err.message, word);
    CHECK_OK(husk_memory_span(sandbox, RANGE(.addr = 100, .count = 4), &after, &lab->err),
             lab->err);
    CHECK(span == after);
    CHECK_MEM(span, "mine", 4);
    CHECK_EQ_I64(call_one(lab, sandbox, "size", 0), 1);
}

/* The default limit is the module's, not what some snapshot of it has grown to under a larger
 * one. */
TEST(tables_beyond_the_default_limit_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_sandbox *wide = NULL, *none = NULL;
    husk_image *snapshot = NULL;
    open_tables(&lab);
    options.table_max_entries = 3000000;
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, &options, &wide, &lab.err), lab.err);
    CHECK_EQ_I64(call_one(&lab, wide, "grow_own", 1500000), 1);
    CHECK_OK(husk_sandbox_snapshot(wide, &snapshot, &lab.err), lab.err);
    refuses(&lab, lab.sandbox, snapshot, "table_max_entries");
    CHECK_STATUS(husk_sandbox_load(lab.sandbox, snapshot, lab.imports, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_sandbox_new(snapshot, lab.imports, NULL, &none, &lab.err), HUSK_E_LIMIT);
    CHECK_OK(husk_sandbox_clone(wide, &none, &lab.err), lab.err);
    CHECK_EQ_I64(call_one(&lab, none, "grow_own", 1), 1500001);
    husk_sandbox_free(none);
    husk_sandbox_free(wide);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

TEST(tables_beyond_what_the_import_allows_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_imports *small = NULL;
    husk_sandbox *narrow = NULL, *none = NULL;
    husk_image *snapshot = NULL;
    open_tables(&lab);
    CHECK_OK(husk_imports_new(lab.engine, &small, &lab.err), lab.err);
    CHECK_OK(husk_imports_define(small,
                                 EXTERN(TABLE, "env", "t", .type = HUSK_EXTERNREF, .min = 1,
                                        .has_max = true, .max = 50),
                                 NULL, &lab.err),
             lab.err);
    CHECK_OK(husk_sandbox_new(lab.image, small, NULL, &narrow, &lab.err), lab.err);
    CHECK_EQ_I64(call_one(&lab, narrow, "grow", 50), -1);
    CHECK_EQ_I64(call_one(&lab, lab.sandbox, "grow", 3000), 1);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    refuses(&lab, narrow, snapshot, "import");
    CHECK_STATUS(husk_sandbox_load(narrow, snapshot, small, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_sandbox_new(snapshot, small, NULL, &none, &lab.err), HUSK_E_LIMIT);
    CHECK_OK(husk_sandbox_load(narrow, snapshot, lab.imports, &lab.err), lab.err);
    CHECK_EQ_I64(call_one(&lab, narrow, "size", 0), 3001);
    husk_sandbox_free(narrow);
    husk_imports_free(small);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* ---- Other threads, other processes ---- */

struct nested {
    struct helper_thread helper;
    struct state_lab *lab;
    husk_sandbox *sandbox;
    int32_t address;
};

static void nested_store(void *user) {
    struct nested *nested = user;
    STATE_CALL_ON(nested->lab, nested->sandbox, "store", nested->address, 77);
}

static int host_delegates(husk_caller *caller, void *user, const struct husk_value *args,
                          struct husk_value *results) {
    struct nested *nested = user;
    nested->sandbox = husk_caller_sandbox(caller);
    nested->address = args[0].of.i32;
    helper_run(&nested->helper, nested_store, nested);
    results[0] = args[0];
    return 0;
}

/* A host function has another thread call back into the guest while it waits: the page faults are
 * not those of the thread that restores. */
TEST(what_a_nested_call_on_another_thread_wrote_is_undone) {
    SKIP_WITHOUT_COMPILER();
    static struct nested nested;
    struct state_lab lab, own;
    state_open(&lab, host_delegates, &nested);
    own = lab; /* its outcome is the helper's to write */
    nested.lab = &own;
    helper_start(&nested.helper);
    for (int32_t page = 3; page < 30; page++) {
        for (int i = 0; i < 3; i++) { /* so that nothing more is faulted here */
            STATE_CALL(&lab, "host", 2 * HUSK_PAGE_SIZE);
            CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        }
        STATE_CALL(&lab, "host", page * (int32_t)HUSK_PAGE_SIZE);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_MSG(STATE_CALL(&lab, "load", page * (int32_t)HUSK_PAGE_SIZE) != 77,
                  "page %d is not restored", page);
    }
    helper_stop(&nested.helper);
    state_close(&lab);
}

static bool all_is_refused(struct state_lab *lab, husk_image *snapshot) {
    husk_image *taken = NULL;
    husk_sandbox *sandbox = NULL;
    husk_memory_image *part = NULL;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    return husk_memory_image_new(lab->sandbox, RANGE(.count = HUSK_PAGE_SIZE), &part, &lab->err) ==
               HUSK_E_STATE &&
           husk_sandbox_new(snapshot, lab->imports, NULL, &sandbox, &lab->err) == HUSK_E_STATE &&
           husk_sandbox_backtrace(lab->sandbox, &backtrace, &lab->err) == HUSK_E_STATE &&
           husk_sandbox_clone(lab->sandbox, &sandbox, &lab->err) == HUSK_E_STATE &&
           husk_sandbox_snapshot(lab->sandbox, &taken, &lab->err) == HUSK_E_STATE &&
           husk_sandbox_restore(lab->sandbox, snapshot, &lab->err) == HUSK_E_STATE &&
           husk_sandbox_load(lab->sandbox, snapshot, lab->imports, &lab->err) == HUSK_E_STATE;
}

/* The child has copies of everything, and no VM; what it does to them, and that all pages are
 * shared with it for a while, is nothing to the parent. */
TEST(a_fork_changes_nothing_for_the_parent) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    husk_image *snapshot = NULL;
    uint64_t random = 41;
    state_open(&lab, NULL, NULL);
    state_scramble(&lab, lab.sandbox, &random);
    STATE_CALL(&lab, "store", 4096, 1234);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    state_copy_take(lab.sandbox, &copy);
    for (int i = 0; i < 8; i++) {
        int wait_status = -1;
        pid_t child = fork();
        if (child == 0) {
            struct husk_value args[2] = {value_i32(4096), value_i32(666)};
            int status =
                husk_call(lab.sandbox, CALL(.name = "store", .args = args, .args_count = 2),
                          &lab.outcome, &lab.err);
            memset(lab.sandbox->machine->arena.memories[0].hva, 0x66,
                   lab.sandbox->machine->arena.memories[0].bytes);
            _exit(status == HUSK_E_STATE && all_is_refused(&lab, snapshot) ? 0 : 1);
        }
        CHECK(child > 0);
        state_scramble(&lab, lab.sandbox, &random);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "with a child");
        CHECK_EQ_I64(waitpid(child, &wait_status, 0), child);
        CHECK_EQ_I64(wait_status, 0);
        state_scramble(&lab, lab.sandbox, &random);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "after a child");
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 4096), 1234);
    }
    state_copy_done(&copy);
    husk_image_unref(snapshot);
    state_close(&lab);
}

/* Locked memory is discarded, too: what has grown, and what has aged. */
TEST(restores_work_in_locked_memory) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    struct husk_stats stats = HUSK_STATS_INIT;
    uint64_t random = 51;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "size");
    state_copy_take(lab.sandbox, &copy);
    if (HARNESS_SANITIZED || mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
        state_copy_done(&copy);
        state_close(&lab);
        SKIP("memory cannot be locked here");
    }
    for (int round = 0; round < 60; round++) {
        STATE_CALL(&lab, "grow", 2);
        STATE_CALL(&lab, "tgrow", 600);
        state_scramble(&lab, lab.sandbox, &random);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "locked");
        if (round % 20 == 19) {
            husk_sandbox_free(lab.sandbox);
            husk_engine_trim(lab.engine, 0);
            lab.sandbox = state_sandbox(&lab, lab.image);
        }
    }
    for (int round = 0; round < 12; round++)
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    husk_engine_stats(lab.engine, &stats);
    CHECK(stats.restore_pages_aged > 0);
    CHECK_EQ_U64(stats.restore_failures, 0);
    munlockall();
    state_copy_done(&copy);
    state_close(&lab);
}

/* ---- Memory that the library touches itself ---- */

static const char touching_module[] =
    "(module (import \"wasi_snapshot_preview1\" \"random_get\" (func $random (param i32 i32) "
    "(result i32)))"
    " (memory (export \"memory\") 32) (global $next (mut i32) (i32.const 4096))"
    " (func (export \"random\") (param i32) (result i32) local.get 0 i32.const 600 call $random)"
    " (func (export \"load\") (param i32) (result i32) local.get 0 i32.load)"
    " (func (export \"next\") (param i32) (result i32) local.get 0 global.set $next i32.const 0)"
    " (func (export \"malloc\") (param i32) (result i32) global.get $next)"
    " (func (export \"echo\") (param i32 i32) (result i64)"
    "   local.get 0 i64.extend_i32_u local.get 1 i64.extend_i32_u i64.const 32 i64.shl i64.or))";

static void echo(struct wat_lab *lab, const void *bytes, size_t count) {
    struct husk_bytes back;
    CHECK_OK(wat_call_bytes(lab, "echo", bytes, count, &back), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64(back.output_count, count);
    CHECK_MEM(back.output, bytes, count);
    free(back.output);
}

/* What WASI and husk_call_bytes() wrote is undone, and forgotten as what the guest wrote itself: it
 * does not slow down all later restores. */
TEST(buffers_of_the_library_age_out) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    static const uint8_t zeros[32 * HUSK_WASM_PAGE_SIZE - 2 * HUSK_PAGE_SIZE];
    static uint8_t bytes[sizeof zeros];
    memset(bytes, 0xab, sizeof bytes);
    wat_lab_init(&lab);
    CHECK_OK(husk_imports_wasi(lab.imports, &wasi, &lab.err), lab.err);
    wat_lab_open(&lab, touching_module, NULL);
    const struct hotset *hotset = &lab.sandbox->machine->hotset;
    for (int32_t at = HUSK_PAGE_SIZE; at < (int32_t)sizeof bytes;
         at += 3 * (int32_t)HUSK_PAGE_SIZE) {
        CHECK_EQ_I64(wat_call_i32(&lab, "random", at), 0);
        wat_call_i32(&lab, "next", at + (int32_t)HUSK_PAGE_SIZE);
        echo(&lab, bytes, 100);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_MEM(lab.sandbox->machine->arena.memories[0].hva + at, zeros, 2 * HUSK_PAGE_SIZE);
    }
    echo(&lab, bytes, sizeof bytes);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", 2 * HUSK_PAGE_SIZE), 0);
    }
    CHECK_MSG(hotset->count < 20, "%u pages are compared by every restore", hotset->count);
    CHECK(!hotset->must_scan);
    wat_lab_close(&lab);
}

TEST_MAIN()
