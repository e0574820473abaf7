/*
 * compiler/lower/target.c: finds the CPU to compile for. Code may use only the features of
 * abi/cpu_features.def: the host checks those before it maps an image, and the guest's CPUID shows
 * no others. So the feature string turns each of them on or off by name. It turns off every other
 * feature that LLVM believes the CPU has.
 */
#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codegen_internal.h"
#include "error.h"

struct feature {
    const char *llvm_name;
    uint32_t bit;
};

static const struct feature features[] = {
#define HUSK_CPU_FEATURE(name, bit, llvm_name, leaf, subleaf, reg, cpuid_bit) {llvm_name, bit},
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
};
#define FEATURES_COUNT (sizeof features / sizeof features[0])

#define V2 0x3fu /* sse3 … cx16 */
#define V3 (V2 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13)
#define V4 (V3 | 1u << 14 | 1u << 15 | 1u << 16 | 1u << 17 | 1u << 18)
#define ICELAKE (V4 | 1u << 19 | 1u << 20 | 1u << 21 | 1u << 22 | 1u << 23)

/* CPUs that can be named. */
static const struct {
    const char *name;
    uint64_t bits;
} cpus[] = {
    {"x86-64-v2", V2},
    {"x86-64-v3", V3},
    {"x86-64-v4", V4},
    {"nehalem", V2},
    {"westmere", V2},
    {"sandybridge", V2 | 1u << 6},
    {"ivybridge", V2 | 1u << 6 | 1u << 9},
    {"haswell", V3},
    {"broadwell", V3},
    {"skylake", V3},
    {"skylake-avx512", V4},
    {"cascadelake", V4 | 1u << 21},
    {"icelake-server", ICELAKE},
    {"sapphirerapids", ICELAKE},
    {"alderlake", V3},
    {"znver1", V3},
    {"znver2", V3},
    {"znver3", V3},
    {"znver4", ICELAKE},
    {"znver5", ICELAKE},
};

const char *codegen_llvm_version(void) {
    static char text[32];
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, patch);
    return text;
}

/* Bits of a list such as "+sse3,-avx". */
static uint64_t feature_bits(const char *list) {
    uint64_t bits = 0;
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        size_t bytes = strlen(features[i].llvm_name);
        for (const char *at = strstr(list, features[i].llvm_name); at != NULL;
             at = strstr(at + 1, features[i].llvm_name))
            if (at > list && at[-1] == '+' && (at[bytes] == ',' || at[bytes] == '\0'))
                bits |= (uint64_t)1 << features[i].bit;
    }
    return bits;
}

static bool append(char *text, size_t size, const char *sign, const char *name) {
    size_t used = strlen(text);
    int more = snprintf(text + used, size - used, "%s%s%s", used > 0 ? "," : "", sign, name);
    return more > 0 && (size_t)more < size - used;
}

static bool is_listed(const char *name, size_t bytes) {
    for (size_t i = 0; i < FEATURES_COUNT; i++)
        if (strlen(features[i].llvm_name) == bytes &&
            memcmp(features[i].llvm_name, name, bytes) == 0)
            return true;
    return false;
}

/* Tuning and the baseline of every x86-64: neither needs the host's leave. */
static bool is_always_there(const char *name, size_t bytes) {
    static const char *const names[] = {"64bit", "cmov", "cx8", "fxsr", "mmx",
                                        "sse",   "sse2", "x87", "sahf", "crc32"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == bytes && memcmp(names[i], name, bytes) == 0)
            return true;
    return false;
}

/* LLVM's list for the host, which holds every feature it knows, with those that are not ours turned
 * off. */
static bool append_others_off(char *text, size_t size, const char *host) {
    bool fits = true;
    for (const char *at = host; *at != '\0' && fits;) {
        size_t bytes = strcspn(at, ",");
        char name[64];
        if (bytes > 1 && bytes < sizeof name && !is_listed(at + 1, bytes - 1) &&
            !is_always_there(at + 1, bytes - 1)) {
            memcpy(name, at + 1, bytes - 1);
            name[bytes - 1] = 0;
            fits = append(text, size, "-", name);
        }
        at += bytes;
        at += *at == ',';
    }
    return fits;
}

static char *feature_string(uint64_t bits, const char *others) {
    size_t size = strlen(others) * 2 + 4096;
    char *text = calloc(1, size);
    bool fits = text != NULL;
    for (size_t i = 0; i < FEATURES_COUNT && fits; i++)
        fits = append(text, size, (bits >> features[i].bit & 1) != 0 ? "+" : "-",
                      features[i].llvm_name);
    fits = fits && append_others_off(text, size, others);
    if (!fits) {
        free(text);
        return NULL;
    }
    return text;
}

static int cpu_by_name(const char *cpu, uint64_t *ret_bits, struct husk_error *err) {
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++) {
        if (strcmp(cpus[i].name, cpu) == 0) {
            *ret_bits = cpus[i].bits;
            return 0;
        }
    }
    return error_set(err, HUSK_E_INVAL,
                     "unknown CPU \"%.40s\"; use \"native\", \"x86-64-v2\", \"x86-64-v3\", "
                     "\"x86-64-v4\", or a name like \"skylake\" or \"znver4\"",
                     cpu);
}

int codegen_target(const char *cpu, char **ret_cpu, char **ret_features, uint64_t *ret_feature_bits,
                   struct husk_error *err) {
    bool is_native = cpu == NULL || strcmp(cpu, "native") == 0;
    char *host_features = LLVMGetHostCPUFeatures();
    char *host_cpu = LLVMGetHostCPUName();
    uint64_t bits = feature_bits(host_features);
    int status = is_native ? 0 : cpu_by_name(cpu, &bits, err);
    if (status == 0 && is_native && (bits & V2) != V2)
        status = error_set(err, HUSK_E_CPU,
                           "this CPU is below x86-64-v2 (SSE4.2, POPCNT), which every image needs");
    char *name = status == 0 ? strdup(is_native ? host_cpu : cpu) : NULL;
    char *list = status == 0 ? feature_string(bits, host_features) : NULL;
    LLVMDisposeMessage(host_features);
    LLVMDisposeMessage(host_cpu);
    if (status == 0 && (name == NULL || list == NULL))
        status = error_set(err, HUSK_E_NOMEM, "out of memory");
    if (status != 0) {
        free(name);
        free(list);
        return status;
    }
    *ret_cpu = name;
    *ret_features = list;
    *ret_feature_bits = bits;
    return 0;
}
