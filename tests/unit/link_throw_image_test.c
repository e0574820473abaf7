/*
 * From the linker's tables of exceptions (throw_link.c) to what the guest's runtime finds in them
 * (guest/throw.c, built natively): random frames and handlers, looked up at every address, against
 * a plain search. Also the roots of references.
 */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "layout.h"
#include "throw_link.h"

static struct throw_tables test_tables;
#define THROW_TABLES test_tables
#define THROW_TRAP(number) abort()
#include "../../guest/throw.c"

#define CODE_START 0x1000u
#define FUNCS 300
#define FUNC_BYTES 32
#define CODE_END (CODE_START + FUNCS * FUNC_BYTES)

static uint32_t random_state = 77;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % limit;
}

/* A module of two tags, three globals and two tables: some are references to exceptions. */
struct fixture {
    struct wasm_functype types[2];
    uint32_t params[3];
    struct wasm_tag tags[2];
    struct wasm_global globals[3];
    struct wasm_table tables[2];
    struct wasm_module module;
    struct program *program;
    struct plan *plan;
};

static const uint8_t expr_null_exn[] = {0xd0, 0x69, 0x0b}, expr_zero[] = {0x41, 0x00, 0x0b};

static void fixture_init(struct fixture *f) {
    struct husk_error err;
    memset(f, 0, sizeof *f);
    f->params[0] = f->params[1] = f->params[2] = WASM_I32;
    f->types[1] =
        (struct wasm_functype){.params = f->params, .params_count = 3, .canonical_idx = 1};
    f->tags[1].type_idx = 1;
    for (int i = 0; i < 3; i++)
        f->globals[i] = (struct wasm_global){.type = i == 1 ? WASM_I32 : WASM_EXNREF,
                                             .init = {.data = expr_null_exn, .count = 3}};
    f->globals[1].init.data = expr_zero;
    f->tables[0].elem_type = WASM_FUNCREF;
    f->tables[1].elem_type = WASM_EXNREF;
    f->module = (struct wasm_module){.types = f->types,
                                     .types_count = 2,
                                     .tags = f->tags,
                                     .tags_count = 2,
                                     .globals = f->globals,
                                     .globals_count = 3,
                                     .tables = f->tables,
                                     .tables_count = 2};
    f->module.used.set |= WASM_FEATURE_BIT(EXCEPTIONS);
    CHECK_OK(program_from_module(&f->module, &f->program, &err), err);
    CHECK_OK(plan_new(f->program, &f->plan, &err), err);
    CHECK(f->plan->exception_gva != 0);
    f->plan->exception_slots_gva = 0x2f000000; /* no code takes references here */
}

static void fixture_done(struct fixture *f) {
    plan_free(f->plan);
    program_free(f->program);
}

/* By address - CODE_START: what is there. */
static struct throw_shape expected_shapes[CODE_END - CODE_START + 1];
static int expected_handlers[CODE_END - CODE_START]; /* landing pad; 0: none */

static struct throw_shape random_shape(void) {
    struct throw_shape shape = {.cfa = (1 + random_below(3)) * 16, .saved = {0}};
    shape.saved[random_below(THROW_REGS)] = 8 * random_below(3);
    return shape;
}

static void make_func(uint32_t start, struct buf *frames) {
    struct throw_shape shape = random_shape();
    for (uint32_t i = 0; i < FUNC_BYTES; i++) {
        if (i == 0 || random_below(8) == 0) {
            shape = random_below(20) == 0 ? (struct throw_shape){0} : random_shape();
            const struct unwind_frame frame = {.code_gva = start + i, .shape = shape};
            buf_append(frames, &frame, sizeof frame);
        }
        expected_shapes[start + i - CODE_START] = shape;
    }
    const struct unwind_frame end = {.code_gva = start + FUNC_BYTES};
    buf_append(frames, &end, sizeof end);
}

static void make_handlers(uint32_t start, struct lsda_tables *lsda) {
    for (uint32_t at = start + random_below(8); at + 4 <= start + FUNC_BYTES;
         at += 4 + random_below(8)) {
        const struct throw_handler handler = {.start = at,
                                              .end = at + 1 + random_below(4),
                                              .landing_pad = at + 100000,
                                              .clauses_count = 1};
        buf_append(&lsda->handlers, &handler, sizeof handler);
        for (uint32_t i = handler.start; i < handler.end; i++)
            expected_handlers[i - CODE_START] = (int)handler.landing_pad;
    }
}

static void check_address(uint32_t code) {
    const struct throw_row *row = row_of(code);
    const uint32_t idx = row->shape & ~THROW_HAS_HANDLERS;
    const struct throw_shape *shape = TABLE(struct throw_shape, shapes) + idx;
    CHECK_MEM(shape, &expected_shapes[code - CODE_START], sizeof *shape);
    const struct throw_handler *handler = handler_of(code);
    const bool has_handler =
        (row->shape & THROW_HAS_HANDLERS) != 0 && catches(handler, code, 1) != 0;
    CHECK_EQ_I64(has_handler ? (int)handler->landing_pad : 0, expected_handlers[code - CODE_START]);
}

static uint8_t *write_image(const struct fixture *f, const struct throw_image *image) {
    const uint64_t bytes = throw_image_bytes(image);
    uint8_t *written = malloc(bytes);
    CHECK(written != NULL);
    throw_image_write(f->plan, image, (uint64_t)written, written);
    memcpy(&test_tables, written, sizeof test_tables);
    return written;
}

TEST(every_address) {
    struct fixture f;
    struct husk_error err;
    fixture_init(&f);
    for (int round = 0; round < 20; round++) {
        struct unwind_tables unwind = {.wants_frames = true};
        struct throw_image image = {.rows = {0}};
        const uint32_t tag = 1;
        memset(expected_handlers, 0, sizeof expected_handlers);
        buf_append(&image.lsda.clauses, &tag, sizeof tag);
        for (uint32_t i = 0; i < FUNCS; i++) {
            make_func(CODE_START + i * FUNC_BYTES, &unwind.frames);
            if (random_below(20) < (uint32_t)round)
                make_handlers(CODE_START + i * FUNC_BYTES, &image.lsda);
        }
        unwind_finish(&unwind);
        CHECK_OK(lsda_finish(&image.lsda, &err), err);
        CHECK_OK(throw_image_make(f.plan, &unwind, &image, &err), err);
        CHECK(image.shapes.count / sizeof(struct throw_shape) < 60);
        uint8_t *written = write_image(&f, &image);
        for (uint32_t code = CODE_START; code < CODE_END; code++)
            check_address(code);
        free(written);
        throw_image_done(&image);
        unwind_done(&unwind);
    }
    fixture_done(&f);
}

static bool has_root(uint64_t first, uint64_t count_at, uint64_t count) {
    const struct throw_root *roots = TABLE(struct throw_root, roots);
    for (uint64_t i = 0; i < test_tables.roots_count; i++)
        if (roots[i].first == first && roots[i].count_at == count_at && roots[i].count == count)
            return true;
    return false;
}

TEST(roots_and_sizes) {
    struct fixture f;
    struct husk_error err;
    struct unwind_tables unwind = {.wants_frames = true};
    struct throw_image image = {.rows = {0}};
    fixture_init(&f);
    CHECK_STATUS(throw_image_make(f.plan, &unwind, &image, &err), HUSK_E_COMPILER);
    throw_image_done(&image);
    image = (struct throw_image){.rows = {0}};
    make_func(CODE_START, &unwind.frames);
    CHECK_OK(throw_image_make(f.plan, &unwind, &image, &err), err);
    uint8_t *written = write_image(&f, &image);
    CHECK_EQ_U64(test_tables.pending, f.plan->exception_gva);
    CHECK_EQ_U64(test_tables.slots, f.plan->exception_slots_gva);
    CHECK_EQ_U64(test_tables.slot_bytes, 4 * HUSK_SLOT_BYTES);
    CHECK_EQ_U64(test_tables.stack_top, HUSK_STACK_TOP_GVA);
    CHECK_EQ_U64(TABLE(uint32_t, tag_values)[0], 0);
    CHECK_EQ_U64(TABLE(uint32_t, tag_values)[1], 3);
    CHECK_EQ_U64(test_tables.roots_count, 4);
    CHECK(has_root(f.plan->global_gva[0], 0, 1) && has_root(f.plan->global_gva[2], 0, 1));
    CHECK(has_root(f.plan->tables[1].base_gva, f.plan->tables[1].size_gva, 0));
    CHECK(has_root(HUSK_MAILBOX_GVA + HUSK_MBOX_CALL_SLOTS, 0, 2 * HUSK_MAX_SLOTS * 2));
    free(written);
    throw_image_done(&image);
    unwind_done(&unwind);
    fixture_done(&f);
}

TEST_MAIN()
