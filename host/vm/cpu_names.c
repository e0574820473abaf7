/*
 * host/vm/cpu_names.c: the public names of abi/cpu_features.def.
 */
#include "husk.h"

const char *husk_cpu_feature_name(unsigned bit) {
    switch (bit) {
#define HUSK_CPU_FEATURE(name, number, llvm_name, leaf, subleaf, reg, reg_bit)                     \
    case number:                                                                                   \
        return llvm_name;
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    default: return NULL;
    }
}
