/*
 * tests/support/ready_image.h: images of the suites' modules, compiled in advance for a machine
 * without a compiler (tools/run-hwkvm).
 *
 *   HUSK_TEST_IMAGES=DIR        the folder of the images; the name of each is the hash of its
 *                               module's source
 *   HUSK_TEST_IMAGES_CPU=NAME   compile missing images for this CPU, and keep them
 *
 * Without HUSK_TEST_IMAGES, every suite compiles its own images.
 */
#ifndef TESTS_SUPPORT_READY_IMAGE_H
#define TESTS_SUPPORT_READY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True if this process has ready images and cannot make others. */
bool ready_images_only(void);
/* A descriptor of the image of this source (the text, or the module itself), or -1 if there is
 * none. */
int ready_image_open(const void *source, size_t count);
/* The same, but a missing image is compiled. If the source is text, `wasm` is the module made from
 * it. Ends the test on failure. */
int ready_image_compile(const void *source, size_t source_count, const uint8_t *wasm,
                        size_t wasm_count, const char *worker_path);
/* The same of several modules, which are not looked at if there is a ready image. */
struct husk_module;
int ready_image_link(const void *source, size_t source_count, const struct husk_module *modules,
                     size_t modules_count, const char *worker_path);

#endif
