/* tests/support/guest_image.c: see guest_image.h. */
#include "guest_image.h"

#include <elf.h>
#include <string.h>

#include "exception_place.h"
#include "layout.h"

uint32_t guest_gva(const uint8_t *label) {
    return (uint32_t)(HUSK_TEXT_GVA + (uint32_t)(label - guest_code_start));
}

#define MEMORY_SIZE_GVA (HUSK_DATA_GVA + 0)
#define GLOBAL_GVA (HUSK_DATA_GVA + 16)

static void add_functions(struct image_builder *builder) {
    static const struct {
        const char *name, *type;
        const uint8_t *code;
    } funcs[] = {{"add", "ii>i", guest_add},  {"host", "I>I", guest_host},
                 {"spin", ">", guest_spin},   {"recurse", ">", guest_recurse},
                 {"read", "I>I", guest_read}, {"trap", ">", guest_trap},
                 {"grow", "I>I", guest_grow}, {"bad_port", ">", guest_bad_port}};
    uint32_t import_type = builder_type(builder, "I>I", 0);
    builder_func(builder, import_type, 0, 0, "");
    builder_import(builder, "env", "host", HUSK_ABI_FUNC, 0);
    uint32_t code_bytes = (uint32_t)(guest_code_end - guest_code_start);
    for (size_t i = 0; i < sizeof funcs / sizeof funcs[0]; i++) {
        uint32_t type = builder_type(builder, funcs[i].type, guest_gva(guest_thunk));
        uint32_t func = builder_func(builder, type, guest_gva(funcs[i].code), 1, funcs[i].name);
        builder_export(builder, funcs[i].name, HUSK_ABI_FUNC, func);
        struct husk_image_code_row row = {
            .code_gva = guest_gva(funcs[i].code), .func_idx = func, .wasm_offset = 100 * func};
        builder_row(builder, HUSK_REC_CODE_MAP, &row, sizeof row);
    }
    struct husk_image_code_row end = {.code_gva = HUSK_TEXT_GVA + code_bytes,
                                      .func_idx = HUSK_FUNC_NONE};
    builder_row(builder, HUSK_REC_CODE_MAP, &end, sizeof end);
}

/* Where every call stands: (from here on, CFA = rsp + offset). */
static void add_unwind(struct image_builder *builder) {
    const struct husk_image_unwind_x86_64 rows[] = {
        {guest_gva(guest_entry), 0, 0, 0},        {guest_gva(guest_resume) - 2, 0, 8, 0},
        {guest_gva(guest_thunk) + 1, 0, 16, 0},   {guest_gva(guest_add), 0, 8, 0},
        {guest_gva(guest_host) + 1, 0, 16, 0},    {guest_gva(guest_spin), 0, 8, 0},
        {guest_gva(guest_recurse) + 4, 0, 32, 0}, {guest_gva(guest_read), 0, 8, 0}};
    builder_row(builder, HUSK_REC_UNWIND, rows, sizeof rows);
}

void guest_image_build(struct image_builder *builder) {
    builder_init(builder);
    builder->module.entry_gva = guest_gva(guest_entry);
    builder->module.resume_gva = guest_gva(guest_resume);
    size_t code_bytes = (size_t)(guest_code_end - guest_code_start);
    builder_segment(builder, HUSK_TEXT_GVA, PF_R | PF_X, guest_code_start, code_bytes, code_bytes);
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    builder_segment(builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, 2 * HUSK_PAGE_SIZE);
    uint8_t page[HUSK_PAGE_SIZE] = "hello from the image";
    builder_segment(builder, HUSK_MEM0_GVA, PF_R | PF_W, page, sizeof page, HUSK_WASM_PAGE_SIZE);
    add_functions(builder);
    add_unwind(builder);
    struct husk_image_memory memory = {
        .min_pages = 1, .max_pages = 3, .flags = HUSK_LIMIT_HAS_MAX, .size_gva = MEMORY_SIZE_GVA};
    builder_row(builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    builder_word(builder, MEMORY_SIZE_GVA, 1);
    builder_export(builder, "memory", HUSK_ABI_MEMORY, 0);
    struct husk_image_global global = {
        .gva = GLOBAL_GVA, .type = HUSK_ABI_I64, .flags = HUSK_GLOBAL_MUTABLE};
    builder_row(builder, HUSK_REC_GLOBALS, &global, sizeof global);
    builder_word(builder, GLOBAL_GVA, 7);
    builder_export(builder, "g", HUSK_ABI_GLOBAL, 0);
}

/* A record of host state; see wasi_state.c: version 1, seeded, three descriptors of (stream, flags,
 * rights), generator, two clocks. */
static void add_wasi_state(struct image_builder *builder) {
    const struct husk_image_host_state record = {.name_bytes = 4, .state_bytes = 80};
    const uint64_t words[10] = {1 | 1ull << 32, 0, UINT64_MAX, 1,    UINT64_MAX,
                                0xffff,         0, 0x1234567,  1000, 2000};
    builder_row(builder, HUSK_REC_HOST_STATE, &record, sizeof record);
    builder_row(builder, HUSK_REC_HOST_STATE, "wasi\0\0\0", 8);
    builder_row(builder, HUSK_REC_HOST_STATE, words, sizeof words);
}

void guest_snapshot_build(struct image_builder *builder) {
    guest_image_build(builder);
    builder->module.flags = HUSK_IMAGE_SNAPSHOT;
    struct husk_image_import import = {.kind = HUSK_ABI_FUNC};
    import.module = builder_string(builder, "wasi_snapshot_preview1");
    import.name = builder_string(builder, "clock_time_get");
    memcpy(builder->records[HUSK_REC_IMPORTS].data, &import, sizeof import);
    struct husk_image_func *first = (void *)builder->records[HUSK_REC_FUNCS].data;
    first->type_idx = builder_type(builder, "iIi>i", 0);
    const struct husk_image_table table = {.max_entries = 1024,
                                           .elem_type = HUSK_ABI_FUNCREF,
                                           .base_gva = HUSK_DATA_GVA + 0x10000,
                                           .reserve_entries = 1024,
                                           .size_gva = HUSK_DATA_GVA + 64};
    builder_row(builder, HUSK_REC_TABLES, &table, sizeof table);
    struct builder_segment memory = builder->segments[--builder->segments_count];
    builder_segment(builder, table.base_gva, PF_R | PF_W, NULL, 0, 2 * HUSK_PAGE_SIZE);
    memory.mem_bytes = 2 * HUSK_WASM_PAGE_SIZE;
    builder->segments[builder->segments_count++] = memory;
    const uint64_t memory_pages = 2, table_entries = 600;
    const uint64_t hot_pages[] = {HUSK_DATA_GVA, HUSK_MEM0_GVA, HUSK_MEM0_GVA + 5 * HUSK_PAGE_SIZE};
    builder_row(builder, HUSK_REC_MEMORY_SIZES, &memory_pages, sizeof memory_pages);
    builder_row(builder, HUSK_REC_TABLE_SIZES, &table_entries, sizeof table_entries);
    builder_row(builder, HUSK_REC_HOT_PAGES, hot_pages, sizeof hot_pages);
    add_wasi_state(builder);
}

static uint8_t *finish(struct image_builder *builder, size_t *ret_count) {
    uint8_t *bytes = builder_finish(builder, ret_count);
    builder_done(builder);
    return bytes;
}

/* As the code lies on the stack: "host" has pushed RBX, and the thunk the function. */
void guest_standing_build(struct image_builder *builder) {
    const struct husk_image_standing standing = {
        .stack_gva = HUSK_STACK_TOP_GVA - 40, .kept = {0x1234}, .func_idx = 2};
    const struct husk_image_slot arg = {{20}};
    const uint64_t memory_pages = 1;
    uint8_t page[HUSK_PAGE_SIZE] = {0};
    const uint64_t stack[5] = {guest_gva(guest_host_goes_on), 0, guest_gva(guest_thunk) + 3,
                               guest_gva(guest_host), guest_gva(guest_entry) + 3};
    guest_image_build(builder);
    builder->module.flags = HUSK_IMAGE_SNAPSHOT;
    memcpy(page + sizeof page - sizeof stack, stack, sizeof stack);
    struct builder_segment memory = builder->segments[--builder->segments_count];
    builder_segment(builder, HUSK_STACK_TOP_GVA - HUSK_PAGE_SIZE, PF_R | PF_W, page, sizeof page,
                    sizeof page);
    builder->segments[builder->segments_count++] = memory;
    builder_row(builder, HUSK_REC_MEMORY_SIZES, &memory_pages, sizeof memory_pages);
    builder_row(builder, HUSK_REC_STANDING, &standing, sizeof standing);
    builder_row(builder, HUSK_REC_STANDING_ARGS, &arg, sizeof arg);
}

uint8_t *guest_snapshot_make(size_t *ret_count) {
    struct image_builder builder;
    guest_snapshot_build(&builder);
    return finish(&builder, ret_count);
}

uint8_t *guest_standing_make(size_t *ret_count) {
    struct image_builder builder;
    guest_standing_build(&builder);
    return finish(&builder, ret_count);
}

void guest_exception_build(struct image_builder *builder) {
    guest_image_build(builder);
    static const char *const types[] = {"F", "I", ""};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const struct husk_image_tag tag = {.type_idx = builder_type(builder, types[i], 0)};
        builder_row(builder, HUSK_REC_TAGS, &tag, sizeof tag);
    }
    builder_import(builder, "env", "tag", HUSK_ABI_TAG, 0);
    builder_export(builder, "oops", HUSK_ABI_TAG, 1);
    const uint32_t type = builder_type(builder, "iI>", guest_gva(guest_thunk));
    const uint32_t func = builder_func(builder, type, guest_gva(guest_throw), 1, "throw");
    builder_export(builder, "throw", HUSK_ABI_FUNC, func);
    builder->module.exception_gva = GUEST_EXCEPTION_GVA;
    builder->module.exception_values = 1;
    builder->module.throw_gva = guest_gva(guest_throws_here);
}

uint8_t *guest_exception_make(size_t *ret_count) {
    struct image_builder builder;
    guest_exception_build(&builder);
    return finish(&builder, ret_count);
}

uint8_t *guest_image_make(size_t *ret_count) {
    struct image_builder builder;
    guest_image_build(&builder);
    return finish(&builder, ret_count);
}
