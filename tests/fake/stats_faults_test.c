/*
 * tests/fake/stats_faults_test.c: the counters when the VM fails (a scripted one, whose named
 * operation fails) or the kernel.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_internal.h"
#include "fault_wraps.h"
#include "guest_image.h"
#include "harness.h"
#include "last_backtrace.h"
#include "husk.h"
#include "layout.h"
#include "mailbox.h"
#include "ports.h"
#include "vm_fake.h"
#include "literals.h"

static const char *failing; /* the operation; NULL: none */

static bool fails(const char *what) {
    return failing != NULL && strcmp(what, failing) == 0;
}

/* "grow" asks for one page, "host" calls the host. */
static void guest_script(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)user;
    struct husk_mailbox *mailbox = fake_virtual(vcpu->vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    ret_exit->port = HUSK_PORT_CALL_DONE;
    if (vcpu->regs.rdi == guest_gva(guest_host) && vcpu->regs.rcx++ == 0) {
        mailbox->import_idx = 0;
        ret_exit->port = HUSK_PORT_HOST_CALL;
        return;
    }
    if (vcpu->regs.rdi != guest_gva(guest_grow) || vcpu->regs.rcx++ != 0)
        return;
    mailbox->service_op = HUSK_SERVICE_MEMORY_GROW;
    mailbox->service_arg[0] = 0;
    mailbox->service_arg[1] = 1;
    ret_exit->port = HUSK_PORT_SERVICE;
}

/* A call of its own that the VM does not survive, and no word of it to the guest. */
static int host_calls_in_vain(husk_caller *caller, void *user, const struct husk_value *args,
                              struct husk_value *results) {
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, old;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_error err;
    (void)user, (void)args;
    failing = "run";
    CHECK_STATUS(husk_call(husk_caller_sandbox(caller),
                           CALL(.name = "grow", .args = &arg, .args_count = 1, .results = &old,
                                .results_count = 1),
                           &outcome, &err),
                 HUSK_E_SYS);
    failing = NULL;
    results[0] = arg;
    return 0;
}

struct world {
    struct vm_backend backend;
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    struct husk_error err;
};

static void world_make(struct world *world) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    failing = NULL;
    *world = (struct world){.backend = {.guest = guest_script, .fails = fails}};
    CHECK_OK(fake_engine_new(&world->backend, &world->engine, &world->err), world->err);
    CHECK_OK(husk_image_open_buffer(world->engine, (struct husk_buffer){bytes, count}, NULL,
                                    &world->image, &world->err),
             world->err);
    CHECK_OK(husk_imports_new(world->engine, &world->imports, &world->err), world->err);
    CHECK_OK(husk_imports_funcs(
                 world->imports,
                 &(struct husk_host_func){
                     .module = "env", .name = "host", .type = &type, .fn = host_calls_in_vain},
                 1, &world->err),
             world->err);
    CHECK_OK(husk_sandbox_new(world->image, world->imports, NULL, &world->sandbox, &world->err),
             world->err);
    free(bytes);
}

static void world_free(struct world *world) {
    husk_sandbox_free(world->sandbox);
    husk_imports_free(world->imports);
    husk_image_unref(world->image);
    husk_engine_unref(world->engine);
    CHECK_EQ_U64(world->backend.vms, 0);
}

static struct husk_stats stats_of(const struct world *world) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(world->engine, &stats);
    return stats;
}

static int call_grow(struct world *world, husk_sandbox *sandbox) {
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, old;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    return husk_call(
        sandbox,
        CALL(.name = "grow", .args = &arg, .args_count = 1, .results = &old, .results_count = 1),
        &outcome, &world->err);
}

TEST(a_vm_that_fails_poisons) {
    struct world world;
    world_make(&world);
    failing = "run";
    CHECK_STATUS(call_grow(&world, world.sandbox), HUSK_E_SYS);
    CHECK_STATUS(call_grow(&world, world.sandbox), HUSK_E_POISONED);
    CHECK_EQ_U64(last_backtrace(world.sandbox).frames_total, 0);
    struct husk_stats stats = stats_of(&world);
    CHECK_EQ_U64(stats.poisonings_vm_failure, 1);
    CHECK_EQ_U64(stats.poisonings_guest_violation, 0);
    CHECK_EQ_U64(stats.guest_violations, 0);
    CHECK_EQ_U64(stats.calls, 1);
    husk_sandbox_free(world.sandbox); /* such a VM is not kept */
    world.sandbox = NULL;
    stats = stats_of(&world);
    CHECK_EQ_U64(stats.vms, 0);
    CHECK_EQ_U64(stats.pool_idle, 0);
    world_free(&world);
}

/* The call around one that the VM did not survive has no outcome either: no guest did that. */
TEST(a_vm_that_fails_in_a_nested_call) {
    struct world world;
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, result;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    world_make(&world);
    CHECK_STATUS(husk_call(world.sandbox,
                           CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &outcome, &world.err),
                 HUSK_E_SYS);
    CHECK_CONTAINS(world.err.message, "a call made by a host function");
    const struct husk_stats stats = stats_of(&world);
    CHECK_EQ_U64(stats.poisonings_vm_failure, 1);
    CHECK_EQ_U64(stats.poisonings_guest_violation, 0);
    CHECK_EQ_U64(stats.guest_violations, 0);
    CHECK_OK(husk_sandbox_restore(world.sandbox, world.image, &world.err), world.err);
    CHECK_OK(call_grow(&world, world.sandbox), world.err);
    world_free(&world);
}

/* A larger snapshot needs more accessible memory, which is what fails: nothing has changed by then.
 */
TEST(a_restore_that_changes_nothing_poisons_nobody) {
    struct world world;
    husk_sandbox *small = NULL;
    husk_image *large = NULL;
    world_make(&world);
    CHECK_OK(husk_sandbox_new(world.image, world.imports, NULL, &small, &world.err), world.err);
    CHECK_OK(call_grow(&world, world.sandbox), world.err);
    CHECK_OK(husk_sandbox_snapshot(world.sandbox, &large, &world.err), world.err);
    for (int i = 0; i < 2; i++) {
        fault_arm(FAULT_ONCE, 1, "mprotect");
        CHECK_STATUS(husk_sandbox_restore(small, large, &world.err), HUSK_E_NOMEM);
        fault_disarm();
    }
    struct husk_stats stats = stats_of(&world);
    CHECK_EQ_U64(stats.restore_failures, 2);
    CHECK_EQ_U64(stats.poisonings_restore_failure, 0);
    CHECK_EQ_U64(stats.restores, 0);
    CHECK_OK(husk_sandbox_restore(small, large, &world.err), world.err);
    stats = stats_of(&world);
    CHECK_EQ_U64(stats.restores, 1);
    CHECK_EQ_U64(stats.restores_rebuilt, 0);
    CHECK_EQ_U64(stats.restore_failures, 2);
    CHECK_EQ_U64(stats.vms_made, 2);
    husk_sandbox_free(small);
    husk_image_unref(large);
    world_free(&world);
}

/* Grown memory is unmapped, and then cannot be discarded; the machine is built anew by the one that
 * succeeds. */
TEST(a_restore_that_fails_half_way_poisons_once) {
    struct world world;
    world_make(&world);
    CHECK_OK(call_grow(&world, world.sandbox), world.err);
    for (int i = 0; i < 2; i++) {
        fault_arm(i == 0 ? FAULT_ONCE : FAULT_EVER, 1, i == 0 ? "MADV_DONTNEED" : "mmap");
        CHECK_STATUS(husk_sandbox_restore(world.sandbox, world.image, &world.err), HUSK_E_NOMEM);
        fault_disarm();
    }
    struct husk_stats stats = stats_of(&world);
    CHECK_EQ_U64(stats.restore_failures, 2);
    CHECK_EQ_U64(stats.poisonings_restore_failure, 1);
    CHECK_EQ_U64(stats.restores, 0);
    CHECK_OK(husk_sandbox_restore(world.sandbox, world.image, &world.err), world.err);
    stats = stats_of(&world);
    CHECK_EQ_U64(stats.restores, 1);
    CHECK_EQ_U64(stats.restores_rebuilt, 1);
    CHECK_EQ_U64(stats.restore_failures, 2);
    CHECK_EQ_U64(stats.vms_made, 1);
    world_free(&world);
}

/* The instance is gone then, so nobody is poisoned. */
TEST(a_load_that_fails_is_no_load) {
    struct world world;
    world_make(&world);
    CHECK_OK(husk_sandbox_unload(world.sandbox, &world.err), world.err);
    struct husk_stats before = stats_of(&world);
    husk_image *other = NULL;
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    CHECK_OK(husk_image_open_buffer(world.engine, (struct husk_buffer){bytes, count}, NULL, &other,
                                    &world.err),
             world.err);
    fault_arm(FAULT_EVER, 1, "mmap");
    CHECK_STATUS(husk_sandbox_load(world.sandbox, other, world.imports, &world.err), HUSK_E_NOMEM);
    fault_disarm();
    struct husk_stats stats = stats_of(&world);
    CHECK_EQ_U64(stats.restore_failures - before.restore_failures, 1);
    CHECK_EQ_U64(stats.loads_rebuilt + stats.loads_in_place + stats.loads_new_vm,
                 before.loads_new_vm);
    CHECK_EQ_U64(stats.poisonings_restore_failure, 0);
    CHECK_EQ_U64(stats.restores, before.restores);
    CHECK_OK(husk_sandbox_load(world.sandbox, other, world.imports, &world.err), world.err);
    stats = stats_of(&world);
    CHECK_EQ_U64(stats.loads_rebuilt, 1);
    CHECK_EQ_U64(stats.restores - before.restores, 1);
    free(bytes);
    husk_image_unref(other);
    world_free(&world);
}

/* No VM: nothing was restored, nothing loaded, nobody is there. */
TEST(a_sandbox_that_cannot_be_made) {
    struct world world;
    husk_sandbox *none = NULL;
    world_make(&world);
    failing = "create";
    CHECK_STATUS(husk_sandbox_new(world.image, world.imports, NULL, &none, &world.err), HUSK_E_SYS);
    struct husk_stats stats = stats_of(&world);
    CHECK_EQ_U64(stats.sandboxes, 1);
    CHECK_EQ_U64(stats.sandboxes_made, 1);
    CHECK_EQ_U64(stats.loads_new_vm, 1);
    CHECK_EQ_U64(stats.pool_misses, 2);
    CHECK_EQ_U64(stats.vms, 1);
    CHECK_EQ_U64(stats.restore_failures, 0);
    world_free(&world);
}

/* ---- Labels, without memory for them ---- */

/* The text is not begun without memory. */
static int count_pieces(void *user, const void *bytes, size_t count) {
    unsigned *pieces = user;
    (void)bytes, (void)count;
    ++*pieces;
    return 0;
}

static uint64_t calls_of_label(const struct world *world, const char *text) {
    struct label_sum *sums = NULL;
    uint32_t count;
    uint64_t calls = UINT64_MAX;
    CHECK_EQ_I64(labels_sum(&world->engine->labels, &sums, &count), 0);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(sums[i].text, text) == 0)
            calls = sums[i].counts.values[STAT_calls];
    free(sums);
    return calls;
}

TEST(no_memory_for_a_label) {
    struct world world;
    char label[16];
    unsigned fired = 0;
    world_make(&world);
    CHECK_OK(husk_sandbox_set_label(world.sandbox, "first", &world.err), world.err);
    for (unsigned i = 0; i < 40; i++) { /* the list grows now and then */
        snprintf(label, sizeof label, "%u", i);
        for (unsigned nth = 1;; nth++) {
            fault_arm(FAULT_ONCE, nth, NULL);
            int status = husk_sandbox_set_label(world.sandbox, label, &world.err);
            const bool has_fired = fault_has_fired();
            fault_disarm();
            if (!has_fired) {
                CHECK_OK(status, world.err);
                break;
            }
            fired++;
            CHECK_STATUS(status, HUSK_E_NOMEM);
            CHECK_CONTAINS(world.err.message, "no memory for a label (while labelling a sandbox)");
            CHECK_OK(call_grow(&world, world.sandbox), world.err);
        }
        CHECK_OK(husk_sandbox_restore(world.sandbox, world.image, &world.err), world.err);
    }
    CHECK_EQ_U64(fired, 42); /* each label, and the list, which had room for 16, twice */
    CHECK_EQ_U64(calls_of_label(&world, "first"), 1);
    CHECK_EQ_U64(calls_of_label(&world, "39"), 0);
    world_free(&world);
}

TEST(no_memory_for_a_labelled_sandbox) {
    struct world world;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_sandbox *sandbox = NULL;
    options.label = "new";
    world_make(&world);
    const long blocks = fault_live_blocks();
    for (unsigned nth = 1;; nth++) {
        fault_arm(FAULT_ONCE, nth, NULL);
        int status = husk_sandbox_new(world.image, world.imports, &options, &sandbox, &world.err);
        const bool has_fired = fault_has_fired();
        fault_disarm();
        if (status == 0 && !has_fired)
            break;
        CHECK(status == 0 || sandbox == NULL);
        husk_sandbox_free(sandbox);
        husk_engine_trim(world.engine, 0);
        sandbox = NULL;
        const struct labels *labels = &world.engine->labels;
        CHECK_EQ_U64(labels->idle_count, labels->count); /* nobody holds it */
        CHECK(fault_live_blocks() <= blocks + 2);        /* the list, and the label */
    }
    CHECK_OK(call_grow(&world, sandbox), world.err);
    CHECK_EQ_U64(calls_of_label(&world, "new"), 1);
    husk_sandbox_free(sandbox);
    world_free(&world);
}

TEST(no_memory_for_the_text) {
    struct world world;
    unsigned pieces = 0;
    world_make(&world);
    CHECK_OK(husk_sandbox_set_label(world.sandbox, "a", &world.err), world.err);
    fault_arm(FAULT_ONCE, 1, "malloc");
    CHECK_STATUS(husk_engine_prometheus(world.engine, count_pieces, &pieces), HUSK_E_NOMEM);
    fault_disarm();
    CHECK_EQ_U64(pieces, 0);
    CHECK_EQ_I64(husk_engine_prometheus(world.engine, count_pieces, &pieces), 0);
    CHECK(pieces > 100);
    world_free(&world);
}

/* A restore that fails is the sandbox's own, too. */
TEST(failures_of_one_sandbox) {
    struct world world;
    struct husk_sandbox_stats stats = HUSK_SANDBOX_STATS_INIT;
    world_make(&world);
    CHECK_OK(call_grow(&world, world.sandbox), world.err);
    fault_arm(FAULT_ONCE, 1, "MADV_DONTNEED");
    CHECK_STATUS(husk_sandbox_restore(world.sandbox, world.image, &world.err), HUSK_E_NOMEM);
    fault_disarm();
    CHECK_EQ_I64(husk_sandbox_stats(world.sandbox, &stats), 0);
    CHECK_EQ_U64(stats.restore_failures, 1);
    CHECK_EQ_U64(stats.poisonings_restore_failure, 1);
    CHECK_EQ_U64(stats.restores, 0);
    CHECK_EQ_U64(stats.memory_grows, 1);
    world_free(&world);
}

TEST_MAIN()
