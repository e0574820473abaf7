/*
 * tests/kvm/snapshots/snapshot_threads_test.c: many threads restore, load, make, clone and snapshot
 * sandboxes over the same snapshots at once. It is a test for ThreadSanitizer. HUSK_TEST_ROUNDS
 * sets how long (default 3000).
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "layout.h"
#include "state_guest.h"
#include "wat.h"

static unsigned rounds_wanted(void) {
    const char *text = getenv("HUSK_TEST_ROUNDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 3000;
}

#define LINKS 10u
#define RACERS 5u

struct race {
    struct state_lab lab;
    husk_image *links[LINKS];
    struct state_copy copies[LINKS];
};

struct racer {
    const struct race *race;
    struct state_lab lab; /* its own err and outcome; the rest is shared */
    uint64_t random;
    husk_sandbox *sandboxes[2];
    const char *complaint;
};

/* False: the complaint says why. */
static bool racer_expects(struct racer *racer, bool is_right, const char *complaint) {
    if (!is_right && racer->complaint == NULL)
        racer->complaint = complaint;
    return is_right;
}

/* To one of the shared snapshots, in one of the ways there are. */
static bool racer_go(struct racer *racer, husk_sandbox **sandbox) {
    const struct race *race = racer->race;
    struct state_lab *lab = &racer->lab;
    const unsigned at = (unsigned)(state_random(&racer->random) % LINKS);
    int status = 0;
    switch (state_random(&racer->random) % 4) {
    case 0:
    case 1: status = husk_sandbox_restore(*sandbox, race->links[at], &lab->err); break;
    case 2: status = husk_sandbox_load(*sandbox, race->links[at], lab->imports, &lab->err); break;
    default:
        husk_sandbox_free(*sandbox);
        *sandbox = NULL;
        status = husk_sandbox_new(race->links[at], lab->imports, NULL, sandbox, &lab->err);
        break;
    }
    return racer_expects(racer, status == 0, "a restore or load failed") &&
           racer_expects(racer, state_copy_equal(*sandbox, &race->copies[at]),
                         "a restore is not equal");
}

/* One of its own, over a layer that the others use. */
static bool racer_snapshot(struct racer *racer, husk_sandbox *sandbox) {
    struct state_lab *lab = &racer->lab;
    husk_image *own = NULL;
    husk_sandbox *clone = NULL;
    struct state_copy copy;
    state_copy_take(sandbox, &copy);
    bool is_right = racer_expects(racer, husk_sandbox_snapshot(sandbox, &own, &lab->err) == 0,
                                  "a snapshot failed");
    if (is_right) {
        state_scramble(lab, sandbox, &racer->random);
        is_right = racer_expects(racer, husk_sandbox_restore(sandbox, own, &lab->err) == 0,
                                 "a restore failed") &&
                   racer_expects(racer, state_copy_equal(sandbox, &copy),
                                 "its own snapshot is not equal") &&
                   racer_expects(racer, husk_sandbox_clone(sandbox, &clone, &lab->err) == 0,
                                 "a clone failed") &&
                   racer_expects(racer, state_copy_equal(clone, &copy), "a clone is not equal");
    }
    husk_sandbox_free(clone);
    husk_image_unref(own);
    state_copy_done(&copy);
    return is_right;
}

static void *racer_run(void *argument) {
    struct racer *racer = argument;
    const unsigned rounds = rounds_wanted() / 50 + 1;
    for (unsigned i = 0; i < 2 && racer->complaint == NULL; i++)
        racer_expects(racer,
                      husk_sandbox_new(racer->lab.image, racer->lab.imports, NULL,
                                       &racer->sandboxes[i], &racer->lab.err) == 0,
                      "no sandbox");
    for (unsigned round = 0; round < rounds && racer->complaint == NULL; round++) {
        husk_sandbox **sandbox = &racer->sandboxes[round % 2];
        state_scramble(&racer->lab, *sandbox, &racer->random);
        if (racer_go(racer, sandbox) && round % 3 == 0)
            racer_snapshot(racer, *sandbox);
    }
    for (unsigned i = 0; i < 2; i++)
        husk_sandbox_free(racer->sandboxes[i]);
    return NULL;
}

/* Reads what the others count, and takes away what they pool, until they have ended. */
static void *spectator_run(void *argument) {
    struct race *race = ((void **)argument)[0];
    const atomic_bool *is_ending = ((void **)argument)[1];
    struct husk_stats stats = HUSK_STATS_INIT;
    for (unsigned i = 0; !atomic_load(is_ending); i++) {
        husk_engine_stats(race->lab.engine, &stats);
        husk_engine_trim(race->lab.engine, i % 4);
        usleep(2000);
    }
    return NULL;
}

/* A chain whose links have many runs, so that whoever is first merges them; the first use of each
 * is a race. */
static void race_open(struct race *race) {
    uint64_t random = 21;
    memset(race, 0, sizeof *race);
    state_open(&race->lab, NULL, NULL);
    STATE_CALL(&race->lab, "grow", 8);
    for (unsigned i = 0; i < LINKS; i++) {
        for (unsigned page = 0; page < 20; page++)
            STATE_CALL(&race->lab, "store", (int32_t)((page * 8 + i) % 160 * HUSK_PAGE_SIZE),
                       (int32_t)(i + 1));
        state_scramble(&race->lab, race->lab.sandbox, &random);
        CHECK_OK(husk_sandbox_snapshot(race->lab.sandbox, &race->links[i], &race->lab.err),
                 race->lab.err);
        state_copy_take(race->lab.sandbox, &race->copies[i]);
    }
}

TEST(threads_restore_make_and_snapshot_at_once) {
    SKIP_WITHOUT_COMPILER();
    static struct race race;
    static struct racer racers[RACERS];
    static atomic_bool is_ending;
    static void *spectator_arguments[2] = {&race, &is_ending};
    pthread_t threads[RACERS], spectator;
    race_open(&race);
    atomic_store(&is_ending, false);
    CHECK_EQ_I64(pthread_create(&spectator, NULL, spectator_run, spectator_arguments), 0);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.race = &race, .lab = race.lab, .random = 100 + i};
        CHECK_EQ_I64(pthread_create(&threads[i], NULL, racer_run, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&is_ending, true);
    pthread_join(spectator, NULL);
    for (unsigned i = 0; i < RACERS; i++)
        CHECK_MSG(racers[i].complaint == NULL, "thread %u: %s; last error: %s", i,
                  racers[i].complaint, racers[i].lab.err.message);
    for (unsigned i = 0; i < LINKS; i++) {
        husk_image_unref(race.links[i]);
        state_copy_done(&race.copies[i]);
    }
    state_close(&race.lab);
}

TEST_MAIN()
