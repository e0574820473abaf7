/*
 * tests/unit/image_costs_test.c: the cost of opening an image is proportional to the size of its
 * file, whatever its rows say: overlapping names, tables over the same segments. With a check that
 * is quadratic in them, the last test takes minutes.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "guest_image.h"
#include "harness.h"
#include "host_limits.h"
#include "husk.h"
#include "image_builder.h"
#include "layout.h"
#include "literals.h"

static int open_built(struct image_builder *builder, struct husk_error *err) {
    size_t count;
    husk_image *image = NULL;
    uint8_t *bytes = builder_finish(builder, &count);
    int status =
        husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, err);
    husk_image_unref(image);
    free(bytes);
    builder_done(builder);
    return status;
}

/* Exports whose names are the ends of one string, each with its NUL. */
static void add_ends(struct image_builder *builder, uint32_t string_bytes, uint32_t count) {
    char *text = malloc(string_bytes + 1);
    CHECK(text != NULL);
    memset(text, 'a', string_bytes);
    text[string_bytes] = 0;
    const struct husk_image_str all = builder_string(builder, text);
    for (uint32_t i = 0; i < count; i++) {
        const struct husk_image_export row = {.name = {all.offset + i, all.bytes - i},
                                              .kind = HUSK_ABI_MEMORY};
        builder_row(builder, HUSK_REC_EXPORTS, &row, sizeof row);
    }
    free(text);
}

TEST(names_within_names) {
    struct image_builder builder;
    struct husk_error err;
    guest_image_build(&builder);
    add_ends(&builder, 1000, 1000); /* half a megabyte: strange, but no harm */
    CHECK_OK(open_built(&builder, &err), err);
    guest_image_build(&builder);
    add_ends(&builder, LIMIT_NAMES_SLACK_BYTES / 1000, 2000);
    CHECK_STATUS(open_built(&builder, &err), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(err.message, "names of ");
}

#define MANY_SEGMENTS 60000u

/* The file with so many more segments of a page each behind its data, without contents. */
static uint8_t *with_segments(const uint8_t *bytes, size_t count, size_t *ret_count) {
    Elf64_Ehdr header;
    memcpy(&header, bytes, sizeof header);
    const size_t table_at = (count + 7) & ~(size_t)7;
    *ret_count = table_at + (header.e_phnum + MANY_SEGMENTS) * sizeof(Elf64_Phdr);
    uint8_t *file = calloc(1, *ret_count);
    CHECK(file != NULL);
    memcpy(file, bytes, count);
    Elf64_Phdr *to = (Elf64_Phdr *)(void *)(file + table_at);
    const Elf64_Phdr *from = (const Elf64_Phdr *)(const void *)(bytes + header.e_phoff);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        *to++ = from[i];
        if (from[i].p_vaddr != HUSK_DATA_GVA)
            continue;
        uint64_t gva = HUSK_DATA_GVA + from[i].p_memsz;
        for (unsigned k = 0; k < MANY_SEGMENTS; k++, gva += HUSK_PAGE_SIZE)
            *to++ = (Elf64_Phdr){.p_type = PT_LOAD,
                                 .p_flags = PF_R | PF_W,
                                 .p_vaddr = gva,
                                 .p_memsz = HUSK_PAGE_SIZE,
                                 .p_align = HUSK_PAGE_SIZE};
    }
    header.e_phoff = table_at;
    header.e_phnum = (Elf64_Half)(header.e_phnum + MANY_SEGMENTS);
    memcpy(file, &header, sizeof header);
    return file;
}

static int open_with_tables(uint64_t entries, struct husk_error *err) {
    const uint32_t size_gva = HUSK_DATA_GVA + 64;
    const struct husk_image_table table = {.min_entries = entries,
                                           .max_entries = UINT32_MAX,
                                           .elem_type = HUSK_ABI_FUNCREF,
                                           .base_gva = HUSK_DATA_GVA,
                                           .reserve_entries = (uint32_t)entries,
                                           .size_gva = size_gva};
    struct image_builder builder;
    husk_image *image = NULL;
    size_t count, larger_count;
    guest_image_build(&builder);
    for (unsigned i = 0; i < LIMIT_TABLES; i++)
        builder_row(&builder, HUSK_REC_TABLES, &table, sizeof table);
    builder_word(&builder, size_gva, entries);
    uint8_t *bytes = builder_finish(&builder, &count);
    uint8_t *larger = with_segments(bytes, count, &larger_count);
    int status = husk_image_open_buffer(NULL, (struct husk_buffer){larger, larger_count}, SKIP_HASH,
                                        &image, err);
    husk_image_unref(image);
    free(larger);
    free(bytes);
    builder_done(&builder);
    return status;
}

TEST(tables_over_the_same_segments) {
    struct husk_error err;
    const uint64_t entries = (2 + MANY_SEGMENTS) * (HUSK_PAGE_SIZE / 8);
    CHECK_OK(open_with_tables(entries, &err), err);
    CHECK_STATUS(open_with_tables(entries + 1, &err), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(err.message, "its entries are outside the data");
}

TEST_MAIN()
