/*
 * tests/fake/snapshot_faults_test.c: snapshot, restore, load, clone, memory images and saved files
 * on a scripted VM, with the n-th operation failing, for every n: allocations, mappings, files and
 * operations of the VM. fault_steps.h says what must hold afterwards.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_internal.h"
#include "fault_steps.h"
#include "files_guest.h"
#include "guest_image.h"
#include "harness.h"
#include "layout.h"
#include "mailbox.h"
#include "ports.h"
#include "privfs.h"
#include "sandbox_internal.h"
#include "syspages.h"
#include "vm_fake.h"
#include "literals.h"

/* "add" writes its first argument to the page of linear memory that its second names, too. */
static void guest_script(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)user;
    struct husk_mailbox *mailbox = fake_virtual(vcpu->vm, HUSK_MAILBOX_GVA, HUSK_MBOX_BYTES);
    uint32_t a, b;
    ret_exit->port = HUSK_PORT_CALL_DONE;
    if (vcpu->regs.rdi == guest_gva(guest_grow) && vcpu->regs.rcx++ == 0) {
        mailbox->service_op = HUSK_SERVICE_MEMORY_GROW;
        mailbox->service_arg[0] = 0;
        mailbox->service_arg[1] = 1;
        ret_exit->port = HUSK_PORT_SERVICE;
    } else if (vcpu->regs.rdi == guest_gva(guest_add)) {
        memcpy(&a, mailbox->call_slots[0].bytes, 4);
        memcpy(&b, mailbox->call_slots[1].bytes, 4);
        uint8_t *memory =
            fake_memory(vcpu->vm, gpa_of_gva(HUSK_MEM0_GVA).v + b * HUSK_PAGE_SIZE, 4);
        CHECK(memory != NULL);
        memcpy(memory, &a, 4);
    } else if (vcpu->regs.rdi == guest_gva(guest_host)) {
        mailbox->host_slots[0] = mailbox->call_slots[0];
        mailbox->import_idx = 0;
        vcpu->regs.rip = guest_gva(guest_resume);
        vcpu->regs.rsp = HUSK_STACK_TOP_GVA - 40;
        ret_exit->port = HUSK_PORT_HOST_CALL;
    }
}

static int host_waits(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user, (void)args, (void)results;
    return husk_caller_pending(caller);
}

static struct vm_backend backend;

static void open_world(struct fault_world *world) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    backend = (struct vm_backend){.guest = guest_script, .fails = fault_next};
    CHECK_OK(fake_engine_new(&backend, &world->engine, &world->err), world->err);
    husk_image **images[] = {&world->image, &world->other};
    for (int i = 0; i < 2; i++)
        CHECK_OK(husk_image_open_buffer(world->engine, (struct husk_buffer){bytes, count}, NULL,
                                        images[i], &world->err),
                 world->err);
    free(bytes);
    CHECK_OK(husk_imports_new(world->engine, &world->imports, &world->err), world->err);
    CHECK_OK(
        husk_imports_funcs(world->imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "host", .type = &type, .fn = host_waits},
                           1, &world->err),
        world->err);
}

static void call(struct fault_world *world, husk_sandbox *sandbox, const char *name,
                 const struct husk_value *args, size_t count) {
    struct husk_value result;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = args, .args_count = count, .results = &result,
                            .results_count = 1),
                       &world->outcome, &world->err),
             world->err);
    CHECK_EQ_I64(world->outcome.kind, HUSK_RETURNED);
}

static void scramble(struct fault_world *world, husk_sandbox *sandbox, unsigned seed) {
    const struct husk_value one = {.type = HUSK_I64, .of.i64 = 1};
    call(world, sandbox, "grow", &one, 1);
    for (int32_t page = 0; page < 32; page += 2) {
        const struct husk_value args[2] = {
            {.type = HUSK_I32, .of.i32 = (int32_t)(100 * seed) + page},
            {.type = HUSK_I32, .of.i32 = page}};
        call(world, sandbox, "add", args, 2);
    }
}

static const struct fault_lane lane = {open_world, scramble, NULL};

/* With a private layer, which the calls make grow. */
static void open_world_with_files(struct fault_world *world) {
    open_world(world);
    files_guest_define(world->imports, 1 << 20);
}

static void scramble_with_files(struct fault_world *world, husk_sandbox *sandbox, unsigned seed) {
    struct privfs files;
    scramble(world, sandbox, seed);
    CHECK_EQ_I64(sandbox_files(sandbox, &files), 0);
    for (uint32_t page = 1 + seed % 3; page < 40; page += 5) {
        uint8_t *place = files.base + page * HUSK_PAGE_SIZE;
        if (files.covered_bytes <= page * HUSK_PAGE_SIZE)
            CHECK_EQ_I64(files.cover(&files, (page + 1) * HUSK_PAGE_SIZE), 0);
        memset(place, (int)(seed + page), 100);
    }
}

static const struct fault_lane lane_with_files = {open_world_with_files, scramble_with_files, NULL};

/* With a call that stands at a host function, in the sandbox and in the snapshot. */
static void scramble_standing(struct fault_world *world, husk_sandbox *sandbox, unsigned seed) {
    const struct husk_value arg = {.type = HUSK_I64, .of.i64 = (int64_t)seed + 1000};
    struct husk_value result;
    scramble(world, sandbox, seed);
    if (sandbox->calls.is_pending)
        return; /* the snapshot brought one */
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "host", .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &world->outcome, &world->err),
             world->err);
    CHECK_EQ_I64(world->outcome.kind, HUSK_PENDING);
}

static const struct fault_lane lane_standing = {open_world, scramble_standing, NULL};

/* On kernels before 6.7. */
static void open_world_without_scan(struct fault_world *world) {
    open_world(world);
    world->engine->pagemap.has_scan = false;
}

static const struct fault_lane lane_without_scan = {open_world_without_scan, scramble, NULL};

TEST(every_operation_may_fail) {
    struct fault_counts counts = {0};
    fault_steps_run(&lane, FAULT_ONCE, &counts);
    fault_counts_print(&counts, FAULT_ONCE);
    CHECK_EQ_U64(backend.vms, 0);
    fault_counts_check_steps(&counts);
    static const char *const names[] = {
        "malloc",        "calloc",       "realloc",      "mmap",   "mprotect",
        "MADV_DONTNEED", "PAGEMAP_SCAN", "memfd_create", "writev", "ftruncate",
        "lseek",         "fcntl",        "set_slot",     "create", NULL};
    fault_counts_check(&counts, names);
}

TEST(everything_may_fail_from_some_moment_on) {
    struct fault_counts counts = {0};
    fault_steps_run(&lane, FAULT_EVER, &counts);
    fault_counts_print(&counts, FAULT_EVER);
    CHECK_EQ_U64(backend.vms, 0);
    fault_counts_check_steps(&counts);
}

TEST(with_a_private_layer) {
    for (enum fault_mode mode = 0; mode < FAULT_MODES; mode++) {
        struct fault_counts counts = {0};
        fault_steps_run(&lane_with_files, mode, &counts);
        fault_counts_print(&counts, mode);
    }
    CHECK_EQ_U64(backend.vms, 0);
}

TEST(with_a_standing_call) {
    for (enum fault_mode mode = 0; mode < FAULT_MODES; mode++) {
        struct fault_counts counts = {0};
        fault_steps_run(&lane_standing, mode, &counts);
        fault_counts_print(&counts, mode);
        fault_saves_run(&lane_standing, mode, &counts);
        fault_counts_print(&counts, mode);
    }
    CHECK_EQ_U64(backend.vms, 0);
}

static int count_file(void *user, const struct husk_image_file *file) {
    CHECK(file->path_bytes > 0);
    *(unsigned *)user += 1;
    return 0;
}

/* A snapshot of a layer with a directory and a file, and many runs: they are merged before the
 * layer is looked at. */
static husk_image *make_layer(struct fault_world *world) {
    husk_image *snapshot = NULL;
    struct privfs files;
    struct privfs_id root, id;
    CHECK_OK(husk_sandbox_restore(world->sandbox, world->snapshot, &world->err), world->err);
    CHECK_EQ_I64(sandbox_files(world->sandbox, &files), 0);
    files.limit_bytes = 1 << 20;
    files.limit_entries = 10;
    CHECK_EQ_I64(privfs_root(&files, 0, &root), 0);
    CHECK_EQ_I64(privfs_create(&files, root, "file", 4, PRIVFS_FILE, &id), 0);
    CHECK_EQ_I64(privfs_write(&files, id, 0, "words", 5), 5);
    CHECK_OK(husk_sandbox_snapshot(world->sandbox, &snapshot, &world->err), world->err);
    return snapshot;
}

/* Open a file and list it, and list a snapshot that has no file. The n-th operation fails. */
static bool list_with_faults(struct fault_world *world, enum fault_mode mode, unsigned nth) {
    husk_image *opened = NULL, *snapshot = make_layer(world);
    const struct fault_usage before = fault_usage_now();
    unsigned listed = 0;
    fault_arm(mode, nth, NULL);
    int status = husk_image_open(NULL, world->path, NULL, &opened, &world->err);
    if (status == 0)
        status = husk_image_files(opened, count_file, &listed, &world->err);
    husk_image_unref(opened);
    fault_disarm();
    const bool has_fired = fault_has_fired();
    CHECK_MSG((has_fired || status == 0) && (status == 0) == (listed == 2),
              "operation %u (%s): status %d, %u files: %s", nth, fault_name(), status, listed,
              world->err.message);
    fault_check_usage(&before, "listing a file", mode);
    listed = 0;
    fault_arm(mode, nth, NULL);
    status = husk_image_files(snapshot, count_file, &listed, &world->err);
    fault_disarm();
    CHECK_MSG((status == 0) == (listed == 2), "operation %u (%s): status %d, %u files: %s", nth,
              fault_name(), status, listed, world->err.message);
    husk_image_unref(snapshot);
    return has_fired;
}

TEST(a_listing_may_fail) {
    struct fault_world world;
    fault_world_open(&world, &lane_with_files);
    CHECK_OK(husk_sandbox_load(world.sandbox, world.image, world.imports, &world.err), world.err);
    husk_image *snapshot = make_layer(&world);
    CHECK_OK(husk_image_save(snapshot, world.path, &world.err), world.err);
    husk_image_unref(snapshot);
    for (enum fault_mode mode = FAULT_ONCE; mode <= FAULT_EVER; mode++)
        for (unsigned nth = 1; list_with_faults(&world, mode, nth); nth += FAULT_STRIDE) {
        }
    CHECK(unlink(world.path) == 0);
    fault_world_close(&world);
}

TEST(signals_and_short_transfers_are_no_failures) {
    static const char *const interrupted[] = {"PAGEMAP_SCAN", "writev", "ftruncate", NULL};
    static const char *const shortened[] = {"writev", NULL};
    struct fault_counts counts[2] = {{0}};
    fault_steps_run(&lane, FAULT_INTERRUPT, &counts[0]);
    fault_counts_print(&counts[0], FAULT_INTERRUPT);
    fault_counts_check(&counts[0], interrupted);
    fault_steps_run(&lane, FAULT_SHORT, &counts[1]);
    fault_counts_print(&counts[1], FAULT_SHORT);
    fault_counts_check(&counts[1], shortened);
}

TEST(without_pagemap_scan) {
    static const char *const names[] = {"pread", NULL};
    for (enum fault_mode mode = 0; mode < FAULT_MODES; mode++) {
        struct fault_counts counts = {0};
        fault_steps_run(&lane_without_scan, mode, &counts);
        fault_counts_print(&counts, mode);
        fault_counts_check(&counts, names);
    }
}

TEST(saving_may_fail) {
    static const char *const names[] = {"open",   "writev",   "lseek", "ftruncate", "fsync",
                                        "rename", "sendfile", "fstat", "getrandom", "malloc",
                                        "linkat", "fchmod",   NULL};
    static const char *const interrupted[] = {"open",  "writev",    "sendfile",
                                              "fsync", "ftruncate", NULL};
    for (enum fault_mode mode = 0; mode < FAULT_MODES; mode++) {
        struct fault_counts counts = {0};
        fault_saves_run(&lane, mode, &counts);
        fault_counts_print(&counts, mode);
        if (mode == FAULT_ONCE) {
            fault_counts_check(&counts, names);
            /* the folder could not be synced: said, and the file is there */
            CHECK(counts.replaced > 0);
        }
        if (mode == FAULT_INTERRUPT)
            fault_counts_check(&counts, interrupted);
    }
}

TEST_MAIN()
