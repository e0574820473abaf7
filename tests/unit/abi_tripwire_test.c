/*
 * tests/unit/abi_tripwire_test.c: a second copy of every number of the contract (abi/, and its
 * numbers in husk.h). Image files and compiled code hold these numbers. If you change one, this
 * test fails. Then raise HUSK_ABI_VERSION or HUSK_IMAGE_FORMAT if old images can no longer work.
 */
#include "harness.h"

#include <string.h>

#include "exception.h"
#include "husk.h"
#include "image.h"
#include "image_records.h"
#include "layout.h"
#include "mailbox.h"
#include "ports.h"
#include "valtype.h"

#define SAME(name, number)                                                                         \
    CHECK_MSG((uint64_t)(name) == (uint64_t)(number), #name " is not " #number)

TEST(versions) {
    SAME(HUSK_ABI_VERSION, 1);
    SAME(HUSK_IMAGE_FORMAT, 2);
    SAME(HUSK_IMAGE_MAGIC, 0x31474d494b535548ull);
    CHECK(memcmp(&(uint64_t){HUSK_IMAGE_MAGIC}, "HUSKIMG1", 8) == 0);
    SAME(HUSK_NOTE_TYPE, 0x4b535548);
    CHECK(memcmp(&(uint32_t){HUSK_NOTE_TYPE}, "HUSK", 4) == 0);
    CHECK_STR(HUSK_NOTE_NAME, "husk");
}

TEST(address_space) {
    SAME(HUSK_PAGE_SIZE, 4096);
    SAME(HUSK_PAGE_SHIFT, 12);
    SAME(HUSK_WASM_PAGE_SIZE, 65536);
    SAME(HUSK_SYS_GVA, 0x100000);
    SAME(HUSK_SYS_END_GVA, 0x400000);
    SAME(HUSK_TEXT_GVA, 0x400000);
    SAME(HUSK_TEXT_END_GVA, 0x20000000);
    SAME(HUSK_DATA_GVA, 0x20000000);
    SAME(HUSK_DATA_END_GVA, 0x30000000);
    SAME(HUSK_MAILBOX_GVA, 0x30000000);
    SAME(HUSK_STACK_LOW_GVA, 0x38000000);
    SAME(HUSK_STACK_TOP_GVA, 0x3f000000);
    SAME(HUSK_STACK_DEFAULT_BYTES, 1 << 20);
    SAME(HUSK_STACK_MIN_BYTES, 16 << 10);
    SAME(HUSK_STACK_MAX_BYTES, 64 << 20);
    SAME(HUSK_MEM0_GVA, 1 << 30);
    SAME(HUSK_MEM1_BASE_GVA, 64ull << 30);
    SAME(HUSK_MEM_STRIDE, 16ull << 30);
    SAME(HUSK_MEM_WINDOW_BYTES, (8ull << 30) + (64 << 10));
    SAME(HUSK_MEM_BELOW_BYTES, 64 << 10);
    SAME(HUSK_MEM64_INDEX_MAX, 8ull << 30);
    SAME(HUSK_MEM64_WINDOW_BYTES, (12ull << 30) + (64 << 10));
    SAME(HUSK_MAX_MEMORIES, 64);
    SAME(HUSK_FILES_GVA, 64ull << 30);
    SAME(HUSK_FILES_MAX_BYTES, 8ull << 30);
    SAME(HUSK_MAX_MEM_PAGES, 65536);
    SAME(HUSK_MAX_MEM64_PAGES, 131072);
}

TEST(address_space_is_consistent) {
    CHECK(HUSK_STACK_MAX_BYTES <= HUSK_STACK_TOP_GVA - HUSK_STACK_LOW_GVA);
    CHECK(HUSK_MEM_WINDOW_BYTES <= HUSK_MEM_STRIDE);
    CHECK(HUSK_STACK_TOP_GVA + HUSK_MEM_BELOW_BYTES <= HUSK_MEM0_GVA);
    CHECK(HUSK_MEM64_WINDOW_BYTES <= HUSK_MEM_STRIDE);
    CHECK((uint64_t)HUSK_MAX_MEM64_PAGES * HUSK_WASM_PAGE_SIZE == HUSK_MEM64_INDEX_MAX);
    CHECK(HUSK_MEM0_GVA + HUSK_MEM64_WINDOW_BYTES <= HUSK_FILES_GVA);
    CHECK(HUSK_MAILBOX_GVA + HUSK_MBOX_BYTES <= HUSK_STACK_LOW_GVA);
    CHECK(HUSK_MEM0_GVA + HUSK_MEM_WINDOW_BYTES <= HUSK_FILES_GVA);
    CHECK(HUSK_FILES_GVA + HUSK_FILES_MAX_BYTES <= husk_mem_gva(1));
    CHECK(!husk_is_files_gva(HUSK_FILES_GVA - 1) && husk_is_files_gva(HUSK_FILES_GVA) &&
          husk_is_files_gva(HUSK_FILES_GVA + HUSK_FILES_MAX_BYTES - 1) &&
          !husk_is_files_gva(HUSK_FILES_GVA + HUSK_FILES_MAX_BYTES));
    SAME(husk_mem_gva(0), 0x40000000);
    SAME(husk_mem_gva(1), 0x1400000000);
    SAME(husk_mem_gva(63), (64ull << 30) + 63 * (16ull << 30));
}

TEST(mailbox) {
    SAME(HUSK_SLOT_BYTES, 16);
    SAME(HUSK_MAX_SLOTS, 1024);
    SAME(HUSK_MBOX_SERVICE_OP, 0);
    SAME(HUSK_MBOX_SERVICE_ARG, 8);
    SAME(HUSK_MBOX_SERVICE_RET, 32);
    SAME(HUSK_MBOX_IMPORT_IDX, 40);
    SAME(HUSK_MBOX_KNOWN_IMPORT, 48);
    SAME(HUSK_MBOX_KNOWN_END, 52);
    SAME(HUSK_MBOX_KNOWN_WORDS, 56);
    SAME(HUSK_MBOX_CALL_SLOTS, 0x1000);
    SAME(HUSK_MBOX_HOST_SLOTS, 0x5000);
    SAME(HUSK_MBOX_EXCHANGE, 0x9000);
    SAME(HUSK_MBOX_BYTES, 0x19000);
    SAME(HUSK_SERVICE_MEMORY_GROW, 1);
    SAME(HUSK_SERVICE_TABLE_GROW, 2);
    SAME(HUSK_SERVICE_ATOMIC_WAIT, 3);
    SAME(HUSK_ATOMIC_WAIT_TIMED_OUT, 2);
    SAME(offsetof(struct husk_mailbox, service_op), 0);
    SAME(offsetof(struct husk_mailbox, service_arg), 8);
    SAME(offsetof(struct husk_mailbox, service_ret), 32);
    SAME(offsetof(struct husk_mailbox, import_idx), 40);
}

TEST(exceptions) {
    SAME(HUSK_EXCEPTION_SLOTS, 4096);
    SAME(HUSK_TAG_ANY, UINT32_MAX);
    SAME(offsetof(struct husk_exception, tag), 0);
    SAME(offsetof(struct husk_exception, mark), 4);
    SAME(offsetof(struct husk_exception, values), 16);
    SAME(sizeof(struct husk_exception), 16);
}

TEST(ports) {
    SAME(HUSK_PORT_CALL_DONE, 0x10);
    SAME(HUSK_PORT_HOST_CALL, 0x11);
    SAME(HUSK_PORT_SERVICE, 0x12);
    SAME(HUSK_PORT_UNCAUGHT, 0x13);
    SAME(HUSK_PORT_EXCEPTION, 0x80);
    SAME(HUSK_EXCEPTION_VECTORS, 32);
}

struct numbered {
    const char *name;
    uint64_t number;
    const char *text;
};

static void check_list(const struct numbered *got, size_t got_count,
                       const struct numbered *expected, size_t expected_count) {
    CHECK_EQ_U64(got_count, expected_count);
    for (size_t i = 0; i < expected_count; i++) {
        CHECK_STR(got[i].name, expected[i].name);
        CHECK_MSG(got[i].number == expected[i].number, "%s is %llu", got[i].name,
                  (unsigned long long)got[i].number);
        if (expected[i].text != NULL)
            CHECK_STR(got[i].text, expected[i].text);
    }
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

TEST(traps) {
    static const struct numbered got[] = {
#define HUSK_TRAP(name, number, text) {#name, number, text},
#include "trap.def"
#undef HUSK_TRAP
    };
    static const struct numbered expected[] = {
        {"UNREACHABLE", 1, "unreachable"},
        {"MEMORY_OUT_OF_BOUNDS", 2, "out of bounds memory access"},
        {"TABLE_OUT_OF_BOUNDS", 3, "out of bounds table access"},
        {"UNDEFINED_ELEMENT", 4, "undefined element"},
        {"UNINITIALIZED_ELEMENT", 5, "uninitialized element"},
        {"INDIRECT_CALL_TYPE_MISMATCH", 6, "indirect call type mismatch"},
        {"INTEGER_DIVIDE_BY_ZERO", 7, "integer divide by zero"},
        {"INTEGER_OVERFLOW", 8, "integer overflow"},
        {"INVALID_CONVERSION_TO_INTEGER", 9, "invalid conversion to integer"},
        {"CALL_STACK_EXHAUSTED", 10, "call stack exhausted"},
        {"HOST_FUNCTION", 11, "host function failed"},
        {"NULL_FUNCTION_REFERENCE", 12, "null function reference"},
        {"NULL_REFERENCE", 13, "null reference"},
        {"LINK", 14, "incompatible import type"},
        {"NULL_EXCEPTION_REFERENCE", 15, "null exception reference"},
        {"EXCEPTION_REFERENCES", 16, "too many exception references"},
        {"UNALIGNED_ATOMIC", 17, "unaligned atomic"},
        {"EXPECTED_SHARED_MEMORY", 18, "expected shared memory"},
    };
    check_list(got, COUNT(got), expected, COUNT(expected));
}

/* husk.h spells the traps out for its readers; they must be the rows of trap.def. */
TEST(traps_of_the_public_header) {
#define HUSK_TRAP(name, number, text) SAME(HUSK_TRAP_##name, number);
#include "trap.def"
#undef HUSK_TRAP
    SAME(HUSK_TRAP_NONE, 0);
}

TEST(cpu_features) {
    static const struct numbered got[] = {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, cpuid_bit) {#name, bit, llvm},
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    };
    static const struct numbered expected[] = {
        {"SSE3", 0, "sse3"},
        {"SSSE3", 1, "ssse3"},
        {"SSE41", 2, "sse4.1"},
        {"SSE42", 3, "sse4.2"},
        {"POPCNT", 4, "popcnt"},
        {"CX16", 5, "cx16"},
        {"AVX", 6, "avx"},
        {"FMA", 7, "fma"},
        {"MOVBE", 8, "movbe"},
        {"F16C", 9, "f16c"},
        {"BMI1", 10, "bmi"},
        {"BMI2", 11, "bmi2"},
        {"AVX2", 12, "avx2"},
        {"LZCNT", 13, "lzcnt"},
        {"AVX512F", 14, "avx512f"},
        {"AVX512DQ", 15, "avx512dq"},
        {"AVX512CD", 16, "avx512cd"},
        {"AVX512BW", 17, "avx512bw"},
        {"AVX512VL", 18, "avx512vl"},
        {"AVX512VBMI", 19, "avx512vbmi"},
        {"AVX512VBMI2", 20, "avx512vbmi2"},
        {"AVX512VNNI", 21, "avx512vnni"},
        {"AVX512BITALG", 22, "avx512bitalg"},
        {"AVX512VPOPCNTDQ", 23, "avx512vpopcntdq"},
    };
    check_list(got, COUNT(got), expected, COUNT(expected));
}

/* Where each feature is found: CPUID leaf, subleaf, register (0 eax … 3 edx) and bit, packed for
 * comparing. */
TEST(cpu_feature_bits) {
#define CPUID_AT(leaf, subleaf, reg, bit)                                                          \
    ((uint64_t)(leaf) << 32 | (uint64_t)(subleaf) << 16 | (uint64_t)(reg) << 8 | (uint64_t)(bit))
    static const uint64_t got[] = {
#define HUSK_CPU_FEATURE(name, bit, llvm, leaf, subleaf, reg, cpuid_bit)                           \
    CPUID_AT(leaf, subleaf, reg, cpuid_bit),
#include "cpu_features.def"
#undef HUSK_CPU_FEATURE
    };
    static const uint64_t expected[] = {
        CPUID_AT(1, 0, 2, 0),  CPUID_AT(1, 0, 2, 9),          CPUID_AT(1, 0, 2, 19),
        CPUID_AT(1, 0, 2, 20), CPUID_AT(1, 0, 2, 23),         CPUID_AT(1, 0, 2, 13),
        CPUID_AT(1, 0, 2, 28), CPUID_AT(1, 0, 2, 12),         CPUID_AT(1, 0, 2, 22),
        CPUID_AT(1, 0, 2, 29), CPUID_AT(7, 0, 1, 3),          CPUID_AT(7, 0, 1, 8),
        CPUID_AT(7, 0, 1, 5),  CPUID_AT(0x80000001, 0, 2, 5), CPUID_AT(7, 0, 1, 16),
        CPUID_AT(7, 0, 1, 17), CPUID_AT(7, 0, 1, 28),         CPUID_AT(7, 0, 1, 30),
        CPUID_AT(7, 0, 1, 31), CPUID_AT(7, 0, 2, 1),          CPUID_AT(7, 0, 2, 6),
        CPUID_AT(7, 0, 2, 11), CPUID_AT(7, 0, 2, 12),         CPUID_AT(7, 0, 2, 14),
    };
    CHECK_EQ_U64(COUNT(got), COUNT(expected));
    for (size_t i = 0; i < COUNT(expected); i++)
        CHECK_MSG(got[i] == expected[i], "row %zu: 0x%llx", i, (unsigned long long)got[i]);
}

TEST(statuses) {
    static const struct numbered got[] = {
#define ROW(name, number, text) {#name, number, text},
        HUSK_STATUS_LIST(ROW)
#undef ROW
    };
    static const struct numbered expected[] = {
        {"INVAL", 1, NULL},         {"NOMEM", 2, NULL},          {"SYS", 3, NULL},
        {"NO_HYPERVISOR", 4, NULL}, {"HYPERVISOR_CAP", 5, NULL}, {"BAD_WASM", 6, NULL},
        {"INVALID_WASM", 7, NULL},  {"UNSUPPORTED", 8, NULL},    {"LIMIT", 9, NULL},
        {"BAD_IMAGE", 10, NULL},    {"IMAGE_VERSION", 11, NULL}, {"CPU", 12, NULL},
        {"LINK", 13, NULL},         {"NOT_FOUND", 14, NULL},     {"TYPE", 15, NULL},
        {"STATE", 16, NULL},        {"POISONED", 17, NULL},      {"COMPILER", 18, NULL},
        {"TIMEOUT", 19, NULL},      {"GUEST", 20, NULL},
    };
    check_list(got, COUNT(got), expected, COUNT(expected));
    CHECK_EQ_I64(HUSK_OK, 0);
    CHECK_EQ_I64(HUSK_E_INVAL, -1);
    CHECK_EQ_I64(HUSK_E_GUEST, -20);
}

/* There and back for every row of valtype.def, and nothing else is a type. */
TEST(value_types_convert) {
    uint32_t found = 0;
    for (uint32_t number = 0; number < 0x1000; number++) {
        valtype_t type = valtype_from_byte(number);
        found += type != VALTYPE_NONE;
        CHECK_EQ_U64(valtype_to_byte(type), type != VALTYPE_NONE ? number : 0);
    }
    CHECK_EQ_U64(found, 8);
    CHECK_EQ_U64(valtype_from_byte(HUSK_V128), 5);
    CHECK_EQ_U64(valtype_from_byte(HUSK_EXTERNREF), 0x111);
    CHECK_EQ_U64(valtype_from_letter('F'), VALTYPE_F64);
    CHECK_EQ_U64(valtype_from_letter('>'), VALTYPE_NONE);
    CHECK(valtype_is_ref(0x110) && valtype_is_ref(0x111) && !valtype_is_ref(VALTYPE_V128));
    CHECK_EQ_U64(valtype_from_letter('x'), 0x112);
    CHECK_STR(valtype_name(0x112), "exnref");
    CHECK_STR(valtype_name(0x110), "funcref");
    CHECK_STR(valtype_name(VALTYPE_FUNCREF), "unknown"); /* not nullable: has no short name */
    CHECK_STR(valtype_name(VALTYPE_NONE), "unknown");
}

TEST(types_and_kinds) {
    SAME(HUSK_ABI_I32, 1);
    SAME(HUSK_ABI_I64, 2);
    SAME(HUSK_ABI_F32, 3);
    SAME(HUSK_ABI_F64, 4);
    SAME(HUSK_ABI_V128, 5);
    SAME(HUSK_ABI_FUNCREF, 0x110);
    SAME(HUSK_ABI_EXTERNREF, 0x111);
    SAME(HUSK_ABI_EXNREF, 0x112);
    SAME(VALTYPE_I32, 1);
    SAME(VALTYPE_I64, 2);
    SAME(VALTYPE_F32, 3);
    SAME(VALTYPE_F64, 4);
    SAME(VALTYPE_V128, 5);
    SAME(VALTYPE_FUNCREF, 16);
    SAME(VALTYPE_EXTERNREF, 17);
    SAME(VALTYPE_EXNREF, 18);
    SAME(VALTYPE_NULLABLE, 0x100);
    SAME(VALTYPE_IDX_SHIFT, 12);
    SAME(HUSK_I32, 0x7f);
    SAME(HUSK_I64, 0x7e);
    SAME(HUSK_F32, 0x7d);
    SAME(HUSK_F64, 0x7c);
    SAME(HUSK_V128, 0x7b);
    SAME(HUSK_FUNCREF, 0x70);
    SAME(HUSK_EXTERNREF, 0x6f);
    SAME(HUSK_EXNREF, 0x69);
    SAME(HUSK_ABI_FUNC, 0);
    SAME(HUSK_ABI_TABLE, 1);
    SAME(HUSK_ABI_MEMORY, 2);
    SAME(HUSK_ABI_GLOBAL, 3);
    SAME(HUSK_ABI_TAG, 4);
    SAME(HUSK_EXTERN_FUNC, 0);
    SAME(HUSK_EXTERN_TABLE, 1);
    SAME(HUSK_EXTERN_MEMORY, 2);
    SAME(HUSK_EXTERN_GLOBAL, 3);
    SAME(HUSK_EXTERN_TAG, 4);
    SAME(HUSK_LIMIT_HAS_MAX, 1);
    SAME(HUSK_LIMIT_IS_64, 2);
    SAME(HUSK_LIMIT_SHARED, 4);
    SAME(HUSK_GLOBAL_MUTABLE, 1);
    SAME(HUSK_IMAGE_NEEDS_INIT, 1);
    SAME(HUSK_IMAGE_SNAPSHOT, 2);
    SAME(HUSK_IMAGE_STRICT, 4);
    SAME(HUSK_IMAGE_FILES, 8);
}

TEST(image_records) {
    static const struct {
        const char *name;
        uint32_t row_bytes, first_bytes, flags;
    } expected[] = {
        {"module", 72, 56, 0},        {"strings", 1, 1, 0},      {"valtypes", 4, 4, 0},
        {"types", 16, 16, 0},         {"funcs", 28, 28, 0},      {"imports", 28, 28, 0},
        {"exports", 20, 20, 0},       {"memories", 32, 32, 0},   {"tables", 40, 40, 0},
        {"globals", 16, 16, 0},       {"tags", 8, 8, 0},         {"instances", 24, 24, 0},
        {"code_map", 12, 12, 0},      {"inlined_code", 8, 8, 1}, {"inlined_calls", 12, 12, 1},
        {"unwind_x86_64", 16, 16, 0}, {"routines", 8, 8, 1},     {"source_files", 8, 8, 1},
        {"source_lines", 16, 16, 1},  {"memory_sizes", 8, 8, 0}, {"table_sizes", 8, 8, 0},
        {"host_state", 1, 1, 0},      {"hot_pages", 8, 8, 1},    {"standing_x86_64", 64, 64, 0},
        {"standing_args", 16, 16, 0}};
    SAME(HUSK_REC_COUNT, sizeof expected / sizeof expected[0]);
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++) {
        CHECK_STR(image_record_kinds[i].name, expected[i].name);
        CHECK_EQ_U64(image_record_kinds[i].row_bytes, expected[i].row_bytes);
        CHECK_EQ_U64(image_record_kinds[i].first_bytes, expected[i].first_bytes);
        CHECK_EQ_U64(image_record_kinds[i].flags, expected[i].flags);
    }
    SAME(HUSK_RECORD_SKIPPABLE, 1);
    SAME(HUSK_RECORD_NAME_BYTES, 24);
    SAME(HUSK_IMAGE_HEADER_FIRST_BYTES, 88);
    SAME(HUSK_IMAGE_RECORD_FIRST_BYTES, 48);
}

TEST(image_note) {
    SAME(offsetof(struct husk_image_header, magic), 0);
    SAME(offsetof(struct husk_image_header, header_bytes), 8);
    SAME(offsetof(struct husk_image_header, format), 12);
    SAME(offsetof(struct husk_image_header, abi), 14);
    SAME(offsetof(struct husk_image_header, wasm_sha256), 16);
    SAME(offsetof(struct husk_image_header, content_sha256), 48);
    SAME(offsetof(struct husk_image_header, records_count), 80);
    SAME(offsetof(struct husk_image_header, record_bytes), 84);
    SAME(offsetof(struct husk_image_header, content_hash), 88);
    SAME(sizeof(struct husk_image_header), 104);
    SAME(offsetof(struct husk_image_record, flags), 24);
    SAME(offsetof(struct husk_image_record, row_bytes), 28);
    SAME(offsetof(struct husk_image_record, offset), 32);
    SAME(offsetof(struct husk_image_record, count), 40);
    SAME(sizeof(struct husk_image_record), 48);
    SAME(offsetof(struct husk_image_module, cpu_features), 0);
    SAME(offsetof(struct husk_image_module, flags), 8);
    SAME(offsetof(struct husk_image_module, entry_gva), 12);
    SAME(offsetof(struct husk_image_module, resume_gva), 16);
    SAME(offsetof(struct husk_image_module, init_gva), 20);
    SAME(offsetof(struct husk_image_module, init_thunk_gva), 24);
    SAME(offsetof(struct husk_image_module, opt_level), 28);
    SAME(offsetof(struct husk_image_module, compiler), 32);
    SAME(offsetof(struct husk_image_module, target_cpu), 40);
    SAME(offsetof(struct husk_image_module, name), 48);
    SAME(offsetof(struct husk_image_module, throw_gva), 56);
    SAME(offsetof(struct husk_image_module, exception_gva), 60);
    SAME(offsetof(struct husk_image_module, exception_values), 64);
    SAME(offsetof(struct husk_image_module, exception_slots_gva), 68);
    SAME(sizeof(struct husk_image_module), 72);
}

TEST(image_rows) {
    SAME(sizeof(struct husk_image_str), 8);
    SAME(sizeof(struct husk_image_type), 16);
    SAME(sizeof(struct husk_image_func), 28);
    SAME(offsetof(struct husk_image_func, name), 16);
    SAME(offsetof(struct husk_image_func, instance), 24);
    SAME(sizeof(struct husk_image_import), 28);
    SAME(offsetof(struct husk_image_import, kind), 16);
    SAME(sizeof(struct husk_image_export), 20);
    SAME(offsetof(struct husk_image_export, kind), 8);
    SAME(sizeof(struct husk_image_memory), 32);
    SAME(offsetof(struct husk_image_memory, flags), 16);
    SAME(sizeof(struct husk_image_table), 40);
    SAME(offsetof(struct husk_image_table, flags), 16);
    SAME(offsetof(struct husk_image_table, base_gva), 24);
    SAME(offsetof(struct husk_image_table, size_gva), 32);
    SAME(sizeof(struct husk_image_global), 16);
    SAME(sizeof(struct husk_image_tag), 8);
    SAME(offsetof(struct husk_image_tag, instance), 4);
    SAME(sizeof(struct husk_image_code_row), 12);
    SAME(sizeof(struct husk_image_inlined_row), 8);
    SAME(sizeof(struct husk_image_inlined_call), 12);
    SAME(sizeof(struct husk_image_unwind_x86_64), 16);
    SAME(sizeof(struct husk_image_line_row), 16);
}

TEST_MAIN()
