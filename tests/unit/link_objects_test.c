/* The linker: relocation kinds and their limits, symbols, sections; damaged objects of every length
 * and with every bit flipped. */
#include "linker.h"

#include <stdlib.h>
#include <string.h>

#include "guest_rt.h"
#include "harness.h"
#include "layout.h"
#include "object_maker.h"

static const uint8_t expr_zero[] = {0x41, 0x00, 0x0b};

/* A module of one type and two functions, with a memory, a global and a passive data segment. */
struct fixture {
    struct wasm_functype type;
    struct wasm_func funcs[2];
    struct wasm_memory memory;
    struct wasm_global global;
    struct wasm_data data;
    struct wasm_module module;
    struct program *program;
    struct plan *plan;
};

static void fixture_init(struct fixture *f) {
    struct husk_error err;
    memset(f, 0, sizeof *f);
    f->funcs[0].body_offset = 100;
    f->funcs[0].code = (struct wasm_bytes){.offset = 101, .count = 20};
    f->funcs[1].body_offset = 130;
    f->funcs[1].code = (struct wasm_bytes){.offset = 131, .count = 20};
    f->memory.limits.min = 1;
    f->global = (struct wasm_global){.type = WASM_I32,
                                     .init = {.data = expr_zero, .count = sizeof expr_zero}};
    f->data = (struct wasm_data){.mode = WASM_SEGMENT_PASSIVE,
                                 .bytes = {.data = (const uint8_t *)"PASSIVE", .count = 7}};
    f->module = (struct wasm_module){.types = &f->type,
                                     .types_count = 1,
                                     .funcs = f->funcs,
                                     .funcs_count = 2,
                                     .memories = &f->memory,
                                     .memories_count = 1,
                                     .globals = &f->global,
                                     .globals_count = 1,
                                     .datas = &f->data,
                                     .datas_count = 1};
    CHECK_OK(program_from_module(&f->module, &f->program, &err), err);
    CHECK_OK(plan_new(f->program, &f->plan, &err), err);
}

static void fixture_done(struct fixture *f) {
    plan_free(f->plan);
    program_free(f->program);
}

static int link_one(const struct fixture *f, const struct object_maker *maker,
                    struct linked *ret_linked, struct husk_error *err) {
    struct codegen_object object = {0};
    object.elf = maker_finish(maker, &object.bytes);
    CHECK(object.elf != NULL);
    int status = link_objects(f->plan, &object, 1, 0, ret_linked, err);
    free(object.elf);
    return status;
}

static uint64_t read_text(const struct linked *linked, uint64_t gva, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, linked->text + (gva - HUSK_TEXT_GVA), bytes);
    return value;
}

static bool has_runtime_func(const struct linked *linked, const char *name, uint64_t gva) {
    for (uint32_t i = 0; i < linked->symbols_count; i++)
        if (linked->symbols[i].gva == gva && linked->symbols[i].kind == LINK_RUNTIME &&
            strcmp(linked->symbols[i].name, name) == 0)
            return true;
    return false;
}

TEST(every_relocation_kind) {
    struct fixture f;
    struct object_maker maker = {
        .text_bytes = 128, .data_name = ".rodata", .data_flags = SHF_ALLOC, .data_bytes = 16};
    struct linked linked;
    struct husk_error err;
    fixture_init(&f);
    memcpy(maker.data, "constant", 8);
    maker_symbol(&maker, "i0.f0", 1, 0, 64);
    uint32_t f1 = maker_symbol(&maker, "i0.f1", 1, 64, 64);
    uint32_t memory = maker_symbol(&maker, "i0.mem", 0, 0, 0),
             data = maker_symbol(&maker, "i0.d0", 0, 0, 0);
    uint32_t local = maker_symbol(&maker, "constant", 2, 0, 0),
             copy = maker_symbol(&maker, "memcpy", 0, 0, 0);
    uint32_t global = maker_symbol(&maker, "i0.g0", 0, 0, 0),
             size = maker_symbol(&maker, "i0.memsize0", 0, 0, 0);
    maker_rela(&maker, 0, f1, R_X86_64_64, 5);
    maker_rela(&maker, 8, memory, R_X86_64_32S, 1000);
    maker_rela(&maker, 12, data, R_X86_64_32, 0);
    maker_rela(&maker, 16, local, R_X86_64_PC32, -4);
    maker_rela(&maker, 20, copy, R_X86_64_PLT32, -4);
    maker_rela(&maker, 24, global, R_X86_64_32S, 0);
    maker_rela(&maker, 28, size, R_X86_64_PC32, -4);
    CHECK_OK(link_one(&f, &maker, &linked, &err), err);
    uint64_t f0_gva = linked.func_gva[0];
    CHECK_EQ_U64(linked.func_gva[1], f0_gva + 64);
    CHECK_EQ_U64(linked.func_bytes[0], 64);
    CHECK_EQ_U64(read_text(&linked, f0_gva, 8), f0_gva + 64 + 5);
    CHECK_EQ_U64(read_text(&linked, f0_gva + 8, 4), HUSK_MEM0_GVA + 1000);
    uint64_t data_gva = read_text(&linked, f0_gva + 12, 4);
    CHECK(data_gva >= linked.rodata_gva && data_gva + 7 <= linked.rodata_gva + linked.rodata_bytes);
    CHECK_MEM(linked.rodata + (data_gva - linked.rodata_gva), "PASSIVE", 7);
    uint64_t constant =
        f0_gva + 20 + (uint64_t)(int64_t)(int32_t)read_text(&linked, f0_gva + 16, 4);
    CHECK_MEM(linked.rodata + (constant - linked.rodata_gva), "constant", 8);
    uint64_t copy_gva =
        f0_gva + 24 + (uint64_t)(int64_t)(int32_t)read_text(&linked, f0_gva + 20, 4);
    CHECK(has_runtime_func(&linked, "memcpy", copy_gva));
    CHECK_EQ_U64(read_text(&linked, f0_gva + 24, 4), f.plan->global_gva[0]);
    CHECK_EQ_U64(f0_gva + 32 + (uint64_t)(int64_t)(int32_t)read_text(&linked, f0_gva + 28, 4),
                 f.plan->mem_size_gva[0]);
    CHECK_EQ_U64(linked.entry_gva, HUSK_TEXT_GVA);
    CHECK(linked.resume_gva > linked.entry_gva && linked.resume_gva < f0_gva);
    CHECK(has_runtime_func(&linked, "husk.many", linked.routines.many_gva));
    CHECK(has_runtime_func(&linked, "husk.bytes", linked.routines.bytes_gva));
    CHECK_EQ_U64(linked.rodata_gva % HUSK_PAGE_SIZE, 0);
    linked_done(&linked);
    fixture_done(&f);
}

/* One relocation of this kind that must be refused. */
static void check_refused(const char *symbol, uint64_t offset, uint32_t kind, int64_t addend,
                          const char *message) {
    struct fixture f;
    struct object_maker maker = {.text_bytes = 64};
    struct linked linked;
    struct husk_error err;
    fixture_init(&f);
    maker_symbol(&maker, "i0.f0", 1, 0, 64);
    maker_rela(&maker, offset, maker_symbol(&maker, symbol, 0, 0, 0), kind, addend);
    CHECK_STATUS(link_one(&f, &maker, &linked, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, message);
    fixture_done(&f);
}

TEST(relocations_that_do_not_fit_or_exist) {
    check_refused("i0.mem", 0, R_X86_64_32S, 0x40000000, "overflows");
    check_refused("i0.mem", 0, R_X86_64_32, -0x40000001ll, "overflows");
    check_refused("i0.mem", 0, R_X86_64_PC32, 0x7fffffff, "overflows");
    check_refused("i0.mem", 0, R_X86_64_GOTPCREL, 0, "relocation kind 9 is not supported");
    check_refused("i0.mem", 61, R_X86_64_32, 0, "outside section .text");
    check_refused("i0.mem", 57, R_X86_64_64, 0, "outside section .text");
    check_refused("i0.mem", UINT64_MAX, R_X86_64_64, 0, "outside section .text");
    check_refused("fmodf", 0, R_X86_64_32, 0, "refers to fmodf");
    check_refused("i0.g1", 0, R_X86_64_32, 0, "refers to i0.g1");
    check_refused("i0.d1", 0, R_X86_64_32, 0, "refers to i0.d1");
    check_refused("i0.g00", 0, R_X86_64_32, 0, "refers to i0.g00");
}

TEST(sections_and_symbols_that_must_not_be) {
    struct fixture f;
    struct linked linked;
    struct husk_error err;
    fixture_init(&f);
    struct object_maker writable = {.text_bytes = 64,
                                    .data_name = ".data",
                                    .data_flags = SHF_ALLOC | SHF_WRITE,
                                    .data_bytes = 8};
    CHECK_STATUS(link_one(&f, &writable, &linked, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "writable section .data");
    struct object_maker again = {.text_bytes = 64};
    maker_symbol(&again, "memcpy", 1, 0, 64);
    CHECK_STATUS(link_one(&f, &again, &linked, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "memcpy is defined twice");
    struct object_maker beyond = {.text_bytes = 64};
    maker_symbol(&beyond, "i0.f0", 1, 0, 1 << 20);
    CHECK_STATUS(link_one(&f, &beyond, &linked, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "lies outside its section");
    f.plan->needs_init = true;
    struct object_maker no_init = {.text_bytes = 64};
    CHECK_STATUS(link_one(&f, &no_init, &linked, &err), HUSK_E_COMPILER);
    CHECK_CONTAINS(err.message, "no init function");
    fixture_done(&f);
}

TEST(tables_cover_the_code) {
    struct fixture f;
    struct object_maker maker = {.text_bytes = 96};
    struct linked linked;
    struct husk_error err;
    fixture_init(&f);
    maker_symbol(&maker, "i0.f0", 1, 0, 40);
    maker_symbol(&maker, "i0.f1", 1, 48, 48);
    CHECK_OK(link_one(&f, &maker, &linked, &err), err);
    uint32_t last = 0;
    bool has_runtime = false, has_f0 = false, has_end = false;
    for (uint32_t i = 0; i < linked.code_rows_count; i++) {
        const struct husk_image_code_row *row = &linked.code_rows[i];
        CHECK(i == 0 || row->code_gva > last);
        last = row->code_gva;
        has_runtime |= row->func_idx == HUSK_FUNC_RUNTIME;
        has_f0 |=
            row->code_gva == linked.func_gva[0] && row->func_idx == 0 && row->wasm_offset == 100;
        has_end |= row->code_gva == linked.func_gva[0] + 40 && row->func_idx == HUSK_FUNC_NONE;
    }
    CHECK(has_runtime && has_f0 && has_end);
    last = 0;
    for (uint32_t i = 0; i < linked.unwind_rows_count; i++) {
        CHECK(i == 0 || linked.unwind_rows[i].code_gva > last);
        last = linked.unwind_rows[i].code_gva;
    }
    /* In the dispatcher there is no frame to leave; in husk.hostcall the return address is at the
     * top. */
    CHECK_EQ_U64(linked.unwind_rows[0].code_gva, HUSK_TEXT_GVA);
    CHECK_EQ_U64(linked.unwind_rows[0].cfa_offset, 0);
    CHECK_EQ_U64(linked.unwind_rows[1].cfa_offset, 8);
    linked_done(&linked);
    fixture_done(&f);
}

/* The runtime's own object is a real one, with .eh_frame and many relocations. */
static void link_damaged(const struct fixture *f, const uint8_t *elf, size_t bytes) {
    struct codegen_object object = {.elf = malloc(bytes + 1), .bytes = bytes};
    struct linked linked;
    struct husk_error err = {0};
    CHECK(object.elf != NULL);
    if (bytes > 0)
        memcpy(object.elf, elf, bytes);
    if (link_objects(f->plan, &object, 1, 0, &linked, &err) == 0)
        linked_done(&linked);
    else
        CHECK(err.status == HUSK_E_COMPILER && err.message[0] != '\0');
    free(object.elf);
}

TEST(damaged_objects) {
    struct fixture f;
    struct object_maker maker = {
        .text_bytes = 128, .data_name = ".rodata", .data_flags = SHF_ALLOC, .data_bytes = 16};
    size_t bytes;
    fixture_init(&f);
    maker_rela(&maker, 8, maker_symbol(&maker, "i0.f0", 1, 0, 64), R_X86_64_32S, 0);
    uint8_t *elf = maker_finish(&maker, &bytes);
    CHECK(elf != NULL);
    for (size_t cut = 0; cut < bytes; cut++)
        link_damaged(&f, elf, cut);
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        elf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        link_damaged(&f, elf, bytes);
        elf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(elf);
    struct guest_object guest[GUEST_OBJECTS_MAX];
    guest_objects(0, false, guest);
    uint8_t *copy = malloc(guest[0].bytes);
    CHECK(copy != NULL);
    uint32_t random = 12345;
    for (int round = 0; round < 3000; round++) {
        memcpy(copy, guest[0].elf, guest[0].bytes);
        for (int flips = 0; flips < 4; flips++) {
            random = random * 1664525 + 1013904223;
            copy[(random >> 8) % guest[0].bytes] ^= (uint8_t)(random >> 3);
        }
        link_damaged(&f, copy, guest[0].bytes);
    }
    free(copy);
    fixture_done(&f);
}

TEST_MAIN()
