/*
 * compiler/client/cpu_identity.c: names this machine's CPU for the cache key: vendor, family, model
 * and the features of abi/cpu_features.def, from CPUID (Intel SDM vol. 2A). Two machines with the
 * same name get the same code for "native".
 */
#include <cpuid.h>
#include <stdio.h>

#include "client.h"

/* The last leaf that was read: CPUID takes some 14 us where this machine is a virtual one. Rows of
 * one leaf are neighbours, with few exceptions. */
struct leaf {
    unsigned leaf, subleaf, regs[4];
};

static bool has_feature(struct leaf *last, unsigned leaf, unsigned subleaf, unsigned reg,
                        unsigned bit) {
    if (last->leaf != leaf || last->subleaf != subleaf) {
        *last = (struct leaf){.leaf = leaf, .subleaf = subleaf};
        if (__get_cpuid_count(leaf, subleaf, &last->regs[0], &last->regs[1], &last->regs[2],
                              &last->regs[3]) == 0)
            last->regs[0] = last->regs[1] = last->regs[2] = last->regs[3] = 0;
    }
    return (last->regs[reg] >> bit & 1) != 0;
}

void cpu_identity(char ret_text[96]) {
    unsigned signature = 0, vendor[3] = {0}, other = 0;
    __get_cpuid(0, &other, &vendor[0], &vendor[2], &vendor[1]);
    __get_cpuid(1, &signature, &other, &other, &other);
    struct leaf last = {0}; /* no row has leaf 0 */
    uint64_t features = 0;
#define HUSK_CPU_FEATURE(name, bit, llvm_name, leaf, subleaf, reg, reg_bit)                        \
    features |= (uint64_t)has_feature(&last, leaf, subleaf, reg, reg_bit) << (bit);
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    snprintf(ret_text, 96, "%.12s-%08x-%016llx", (const char *)vendor, signature & ~0xfu,
             (unsigned long long)features);
}
