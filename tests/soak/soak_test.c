/*
 * tests/soak/soak_test.c: everything at once, for as long as one likes: see soak.h. As the suite
 * kvm/soak it runs for a few seconds; `make soak SOAK_SECONDS=600` runs it longer.
 *
 *   SOAK_SECONDS   how long (5)
 *   SOAK_SEED      repeats the choices of each thread; the seed is printed. What another thread
 *                  does meanwhile is not repeated
 *   SOAK_THREADS   actors (6)
 *   SOAK_STEPS     names of steps, with commas: only those
 *   SOAK_KERNEL_KIB  by how much the kernel's memory may grow, and judge that also in a short run
 *   SOAK_ABORT     set: a wrong answer aborts, for a debugger
 *
 * The time has rounds. After each one all that the actors have is freed, and what the process has
 * is counted. The first round is the warm-up; growth from its end to that of the last is a failure.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <malloc.h>

#include "soak.h"

enum { ROUNDS = 5 };

const struct step steps[] = {
#define STEP(name, weight, is_alone) {#name, step_##name, weight, is_alone},
#include "soak_steps.def"
#undef STEP
};
const unsigned steps_count = sizeof steps / sizeof steps[0];
_Static_assert(sizeof steps / sizeof steps[0] <= STEPS_MAX, "room for counts");

static atomic_bool has_ended; /* the round */
static pthread_mutex_t wrong_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- random choices ---- */

uint64_t soak_random(struct actor *actor) { /* splitmix64 */
    uint64_t x = actor->random += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

unsigned soak_below(struct actor *actor, unsigned count) {
    return (unsigned)(soak_random(actor) >> 33) % count;
}

static bool is_chosen(const char *name) {
    const char *list = getenv("SOAK_STEPS");
    if (list == NULL)
        return true;
    const size_t count = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at++)
        if ((at == list || at[-1] == ',') && (at[count] == ',' || at[count] == '\0'))
            return true;
    return false;
}

static unsigned some_step(struct actor *actor) {
    unsigned sum = 0;
    for (unsigned i = 0; i < steps_count; i++)
        sum += is_chosen(steps[i].name) ? steps[i].weight : 0;
    unsigned left = soak_below(actor, sum);
    for (unsigned i = 0; i < steps_count; i++) {
        const unsigned weight = is_chosen(steps[i].name) ? steps[i].weight : 0;
        if (left < weight)
            return i;
        left -= weight;
    }
    return 0;
}

/* ---- a wrong answer ---- */

void soak_wrong(const struct actor *actor, const char *file, int line, const char *what) {
    pthread_mutex_lock(&wrong_lock); /* for ever: the first is enough */
    printf("soak: SOAK_SEED=%" PRIu64 " SOAK_THREADS=%u: thread %u, its step %" PRIu64 " (%s)\n",
           world.seed, world.actors_count, actor->idx, actor->steps_count, steps[actor->step].name);
    printf("soak: %s:%d: not so: %s\nsoak: error: %s\nsoak: outcome: kind %d, trap %d, %s\n", file,
           line, what, actor->err.message, (int)actor->outcome.kind, (int)actor->outcome.trap,
           actor->outcome.message);
    printf("soak: 0 passed, 1 failed, 0 skipped\n");
    fflush(stdout);
    if (getenv("SOAK_ABORT") != NULL) /* for a debugger */
        abort();
    _exit(1);
}

/* ---- actors ---- */

static void take_step(struct actor *actor) {
    actor->step = some_step(actor);
    const struct step *step = &steps[actor->step];
    if (step->is_alone)
        pthread_rwlock_wrlock(&world.turn);
    else
        pthread_rwlock_rdlock(&world.turn);
    step->run(actor);
    pthread_rwlock_unlock(&world.turn);
    actor->steps_count++;
    actor->counts[actor->step]++;
}

static void *act(void *user) {
    struct actor *actor = user;
    while (!atomic_load(&has_ended))
        take_step(actor);
    actor_empty(actor);
    return NULL;
}

/* The library's thread may still be at one. */
static void wait_for_spares(void) {
    struct husk_stats stats = HUSK_STATS_INIT;
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(husk_engine_stats(world.engine, &stats) == 0);
        if (stats.vms == 0)
            return;
        usleep(10000);
    }
}

static struct usage play_round(unsigned milliseconds) {
    atomic_store(&has_ended, false);
    for (unsigned i = 0; i < world.actors_count; i++)
        CHECK(pthread_create(&world.actors[i].thread, NULL, act, &world.actors[i]) == 0);
    for (unsigned left = milliseconds; left > 0; left -= left < 100 ? left : 100)
        usleep(1000 * (left < 100 ? left : 100));
    atomic_store(&has_ended, true);
    for (unsigned i = 0; i < world.actors_count; i++)
        pthread_join(world.actors[i].thread, NULL);
    world_empty();
    struct husk_error err;
    for (unsigned i = 0; i < FAMILIES; i++)
        CHECK_OK(husk_sandbox_prepare(world.bases[i], world.imports, NULL, 0, &err), err);
    husk_engine_trim(world.engine, 0);
    wait_for_spares();
    malloc_trim(0);
    return usage_now();
}

/* ---- the report ---- */

static uint64_t print_table(void) {
    uint64_t all = 0;
    printf("| step | times | findings |\n|---|---|---|\n");
    for (unsigned i = 0; i < steps_count; i++) {
        uint64_t count = 0, findings = 0;
        for (unsigned j = 0; j < world.actors_count; j++) {
            count += world.actors[j].counts[i];
            findings += world.actors[j].findings[i];
        }
        printf("| %s | %" PRIu64 " | %" PRIu64 " |\n", steps[i].name, count, findings);
        all += count;
    }
    printf("| all | %" PRIu64 " | |\n", all);
    return all;
}

static void print_usage(unsigned round, const struct usage *usage) {
    uint64_t all = 0;
    for (unsigned i = 0; i < world.actors_count; i++)
        all += world.actors[i].steps_count;
    printf("soak: round %u: %" PRIu64 " steps; %ld descriptors, %ld mappings, %ld threads, %ld "
           "children, %ld KiB resident, %ld KiB of the kernel\n",
           round, all, usage->descriptors, usage->mappings, usage->threads, usage->children,
           usage->rss_kib, usage->kernel_kib);
    fflush(stdout);
}

/* Every sandbox and every VM is gone. */
static void check_stats(void) {
    struct husk_stats stats = HUSK_STATS_INIT;
    CHECK(husk_engine_stats(world.engine, &stats) == 0);
    CHECK_EQ_U64(stats.sandboxes, 0);
    CHECK_EQ_U64(stats.sandboxes_made, stats.sandboxes_freed);
    CHECK_EQ_U64(stats.vms, 0);
    CHECK_EQ_U64(stats.pool_idle, 0);
}

static uint64_t number_of(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 0);
}

static void choose(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    world.seed = number_of("SOAK_SEED", (uint64_t)now.tv_sec * 1000003 + (uint64_t)now.tv_nsec);
    world.actors_count = (unsigned)number_of("SOAK_THREADS", 6);
    CHECK_MSG(world.actors_count >= 1 && world.actors_count <= ACTORS_MAX, "SOAK_THREADS: 1 … %d",
              ACTORS_MAX);
    for (unsigned i = 0; i < world.actors_count; i++)
        world.actors[i] = (struct actor){.idx = i,
                                         .random = world.seed ^ (i + 1) * 0xd1342543de82ef95,
                                         .outcome = HUSK_OUTCOME_INIT};
}

TEST(everything_at_once) {
    SKIP_WITHOUT_COMPILER();
    const uint64_t seconds = number_of("SOAK_SECONDS", 5);
    struct usage first = {0}, last = {0};
    choose();
    printf("soak: SOAK_SEED=%" PRIu64 " SOAK_THREADS=%u SOAK_SECONDS=%" PRIu64 "\n", world.seed,
           world.actors_count, seconds);
    fflush(stdout);
    world_open();
    for (unsigned round = 0; round < ROUNDS; round++) {
        last = play_round((unsigned)(seconds * 1000 / ROUNDS));
        print_usage(round, &last);
        if (round == 0)
            first = last;
    }
    check_stats();
    world_close();
    print_table();
    CHECK_MSG(usage_compare(&first, &last, seconds) == 0, "something grew");
}

TEST_MAIN()
