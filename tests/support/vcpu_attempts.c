/* tests/support/vcpu_attempts.c: see vcpu_attempts.h. */
#include "vcpu_attempts.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "image_builder.h"
#include "layout.h"

static uint32_t gva_of(const uint8_t *label) {
    return (uint32_t)(HUSK_TEXT_GVA + (uint32_t)(label - attempts_text));
}

static void add_function(struct image_builder *builder, uint32_t type, uint32_t code_gva,
                         const char *name) {
    uint32_t func = builder_func(builder, type, code_gva, 1, name);
    builder_export(builder, name, HUSK_ABI_FUNC, func);
    struct husk_image_code_row row = {.code_gva = code_gva, .func_idx = func, .wasm_offset = func};
    builder_row(builder, HUSK_REC_CODE_MAP, &row, sizeof row);
}

static void add_functions(struct image_builder *builder) {
    uint32_t type = builder_type(builder, ">", gva_of(attempts_thunk));
    builder_func(builder, type, 0, 0, "");
    builder_import(builder, "env", "at_entry", HUSK_ABI_FUNC, 0);
    add_function(builder, type, gva_of(attempts_clean), "clean");
    add_function(builder, type, gva_of(attempts_stands), "stands");
    for (const struct attempt_row *row = attempts_table; row < attempts_table_end; row++)
        add_function(builder, type, (uint32_t)(HUSK_TEXT_GVA + row->offset), row->name);
    struct husk_image_code_row last = {.code_gva = gva_of(attempts_text_end),
                                       .func_idx = HUSK_FUNC_NONE};
    builder_row(builder, HUSK_REC_CODE_MAP, &last, sizeof last);
}

uint8_t *attempts_image_make(uint8_t tag, size_t *ret_count) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    struct image_builder builder;
    builder_init(&builder);
    builder.module.entry_gva = gva_of(attempts_entry);
    builder.module.resume_gva = gva_of(attempts_resume);
    size_t text_bytes = (size_t)(attempts_text_end - attempts_text);
    builder_segment(&builder, HUSK_TEXT_GVA, PF_R | PF_X, attempts_text, text_bytes, text_bytes);
    builder.segments[0].bytes.data[attempts_thunk - attempts_text - 1] = tag;
    builder_segment(&builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    builder_segment(&builder, HUSK_MEM0_GVA, PF_R | PF_W, zeros, sizeof zeros, HUSK_WASM_PAGE_SIZE);
    add_functions(&builder);
    struct husk_image_memory memory = {
        .min_pages = 1, .max_pages = 1, .flags = HUSK_LIMIT_HAS_MAX, .size_gva = HUSK_DATA_GVA};
    builder_row(&builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
    builder_word(&builder, HUSK_DATA_GVA, 1);
    uint8_t *bytes = builder_finish(&builder, ret_count);
    builder_done(&builder);
    return bytes;
}
