/*
 * tests/kvm/code/memory64_test.c: memories with 64-bit addresses, at every level: the ends of their
 * window, indices and sums that wrap around, and the limits. docs/validation.md, "Traps", says
 * which of these traps are exact.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "layout.h"
#include "levels.h"
#include "literals.h"

#define GIB (1ll << 30)
#define PAGE ((int64_t)HUSK_WASM_PAGE_SIZE)
#define WINDOW (8 * GIB)

/* wat2wasm refuses offsets above 2^32: far_offset() puts 2^63 in the place of 0xffffffff and five
 * nops. */
static const char memory64[] =
    "(module (memory (export \"mem\") i64 1 0x1000000000000) (memory $narrow 1)"
    " (data (i64.const 65534) \"yz\") (data $passive \"abcd\")"
    " (func (export \"get\") (param i64) (result i64) local.get 0 i64.load8_u)"
    " (func (export \"get64\") (param i64) (result i64) local.get 0 i64.load)"
    " (func (export \"near\") (param i64) (result i64) local.get 0 i64.load8_u offset=65535)"
    " (func (export \"far\") (param i64) (result i64) local.get 0 i64.load8_u offset=0xfffffffe)"
    " (func (export \"wide\") (param i64) (result i64)"
    "   local.get 0 i64.load8_u offset=0xffffffff nop nop nop nop nop)"
    " (func (export \"vector\") (param i64) (result i64)"
    "   local.get 0 v128.load i64x2.extract_lane 0)"
    " (func (export \"put\") (param i64 i64) local.get 0 local.get 1 i64.store8)"
    " (func (export \"constant\") (result i64) (i64.load8_u (i64.const -1)))"
    " (func (export \"unneeded\") (param i64) (drop (i64.load8_u (local.get 0))))"
    " (func (export \"put_and_get\") (param i64) (result i64)"
    "   (i64.store8 (i64.const 0) (i64.const 7)) (i64.load8_u (local.get 0)))"
    " (func (export \"size\") (result i64) memory.size)"
    " (func (export \"grow\") (param i64) (result i64) local.get 0 memory.grow)"
    " (func (export \"fill\") (param i64 i64) (memory.fill (local.get 0) (i32.const 9)"
    "   (local.get 1)))"
    " (func (export \"copy\") (param i64 i64 i64)"
    "   (memory.copy (local.get 0) (local.get 1) (local.get 2)))"
    " (func (export \"init\") (param i64 i32 i32)"
    "   (memory.init $passive (local.get 0) (local.get 1) (local.get 2))))";

static uint8_t *far_offset(const char *wat, size_t *ret_count) {
    static const uint8_t before[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1, 1, 1, 1};
    static const uint8_t after[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1};
    uint8_t *wasm = wat_to_wasm(wat, ret_count);
    uint8_t *place = memmem(wasm, *ret_count, before, sizeof before);
    CHECK(place != NULL);
    memcpy(place, after, sizeof after);
    return wasm;
}

static int64_t returned(struct wat_lab *lab, const char *name, int64_t a, int64_t b, int64_t c) {
    int64_t result = wat_call_numbers(lab, name, (const int64_t[]){a, b, c}).of.i64;
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s(0x%llx): %s", name, (unsigned long long)a,
              lab->outcome.message);
    return result;
}

static void trapped(struct wat_lab *lab, const char *name, int64_t a, int64_t b, int64_t c) {
    wat_call_numbers(lab, name, (const int64_t[]){a, b, c});
    CHECK_MSG(lab->outcome.kind == HUSK_TRAPPED &&
                  lab->outcome.trap == HUSK_TRAP_MEMORY_OUT_OF_BOUNDS,
              "%s(0x%llx, 0x%llx): %s", name, (unsigned long long)a, (unsigned long long)b,
              lab->outcome.message);
}

static void check_indices(struct wat_lab *lab) {
    static const int64_t outside[] = {PAGE,      PAGE + 1,   4 * GIB - 1, 4 * GIB,   WINDOW - 1,
                                      WINDOW,    WINDOW + 1, 16 * GIB,    1ll << 40, INT64_MAX,
                                      INT64_MIN, -GIB,       -65536,      -8,        -1};
    static const char *const loads[] = {"get", "get64", "vector",  "near",
                                        "far", "wide",  "unneeded"};
    CHECK_EQ_I64(returned(lab, "get", PAGE - 1, 0, 0), 'z');
    CHECK_EQ_I64(returned(lab, "near", 0, 0, 0), 'z');
    CHECK_EQ_I64(returned(lab, "get64", PAGE - 8, 0, 0), 0x7a79ll << 48);
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        for (size_t k = 0; k < sizeof loads / sizeof loads[0]; k++)
            trapped(lab, loads[k], outside[i], 0, 0);
    trapped(lab, "get64", PAGE - 7, 0, 0);
    trapped(lab, "near", 1, 0, 0);
    trapped(lab, "far", 0, 0, 0);
    trapped(lab, "far", 2, 0, 0);
    trapped(lab, "wide", 0, 0, 0);
    trapped(lab, "constant", 0, 0, 0);
    trapped(lab, "put", -1, 1, 0);
    trapped(lab, "put", WINDOW, 1, 0);
}

static void check_ranges(struct wat_lab *lab) {
    static const int64_t outside[][2] = {{0, PAGE + 1},
                                         {1, PAGE},
                                         {PAGE, 1},
                                         {PAGE + 1, 0},
                                         {0, -1},
                                         {-1, 1},
                                         {-1, 2},
                                         {-1, 0},
                                         {2, -1},
                                         {8, -8},
                                         {4 * GIB, 0},
                                         {WINDOW, 0},
                                         {INT64_MIN, INT64_MIN},
                                         {1, INT64_MIN}};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        const int64_t *range = outside[i];
        trapped(lab, "fill", range[0], range[1], 0);
        trapped(lab, "copy", range[0], 0, range[1]);
        trapped(lab, "copy", 0, range[0], range[1]);
    }
    trapped(lab, "init", -1, 0, 1);
    trapped(lab, "init", -1, 0, 2);
    trapped(lab, "init", PAGE - 3, 0, 4);
    trapped(lab, "init", 0, 1, 4);
    trapped(lab, "init", 0, -1, 2);
    CHECK_EQ_I64(returned(lab, "get", 0, 0, 0), 0); /* nothing was written */
    returned(lab, "fill", PAGE, 0, 0);
    returned(lab, "copy", PAGE, PAGE, 0);
    returned(lab, "init", PAGE - 4, 0, 4);
    CHECK_EQ_I64(returned(lab, "get", PAGE - 1, 0, 0), 'd');
    returned(lab, "copy", 0, PAGE - 4, 4);
    CHECK_EQ_I64(returned(lab, "get64", 0, 0, 0), 0x64636261);
    returned(lab, "fill", 0, PAGE, 0);
    CHECK_EQ_I64(returned(lab, "get", PAGE - 1, 0, 0), 9);
}

/* A trap far outside is asked for by code, one near by is a page fault. */
static void check_exactness(struct wat_lab *lab, const struct level *level) {
    uint8_t byte = 0;
    const struct husk_range first = {.count = 1};
    trapped(lab, "put_and_get", -1, 0, 0);
    CHECK(lab->outcome.state_is_exact);
    CHECK_OK(husk_memory_read(lab->sandbox, &first, &byte, &lab->err), lab->err);
    CHECK_EQ_I64(byte, 7);
    trapped(lab, "put_and_get", WINDOW - 1, 0, 0);
    CHECK(lab->outcome.state_is_exact == level->is_exact);
    CHECK_CONTAINS(lab->outcome.message, "address 0x1ffffffff; the memory has 65536 bytes");
}

static void check_growth(struct wat_lab *lab) {
    static const int64_t refused[] = {
        INT64_MIN, INT64_MAX, -1, 1ll << 48, 1ll << 47, HUSK_MAX_MEM64_PAGES, 1ll << 32};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        CHECK_EQ_I64(returned(lab, "grow", refused[i], 0, 0), -1);
    CHECK_EQ_I64(returned(lab, "grow", 0, 0, 0), 1);
    CHECK_EQ_I64(returned(lab, "grow", HUSK_MAX_MEM64_PAGES - 1, 0, 0), 1);
    CHECK_EQ_I64(returned(lab, "size", 0, 0, 0), HUSK_MAX_MEM64_PAGES);
    CHECK_EQ_I64(returned(lab, "grow", 1, 0, 0), -1);
    returned(lab, "put", WINDOW - 1, 5, 0);
    CHECK_EQ_I64(returned(lab, "get", WINDOW - 1, 0, 0), 5);
    CHECK_EQ_I64(returned(lab, "far", 4 * GIB + 1, 0, 0), 5);
    trapped(lab, "far", 4 * GIB + 2, 0, 0);
    trapped(lab, "get64", WINDOW - 7, 0, 0);
    trapped(lab, "get", WINDOW, 0, 0);
    returned(lab, "copy", 5 * GIB - 1, WINDOW - 2, 2);
    CHECK_EQ_I64(returned(lab, "get", 5 * GIB, 0, 0), 5);
    trapped(lab, "copy", 5 * GIB, WINDOW - 2, 3);
    level_restore(lab);
    trapped(lab, "get", 5 * GIB, 0, 0);
}

TEST(nothing_outside_of_a_64_bit_memory_is_reached) {
    SKIP_WITHOUT_LEVELS();
    struct wat_lab lab;
    size_t count = 0;
    uint8_t *wasm = far_offset(memory64, &count);
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        check_indices(&lab);
        check_ranges(&lab);
        check_exactness(&lab, &levels[i]);
        level_restore(&lab);
        check_growth(&lab);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

/* ---- both widths ---- */

static const char both_widths[] =
    "(module (memory $wide i64 2) (memory $narrow 1)"
    " (data (memory $wide) (i64.const 65535) \"abc\")"
    " (func (export \"to_narrow\") (param i64 i64 i64)"
    "   (memory.copy $narrow $wide (i32.wrap_i64 (local.get 0)) (local.get 1)"
    "     (i32.wrap_i64 (local.get 2))))"
    " (func (export \"to_wide\") (param i64 i64 i64)"
    "   (memory.copy $wide $narrow (local.get 0) (i32.wrap_i64 (local.get 1))"
    "     (i32.wrap_i64 (local.get 2))))"
    " (func (export \"narrow\") (param i64) (result i64)"
    "   (i64.load8_u $narrow (i32.wrap_i64 (local.get 0))))"
    " (func (export \"wide\") (param i64) (result i64) (i64.load8_u $wide (local.get 0))))";

TEST(copies_between_both_widths) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, both_widths, NULL);
    returned(&lab, "to_narrow", 1, 65535, 3);
    CHECK_EQ_I64(returned(&lab, "narrow", 3, 0, 0), 'c');
    returned(&lab, "to_wide", 2 * PAGE - 3, 1, 3);
    CHECK_EQ_I64(returned(&lab, "wide", 2 * PAGE - 1, 0, 0), 'c');
    trapped(&lab, "to_narrow", PAGE - 2, 0, 3);
    trapped(&lab, "to_narrow", 0, 2 * PAGE - 2, 3);
    trapped(&lab, "to_narrow", 0, -1, 2);
    trapped(&lab, "to_narrow", -1, 0, 2);
    trapped(&lab, "to_wide", -1, 0, 2);
    trapped(&lab, "to_wide", 0, 1, -1);
    trapped(&lab, "wide", 1ll << 32, 0, 0);
    wat_lab_close(&lab);
}

/* ---- limits ---- */

static int compile(const char *wat, struct husk_error *err) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    options.worker_path = WAT_WORKER;
    size_t count = 0;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    int fd = -1;
    int status = husk_compile(wasm, count, &options, &fd, err);
    free(wasm);
    if (status == 0)
        close(fd);
    return status;
}

TEST(a_minimum_beyond_the_window_is_refused) {
    SKIP_WITHOUT_LEVELS();
    struct husk_error err;
    CHECK_EQ_I64(compile("(module (memory i64 131073))", &err), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "a memory starts with 131073 pages of 64 KiB; with 64-bit "
                                "addresses it can have 131072 (8 GiB): declare a smaller minimum");
    CHECK_EQ_U64(err.offset, 0xb);
    CHECK_EQ_I64(compile("(module (memory i64 0x1000000000000))", &err), HUSK_E_LIMIT);
    CHECK_EQ_I64(compile("(module (memory (import \"a\" \"b\") i64 131073))", &err), HUSK_E_LIMIT);
    CHECK_OK(compile("(module (memory i64 131072 0x1000000000000))", &err), err);
}

/* ---- the embedder's view ---- */

static const char imports_wide[] =
    "(module (memory (import \"env\" \"mem\") i64 1 0x100000000)"
    " (func (export \"get\") (param i64) (result i64) local.get 0 i64.load8_u))";

static int define(struct wat_lab *lab, bool is_64, uint64_t max) {
    struct husk_extern item = HUSK_EXTERN_INIT;
    item.kind = HUSK_EXTERN_MEMORY;
    item.module = "env";
    item.name = "mem";
    item.min = 1;
    item.has_max = true;
    item.max = max;
    item.is_64 = is_64;
    return husk_imports_define(lab->imports, &item, NULL, &lab->err);
}

static int open_with(struct wat_lab *lab, bool is_64, uint64_t max) {
    struct husk_extern item = HUSK_EXTERN_INIT;
    wat_lab_init(lab);
    CHECK_OK(define(lab, is_64, max), lab->err);
    lab->image = wat_image_with(lab->engine, imports_wide, WAT_WORKER);
    CHECK_OK(husk_image_import(lab->image, 0, &item), lab->err);
    CHECK(item.is_64 && item.has_max && item.max == 1ull << 32);
    return husk_sandbox_new(lab->image, lab->imports, NULL, &lab->sandbox, &lab->err);
}

TEST(a_memory_of_the_embedder_has_the_width_of_the_import) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    CHECK_EQ_I64(open_with(&lab, false, 2), HUSK_E_LINK);
    CHECK_CONTAINS(lab.err.message,
                   "needs memory \"env.mem\", i64, 1 to 4294967296 pages; what was "
                   "defined is a memory, 1 to 2 pages");
    wat_lab_close(&lab);
    CHECK_EQ_I64(open_with(&lab, true, (1ull << 32) + 1), HUSK_E_LINK);
    wat_lab_close(&lab);
    CHECK_OK(open_with(&lab, true, 1ull << 32), lab.err);
    uint64_t old_pages = 0;
    const uint8_t byte = 77;
    CHECK_EQ_I64(husk_memory_grow(lab.sandbox, 0, HUSK_MAX_MEM64_PAGES, NULL, &lab.err),
                 HUSK_E_LIMIT);
    CHECK_OK(husk_memory_grow(lab.sandbox, 0, 98304, &old_pages, &lab.err), lab.err);
    CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), 98305ull * HUSK_WASM_PAGE_SIZE);
    const struct husk_range far = {.addr = 5ull << 30, .count = 1};
    CHECK_OK(husk_memory_write(lab.sandbox, &far, &byte, &lab.err), lab.err);
    CHECK_EQ_I64(returned(&lab, "get", 5 * GIB, 0, 0), 77);
    const struct husk_range beyond = {.addr = UINT64_MAX, .count = 2};
    CHECK_EQ_I64(husk_memory_write(lab.sandbox, &beyond, &byte, &lab.err), HUSK_E_LIMIT);
    wat_lab_close(&lab);
}

TEST_MAIN()
