/*
 * guest/guest_rt.h: the object files of the guest runtime (ELF64 relocatables). They are embedded
 * in the worker, which links them into every image.
 */
#ifndef GUEST_RT_H
#define GUEST_RT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest_object {
    const uint8_t *elf; /* static storage */
    size_t bytes;
};

#define GUEST_OBJECTS_MAX 5
#define GUEST_RUNTIME_IDX 1 /* memcpy, memset and the like */

/* The objects for an image that needs these CPU features (bits of abi/cpu_features.def): the
 * dispatcher, the memory functions, the routines of exchange.c, and those for exceptions if
 * has_exceptions is set. Returns how many. */
uint32_t guest_objects(uint64_t cpu_features, bool has_exceptions,
                       struct guest_object ret_objects[GUEST_OBJECTS_MAX]);

#endif
