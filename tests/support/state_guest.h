/*
 * tests/support/state_guest.h: a module that has every kind of state that a snapshot must bring
 * back (memory, globals, tables, growth, dropped segments), functions that change each of it, and
 * copies of the whole of it to compare.
 *
 *   state_open → state_value… / state_scramble → state_copy_take … state_copy_check → state_close
 */
#ifndef TESTS_SUPPORT_STATE_GUEST_H
#define TESTS_SUPPORT_STATE_GUEST_H

#include "husk.h"

#define STATE_MEMORY_PAGES 2u
#define STATE_TABLE_ENTRIES 8u

/* The module's imports: "env"."host" (i32) -> i32, by default: the argument plus 1. */
struct state_lab {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    struct husk_error err;
    struct husk_outcome outcome;
};

/* Engine, compiled module, imports, one sandbox. `fn` may be NULL; the rest of the lab is
 * overwritten. */
void state_open(struct state_lab *lab, husk_host_fn fn, void *user);
void state_open_with(struct state_lab *lab, const struct husk_engine_options *options,
                     husk_host_fn fn, void *user);
void state_close(struct state_lab *lab);
/* The module, opened anew. */
husk_image *state_image(husk_engine *engine);
/* The compiled module as a file, in a descriptor that stays open until the process ends. */
int state_image_fd(void);
husk_imports *state_imports(husk_engine *engine, husk_host_fn fn, void *user);
husk_sandbox *state_sandbox(struct state_lab *lab, husk_image *image);

/* A call with i32 arguments; how it ended is in the lab. Only a status other than 0 fails the test.
 * Returns the i32 result, or 0. */
int32_t state_run(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                  const int32_t *args, size_t count);
/* The same, but it must return. */
int32_t state_value(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                    const int32_t *args, size_t count);
#define STATE_ARGS(...)                                                                            \
    (const int32_t[]){0 __VA_OPT__(, ) __VA_ARGS__} + 1,                                           \
        sizeof((const int32_t[]){0 __VA_OPT__(, ) __VA_ARGS__}) / 4 - 1
#define STATE_RUN(lab, name, ...) state_run(lab, (lab)->sandbox, name, STATE_ARGS(__VA_ARGS__))
#define STATE_CALL(lab, name, ...) state_value(lab, (lab)->sandbox, name, STATE_ARGS(__VA_ARGS__))
#define STATE_CALL_ON(lab, sandbox, name, ...)                                                     \
    state_value(lab, sandbox, name, STATE_ARGS(__VA_ARGS__))

/* Everything that the guest can see of itself between two calls. */
struct state_copy {
    uint8_t *data, *memory;
    uint64_t data_bytes, memory_bytes;
};
void state_copy_take(const husk_sandbox *sandbox, struct state_copy *ret_copy);
void state_copy_done(struct state_copy *copy);
bool state_copy_equal(const husk_sandbox *sandbox, const struct state_copy *copy);
/* Fails the test where they differ; and if stack or mailbox hold anything. */
void state_copy_check(const husk_sandbox *sandbox, const struct state_copy *copy, const char *when);

/* A reproducible sequence. */
uint64_t state_random(uint64_t *state);
/* Changes at random, some of each kind, some of them large; traps among them. */
void state_scramble(struct state_lab *lab, husk_sandbox *sandbox, uint64_t *random);

#endif
