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
EMBEDDED(guest_exchange);
EMBEDDED(guest_throw_entry);
EMBEDDED(guest_throw);

static struct guest_object embedded(const uint8_t *start, const uint8_t *end) {
    return (struct guest_object){.elf = start, .bytes = (size_t)(end - start)};
}

uint32_t guest_objects(uint64_t cpu_features, bool has_exceptions,
                       struct guest_object ret_objects[GUEST_OBJECTS_MAX]) {
    ret_objects[0] = embedded(guest_entry, guest_entry_end);
    ret_objects[GUEST_RUNTIME_IDX] = (cpu_features >> CPU_AVX2 & 1) != 0
                                         ? embedded(guest_runtime_1, guest_runtime_1_end)
                                         : embedded(guest_runtime_0, guest_runtime_0_end);
    ret_objects[2] = embedded(guest_exchange, guest_exchange_end);
    if (!has_exceptions)
        return 3;
    ret_objects[3] = embedded(guest_throw_entry, guest_throw_entry_end);
    ret_objects[4] = embedded(guest_throw, guest_throw_end);
    return 5;
}
