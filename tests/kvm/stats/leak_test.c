/*
 * tests/kvm/stats/leak_test.c: many sandboxes are made, used in every way, and freed. They leave no
 * file descriptor, mapping or memory behind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files_in.h"
#include "guest_lab.h"
#include "harness.h"

struct usage {
    long fds, maps, rss_kib;
};

static struct usage usage_now(void) {
    struct usage usage = {.fds = files_in("/proc/self/fd")};
    FILE *file = fopen("/proc/self/maps", "re");
    for (int c; (c = getc(file)) != EOF;)
        usage.maps += c == '\n';
    fclose(file);
    char line[256];
    file = fopen("/proc/self/status", "re");
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            usage.rss_kib = strtol(line + 6, NULL, 10);
    fclose(file);
    return usage;
}

/* ThreadSanitizer maps memory for new threads; fewer than one mapping a life all the same. Memory
 * that leaks is for LeakSanitizer to say where freed memory is held back. */
static void check_usage(const struct usage *before, const struct usage *after) {
    const long more_maps = HARNESS_SANITIZED ? 40 : 2;
    CHECK_EQ_I64(after->fds, before->fds);
    CHECK_MSG(after->maps <= before->maps + more_maps, "%ld mappings, before %ld", after->maps,
              before->maps);
    CHECK_MSG(HARNESS_SANITIZED || after->rss_kib <= before->rss_kib + 1024,
              "%ld KiB resident, before %ld", after->rss_kib, before->rss_kib);
}

static int host_moody(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)user;
    results[0] = args[0];
    return args[0].of.i64 == 3 ? husk_caller_fail(caller, "three") : 0;
}

/* One life: returned, trapped, grown, failed, exhausted, cut off. */
static void live(struct guest_lab *lab, int i) {
    husk_sandbox *sandbox = guest_lab_sandbox(lab);
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    guest_call(sandbox, "host", i % 5, &outcome);
    guest_call(sandbox, "grow", i % 4, &outcome);
    guest_call(sandbox, "read", 65536, &outcome);
    if (i % 10 == 0)
        guest_run(sandbox, "recurse", NULL, &outcome);
    if (i % 16 == 1)
        guest_run(sandbox, "bad_port", NULL, &outcome);
    if (i % 16 == 2) {
        struct husk_limits options = HUSK_LIMITS_INIT;
        options.wall_ns = 100000;
        guest_run(sandbox, "spin", &options, &outcome);
        CHECK_EQ_U64(outcome.kind, HUSK_DEADLINE);
    }
    husk_sandbox_free(sandbox);
    CHECK(husk_sandbox_new(lab->image, NULL, NULL, &sandbox, NULL) == HUSK_E_LINK);
}

TEST(thousands_of_sandboxes) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    guest_lab_open(&lab, host_moody, NULL, NULL);
    for (int i = 0; i < 50; i++)
        live(&lab, i);
    struct usage before = usage_now();
    const int count = 2000;
    for (int i = 0; i < count; i++)
        live(&lab, i);
    struct usage after = usage_now();
    check_usage(&before, &after);
    struct husk_stats stats = HUSK_STATS_INIT;
    husk_engine_stats(lab.engine, &stats);
    CHECK_EQ_U64(stats.sandboxes_made, count + 51);
    CHECK_EQ_U64(stats.sandboxes_freed, count + 50);
    guest_lab_close(&lab);
}

TEST(engines_and_images) {
    SKIP_WITHOUT_KVM();
    struct guest_lab lab;
    struct usage before = {0};
    for (int i = 0; i < 60; i++) {
        if (i == 10)
            before = usage_now();
        guest_lab_open(&lab, NULL, NULL, NULL);
        struct husk_limits options = HUSK_LIMITS_INIT;
        options.wall_ns = 1000000; /* starts the watchdog */
        guest_run(lab.sandbox, "spin", &options, &lab.outcome);
        guest_lab_close(&lab);
    }
    struct usage after = usage_now();
    check_usage(&before, &after);
}

/* A hundred at once. */
TEST(many_live_sandboxes) {
    SKIP_WITHOUT_KVM();
    enum { COUNT = 100 };
    struct guest_lab lab;
    husk_sandbox *sandboxes[COUNT];
    guest_lab_open(&lab, NULL, NULL, NULL);
    for (int i = 0; i < COUNT; i++)
        sandboxes[i] = guest_lab_sandbox(&lab);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ_I64(guest_call(sandboxes[(i * 37) % COUNT], "host", i, &lab.outcome), 2 * i + 1);
    for (int i = 0; i < COUNT; i++)
        husk_sandbox_free(sandboxes[i]);
    guest_lab_close(&lab);
}

TEST_MAIN()
