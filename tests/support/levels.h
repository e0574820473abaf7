/*
 * tests/support/levels.h: one module, compiled at every level, in the default mode and strict.
 */
#ifndef TESTS_SUPPORT_LEVELS_H
#define TESTS_SUPPORT_LEVELS_H

#include "ready_image.h"
#include "wat.h"

struct level {
    const char *name;
    int opt_level;
    bool is_strict; /* compiled with husk_compile_options.strict */
    bool is_exact;  /* every trap leaves the state that the standard wants */
};

#define LEVELS_COUNT 8
extern const struct level levels[LEVELS_COUNT];

#define SKIP_WITHOUT_LEVELS()                                                                      \
    do {                                                                                           \
        SKIP_WITHOUT_COMPILER();                                                                   \
        if (ready_images_only()) {                                                                 \
            SKIP("needs the compiler at all levels, and there are ready images only");             \
        }                                                                                          \
    } while (0)

/* tests/kvm/code/wat/<name>.wat, malloc()ed wasm. */
uint8_t *level_wasm(const char *name, size_t *ret_count);
/* Image and sandbox of a lab that was wat_lab_init()ed: those of the module at this level. */
void level_open(struct wat_lab *lab, const struct level *level, const uint8_t *wasm, size_t count);
void level_close(struct wat_lab *lab);
/* Calls with the first arguments of args, as many as the export takes; gives its result, or 0 if
 * it has none or did not return. */
int64_t level_call(struct wat_lab *lab, const char *name, const int32_t *args);
/* The instance as it was in the beginning. */
void level_restore(struct wat_lab *lab);

#endif
