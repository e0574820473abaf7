/*
 * host/vm/addr.h: guest-physical addresses have a type, so that the compiler refuses other
 * addresses in their place. A guest-virtual address is a plain `uint64_t gva`, a host address a
 * `uint8_t *hva`.
 */
#ifndef HOST_ADDR_H
#define HOST_ADDR_H

#include <stdint.h>

typedef struct {
    uint64_t v;
} gpa_t;

static inline gpa_t gpa(uint64_t v) {
    return (gpa_t){v};
}

#endif
