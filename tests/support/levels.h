/* tests/support/levels.h: compiles one module at every level, in the default mode and strict. */
#ifndef TESTS_SUPPORT_LEVELS_H
#define TESTS_SUPPORT_LEVELS_H

#include "ready_image.h"
#include "wat.h"

struct level {
    const char *name;
    int opt_level;
    bool is_strict; /* compiled with husk_compile_options.strict */
    bool is_exact;  /* every trap leaves the state that the standard requires */
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

/* The wasm of tests/kvm/code/wat/<name>.wat, malloc()ed. */
uint8_t *level_wasm(const char *name, size_t *ret_count);
/* Make the image and the sandbox of a lab from the module at this level. wat_lab_init() has
 * initialised the lab. */
void level_open(struct wat_lab *lab, const struct level *level, const uint8_t *wasm, size_t count);
void level_close(struct wat_lab *lab);
/* The same from text, for a lab of one level, which wat_lab_close() ends. */
void level_lab_open(struct wat_lab *lab, const struct level *level, const char *wat);
/* Call an export with as many of the arguments as it takes. Returns its result, or 0 if it has none
 * or did not return. */
int64_t level_call(struct wat_lab *lab, const char *name, const int32_t *args);
/* Restore the instance to its initial state. */
void level_restore(struct wat_lab *lab);

#endif
