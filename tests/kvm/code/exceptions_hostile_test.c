/*
 * tests/kvm/code/exceptions_hostile_test.c: functions with more clauses, tries and levels than any
 * compiler makes. They must compile in bounded time, and catch what they say. Modules are written
 * byte by byte. And throws at a deadline.
 */
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "levels.h"
#include "literals.h"

#define ELSEWHERE 0x10000000 /* an argument for which thrower() throws nothing */

static void put_u8(struct buf *out, unsigned value) {
    uint8_t byte = (uint8_t)value;
    buf_append(out, &byte, 1);
}
#define PUT(out, ...)                                                                              \
    buf_append(out, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void put_u32(struct buf *out, uint32_t value) {
    for (; value >= 0x80; value >>= 7)
        put_u8(out, (value & 0x7f) | 0x80);
    put_u8(out, value);
}

static void put_i32_const(struct buf *out, int32_t value) {
    put_u8(out, 0x41);
    for (; value < -64 || value >= 64; value >>= 7)
        put_u8(out, (unsigned)(value & 0x7f) | 0x80);
    put_u8(out, (unsigned)value & 0x7f);
}

static void put_section(struct buf *out, unsigned id, struct buf *part) {
    put_u8(out, id);
    put_u32(out, (uint32_t)part->count);
    buf_append(out, part->data, part->count);
    buf_done(part);
}

/* Two locals: the parameter, and one more. */
static void put_body(struct buf *out, struct buf *code) {
    put_u32(out, (uint32_t)code->count + 4);
    PUT(out, 1, 1, 0x7f);
    buf_append(out, code->data, code->count);
    put_u8(out, 0x0b);
    buf_done(code);
}

/* thrower(x) throws the tag number x if x is among `thrown`, else it returns x. */
static void put_thrower(struct buf *code, const uint32_t *thrown, size_t count) {
    for (size_t i = 0; i < count; i++) {
        PUT(code, 0x20, 0);
        put_i32_const(code, (int32_t)thrown[i]);
        PUT(code, 0x46, 0x04, 0x40, 0x08); /* i32.eq if throw */
        put_u32(code, thrown[i]);
        put_u8(code, 0x0b);
    }
    PUT(code, 0x20, 0);
}

/* Tags without values. Functions of type (i32) -> i32: 0 is the thrower; 1 is `f`, in `code`. */
static struct buf module_of(uint32_t tags_count, const uint32_t *thrown, size_t thrown_count,
                            struct buf *code) {
    struct buf wasm = {0}, part = {0}, body = {0};
    PUT(&wasm, 0, 'a', 's', 'm', 1, 0, 0, 0);
    PUT(&part, 2, 0x60, 0, 0, 0x60, 1, 0x7f, 1, 0x7f);
    put_section(&wasm, 1, &part);
    part = (struct buf){0};
    PUT(&part, 2, 1, 1);
    put_section(&wasm, 3, &part);
    part = (struct buf){0};
    put_u32(&part, tags_count);
    for (uint32_t i = 0; i < tags_count; i++)
        PUT(&part, 0, 0);
    put_section(&wasm, 13, &part);
    part = (struct buf){0};
    PUT(&part, 1, 1, 'f', 0, 1);
    put_section(&wasm, 7, &part);
    part = (struct buf){0};
    put_u8(&part, 2);
    put_thrower(&body, thrown, thrown_count);
    put_body(&part, &body);
    put_body(&part, code);
    put_section(&wasm, 10, &part);
    CHECK(!wasm.failed);
    return wasm;
}

struct expected {
    int32_t arg, result;
};
#define UNCAUGHT INT32_MIN
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* At -O0 and at the default level. */
static void check_module(struct buf *wasm, const struct expected *rows, size_t count) {
    struct wat_lab lab;
    wat_lab_init(&lab);
    for (int level = 0; level < 3; level += 2) {
        level_open(&lab, &levels[level], wasm->data, wasm->count);
        for (size_t i = 0; i < count; i++) {
            int64_t result = level_call(&lab, "f", &rows[i].arg);
            CHECK_EQ_I64(lab.outcome.kind == HUSK_THREW ? UNCAUGHT : result, rows[i].result);
        }
        level_close(&lab);
    }
    wat_lab_close(&lab);
    buf_done(wasm);
}

/* One try_table. Clauses of tags in `thrown` go to a block each, the others to one more. */
static void put_giant(struct buf *code, uint32_t clauses_count, const uint32_t *thrown,
                      uint32_t count) {
    for (uint32_t i = 0; i <= count; i++)
        PUT(code, 0x02, 0x40);
    PUT(code, 0x1f, 0x40);
    put_u32(code, clauses_count);
    for (uint32_t i = 0; i < clauses_count; i++) {
        uint32_t label = 0;
        while (label < count && thrown[label] != i)
            label++;
        put_u8(code, 0);
        put_u32(code, i);
        put_u32(code, label);
    }
    PUT(code, 0x20, 0, 0x10, 0, 0x0f, 0x0b); /* return thrower(x) */
    for (uint32_t i = 0; i <= count; i++) {
        put_u8(code, i == 0 ? 0x00 : 0x01); /* nothing falls out of the try */
        put_u8(code, 0x0b);
        put_i32_const(code, 1000 + (int32_t)i);
        put_u8(code, 0x0f);
    }
    put_i32_const(code, 0);
}

static void check_giant(uint32_t clauses_count) {
    const uint32_t last = clauses_count - 1;
    const uint32_t thrown[] = {0, 63, 64, 65, last, last + 1};
    struct buf code = {0};
    put_giant(&code, clauses_count, thrown, COUNT(thrown));
    struct buf wasm = module_of(clauses_count + 1, thrown, COUNT(thrown), &code);
    check_module(&wasm,
                 (const struct expected[]){{0, 1000},
                                           {63, 1001},
                                           {64, 1002},
                                           {65, 1003},
                                           {(int32_t)last, 1004},
                                           {(int32_t)last + 1, UNCAUGHT},
                                           {ELSEWHERE, ELSEWHERE}},
                 7);
}

TEST(try_tables_with_many_clauses) {
    SKIP_WITHOUT_LEVELS();
    check_giant(1000);
    check_giant(65520);
}

/* Level i catches tag i and goes to the end of the level around it. Ends of levels are counted. */
static void put_nested(struct buf *code, uint32_t count) {
    PUT(code, 0x02, 0x40);
    for (uint32_t i = 0; i < count; i++) {
        PUT(code, 0x1f, 0x40, 1, 0);
        put_u32(code, i);
        put_u8(code, 0);
    }
    PUT(code, 0x20, 0, 0x10, 0, 0x1a);
    for (uint32_t i = 0; i < count; i++)
        PUT(code, 0x0b, 0x20, 1, 0x41, 1, 0x6a, 0x21, 1); /* end; local 1 += 1 */
    PUT(code, 0x0b, 0x20, 1);
}

TEST(tries_in_tries) {
    SKIP_WITHOUT_LEVELS();
    static const uint32_t counts[] = {200, 900, 10000};
    for (size_t i = 0; i < COUNT(counts); i++) {
        const uint32_t count = counts[i];
        const uint32_t thrown[] = {0, 1, 70, 150, count - 70, count - 1, count};
        struct buf code = {0};
        put_nested(&code, count);
        struct buf wasm = module_of(count + 1, thrown, COUNT(thrown), &code);
        check_module(&wasm,
                     (const struct expected[]){{0, 0},
                                               {1, 1},
                                               {70, 70},
                                               {150, 150},
                                               {(int32_t)count - 70, (int32_t)count - 70},
                                               {(int32_t)count - 1, (int32_t)count - 1},
                                               {(int32_t)count, UNCAUGHT},
                                               {ELSEWHERE, (int32_t)count}},
                     8);
    }
}

/* Try number k calls thrower(x - k * 8). If that throws tag 0, local 1 becomes k + 1. */
static void put_sequence(struct buf *code, uint32_t count) {
    for (uint32_t k = 0; k < count; k++) {
        PUT(code, 0x02, 0x40, 0x02, 0x40, 0x1f, 0x40, 1, 0, 0, 0, 0x20, 0);
        put_i32_const(code, (int32_t)k * 8);
        PUT(code, 0x6b, 0x10, 0, 0x1a, 0x0b, 0x0c, 1, 0x0b);
        put_i32_const(code, (int32_t)k + 1);
        PUT(code, 0x21, 1, 0x0b);
    }
    PUT(code, 0x20, 1);
}

/* More than have landing pads of their own. */
TEST(thousands_of_tries) {
    SKIP_WITHOUT_LEVELS();
    static const uint32_t thrown[] = {0, 1};
    struct buf code = {0};
    put_sequence(&code, 3000);
    struct buf wasm = module_of(2, thrown, COUNT(thrown), &code);
    check_module(&wasm,
                 (const struct expected[]){{0, 1},
                                           {8, 2},
                                           {999 * 8, 1000},
                                           {1000 * 8, 1001},
                                           {2999 * 8, 3000},
                                           {1, UNCAUGHT},
                                           {1500 * 8 + 1, UNCAUGHT},
                                           {ELSEWHERE, 0}},
                 8);
}

/* Each throw goes through 10,000 frames. */
#define ENDLESS                                                                                    \
    "(module (tag $t) (func $deep (param i32) (if (i32.eqz (local.get 0)) (then (throw $t)))"      \
    " (call $deep (i32.sub (local.get 0) (i32.const 1)))) (func (export \"f\")"                    \
    " (loop $l (try (do (call $deep (i32.const 10000))) (catch $t (br $l))))))"

TEST(a_deadline_ends_endless_throws) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open(&lab, ENDLESS, NULL);
    struct husk_limits limits = HUSK_LIMITS_INIT;
    limits.wall_ns = 50000000;
    for (int i = 0; i < 20; i++) {
        CHECK_OK(
            husk_call(lab.sandbox, CALL(.name = "f", .limits = &limits), &lab.outcome, &lab.err),
            lab.err);
        CHECK_EQ_U64(lab.outcome.kind, HUSK_DEADLINE);
        CHECK_OK(husk_sandbox_restore(lab.sandbox, lab.image, &lab.err), lab.err);
    }
    wat_lab_close(&lab);
}

TEST_MAIN()
