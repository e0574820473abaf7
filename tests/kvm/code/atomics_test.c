/*
 * tests/kvm/code/atomics_test.c: every atomic access of every width against a model in C, at every
 * level: results, the bytes that it changes, and its traps. An access that is not aligned traps
 * before one beyond the memory (threads proposal; V8 does the same).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "levels.h"
#include "literals.h"

enum operation { LOAD, STORE, ADD, SUB, AND, OR, XOR, XCHG, CMPXCHG, OPERATIONS };

static const char *const operation_names[OPERATIONS] = {"load", "store", "add",  "sub",    "and",
                                                        "or",   "xor",   "xchg", "cmpxchg"};

struct width {
    const char *type, *narrow; /* "i64", "32": of i64.atomic.rmw32.add_u */
    uint32_t bytes;
};
#define WIDTHS 7
static const struct width widths[WIDTHS] = {{"i32", "", 4},  {"i32", "8", 1}, {"i32", "16", 2},
                                            {"i64", "", 8},  {"i64", "8", 1}, {"i64", "16", 2},
                                            {"i64", "32", 4}};

#define PAGE_BYTES 65536u
#define TEXT_BYTES 65536u

/* ---- A function (index, a, b) -> what was read, for each ---- */

static void instruction_name(char text[64], enum operation operation, const struct width *width) {
    const bool is_narrow = width->narrow[0] != '\0';
    if (operation == LOAD || operation == STORE)
        snprintf(text, 64, "%s.atomic.%s%s%s", width->type, operation_names[operation],
                 width->narrow, is_narrow && operation == LOAD ? "_u" : "");
    else
        snprintf(text, 64, "%s.atomic.rmw%s.%s%s", width->type, width->narrow,
                 operation_names[operation], is_narrow ? "_u" : "");
}

/* `is_dropped`: nobody needs what it read. */
static void put_function(char *text, enum operation operation, const struct width *width,
                         bool is_dropped) {
    const bool is_i32 = strcmp(width->type, "i32") == 0;
    const char *wrap = is_i32 ? " i32.wrap_i64" : "";
    char name[64], operands[128] = "";
    instruction_name(name, operation, width);
    if (operation != LOAD)
        snprintf(operands, sizeof operands, " local.get 1%s%s%s", wrap,
                 operation == CMPXCHG ? " local.get 2" : "", operation == CMPXCHG ? wrap : "");
    const size_t used = strlen(text);
    CHECK(used + 400 < TEXT_BYTES);
    snprintf(text + used, TEXT_BYTES - used,
             "(func (export \"%s%s\") (param i32 i64 i64) (result i64) local.get 0%s %s%s)\n", name,
             is_dropped ? " dropped" : "", operands, name,
             operation == STORE ? " i64.const 0"
             : is_dropped       ? " drop i64.const 0"
             : is_i32           ? " i64.extend_i32_u"
                                : "");
}

static const char other_functions[] =
    "(func (export \"plus1\") (param i32 i64 i64) (result i64)"
    "  local.get 0 i64.atomic.load32_u offset=1)\n"
    "(func (export \"plus7\") (param i32 i64 i64) (result i64)"
    "  local.get 0 local.get 1 i64.atomic.rmw.add offset=7)\n"
    "(func (export \"far\") (param i32 i64 i64) (result i64)"
    "  local.get 0 i64.atomic.load offset=4294967292)\n"
    "(func (export \"far_xor\") (param i32 i64 i64) (result i64)"
    "  local.get 0 local.get 1 i64.atomic.rmw32.xor_u offset=4294967292)\n"
    "(func (export \"constant\") (param i32 i64 i64) (result i64)"
    "  i32.const 3 i32.const 1 i32.atomic.rmw.add i64.extend_i32_u)\n"
    "(func (export \"notify\") (param i32 i64 i64) (result i64)"
    "  local.get 0 local.get 1 i32.wrap_i64 memory.atomic.notify i64.extend_i32_u)\n"
    "(func (export \"notify dropped\") (param i32 i64 i64) (result i64)"
    "  local.get 0 i32.const 1 memory.atomic.notify offset=4 drop i64.const 0)\n"
    "(func (export \"wait32\") (param i32 i64 i64) (result i64)"
    "  local.get 0 local.get 1 i32.wrap_i64 i64.const 0 memory.atomic.wait32"
    "  i64.extend_i32_u)\n"
    "(func (export \"wait64\") (param i32 i64 i64) (result i64)"
    "  local.get 0 local.get 1 i64.const 0 memory.atomic.wait64 i64.extend_i32_u)\n"
    "(func (export \"nothing\") (param i32 i64 i64) (result i64)" /* changes no bits */
    "  local.get 0 i32.const 0 i32.atomic.rmw.or drop i64.const 0)\n"
    "(func (export \"fence\") (param i32 i64 i64) (result i64)"
    "  local.get 0 local.get 1 i64.store atomic.fence local.get 0 i64.load)\n";

static char *make_text(void) {
    char *text = calloc(1, TEXT_BYTES);
    CHECK(text != NULL);
    strcpy(text, "(module (memory (export \"mem\") 1 1)\n");
    for (int i = 0; i < OPERATIONS * WIDTHS; i++) {
        put_function(text, (enum operation)(i / WIDTHS), &widths[i % WIDTHS], false);
        if (i / WIDTHS != STORE)
            put_function(text, (enum operation)(i / WIDTHS), &widths[i % WIDTHS], true);
    }
    strcat(text, other_functions);
    strcat(text, ")");
    return text;
}

/* ---- The model ---- */

static uint64_t cut(uint64_t value, uint32_t bytes) {
    return bytes == 8 ? value : value & ((UINT64_C(1) << (8 * bytes)) - 1);
}

static uint64_t model(enum operation operation, uint64_t old, uint64_t a, uint64_t b,
                      uint32_t bytes) {
    switch (operation) {
    case STORE:
    case XCHG: return cut(a, bytes);
    case ADD: return cut(old + a, bytes);
    case SUB: return cut(old - a, bytes);
    case AND: return old & cut(a, bytes);
    case OR: return old | cut(a, bytes);
    case XOR: return old ^ cut(a, bytes);
    case CMPXCHG: return old == cut(a, bytes) ? cut(b, bytes) : old;
    case LOAD:
    case OPERATIONS: break;
    }
    return old;
}

static int64_t call(struct wat_lab *lab, const char *name, uint32_t index, uint64_t a, uint64_t b) {
    struct husk_value args[3] = {value_i32((int32_t)index), value_i64((int64_t)a),
                                 value_i64((int64_t)b)};
    struct husk_value result = value_i64(-1);
    CHECK_OK(wat_call(lab, name, args, 3, &result, 1), lab->err);
    return result.of.i64;
}

#define AROUND 8 /* bytes on each side that must stay */

static void check_one(struct wat_lab *lab, enum operation operation, const struct width *width,
                      uint32_t index, const uint64_t values[3]) {
    char name[64];
    uint8_t before[24], after[24];
    const uint64_t old = cut(values[0], width->bytes);
    const uint64_t new = model(operation, old, values[1], values[2], width->bytes);
    const uint64_t start = index < AROUND ? 0 : index - AROUND;
    const uint64_t end =
        index + width->bytes + AROUND < PAGE_BYTES ? index + width->bytes + AROUND : PAGE_BYTES;
    instruction_name(name, operation, width);
    memset(before, 0xa5, sizeof before);
    memcpy(before + (index - start), &old, width->bytes);
    CHECK_OK(husk_memory_write(lab->sandbox, RANGE(start, end - start, 0), before, &lab->err),
             lab->err);
    const int64_t result = call(lab, name, index, values[1], values[2]);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    CHECK_MSG((uint64_t)result == (operation == STORE ? 0 : old), "%s: %llx", name,
              (unsigned long long)result);
    memcpy(before + (index - start), &new, width->bytes);
    CHECK_OK(husk_memory_read(lab->sandbox, RANGE(start, end - start, 0), after, &lab->err),
             lab->err);
    CHECK_MSG(memcmp(before, after, end - start) == 0, "%s at %u: wrong bytes", name, index);
}

static void check_results(struct wat_lab *lab) {
    static const uint64_t values[][3] = {
        {0, 1, 2},
        {UINT64_MAX, 1, 5},
        {0x8000000080008080, 0x8000000080008080, 0x0123456789abcdef},
        {0x0123456789abcdef, 0xfedcba9876543210, 0x1111111111111111},
        {0x11, 0x5555555511111111, 0xcdcdcdcdcdcdcdcd}, /* equal once it is cut, if narrow */
        {0x7fffffff7fff7f7f, UINT64_MAX, 0}};
    for (int i = 0; i < OPERATIONS * WIDTHS; i++) {
        const struct width *width = &widths[i % WIDTHS];
        const uint32_t indices[4] = {0, 24, 32 - width->bytes, PAGE_BYTES - width->bytes};
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++)
            check_one(lab, (enum operation)(i / WIDTHS), width, indices[v % 4], values[v]);
        check_one(lab, (enum operation)(i / WIDTHS), width, indices[3], values[1]);
    }
    CHECK_EQ_I64(call(lab, "fence", 8, 77, 0), 77);
    CHECK_EQ_I64(call(lab, "notify", 8, UINT64_MAX, 0), 0);
    CHECK_EQ_I64(call(lab, "notify", PAGE_BYTES - 4, 0, 0), 0);
}

/* ---- Traps ---- */

static void check_trap(struct wat_lab *lab, const char *name, uint32_t index,
                       enum husk_trap expected) {
    call(lab, name, index, 1, 1);
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED && lab->outcome.trap == expected,
              "%s at 0x%x: %d, %s", name, index, (int)lab->outcome.kind, lab->outcome.message);
    CHECK_MSG(expected == HUSK_TRAP_MEMORY_OUT_OF_BOUNDS || lab->outcome.state_is_exact,
              "%s at 0x%x: not exact", name, index);
}

static void check_width_traps(struct wat_lab *lab, const char *name, uint32_t bytes) {
    static const uint32_t beyond[] = {PAGE_BYTES, PAGE_BYTES + 64, 0x7ffffff8, 0x80000000,
                                      0xfffffff8};
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        check_trap(lab, name, beyond[i], HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
        for (uint32_t by = 1; by < bytes; by++)
            check_trap(lab, name, beyond[i] + by, HUSK_TRAP_UNALIGNED_ATOMIC);
    }
    for (uint32_t by = 1; by < bytes; by++) {
        check_trap(lab, name, by, HUSK_TRAP_UNALIGNED_ATOMIC);
        check_trap(lab, name, PAGE_BYTES - by, HUSK_TRAP_UNALIGNED_ATOMIC);
    }
}

static void check_other_traps(struct wat_lab *lab) {
    check_width_traps(lab, "notify", 4);
    check_width_traps(lab, "notify dropped", 4);
    check_width_traps(lab, "nothing", 4);
    check_trap(lab, "notify dropped", PAGE_BYTES - 4, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(lab, "constant", 0, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(lab, "plus1", 4, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(lab, "plus1", 0xffffffff, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS); /* 2^32 */
    check_trap(lab, "plus7", 8, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(lab, "plus7", PAGE_BYTES - 7, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(lab, "far", 4, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS); /* not 0: it does not wrap */
    check_trap(lab, "far", 8, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(lab, "far_xor", 4, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(lab, "far_xor", 0xfffffffc, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(lab, "wait32", 8, HUSK_TRAP_EXPECTED_SHARED_MEMORY);
    check_trap(lab, "wait64", 8, HUSK_TRAP_EXPECTED_SHARED_MEMORY);
    check_trap(lab, "wait32", PAGE_BYTES, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(lab, "wait64", 0xfffffff8, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    check_trap(lab, "wait32", 2, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(lab, "wait64", 4, HUSK_TRAP_UNALIGNED_ATOMIC);
    CHECK_EQ_I64(call(lab, "plus1", 3, 0, 0), 0);
    CHECK_EQ_I64(call(lab, "plus7", 1, 5, 0), 0);
    CHECK_EQ_I64(call(lab, "plus7", PAGE_BYTES - 15, 1, 0), 0);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_RETURNED);
}

static void check_traps(struct wat_lab *lab) {
    static uint8_t page[PAGE_BYTES];
    memset(page, 0, sizeof page);
    CHECK_OK(husk_memory_write(lab->sandbox, RANGE(0, PAGE_BYTES, 0), page, &lab->err), lab->err);
    for (int i = 0; i < OPERATIONS * WIDTHS; i++) {
        char name[64], dropped[80];
        instruction_name(name, (enum operation)(i / WIDTHS), &widths[i % WIDTHS]);
        snprintf(dropped, sizeof dropped, "%s dropped", name);
        check_width_traps(lab, name, widths[i % WIDTHS].bytes);
        if (i / WIDTHS != STORE)
            check_width_traps(lab, dropped, widths[i % WIDTHS].bytes);
    }
    CHECK_OK(husk_memory_read(lab->sandbox, RANGE(0, PAGE_BYTES, 0), page, &lab->err), lab->err);
    for (size_t i = 0; i < sizeof page; i++)
        CHECK_MSG(page[i] == 0, "an access that trapped wrote at %zu", i);
    check_other_traps(lab);
}

TEST(atomics_equal_the_model) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    char *text = make_text();
    wat_lab_init(&lab);
    wat_lab_open(&lab, text, NULL);
    check_results(&lab);
    check_traps(&lab);
    wat_lab_close(&lab);
    free(text);
}

TEST(atomics_equal_the_model_at_every_level) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    char *text = make_text();
    uint8_t *wasm = wat_to_wasm(text, &count);
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        check_results(&lab);
        check_traps(&lab);
        level_close(&lab);
    }
    free(wasm);
    free(text);
    wat_lab_close(&lab);
}

TEST_MAIN()
