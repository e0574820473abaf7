/*
 * guest/guest_rt.c: chooses the embedded objects of the guest runtime (guest/embed.S) by the
 * image's CPU features. The first object holds the dispatcher.
 */
#include "guest_rt.h"

enum {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, reg_bit) CPU_##name = (bit),
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
};

#define EMBEDDED(name) extern const uint8_t name[], name##_end[]
EMBEDDED(guest_entry);
EMBEDDED(guest_runtime_0);
EMBEDDED(guest_runtime_1);

static struct guest_object embedded(const uint8_t *start, const uint8_t *end) {
    return (struct guest_object){.elf = start, .bytes = (size_t)(end - start)};
}

void guest_objects(uint64_t cpu_features, struct guest_object ret_objects[GUEST_OBJECTS_COUNT]) {
    ret_objects[0] = embedded(guest_entry, guest_entry_end);
    ret_objects[1] = (cpu_features >> CPU_AVX2 & 1) != 0
                         ? embedded(guest_runtime_1, guest_runtime_1_end)
                         : embedded(guest_runtime_0, guest_runtime_0_end);
}
