/*
 * tests/kvm/stats/stats_test.c: each operation changes exactly its counters, by the right amount.
 * Gauges show the current state. The Prometheus text is well-formed and has the same numbers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "guest_lab.h"
#include "harness.h"
#include "literals.h"
#include "sandbox_internal.h"
#include "state_guest.h"
#include "wat.h"

#define PAGE_I32 ((int32_t)HUSK_PAGE_SIZE)

/* What an i32 given to the module's host function asks for. */
enum { HOST_PLUS_ONE, HOST_EXIT = 1000, HOST_INTERRUPT, HOST_SPIN };

struct world {
    struct state_lab lab;
    struct husk_stats before;
    uint64_t spin_ns;
};

static int host(husk_caller *caller, void *user, const struct husk_value *args,
                struct husk_value *results) {
    const struct world *world = user;
    struct husk_limits options = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    results[0].of.i32 = args[0].of.i32 + 1;
    switch (args[0].of.i32) {
    case HOST_EXIT: return husk_caller_exit(caller, 3);
    case HOST_INTERRUPT: husk_interrupt(husk_caller_sandbox(caller)); return 0;
    case HOST_SPIN:
        options.wall_ns = world->spin_ns;
        return husk_call(husk_caller_sandbox(caller), CALL(.name = "spin", .limits = &options),
                         &outcome, NULL);
    default: return 0;
    }
}

static void world_open(struct world *world) {
    struct husk_engine_options options = HUSK_ENGINE_OPTIONS_INIT;
    *world = (struct world){.before = HUSK_STATS_INIT};
    options.pool_max = 1;
    options.measure_times = true;
    state_open_with(&world->lab, &options, host, world);
    husk_engine_stats(world->lab.engine, &world->before);
}

/* Since the last time, the counters moved by these, and those of pages, which are checked by
 * themselves, by anything. */
static void check_moved(struct world *world, const char *what, struct husk_stats moved) {
    struct husk_stats now = HUSK_STATS_INIT;
    husk_engine_stats(world->lab.engine, &now);
    moved.snapshot_pages = now.snapshot_pages - world->before.snapshot_pages;
    moved.restore_pages_copied = now.restore_pages_copied - world->before.restore_pages_copied;
    moved.restore_pages_hot = now.restore_pages_hot - world->before.restore_pages_hot;
    moved.restore_pages_aged = now.restore_pages_aged - world->before.restore_pages_aged;
    moved.memory_searches = now.memory_searches - world->before.memory_searches;
#define STAT(name, metric, label, help)                                                            \
    CHECK_MSG(now.name - world->before.name == moved.name,                                         \
              "%s: " #name " by %" PRIu64 ", not %" PRIu64, what, now.name - world->before.name,   \
              moved.name);
#include "stats.def"
#undef STAT
    CHECK_EQ_U64(now.sandboxes, now.sandboxes_made - now.sandboxes_freed);
    CHECK_EQ_U64(now.vms, now.vms_made - now.vms_freed);
    CHECK_EQ_U64(now.snapshot_bytes, now.snapshot_pages * HUSK_PAGE_SIZE);
    CHECK_EQ_U64(now.restore_bytes_copied, now.restore_pages_copied * HUSK_PAGE_SIZE);
    world->before = now;
}
#define MOVED(world, what, ...) check_moved(world, what, (struct husk_stats){__VA_ARGS__})

static void restore(struct world *world, husk_image *image) {
    CHECK_OK(husk_sandbox_restore(world->lab.sandbox, image, &world->lab.err), world->lab.err);
}

/* ---- Calls and their ends ---- */

TEST(calls) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    STATE_CALL(lab, "store", 8, 1);
    MOVED(&world, "a call", .calls = 1);
    STATE_CALL(lab, "host", HOST_PLUS_ONE);
    MOVED(&world, "a host call", .calls = 1, .host_calls = 1);
    STATE_CALL(lab, "grow", 1);
    MOVED(&world, "growing", .calls = 1, .memory_grows = 1);
    STATE_CALL(lab, "grow", 10000);
    MOVED(&world, "growing too much", .calls = 1, .memory_refusals = 1);
    STATE_RUN(lab, "trap");
    MOVED(&world, "a trap", .calls = 1, .traps = 1);
    STATE_RUN(lab, "host", HOST_EXIT);
    MOVED(&world, "an exit", .calls = 1, .host_calls = 1, .exits = 1);
    CHECK(husk_call(lab->sandbox, CALL(.name = "nothing"), &lab->outcome, &lab->err) < 0);
    MOVED(&world, "a call of nothing", .calls = 0);
    state_close(lab);
}

/* A call that ends while the guest runs: how many were needed for that depends on the machine. */
static uint64_t spin_until_poisoned(struct state_lab *lab) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    uint64_t tries = 0;
    for (options.wall_ns = 20000000; !lab->outcome.is_poisoned; options.wall_ns *= 4, tries++) {
        CHECK_OK(husk_call(lab->sandbox, CALL(.name = "spin", .limits = &options), &lab->outcome,
                           &lab->err),
                 lab->err);
        CHECK_EQ_U64(lab->outcome.kind, HUSK_DEADLINE);
    }
    return tries;
}

TEST(poisonings_by_cause) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    uint64_t tries = spin_until_poisoned(lab);
    MOVED(&world, "a deadline", .calls = tries, .deadlines = tries, .poisonings_deadline = 1);
    CHECK_STATUS(husk_call(lab->sandbox, CALL(.name = "trap"), &lab->outcome, &lab->err),
                 HUSK_E_POISONED);
    MOVED(&world, "a refused call", .calls = 0);
    restore(&world, lab->image);
    MOVED(&world, "healing", .restores = 1);
    husk_interrupt(lab->sandbox);
    STATE_RUN(lab, "trap");
    CHECK_EQ_U64(lab->outcome.kind, HUSK_INTERRUPTED);
    MOVED(&world, "an interrupt before the guest ran", .calls = 1, .interrupts = 1);
    STATE_RUN(lab, "host", HOST_INTERRUPT);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_INTERRUPTED);
    MOVED(&world, "an interrupt", .calls = 1, .host_calls = 1, .interrupts = 1,
          .poisonings_interrupt = 1);
    CHECK_OK(husk_sandbox_load(lab->sandbox, lab->image, lab->imports, &lab->err), lab->err);
    MOVED(&world, "healing by a load", .restores = 1, .loads_in_place = 1, .unloads = 1);
    state_close(lab);
}

/* The inner call is cut off, and the one around it with it: one sandbox is poisoned. */
TEST(nested_calls_poison_once) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    for (world.spin_ns = 20000000;; world.spin_ns *= 4) {
        STATE_RUN(lab, "host", HOST_SPIN);
        if (lab->outcome.is_poisoned)
            break;
        MOVED(&world, "not run in time", .calls = 2, .host_calls = 1, .deadlines = 1);
    }
    MOVED(&world, "nested", .calls = 2, .host_calls = 1, .deadlines = 2, .poisonings_deadline = 1);
    state_close(lab);
}

TEST(guest_violations) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct husk_stats stats = HUSK_STATS_INIT;
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (unsigned i = 1; i <= 3; i++) {
        guest_run(lab.sandbox, "bad_port", NULL, &lab.outcome);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_GUEST_VIOLATION);
        husk_engine_stats(lab.engine, &stats);
        CHECK_EQ_U64(stats.guest_violations, i);
        CHECK_EQ_U64(stats.poisonings_guest_violation, i);
        CHECK_EQ_U64(stats.poisonings_vm_failure + stats.poisonings_deadline +
                         stats.poisonings_interrupt,
                     0);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    guest_lab_close(&lab);
}

TEST(parking) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    CHECK_OK(husk_sandbox_park(lab->sandbox, &lab->err), lab->err);
    MOVED(&world, "parking", .parks = 1);
    CHECK_OK(husk_sandbox_park(lab->sandbox, &lab->err), lab->err);
    MOVED(&world, "parking again", .parks = 0);
    restore(&world, lab->image);
    MOVED(&world, "a restore meanwhile", .restores = 1);
    STATE_CALL(lab, "load", 8);
    MOVED(&world, "a call", .calls = 1, .unparks = 1);
    CHECK_OK(husk_sandbox_park(lab->sandbox, &lab->err), lab->err);
    husk_engine_trim(lab->engine, 0);
    MOVED(&world, "parking without a pool", .parks = 1, .vms_freed = 1);
    STATE_CALL(lab, "load", 8);
    MOVED(&world, "a call that needs a VM", .calls = 1, .unparks = 1, .vms_made = 1);
    state_close(lab);
}

/* ---- Loads, the pool ---- */

static const char other_text[] = "(module (memory 3 5) (func (export \"f\")))";

TEST(loads_by_kind) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    husk_image *snapshot = NULL, *other = wat_image_with(lab->engine, other_text, WAT_WORKER);
    world.before = (struct husk_stats)HUSK_STATS_INIT;
    MOVED(&world, "the first sandbox", .sandboxes_made = 1, .vms_made = 1, .pool_misses = 1,
          .loads_new_vm = 1);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &snapshot, &lab->err), lab->err);
    MOVED(&world, "a snapshot", .snapshots = 1);
    restore(&world, snapshot);
    MOVED(&world, "a restore is no load", .restores = 1);
    CHECK_OK(husk_sandbox_unload(lab->sandbox, &lab->err), lab->err);
    CHECK_OK(husk_sandbox_unload(lab->sandbox, &lab->err), lab->err);
    MOVED(&world, "unloading, twice", .unloads = 1);
    CHECK_OK(husk_sandbox_load(lab->sandbox, snapshot, lab->imports, &lab->err), lab->err);
    MOVED(&world, "loading a snapshot", .restores = 1, .loads_in_place = 1,
          .loads_from_snapshot = 1);
    CHECK_OK(husk_sandbox_load(lab->sandbox, other, NULL, &lab->err), lab->err);
    MOVED(&world, "another module", .restores = 1, .restores_rebuilt = 1, .loads_rebuilt = 1,
          .unloads = 1);
    CHECK_STATUS(husk_sandbox_load(lab->sandbox, lab->image, NULL, &lab->err), HUSK_E_LINK);
    CHECK_STATUS(husk_sandbox_restore(lab->sandbox, lab->image, &lab->err), HUSK_E_INVAL);
    MOVED(&world, "what is refused", .restores = 0);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    MOVED(&world, "freeing", .sandboxes_freed = 1, .unloads = 1);
    husk_image_unref(other);
    husk_image_unref(snapshot);
    state_close(lab);
}

static void check_gauges(const struct world *world, uint64_t sandboxes, uint64_t pool_idle,
                         uint64_t vms) {
    CHECK_EQ_U64(world->before.sandboxes, sandboxes);
    CHECK_EQ_U64(world->before.pool_idle, pool_idle);
    CHECK_EQ_U64(world->before.vms, vms);
}

TEST(the_pool_and_gauges) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    husk_sandbox *second = NULL, *empty = state_sandbox(lab, NULL);
    MOVED(&world, "an empty sandbox has no VM", .sandboxes_made = 1, .pool_misses = 1);
    CHECK_OK(husk_sandbox_clone(lab->sandbox, &second, &lab->err), lab->err);
    MOVED(&world, "a clone", .snapshots = 1, .sandboxes_made = 1, .pool_misses = 1, .vms_made = 1,
          .loads_new_vm = 1, .loads_from_snapshot = 1);
    check_gauges(&world, 3, 0, 2);
    husk_sandbox_free(empty);
    MOVED(&world, "freeing what has no VM", .sandboxes_freed = 1);
    husk_sandbox_free(second);
    MOVED(&world, "into the pool", .sandboxes_freed = 1, .unloads = 1);
    check_gauges(&world, 1, 1, 2);
    husk_sandbox_free(lab->sandbox);
    MOVED(&world, "no room in the pool", .sandboxes_freed = 1, .unloads = 1, .pool_drops = 1,
          .vms_freed = 1);
    check_gauges(&world, 0, 1, 1);
    lab->sandbox = state_sandbox(lab, lab->image);
    MOVED(&world, "out of the pool", .sandboxes_made = 1, .pool_hits = 1, .restores = 1,
          .loads_in_place = 1);
    check_gauges(&world, 1, 0, 1);
    husk_sandbox_free(lab->sandbox);
    lab->sandbox = NULL;
    husk_engine_trim(lab->engine, 0);
    MOVED(&world, "trimming", .sandboxes_freed = 1, .unloads = 1, .vms_freed = 1);
    check_gauges(&world, 0, 0, 0);
    CHECK_EQ_U64(world.before.hot_pages, 0);
    state_close(lab);
}

TEST(memory_images) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    husk_memory_image *image = NULL;
    CHECK_OK(husk_memory_image_new(lab->sandbox, RANGE(.count = HUSK_PAGE_SIZE), &image, &lab->err),
             lab->err);
    MOVED(&world, "a memory image", .memory_images_made = 1);
    for (uint64_t i = 1; i < 4; i++)
        CHECK_OK(husk_memory_image_map(lab->sandbox,
                                       RANGE(.addr = i * HUSK_PAGE_SIZE, .count = HUSK_PAGE_SIZE),
                                       image, 0, &lab->err),
                 lab->err);
    MOVED(&world, "mapping it three times", .memory_images_mapped = 3);
    CHECK(husk_memory_image_map(lab->sandbox, RANGE(.addr = 1, .count = HUSK_PAGE_SIZE), image, 0,
                                &lab->err) < 0);
    MOVED(&world, "a refused mapping", .memory_images_mapped = 0);
    husk_memory_image_unref(image);
    state_close(lab);
}

/* ---- Pages ---- */

/* Write one word in each of `count` pages, the first ones of the memory. */
static void write_pages(struct state_lab *lab, int32_t count) {
    for (int32_t i = 0; i < count; i++)
        STATE_CALL(lab, "store", i * PAGE_I32 + 8, 4711);
}

static void read_stats(struct world *world) {
    husk_engine_stats(world->lab.engine, &world->before);
}

static uint64_t copied_after(struct world *world, int32_t pages) {
    write_pages(&world->lab, pages);
    read_stats(world);
    uint64_t before = world->before.restore_pages_copied,
             hot_before = world->before.restore_pages_hot;
    restore(world, world->lab.image);
    read_stats(world);
    CHECK_EQ_U64(world->before.restore_pages_hot - hot_before,
                 world->lab.sandbox->machine->hotset.count);
    CHECK_EQ_U64(world->before.hot_pages, world->lab.sandbox->machine->hotset.count);
    CHECK_EQ_U64(world->before.restore_bytes_copied,
                 world->before.restore_pages_copied * HUSK_PAGE_SIZE);
    return world->before.restore_pages_copied - before;
}

/* The pages of the call itself (stack, mailbox) are the same every time. */
TEST(pages_copied_and_aged) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    for (unsigned i = 0; i < 2 * HOT_AGE_MAX;
         i++) /* what the first calls wrote and later ones do not, leaves */
        copied_after(&world, 1);
    const uint64_t one = copied_after(&world, 1), hot = world.lab.sandbox->machine->hotset.count;
    CHECK_EQ_U64(copied_after(&world, 1), one);
    uint64_t aged = world.before.restore_pages_aged;
    CHECK_EQ_U64(copied_after(&world, 21), one + 20);
    CHECK_EQ_U64(world.before.hot_pages, hot + 20);
    for (unsigned i = 0; i < 2 * HOT_AGE_MAX; i++)
        CHECK_EQ_U64(copied_after(&world, 1), one);
    CHECK_EQ_U64(world.before.restore_pages_aged, aged + 20);
    CHECK_EQ_U64(world.before.hot_pages, hot);
    state_close(&world.lab);
}

static uint64_t snapshot_pages_after(struct world *world, int32_t pages) {
    husk_image *snapshot = NULL;
    restore(world, world->lab.image);
    write_pages(&world->lab, pages);
    read_stats(world);
    uint64_t before = world->before.snapshot_pages, bytes_before = world->before.snapshot_bytes;
    CHECK_OK(husk_sandbox_snapshot(world->lab.sandbox, &snapshot, &world->lab.err), world->lab.err);
    husk_image_unref(snapshot);
    read_stats(world);
    uint64_t written = world->before.snapshot_pages - before;
    CHECK_EQ_U64(world->before.snapshot_bytes - bytes_before, written * HUSK_PAGE_SIZE);
    return written;
}

TEST(pages_of_snapshots) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    CHECK_EQ_U64(snapshot_pages_after(&world, 0), 0);
    CHECK_EQ_U64(snapshot_pages_after(&world, 1), 1);
    CHECK_EQ_U64(snapshot_pages_after(&world, 24), 24);
    state_close(&world.lab);
}

/* Hot pages are counted as long as somebody keeps them: in the pool, too. */
TEST(hot_pages_of_all_sandboxes) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    struct state_lab *lab = &world.lab;
    husk_sandbox *second = state_sandbox(lab, lab->image);
    write_pages(lab, 10);
    restore(&world, lab->image);
    for (int32_t i = 0; i < 5; i++)
        STATE_CALL_ON(lab, second, "store", i * PAGE_I32, 1);
    CHECK_OK(husk_sandbox_restore(second, lab->image, &lab->err), lab->err);
    read_stats(&world);
    const uint64_t first_pages = lab->sandbox->machine->hotset.count,
                   second_pages = second->machine->hotset.count;
    CHECK(first_pages >= 10 && second_pages >= 5);
    CHECK_EQ_U64(world.before.hot_pages, first_pages + second_pages);
    husk_sandbox_free(second);
    read_stats(&world);
    CHECK_EQ_U64(world.before.hot_pages, first_pages + second_pages);
    husk_engine_trim(lab->engine, 0);
    read_stats(&world);
    CHECK_EQ_U64(world.before.hot_pages, first_pages);
    second = state_sandbox(lab, lab->image); /* starts with the pages that were learned */
    read_stats(&world);
    CHECK_EQ_U64(world.before.hot_pages, first_pages + second->machine->hotset.count);
    husk_sandbox_free(second);
    state_close(lab);
}

/* ---- Times ---- */

static void check_histogram(const husk_engine *engine, enum husk_histogram_kind kind,
                            uint64_t count, uint64_t sum_ns) {
    struct husk_histogram histogram = HUSK_HISTOGRAM_INIT;
    uint64_t in_buckets = 0, at_least = 0;
    husk_engine_histogram(engine, kind, &histogram);
    for (unsigned i = 0; i < HUSK_HISTOGRAM_BUCKETS; i++) {
        in_buckets += histogram.buckets[i];
        at_least += histogram.buckets[i] * (i == 0 ? 0 : (UINT64_C(1) << i) + 1);
    }
    CHECK_EQ_U64(histogram.count, count);
    CHECK_EQ_U64(in_buckets, count);
    CHECK_EQ_U64(histogram.sum_ns, sum_ns);
    CHECK(sum_ns >= at_least && (count == 0) == (sum_ns == 0));
}

static void run_some(struct world *world) {
    husk_image *snapshot = NULL;
    for (int i = 0; i < 20; i++) {
        STATE_CALL(&world->lab, "host", HOST_PLUS_ONE);
        CHECK_OK(husk_sandbox_snapshot(world->lab.sandbox, &snapshot, &world->lab.err),
                 world->lab.err);
        restore(world, snapshot);
        husk_image_unref(snapshot);
    }
    read_stats(world);
}

TEST(times) {
    SKIP_WITHOUT_COMPILER();
    struct world world;
    world_open(&world);
    run_some(&world);
    const struct husk_stats *stats = &world.before;
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_RESTORE, 20, stats->restore_ns);
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_SNAPSHOT, 20, stats->snapshot_ns);
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_CALL, 20, stats->call_ns);
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_HOST_CALL, 20, stats->host_call_ns);
    CHECK(stats->call_ns > stats->host_call_ns);
    state_close(&world.lab);
}

TEST(calls_are_timed_on_request_only) {
    SKIP_WITHOUT_COMPILER();
    struct world world = {.before = HUSK_STATS_INIT};
    state_open(&world.lab, host, &world);
    run_some(&world);
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_RESTORE, 20, world.before.restore_ns);
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_CALL, 0, 0);
    check_histogram(world.lab.engine, HUSK_HISTOGRAM_HOST_CALL, 0, 0);
    CHECK_EQ_U64(world.before.call_ns + world.before.host_call_ns, 0);
    state_close(&world.lab);
}

/* A duration of exactly a bound is in the bucket that ends there. */
TEST(bounds_of_histograms) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, NULL, NULL, NULL);
    static const struct {
        uint64_t ns;
        unsigned bucket;
    } rows[] = {{0, 0},          {1, 0}, {2, 0},           {3, 1},
                {4, 1},          {5, 2}, {1024, 9},        {1025, 10},
                {8, 2},          {9, 3}, {1ull << 40, 39}, {(1ull << 40) + 1, 39},
                {UINT64_MAX, 39}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct husk_histogram before = HUSK_HISTOGRAM_INIT, after = HUSK_HISTOGRAM_INIT;
        husk_engine_histogram(lab.engine, HUSK_HISTOGRAM_SNAPSHOT, &before);
        struct tally tally = {0};
        tally_init(&tally, &lab.engine->stats);
        stat_measure(&tally, HUSK_HISTOGRAM_SNAPSHOT, rows[i].ns);
        husk_engine_histogram(lab.engine, HUSK_HISTOGRAM_SNAPSHOT, &after);
        CHECK_MSG(after.buckets[rows[i].bucket] == before.buckets[rows[i].bucket] + 1,
                  "%" PRIu64 " ns", rows[i].ns);
        CHECK_EQ_U64(tally.durations[HUSK_HISTOGRAM_SNAPSHOT].sum_ns, rows[i].ns);
        tally_done(&tally); /* what it counted stays */
        husk_engine_histogram(lab.engine, HUSK_HISTOGRAM_SNAPSHOT, &before);
        CHECK_EQ_U64(before.buckets[rows[i].bucket], after.buckets[rows[i].bucket]);
    }
    guest_lab_close(&lab);
}

TEST_MAIN()
