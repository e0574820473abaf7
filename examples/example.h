/* examples/example.h: shared by the larger examples: opens an image from a .wasm or .husk file. */
#ifndef EXAMPLES_EXAMPLE_H
#define EXAMPLES_EXAMPLE_H

#include <husk.h>

/* Reads and compiles a module, or opens an image or a snapshot (husk_image_is_snapshot()). On
 * failure prints why and returns NULL. */
husk_image *example_load(husk_engine *engine, const char *path);

#endif
