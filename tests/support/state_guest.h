/*
 * tests/support/state_guest.h: a module that has every kind of state that a snapshot must restore
 * (memory, globals, tables, growth, dropped segments). It has functions that change each kind.
 * Copies of the whole state can be compared.
 *
 *   state_open → state_value… / state_scramble → state_copy_take … state_copy_check → state_close
 */
#ifndef TESTS_SUPPORT_STATE_GUEST_H
#define TESTS_SUPPORT_STATE_GUEST_H

#include "husk.h"

#define STATE_MEMORY_PAGES 2u
#define STATE_TABLE_ENTRIES 8u

/* The module imports "env"."host" (i32) -> i32. By default it returns the argument plus 1. */
struct state_lab {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    struct husk_error err;
    struct husk_outcome outcome;
};

/* Make an engine, the compiled module, imports and one sandbox. `fn` may be NULL. The lab's other
 * fields are overwritten. */
void state_open(struct state_lab *lab, husk_host_fn fn, void *user);
void state_open_with(struct state_lab *lab, const struct husk_engine_options *options,
                     husk_host_fn fn, void *user);
void state_close(struct state_lab *lab);
/* Open the module's image again. */
husk_image *state_image(husk_engine *engine);
/* The image as a descriptor, which stays open until the process ends. */
int state_image_fd(void);
husk_imports *state_imports(husk_engine *engine, husk_host_fn fn, void *user);
husk_sandbox *state_sandbox(struct state_lab *lab, husk_image *image);

/* Make a call with i32 arguments. The outcome is in the lab. Only a status other than 0 fails the
 * test. Returns the i32 result, or 0. */
int32_t state_run(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                  const int32_t *args, size_t count);
/* The same, but the call must return. */
int32_t state_value(struct state_lab *lab, husk_sandbox *sandbox, const char *name,
                    const int32_t *args, size_t count);
#define STATE_ARGS(...)                                                                            \
    (const int32_t[]){0 __VA_OPT__(, ) __VA_ARGS__} + 1,                                           \
        sizeof((const int32_t[]){0 __VA_OPT__(, ) __VA_ARGS__}) / 4 - 1
#define STATE_RUN(lab, name, ...) state_run(lab, (lab)->sandbox, name, STATE_ARGS(__VA_ARGS__))
#define STATE_CALL(lab, name, ...) state_value(lab, (lab)->sandbox, name, STATE_ARGS(__VA_ARGS__))
#define STATE_CALL_ON(lab, sandbox, name, ...)                                                     \
    state_value(lab, sandbox, name, STATE_ARGS(__VA_ARGS__))

/* All of its own state that the guest can see between two calls. */
struct state_copy {
    uint8_t *data, *memory, *files;
    uint64_t data_bytes, memory_bytes, files_bytes;
};
void state_copy_take(const husk_sandbox *sandbox, struct state_copy *ret_copy);
void state_copy_done(struct state_copy *copy);
bool state_copy_equal(const husk_sandbox *sandbox, const struct state_copy *copy);
/* Fail the test if the sandbox differs from the copy, or if its stack or mailbox is not zero. */
void state_copy_check(const husk_sandbox *sandbox, const struct state_copy *copy, const char *when);

/* The next number of a reproducible sequence. */
uint64_t state_random(uint64_t *state);
/* Make random changes of each kind, some of them large. Some of the calls trap. */
void state_scramble(struct state_lab *lab, husk_sandbox *sandbox, uint64_t *random);

#endif
