/*
 * compiler/client/cpu_identity.c: names this machine's CPU for the cache key: vendor, family, model
 * and the features of abi/cpu_features.def, from CPUID (Intel SDM vol. 2A). Two machines with the
 * same name get the same code for "native".
 */
#include <cpuid.h>
#include <stdio.h>

#include "client.h"

static bool has_feature(unsigned leaf, unsigned subleaf, unsigned reg, unsigned bit) {
    unsigned regs[4] = {0};
    if (__get_cpuid_count(leaf, subleaf, &regs[0], &regs[1], &regs[2], &regs[3]) == 0)
        return false;
    return (regs[reg] >> bit & 1) != 0;
}

void cpu_identity(char ret_text[96]) {
    unsigned signature = 0, vendor[3] = {0}, other = 0;
    __get_cpuid(0, &other, &vendor[0], &vendor[2], &vendor[1]);
    __get_cpuid(1, &signature, &other, &other, &other);
    uint64_t features = 0;
#define HUSK_CPU_FEATURE(name, bit, llvm_name, leaf, subleaf, reg, reg_bit)                        \
    features |= (uint64_t)has_feature(leaf, subleaf, reg, reg_bit) << (bit);
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    snprintf(ret_text, 96, "%.12s-%08x-%016llx", (const char *)vendor, signature & ~0xfu,
             (unsigned long long)features);
}
