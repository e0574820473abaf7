/*
 * guest/guest_rt.h: the object files of the guest runtime (ELF64 relocatables). They are embedded
 * in the worker, which links them into every image.
 */
#ifndef GUEST_RT_H
#define GUEST_RT_H

#include <stddef.h>
#include <stdint.h>

struct guest_object {
    const uint8_t *elf; /* static storage */
    size_t bytes;
};

#define GUEST_OBJECTS_COUNT 2 /* entry (goes first), runtime */

/* The objects for an image that needs these CPU features (bits of abi/cpu_features.def). */
void guest_objects(uint64_t cpu_features, struct guest_object ret_objects[GUEST_OBJECTS_COUNT]);

#endif
