/* examples/example.h: shared by the larger examples: opens an image from a .wasm or .husk file;
 * calls functions that take and return i32. */
#ifndef EXAMPLES_EXAMPLE_H
#define EXAMPLES_EXAMPLE_H

#include <husk.h>

/* Reads and compiles a module, or opens an image or a snapshot (husk_image_is_snapshot()). On
 * failure prints why and returns NULL. */
husk_image *example_load(husk_engine *engine, const char *path);

/* Set a message: `what` and `why`, one after the other. Returns HUSK_E_GUEST. */
int example_fail(struct husk_error *err, const char *what, const char *why);

struct example_numbers {
    size_t count;
    int32_t of[6];
};
/* Call a function that takes only i32 and returns one, or nothing if ret_number is NULL. The call
 * must return, before wall_ns passes. */
struct example_call {
    husk_sandbox *sandbox;
    const char *name;
    const struct example_numbers *numbers;
    uint64_t wall_ns;
};
int example_call(const struct example_call *what, int32_t *ret_number, struct husk_error *err);

#endif
