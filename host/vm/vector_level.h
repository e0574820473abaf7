/*
 * host/vm/vector_level.h: which vector registers a set of CPU features (abi/cpu_features.def) brings with it. Decides XCR0 and whether
 * there is one (vm_kvm_x86_64.c), and so whether the entry page can use XRSTOR (entry_page_x86_64.S).
 */
#ifndef HOST_VECTOR_LEVEL_H
#define HOST_VECTOR_LEVEL_H

#include <stdint.h>

enum vector_level { VECTOR_SSE, VECTOR_AVX, VECTOR_AVX512 };

enum {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, reg_bit) FEATURE_##name = bit,
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
};

/* AVX: instructions that are VEX-encoded and use the upper halves. AVX-512: all from its foundation on. */
static inline enum vector_level vector_level_of(uint64_t features) {
    const uint64_t avx =
        1ull << FEATURE_AVX | 1ull << FEATURE_FMA | 1ull << FEATURE_F16C | 1ull << FEATURE_AVX2;
    if (features >> FEATURE_AVX512F != 0)
        return VECTOR_AVX512;
    return (features & avx) != 0 ? VECTOR_AVX : VECTOR_SSE;
}

#endif
