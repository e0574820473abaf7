/*
 * examples/example.h: what the larger examples share: from a .wasm file to an image.
 */
#ifndef EXAMPLES_EXAMPLE_H
#define EXAMPLES_EXAMPLE_H

#include <husk.h>

/* Reads and compiles a module. On failure prints why and returns NULL. */
husk_image *example_load(husk_engine *engine, const char *path);

#endif
