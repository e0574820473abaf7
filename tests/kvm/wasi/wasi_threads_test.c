/*
 * tests/kvm/wasi/wasi_threads_test.c: wasi.thread-spawn fails as wasi-libc expects, and the log
 * tells the embedder why, once per sandbox.
 */
#include <stdio.h>

#include "literals.h"
#include "wasi_abi.h"
#include "wat.h"

static const char spawner[] =
    "(module (import \"wasi\" \"thread-spawn\" (func $spawn (param i32) (result i32)))"
    " (import \"env\" \"memory\" (memory 1 2 shared)) (export \"memory\" (memory 0))"
    " (func (export \"wasi_thread_start\") (param i32 i32))"
    " (func (export \"spawn\") (param i32) (result i32) local.get 0 call $spawn))";

struct log {
    int warnings;
    char last[256];
};

static void count(void *user, enum husk_log_level level, const char *message) {
    struct log *log = user;
    log->warnings += level == HUSK_LOG_WARNING;
    snprintf(log->last, sizeof log->last, "%s", message);
}

TEST(a_guest_cannot_start_a_thread_and_the_log_says_why) {
    SKIP_WITHOUT_COMPILER();
    struct log log = {0};
    struct wat_lab lab = {.outcome = HUSK_OUTCOME_INIT};
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    husk_sandbox *second = NULL;
    options.log = count;
    options.log_user = &log;
    CHECK_OK(husk_engine_new(&options, &lab.engine, &lab.err), lab.err);
    CHECK_OK(husk_imports_new(lab.engine, &lab.imports, &lab.err), lab.err);
    CHECK_OK(husk_imports_wasi(lab.imports, NULL, &lab.err), lab.err);
    CHECK_OK(husk_imports_define(lab.imports,
                                 EXTERN(MEMORY, "env", "memory", .min = 1, .has_max = true,
                                        .max = 2, .is_shared = true),
                                 NULL, &lab.err),
             lab.err);
    wat_lab_open(&lab, spawner, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "spawn", 64), -WASI_EAGAIN);
        CHECK_EQ_I64(log.warnings, 1);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    CHECK_CONTAINS(log.last, "Husk has one thread per sandbox");
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, NULL, &second, &lab.err), lab.err);
    husk_sandbox_free(lab.sandbox);
    lab.sandbox = second;
    CHECK_EQ_I64(wat_call_i32(&lab, "spawn", 64), -WASI_EAGAIN);
    CHECK_EQ_I64(log.warnings, 2);
    wat_lab_close(&lab);
}

TEST_MAIN()
