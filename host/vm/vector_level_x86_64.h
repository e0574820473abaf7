/*
 * host/vm/vector_level_x86_64.h: the vector registers that a set of CPU features
 * (abi/cpu_features.def) needs. They decide the value of XCR0 and whether the guest has XCR0
 * (vm_kvm_x86_64.c). So they decide whether the entry page can use XRSTOR (entry_page_x86_64.S).
 */
#ifndef HOST_VECTOR_LEVEL_X86_64_H
#define HOST_VECTOR_LEVEL_X86_64_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu_x86_64.h"

enum vector_level { VECTOR_SSE, VECTOR_AVX, VECTOR_AVX512 };

enum {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, reg_bit) FEATURE_##name = bit,
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
};

/* AVX: features whose instructions are VEX-encoded and use the upper halves. AVX-512: AVX512F and
 * all later ones. */
static inline enum vector_level vector_level_of(uint64_t features) {
    const uint64_t avx =
        1ull << FEATURE_AVX | 1ull << FEATURE_FMA | 1ull << FEATURE_F16C | 1ull << FEATURE_AVX2;
    if (features >> FEATURE_AVX512F != 0)
        return VECTOR_AVX512;
    return (features & avx) != 0 ? VECTOR_AVX : VECTOR_SSE;
}

static inline bool features_need_avx(uint64_t features) {
    return vector_level_of(features) >= VECTOR_AVX;
}

/* The state components that the guest gets: SDM vol. 1, section 13.3. */
static inline uint64_t features_xcr0(uint64_t features) {
    uint64_t xcr0 = X86_XCR0_X87 | X86_XCR0_SSE;
    if (features_need_avx(features))
        xcr0 |= X86_XCR0_AVX;
    if (vector_level_of(features) == VECTOR_AVX512)
        xcr0 |= X86_XCR0_AVX512;
    return xcr0;
}

#endif
