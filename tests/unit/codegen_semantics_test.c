/*
 * tests/unit/codegen_semantics_test.c: semantics that the optimiser must not break, at every level:
 * traps of loads whose value is unused, quiet NaNs, endless recursion. Also values in memory (1,000
 * results), refusals, and bounded time for hostile bodies. Modules are made by hand, compiled by
 * the worker and run in a sandbox.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "husk.h"
#include "husk_compile.h"
#include "literals.h"

#define I32 0x7f
#define I64 0x7e
#define F32 0x7d
#define MODULE_MAX 400000

struct bytes {
    uint8_t at[MODULE_MAX];
    size_t count;
};

static void put(struct bytes *bytes, const void *data, size_t count) {
    CHECK(count <= MODULE_MAX - bytes->count);
    memcpy(bytes->at + bytes->count, data, count);
    bytes->count += count;
}

static void put_u8(struct bytes *bytes, unsigned value) {
    uint8_t byte = (uint8_t)value;
    put(bytes, &byte, 1);
}

static void put_leb(struct bytes *bytes, uint64_t value) {
    for (; value >= 0x80; value >>= 7)
        put_u8(bytes, (unsigned)(value & 0x7f) | 0x80);
    put_u8(bytes, (unsigned)value);
}

static void put_section(struct bytes *bytes, unsigned id, const struct bytes *content) {
    put_u8(bytes, id);
    put_leb(bytes, content->count);
    put(bytes, content->at, content->count);
}

static void put_types(struct bytes *bytes, unsigned type, uint32_t count) {
    put_leb(bytes, count);
    for (uint32_t i = 0; i < count; i++)
        put_u8(bytes, type);
}

struct spec {
    unsigned param, result;
    uint32_t params_count, results_count;
};

/* `copies` functions with one i32 local and this body (its `end` is added), the first is "f"; one
 * page of memory. */
static struct bytes *module_with_copies(struct spec spec, const void *code, size_t count,
                                        uint32_t copies) {
    static struct bytes part, body;
    struct bytes *module = calloc(1, sizeof *module);
    CHECK(module != NULL);
    put(module, "\0asm\1\0\0\0", 8);
    part.count = body.count = 0;
    put(&part, "\1\x60", 2);
    put_types(&part, spec.param, spec.params_count);
    put_types(&part, spec.result, spec.results_count);
    put_section(module, 1, &part);
    part.count = 0;
    put_types(&part, 0, copies);
    put_section(module, 3, &part);
    put(module, "\5\3\1\0\1", 5);
    put(module, "\7\5\1\1f\0\0", 7);
    put(&body, "\1\1\x7f", 3);
    put(&body, code, count);
    put_u8(&body, 0x0b);
    part.count = 0;
    put_leb(&part, copies);
    for (uint32_t i = 0; i < copies; i++) {
        put_leb(&part, body.count);
        put(&part, body.at, body.count);
    }
    put_section(module, 10, &part);
    return module;
}

static struct bytes *module_new(struct spec spec, const void *code, size_t count) {
    return module_with_copies(spec, code, count, 1);
}

struct run {
    struct husk_compile_options options;
    struct husk_value args[1000], results[1000];
    struct husk_outcome outcome;
};

static void run_module(const struct bytes *module, struct spec spec, struct run *run) {
    struct husk_error err = {0};
    husk_engine *engine;
    husk_image *image;
    husk_sandbox *sandbox;
    int fd;
    CHECK_OK(husk_compile(module->at, module->count, &run->options, &fd, &err), err);
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_image_open_fd(engine, fd, NULL, &image, &err), err);
    close(fd);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &sandbox, &err), err);
    for (uint32_t i = 0; i < spec.params_count; i++)
        run->args[i].type = (husk_type)spec.param;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "f", .args = run->args, .args_count = spec.params_count,
                            .results = run->results, .results_count = spec.results_count),
                       &run->outcome, &err),
             err);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_engine_unref(engine);
}

static struct run *run_new(int opt_level) {
    struct run *run = calloc(1, sizeof *run);
    CHECK(run != NULL);
    run->options = (struct husk_compile_options)HUSK_COMPILE_OPTIONS_INIT;
    run->outcome.size = sizeof run->outcome;
    run->options.opt_level = opt_level == 0 ? HUSK_OPT_NONE : opt_level;
    return run;
}

static const struct spec takes_i32 = {.param = I32, .params_count = 1};

static void expect_trap(const char *code, size_t count, int32_t arg, enum husk_trap trap) {
    SKIP_WITHOUT_KVM();
    struct bytes *module = module_new(takes_i32, code, count);
    for (int level = 0; level <= 3; level++) {
        struct run *run = run_new(level);
        run->args[0].of.i32 = arg;
        run_module(module, takes_i32, run);
        CHECK_EQ_U64(run->outcome.kind, HUSK_TRAPPED);
        CHECK_EQ_U64(run->outcome.trap, trap);
        free(run);
    }
    free(module);
}

#define EXPECT_TRAP(code, arg, trap) expect_trap(code, sizeof(code) - 1, arg, trap)

TEST(a_dropped_load_traps) { /* local.get 0, i32.load, drop */
    EXPECT_TRAP("\x20\0\x28\2\0\x1a", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

/* local.get 0, i32.load, i32.const 3, i32.mul, local.set 1 */
TEST(a_load_into_an_unused_local_traps) {
    EXPECT_TRAP("\x20\0\x28\2\0\x41\3\x6c\x21\1", 65533, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

/* i32.load, local.set 1, i32.const 1, local.set 1, a store of it */
TEST(a_load_traps_whose_value_is_overwritten) {
    EXPECT_TRAP("\x20\0\x28\2\0\x21\1\x41\1\x21\1\x41\0\x20\1\x36\2\0", -4,
                HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(a_load_traps_that_a_comparison_decides) { /* i32.load8_u == 300, stored */
    EXPECT_TRAP("\x41\0\x20\0\x2d\0\0\x41\xac\2\x46\x36\2\0", 65536,
                HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(a_load_traps_that_a_signed_comparison_decides) { /* i32.load8_s < -200, stored */
    EXPECT_TRAP("\x41\0\x20\0\x2c\0\0\x41\xb8\x7e\x48\x36\2\0", 65536,
                HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(a_load_times_zero_traps) { /* stored */
    EXPECT_TRAP("\x41\0\x20\0\x28\2\0\x41\0\x6c\x36\2\0", 65536, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(the_largest_index_and_offset_trap) { /* i32.load8_u offset=0xffffffff of -1, dropped */
    EXPECT_TRAP("\x20\0\x2d\0\xff\xff\xff\xff\x0f\x1a", -1, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(an_index_plus_offset_does_not_wrap) { /* i32.store8 offset=1 at -1: not address 0 */
    EXPECT_TRAP("\x20\0\x41\7\x3a\0\1", -1, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

/* i32.load offset=0x7fffffff of i32.const 0x7ffffff0, dropped */
TEST(a_constant_far_address_traps) {
    EXPECT_TRAP("\x41\xf0\xff\xff\xff\7\x28\2\xff\xff\xff\xff\7\x1a", 0,
                HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(an_unused_division_by_zero_traps) { /* 7 / x, dropped */
    EXPECT_TRAP("\x41\7\x20\0\x6d\x1a", 0, HUSK_TRAP_INTEGER_DIVIDE_BY_ZERO);
}

TEST(the_lowest_number_over_minus_one_traps) { /* x / -1 */
    EXPECT_TRAP("\x20\0\x41\x7f\x6d\x1a", INT32_MIN, HUSK_TRAP_INTEGER_OVERFLOW);
}

TEST(endless_recursion_exhausts_the_stack) { /* local.get 0, call 0: a tail call, were it let */
    EXPECT_TRAP("\x20\0\x10\0", 1, HUSK_TRAP_CALL_STACK_EXHAUSTED);
}

/* f32 operations on a signalling NaN, by bits: (i32) -> (i32). */
static void expect_quiet_nan(const char *code, size_t count) {
    SKIP_WITHOUT_KVM();
    struct spec spec = {.param = I32, .result = I32, .params_count = 1, .results_count = 1};
    struct bytes *module = module_new(spec, code, count);
    for (int level = 0; level <= 3; level++) {
        struct run *run = run_new(level);
        run->args[0].of.i32 = 0x7fa00000;
        run_module(module, spec, run);
        CHECK_EQ_U64(run->outcome.kind, HUSK_RETURNED);
        CHECK_EQ_U64((uint32_t)run->results[0].of.i32 & 0x7fc00000, 0x7fc00000);
        free(run);
    }
    free(module);
}

#define EXPECT_QUIET_NAN(code) expect_quiet_nan(code, sizeof(code) - 1)
#define ARG "\x20\0\xbe" /* local.get 0, f32.reinterpret_i32 */
#define ONE "\x43\0\0\x80\x3f"
#define MINUS_ZERO "\x43\0\0\0\x80"
#define BITS "\xbc"

TEST(times_one_quiets) {
    EXPECT_QUIET_NAN(ARG ONE "\x94" BITS);
}

TEST(divided_by_one_quiets) {
    EXPECT_QUIET_NAN(ARG ONE "\x95" BITS);
}

TEST(plus_minus_zero_quiets) {
    EXPECT_QUIET_NAN(ARG MINUS_ZERO "\x92" BITS);
}

TEST(minus_zero_less_it_quiets) {
    EXPECT_QUIET_NAN(MINUS_ZERO ARG "\x93" BITS);
}

TEST(promoting_and_demoting_quiets) {
    EXPECT_QUIET_NAN(ARG "\xbb\xb6" BITS);
}

TEST(the_minimum_quiets) {
    EXPECT_QUIET_NAN(ARG ONE "\x96" BITS);
}

TEST(the_maximum_quiets) {
    EXPECT_QUIET_NAN(ONE ARG "\x97" BITS);
}

TEST(a_thousand_parameters_and_results_pass_through) {
    SKIP_WITHOUT_KVM();
    struct spec spec = {.param = I64, .result = I64, .params_count = 1000, .results_count = 1000};
    static struct bytes code;
    code.count = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        put_u8(&code, 0x20);
        put_leb(&code, 999 - i);
    }
    struct bytes *module = module_new(spec, code.at, code.count);
    for (int level = 0; level <= 2; level += 2) {
        struct run *run = run_new(level);
        for (uint32_t i = 0; i < 1000; i++)
            run->args[i].of.i64 = (int64_t)i * 0x100000001;
        run_module(module, spec, run);
        CHECK_EQ_U64(run->outcome.kind, HUSK_RETURNED);
        for (uint32_t i = 0; i < 1000; i++)
            CHECK_EQ_I64(run->results[i].of.i64, (int64_t)(999 - i) * 0x100000001);
        free(run);
    }
    free(module);
}

TEST(a_vector_is_computed) {
    SKIP_WITHOUT_KVM();
    static const struct spec spec = {
        .param = I32, .params_count = 1, .result = I32, .results_count = 1};
    /* i32x4.splat, i32x4.splat, i32x4.mul, i32x4.extract_lane 3 */
    static const char code[] = "\x20\0\xfd\x11\x20\0\xfd\x11\xfd\xb5\x01\xfd\x1b\3";
    struct bytes *module = module_new(spec, code, sizeof code - 1);
    for (int level = 0; level <= 3; level++) {
        struct run *run = run_new(level);
        run->args[0].of.i32 = -7;
        run_module(module, spec, run);
        CHECK_EQ_U64(run->outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(run->results[0].of.i32, 49);
        free(run);
    }
    free(module);
}

static void compiles_in_seconds(const struct bytes *module) {
    struct husk_error err = {0};
    struct run *run = run_new(2);
    int fd;
    run->options.cpu_limit_ns = 15000000000u;
    CHECK_OK(husk_compile(module->at, module->count, &run->options, &fd, &err), err);
    close(fd);
    free(run);
}

/* 20,000 loads and stores in one block: LLVM's own -O2 takes minutes. */
TEST(a_huge_block_compiles_in_seconds) {
    static struct bytes code;
    code.count = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        put(&code, "\x20\0\x20\0\x28\2", 6);
        put_leb(&code, 4 * i);
        put(&code, "\x36\2", 2);
        put_leb(&code, 4 * i + 40000);
    }
    struct bytes *module = module_new(takes_i32, code.at, code.count);
    compiles_in_seconds(module);
    free(module);
}

/* A loop of 1,200 loads and stores, each of an address that the next one counts on from. What is
 * hidden from the vectoriser, if it is all of them, costs instcombine minutes. */
TEST(a_block_of_many_counters_compiles_in_seconds) {
    static const struct spec spec = {.param = I32, .params_count = 2};
    static const char *const accesses[] = {
        "\x20\0\x20\1\x6a\x22\0\x28\2\0\x1a",       /* p += q, load of p, drop */
        "\x20\0\x20\1\x6a\xc0\x22\0\x20\1\x3a\0\0", /* p = (int8_t)(p + q), store of a byte */
    };
    static const size_t bytes[] = {11, 13};
    static struct bytes code;
    for (int kind = 0; kind < 2; kind++) {
        code.count = 0;
        put(&code, "\3\x40", 2); /* loop */
        for (int i = 0; i < 1200; i++)
            put(&code, accesses[kind], bytes[kind]);
        put(&code, "\x20\0\x0d\0\x0b", 5); /* local.get 0, br_if 0, end */
        struct bytes *module = module_new(spec, code.at, code.count);
        compiles_in_seconds(module);
        free(module);
    }
}

/* Each of these loops of a nest adds (k + 3) times the words 1 to n, from the last on, to those
 * r * (k + 7) bytes further on. */
enum { NEST_LOOPS = 200 };

static void put_far(struct bytes *code, uint32_t k) { /* 4 * i + r * (k + 7) */
    put(code, "\x20\3\x41\2\x74\x20\0\x41", 8);
    put_leb(code, k % 32 + 7);
    put(code, "\x6c\x6a", 2);
}

static void put_nest(struct bytes *code) {
    put(code, "\x41\4\x41\xfb\x00\x36\0\0", 8); /* the word at 4 is 123 */
    put(code, "\3\x40", 2);
    for (uint32_t k = 0; k < NEST_LOOPS; k++) {
        put(code, "\x20\1\x21\3\3\x40", 6); /* i = n, loop */
        put_far(code, k);
        put_far(code, k);
        put(code, "\x28\0\0\x20\3\x41\2\x74\x28\0\0\x41", 12); /* the word there, the word at i */
        put_leb(code, k % 32 + 3);
        put(code, "\x6c\x6a\x36\0\0", 5);
        put(code, "\x20\3\x41\1\x6b\x22\3\x0d\0\x0b", 10); /* --i: again */
    }
    put(code, "\x20\0\x41\1\x6b\x22\0\x0d\0\x0b", 10); /* --r: again */
    put(code, "\x41\0\x28\0\x40", 5);                  /* the result: the word at 64 */
}

static uint32_t nest_model(uint32_t r, uint32_t n) {
    static uint8_t memory[65536] = {[4] = 123};
    uint32_t far, near;
    for (; r > 0; r--)
        for (uint32_t k = 0; k < NEST_LOOPS; k++)
            for (uint32_t i = n; i > 0; i--) {
                uint8_t *to = memory + 4 * (size_t)i + (size_t)r * (k % 32 + 7);
                memcpy(&far, to, 4);
                memcpy(&near, memory + 4 * (size_t)i, 4);
                far += near * (k % 32 + 3);
                memcpy(to, &far, 4);
            }
    memcpy(&far, memory + 64, 4);
    return far;
}

/* Vectorised or unrolled one by one, they take a minute. */
TEST(a_nest_of_many_loops_compiles_in_seconds) {
    static const struct spec spec = {
        .param = I32, .params_count = 3, .result = I32, .results_count = 1};
    static struct bytes code;
    SKIP_WITHOUT_KVM();
    code.count = 0;
    put_nest(&code);
    struct bytes *module = module_new(spec, code.at, code.count);
    struct run *run = run_new(2);
    run->options.cpu_limit_ns = 15000000000u;
    run->args[0].of.i32 = 3;
    run->args[1].of.i32 = 100;
    run_module(module, spec, run);
    CHECK_EQ_U64(run->outcome.kind, HUSK_RETURNED);
    CHECK_EQ_U64((uint32_t)run->results[0].of.i32, nest_model(3, 100));
    free(run);
    free(module);
}

/* 10,000 functions are several chunks, which threads finish in any order. */
TEST(the_image_does_not_depend_on_the_threads) {
    static const char code[] = "\x20\0\x20\0\x28\2\0\x36\2\0";
    struct bytes *module = module_with_copies(takes_i32, code, sizeof code - 1, 10000);
    struct husk_error err = {0};
    uint8_t *images[2];
    off_t bytes[2];
    for (uint32_t i = 0; i < 2; i++) {
        int fd;
        struct run *run = run_new(2);
        run->options.threads = 1 + 3 * i;
        CHECK_OK(husk_compile(module->at, module->count, &run->options, &fd, &err), err);
        bytes[i] = lseek(fd, 0, SEEK_END);
        CHECK(bytes[i] > 0);
        images[i] = malloc((size_t)bytes[i]);
        CHECK(images[i] != NULL && pread(fd, images[i], (size_t)bytes[i], 0) == bytes[i]);
        close(fd);
        free(run);
    }
    CHECK_EQ_I64(bytes[0], bytes[1]);
    CHECK_MEM(images[0], images[1], (size_t)bytes[0]);
    free(images[0]);
    free(images[1]);
    free(module);
}

TEST_MAIN()
