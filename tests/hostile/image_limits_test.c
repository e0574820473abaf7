/*
 * tests/hostile/image_limits_test.c: the memory and time that an image can cost the host are
 * bounded by the size of its file and the sandbox's limits. Segments with more memory than bytes,
 * and sparse files, claim large sizes without any content.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "guest_image.h"
#include "harness.h"
#include "husk.h"
#include "image_internal.h"
#include "layout.h"
#include "literals.h"

#define MIB (1u << 20)
#define RODATA_BYTES (16u * MIB)

/* "touch" reads the first byte of each page of rodata, of which only the last one is not zero; it
 * traps unless their sum is 7. */
__asm__(
    ".pushsection .rodata\n .balign 64\n"
    "il_text: cld\n call *%rsi\n out %eax, $0x10\n ud2\n"
    "il_resume: ret\n"
    "il_thunk: call *%rdi\n ret\n"
    "il_touch: mov $0x401000, %edi\n xor %ecx, %ecx\n"
    "1: movzbl (%rdi), %eax\n add %eax, %ecx\n add $0x1000, %edi\n cmp $0x1401000, %edi\n jb 1b\n"
    " cmp $7, %ecx\n je 2f\n ud2\n 2: ret\n"
    "il_text_end:\n.popsection");
extern const uint8_t il_text[], il_text_end[], il_resume[], il_thunk[], il_touch[];

static struct husk_error err;
static husk_engine *engine;
static husk_imports *imports;

static uint32_t gva_of(const uint8_t *label) {
    return (uint32_t)(HUSK_TEXT_GVA + (uint32_t)(label - il_text));
}

static int host_returns(husk_caller *caller, void *user, const struct husk_value *args,
                        struct husk_value *results) {
    (void)caller, (void)user, (void)args, (void)results;
    return 0;
}

static void begin(void) {
    static const husk_type i64_type = HUSK_I64;
    const struct husk_functype type = {&i64_type, 1, &i64_type, 1};
    SKIP_WITHOUT_KVM();
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(
        husk_imports_funcs(imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "host", .type = &type, .fn = host_returns},
                           1, &err),
        err);
}

static void end(void) {
    husk_imports_free(imports);
    husk_engine_unref(engine);
}

static bool is_zero_page(const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* The builder's image as a file whose pages of zeros are holes. */
static int sparse_file(struct image_builder *builder) {
    size_t count;
    uint8_t *bytes = builder_finish(builder, &count);
    builder_done(builder);
    int fd = memfd_create("sparse", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)count) == 0);
    for (size_t at = 0; at < count; at += HUSK_PAGE_SIZE) {
        const size_t part = count - at < HUSK_PAGE_SIZE ? count - at : HUSK_PAGE_SIZE;
        if (!is_zero_page(bytes + at, part))
            CHECK(pwrite(fd, bytes + at, part, (off_t)at) == (ssize_t)part);
    }
    free(bytes);
    return fd;
}

static husk_image *open_sparse(struct image_builder *builder, bool verify) {
    husk_image *image = NULL;
    int fd = sparse_file(builder);
    CHECK_OK(husk_image_open_fd(engine, fd, verify ? NULL : SKIP_HASH, &image, &err), err);
    close(fd);
    return image;
}

/* Memory that the file has. */
static uint64_t spent_bytes(const husk_image *image) {
    struct stat st;
    CHECK(fstat(image->code->file->fd, &st) == 0);
    return (uint64_t)st.st_blocks * 512;
}

static void build_touch(struct image_builder *builder) {
    static const uint8_t zeros[HUSK_PAGE_SIZE];
    uint8_t *rodata = calloc(1, RODATA_BYTES);
    CHECK(rodata != NULL);
    rodata[1] = 1; /* a hole in the middle */
    rodata[RODATA_BYTES - HUSK_PAGE_SIZE] = 7;
    builder_init(builder);
    builder->module.entry_gva = HUSK_TEXT_GVA;
    builder->module.resume_gva = gva_of(il_resume);
    const size_t text_bytes = (size_t)(il_text_end - il_text);
    builder_segment(builder, HUSK_TEXT_GVA, PF_R | PF_X, il_text, text_bytes, text_bytes);
    builder_segment(builder, HUSK_TEXT_GVA + HUSK_PAGE_SIZE, PF_R, rodata, RODATA_BYTES,
                    RODATA_BYTES);
    builder_segment(builder, HUSK_DATA_GVA, PF_R | PF_W, zeros, sizeof zeros, sizeof zeros);
    const uint32_t type = builder_type(builder, ">", gva_of(il_thunk));
    builder_export(builder, "touch", HUSK_ABI_FUNC,
                   builder_func(builder, type, gva_of(il_touch), 1, "touch"));
    free(rodata);
}

TEST(holes_of_the_read_only_half_stay_holes) {
    struct image_builder builder;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    husk_sandbox *sandbox = NULL;
    begin();
    build_touch(&builder);
    husk_image *image = open_sparse(&builder, true);
    build_touch(&builder);
    husk_image *again = open_sparse(&builder, false);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &sandbox, &err), err);
    CHECK_OK(husk_call(sandbox, CALL(.name = "touch"), &outcome, &err), err);
    CHECK_MSG(outcome.kind == HUSK_RETURNED, "%s", outcome.message);
    CHECK_OK(husk_sandbox_restore(sandbox, again, &err), err); /* compares the two */
    printf("  %u KiB of memory for %u MiB of rodata\n", (unsigned)(spent_bytes(image) >> 10),
           (unsigned)(RODATA_BYTES >> 20));
    CHECK(spent_bytes(image) <= MIB / 4 && spent_bytes(again) <= MIB / 4);
    husk_image *snapshot = NULL;
    char path[] = "/tmp/husk-limits-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_OK(husk_sandbox_snapshot(sandbox, &snapshot, &err), err);
    CHECK_OK(husk_image_save(snapshot, path, &err), err);
    unlink(path);
    close(fd);
    CHECK(spent_bytes(image) <= MIB / 4 && spent_bytes(again) <= MIB / 4);
    husk_sandbox_free(sandbox);
    husk_image_unref(snapshot);
    husk_image_unref(image);
    husk_image_unref(again);
    end();
}

#define TABLES 2000u

TEST(size_words_in_holes_stay_there) {
    struct image_builder builder;
    begin();
    guest_image_build(&builder);
    const uint64_t start = HUSK_DATA_GVA + MIB;
    for (uint64_t i = 0; i < TABLES; i++) {
        const struct husk_image_table table = {.max_entries = 0,
                                               .elem_type = HUSK_ABI_FUNCREF,
                                               .base_gva = HUSK_DATA_GVA,
                                               .size_gva = (uint32_t)(start + i * HUSK_PAGE_SIZE)};
        builder_row(&builder, HUSK_REC_TABLES, &table, sizeof table);
    }
    struct builder_segment memory = builder.segments[builder.segments_count - 1];
    CHECK(memory.gva == HUSK_MEM0_GVA);
    builder.segments_count--;
    const size_t bytes = (TABLES + 1) * HUSK_PAGE_SIZE;
    uint8_t *contents = calloc(1, bytes);
    CHECK(contents != NULL);
    contents[bytes - 1] = 1; /* so that the zeros before it are in the file */
    builder_segment(&builder, start, PF_R | PF_W, contents, bytes, bytes);
    builder.segments[builder.segments_count++] = memory;
    free(contents);
    husk_image *image = open_sparse(&builder, true);
    CHECK_MSG(spent_bytes(image) <= MIB, "%llu bytes of memory",
              (unsigned long long)spent_bytes(image));
    husk_image_unref(image);
    end();
}

TEST(holes_of_the_note_are_refused) {
    static const uint8_t zeros[MIB];
    struct image_builder builder;
    husk_image *image = NULL;
    begin();
    guest_image_build(&builder);
    for (unsigned i = 0; i < 32; i++)
        buf_append(&builder.records[HUSK_REC_STRINGS], zeros, sizeof zeros);
    int fd = sparse_file(&builder);
    CHECK_STATUS(husk_image_open_fd(engine, fd, SKIP_HASH, &image, &err), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(err.message, "hole");
    close(fd);
    end();
}

/* Files of older versions have a SHA-256, which takes half a second for each GiB of zeros. */
TEST(holes_are_not_hashed_without_end) {
    struct image_builder builder;
    husk_image *image = NULL;
    size_t count;
    begin();
    guest_image_build(&builder);
    uint8_t *bytes = builder_finish(&builder, &count);
    builder_done(&builder);
    memset(image_note_find(bytes, count) + offsetof(struct husk_image_header, content_hash), 0, 16);
    int fd = memfd_create("sparse", MFD_CLOEXEC);
    CHECK(fd >= 0 && file_write_all(fd, bytes, count) == 0);
    free(bytes);
    CHECK(ftruncate(fd, 8ll << 30) == 0);
    CHECK_STATUS(husk_image_open_fd(engine, fd, NULL, &image, &err), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(err.message, "holes");
    CHECK_OK(husk_image_open_fd(engine, fd, SKIP_HASH, &image, &err), err);
    husk_image_unref(image);
    close(fd);
    end();
}

static double cpu_seconds(void) {
    struct timespec now;
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* 4 MiB that are there. */
static double dense_seconds(void) {
    struct content_hash hash;
    uint8_t *bytes = calloc(4, MIB);
    int fd = memfd_create("dense", MFD_CLOEXEC);
    CHECK(bytes != NULL && fd >= 0 && file_write_all(fd, bytes, 4 * MIB) == 0);
    const double from = cpu_seconds();
    CHECK_EQ_I64(content_hash_read(fd, 4 * MIB, &hash), 0);
    const double seconds = cpu_seconds() - from;
    content_hash_done(&hash);
    close(fd);
    free(bytes);
    return seconds;
}

/* The hash of a piece of zeros is known, so any number of them takes little time: less than so many
 * times that of 4 MiB, where it is 3,840 times as much. */
#define HOLES_MOST 400

TEST(holes_are_hashed_quickly) {
    struct image_builder builder;
    husk_image *image = NULL;
    begin();
    guest_image_build(&builder);
    int fd = sparse_file(&builder);
    CHECK(ftruncate(fd, 15ll << 30) == 0);
    const double from = cpu_seconds();
    CHECK_STATUS(husk_image_open_fd(engine, fd, NULL, &image, &err), HUSK_E_BAD_IMAGE);
    const double seconds = cpu_seconds() - from;
    CHECK_CONTAINS(err.message, "do not match its hash");
    CHECK(seconds < HOLES_MOST * dense_seconds());
    close(fd);
    end();
}

/* The image of guest_image.h with a data region of so many zeros, for so much of
 * memory_max_bytes. */
static int make_with_data(uint64_t data_bytes, uint64_t memory_max_bytes, husk_image **ret_image,
                          husk_sandbox **ret_sandbox) {
    struct image_builder builder;
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    size_t count;
    options.memory_max_bytes = memory_max_bytes;
    guest_image_build(&builder);
    for (uint32_t i = 0; i < builder.segments_count; i++)
        if (builder.segments[i].gva == HUSK_DATA_GVA)
            builder.segments[i].mem_bytes += data_bytes;
    uint8_t *bytes = builder_finish(&builder, &count);
    builder_done(&builder);
    CHECK_OK(
        husk_image_open_buffer(engine, (struct husk_buffer){bytes, count}, NULL, ret_image, &err),
        err);
    free(bytes);
    return husk_sandbox_new(*ret_image, imports, &options, ret_sandbox, &err);
}

TEST(zeros_of_the_data_region_count_as_memory) {
    static const struct {
        uint64_t data_bytes, memory_max_bytes;
        bool fits;
    } rows[] = {{0, 65536, true},     {65536, 65536, true},        {255 * MIB, 65536, false},
                {255 * MIB, 0, true}, {64 * MIB, 32 * MIB, false}, {16 * MIB, 32 * MIB, true}};
    begin();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        husk_image *image = NULL;
        husk_sandbox *sandbox = NULL;
        int status = make_with_data(rows[i].data_bytes, rows[i].memory_max_bytes, &image, &sandbox);
        CHECK_MSG(status == (rows[i].fits ? 0 : HUSK_E_LIMIT), "row %zu: %d", i, status);
        if (!rows[i].fits)
            CHECK_CONTAINS(err.message, "memory_max_bytes");
        husk_sandbox_free(sandbox);
        husk_image_unref(image);
    }
    end();
}

/* One page at first, three at most; the limit leaves room for two. */
TEST(growing_finds_what_the_data_region_left) {
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    begin();
    CHECK_OK(make_with_data(64 * MIB, 0, &image, &sandbox), err);
    const uint64_t excess = image->code->data_excess_bytes;
    CHECK(excess > 63 * MIB && excess < 64 * MIB);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    CHECK_OK(make_with_data(64 * MIB, excess + 2 * HUSK_WASM_PAGE_SIZE, &image, &sandbox), err);
    const int64_t expected[] = {1, -1};
    for (int i = 0; i < 2; i++) {
        struct husk_value arg = {.type = HUSK_I64, .of.i64 = 1}, result = {.type = HUSK_I64};
        struct husk_outcome outcome = HUSK_OUTCOME_INIT;
        CHECK_OK(husk_call(sandbox,
                           CALL(.name = "grow", .args = &arg, .args_count = 1, .results = &result,
                                .results_count = 1),
                           &outcome, &err),
                 err);
        CHECK_EQ_I64(outcome.kind, HUSK_RETURNED);
        CHECK_EQ_I64(result.of.i64, expected[i]);
    }
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    end();
}

TEST_MAIN()
