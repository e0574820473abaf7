/*
 * tests/support/guest_image.h: a small image of guest_code.S, made without the compiler: exports
 * "add", "host" (calls the imported function "env"."host"), "spin", "recurse", "read", "trap",
 * "grow", "bad_port", memory "memory" (1 page, at most 3), a mutable i64 global "g" of value 7.
 * Functions have the names of their exports.
 */
#ifndef TESTS_SUPPORT_GUEST_IMAGE_H
#define TESTS_SUPPORT_GUEST_IMAGE_H

#include "image_builder.h"

/* Build the image up to builder_finish(), so that a test can change it first. */
void guest_image_build(struct image_builder *builder);
uint8_t *guest_image_make(size_t *ret_count);
/* The same as a snapshot: 2 pages of memory, a table of 600 entries that may grow to 1024, hot
 * pages, and the state of WASI. Instead of "env"."host" it imports
 * "wasi_snapshot_preview1"."clock_time_get". */
void guest_snapshot_build(struct image_builder *builder);
uint8_t *guest_snapshot_make(size_t *ret_count);
/* A snapshot of a call of "host" that stands at "env"."host" with the argument 20. */
void guest_standing_build(struct image_builder *builder);
uint8_t *guest_standing_make(size_t *ret_count);
/* The image with exceptions besides. Tags: 0 is the import "env"."tag" (f64), 1 the export "oops"
 * (i64), 2 has no values and no name. Function "throw" (i32, i64): its arguments are a tag's index
 * + 1, and a value; nobody catches it. If the host function throws, "host" catches values of 0 and
 * more: it returns them and 1001. */
void guest_exception_build(struct image_builder *builder);
uint8_t *guest_exception_make(size_t *ret_count);
/* The guest address of a label of guest_code.S. */
extern const uint8_t guest_code_start[], guest_code_end[], guest_entry[], guest_resume[],
    guest_other_thunk[], guest_thunk[], guest_add[], guest_host[], guest_spin[], guest_recurse[],
    guest_read[], guest_trap[], guest_grow[], guest_bad_port[], guest_throw[], guest_throws_here[],
    guest_host_goes_on[];
uint32_t guest_gva(const uint8_t *label);

#endif
