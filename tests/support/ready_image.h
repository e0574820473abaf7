/*
 * tests/support/ready_image.h: images of the suites' modules, compiled beforehand for a machine
 * that has no compiler (tools/run-hwkvm).
 *
 *   HUSK_TEST_IMAGES=DIR        where they lie, each under the hash of its module's source
 *   HUSK_TEST_IMAGES_CPU=NAME   compile what is not there, for this CPU, and keep it
 *
 * Without the first, every suite compiles for itself.
 */
#ifndef TESTS_SUPPORT_READY_IMAGE_H
#define TESTS_SUPPORT_READY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if this process has ready images and nothing to make others with. */
bool ready_images_only(void);
/* A descriptor of the image of this source (the text, or the module itself), or -1. */
int ready_image_open(const void *source, size_t count);
/* The same, compiled now if there is none; text that is no module yet is given with the module made
 * of it. Ends the test on failure. */
int ready_image_compile(const void *source, size_t source_count, const uint8_t *wasm,
                        size_t wasm_count, const char *worker_path);

#endif
