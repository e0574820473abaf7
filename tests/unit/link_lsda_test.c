/*
 * Exception tables and whole call frames of compiled code: those that LLVM 22 wrote for a function
 * with two calls that catch, then hand-made ones, then all of them damaged. Damage causes an error
 * or other handlers, but no crash and no endless loop.
 */
#include "lsda.h"

#include <stdlib.h>
#include <string.h>

#include "exception.h"
#include "damage.h"
#include "harness.h"
#include "throw_tables.h"

#define FUNC_START 0x1000u
#define FUNC_END 0x1086u
#define LSDA_ADDRESS 0x5000u
#define TAGS_COUNT 4

/* clang-format off */
/* A call that catches tags 0 and 3, one that catches all, and the call of husk.throw. */
static const uint8_t lsda_llvm[] = {
    0xff, 0x03, 0x21, 0x01, 0x0c,
    0x06, 0x2e, 0x76, 0x03,  0x34, 0x33, 0x71, 0x05,  0x67, 0x1f, 0x00, 0x00, /* call sites */
    0x01, 0x00,  0x02, 0x7d,  0x03, 0x00, 0x00,                               /* actions */
    0, 0, 0, 0,  1, 0, 0, 0,  4, 0, 0, 0,                                     /* types 3, 2, 1 */
};

/* Its call frames; relocated to address 0. */
static const uint8_t frames_llvm[] = {
    0x1c, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'P', 'L', 'R', 0, 1, 0x78,
    0x10, 7, 0x03, 0, 0, 0x40, 0, 0x03, 0x1b, 0x0c, 7, 8, 0x90, 1, 0, 0,
    0x54, 0, 0, 0, 0x24, 0, 0, 0, 0xd8, 0x0f, 0, 0, 0x86, 0, 0, 0,
    4, 0, 0x50, 0, 0, 0x42, 0x0e, 0x10, 0x41, 0x0e, 0x18, 0x41, 0x0e, 0x20, 0x83, 0x03,
    0x8e, 0x02, 0x42, 0x2e, 0x20, 0x44, 0x0e, 0x28, 0x5d, 0x0e, 0x30, 0x42, 0x0e, 0x38,
    0x42, 0x0e, 0x40, 0x49, 0x0e, 0x20, 0x43, 0x2e, 0x20, 0x44, 0x0e, 0x28, 0x5f, 0x0e, 0x30,
    0x42, 0x0e, 0x38, 0x42, 0x0e, 0x40, 0x49, 0x0e, 0x20, 0x46, 0x0e, 0x18, 0x41, 0x0e, 0x10,
    0x42, 0x0e, 0x08, 0x41, 0x0e, 0x20, 0x4e, 0x2e, 0, 0, 0, 0,
};
/* clang-format on */

static int read_one(const uint8_t *bytes, size_t count, struct lsda_tables *tables,
                    struct husk_error *err) {
    const struct unwind_func func = {
        .start = FUNC_START, .end = FUNC_END, .lsda_address = LSDA_ADDRESS};
    const struct lsda_section section = {bytes, count, LSDA_ADDRESS};
    int status = lsda_read(&func, &section, TAGS_COUNT, tables, err);
    return status != 0 ? status : lsda_finish(tables, err);
}

static const struct throw_handler *handler_at(const struct lsda_tables *tables, size_t idx) {
    CHECK(idx < tables->handlers.count / sizeof(struct throw_handler));
    return (const struct throw_handler *)(const void *)tables->handlers.data + idx;
}

static uint32_t clause_at(const struct lsda_tables *tables, const struct throw_handler *handler,
                          uint32_t idx) {
    CHECK(idx < handler->clauses_count);
    CHECK((handler->clauses_first + handler->clauses_count) * 4ull <= tables->clauses.count);
    uint32_t tag;
    memcpy(&tag, tables->clauses.data + 4 * (handler->clauses_first + idx), 4);
    return tag;
}

TEST(what_llvm_writes) {
    struct lsda_tables tables = {0};
    struct husk_error err;
    CHECK_OK(read_one(lsda_llvm, sizeof lsda_llvm, &tables, &err), err);
    CHECK_EQ_U64(tables.handlers.count / sizeof(struct throw_handler), 2);
    const struct throw_handler *first = handler_at(&tables, 0), *second = handler_at(&tables, 1);
    CHECK_EQ_U64(first->start, FUNC_START + 0x06);
    CHECK_EQ_U64(first->end, FUNC_START + 0x34);
    CHECK_EQ_U64(first->landing_pad, FUNC_START + 0x76);
    CHECK_EQ_U64(first->clauses_count, 2);
    CHECK_EQ_U64(clause_at(&tables, first, 0), 0);
    CHECK_EQ_U64(clause_at(&tables, first, 1), 3);
    CHECK_EQ_U64(second->start, FUNC_START + 0x34);
    CHECK_EQ_U64(second->landing_pad, FUNC_START + 0x71);
    CHECK_EQ_U64(second->clauses_count, 1);
    CHECK_EQ_U64(clause_at(&tables, second, 0), HUSK_TAG_ANY);
    lsda_done(&tables);
}

/* A cleanup sees all; an absolute start of the landing pads; call sites of fixed size; types of 8
 * bytes; many call sites share one list. */
TEST(other_encodings) {
    /* clang-format off */
    static const uint8_t bytes[] = {
        0x04, 0x00, 0x10, 0, 0, 0, 0, 0, 0,     /* pads count from 0x1000 */
        0x00, 59,                               /* types: 8 bytes, absolute */
        0x03, 39,                               /* call sites: 4 bytes each */
        0, 0, 0, 0,  4, 0, 0, 0,  0x40, 0, 0, 0,  1,
        8, 0, 0, 0,  4, 0, 0, 0,  0x44, 0, 0, 0,  0,
        4, 0, 0, 0,  4, 0, 0, 0,  0x40, 0, 0, 0,  1,
        0x01, 0x00,
        2, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,
    };
    /* clang-format on */
    struct lsda_tables tables = {0};
    struct husk_error err;
    CHECK_OK(read_one(bytes, sizeof bytes, &tables, &err), err);
    CHECK_EQ_U64(tables.handlers.count / sizeof(struct throw_handler), 3);
    CHECK_EQ_U64(handler_at(&tables, 1)->start, FUNC_START + 4); /* sorted */
    CHECK_EQ_U64(clause_at(&tables, handler_at(&tables, 0), 0), 1);
    CHECK_EQ_U64(handler_at(&tables, 1)->clauses_first, handler_at(&tables, 0)->clauses_first);
    CHECK_EQ_U64(clause_at(&tables, handler_at(&tables, 2), 0), HUSK_TAG_ANY);
    CHECK_EQ_U64(tables.clauses.count, 2 * sizeof(uint32_t));
    lsda_done(&tables);
}

static void check_error(size_t offset, uint8_t value, const char *message) {
    uint8_t bytes[sizeof lsda_llvm];
    struct lsda_tables tables = {0};
    struct husk_error err;
    memcpy(bytes, lsda_llvm, sizeof bytes);
    bytes[offset] = value;
    CHECK_STATUS(read_one(bytes, sizeof bytes, &tables, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, message);
    lsda_done(&tables);
}

TEST(errors_are_named) {
    check_error(0, 0x9b, "landing pads");             /* indirect */
    check_error(1, 0x9b, "an action without a type"); /* as in position-independent code */
    check_error(2, 0x7f, "types lie outside");
    check_error(3, 0x03, "outside its function");
    check_error(3, 0x55, "unknown or truncated call sites");
    check_error(4, 0x7f, "truncated header");
    check_error(6, 0x7f, "overlap");
    check_error(5, 0x7f, "outside its function");
    check_error(4, 0x02, "truncated call sites");
    check_error(8, 0x7f, "an action lies outside its table");
    check_error(17, 0x09, "an action without a type");
    check_error(17, 0x7f, "an action without a type"); /* an exception specification */
    check_error(20, 0x7f, "actions in a circle");
    check_error(28, 0x06, "an action without a type"); /* no such tag */
}

static void append_sleb2(uint8_t *bytes, size_t *count, unsigned value) { /* two bytes */
    bytes[(*count)++] = (uint8_t)(value & 0x7f) | 0x80;
    bytes[(*count)++] = (uint8_t)(value >> 7);
}

/* One landing pad with this many clauses, of different tags. */
static void read_many_clauses(unsigned clauses_count, struct lsda_tables *tables) {
    static uint8_t bytes[20000];
    const struct unwind_func func = {
        .start = FUNC_START, .end = FUNC_END, .lsda_address = LSDA_ADDRESS};
    struct husk_error err;
    size_t count = 0;
    bytes[count++] = 0xff;
    bytes[count++] = 0x03;
    const size_t types_distance = 2 + 4 + 3 * clauses_count + 4 * clauses_count;
    bytes[count++] = (uint8_t)(types_distance & 0x7f) | 0x80;
    bytes[count++] = (uint8_t)(types_distance >> 7 & 0x7f) | 0x80;
    bytes[count++] = (uint8_t)(types_distance >> 14);
    memcpy(bytes + count, "\x01\x04\x00\x08\x10\x01", 6);
    count += 6;
    for (unsigned i = 1; i <= clauses_count; i++) {
        append_sleb2(bytes, &count, i);
        bytes[count++] = i == clauses_count ? 0 : 1;
    }
    for (unsigned i = clauses_count; i > 0; i--, count += 4)
        memcpy(bytes + count, &i, 4);
    const struct lsda_section section = {bytes, count, LSDA_ADDRESS};
    CHECK_OK(lsda_read(&func, &section, 10000, tables, &err), err);
}

/* Long lists are not searched at each throw. */
TEST(many_clauses) {
    struct lsda_tables tables = {0};
    read_many_clauses(256, &tables);
    CHECK_EQ_U64(handler_at(&tables, 0)->clauses_count, 256);
    CHECK_EQ_U64(clause_at(&tables, handler_at(&tables, 0), 255), 255);
    read_many_clauses(257, &tables);
    CHECK_EQ_U64(handler_at(&tables, 1)->clauses_count, 1);
    CHECK_EQ_U64(clause_at(&tables, handler_at(&tables, 1), 0), HUSK_TAG_ANY);
    lsda_done(&tables);
}

static const struct unwind_frame *frame_at(const struct unwind_tables *tables, uint32_t gva) {
    const struct unwind_frame *frames =
        (const struct unwind_frame *)(const void *)tables->frames.data;
    const struct unwind_frame *found = NULL;
    for (size_t i = 0; i < tables->frames.count / sizeof frames[0]; i++)
        if (frames[i].code_gva <= gva)
            found = &frames[i];
    CHECK(found != NULL);
    return found;
}

static void check_frame(const struct unwind_tables *tables, uint32_t offset, uint32_t cfa,
                        uint32_t args_bytes) {
    const struct throw_shape *shape = &frame_at(tables, FUNC_START + offset)->shape;
    CHECK_EQ_U64(shape->cfa, cfa << 1);
    CHECK_EQ_U64(shape->args_bytes, args_bytes);
}

TEST(whole_frames) {
    struct unwind_tables tables = {.wants_frames = true};
    struct husk_error err;
    CHECK_OK(unwind_read(frames_llvm, sizeof frames_llvm, 0, 7, &tables, &err), err);
    unwind_finish(&tables);
    const struct unwind_func *func = (const struct unwind_func *)(const void *)tables.funcs.data;
    CHECK_EQ_U64(tables.funcs.count, sizeof *func);
    CHECK_EQ_U64(func->start, FUNC_START);
    CHECK_EQ_U64(func->end, FUNC_END);
    CHECK_EQ_U64(func->lsda_address, LSDA_ADDRESS);
    CHECK_EQ_U64(func->object_idx, 7);
    check_frame(&tables, 0x00, 8, 0);
    check_frame(&tables, 0x05, 32, 0);
    check_frame(&tables, 0x2b, 64, 32); /* in the first call: 32 bytes of arguments are pushed */
    check_frame(&tables, 0x71, 32, 32); /* the landing pads have the stack without them */
    check_frame(&tables, 0x81, 32, 0);  /* the call of husk.throw */
    const struct throw_shape *shape = &frame_at(&tables, FUNC_START + 0x2b)->shape;
    CHECK_EQ_U64(shape->saved[0], 24); /* rbx */
    CHECK_EQ_U64(shape->saved[1], 0);  /* rbp: in the register */
    CHECK_EQ_U64(shape->saved[4], 16); /* r14 */
    CHECK_EQ_U64(frame_at(&tables, FUNC_END)->shape.cfa, 0);
    unwind_done(&tables);
}

/* ---- damage ---- */

static void lsda_damaged(const uint8_t *bytes, size_t count) {
    struct lsda_tables tables = {0};
    uint8_t *copy = malloc(count + (count == 0));
    CHECK(copy != NULL);
    memcpy(copy, bytes, count);
    if (read_one(copy, count, &tables, NULL) == 0)
        for (size_t i = 0; i < tables.handlers.count / sizeof(struct throw_handler); i++) {
            const struct throw_handler *handler = handler_at(&tables, i);
            CHECK(handler->start >= FUNC_START && handler->start < handler->end);
            CHECK(handler->end <= FUNC_END && handler->landing_pad < FUNC_END);
            for (uint32_t k = 0; k < handler->clauses_count; k++)
                CHECK(clause_at(&tables, handler, k) < TAGS_COUNT ||
                      clause_at(&tables, handler, k) == HUSK_TAG_ANY);
        }
    lsda_done(&tables);
    free(copy);
}

static void frames_damaged(const uint8_t *bytes, size_t count) {
    struct unwind_tables tables = {.wants_frames = true};
    uint8_t *copy = malloc(count + (count == 0));
    CHECK(copy != NULL);
    memcpy(copy, bytes, count);
    unwind_read(copy, count, 0, 0, &tables, NULL);
    unwind_finish(&tables);
    unwind_done(&tables);
    free(copy);
}

TEST(damaged_exception_tables) {
    damage(lsda_llvm, sizeof lsda_llvm, 4711, lsda_damaged);
}

TEST(damaged_frames) {
    damage(frames_llvm, sizeof frames_llvm, 4711, frames_damaged);
}

TEST_MAIN()
