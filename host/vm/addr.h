/*
 * host/vm/addr.h: address kinds are types, so that a wrong one does not compile. Host addresses are plain `uint8_t *hva`.
 */
#ifndef HOST_ADDR_H
#define HOST_ADDR_H

#include <stdint.h>

typedef struct {
    uint64_t v;
} gva_t; /* guest-virtual */
typedef struct {
    uint64_t v;
} gpa_t; /* guest-physical */

static inline gva_t gva(uint64_t v) {
    return (gva_t){v};
}
static inline gpa_t gpa(uint64_t v) {
    return (gpa_t){v};
}

#endif
