/*
 * tests/kvm/snapshots/restore_test.c: after a restore, everything that the guest can see is as in
 * the image, whatever was changed and however often. Restores use up no descriptors, mappings or
 * memory. HUSK_TEST_ROUNDS sets the rounds of the property test (default 10,000; with sanitizers
 * 2000).
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files_in.h"
#include "harness.h"
#include "state_guest.h"
#include "wat.h"
#include "literals.h"

struct footprint {
    unsigned fds, maps;
    uint64_t rss_kib, heap_bytes;
};

static unsigned count_lines(const char *path) {
    unsigned lines = 0;
    FILE *file = fopen(path, "re");
    CHECK(file != NULL);
    for (int byte; (byte = fgetc(file)) != EOF;)
        lines += byte == '\n';
    fclose(file);
    return lines;
}

static struct footprint footprint_now(void) {
    struct footprint now = {.fds = files_in("/proc/self/fd"),
                            .maps = count_lines("/proc/self/maps"),
                            .heap_bytes = mallinfo2().uordblks};
    char line[128];
    FILE *file = fopen("/proc/self/status", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            now.rss_kib = strtoull(line + 6, NULL, 10);
    fclose(file);
    return now;
}

static unsigned rounds_wanted(void) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : HARNESS_SANITIZED ? 2000 : 10000;
}

static void check_constant(const struct footprint *before, unsigned round) {
    struct footprint now = footprint_now();
    CHECK_EQ_U64(now.fds, before->fds);
    CHECK_MSG(now.maps <= before->maps + (HARNESS_SANITIZED ? 40 : 8),
              "%u mappings after %u rounds, %u before", now.maps, round, before->maps);
    CHECK_MSG(HARNESS_SANITIZED || now.heap_bytes <= before->heap_bytes + 2048,
              "%" PRIu64 " bytes of heap in use after %u rounds, %" PRIu64 " before",
              now.heap_bytes, round, before->heap_bytes);
    CHECK_MSG(HARNESS_SANITIZED || now.rss_kib <= before->rss_kib + 1024,
              "%" PRIu64 " KiB resident after %u rounds, %" PRIu64 " before", now.rss_kib, round,
              before->rss_kib);
}

/* Two targets in turn, at random: the module as compiled, and a snapshot with something of
 * everything changed. */
TEST(everything_comes_back) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copies[2];
    husk_image *targets[2] = {0};
    uint64_t random = 1;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "size"); /* started */
    state_copy_take(lab.sandbox, &copies[0]);
    targets[0] = husk_image_ref(lab.image);
    for (int i = 0; i < 10; i++)
        state_scramble(&lab, lab.sandbox, &random);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &targets[1], &lab.err), lab.err);
    state_copy_take(lab.sandbox, &copies[1]);
    CHECK(!state_copy_equal(lab.sandbox, &copies[0]));
    struct footprint before = {0};
    const unsigned rounds = rounds_wanted(), warm = rounds < 600 ? rounds / 2 : 300;
    for (unsigned round = 0; round < rounds; round++) {
        unsigned target = state_random(&random) % 2;
        state_scramble(&lab, lab.sandbox, &random);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, targets[target], &lab.err), lab.err);
        char when[64];
        snprintf(when, sizeof when, "round %u, target %u", round, target);
        state_copy_check(lab.sandbox, &copies[target], when);
        if (round == warm)
            before = footprint_now();
        if (round > warm && (round % 100 == 0 || round == rounds - 1))
            check_constant(&before, round);
    }
    for (int i = 0; i < 2; i++) {
        state_copy_done(&copies[i]);
        husk_image_unref(targets[i]);
    }
    state_close(&lab);
}

/* The same with new sandboxes each time: through the pool, and by unloading and loading. Lists in
 * the pool grow to what the largest round needed, which is over after some 300 rounds. */
TEST(everything_comes_back_by_loading) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    husk_image *snapshot = NULL;
    uint64_t random = 2;
    state_open(&lab, NULL, NULL);
    for (int i = 0; i < 10; i++)
        state_scramble(&lab, lab.sandbox, &random);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    state_copy_take(lab.sandbox, &copy);
    struct footprint before = {0};
    const unsigned warm = 300, rounds = 900;
    for (unsigned round = 0; round < rounds; round++) {
        state_scramble(&lab, lab.sandbox, &random);
        if (round % 2 == 0) {
            CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
            CHECK_OK(husk_sandbox_load(lab.sandbox, snapshot, lab.imports, &lab.err), lab.err);
        } else {
            husk_sandbox_free(lab.sandbox);
            lab.sandbox = state_sandbox(&lab, snapshot);
        }
        state_copy_check(lab.sandbox, &copy, "after a load");
        if (round == warm)
            before = footprint_now();
    }
    check_constant(&before, rounds);
    state_copy_done(&copy);
    husk_image_unref(snapshot);
    state_close(&lab);
}

static void expect_trap(struct state_lab *lab, enum husk_trap trap) {
    CHECK_EQ_U64(lab->outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(lab->outcome.trap, trap);
}

TEST(grown_memory_is_gone) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    for (int round = 0; round < 50; round++) {
        CHECK_EQ_I64(STATE_CALL(&lab, "grow", 3), 2);
        STATE_CALL(&lab, "fill", 2 * 65536, 0x5a, 3 * 65536);
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 5 * 65536 - 4), 0x5a5a5a5a);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_EQ_I64(STATE_CALL(&lab, "size"), 2);
        CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), 2 * 65536);
        /* a stale translation would let one of these through */
        for (int page = 2; page < 5; page++) {
            STATE_RUN(&lab, "load", page * 65536);
            expect_trap(&lab, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
            STATE_RUN(&lab, "store", page * 65536 + 4096, 1);
            expect_trap(&lab, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        }
        void *span;
        CHECK_STATUS(
            husk_memory_span(lab.sandbox, RANGE(.addr = 2 * 65536, .count = 1), &span, &lab.err),
            HUSK_E_LIMIT);
        CHECK_EQ_I64(STATE_CALL(&lab, "grow", 3), 2);
        for (int address = 2 * 65536; address < 5 * 65536; address += 4096)
            CHECK_EQ_I64(STATE_CALL(&lab, "load", address), 0);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    state_close(&lab);
}

TEST(grown_tables_are_gone) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    for (int round = 0; round < 20; round++) {
        CHECK_EQ_I64(STATE_CALL(&lab, "tgrow", 4000), 8);
        CHECK_EQ_I64(STATE_CALL(&lab, "tcall", 4007), 1001);
        STATE_CALL(&lab, "tset", 0);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_EQ_I64(STATE_CALL(&lab, "tsize"), 8);
        CHECK_EQ_I64(STATE_CALL(&lab, "tcall", 0), 1000);
        STATE_RUN(&lab, "tcall", 4007);
        expect_trap(&lab, HUSK_TRAP_UNDEFINED_ELEMENT);
        STATE_RUN(&lab, "tcall", 7);
        expect_trap(&lab, HUSK_TRAP_UNINITIALIZED_ELEMENT);
    }
    state_close(&lab);
}

TEST(dropped_segments_come_back) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "mdrop");
    STATE_CALL(&lab, "edrop");
    STATE_RUN(&lab, "minit", 0);
    expect_trap(&lab, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    STATE_RUN(&lab, "tinit", 0);
    expect_trap(&lab, HUSK_TRAP_TABLE_OUT_OF_BOUNDS);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    STATE_CALL(&lab, "minit", 0);
    STATE_CALL(&lab, "tinit", 3);
    CHECK_EQ_I64(STATE_CALL(&lab, "tcall", 3), 1002);
    state_close(&lab);
}

TEST(globals_come_back) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_value value;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "gset", 99);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_OK(husk_global_get(lab.sandbox, "g", 0, &value, &lab.err), lab.err);
    CHECK_EQ_I64(value.of.i64, 7);
    CHECK_OK(husk_global_get(lab.sandbox, "h", 0, &value, &lab.err), lab.err);
    CHECK(value.of.f64 == 1.5);
    CHECK_OK(husk_global_get(lab.sandbox, "r", 0, &value, &lab.err), lab.err);
    CHECK_EQ_U64(value.of.ref, 0);
    value = value_i64(55); /* the embedder's own writes are undone, too */
    CHECK_OK(husk_global_set(lab.sandbox, "g", 0, &value, &lab.err), lab.err);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "gget"), 7);
    state_close(&lab);
}

/* Writes through a span that was given out before the restore are undone by the next one. */
TEST(writes_through_spans_are_undone) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    uint8_t *small, *large;
    void *span;
    state_open(&lab, NULL, NULL);
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.addr = 100, .count = 8), &span, &lab.err),
             lab.err);
    small = span;
    CHECK_OK(husk_memory_span(lab.sandbox, RANGE(.count = 2 * 65536), &span, &lab.err), lab.err);
    large = span;
    for (int round = 0; round < 40; round++) { /* more than it takes a page to age */
        if (round % 13 == 12) {
            small[0] = 'j';
            large[65536 + round] = 77;
        }
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_MEM(small, "hello", 5);
        CHECK_EQ_U64(large[65536 + round], 0);
    }
    state_close(&lab);
}

TEST(twice_is_once) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    husk_image *snapshot = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 5000, 42);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    state_copy_take(lab.sandbox, &copy);
    STATE_CALL(&lab, "store", 5000, 43);
    for (int i = 0; i < 30; i++) {
        CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        state_copy_check(lab.sandbox, &copy, "restored again");
    }
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 5000), 42);
    state_copy_done(&copy);
    husk_image_unref(snapshot);
    state_close(&lab);
}

static void check_ages_out(struct state_lab *lab, husk_image *const targets[2]) {
    struct husk_stats before = HUSK_STATS_INIT, after = HUSK_STATS_INIT;
    STATE_CALL(lab, "fill", 0, 1, 2 * 65536);
    husk_engine_stats(lab->engine, &before);
    for (int i = 0; i < 40; i++) {
        CHECK_OK(husk_sandbox_restore(lab->sandbox, targets[i % 2], &lab->err), lab->err);
        STATE_CALL(lab, "store", 8, i + 1);
    }
    husk_engine_stats(lab->engine, &after);
    CHECK_MSG(after.restore_pages_aged - before.restore_pages_aged >= 25, "%" PRIu64 " pages left",
              after.restore_pages_aged - before.restore_pages_aged);
    CHECK_MSG(after.restore_pages_copied - before.restore_pages_copied < 32 + 40 * 6,
              "%" PRIu64 " pages copied", after.restore_pages_copied - before.restore_pages_copied);
}

/* One request writes much, later ones little: the pages of the first leave the hot set, and are
 * written anew after that. */
TEST(history_ages_out) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *snapshot = NULL;
    state_open(&lab, NULL, NULL);
    check_ages_out(&lab, (husk_image *[]){lab.image, lab.image});
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    STATE_CALL(&lab, "store", 65536 + 4096, 1);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    check_ages_out(&lab, (husk_image *[]){lab.image, snapshot});
    husk_image_unref(snapshot);
    STATE_CALL(&lab, "fill", 0, 2, 2 * 65536);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 65536), 0);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 100), 0x6c6c6568); /* "hell" */
    state_close(&lab);
}

/* ---- Healing ---- */

static void poison_deadline(struct state_lab *lab) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    lab->outcome.is_poisoned = false;
    /* on a slow machine the limit may pass before the guest runs */
    for (options.wall_ns = 5000000; !lab->outcome.is_poisoned; options.wall_ns *= 2) {
        CHECK_OK(husk_call(lab->sandbox, CALL(.name = "spin", .limits = &options), &lab->outcome,
                           &lab->err),
                 lab->err);
        CHECK_EQ_U64(lab->outcome.kind, HUSK_DEADLINE);
    }
    CHECK_STATUS(husk_call(lab->sandbox, CALL(.name = "trap"), &lab->outcome, &lab->err),
                 HUSK_E_POISONED);
}

TEST(poisoned_sandboxes_heal) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *snapshot = NULL, *refused = NULL;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "store", 64, 123);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    for (int way = 0; way < 4; way++) {
        poison_deadline(&lab);
        CHECK_STATUS(husk_sandbox_snapshot(lab.sandbox, &refused, &lab.err), HUSK_E_POISONED);
        CHECK(refused == NULL);
        if (way == 0) {
            CHECK_OK(husk_sandbox_restore(lab.sandbox, snapshot, &lab.err), lab.err);
        } else if (way == 1) {
            CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
            CHECK_OK(husk_sandbox_load(lab.sandbox, lab.image, lab.imports, &lab.err), lab.err);
        } else if (way == 2) {
            CHECK_OK(husk_sandbox_load(lab.sandbox, snapshot, lab.imports, &lab.err), lab.err);
        } else {
            husk_sandbox_free(lab.sandbox); /* parked poisoned, taken again */
            lab.sandbox = state_sandbox(&lab, snapshot);
        }
        CHECK_EQ_I64(STATE_CALL(&lab, "load", 64), way == 1 ? 0 : 123);
        CHECK_EQ_I64(STATE_CALL(&lab, "deep", 100), 5050);
    }
    husk_image_unref(snapshot);
    state_close(&lab);
}

static int host_interrupts(husk_caller *caller, void *user, const struct husk_value *args,
                           struct husk_value *results) {
    (void)user, (void)args, (void)results;
    husk_interrupt(husk_caller_sandbox(caller));
    return 0;
}

TEST(interrupted_sandboxes_heal) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    state_open(&lab, host_interrupts, NULL);
    for (int i = 0; i < 5; i++) {
        STATE_RUN(&lab, "host", 1);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_INTERRUPTED);
        CHECK(lab.outcome.is_poisoned);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
        CHECK_EQ_I64(STATE_CALL(&lab, "deep", 10), 55);
    }
    state_close(&lab);
}

static int host_fails(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user, (void)args, (void)results;
    return husk_caller_fail(caller, "not today");
}

TEST(traps_and_host_errors_do_not_poison) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    husk_image *snapshot = NULL;
    state_open(&lab, host_fails, NULL);
    STATE_CALL(&lab, "store", 0, 5);
    STATE_RUN(&lab, "trap");
    expect_trap(&lab, HUSK_TRAP_UNREACHABLE);
    CHECK(!lab.outcome.is_poisoned);
    STATE_RUN(&lab, "host", 1);
    expect_trap(&lab, HUSK_TRAP_HOST_FUNCTION);
    CHECK(!lab.outcome.is_poisoned);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_EQ_I64(STATE_CALL(&lab, "load", 0), 5);
    husk_image_unref(snapshot);
    state_close(&lab);
}

/* ---- Refusals change nothing ---- */

TEST(refused_restores_change_nothing) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct state_copy copy;
    state_open(&lab, NULL, NULL);
    husk_image *foreign =
        wat_image_with(lab.engine, "(module (memory 1) (func (export \"f\")))", WAT_WORKER);
    STATE_CALL(&lab, "store", 300, 9);
    state_copy_take(lab.sandbox, &copy);
    CHECK_STATUS(husk_sandbox_restore(lab.sandbox, foreign, &lab.err), HUSK_E_INVAL);
    CHECK(lab.err.message[0] != '\0');
    CHECK(state_copy_equal(lab.sandbox, &copy));
    CHECK_STATUS(husk_sandbox_restore(NULL, foreign, &lab.err), HUSK_E_INVAL);
    CHECK_STATUS(husk_sandbox_restore(lab.sandbox, NULL, &lab.err), HUSK_E_INVAL);
    CHECK(state_copy_equal(lab.sandbox, &copy));
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    CHECK_STATUS(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), HUSK_E_STATE);
    /* nothing loaded: nothing done */
    CHECK_OK(husk_sandbox_unload(lab.sandbox, &lab.err), lab.err);
    state_copy_done(&copy);
    husk_image_unref(foreign);
    state_close(&lab);
}

TEST(limits_too_small_are_refused) {
    SKIP_WITHOUT_COMPILER();
    struct state_lab lab;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    husk_image *large = NULL, *wide = NULL;
    husk_sandbox *small = NULL;
    struct state_copy copy;
    state_open(&lab, NULL, NULL);
    STATE_CALL(&lab, "tgrow", 1000);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &wide, &lab.err), lab.err);
    STATE_CALL(&lab, "grow", 4);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &large, &lab.err), lab.err);
    options.memory_max_bytes = 4 * 65536;
    options.table_max_entries = 500;
    CHECK_OK(husk_sandbox_new(lab.image, lab.imports, &options, &small, &lab.err), lab.err);
    STATE_CALL_ON(&lab, small, "store", 300, 9);
    state_copy_take(small, &copy);
    CHECK_STATUS(husk_sandbox_restore(small, large, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_sandbox_restore(small, wide, &lab.err), HUSK_E_LIMIT);
    CHECK_STATUS(husk_sandbox_load(small, large, lab.imports, &lab.err), HUSK_E_LIMIT);
    CHECK(state_copy_equal(small, &copy));
    CHECK_EQ_I64(STATE_CALL_ON(&lab, small, "load", 300), 9);
    husk_sandbox *none = NULL;
    CHECK_STATUS(husk_sandbox_new(large, lab.imports, &options, &none, &lab.err), HUSK_E_LIMIT);
    CHECK(none == NULL);
    state_copy_done(&copy);
    husk_image_unref(large);
    husk_image_unref(wide);
    husk_sandbox_free(small);
    state_close(&lab);
}

TEST_MAIN()
