/*
 * tests/fake/image_save_test.c: husk_image_save() writes a snapshot to a file that opens and holds
 * the same state, however scattered memories and tables are. Otherwise it refuses the snapshot and
 * writes nothing. (Failing operations: tests/support/fault_saves.c.)
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "image_internal.h"
#include "pages.h"
#include "sandbox_internal.h"
#include "vm_fake.h"
#include "literals.h"

/* ---- A sandbox whose guest does nothing; the test writes its memory and grows its tables ---- */

static void guest_nothing(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)vcpu, (void)user, (void)ret_exit;
}

static int host_nothing(husk_caller *caller, void *user, const struct husk_value *args,
                        struct husk_value *results) {
    (void)caller, (void)user, (void)args, (void)results;
    return 0;
}

struct lab {
    struct vm_backend backend;
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image;
    husk_sandbox *sandbox;
    char dir[64], path[96];
    struct husk_error err;
};

static husk_sandbox *sandbox_of(struct lab *lab, husk_image *image) {
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, lab->imports, NULL, &sandbox, &lab->err), lab->err);
    return sandbox;
}

static void lab_open(struct lab *lab, struct image_builder *builder) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    size_t count;
    uint8_t *bytes = builder_finish(builder, &count);
    builder_done(builder);
    *lab = (struct lab){.backend = {.guest = guest_nothing}, .dir = "/tmp/husk-save-XXXXXX"};
    CHECK(mkdtemp(lab->dir) != NULL);
    snprintf(lab->path, sizeof lab->path, "%s/saved.husk", lab->dir);
    CHECK_OK(fake_engine_new(&lab->backend, &lab->engine, &lab->err), lab->err);
    CHECK_OK(husk_image_open_buffer(lab->engine, (struct husk_buffer){bytes, count}, NULL,
                                    &lab->image, &lab->err),
             lab->err);
    CHECK_OK(husk_imports_new(lab->engine, &lab->imports, &lab->err), lab->err);
    CHECK_OK(
        husk_imports_funcs(lab->imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "host", .type = &type, .fn = host_nothing},
                           1, &lab->err),
        lab->err);
    lab->sandbox = sandbox_of(lab, lab->image);
    free(bytes);
}

static void lab_close(struct lab *lab) {
    husk_sandbox_free(lab->sandbox);
    husk_imports_free(lab->imports);
    husk_image_unref(lab->image);
    husk_engine_unref(lab->engine);
    unlink(lab->path);
    CHECK_MSG(rmdir(lab->dir) == 0, "a temporary file was left");
}

static void put_word(struct lab *lab, uint32_t mem_idx, uint64_t address, uint64_t word) {
    void *span = NULL;
    CHECK_OK(husk_memory_span(lab->sandbox, RANGE(.addr = address, .count = 8, .mem_idx = mem_idx),
                              &span, &lab->err),
             lab->err);
    memcpy(span, &word, 8);
}

static uint64_t word_of(struct lab *lab, husk_sandbox *sandbox, uint32_t mem_idx,
                        uint64_t address) {
    uint64_t word;
    void *span = NULL;
    CHECK_OK(husk_memory_span(sandbox, RANGE(.addr = address, .count = 8, .mem_idx = mem_idx),
                              &span, &lab->err),
             lab->err);
    memcpy(&word, span, 8);
    return word;
}

static husk_image *snapshot_of(struct lab *lab, husk_sandbox *sandbox) {
    husk_image *snapshot = NULL;
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &lab->err), lab->err);
    return snapshot;
}

/* The sandbox as a file, and that opened. */
static husk_image *save_and_open(struct lab *lab, husk_sandbox *sandbox) {
    husk_image *snapshot = snapshot_of(lab, sandbox), *opened = NULL;
    CHECK_OK(husk_image_save(snapshot, lab->path, &lab->err), lab->err);
    husk_image_unref(snapshot);
    CHECK_OK(husk_image_open(lab->engine, lab->path, NULL, &opened, &lab->err), lab->err);
    CHECK(husk_image_is_snapshot(opened));
    return opened;
}

static struct stat file_of(const struct lab *lab) {
    struct stat st;
    CHECK(stat(lab->path, &st) == 0);
    return st;
}

/* Program headers of the file for addresses of [from, to); all of that is covered if `whole`. */
static unsigned loads_in(const struct lab *lab, uint64_t from, uint64_t to, bool whole) {
    Elf64_Ehdr ehdr;
    unsigned count = 0;
    uint64_t end = from;
    int fd = open(lab->path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pread(fd, &ehdr, sizeof ehdr, 0) == sizeof ehdr);
    for (unsigned i = 0; i < ehdr.e_phnum; i++) {
        Elf64_Phdr header;
        CHECK(pread(fd, &header, sizeof header, (off_t)(ehdr.e_phoff + i * sizeof header)) ==
              sizeof header);
        if (header.p_type != PT_LOAD || header.p_vaddr < from || header.p_vaddr >= to)
            continue;
        CHECK_MSG(!whole || header.p_vaddr == end, "a gap before 0x%llx",
                  (unsigned long long)header.p_vaddr);
        end = header.p_vaddr + header.p_memsz;
        count++;
    }
    CHECK(!whole || end == to);
    close(fd);
    return count;
}

/* Memories of 4 GiB, the first of them the guest image's own. */
static void large_memories(struct image_builder *builder, uint32_t count) {
    guest_image_build(builder);
    struct husk_image_memory memory = {.max_pages = HUSK_MAX_MEM_PAGES,
                                       .min_pages = HUSK_MAX_MEM_PAGES};
    buf_done(&builder->records[HUSK_REC_MEMORIES]);
    for (uint32_t i = 0; i < count; i++) {
        memory.size_gva = HUSK_DATA_GVA + 64 + 8 * i;
        builder_row(builder, HUSK_REC_MEMORIES, &memory, sizeof memory);
        builder_word(builder, memory.size_gva, HUSK_MAX_MEM_PAGES);
    }
}

#define GIB (1ull << 30)

TEST(a_hole_of_gigabytes_is_not_in_the_file) {
    struct image_builder builder;
    struct lab lab;
    large_memories(&builder, 2);
    lab_open(&lab, &builder);
    static const uint64_t places[] = {0x2000, GIB, GIB + 0x5000, 3 * GIB + 0x7ff8, 4 * GIB - 8};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        put_word(&lab, 0, places[i], i + 1);
        put_word(&lab, 1, places[i], i + 100);
    }
    husk_image *opened = save_and_open(&lab, lab.sandbox);
    CHECK_MSG(file_of(&lab).st_size < 1 << 20, "%lld bytes", (long long)file_of(&lab).st_size);
    CHECK_EQ_U64(loads_in(&lab, husk_mem_gva(0), husk_mem_gva(0) + 4 * GIB, true), 4);
    CHECK_EQ_U64(loads_in(&lab, husk_mem_gva(1), husk_mem_gva(1) + 4 * GIB, true), 4);
    husk_sandbox *fresh = sandbox_of(&lab, opened);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        CHECK_EQ_U64(word_of(&lab, fresh, 0, places[i]), i + 1);
        CHECK_EQ_U64(word_of(&lab, fresh, 1, places[i]), i + 100);
        CHECK_EQ_U64(word_of(&lab, fresh, 0, places[i] ^ 0x800), 0);
    }
    husk_sandbox_free(fresh);
    husk_image_unref(opened);
    lab_close(&lab);
}

/* Rather a few segments with holes than many: each is a mapping in every sandbox. */
TEST(scattered_pages_become_few_segments) {
    struct image_builder builder;
    struct lab lab;
    large_memories(&builder, 1);
    lab_open(&lab, &builder);
    for (uint64_t i = 0; i < 40; i++)
        put_word(&lab, 0, i << 20, i + 7);
    husk_image *opened = save_and_open(&lab, lab.sandbox);
    struct stat st = file_of(&lab);
    CHECK_MSG(st.st_size < 42 << 20 && st.st_blocks < 1000, "%lld bytes, %lld blocks",
              (long long)st.st_size, (long long)st.st_blocks);
    CHECK(loads_in(&lab, husk_mem_gva(0), husk_mem_gva(0) + 4 * GIB, true) <=
          IMAGE_RUNS_MAPPED_MAX);
    CHECK(opened->runs_count <= IMAGE_RUNS_MAPPED_MAX);
    husk_sandbox *fresh = sandbox_of(&lab, opened);
    for (uint64_t i = 0; i < 40; i++)
        CHECK_EQ_U64(word_of(&lab, fresh, 0, i << 20), i + 7);
    husk_sandbox_free(fresh);
    husk_image_unref(opened);
    lab_close(&lab);
}

/* Far and wide: as many segments as it takes, up to one every 16 MiB. */
TEST(many_far_pages_become_many_segments) {
    struct image_builder builder;
    struct lab lab;
    large_memories(&builder, 1);
    lab_open(&lab, &builder);
    for (uint64_t i = 0; i < 100; i++)
        put_word(&lab, 0, i * (40 << 20) + 16, i + 7);
    husk_image *opened = save_and_open(&lab, lab.sandbox);
    CHECK_MSG(file_of(&lab).st_size < 1 << 20, "%lld bytes", (long long)file_of(&lab).st_size);
    CHECK_EQ_U64(loads_in(&lab, husk_mem_gva(0), husk_mem_gva(0) + 4 * GIB, true), 100);
    husk_sandbox *fresh = sandbox_of(&lab, opened);
    for (uint64_t i = 0; i < 100; i++)
        CHECK_EQ_U64(word_of(&lab, fresh, 0, i * (40 << 20) + 16), i + 7);
    husk_sandbox_free(fresh);
    husk_image_unref(opened);
    lab_close(&lab);
}

/* The reader takes files of 16 GiB. */
TEST(what_could_not_be_opened_is_not_saved) {
    struct image_builder builder;
    struct lab lab;
    large_memories(&builder, 4);
    lab_open(&lab, &builder);
    for (uint32_t mem_idx = 0; mem_idx < 4; mem_idx++)
        for (uint64_t address = 0; address < 4 * GIB; address += 15 << 20)
            put_word(&lab, mem_idx, address, 1);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    CHECK_STATUS(husk_image_save(snapshot, lab.path, &lab.err), HUSK_E_LIMIT);
    CHECK_CONTAINS(lab.err.message, "spread over");
    CHECK(access(lab.path, F_OK) != 0);
    husk_image_unref(snapshot);
    lab_close(&lab);
}

/* Whatever the image or the guest did: a sandbox has few mappings, for others need some, too. Also
 * where the pages are too widely spread for one file on disk. */
TEST(scattered_runs_are_few_mappings) {
    struct image_builder builder;
    struct lab lab;
    const struct image_run *runs = NULL;
    uint32_t count = 0;
    large_memories(&builder, 6);
    lab_open(&lab, &builder);
    for (uint32_t mem_idx = 0; mem_idx < 6; mem_idx++)
        for (uint64_t i = 0; i < 200; i++)
            put_word(&lab, mem_idx, i * (20 << 20) + 8 * mem_idx, i + 1);
    husk_image *snapshot = snapshot_of(&lab, lab.sandbox);
    CHECK(snapshot->runs_count >= 1200);
    CHECK_OK(image_mapped_runs(snapshot, &runs, &count, &lab.err), lab.err);
    CHECK_EQ_U64(count, 1 + 6);
    husk_sandbox *fresh = sandbox_of(&lab, snapshot);
    for (uint32_t mem_idx = 0; mem_idx < 6; mem_idx++)
        for (uint64_t i = 0; i < 200; i++)
            CHECK_EQ_U64(word_of(&lab, fresh, mem_idx, i * (20 << 20) + 8 * mem_idx), i + 1);
    husk_sandbox_free(fresh);
    husk_image_unref(snapshot);
    lab_close(&lab);
}

#define TABLES 5000u

/* Tables of one page's reserve each, that start empty; then one that starts with a page and may
 * grow into two more. */
static void many_tables(struct image_builder *builder) {
    guest_image_build(builder);
    const uint64_t size_words = page_up(8 * (TABLES + 1)), first = HUSK_DATA_GVA + 0x100000;
    const uint64_t last = first + 2ull * TABLES * HUSK_PAGE_SIZE;
    builder->segments[1].mem_bytes = 2 * HUSK_PAGE_SIZE + size_words;
    buf_append_zeros(&builder->segments[1].bytes, HUSK_PAGE_SIZE + size_words);
    struct builder_segment memory = builder->segments[2];
    builder->segments_count--; /* the memory's comes behind the tables' */
    builder_segment(builder, last, PF_R | PF_W, NULL, 0, HUSK_PAGE_SIZE);
    builder->segments[builder->segments_count++] = memory;
    for (uint32_t i = 0; i <= TABLES; i++) {
        struct husk_image_table table = {.max_entries = UINT32_MAX,
                                         .elem_type = HUSK_ABI_FUNCREF,
                                         .base_gva = (uint32_t)(first + 2ull * i * HUSK_PAGE_SIZE),
                                         .reserve_entries = 512,
                                         .size_gva = HUSK_DATA_GVA + 2 * HUSK_PAGE_SIZE + 8 * i};
        if (i == TABLES) {
            table.min_entries = 512;
            table.reserve_entries = 3 * 512;
            builder_word(builder, table.size_gva, 512);
        }
        builder_row(builder, HUSK_REC_TABLES, &table, sizeof table);
    }
}

static uint64_t *entry_of(const husk_sandbox *sandbox, uint32_t table_idx, uint64_t entry_idx) {
    uint8_t *span = arena_span(&sandbox->machine->arena,
                               sandbox->image->code->tables[table_idx].base_gva + 8 * entry_idx, 8);
    CHECK(span != NULL);
    return (uint64_t *)(void *)span;
}

/* More segments than the reader took once (4096); each grown table has one. */
TEST(thousands_of_grown_tables) {
    struct image_builder builder;
    struct lab lab;
    many_tables(&builder);
    lab_open(&lab, &builder);
    for (uint32_t i = 0; i < TABLES; i++) {
        CHECK_EQ_U64(sandbox_table_grow(lab.sandbox, i, 1 + i % 7), 0);
        *entry_of(lab.sandbox, i, i % 7) = i;
    }
    CHECK_EQ_U64(sandbox_table_grow(lab.sandbox, TABLES, 600), 512);
    *entry_of(lab.sandbox, TABLES, 511) = 511;
    *entry_of(lab.sandbox, TABLES, 1111) = 1111;
    husk_image *opened = save_and_open(&lab, lab.sandbox);
    /* the fixed part, the tables, and the last one's two parts in one */
    CHECK_EQ_U64(loads_in(&lab, HUSK_DATA_GVA, HUSK_DATA_END_GVA, false), 1 + TABLES + 1);
    husk_sandbox *fresh = sandbox_of(&lab, opened);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < TABLES; i++) {
            CHECK_EQ_U64(fresh->machine->sizes.table_entries[i], 1 + i % 7);
            CHECK_EQ_U64(*entry_of(fresh, i, i % 7), i);
            *entry_of(fresh, i, i % 7) = 0;
        }
        CHECK_EQ_U64(fresh->machine->sizes.table_entries[TABLES], 1112);
        CHECK_EQ_U64(*entry_of(fresh, TABLES, 511), 511);
        CHECK_EQ_U64(*entry_of(fresh, TABLES, 1111), 1111);
        CHECK_EQ_U64(sandbox_table_grow(fresh, TABLES, 400), 1112);
        CHECK_OK(husk_sandbox_restore(fresh, opened, &lab.err), lab.err);
    }
    husk_image *second = save_and_open(&lab, fresh);
    CHECK_EQ_U64(loads_in(&lab, HUSK_DATA_GVA, HUSK_DATA_END_GVA, false), 1 + TABLES + 1);
    husk_image_unref(second);
    husk_sandbox_free(fresh);
    husk_image_unref(opened);
    lab_close(&lab);
}

/* A file of a file of a file … has one note, not all of theirs. */
TEST(generations_of_files_do_not_grow) {
    struct image_builder builder;
    struct lab lab;
    guest_image_build(&builder);
    lab_open(&lab, &builder);
    off_t bytes = 0;
    for (uint64_t i = 0; i < 6; i++) {
        put_word(&lab, 0, 0x3000, i);
        husk_image *opened = save_and_open(&lab, lab.sandbox);
        if (i == 1) /* pages that are known to be written are in it from the second on */
            bytes = file_of(&lab).st_size;
        CHECK(i < 2 || file_of(&lab).st_size == bytes);
        husk_sandbox_free(lab.sandbox);
        lab.sandbox = sandbox_of(&lab, opened);
        CHECK_EQ_U64(word_of(&lab, lab.sandbox, 0, 0x3000), i);
        husk_image_unref(opened);
    }
    lab_close(&lab);
}

TEST_MAIN()
