/*
 * tests/soak/soak.h: what the parts of the soak share.
 *
 *   soak_test.c    the run: threads, rounds, the table, what grew
 *   soak_world.c   engine, images, host functions, helper threads: what all actors share
 *   soak_box.c     a sandbox, and the model that it must equal
 *   steps_….c      kinds of steps; soak_steps.def lists them
 *   soak_usage.c   descriptors, mappings, threads and memory of the process
 *
 * An actor is a thread that takes random steps with a few boxes (sandboxes with models) and images
 * of its own. Some boxes and images change hands. Every answer is checked against the model; the
 * first wrong one ends the process.
 */
#ifndef TESTS_SOAK_SOAK_H
#define TESTS_SOAK_SOAK_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "literals.h"
#include "wat.h"

enum {
    FAMILIES = 2, /* modules */
    CELLS = 42,   /* words in memory, see $at of soak_guest.h: 32, and one for each further page */
    CELLS_SMALL = 32,
    PAGES_MIN = 2,
    PAGES_MAX = 12,
    PAGES_TIGHT = 6, /* of a box with a limit */
    LIB_PAGES = 2,
    WORDS = 16, /* in the file */
    BOXES = 3,  /* of an actor */
    IMAGES = 4,
    SHELF = 8, /* images that are for all */
    ACTORS_MAX = 64,
    STEPS_MAX = 64
};

/* All that a guest knows, and a snapshot holds. */
struct state {
    unsigned family;
    uint64_t pages;
    int64_t cells[CELLS], global;
    int64_t restored; /* calls of husk_restored() */
    int64_t words[WORDS];
    bool is_pending; /* a call of "ask" stands */
    int32_t asked;   /* its argument */
    int64_t kept;    /* the first cell when it began */
};

struct saved {
    husk_image *image; /* NULL: none */
    struct state state;
};

/* What env.ask does. */
enum ask_mode { ASK_ANSWERS, ASK_PENDS, ASK_SNAPSHOTS, ASK_FAILS, ASK_EXITS, ASK_THROWS };

struct box {
    husk_sandbox *sandbox; /* NULL: none */
    bool is_tight;         /* made with a limit of PAGES_TIGHT */
    bool owes_restored;    /* its next call calls husk_restored() first */
    bool is_hostile;       /* any byte of the image may be wrong: believe nothing */
    struct state state;
    enum ask_mode mode;
    husk_image *taken; /* by ASK_SNAPSHOTS */
    int taken_status;
};

struct actor {
    unsigned idx;
    uint64_t random;
    pthread_t thread;
    struct box *boxes[BOXES];
    struct saved images[IMAGES];
    unsigned step; /* in steps[] */
    uint64_t steps_count;
    uint64_t counts[STEPS_MAX], findings[STEPS_MAX];
    struct husk_error err;
    struct husk_outcome outcome;
};

/* A job for a helper thread: it ends, or answers, an actor's call from outside. */
enum job_kind { JOB_CANCEL, JOB_INTERRUPT, JOB_RESUME, JOB_KILL_WORKER };
struct job {
    enum job_kind kind;
    unsigned delay_us;
    husk_cancel *cancel;
    husk_sandbox *sandbox;
    const struct husk_answer *answer;
    int status; /* of the resume; of the kill: workers that were killed */
    struct husk_outcome outcome;
    struct husk_error err;
    pid_t thread; /* whose worker is killed */
    sem_t done;
    struct job *next;
};

struct world {
    uint64_t seed;
    unsigned actors_count;
    char folder[64]; /* for files, new */
    char full[80];   /* a small file system, or "" */
    husk_engine *engine;
    husk_imports *imports;
    husk_image *bases[FAMILIES];
    husk_func sum[FAMILIES];
    uint8_t *wasm; /* something to compile */
    size_t wasm_count;
    pthread_rwlock_t turn; /* who needs the process alone writes */
    pthread_mutex_t lock;  /* of the shelf and the lot */
    struct saved shelf[SHELF];
    struct box *lot[BOXES]; /* boxes that change hands */
    struct actor actors[ACTORS_MAX];
};
extern struct world world;

/* ---- the run: soak_test.c ---- */

struct step {
    const char *name;
    void (*run)(struct actor *actor);
    unsigned weight;
    bool is_alone; /* no other actor may be in a step */
};
extern const struct step steps[];
extern const unsigned steps_count;

/* Print seed, thread, step and what was wrong, and end the process. */
void soak_wrong(const struct actor *actor, const char *file, int line, const char *what)
    __attribute__((noreturn));
#define NEED(actor, is_true)                                                                       \
    do {                                                                                           \
        if (!(is_true))                                                                            \
            soak_wrong(actor, __FILE__, __LINE__, #is_true);                                       \
    } while (0)

uint64_t soak_random(struct actor *actor);
unsigned soak_below(struct actor *actor, unsigned count);

/* ---- soak_world.c ---- */

void world_open(void);
void world_close(void);
/* Free what the shelf and the lot hold. */
void world_empty(void);
void job_begin(struct job *job);
void job_wait(struct job *job);
/* Images for all. take: a share of one, or an empty one. */
void shelf_put(struct actor *actor, const struct saved *saved);
struct saved shelf_take(struct actor *actor);
int soak_imports(husk_engine *engine, husk_imports **ret_imports, struct husk_error *err);

/* ---- soak_box.c ---- */

struct state state_initial(unsigned family);
int64_t state_sum(const struct state *state);
int64_t state_asked(const struct state *state); /* what "ask" returns now */
uint64_t box_pages_max(const struct box *box);
bool cell_is_inside(const struct state *state, unsigned cell);
uint64_t cell_address(unsigned cell);
int64_t answer_to(int32_t asked);

/* A box of the actor's with an instance in good order. */
struct box *some_box(struct actor *actor);
/* The same, and no call stands in it. */
struct box *free_box(struct actor *actor);
/* One of the actor's images, or a base with its state; the image is borrowed. */
struct saved some_image(struct actor *actor);
/* What an image's file would have in it; `at` is to be freed. */
struct bytes {
    uint8_t *at;
    size_t count;
};
struct bytes image_bytes(struct actor *actor, const husk_image *image);
void keep_image(struct actor *actor, husk_image *image, const struct state *state);
void actor_empty(struct actor *actor);

struct box *box_new(struct actor *actor, const struct saved *from);
void box_free(struct box *box);
/* The box is now as the image: the model, and a base is started. */
void box_becomes(struct actor *actor, struct box *box, const struct saved *from);
/* The box was cut off, or its state is not exact: heal it in one of the ways that there are. */
void box_heal(struct actor *actor, struct box *box);
void box_check(struct actor *actor, struct box *box);
/* The same with all of its memory and its file. */
void box_check_all(struct actor *actor, struct box *box);

/* husk_call() on a box. Checks that the status is 0. The outcome is in the actor. */
void box_call(struct actor *actor, struct box *box, struct husk_call *call);
/* A call with one result that must return. */
int64_t box_get(struct actor *actor, struct box *box, const char *name,
                const struct husk_value *args, size_t args_count);
/* A call was made: husk_restored() has been, too. */
void box_called(struct box *box);

/* ---- soak_usage.c ---- */

struct usage {
    long descriptors, mappings, threads, children;
    long rss_kib, kernel_kib; /* the kernel's memory of the control group, or -1 */
};
struct usage usage_now(void);
/* Prints what grew in a run of so many seconds, and returns how many things did. */
unsigned usage_compare(const struct usage *before, const struct usage *after, uint64_t seconds);

#define STEP(name, weight, is_alone) void step_##name(struct actor *actor);
#include "soak_steps.def"
#undef STEP

#endif
