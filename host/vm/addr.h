/*
 * host/vm/addr.h: guest-physical addresses are a type, so that no other address gets in their
 * place. A guest-virtual one is a plain `uint64_t gva`, a host one a `uint8_t *hva`.
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
