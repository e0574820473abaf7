/*
 * tests/kvm/calls/funcref_test.c: calls of functions in tables, from outside and from host
 * functions (emscripten's invoke_…). A funcref that the guest forged calls nothing.
 */
#include <pthread.h>
#include <string.h>

#include "image_internal.h"
#include "sandbox_internal.h"
#include "wat.h"
#include "literals.h"

static const char invoke_wat[] =
    "(module (type $v (func)) (type $ii (func (param i32) (result i32)))"
    " (import \"env\" \"invoke_v\" (func $invoke (param i32)))"
    " (table (export \"t\") 8 funcref)"
    " (elem (i32.const 1) $seven $double $traps $again $invoke $spin)"
    " (global $x (export \"x\") (mut i32) (i32.const 0))"
    " (global $r (export \"r\") (mut funcref) (ref.null func))"
    " (func $seven (global.set $x (i32.const 7)))"
    " (func $double (param i32) (result i32) (i32.mul (i32.const 2) (local.get 0)))"
    " (func $traps unreachable)"
    " (func $again (global.set $x (i32.add (global.get $x) (i32.const 1)))"
    "  (call $invoke (i32.const 4)))"
    " (func $spin (loop br 0))"
    " (func (export \"f\") (param i32) (result i32) (call $invoke (local.get 0)) (global.get $x))"
    " (func (export \"indirect\") (param i32) (result i32)"
    "  (call_indirect (type $v) (local.get 0)) (global.get $x))"
    " (func (export \"plus\") (param i32) (result i32)"
    "  (i32.add (local.get 0) (i32.const 100))))";

/* Results of the last env.invoke_v(). */
struct invoked {
    int status;
    struct husk_outcome outcome;
    struct husk_error err;
};

/* The function that an entry refers to. */
static int find(husk_sandbox *sandbox, uint64_t entry, husk_func *ret_func,
                struct husk_functype *ret_type, struct husk_error *err) {
    struct husk_value value;
    int status = husk_table_get(sandbox, 0, entry, &value, err);
    return status != 0 ? status : husk_func_from_ref(sandbox, &value, ret_func, ret_type, err);
}

/* Like emscripten's: the host sees a trap of the inner call, and the guest goes on. */
static int invoke_v(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct invoked *invoked = user;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    husk_func func;
    struct husk_error err;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    (void)results;
    int status = find(sandbox, (uint32_t)args[0].of.i32, &func, NULL, &err);
    if (status == 0)
        status = husk_call(sandbox, CALL(.func = func), &outcome, &err);
    if (status != 0)
        invoked->err = err;
    else
        invoked->outcome = outcome;
    invoked->status = status;
    return status != 0 ? husk_caller_fail(caller, "invoke_v: %s", err.message) : 0;
}

static void open_lab(struct wat_lab *lab, struct invoked *invoked,
                     const struct husk_sandbox_options *options) {
    memset(invoked, 0, sizeof *invoked);
    wat_lab_init(lab);
    wat_lab_func(lab, "invoke_v", "i>", invoke_v, invoked);
    wat_lab_open(lab, invoke_wat, options);
}

static void call_f(struct wat_lab *lab, int32_t entry, struct husk_value *ret_x) {
    struct husk_value arg = value_i32(entry);
    *ret_x = value_i32(-1);
    CHECK_OK(wat_call(lab, "f", &arg, 1, ret_x, 1), lab->err);
}

TEST(an_entry_is_called_from_outside) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct invoked invoked;
    husk_func func;
    struct husk_functype type;
    struct husk_value arg = value_i32(21), result;
    open_lab(&lab, &invoked, NULL);
    CHECK_OK(find(lab.sandbox, 2, &func, &type, &lab.err), lab.err);
    CHECK_EQ_U64(type.params_count, 1);
    CHECK_EQ_U64(type.results_count, 1);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.func = func, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_I64(result.of.i32, 42);
    CHECK_STATUS(husk_call(lab.sandbox, CALL(.func = func), &lab.outcome, &lab.err), HUSK_E_TYPE);
    CHECK_OK(find(lab.sandbox, 3, &func, NULL, &lab.err), lab.err);
    CHECK_OK(husk_call(lab.sandbox, CALL(.func = func), &lab.outcome, &lab.err), lab.err);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_UNREACHABLE);
    /* An imported function: the guest's stub calls the host. */
    arg = value_i32(1);
    CHECK_OK(find(lab.sandbox, 5, &func, NULL, &lab.err), lab.err);
    CHECK_OK(husk_call(lab.sandbox, CALL(.func = func, .args = &arg, .args_count = 1), &lab.outcome,
                       &lab.err),
             lab.err);
    CHECK_OK(husk_global_get(lab.sandbox, "x", 0, &result, &lab.err), lab.err);
    CHECK_EQ_I64(result.of.i32, 7);
    CHECK_STATUS(find(lab.sandbox, 0, &func, NULL, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_STATUS(find(lab.sandbox, 8, &func, NULL, &lab.err), HUSK_E_LIMIT);
    arg = value_i64(5);
    CHECK_STATUS(husk_func_from_ref(lab.sandbox, &arg, &func, NULL, &lab.err), HUSK_E_TYPE);
    wat_lab_close(&lab);
}

TEST(a_host_function_calls_an_entry) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct invoked invoked;
    struct husk_value x;
    open_lab(&lab, &invoked, NULL);
    call_f(&lab, 1, &x);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(x.of.i32, 7);
    call_f(&lab, 3, &x); /* traps inside; the guest goes on */
    CHECK_EQ_U64(invoked.outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(x.of.i32, 7);
    call_f(&lab, 2, &x); /* a function of another type */
    CHECK_STATUS(invoked.status, HUSK_E_TYPE);
    CHECK_EQ_U64(lab.outcome.trap, HUSK_TRAP_HOST_FUNCTION);
    call_f(&lab, 0, &x);
    CHECK_STATUS(invoked.status, HUSK_E_NOT_FOUND);
    call_f(&lab, -1, &x);
    CHECK_STATUS(invoked.status, HUSK_E_LIMIT);
    CHECK_CONTAINS(lab.outcome.message, "invoke_v: table 0 has 8 entries");
    wat_lab_close(&lab);
}

/* Entry 4 invokes itself without end. */
TEST(nesting_is_limited) {
    SKIP_WITHOUT_COMPILER();
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    struct wat_lab lab;
    struct invoked invoked;
    struct husk_value x;
    options.host_call_depth_max = 5;
    open_lab(&lab, &invoked, &options);
    call_f(&lab, 4, &x);
    CHECK_CONTAINS(invoked.err.message, "host_call_depth_max");
    CHECK_EQ_U64(lab.outcome.kind, HUSK_RETURNED); /* each level saw the trap of the level inside */
    CHECK_EQ_I64(x.of.i32, 5);
    call_f(&lab, 1, &x);
    CHECK_EQ_I64(x.of.i32, 7);
    wat_lab_close(&lab);
}

TEST(a_deadline_ends_all_levels) {
    SKIP_WITHOUT_COMPILER();
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct wat_lab lab;
    struct invoked invoked;
    struct husk_value arg = value_i32(6), x;
    open_lab(&lab, &invoked, NULL);
    /* on a slow machine the limit may pass before the guest runs */
    for (options.wall_ns = 5000000; !lab.outcome.is_poisoned; options.wall_ns *= 2) {
        CHECK_OK(husk_call(lab.sandbox,
                           CALL(.name = "f", .args = &arg, .args_count = 1, .results = &x,
                                .results_count = 1, .limits = &options),
                           &lab.outcome, &lab.err),
                 lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
    }
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    call_f(&lab, 1, &x);
    CHECK_EQ_I64(x.of.i32, 7);
    wat_lab_close(&lab);
}

/* emscripten's addFunction(). */
TEST(functions_are_put_into_tables) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct invoked invoked;
    husk_func plus, found;
    struct husk_value ref, arg = value_i32(1), result;
    uint64_t at;
    open_lab(&lab, &invoked, NULL);
    CHECK_OK(husk_image_func(lab.image, "plus", 0, &plus, &lab.err), lab.err);
    CHECK_OK(husk_func_to_ref(lab.sandbox, plus, &ref, &lab.err), lab.err);
    CHECK_OK(husk_table_grow(lab.sandbox, 0, 600, &at, &lab.err), lab.err);
    CHECK_OK(husk_table_set(lab.sandbox, 0, at + 599, &ref, &lab.err), lab.err);
    CHECK_OK(find(lab.sandbox, at + 599, &found, NULL, &lab.err), lab.err);
    CHECK(memcmp(&found, &plus, sizeof plus) == 0);
    CHECK_OK(husk_call(lab.sandbox,
                       CALL(.func = found, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab.outcome, &lab.err),
             lab.err);
    CHECK_EQ_I64(result.of.i32, 101);
    CHECK_STATUS(find(lab.sandbox, at + 598, &found, NULL, &lab.err), HUSK_E_NOT_FOUND);
    CHECK_OK(husk_table_get(lab.sandbox, 0, 1, &ref, &lab.err), lab.err);
    CHECK_OK(husk_table_set(lab.sandbox, 0, 7, &ref, &lab.err), lab.err);
    CHECK_EQ_I64(wat_call_i32(&lab, "indirect", 7), 7); /* the guest's own call */
    CHECK_OK(husk_global_set(lab.sandbox, "r", 0, &ref, &lab.err), lab.err);
    plus.opaque[0] ^= 1;
    CHECK_STATUS(husk_func_to_ref(lab.sandbox, plus, &ref, &lab.err), HUSK_E_INVAL);
    wat_lab_close(&lab);
}

/* Put a number where the guest could have put it. */
static void forge(husk_sandbox *sandbox, uint64_t entry, uint64_t ref) {
    const struct husk_image_table *table = &sandbox->image->code->tables[0];
    memcpy(arena_span(&sandbox->machine->arena, table->base_gva + 8 * entry, 8), &ref, 8);
}

static bool is_function(const struct image_code *code, uint64_t ref) {
    for (uint32_t i = 0; i < code->funcs_count; i++)
        if (ref == (((uint64_t)code->funcs[i].type_idx + 1) << 32 | code->funcs[i].code_gva))
            return true;
    return false;
}

static void check_forged(struct wat_lab *lab, struct invoked *invoked, uint64_t ref) {
    husk_func func;
    struct husk_value value = {.type = HUSK_FUNCREF, .of.ref = ref}, x;
    if (ref == 0 || is_function(lab->sandbox->image->code, ref))
        return;
    forge(lab->sandbox, 7, ref);
    CHECK_STATUS(find(lab->sandbox, 7, &func, NULL, &lab->err), HUSK_E_GUEST);
    CHECK_STATUS(husk_table_set(lab->sandbox, 0, 7, &value, &lab->err), HUSK_E_TYPE);
    CHECK_STATUS(husk_global_set(lab->sandbox, "r", 0, &value, &lab->err), HUSK_E_TYPE);
    call_f(lab, 7, &x);
    CHECK_STATUS(invoked->status, HUSK_E_GUEST);
    CHECK_EQ_U64(lab->outcome.trap, HUSK_TRAP_HOST_FUNCTION);
}

TEST(forged_references_call_nothing) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct invoked invoked;
    open_lab(&lab, &invoked, NULL);
    const struct image_code *code = lab.image->code;
    const uint64_t places[] = {0,
                               1,
                               HUSK_TEXT_GVA,
                               code->module.entry_gva,
                               code->module.resume_gva,
                               code->types[0].thunk_gva,
                               HUSK_DATA_GVA,
                               HUSK_MAILBOX_GVA,
                               HUSK_MEM0_GVA,
                               UINT32_MAX};
    for (uint32_t id = 0; id <= code->types_count + 1; id++) {
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
            check_forged(&lab, &invoked, (uint64_t)id << 32 | places[i]);
        for (uint32_t i = 0; i < code->funcs_count; i++)
            for (int shift = -1; shift <= 1; shift++)
                check_forged(&lab, &invoked,
                             (uint64_t)id << 32 | (code->funcs[i].code_gva + (uint32_t)shift));
    }
    for (uint32_t i = 0; i < code->funcs_count; i++) {
        const uint64_t ref =
            ((uint64_t)code->funcs[i].type_idx + 1) << 32 | code->funcs[i].code_gva;
        for (int bit = 0; bit < 64; bit++)
            check_forged(&lab, &invoked, ref ^ (1ull << bit));
    }
    check_forged(&lab, &invoked, UINT64_MAX);
    struct husk_value x;
    call_f(&lab, 1, &x);
    CHECK_EQ_I64(x.of.i32, 7);
    wat_lab_close(&lab);
}

/* Several threads need the image's list of functions at once. The first one makes it. */
struct finder {
    husk_sandbox *sandbox;
    pthread_barrier_t *barrier;
};

static void *find_all(void *user) {
    const struct finder *finder = user;
    husk_func func;
    intptr_t wrong = 0;
    pthread_barrier_wait(finder->barrier);
    for (uint64_t i = 1; i <= 6; i++)
        wrong += find(finder->sandbox, i, &func, NULL, NULL) != 0;
    return (void *)wrong;
}

#define FINDERS 4

TEST(threads_share_the_list) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    struct invoked invoked;
    struct finder finders[FINDERS];
    pthread_t threads[FINDERS];
    pthread_barrier_t barrier;
    open_lab(&lab, &invoked, NULL);
    pthread_barrier_init(&barrier, NULL, FINDERS);
    for (int i = 0; i < FINDERS; i++) {
        finders[i].barrier = &barrier;
        CHECK_OK(husk_sandbox_new(lab.image, lab.imports, NULL, &finders[i].sandbox, &lab.err),
                 lab.err);
        CHECK(pthread_create(&threads[i], NULL, find_all, &finders[i]) == 0);
    }
    for (int i = 0; i < FINDERS; i++) {
        void *wrong = NULL;
        CHECK(pthread_join(threads[i], &wrong) == 0 && wrong == NULL);
        husk_sandbox_free(finders[i].sandbox);
    }
    pthread_barrier_destroy(&barrier);
    wat_lab_close(&lab);
}

TEST_MAIN()
