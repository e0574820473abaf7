/*
 * tests/fake/snapshot_faults_test.c: snapshot, restore, load, clone, unload and memory images, with the n-th operation failing, for every n:
 * allocations, mappings, files and what the VM does (a scripted one). A failed step may be tried again and then succeeds; the
 * sandbox is as it was, or refuses calls until then; no VM is lost, and nothing is left behind.
 */
#include "faults_wrap.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "mailbox.h"
#include "ports.h"
#include "sandbox_internal.h"
#include "vm_fake.h"

#define PLACE 0x3000u

/* "add" writes its sum to linear memory, too. */
static void guest_script(struct vm *vm, void *user, struct vm_exit *ret_exit) {
    (void)user;
    struct husk_mailbox *mailbox = fake_memory(vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    uint32_t a, b;
    ret_exit->port = HUSK_PORT_CALL_DONE;
    if (vm->regs.rdi == guest_gva(guest_grow) && vm->regs.rcx++ == 0) {
        mailbox->service_op = HUSK_SERVICE_MEMORY_GROW;
        mailbox->service_arg[0] = 0;
        mailbox->service_arg[1] = 1;
        ret_exit->port = HUSK_PORT_SERVICE;
    } else if (vm->regs.rdi == guest_gva(guest_add)) {
        memcpy(&a, mailbox->call_slots[0].bytes, 4);
        memcpy(&b, mailbox->call_slots[1].bytes, 4);
        a += b;
        memcpy(mailbox->call_slots[0].bytes, &a, 4);
        uint8_t *memory = fake_memory(vm, gpa_of_gva(gva(HUSK_MEM0_GVA)).v + PLACE, 4);
        CHECK(memory != NULL);
        memcpy(memory, &a, 4);
    }
}

static int host_nothing(husk_caller *caller, void *user, const struct husk_value *args,
                        struct husk_value *results) {
    (void)caller, (void)user, (void)args, (void)results;
    return 0;
}

struct world {
    struct vm_backend backend;
    husk_engine *engine;
    husk_image *image, *other, *snapshot;
    husk_image *image_now; /* what the sandbox can be restored to; borrowed */
    husk_imports *imports;
    husk_sandbox *sandbox, *second;
    husk_memory_image *memory_image;
    struct husk_error err;
};

static void world_make(struct world *world, const uint8_t *bytes, size_t count) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    CHECK_OK(fake_engine_new(&world->backend, &world->engine, &world->err), world->err);
    CHECK_OK(husk_image_open_buffer(world->engine, bytes, count, true, &world->image, &world->err),
             world->err);
    CHECK_OK(husk_image_open_buffer(world->engine, bytes, count, true, &world->other, &world->err),
             world->err);
    CHECK_OK(husk_imports_new(world->engine, &world->imports, &world->err), world->err);
    CHECK_OK(husk_imports_wasi(world->imports, &wasi, &world->err), world->err);
    CHECK_OK(husk_imports_func(world->imports, "env", "host", &type, host_nothing, NULL, NULL, &world->err),
             world->err);
    CHECK_OK(
        husk_sandbox_new(world->engine, world->image, world->imports, NULL, &world->sandbox, &world->err),
        world->err);
    world->image_now = world->image;
}

static void world_free(struct world *world) {
    husk_memory_image_free(world->memory_image);
    husk_sandbox_free(world->second);
    husk_sandbox_free(world->sandbox);
    husk_imports_free(world->imports);
    husk_image_unref(world->snapshot);
    husk_image_unref(world->other);
    husk_image_unref(world->image);
    husk_engine_free(world->engine);
    CHECK_EQ_U64(world->backend.vms, 0);
}

static int call_add(struct world *world, husk_sandbox *sandbox, int32_t number) {
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = number}, {.type = HUSK_I32}}, sum;
    struct husk_outcome outcome;
    int status = husk_call(sandbox, "add", args, 2, &sum, 1, NULL, &outcome, &world->err);
    if (status == 0)
        CHECK_EQ_I64(sum.of.i32, number);
    return status;
}

static int call_grow(struct world *world, husk_sandbox *sandbox) {
    struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, old;
    struct husk_outcome outcome;
    return husk_call(sandbox, "grow", &arg, 1, &old, 1, NULL, &outcome, &world->err);
}

static uint32_t word_at(const husk_sandbox *sandbox, uint64_t address) {
    uint32_t word;
    memcpy(&word, sandbox->arena.memories[0].hva + address, 4);
    return word;
}

/* ---- The steps ---- */

static int step_snapshot(struct world *world) {
    return world->snapshot != NULL ? 0 : husk_sandbox_snapshot(world->sandbox, &world->snapshot, &world->err);
}
static int step_restore_snapshot(struct world *world) {
    return husk_sandbox_restore(world->sandbox, world->snapshot, &world->err);
}
static int step_restore_image(struct world *world) {
    return husk_sandbox_restore(world->sandbox, world->image, &world->err);
}
static int step_load_other(struct world *world) {
    int status = husk_sandbox_load(world->sandbox, world->other, world->imports, &world->err);
    world->image_now = status == 0 ? world->other : world->image_now;
    return status;
}
static int step_unload_load(struct world *world) {
    CHECK_OK(husk_sandbox_unload(world->sandbox, &world->err), world->err);
    return husk_sandbox_load(world->sandbox, world->image, world->imports, &world->err);
}
static int step_load_snapshot(struct world *world) {
    int status = husk_sandbox_load(world->sandbox, world->snapshot, world->imports, &world->err);
    world->image_now = status == 0 ? world->image : world->image_now;
    return status;
}
static int step_clone(struct world *world) {
    return husk_sandbox_clone(world->sandbox, &world->second, &world->err);
}
static int step_new_from_snapshot(struct world *world) {
    husk_sandbox_free(world->second);
    world->second = NULL;
    return husk_sandbox_new(world->engine, world->snapshot, world->imports, NULL, &world->second,
                            &world->err);
}
static int step_memory_image(struct world *world) {
    return husk_memory_image_new(world->sandbox, 0, PLACE, 4096, &world->memory_image, &world->err);
}
static int step_memory_map(struct world *world) {
    return husk_memory_image_map(world->sandbox, 0, 0x8000, world->memory_image, 0, 4096, &world->err);
}

/* What PLACE holds after each step; before it, "add" wrote 1000 + the step's number there and memory was grown. */
#define KEEP 1u
static const struct {
    const char *name;
    int (*run)(struct world *world);
    uint32_t word; /* KEEP: what was written */
} steps[] = {
    {"snapshot", step_snapshot, KEEP},
    {"restore of the snapshot", step_restore_snapshot, 1000},
    {"restore of the image", step_restore_image, 0},
    {"clone", step_clone, KEEP},
    {"another module", step_load_other, 0},
    {"loading the snapshot", step_load_snapshot, 1000},
    {"unloading and loading", step_unload_load, 0},
    {"new from the snapshot", step_new_from_snapshot, KEEP},
    {"memory image", step_memory_image, KEEP},
    {"mapping it", step_memory_map, KEEP},
    {"restore under a mapping", step_restore_image, 0},
};

/* A call may be what fails, too, and poison the sandbox: a restore heals it. */
static void prepare(struct world *world, uint32_t number) {
    for (int tries = 0; tries < 2; tries++) {
        if (call_grow(world, world->sandbox) == 0 && call_add(world, world->sandbox, (int32_t)number) == 0)
            return;
        CHECK_OK(husk_sandbox_restore(world->sandbox, world->image_now, &world->err), world->err);
    }
    FAIL("a call fails again after a restore: %s", world->err.message);
}

static void run_step(struct world *world, unsigned i) {
    const unsigned vms = world->backend.vms;
    prepare(world, 1000 + i);
    world->err = (struct husk_error){0};
    int status = steps[i].run(world);
    if (status != 0) {
        CHECK_MSG(status >= -20 && world->err.status == status && world->err.message[0] != 0, "%s: status %d",
                  steps[i].name, status);
        CHECK_MSG(world->backend.vms >= vms, "%s: a VM was lost", steps[i].name);
        int call_status =
            call_add(world, world->sandbox, (int32_t)(1000 + i)); /* still usable, or it says why not */
        CHECK_MSG(call_status == 0 || call_status == HUSK_E_POISONED || call_status == HUSK_E_STATE, "%s: %s",
                  steps[i].name, world->err.message);
        CHECK_MSG(steps[i].run(world) == 0, "%s, again: %s", steps[i].name, world->err.message);
    }
    const uint32_t expected = steps[i].word == KEEP ? 1000 + i : steps[i].word;
    CHECK_MSG(word_at(world->sandbox, PLACE) == expected, "%s: %u, not %u", steps[i].name,
              word_at(world->sandbox, PLACE), expected);
    const bool has_fired = atomic_load(&faults_has_fired);
    if (call_add(world, world->sandbox, 5) != 0) {
        CHECK_MSG(!has_fired, "%s, then a call: %s", steps[i].name, world->err.message);
        CHECK_OK(husk_sandbox_restore(world->sandbox, world->image_now, &world->err), world->err);
    }
}

static bool run_once(unsigned nth, const uint8_t *bytes, size_t count) {
    struct world world = {.backend = {.guest = guest_script, .fails = faults_next}};
    long blocks = atomic_load(&live_blocks), mapped = atomic_load(&live_mapped);
    faults_arm(0);
    world_make(&world, bytes, count);
    faults_arm(nth);
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++)
        run_step(&world, i);
    bool has_fired = atomic_load(&faults_has_fired);
    const char *name = atomic_load(&faults_name);
    faults_arm(0);
    world_free(&world);
    CHECK_MSG(atomic_load(&live_blocks) == blocks, "operation %u (%s) failing leaves %ld blocks", nth, name,
              atomic_load(&live_blocks) - blocks);
    CHECK_MSG(atomic_load(&live_mapped) == mapped, "operation %u (%s) failing leaves %ld mapped bytes", nth,
              name, atomic_load(&live_mapped) - mapped);
    return has_fired;
}

static unsigned count_fds(void) {
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

TEST(every_operation_may_fail) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    CHECK(!run_once(0, bytes, count));
    unsigned fds = count_fds(), nth = 1;
    while (run_once(nth, bytes, count))
        nth++;
    printf("  %u operations were made to fail\n", nth - 1);
    CHECK_EQ_U64(count_fds(), fds);
    CHECK_MSG(nth > 80, "only %u operations were counted; is the suite linked with --wrap?", nth);
    free(bytes);
}

TEST_MAIN()
