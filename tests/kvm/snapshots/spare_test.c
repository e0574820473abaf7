/*
 * tests/kvm/snapshots/spare_test.c: spare VMs, which a thread makes ahead (husk_sandbox_prepare()).
 * New sandboxes of the image find them, and they hold exactly the image. Nothing of them is left
 * when they are not wanted any more.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "files_in.h"
#include "image_internal.h"
#include "literals.h"
#include "sandbox_internal.h"
#include "wat.h"

static const char module[] =
    "(module (memory (export \"memory\") 4 64) (data (i32.const 100) \"contents\")"
    " (global $g (mut i64) (i64.const 7))"
    " (func (export \"peek\") (param i64) (result i64) local.get 0 i32.wrap_i64 i64.load)"
    " (func (export \"poke\") (param i64) (result i64)"
    "   local.get 0 i32.wrap_i64 i64.const -1 i64.store i64.const 99 global.set $g i64.const 0)"
    " (func (export \"global\") (param i64) (result i64) global.get $g))";

struct lab {
    husk_engine *engine;
    husk_image *image;
    struct husk_error err;
    atomic_uint warnings;
};

static void log_take(void *user, enum husk_log_level level, const char *message) {
    struct lab *lab = user;
    if (level == HUSK_LOG_WARNING && strstr(message, "spare") != NULL)
        atomic_fetch_add(&lab->warnings, 1);
}

static void lab_open(struct lab *lab) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    options.pool_max = -1;
    options.log = log_take;
    options.log_user = lab;
    atomic_init(&lab->warnings, 0);
    CHECK_OK(husk_engine_new(&options, &lab->engine, &lab->err), lab->err);
    lab->image = wat_image_with(lab->engine, module, WAT_WORKER);
}

static void lab_close(struct lab *lab) {
    husk_image_unref(lab->image);
    husk_engine_unref(lab->engine);
}

static struct husk_stats stats_of(const struct lab *lab) {
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab->engine, &stats);
    return stats;
}

static void wait_a_little(void) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

/* Until so many are ready. */
static void wait_ready(const struct lab *lab, uint64_t count) {
    struct husk_stats stats = stats_of(lab);
    for (int i = 0; i < 5000 && stats.spares_made - stats.spares_used < count; i++) {
        wait_a_little();
        stats = stats_of(lab);
    }
    CHECK_EQ_U64(stats.spares_made - stats.spares_used, count);
}

static void wait_vms(const struct lab *lab, uint64_t count) {
    for (int i = 0; i < 5000 && stats_of(lab).vms != count; i++)
        wait_a_little();
    CHECK_EQ_U64(stats_of(lab).vms, count);
}

static int64_t call(struct lab *lab, husk_sandbox *sandbox, const char *name, int64_t argument) {
    struct husk_value arg = value_i64(argument), result = value_i64(0);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &outcome, &lab->err),
             lab->err);
    CHECK_EQ_U64(outcome.kind, HUSK_RETURNED);
    return result.of.i64;
}

/* All that a guest can reach, as the host sees it. */
static void check_equal(const husk_sandbox *sandbox, const husk_image *image) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    struct arena_region regions[ARENA_REGIONS_MAX];
    const uint32_t count = arena_regions(&sandbox->machine->arena, regions);
    for (uint32_t i = 0; i < count; i++) {
        for (uint64_t at = 0; at < regions[i].bytes; at += HUSK_PAGE_SIZE) {
            uint64_t bytes;
            const uint8_t *source = image_source(image, regions[i].gva + at, &bytes);
            CHECK_MSG(
                memcmp(regions[i].hva + at, source != NULL ? source : zeros, HUSK_PAGE_SIZE) == 0,
                "the page at 0x%llx differs", (unsigned long long)(regions[i].gva + at));
        }
    }
}

TEST(new_sandboxes_find_them) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    lab_open(&lab);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 2, &lab.err), lab.err);
    for (uint64_t i = 0; i < 12; i++) {
        husk_sandbox *sandbox = NULL;
        wait_ready(&lab, 2);
        const uint64_t searches = stats_of(&lab).memory_searches;
        CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandbox, &lab.err), lab.err);
        CHECK_EQ_U64(stats_of(&lab).spares_used, i + 1);
        CHECK(stats_of(&lab).memory_searches <= searches + 1); /* one by the thread, for the next */
        check_equal(sandbox, lab.image);
        CHECK_EQ_I64(call(&lab, sandbox, "global", 0), 7);
        CHECK_EQ_I64(call(&lab, sandbox, "peek", 4096 * (int64_t)i + 512), 0);
        call(&lab, sandbox, "poke", 4096 * (int64_t)i + 512);
        CHECK_OK(husk_sandbox_restore(sandbox, lab.image, &lab.err), lab.err);
        check_equal(sandbox, lab.image);
        husk_sandbox_free(sandbox);
    }
    CHECK_EQ_U64(stats_of(&lab).pool_misses, 0);
    CHECK_EQ_U64(stats_of(&lab).spare_failures, 0);
    lab_close(&lab);
}

/* Not beside the first calls, as long as half are left. */
TEST(those_taken_are_made_anew_later) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    husk_sandbox *sandboxes[5];
    lab_open(&lab);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 4, &lab.err), lab.err);
    wait_ready(&lab, 4);
    for (int i = 0; i < 2; i++)
        CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandboxes[i], &lab.err), lab.err);
    for (int i = 0; i < 10; i++)
        wait_a_little();
    CHECK_EQ_U64(stats_of(&lab).spares_made, 4);
    husk_sandbox_free(sandboxes[0]);
    wait_ready(&lab, 4);
    for (int i = 2; i < 5; i++) /* the last one leaves fewer than half */
        CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandboxes[i], &lab.err), lab.err);
    wait_ready(&lab, 4);
    CHECK_EQ_U64(stats_of(&lab).spares_used, 5);
    for (int i = 1; i < 5; i++)
        husk_sandbox_free(sandboxes[i]);
    lab_close(&lab);
}

/* Only the first user of a machine finds it equal without a restore. */
TEST(what_the_first_user_wrote_is_restored) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    husk_sandbox *sandbox = NULL;
    lab_open(&lab);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 1, &lab.err), lab.err);
    wait_ready(&lab, 1);
    const uint64_t restores = stats_of(&lab).restores;
    CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandbox, &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(&lab).restores, restores);
    for (int64_t i = 0; i < 3; i++) {
        call(&lab, sandbox, "poke", 8192 * i);
        CHECK_OK(husk_sandbox_load(sandbox, lab.image, NULL, &lab.err), lab.err);
        check_equal(sandbox, lab.image);
        CHECK_EQ_I64(call(&lab, sandbox, "global", 0), 7);
    }
    CHECK_EQ_U64(stats_of(&lab).restores, restores + 3);
    husk_sandbox_free(sandbox);
    lab_close(&lab);
}

/* Other limits, or another image, have no use for them. */
TEST(only_those_for_which_they_were_made) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_sandbox *sandbox = NULL;
    lab_open(&lab);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 1, &lab.err), lab.err);
    wait_ready(&lab, 1);
    options.stack_bytes = 64 << 10;
    CHECK_OK(husk_sandbox_new(lab.image, NULL, &options, &sandbox, &lab.err), lab.err);
    husk_image *snapshot = NULL;
    call(&lab, sandbox, "poke", 0);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab.err), lab.err);
    husk_sandbox_free(sandbox);
    CHECK_OK(husk_sandbox_new(snapshot, NULL, NULL, &sandbox, &lab.err), lab.err);
    CHECK_EQ_I64(call(&lab, sandbox, "global", 0), 99);
    husk_sandbox_free(sandbox);
    CHECK_EQ_U64(stats_of(&lab).spares_used, 0);
    CHECK_OK(husk_sandbox_prepare(snapshot, NULL, &options, 3, &lab.err), lab.err);
    wait_ready(&lab, 4);
    CHECK_OK(husk_sandbox_new(snapshot, NULL, &options, &sandbox, &lab.err), lab.err);
    CHECK_EQ_U64(stats_of(&lab).spares_used, 1);
    check_equal(sandbox, snapshot);
    CHECK_EQ_I64(call(&lab, sandbox, "peek", 0), -1);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    lab_close(&lab);
}

/* Far enough from one another that the kernel does not map one as a neighbour of the other. */
#define READ_AT 0x100000
#define OTHER_AT 0x180000
#define WRITTEN_AT 0x200000
static const char far_module[] =
    "(module (memory (export \"memory\") 64) (data (i32.const 0x100000) \"one\")"
    " (data (i32.const 0x180000) \"two\") (data (i32.const 0x200000) \"three\")"
    " (func (export \"peek\") (param i64) (result i64) local.get 0 i32.wrap_i64 i64.load)"
    " (func (export \"poke\") (param i64) (result i64)"
    "   local.get 0 i32.wrap_i64 i64.const -1 i64.store i64.const 0))";

/* Page faults of a call in a new sandbox that was called before. */
static uint64_t faults_of_peek(struct lab *lab, husk_sandbox *sandbox, int64_t at) {
    struct machine *machine = sandbox->machine;
    const uint64_t before = machine->vcpu_ops->faults(machine->vcpu);
    call(lab, sandbox, "peek", at);
    return machine->vcpu_ops->faults(machine->vcpu) - before;
}

static bool is_known_read(husk_image *image, uint64_t page_gva) {
    bool is_there = false;
    pthread_mutex_lock(&image->template_lock);
    for (uint32_t i = 0; i < image->read_count; i++) {
        is_there |= image->read_gvas[i] == page_gva;
        CHECK(i == 0 || image->read_gvas[i - 1] < image->read_gvas[i]);
    }
    pthread_mutex_unlock(&image->template_lock);
    return is_there;
}

/* Code, constants and contents: the first call of the next sandbox takes no faults for them. Where
 * VMs had better not change threads, the one that makes them ahead runs nothing. */
TEST(what_one_has_read_the_next_has_mapped) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    husk_sandbox *sandbox = NULL;
    lab_open(&lab);
    husk_image_unref(lab.image);
    lab.image = wat_image_with(lab.engine, far_module, WAT_WORKER);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 1, &lab.err), lab.err);
    wait_ready(&lab, 1);
    CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandbox, &lab.err), lab.err);
    call(&lab, sandbox, "peek", 0);
    const bool are_counted =
        sandbox->machine->vcpu_ops->faults(sandbox->machine->vcpu) != VCPU_FAULTS_UNKNOWN;
    CHECK(!are_counted || faults_of_peek(&lab, sandbox, READ_AT) > 0);
    call(&lab, sandbox, "poke", WRITTEN_AT);
    husk_sandbox_free(sandbox);
    CHECK(is_known_read(lab.image, HUSK_MEM0_GVA + READ_AT));
    CHECK(is_known_read(lab.image, lab.image->code->module.entry_gva & ~0xfffull));
    CHECK(!is_known_read(lab.image, HUSK_MEM0_GVA + OTHER_AT));
    CHECK(!is_known_read(lab.image, HUSK_MEM0_GVA + WRITTEN_AT)); /* it is the sandbox's own */
    for (int i = 0; i < 2; i++) { /* one may have been made while nothing was known */
        wait_ready(&lab, 1);
        CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandbox, &lab.err), lab.err);
        call(&lab, sandbox, "peek", 0);
        CHECK(i == 0 || !are_counted || !vm_may_change_thread() ||
              faults_of_peek(&lab, sandbox, READ_AT) == 0);
        CHECK(i == 0 || !are_counted || faults_of_peek(&lab, sandbox, OTHER_AT) > 0);
        husk_sandbox_free(sandbox);
    }
    wait_ready(&lab, 1);
    CHECK_OK(husk_sandbox_new(lab.image, NULL, NULL, &sandbox, &lab.err), lab.err);
    check_equal(sandbox, lab.image);
    husk_sandbox_free(sandbox);
    CHECK_EQ_U64(stats_of(&lab).spare_failures, 0);
    lab_close(&lab);
}

TEST(the_count_can_change) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    lab_open(&lab);
    static const uint32_t counts[] = {3, 1, 0, 2, 5, 0, 1};
    for (unsigned i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, counts[i], &lab.err), lab.err);
        wait_vms(&lab, counts[i]);
    }
    husk_engine_trim(lab.engine, 0);
    CHECK_EQ_U64(stats_of(&lab).vms, 1);
    lab_close(&lab);
}

TEST(nothing_is_left) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    for (int i = 0; i < 6; i++) {
        const unsigned fds = files_in("/proc/self/fd"), threads = files_in("/proc/self/task");
        lab_open(&lab);
        CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 3, &lab.err), lab.err);
        if (i % 3 == 0)
            wait_ready(&lab, 3);
        else if (i % 3 == 1)
            wait_a_little(); /* in the middle of one */
        husk_image *image = husk_image_ref(lab.image);
        lab_close(&lab);
        /* one that has ended, or KVM's for a VM, may be seen for some moments */
        for (int k = 0; k < 500 && files_in("/proc/self/task") != threads; k++)
            wait_a_little();
        CHECK_EQ_U64(files_in("/proc/self/task"), threads);
        CHECK_STATUS(husk_sandbox_prepare(image, NULL, NULL, 1, &lab.err), HUSK_E_STATE);
        husk_image_unref(image);
        CHECK_EQ_U64(files_in("/proc/self/fd"), fds);
    }
}

TEST(failures_are_told_and_tried_again) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct rlimit old, none;
    lab_open(&lab);
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    none = (struct rlimit){.rlim_cur = 3, .rlim_max = old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 1, &lab.err), lab.err);
    for (int i = 0; i < 5000 && stats_of(&lab).spare_failures < 2; i++)
        wait_a_little();
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    CHECK(stats_of(&lab).spare_failures >= 2);
    CHECK(atomic_load(&lab.warnings) >= 2);
    wait_ready(&lab, 1);
    CHECK_EQ_U64(stats_of(&lab).vms, 1);
    lab_close(&lab);
}

TEST(bad_arguments) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    lab_open(&lab);
    CHECK_STATUS(husk_sandbox_prepare(NULL, NULL, NULL, 1, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_prepare(lab.image, NULL, NULL, 1025, &lab.err), HUSK_E_LIMIT);
    CHECK_OK(husk_sandbox_prepare(lab.image, NULL, NULL, 0, &lab.err), lab.err);
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = 65536;
    CHECK_STATUS(husk_sandbox_prepare(lab.image, NULL, &options, 1, &lab.err), HUSK_E_LIMIT);
    options.memory_max_bytes = 0;
    for (uint64_t i = 1; i <= 65;
         i++) { /* one wish for each: as many as there are images at most */
        options.table_max_entries = i;
        CHECK_STATUS(husk_sandbox_prepare(lab.image, NULL, &options, 1, &lab.err),
                     i <= 64 ? 0 : HUSK_E_LIMIT);
    }
    const pid_t pid = fork();
    if (pid == 0)
        _exit(husk_sandbox_prepare(lab.image, NULL, NULL, 1, &lab.err) == HUSK_E_STATE ? 0 : 1);
    int wait_status = -1;
    CHECK(waitpid(pid, &wait_status, 0) == pid && wait_status == 0);
    lab_close(&lab);
}

TEST_MAIN()
