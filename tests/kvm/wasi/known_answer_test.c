/*
 * tests/kvm/wasi/known_answer_test.c: environ_sizes_get, whose answer the guest's code gives itself
 * after the first time (abi/mailbox.h): it is the same answer as the host's, whenever the
 * environment becomes another one, and the host is asked once.
 */
#include <string.h>

#include "harness.h"
#include "literals.h"
#include "wasi_abi.h"
#include "wat.h"

/* ask: errno of the call with these addresses. many: it, so many times, or all errnos. */
#define MODULE(memories)                                                                           \
    "(module"                                                                                      \
    " (import \"wasi_snapshot_preview1\" \"environ_sizes_get\""                                    \
    "  (func $env (param i32 i32) (result i32)))"                                                  \
    " (import \"wasi_snapshot_preview1\" \"args_sizes_get\""                                       \
    "  (func $args (param i32 i32) (result i32)))" memories                                        \
    " (func (export \"ask\") (param i32 i32) (result i32)"                                         \
    "  (call $env (local.get 0) (local.get 1)))"                                                   \
    " (func (export \"args\") (param i32) (result i32)"                                            \
    "  (drop (call $args (i32.const 32) (i32.const 36))) (i32.load (i32.const 32)))"               \
    " (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0)))"                  \
    " (func (export \"grow\") (param i32) (result i32) (memory.grow (local.get 0)))"               \
    " (func (export \"many\") (param i32) (result i32) (local i32)"                                \
    "  (loop (local.set 1 (i32.or (local.get 1) (call $env (i32.const 8) (i32.const 16))))"        \
    "   (drop (call $args (i32.const 32) (i32.const 36)))"                                         \
    "   (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"                            \
    "  (local.get 1)))"

static const char one_memory[] = MODULE(" (memory (export \"memory\") 1 3)");
/* Both have WASI and a memory of their own; "f" of the first asks and loads. */
static const struct wat_module linked[] = {
    {.name = "other",
     .wat = MODULE(" (memory (export \"memory\") 1 3)"
                   " (func (export \"f\") (param i32 i32) (result i32)"
                   "  (drop (call $env (local.get 0) (local.get 1))) (i32.load (local.get 0)))")},
    {.name = "main",
     .wat = MODULE(" (import \"other\" \"f\" (func $f (param i32 i32) (result i32)))"
                   " (memory (export \"memory\") 1 3)"
                   " (func (export \"other\") (param i32 i32) (result i32)"
                   "  (call $f (local.get 0) (local.get 1)))")}};

#define END 65536

static void lab_begin(struct wat_lab *lab, const char *const *env, size_t count) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    const char *const args[] = {"program", "argument"};
    options.args = args;
    options.args_count = 2;
    options.env = env;
    options.env_count = count;
    wat_lab_init(lab);
    CHECK_OK(husk_imports_wasi(lab->imports, &options, &lab->err), lab->err);
}

static void lab_open(struct wat_lab *lab, const char *const *env, size_t count) {
    lab_begin(lab, env, count);
    wat_lab_open(lab, one_memory, NULL);
}

static void set_env(struct wat_lab *lab, const char *const *env, size_t count) {
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    request.env = env;
    request.env_count = count;
    CHECK_OK(husk_sandbox_set_wasi(lab->sandbox, &request, &lab->err), lab->err);
}

static int64_t ask(struct wat_lab *lab, uint32_t count_at, uint32_t bytes_at) {
    return wat_call_numbers(lab, "ask", (const int64_t[]){count_at, bytes_at, 0}).of.i32;
}

static void check_answer(struct wat_lab *lab, uint32_t count_at, uint32_t bytes_at, int64_t count,
                         int64_t bytes) {
    CHECK_EQ_I64(ask(lab, count_at, bytes_at), WASI_SUCCESS);
    CHECK_EQ_I64(wat_call_i32(lab, "load", (int32_t)count_at), count);
    CHECK_EQ_I64(wat_call_i32(lab, "load", (int32_t)bytes_at), bytes);
}

static uint64_t host_calls(const struct wat_lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    CHECK(husk_engine_stats(lab->engine, &stats) == 0);
    return stats.host_calls;
}

static const char *const two[] = {"NAME=value", "B=2"};

TEST(the_host_is_asked_once) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    for (size_t count = 0; count <= 2; count += 2) {
        lab_open(&lab, two, count);
        const uint64_t before = host_calls(&lab);
        CHECK_EQ_I64(wat_call_i32(&lab, "many", 100), WASI_SUCCESS);
        CHECK_EQ_U64(host_calls(&lab) - before, 100 + 1); /* all those for the arguments */
        check_answer(&lab, 4, 100, (int64_t)count, count == 0 ? 0 : 15);
        CHECK_EQ_U64(host_calls(&lab) - before, 100 + 1);
        CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 2); /* another function has its own answer */
        check_answer(&lab, 200, 200, count == 0 ? 0 : 15, count == 0 ? 0 : 15); /* in this order */
        wat_lab_close(&lab);
    }
}

TEST(another_environment) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    lab_open(&lab, NULL, 0);
    check_answer(&lab, 8, 16, 0, 0);
    check_answer(&lab, 8, 16, 0, 0);
    set_env(&lab, two, 2);
    check_answer(&lab, 8, 16, 2, 15);
    check_answer(&lab, 24, 28, 2, 15);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    set_env(&lab, two, 1);
    check_answer(&lab, 8, 16, 1, 11);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
    check_answer(&lab, 8, 16, 1, 11); /* what is given stays */
    husk_sandbox_free(lab.sandbox);   /* its VM goes to the pool, and has known an answer */
    CHECK_OK(husk_sandbox_new(snapshot, lab.imports, NULL, &lab.sandbox, &lab.err), lab.err);
    check_answer(&lab, 8, 16, 0, 0);
    set_env(&lab, two, 2);
    check_answer(&lab, 8, 16, 2, 15);
    CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
    check_answer(&lab, 8, 16, 0, 0);
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

/* Known or not, an address beyond memory is refused, and what memory has grown by is within. */
TEST(addresses) {
    SKIP_WITHOUT_COMPILER();
    static const uint32_t outside[] = {END - 3, END, 0x7fffffff, 0xfffffffc, 0xffffffff};
    struct wat_lab lab;
    lab_open(&lab, two, 2);
    for (int is_known = 0; is_known < 2; is_known++) {
        for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
            CHECK_EQ_I64(ask(&lab, outside[i], 8), WASI_EFAULT);
            CHECK_EQ_I64(ask(&lab, 8, outside[i]), WASI_EFAULT);
        }
        check_answer(&lab, END - 4, 0, 2, 15);
        check_answer(&lab, 3, END - 4, 2, 15);
    }
    CHECK_EQ_I64(wat_call_i32(&lab, "grow", 1), 1);
    for (int i = 0; i < 2; i++) {
        check_answer(&lab, 2 * END - 4, END, 2, 15);
        CHECK_EQ_I64(ask(&lab, 2 * END - 3, 8), WASI_EFAULT);
    }
    wat_lab_close(&lab);
}

/* What a call had grown is gone with the restore or load, and so is what was known of it. */
TEST(memory_that_is_smaller_again) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    lab_open(&lab, two, 2);
    check_answer(&lab, 8, 16, 2, 15);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ_I64(wat_call_i32(&lab, "grow", 2), 1);
        check_answer(&lab, 3 * END - 4, 2 * END, 2, 15);
        check_answer(&lab, 2 * END, 3 * END - 4, 2, 15);
        if (i % 2 == 0)
            CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        else
            CHECK_OK(husk_sandbox_load(lab.sandbox, i == 1 ? lab.image : snapshot, lab.imports,
                                       &lab.err),
                     lab.err);
        CHECK_EQ_I64(ask(&lab, 2 * END, 8), WASI_EFAULT);
        CHECK_EQ_I64(ask(&lab, 8, END - 3), WASI_EFAULT);
        check_answer(&lab, END - 4, 8, 2, 15);
        CHECK_EQ_I64(ask(&lab, END - 4, 2 * END), WASI_EFAULT);
    }
    husk_image_unref(snapshot);
    wat_lab_close(&lab);
}

static int stop(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    bool *const is_over = user;
    (void)args;
    (void)results;
    return *is_over ? 0 : husk_caller_pending(caller);
}

/* The environment becomes another one while a call is pending, parked or not, in the sandbox that
 * knows an answer and in one that a snapshot brought it. */
TEST(another_environment_in_mid_call) {
    SKIP_WITHOUT_COMPILER();
    static const char text[] = "(module (import \"env\" \"stop\" (func $stop))"
                               " (import \"wasi_snapshot_preview1\" \"environ_sizes_get\""
                               "  (func $env (param i32 i32) (result i32)))"
                               " (memory (export \"memory\") 1)"
                               " (func (export \"run\") (result i32)"
                               "  (drop (call $env (i32.const 0) (i32.const 4)))"
                               "  (drop (call $env (i32.const 0) (i32.const 4))) (call $stop)"
                               "  (drop (call $env (i32.const 8) (i32.const 12)))"
                               "  (i32.add (i32.mul (i32.load (i32.const 4)) (i32.const 100))"
                               "           (i32.load (i32.const 12)))))";
    struct wat_lab lab;
    husk_image *snapshot = NULL;
    bool is_over = false;
    lab_begin(&lab, two, 2);
    wat_lab_func(&lab, "stop", ">", stop, &is_over);
    wat_lab_open(&lab, text, NULL);
    for (int i = 0; i < 3; i++) {
        is_over = false;
        set_env(&lab, two, 2);
        CHECK_OK(wat_call(&lab, "run", NULL, 0, &(struct husk_value){0}, 1), lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_PENDING);
        if (i == 1)
            CHECK_OK(husk_sandbox_park(lab.sandbox, &lab.err), lab.err);
        CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
        if (i == 2)
            CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        set_env(&lab, two, 1);
        is_over = true;
        CHECK_EQ_I64(wat_again(&lab, lab.sandbox, HUSK_RETURNED), 1500 + 11);
        husk_image_unref(snapshot);
    }
    wat_lab_close(&lab);
}

/* The guest's code knows memory 0 only. */
TEST(a_second_memory) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    lab_begin(&lab, two, 2);
    wat_lab_open_linked(&lab, linked, 2, NULL);
    for (int i = 0; i < 3; i++) {
        const uint32_t place = 64 * (uint32_t)i, other_place = place + 32;
        check_answer(&lab, place, END - 4, 2, 15);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", (int32_t)other_place), 0);
        for (int again = 0; again < 3; again++)
            CHECK_EQ_I64(
                wat_call_numbers(&lab, "other", (const int64_t[]){other_place, other_place + 4, 0})
                    .of.i32,
                2);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", (int32_t)other_place), 0);
    }
    CHECK_EQ_I64(ask(&lab, END - 3, 8), WASI_EFAULT);
    wat_lab_close(&lab);
}

/* Whose function of that number is another one, and whose own environ_sizes_get is the host's. */
static const char other_functions[] =
    "(module"
    " (import \"wasi_snapshot_preview1\" \"args_sizes_get\""
    "  (func $args (param i32 i32) (result i32)))"
    " (import \"wasi_snapshot_preview1\" \"environ_sizes_get\""
    "  (func $env (param i32 i32) (result i32)))"
    " (memory (export \"memory\") 1 3)"
    " (func (export \"ask\") (param i32 i32) (result i32)"
    "  (call $env (local.get 0) (local.get 1)))"
    " (func (export \"args\") (param i32) (result i32)"
    "  (drop (call $args (i32.const 32) (i32.const 36))) (i32.load (i32.const 32)))"
    " (func (export \"load\") (param i32) (result i32) (i32.load (local.get 0))))";

/* A VM that has known an answer is taken over by a module in which that number means another
 * function: by a load, after an unload, and from the pool. */
TEST(another_module_in_the_same_vm) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    lab_open(&lab, two, 2);
    husk_image *other = wat_image_with(lab.engine, other_functions, WAT_WORKER);
    for (int way = 0; way < 3; way++)
        for (int i = 0; i < 2; i++) {
            husk_image *const image = i == 0 ? other : lab.image;
            CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 2);
            check_answer(&lab, 8, 16, 2, 15);
            check_answer(&lab, 24, 28, 2, 15);
            if (way == 1)
                CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
            if (way == 2) {
                husk_sandbox_free(lab.sandbox);
                CHECK_OK(husk_sandbox_new(image, lab.imports, NULL, &lab.sandbox, &lab.err),
                         lab.err);
            } else {
                CHECK_OK(husk_sandbox_load(lab.sandbox, image, lab.imports, &lab.err), lab.err);
            }
            CHECK_EQ_I64(wat_call_i32(&lab, "args", 0), 2);
            CHECK_EQ_I64(wat_call_i32(&lab, "load", 36), sizeof "program" + sizeof "argument");
        }
    husk_image_unref(other);
    wat_lab_close(&lab);
}

static int own_environment(husk_caller *caller, void *user, const struct husk_value *args,
                           struct husk_value *results) {
    int *const calls = user;
    const struct husk_range range = {.addr = (uint32_t)args[0].of.i32, .count = 4};
    uint32_t *const word = husk_caller_span(caller, &range);
    *word = (uint32_t)++ * calls;
    results[0].of.i32 = 0;
    return 0;
}

/* The embedder's own function is called each time, also in a VM that knows an answer of WASI's. */
TEST(a_function_of_the_embedders) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_imports *own = NULL;
    int calls = 0;
    static const husk_type types[] = {HUSK_I32, HUSK_I32, HUSK_I32};
    static const struct husk_functype type = {
        .params = types, .params_count = 2, .results = types, .results_count = 1};
    const char *const wasi = "wasi_snapshot_preview1";
    const struct husk_host_func functions[] = {{.module = wasi,
                                                .name = "environ_sizes_get",
                                                .type = &type,
                                                .fn = own_environment,
                                                .user = &calls},
                                               {.module = wasi,
                                                .name = "args_sizes_get",
                                                .type = &type,
                                                .fn = own_environment,
                                                .user = &calls}};
    lab_open(&lab, two, 2);
    check_answer(&lab, 8, 16, 2, 15);
    CHECK_OK(husk_imports_new(lab.engine, &own, &lab.err), lab.err);
    CHECK_OK(husk_imports_funcs(own, functions, 2, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, own, &lab.err), lab.err);
    for (int i = 1; i < 4; i++) {
        CHECK_EQ_I64(ask(&lab, 8, 16), 0);
        CHECK_EQ_I64(wat_call_i32(&lab, "load", 8), i);
    }
    CHECK_EQ_I64(calls, 3);
    husk_imports_free(own);
    wat_lab_close(&lab);
}

TEST_MAIN()
