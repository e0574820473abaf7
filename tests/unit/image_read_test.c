/*
 * tests/unit/image_read_test.c: the image reader with images that have one error, with every
 * truncation, and with flipped bytes. It uses no engine: images can be read without KVM.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file.h"
#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "image.h"
#include "image_look.h"
#include "layout.h"
#include "literals.h"

TEST(a_good_image) {
    size_t count;
    uint8_t *bytes = guest_image_make(&count);
    struct husk_error err;
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, &err),
             err);
    struct husk_extern item = HUSK_EXTERN_INIT;
    CHECK_EQ_U64(husk_image_imports_count(image), 1);
    CHECK_OK(husk_image_import(image, 0, &item), err);
    CHECK_STR(item.module, "env");
    CHECK_STR(item.name, "host");
    CHECK_EQ_U64(item.kind, HUSK_EXTERN_FUNC);
    CHECK_EQ_U64(item.func.params_count, 1);
    CHECK_EQ_U64(item.func.params[0], HUSK_I64);
    CHECK_EQ_U64(husk_image_exports_count(image), 10);
    CHECK_OK(husk_image_export(image, 8, &item), err);
    CHECK_STR(item.name, "memory");
    CHECK(item.min == 1 && item.max == 3 && item.has_max);
    CHECK(image_look_at(image) > 0);
    husk_image_unref(image);
    free(bytes);
}

TEST(notes_with_four_byte_alignment) {
    struct image_builder builder;
    struct husk_error err;
    size_t count;
    guest_image_build(&builder);
    builder.note_align = 4;
    uint8_t *bytes = builder_finish(&builder, &count);
    CHECK_OK(image_open_bytes(bytes, count, true, &err), err);
    free(bytes);
    builder_done(&builder);
}

/* ---- one thing wrong ---- */

static void *row(struct image_builder *builder, enum husk_image_record_id array, size_t idx,
                 size_t row_bytes) {
    return builder->records[array].data + idx * row_bytes;
}
#define ROW(array, type, idx) ((struct type *)row(b, array, idx, sizeof(struct type)))

#define WRONG(name, change)                                                                        \
    static void wrong_##name(struct image_builder *b) {                                            \
        change;                                                                                    \
    }
WRONG(flags, b->module.flags = 0x80)
WRONG(func_instance, ROW(HUSK_REC_FUNCS, husk_image_func, 1)->instance = 1)
WRONG(import_instance, ROW(HUSK_REC_IMPORTS, husk_image_import, 0)->instance = 1)
WRONG(export_instance, ROW(HUSK_REC_EXPORTS, husk_image_export, 2)->instance = 1)
WRONG(memory_instance, ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->instance = 1)
WRONG(memory_flags, ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->flags |= 0x80)
WRONG(memory_zero, ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->zero = 16)
WRONG(global_flags, ROW(HUSK_REC_GLOBALS, husk_image_global, 0)->flags |= 0x100)
WRONG(global_instance, ROW(HUSK_REC_GLOBALS, husk_image_global, 0)->instance = 7)
WRONG(entry, b->module.entry_gva = 0x1000)
WRONG(resume, b->module.resume_gva = HUSK_TEXT_GVA + 0x100000)
WRONG(init, b->module.init_gva = 5)
WRONG(no_init, b->module.flags = HUSK_IMAGE_NEEDS_INIT)
WRONG(cpu, b->module.cpu_features = 1ull << 63)
WRONG(compiler_name, b->module.compiler.offset = UINT32_MAX)
WRONG(module_name, b->module.name.bytes = UINT32_MAX)
WRONG(no_valtype, b->records[HUSK_REC_VALTYPES].data[0] = 0)
WRONG(global_newer_type, ROW(HUSK_REC_GLOBALS, husk_image_global, 0)->type = 0x12)
WRONG(valtype, b->records[HUSK_REC_VALTYPES].data[0] = 0x7f)
WRONG(type_range, ROW(HUSK_REC_TYPES, husk_image_type, 0)->valtypes_idx = UINT32_MAX)
WRONG(type_params, ROW(HUSK_REC_TYPES, husk_image_type, 0)->params_count = 1001)
WRONG(type_results, ROW(HUSK_REC_TYPES, husk_image_type, 0)->results_count = UINT32_MAX)
WRONG(type_thunk, ROW(HUSK_REC_TYPES, husk_image_type, 0)->thunk_gva = 1)
WRONG(func_type, ROW(HUSK_REC_FUNCS, husk_image_func, 1)->type_idx = 1000)
WRONG(func_code, ROW(HUSK_REC_FUNCS, husk_image_func, 1)->code_bytes = UINT32_MAX)
WRONG(func_name, ROW(HUSK_REC_FUNCS, husk_image_func, 1)->name.offset = 0xfffffff0)
WRONG(import_kind, ROW(HUSK_REC_IMPORTS, husk_image_import, 0)->kind = 5)
WRONG(import_idx, ROW(HUSK_REC_IMPORTS, husk_image_import, 0)->idx = 1)
WRONG(import_name, ROW(HUSK_REC_IMPORTS, husk_image_import, 0)->name.bytes = 1u << 30)
WRONG(export_kind, ROW(HUSK_REC_EXPORTS, husk_image_export, 0)->kind = 17)
WRONG(export_idx, ROW(HUSK_REC_EXPORTS, husk_image_export, 0)->idx = 100)
WRONG(export_twice, ROW(HUSK_REC_EXPORTS, husk_image_export, 0)->name =
                        ROW(HUSK_REC_EXPORTS, husk_image_export, 1)->name)
WRONG(memory_max, ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->max_pages = 65537)
WRONG(memory_min, ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->min_pages = 4)
static void wide_memory(struct image_builder *b, uint64_t min_pages, uint64_t max_pages) {
    struct husk_image_memory *memory = ROW(HUSK_REC_MEMORIES, husk_image_memory, 0);
    memory->flags |= HUSK_LIMIT_IS_64;
    memory->min_pages = min_pages;
    memory->max_pages = max_pages;
}
WRONG(memory64_max, wide_memory(b, 1, (1ull << 48) + 1))
WRONG(memory64_min, wide_memory(b, HUSK_MAX_MEM64_PAGES + 1, 1ull << 48))
WRONG(memory_word,
      ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->size_gva = HUSK_DATA_GVA + 2 * HUSK_PAGE_SIZE)
WRONG(memory_word_align, ROW(HUSK_REC_MEMORIES, husk_image_memory, 0)->size_gva = HUSK_DATA_GVA + 4)
WRONG(memory_word_value, builder_word(b, HUSK_DATA_GVA, 2))
WRONG(global_type, ROW(HUSK_REC_GLOBALS, husk_image_global, 0)->type = 0)
WRONG(global_place, ROW(HUSK_REC_GLOBALS, husk_image_global, 0)->gva = HUSK_MAILBOX_GVA)
WRONG(global_align, ROW(HUSK_REC_GLOBALS, husk_image_global, 0)->gva = HUSK_DATA_GVA + 8)
WRONG(code_row_func, ROW(HUSK_REC_CODE_MAP, husk_image_code_row, 0)->func_idx = 1000)
WRONG(code_row_order, ROW(HUSK_REC_CODE_MAP, husk_image_code_row, 0)->code_gva = UINT32_MAX)
static void add_routines(struct image_builder *b, uint32_t many_gva, uint32_t bytes_gva) {
    const struct husk_image_routines routines = {many_gva, bytes_gva};
    builder_row(b, HUSK_REC_ROUTINES, &routines, sizeof routines);
}
WRONG(routine_many, add_routines(b, HUSK_TEXT_GVA + 0x100000, 0))
WRONG(routine_bytes, add_routines(b, HUSK_TEXT_GVA, HUSK_DATA_GVA))
WRONG(routine_low, add_routines(b, 1, 0))
WRONG(routines_twice, (add_routines(b, HUSK_TEXT_GVA, 0), add_routines(b, HUSK_TEXT_GVA, 0)))
/* The guest's image has no inlined code: these add some. */
static void add_inlined(struct image_builder *b, uint32_t code_gva, uint32_t call) {
    const struct husk_image_inlined_row row = {.code_gva = code_gva, .call = call};
    builder_row(b, HUSK_REC_INLINED_CODE, &row, sizeof row);
}
static void add_inlined_call(struct image_builder *b, uint32_t func_idx, uint32_t outer) {
    const struct husk_image_inlined_call row = {.func_idx = func_idx, .outer = outer};
    builder_row(b, HUSK_REC_INLINED_CALLS, &row, sizeof row);
}
WRONG(inlined_call, add_inlined_call(b, 1, 0); add_inlined(b, HUSK_TEXT_GVA, 2))
WRONG(inlined_order, add_inlined(b, HUSK_TEXT_GVA + 1, 0); add_inlined(b, HUSK_TEXT_GVA, 0))
WRONG(inlined_func, add_inlined_call(b, 1000, 0))
WRONG(inlined_outer, add_inlined_call(b, 1, 0); add_inlined_call(b, 1, 2))
WRONG(unwind_order, ROW(HUSK_REC_UNWIND, husk_image_unwind_x86_64, 0)->code_gva = UINT32_MAX)
WRONG(text_place, b->segments[0].gva += HUSK_PAGE_SIZE)
WRONG(text_flags, b->segments[0].flags = PF_R | PF_W | PF_X)
WRONG(text_bss, b->segments[0].mem_bytes += 1)
WRONG(data_flags, b->segments[1].flags = PF_R | PF_W | PF_X)
WRONG(data_align, b->segments[1].gva += 16)
WRONG(data_size, b->segments[1].mem_bytes += 16)
WRONG(data_large, b->segments[1].mem_bytes = HUSK_DATA_END_GVA)
WRONG(data_in_mailbox, b->segments[1].gva = HUSK_MAILBOX_GVA)
WRONG(memory_beyond, b->segments[2].mem_bytes += HUSK_PAGE_SIZE)
WRONG(memory_unknown, b->segments[2].gva = husk_mem_gva(1))
WRONG(memory_window, b->segments[2].gva = HUSK_MEM1_BASE_GVA)
WRONG(memory_wraps, b->segments[2].mem_bytes = UINT64_MAX - 0xfff)
/* An empty layer of so many bytes, none of them in the file. */
static void add_files(struct image_builder *b, uint32_t flags, uint64_t offset, uint64_t bytes) {
    b->module.flags |= flags;
    builder_segment(b, HUSK_FILES_GVA + offset, PF_R | PF_W, NULL, 0, bytes);
}
WRONG(files_in_image, add_files(b, HUSK_IMAGE_FILES, 0, HUSK_PAGE_SIZE))
WRONG(files_no_flag, add_files(b, 0, 0, HUSK_PAGE_SIZE))
WRONG(files_no_segment, b->module.flags |= HUSK_IMAGE_FILES)
WRONG(files_large, add_files(b, HUSK_IMAGE_FILES, 0, HUSK_FILES_MAX_BYTES + HUSK_PAGE_SIZE))
WRONG(files_end, add_files(b, HUSK_IMAGE_FILES, HUSK_FILES_MAX_BYTES - 0x1000, 0x2000))
WRONG(files_size, add_files(b, HUSK_IMAGE_FILES, 0, 4095))
WRONG(files_align, add_files(b, HUSK_IMAGE_FILES, 16, HUSK_PAGE_SIZE))
WRONG(files_behind, add_files(b, HUSK_IMAGE_FILES, HUSK_FILES_MAX_BYTES, HUSK_PAGE_SIZE))
WRONG(files_wild, add_files(b, HUSK_IMAGE_FILES, 0, UINT64_MAX - 0xfff))
WRONG(overlap, b->segments[2].gva = HUSK_DATA_GVA + HUSK_PAGE_SIZE)

/* A good table but for what the change says. */
static struct husk_image_table good_table(void) {
    return (struct husk_image_table){.max_entries = 10,
                                     .elem_type = HUSK_ABI_FUNCREF,
                                     .base_gva = HUSK_DATA_GVA + 64,
                                     .size_gva = HUSK_DATA_GVA + 32};
}
#define WRONG_TABLE(name, change)                                                                  \
    static void wrong_table_##name(struct image_builder *b) {                                      \
        struct husk_image_table t = good_table();                                                  \
        change;                                                                                    \
        builder_row(b, HUSK_REC_TABLES, &t, sizeof t);                                             \
    }
WRONG_TABLE(newer_type, t.elem_type = 0x113)
WRONG_TABLE(type, t.elem_type = HUSK_ABI_I32)
WRONG_TABLE(flags, t.flags |= 4)
WRONG_TABLE(instance, t.instance = 1)
WRONG_TABLE(limits, t.min_entries = 11)
WRONG_TABLE(reserve, (t.min_entries = 2, t.reserve_entries = 1))
WRONG_TABLE(place, t.base_gva = 8)
WRONG_TABLE(end, t.reserve_entries = UINT32_MAX)
WRONG_TABLE(overlap, (t.base_gva = HUSK_DATA_GVA, t.reserve_entries = 5))
WRONG_TABLE(word, t.size_gva = HUSK_TEXT_GVA)
WRONG_TABLE(growth_align, (t.base_gva = HUSK_DATA_GVA + 0x3008, t.reserve_entries = 5))

static void add_instance(struct image_builder *builder, struct husk_image_instance instance) {
    buf_append(&builder->records[HUSK_REC_INSTANCES], &instance, sizeof instance);
}
WRONG(instance_flags, add_instance(b, (struct husk_image_instance){.flags = 1}))
WRONG(instance_name, add_instance(b, (struct husk_image_instance){.name.bytes = 1u << 30}))
WRONG(instance_init, add_instance(b, (struct husk_image_instance){.init_gva = 7}))
WRONG(instance_thunk, add_instance(b, (struct husk_image_instance){.init_gva = HUSK_TEXT_GVA}))
WRONG(instance_memory, add_instance(b, (struct husk_image_instance){.memory_idx = 1}))

/* A tag of an i32 (the type is added), and exceptions with room for one value. */
static struct husk_image_tag *add_exceptions(struct image_builder *b) {
    const struct husk_image_tag tag = {.type_idx = builder_type(b, "i", 0)};
    const uint32_t idx = builder_row(b, HUSK_REC_TAGS, &tag, sizeof tag);
    b->module.exception_gva = HUSK_DATA_GVA + 0x100;
    b->module.exception_values = 1;
    b->module.throw_gva = HUSK_TEXT_GVA;
    return ROW(HUSK_REC_TAGS, husk_image_tag, idx);
}
#define WRONG_TAG(name, change) WRONG(tag_##name, add_exceptions(b)->change)
#define WRONG_EXN(name, change) WRONG(exception_##name, add_exceptions(b); b->module.change)
WRONG_TAG(type, type_idx = 1000)
WRONG_TAG(results, type_idx = 0)
WRONG_TAG(instance, instance = 1)
WRONG_EXN(nowhere, exception_gva = 0)
WRONG_EXN(align, exception_gva += 8)
WRONG_EXN(values, exception_values = 0)
WRONG_EXN(many, exception_values = 1001)
WRONG_EXN(wild, exception_values = UINT32_MAX)
WRONG_EXN(end, exception_gva = HUSK_DATA_GVA + 2 * HUSK_PAGE_SIZE - 16)
WRONG_EXN(place, exception_gva = HUSK_MEM0_GVA)
WRONG_EXN(throw, throw_gva = HUSK_DATA_GVA)
WRONG_EXN(slots, exception_slots_gva = HUSK_DATA_GVA)
WRONG_EXN(slots_align, exception_slots_gva = HUSK_DATA_GVA + 8)

struct wrong {
    const char *name;
    void (*change)(struct image_builder *builder);
    int status;
    const char *part; /* of the message */
};
static const struct wrong wrongs[] = {
#define ROW_OF(name, part)                                                                         \
    { #name, wrong_##name, HUSK_E_BAD_IMAGE, part }
#define NEWER(name, part)                                                                          \
    { #name, wrong_##name, HUSK_E_IMAGE_VERSION, part ": a flag or an instance (0x" }
    {"cpu", wrong_cpu, HUSK_E_CPU, "CPU"},
    NEWER(flags, "module 0"),
    NEWER(func_instance, "function 1"),
    NEWER(instance_flags, "instance 0"),
    ROW_OF(instance_name, "instance 0: its name"),
    ROW_OF(instance_init, "instance 0: its init function"),
    ROW_OF(instance_thunk, "instance 0: an init function without a thunk"),
    ROW_OF(instance_memory, "instance 0: no such memory"),
    NEWER(import_instance, "import 0"),
    NEWER(export_instance, "export 2"),
    NEWER(memory_instance, "memory 0"),
    NEWER(memory_flags, "memory 0"),
    NEWER(memory_zero, "memory 0"),
    NEWER(global_flags, "global 0"),
    NEWER(global_instance, "global 0"),
    NEWER(table_flags, "table 0"),
    NEWER(table_instance, "table 0"),
    {"import_kind", wrong_import_kind, HUSK_E_IMAGE_VERSION, "import 0: a kind (5)"},
    {"export_kind", wrong_export_kind, HUSK_E_IMAGE_VERSION, "export 0: a kind (17)"},
    ROW_OF(entry, "dispatcher"),
    ROW_OF(resume, "dispatcher"),
    ROW_OF(init, "init"),
    ROW_OF(no_init, "init"),
    ROW_OF(compiler_name, "name"),
    ROW_OF(module_name, "name"),
    {"valtype", wrong_valtype, HUSK_E_IMAGE_VERSION, "value type 0: a type (0x7f)"},
    ROW_OF(no_valtype, "value type 0: no such type"),
    {"table_newer_type", wrong_table_newer_type, HUSK_E_IMAGE_VERSION, "table 0: a type (0x113)"},
    {"global_newer_type", wrong_global_newer_type, HUSK_E_IMAGE_VERSION, "global 0: a type (0x12)"},
    ROW_OF(type_range, "type 0"),
    ROW_OF(type_params, "type 0"),
    ROW_OF(type_results, "type 0"),
    ROW_OF(type_thunk, "thunk"),
    ROW_OF(func_type, "function 1"),
    ROW_OF(func_code, "function 1"),
    ROW_OF(func_name, "function 1"),
    ROW_OF(import_idx, "import 0"),
    ROW_OF(import_name, "import 0"),
    ROW_OF(export_idx, "export 0"),
    ROW_OF(export_twice, "two exports"),
    ROW_OF(memory64_max, "memory 0: impossible limits"),
    ROW_OF(memory64_min, "memory 0: impossible limits"),
    ROW_OF(memory_max, "memory 0"),
    ROW_OF(memory_min, "memory 0"),
    ROW_OF(memory_word, "memory 0"),
    ROW_OF(memory_word_align, "memory 0"),
    ROW_OF(memory_word_value, "memory 0"),
    ROW_OF(global_type, "global 0"),
    ROW_OF(global_place, "global 0"),
    ROW_OF(global_align, "global 0"),
    ROW_OF(code_row_func, "code row 0"),
    ROW_OF(code_row_order, "code row 1"),
    ROW_OF(routine_many, "routines 0: outside the text"),
    ROW_OF(routine_bytes, "routines 0: outside the text"),
    ROW_OF(routine_low, "routines 0: outside the text"),
    ROW_OF(routines_twice, "routines: 2 rows, more than the limit of 1"),
    ROW_OF(inlined_call, "inlined row 0"),
    ROW_OF(inlined_order, "inlined row 1"),
    ROW_OF(inlined_func, "inlined call 0"),
    ROW_OF(inlined_outer, "inlined call 1"),
    ROW_OF(unwind_order, "unwind row 1"),
    ROW_OF(text_place, "0x401000"),
    ROW_OF(text_flags, "0x400000"),
    ROW_OF(text_bss, "0x400000"),
    ROW_OF(data_flags, "0x20000000"),
    ROW_OF(data_align, "page size"),
    ROW_OF(data_size, "page size"),
    ROW_OF(data_large, "data region"),
    ROW_OF(data_in_mailbox, "0x30000000"),
    ROW_OF(memory_beyond, "segment"),
    ROW_OF(memory_unknown, "segment"),
    ROW_OF(memory_window, "segment"),
    ROW_OF(memory_wraps, "0x40000000"),
    ROW_OF(overlap, "overlap"),
    ROW_OF(files_in_image, "only a snapshot can have one"),
    ROW_OF(table_type, "table 0"),
    ROW_OF(table_limits, "table 0"),
    ROW_OF(table_reserve, "table 0"),
    ROW_OF(table_place, "table 0"),
    ROW_OF(table_end, "table 0"),
    ROW_OF(table_overlap, "table 0"),
    ROW_OF(table_word, "table 0"),
    ROW_OF(table_growth_align, "table 0"),
    ROW_OF(tag_type, "tag 0: no such type"),
    ROW_OF(tag_results, "tag 0: its type has results"),
    NEWER(tag_instance, "tag 0"),
    ROW_OF(exception_nowhere, "without a place for the pending one"),
    ROW_OF(exception_align, "not aligned"),
    ROW_OF(exception_values, "tag 0: an exception has no room"),
    ROW_OF(exception_many, "too many values"),
    ROW_OF(exception_wild, "too many values"),
    ROW_OF(exception_end, "pending exception is outside the data"),
    ROW_OF(exception_place, "pending exception is outside the data"),
    ROW_OF(exception_throw, "code that throws"),
    ROW_OF(exception_slots, "slots are outside the data"),
    ROW_OF(exception_slots_align, "not aligned"),
};

/* Also where the hash is right: it does not make a wrong row right. */
static void check_wrong(void (*build)(struct image_builder *builder), const struct wrong *wrong) {
    struct image_builder builder;
    struct husk_error err = {.message = ""};
    size_t count;
    build(&builder);
    wrong->change(&builder);
    uint8_t *bytes = builder_finish(&builder, &count);
    for (int verify = 0; verify < 2; verify++) {
        int status = image_open_bytes(bytes, count, verify == 1, &err);
        CHECK_MSG(status == wrong->status && strstr(err.message, wrong->part) != NULL,
                  "%s: status %d, \"%s\"", wrong->name, status, err.message);
    }
    free(bytes);
    builder_done(&builder);
}

TEST(one_thing_wrong) {
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++)
        check_wrong(guest_image_build, &wrongs[i]);
}

/* ---- one thing wrong with a snapshot ---- */

#define WORD(array, idx) (*(uint64_t *)row(b, array, idx, sizeof(uint64_t)))
#define STATE_WORD(idx) (((uint32_t *)row(b, HUSK_REC_HOST_STATE, 0, 1))[idx])

WRONG(snapshot_init, (b->module.flags |= HUSK_IMAGE_NEEDS_INIT, b->module.init_gva = HUSK_TEXT_GVA,
                      b->module.init_thunk_gva = HUSK_TEXT_GVA))
WRONG(no_memory_sizes, b->records[HUSK_REC_MEMORY_SIZES].count = 0)
WRONG(no_table_sizes, b->records[HUSK_REC_TABLE_SIZES].count = 0)
WRONG(more_memory_sizes, builder_row(b, HUSK_REC_MEMORY_SIZES, &(uint64_t){1}, 8))
WRONG(memory_above_max, WORD(HUSK_REC_MEMORY_SIZES, 0) = 4)
WRONG(memory_below_min, WORD(HUSK_REC_MEMORY_SIZES, 0) = 0)
WRONG(memory_wild, WORD(HUSK_REC_MEMORY_SIZES, 0) = UINT64_MAX)
WRONG(memory_below_segment, WORD(HUSK_REC_MEMORY_SIZES, 0) = 1)
WRONG(table_above_reserve, WORD(HUSK_REC_TABLE_SIZES, 0) = 1025)
WRONG(table_wild, WORD(HUSK_REC_TABLE_SIZES, 0) = UINT64_MAX / 8 + 2)
WRONG(table_above_data, WORD(HUSK_REC_TABLE_SIZES, 0) = 1024 + 1)
WRONG(table_not_all_there, b->segments[2].mem_bytes = HUSK_PAGE_SIZE)
WRONG(hot_page_align, WORD(HUSK_REC_HOT_PAGES, 1) += 8)
WRONG(hot_page_text, WORD(HUSK_REC_HOT_PAGES, 0) = HUSK_TEXT_GVA)
WRONG(hot_page_order, WORD(HUSK_REC_HOT_PAGES, 2) = HUSK_MEM0_GVA)
WRONG(hot_page_many, buf_append_zeros(&b->records[HUSK_REC_HOT_PAGES], 8 * 16384))
WRONG(state_name_long, STATE_WORD(0) = 200)
WRONG(state_name_wild, STATE_WORD(0) = UINT32_MAX)
WRONG(state_name_empty, STATE_WORD(0) = 0)
WRONG(state_long, STATE_WORD(1) = 81)
WRONG(state_wild, STATE_WORD(1) = UINT32_MAX)
WRONG(state_short, STATE_WORD(1) = 72)
WRONG(state_cut, b->records[HUSK_REC_HOST_STATE].count -= 1)
WRONG(state_tail, buf_append_zeros(&b->records[HUSK_REC_HOST_STATE], 4))
WRONG(state_second, builder_row(b, HUSK_REC_HOST_STATE, &(uint64_t){1}, 8))

static const struct wrong snapshot_wrongs[] = {
    {"cpu", wrong_cpu, HUSK_E_CPU, "CPU"},
    ROW_OF(snapshot_init, "a snapshot that still needs"),
    ROW_OF(no_memory_sizes, "size of every memory and table"),
    ROW_OF(no_table_sizes, "size of every memory and table"),
    ROW_OF(more_memory_sizes, "size of every memory and table"),
    ROW_OF(memory_above_max, "memory 0"),
    ROW_OF(memory_below_min, "memory 0"),
    ROW_OF(memory_wild, "memory 0"),
    ROW_OF(memory_below_segment, "beyond its memory"),
    ROW_OF(table_above_reserve, "table 0"),
    ROW_OF(table_wild, "table 0"),
    ROW_OF(table_above_data, "table 0"),
    ROW_OF(table_not_all_there, "table 0"),
    ROW_OF(hot_page_align, "hot page 1"),
    ROW_OF(hot_page_text, "hot page 0"),
    ROW_OF(hot_page_order, "hot page 2"),
    ROW_OF(hot_page_many, "hot_pages"),
    ROW_OF(state_name_long, "host state 0"),
    ROW_OF(state_name_wild, "host state 0"),
    ROW_OF(state_name_empty, "host state 0"),
    ROW_OF(state_long, "host state 0"),
    ROW_OF(state_wild, "host state 0"),
    ROW_OF(state_short, "host state 1"),
    ROW_OF(state_cut, "host state 0"),
    ROW_OF(state_tail, "host state 1"),
    ROW_OF(state_second, "host state 1"),
    ROW_OF(files_no_flag, "segments, but no flag"),
    ROW_OF(files_no_segment, "a flag, but no segment"),
    ROW_OF(files_large, "more than the limit"),
    ROW_OF(files_end, "more than the limit"),
    ROW_OF(files_size, "page size"),
    ROW_OF(files_align, "page size"),
    ROW_OF(files_behind, "beyond its memory"),
    ROW_OF(files_wild, "impossible"),
};

TEST(one_thing_wrong_with_a_snapshot) {
    struct husk_error err;
    size_t count;
    uint8_t *bytes = guest_snapshot_make(&count);
    CHECK_OK(image_open_bytes(bytes, count, true, &err), err);
    free(bytes);
    for (size_t i = 0; i < sizeof snapshot_wrongs / sizeof snapshot_wrongs[0]; i++)
        check_wrong(guest_snapshot_build, &snapshot_wrongs[i]);
}
#undef ROW_OF

/* ---- any bytes ---- */

typedef uint8_t *(*maker)(size_t *ret_count);
static const maker makers[] = {guest_image_make, guest_snapshot_make};

TEST(every_truncation) {
    for (size_t i = 0; i < 2; i++) {
        size_t count;
        uint8_t *bytes = makers[i](&count);
        struct husk_error err;
        for (size_t cut = 0; cut < count; cut += cut < 512 || count - cut < 4096 ? 1 : 61) {
            CHECK_MSG(image_open_bytes(bytes, cut, false, &err) < 0, "cut at %zu", cut);
            CHECK(err.message[0] != '\0');
        }
        CHECK(image_open_bytes(bytes, count / 2, true, &err) < 0);
        CHECK_CONTAINS(err.message, "truncated");
        free(bytes);
    }
}

/* Every byte of the headers and of the note, in several ways: refused, or opened and harmless. */
TEST(flipped_bytes) {
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    for (size_t k = 0; k < 2; k++) {
        size_t count, refused = 0, opened = 0;
        uint8_t *bytes = makers[k](&count);
        struct husk_error err;
        for (size_t at = 0; at < count; at++) {
            if (at >= 512 && count - at > 3000)
                continue;
            for (size_t i = 0; i < sizeof flips; i++) {
                bytes[at] ^= flips[i];
                if (image_open_bytes(bytes, count, false, &err) == 0)
                    opened++;
                else
                    refused++;
                bytes[at] ^= flips[i];
            }
        }
        CHECK(refused > 500 && opened > 100);
        free(bytes);
    }
}

/* Every byte of the file. What is not damaged beyond recognition is called damaged, whatever it is
 * in. */
TEST(the_content_hash_finds_any_change) {
    for (size_t k = 0; k < 2; k++) {
        size_t count, by_hash = 0;
        uint8_t *bytes = makers[k](&count);
        struct husk_error err;
        for (size_t at = 0; at < count; at += at < 512 || count - at < 4096 ? 1 : 61) {
            bytes[at] ^= 0x10;
            int status = image_open_bytes(bytes, count, true, &err);
            CHECK_MSG(status == HUSK_E_BAD_IMAGE || status == HUSK_E_IMAGE_VERSION,
                      "change at %zu: %d", at, status);
            by_hash += strstr(err.message, "do not match its hash") != NULL;
            bytes[at] ^= 0x10;
        }
        CHECK_MSG(by_hash > 4000, "%zu", by_hash);
        CHECK_OK(image_open_bytes(bytes, count, true, &err), err);
        bytes[HUSK_PAGE_SIZE + 20] ^= 1; /* code: not checked otherwise */
        CHECK_OK(image_open_bytes(bytes, count, false, &err), err);
        CHECK_STATUS(image_open_bytes(bytes, count, true, &err), HUSK_E_BAD_IMAGE);
        CHECK_CONTAINS(err.message, "hash");
        free(bytes);
    }
}

TEST_MAIN()
