/*
 * tests/fake/sandbox_faults_test.c: the whole life of an engine with the n-th operation failing,
 * for every n: allocations, mappings, files, threads and operations of the VM (a scripted one).
 * Each failure must return a status, leave the out-parameters untouched, and leak nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "exception.h"
#include "exception_place.h"
#include "fault_wraps.h"
#include "files_in.h"
#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "layout.h"
#include "mailbox.h"
#include "ports.h"
#include "vm_fake.h"
#include "literals.h"

/* The guest of the script, by the function that the dispatcher is to call (rdi). */
static void guest_script(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)user;
    struct husk_mailbox *mailbox = fake_virtual(vcpu->vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    uint64_t function = vcpu->regs.rdi, step = vcpu->regs.rcx++;
    ret_exit->port = HUSK_PORT_CALL_DONE;
    if (function == guest_gva(guest_host) && step == 0) {
        mailbox->import_idx = 0;
        memcpy(mailbox->host_slots[0].bytes, mailbox->call_slots[0].bytes, 16);
        ret_exit->port = HUSK_PORT_HOST_CALL;
        vcpu->regs.rdi = function;
    } else if (function == guest_gva(guest_host) &&
               vcpu->regs.rip == guest_gva(guest_throws_here)) { /* caught */
        memcpy(mailbox->call_slots[0].bytes,
               ((struct husk_exception *)fake_virtual(vcpu->vm, GUEST_EXCEPTION_GVA, 32))
                   ->values[0]
                   .bytes,
               8);
    } else if (function == guest_gva(guest_host)) {
        memcpy(mailbox->call_slots[0].bytes, mailbox->host_slots[0].bytes, 16);
    } else if (function == guest_gva(guest_grow) && step == 0) {
        mailbox->service_op = HUSK_SERVICE_MEMORY_GROW;
        mailbox->service_arg[0] = 0;
        memcpy(&mailbox->service_arg[1], mailbox->call_slots[0].bytes, 8);
        ret_exit->port = HUSK_PORT_SERVICE;
    } else if (function == guest_gva(guest_grow)) {
        memcpy(mailbox->call_slots[0].bytes, &mailbox->service_ret, 8);
    } else if (function == guest_gva(guest_throw)) {
        struct husk_exception *pending = fake_virtual(vcpu->vm, GUEST_EXCEPTION_GVA, 32);
        memcpy(&pending->tag, mailbox->call_slots[0].bytes, 4);
        memcpy(pending->values[0].bytes, mailbox->call_slots[1].bytes, 8);
        ret_exit->port = HUSK_PORT_UNCAUGHT;
    } else if (function == guest_gva(guest_add)) {
        uint32_t a, b;
        memcpy(&a, mailbox->call_slots[0].bytes, 4);
        memcpy(&b, mailbox->call_slots[1].bytes, 4);
        a += b;
        memcpy(mailbox->call_slots[0].bytes, &a, 4);
    }
}

static bool host_is_pending; /* instead */
static bool host_is_throwing;

/* It calls "throw", and passes the exception on. */
static int host_passes_on(husk_caller *caller, int64_t number) {
    const struct husk_value args[] = {{.type = HUSK_I32, .of.i32 = 2},
                                      {.type = HUSK_I64, .of.i64 = number}};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    int status =
        husk_call(sandbox, CALL(.name = "throw", .args = args, .args_count = 2), &outcome, NULL);
    if (status == 0)
        status = husk_sandbox_exception(sandbox, &info, NULL);
    if (status != 0)
        return status;
    const struct husk_throw again = {.size = sizeof again,
                                     .tag = info.tag,
                                     .values = info.values,
                                     .values_count = info.values_count};
    return husk_caller_throw(caller, &again);
}

static int host_calls_back(husk_caller *caller, void *user, const struct husk_value *args,
                           struct husk_value *results) {
    (void)user;
    if (host_is_pending)
        return husk_caller_pending(caller);
    if (host_is_throwing)
        return host_passes_on(caller, args[0].of.i64);
    struct husk_value sum, add[2] = {{.type = HUSK_I32, .of.i32 = 1},
                                     {.type = HUSK_I32, .of.i32 = (int32_t)args[0].of.i64}};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    int status = husk_call(
        husk_caller_sandbox(caller),
        CALL(.name = "add", .args = add, .args_count = 2, .results = &sum, .results_count = 1),
        &outcome, NULL);
    if (status != 0)
        return status;
    results[0].of.i64 = sum.of.i32;
    return 0;
}

struct world {
    struct vm_backend backend;
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    bool gave_user; /* husk_imports_funcs() succeeded, so user_free must be called, once */
    unsigned users_freed;
    bool is_tag_defined; /* else the library defines it */
    bool has_caught;
};

static void count_free(void *user) {
    (*(unsigned *)user)++;
}

/* A failure must be a known status with a message. */
static bool failed(int status, const struct husk_error *err) {
    if (status == 0)
        return false;
    CHECK(status < 0 && status >= -20);
    CHECK_EQ_I64(err->status, status);
    CHECK(err->message[0] != '\0');
    return true;
}

static bool world_make(struct world *world, const uint8_t *bytes, size_t count) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    struct husk_error err = {.status = 0};
    if (failed(fake_engine_new(&world->backend, &world->engine, &err), &err))
        return false;
    if (failed(husk_image_open_buffer(world->engine, (struct husk_buffer){bytes, count}, NULL,
                                      &world->image, &err),
               &err))
        return false;
    if (failed(husk_imports_new(world->engine, &world->imports, &err), &err))
        return false;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    const char *args[] = {"prog", "arg"};
    wasi.args = args;
    wasi.args_count = 2;
    if (failed(husk_imports_wasi(world->imports, &wasi, &err), &err))
        return false;
    int status = husk_imports_funcs(world->imports,
                                    &(struct husk_host_func){.module = "env",
                                                             .name = "host",
                                                             .type = &type,
                                                             .fn = host_calls_back,
                                                             .user = &world->users_freed,
                                                             .user_free = count_free},
                                    1, &err);
    if (failed(status, &err))
        return false;
    world->gave_user = true;
    if (failed(husk_imports_unknown(world->imports, HUSK_UNKNOWN_TRAP, &err), &err))
        return false;
    static const husk_type f64_type = HUSK_F64;
    const struct husk_extern tag = {.size = sizeof tag,
                                    .kind = HUSK_EXTERN_TAG,
                                    .module = "env",
                                    .name = "tag",
                                    .func = {.params = &f64_type, .params_count = 1}};
    if (world->is_tag_defined &&
        failed(husk_imports_define(world->imports, &tag, NULL, &err), &err))
        return false;
    return !failed(husk_sandbox_new(world->image, world->imports, NULL, &world->sandbox, &err),
                   &err);
}

static void world_use(struct world *world) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    options.wall_ns = 3600ull * 1000000000;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 41}, result = {.type = HUSK_I64};
    int status = husk_call(world->sandbox,
                           CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1, .limits = &options),
                           &outcome, &err);
    if (!failed(status, &err) && outcome.kind == HUSK_RETURNED)
        CHECK_EQ_I64(result.of.i64, 42);
    arg.of.i64 = 2;
    status = husk_call(
        world->sandbox,
        CALL(.name = "grow", .args = &arg, .args_count = 1, .results = &result, .results_count = 1),
        &outcome, &err);
    if (failed(status, &err) || outcome.kind != HUSK_RETURNED)
        return;
    CHECK(result.of.i64 == 1 || result.of.i64 == -1);
    CHECK_EQ_U64(husk_memory_bytes(world->sandbox, 0), (result.of.i64 == 1 ? 3 : 1) * 65536);
}

/* An exception that the host function gets from the guest, and throws into it; and one that nobody
 * catches. */
static void world_throw(struct world *world) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_exception_info info = HUSK_EXCEPTION_INFO_INIT;
    struct husk_value args[] = {{.type = HUSK_I32, .of.i32 = 2}, {.type = HUSK_I64, .of.i64 = 5}};
    struct husk_value result = {.type = HUSK_I64};
    struct husk_error err;
    host_is_throwing = true;
    int status = husk_call(world->sandbox,
                           CALL(.name = "host", .args = args + 1, .args_count = 1,
                                .results = &result, .results_count = 1),
                           &outcome, &err);
    host_is_throwing = false;
    world->has_caught = !failed(status, &err) && outcome.kind == HUSK_RETURNED;
    if (world->has_caught)
        CHECK_EQ_I64(result.of.i64, 5);
    status = husk_call(world->sandbox, CALL(.name = "throw", .args = args, .args_count = 2),
                       &outcome, &err);
    if (failed(status, &err))
        return;
    CHECK_EQ_U64(outcome.kind, HUSK_THREW);
    CHECK_OK(husk_sandbox_exception(world->sandbox, &info, &err), err);
    CHECK(info.values_count == 1 && info.values[0].of.i64 == 5);
}

/* Calls that are pending: one goes on, the other is there when the sandbox is freed. */
static void world_wait(struct world *world) {
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_value value = {.type = HUSK_I64, .of.i64 = 41}, result = {.type = HUSK_I64};
    struct husk_error err;
    answer.values = &value;
    answer.results = &result;
    answer.values_count = answer.results_count = 1;
    limits.cpu_ns = limits.wall_ns = 3600ull * 1000000000;
    if (failed(husk_cancel_new(&limits.cancel, &err), &err))
        return;
    host_is_pending = true;
    for (int is_left = 0; is_left < 2; is_left++) {
        int status = husk_call(world->sandbox,
                               CALL(.name = "host", .args = &value, .args_count = 1,
                                    .results = &result, .results_count = 1, .limits = &limits),
                               &outcome, &err);
        if (failed(status, &err) || is_left != 0)
            break;
        CHECK_EQ_U64(outcome.kind, HUSK_PENDING);
        status = husk_call_resume(world->sandbox, &answer, &outcome, &err);
        if (!failed(status, &err) && outcome.kind == HUSK_RETURNED)
            CHECK_EQ_I64(result.of.i64, 41);
    }
    host_is_pending = false;
    husk_cancel_unref(limits.cancel);
}

static void world_free(struct world *world) {
    husk_sandbox_free(world->sandbox);
    husk_imports_free(world->imports);
    husk_image_unref(world->image);
    husk_engine_unref(world->engine);
    CHECK_EQ_U64(world->backend.vms, 0);
}

/* Returns whether the armed failure happened. */
static bool run_once(unsigned nth, bool is_tag_defined, const uint8_t *bytes, size_t count) {
    struct world world = {.backend = {.guest = guest_script, .fails = fault_next},
                          .is_tag_defined = is_tag_defined};
    long blocks = fault_live_blocks(), mapped = fault_live_mapped();
    fault_arm(FAULT_ONCE, nth, NULL);
    bool is_made = world_make(&world, bytes, count);
    if (is_made)
        world_use(&world);
    if (is_made)
        world_throw(&world);
    if (is_made)
        world_wait(&world);
    bool has_fired = fault_has_fired();
    fault_disarm();
    CHECK(world.has_caught || nth != 0);
    CHECK_MSG(is_made || has_fired, "nothing was made to fail, but it failed");
    world_free(&world);
    CHECK_EQ_U64(world.users_freed, world.gave_user ? 1 : 0);
    CHECK_MSG(fault_live_blocks() == blocks, "operation %u (%s) failing leaves %ld blocks", nth,
              fault_name(), fault_live_blocks() - blocks);
    CHECK_MSG(fault_live_mapped() == mapped, "operation %u failing leaves %ld mapped bytes", nth,
              fault_live_mapped() - mapped);
    return has_fired;
}

TEST(every_operation_may_fail) {
    size_t count;
    uint8_t *bytes = guest_exception_make(&count);
    CHECK(!run_once(0, true, bytes, count));
    const unsigned fds = files_in("/proc/self/fd");
    for (int defined = 0; defined < 2; defined++) {
        unsigned nth = 1;
        while (run_once(nth, defined != 0, bytes, count))
            nth++;
        printf("  %u operations were made to fail\n", nth - 1);
        CHECK_EQ_U64(files_in("/proc/self/fd"), fds);
        CHECK_MSG(nth > 60, "only %u operations were counted; is the suite linked with --wrap?",
                  nth);
    }
    free(bytes);
}

/* What a call costs besides the hypervisor: printed, and far below a microsecond on any machine. */
TEST(calls_cost_little) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    struct world world = {.backend = {.guest = guest_script}};
    CHECK(world_make(&world, bytes, count));
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = 1}, {.type = HUSK_I32, .of.i32 = 2}},
                      sum;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    husk_func func;
    CHECK_OK(husk_image_func(world.image, "add", 0, &func, &err), err);
    for (int with_limit = 0; with_limit < 2; with_limit++) {
        struct husk_limits options = HUSK_LIMITS_INIT;
        options.wall_ns = with_limit != 0 ? 3600ull * 1000000000 : 0;
        uint64_t best = UINT64_MAX;
        unsigned wakes = fault_wakes();
        for (int round = 0; round < 20; round++) {
            uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
            for (int i = 0; i < 1000; i++)
                husk_call(world.sandbox,
                          CALL(.func = func, .args = args, .args_count = 2, .results = &sum,
                               .results_count = 1, .limits = &options),
                          &outcome, &err);
            uint64_t took = clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
            best = took < best ? took : best;
        }
        /* 20,000 calls with the same limit wake the watchdog at most once. */
        CHECK(fault_wakes() - wakes <= 1);
        printf("  a call%s: %" PRIu64 " ns besides the VM\n",
               with_limit != 0 ? " with a deadline" : "", best / 1000);
        CHECK(best / 1000 < (HARNESS_SANITIZED ? 20000 : 5000));
    }
    world_free(&world);
    free(bytes);
}

TEST_MAIN()
