/*
 * The contents of compiled image files, byte by byte where it matters: segments, initial memory,
 * globals, tables, the note. Also readelf's view, reproducibility, and that libhusk accepts the
 * file.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exception.h"
#include "harness.h"
#include "husk_compile.h"
#include "image_builder.h"
#include "image_records.h"
#include "layout.h"
#include "wat.h"

struct file {
    int fd;
    uint8_t *bytes;
    size_t count;
    struct husk_image_module module;
    uint8_t *note;
};

static struct husk_compile_options options_of(int opt_level, uint32_t threads) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    options.opt_level = opt_level;
    options.cpu = "x86-64-v2";
    options.threads = threads;
    return options;
}

static struct file file_of(int fd) {
    struct stat st;
    struct file file = {.fd = fd};
    CHECK(fstat(file.fd, &st) == 0);
    file.count = (size_t)st.st_size;
    file.bytes = mmap(NULL, file.count, PROT_READ, MAP_PRIVATE, file.fd, 0);
    CHECK(file.bytes != MAP_FAILED);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)file.bytes;
    const Elf64_Phdr *first = (const Elf64_Phdr *)(const void *)(file.bytes + header->e_phoff);
    CHECK_EQ_U64(first->p_type, PT_NOTE);
    file.note = file.bytes + first->p_offset + 20;
    memcpy(&file.module, image_note_rows(file.note, HUSK_REC_MODULE, NULL), sizeof file.module);
    return file;
}

static struct file compile_with(const uint8_t *wasm, size_t count, int opt_level,
                                uint32_t threads) {
    const struct husk_compile_options options = options_of(opt_level, threads);
    struct husk_error err;
    int fd = -1;
    CHECK_OK(husk_compile(wasm, count, &options, &fd, &err), err);
    return file_of(fd);
}

static struct file compile(const char *wat) {
    if (wat_missing(WAT_WORKER) != NULL)
        SKIP("%s", wat_missing(WAT_WORKER));
    size_t count;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    struct file file = compile_with(wasm, count, 2, 1);
    free(wasm);
    return file;
}

static void file_close(struct file *file) {
    munmap(file->bytes, file->count);
    close(file->fd);
}

/* The segment that holds this address, or NULL. */
static const Elf64_Phdr *segment_at(const struct file *file, uint64_t gva) {
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)file->bytes;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(const void *)(file->bytes + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && gva >= segments[i].p_vaddr &&
            gva < segments[i].p_vaddr + segments[i].p_memsz)
            return &segments[i];
    return NULL;
}

/* `count` bytes of the instance's initial state. */
static uint64_t initial(const struct file *file, uint64_t gva, size_t count) {
    const Elf64_Phdr *segment = segment_at(file, gva);
    uint64_t value = 0;
    CHECK_MSG(segment != NULL, "nothing at 0x%llx", (unsigned long long)gva);
    if (gva - segment->p_vaddr + count <= segment->p_filesz)
        memcpy(&value, file->bytes + segment->p_offset + (gva - segment->p_vaddr), count);
    return value;
}

static const void *row(const struct file *file, enum husk_image_record_id id, uint32_t idx) {
    uint64_t count = 0;
    const uint8_t *rows = image_note_rows(file->note, id, &count);
    CHECK(idx < count);
    return rows + idx * image_record_kinds[id].row_bytes;
}

TEST(initial_memory) {
    struct file file =
        compile("(module (memory 200)"
                " (data (i32.const 10) \"abcdef\") (data (i32.const 12) \"XY\") (data (i32.const "
                "12) \"\\00\")"
                " (data (i32.const 65535) \"\\01\\02\")"
                " (data (i32.const 10000000) \"far\") (data (i32.const 13107196) \"last\"))");
    CHECK_EQ_U64(initial(&file, HUSK_MEM0_GVA + 10, 8),
                 0x666559006261ull); /* "ab" 0 "Y" "ef": later ones win */
    CHECK_EQ_U64(initial(&file, HUSK_MEM0_GVA + 65535, 2), 0x0201);
    CHECK_EQ_U64(initial(&file, HUSK_MEM0_GVA + 10000000, 4), 0x726166);
    CHECK_EQ_U64(initial(&file, HUSK_MEM0_GVA + 13107196, 4), 0x7473616c);
    CHECK(segment_at(&file, HUSK_MEM0_GVA + 200 * 65536) == NULL);
    CHECK_MSG(file.count < 300000, "gaps of megabytes are not in the file, which has %zu bytes",
              file.count);
    CHECK((file.module.flags & HUSK_IMAGE_NEEDS_INIT) == 0);
    file_close(&file);
}

TEST(globals_tables_and_sizes) {
    struct file file =
        compile("(module (import \"m\" \"g\" (global i32)) (memory 3 9) (table $t 4 100 "
                "funcref) (table $u 2 2 externref)"
                " (global i64 (i64.const 0x1122334455667788)) (global (mut f32) (f32.const "
                "1.5)) (global funcref (ref.func $b))"
                " (global i32 (i32.const -7))"
                " (elem (table $t) (i32.const 1) func $a $b) (elem func $b) (data \"passive\")"
                " (func $a) (func $b (param i32)))");
    const struct husk_image_global *g1 = row(&file, HUSK_REC_GLOBALS, 1),
                                   *g2 = row(&file, HUSK_REC_GLOBALS, 2);
    const struct husk_image_global *g3 = row(&file, HUSK_REC_GLOBALS, 3),
                                   *g4 = row(&file, HUSK_REC_GLOBALS, 4);
    const struct husk_image_func *a = row(&file, HUSK_REC_FUNCS, 0),
                                 *b = row(&file, HUSK_REC_FUNCS, 1);
    const struct husk_image_table *t = row(&file, HUSK_REC_TABLES, 0);
    const struct husk_image_memory *memory = row(&file, HUSK_REC_MEMORIES, 0);
    CHECK_EQ_U64(initial(&file, g1->gva, 8), 0x1122334455667788);
    CHECK_EQ_U64(initial(&file, g2->gva, 8), 0x3fc00000);
    CHECK_EQ_U64(g2->flags, HUSK_GLOBAL_MUTABLE);
    CHECK_EQ_U64(initial(&file, g4->gva, 8), 0xfffffff9);
    uint64_t ref_a = (uint64_t)(a->type_idx + 1) << 32 | a->code_gva,
             ref_b = (uint64_t)(b->type_idx + 1) << 32 | b->code_gva;
    CHECK_EQ_U64(initial(&file, g3->gva, 8), ref_b);
    CHECK_EQ_U64(t->reserve_entries, 100);
    CHECK_EQ_U64(t->base_gva % HUSK_PAGE_SIZE, 0);
    CHECK_EQ_U64(initial(&file, t->base_gva, 8), 0);
    CHECK_EQ_U64(initial(&file, t->base_gva + 8, 8), ref_a);
    CHECK_EQ_U64(initial(&file, t->base_gva + 16, 8), ref_b);
    CHECK_EQ_U64(initial(&file, t->base_gva + 24, 8), 0);
    CHECK_EQ_U64(initial(&file, t->size_gva, 8), 4);
    CHECK_EQ_U64(initial(&file, memory->size_gva, 8), 3);
    CHECK_EQ_U64(memory->max_pages, 9);
    file_close(&file);
}

static bool has_text(const struct file *file, const char *text) {
    return memmem(file->bytes, file->count, text, strlen(text)) != NULL;
}

/* Two tags; an exception of the second has three values. A rethrown catch_all takes references. */
static const char exceptions_wat[] =
    "(module (import \"env\" \"far\" (tag (param i32)))"
    "  (tag (export \"near\") (param i64 v128 f32))"
    "  (func (export \"f\") (try (do (throw 0 (i32.const 1))) (catch_all (rethrow 0)))))";

TEST(exceptions) {
    struct file file = compile(exceptions_wat);
    const struct husk_image_module *module = &file.module;
    const struct husk_image_import *import = row(&file, HUSK_REC_IMPORTS, 0);
    const struct husk_image_export *export = row(&file, HUSK_REC_EXPORTS, 0);
    const struct husk_image_tag *tag = row(&file, HUSK_REC_TAGS, 1);
    CHECK(import->kind == HUSK_ABI_TAG && import->idx == 0);
    CHECK(export->kind == HUSK_ABI_TAG && export->idx == 1);
    const struct husk_image_type *type = row(&file, HUSK_REC_TYPES, tag->type_idx);
    CHECK_EQ_U64(type->params_count, 3);
    CHECK_EQ_U64(module->exception_values, 3);
    CHECK_EQ_U64(module->exception_gva % HUSK_SLOT_BYTES, 0);
    CHECK(segment_at(&file, module->exception_gva) == segment_at(&file, HUSK_DATA_GVA));
    CHECK(segment_at(&file, module->throw_gva) == segment_at(&file, HUSK_TEXT_GVA));
    const Elf64_Phdr *slots = segment_at(&file, module->exception_slots_gva);
    CHECK(slots != NULL);
    CHECK_EQ_U64(slots->p_vaddr, module->exception_slots_gva);
    CHECK_EQ_U64(slots->p_filesz, 0);
    CHECK_EQ_U64(slots->p_memsz, HUSK_EXCEPTION_SLOTS * 4 * HUSK_SLOT_BYTES);
    CHECK(has_text(&file, "husk.throw_ref"));
    file_close(&file);
}

/* Only programs with exceptions pay for them. */
TEST(no_exceptions) {
    struct file file = compile("(module (memory 1) (func (export \"f\")))");
    CHECK(file.module.throw_gva == 0 && file.module.exception_gva == 0);
    const struct husk_image_routines *routines = row(&file, HUSK_REC_ROUTINES, 0);
    CHECK(segment_at(&file, routines->many_gva) == segment_at(&file, HUSK_TEXT_GVA));
    CHECK(segment_at(&file, routines->bytes_gva) == segment_at(&file, HUSK_TEXT_GVA));
    CHECK(file.module.exception_values == 0 && file.module.exception_slots_gva == 0);
    uint64_t tags_count = 0;
    image_note_rows(file.note, HUSK_REC_TAGS, &tags_count);
    CHECK_EQ_U64(tags_count, 0);
    CHECK(!has_text(&file, "husk.throw"));
    file_close(&file);
}

TEST(what_must_wait_is_marked) {
    struct file start = compile("(module (func $s) (start $s))");
    CHECK((start.module.flags & HUSK_IMAGE_NEEDS_INIT) != 0 && start.module.init_gva != 0 &&
          start.module.init_thunk_gva != 0);
    file_close(&start);
    struct file beyond = compile("(module (memory 1) (data (i32.const 65530) \"too long\"))");
    CHECK((beyond.module.flags & HUSK_IMAGE_NEEDS_INIT) != 0);
    CHECK_EQ_U64(initial(&beyond, HUSK_MEM0_GVA + 65530, 4), 0);
    file_close(&beyond);
}

TEST(edges) {
    struct file empty = compile("(module)");
    struct husk_error err;
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_fd(NULL, empty.fd, NULL, &image, &err), err);
    husk_image_unref(image);
    file_close(&empty);
    struct file none = compile("(module (memory 0) (table 0 funcref) (data (i32.const 0) \"\"))");
    CHECK(segment_at(&none, HUSK_MEM0_GVA) == NULL);
    image = NULL;
    CHECK_OK(husk_image_open_fd(NULL, none.fd, NULL, &image, &err), err);
    husk_image_unref(image);
    file_close(&none);
    struct file full = compile("(module (memory 65536) (data (i32.const 0xfffffffe) \"ab\"))");
    CHECK_EQ_U64(initial(&full, HUSK_MEM0_GVA + 0xfffffffeull, 2), 0x6261);
    CHECK(full.count < 100000);
    file_close(&full);
}

/* Threads and chance must not decide what comes out: the cache and signatures of images rest on
 * it. */
TEST(same_input_same_image) {
    if (wat_missing(WAT_WORKER) != NULL)
        SKIP("%s", wat_missing(WAT_WORKER));
    char wat[20000] = "(module (memory 1)";
    size_t used = strlen(wat);
    for (int i = 0; i < 60; i++)
        used += (size_t)snprintf(wat + used, sizeof wat - used,
                                 "(func (export \"f%d\") (param i32) (result i32) local.get 0 "
                                 "i32.load i32.const %d i32.mul"
                                 " call %d)",
                                 i, i * 77 + 1, (i * 7 + 3) % 60);
    snprintf(wat + used, sizeof wat - used, ")");
    size_t count;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    struct file first = compile_with(wasm, count, 2, 1);
    for (uint32_t threads = 1; threads <= 4; threads += 3) {
        struct file again = compile_with(wasm, count, 2, threads);
        CHECK_EQ_U64(again.count, first.count);
        CHECK_MSG(memcmp(again.bytes, first.bytes, first.count) == 0,
                  "another image with %u threads", threads);
        file_close(&again);
    }
    file_close(&first);
    free(wasm);
}

/* Does a function have a call (e8 rel32) of another one? */
static bool calls(const struct file *file, uint32_t caller_idx, uint32_t callee_idx) {
    const struct husk_image_func *caller = row(file, HUSK_REC_FUNCS, caller_idx),
                                 *callee = row(file, HUSK_REC_FUNCS, callee_idx);
    for (uint32_t i = 0; i + 5 <= caller->code_bytes; i++) {
        const uint32_t at = caller->code_gva + i;
        if (initial(file, at, 1) == 0xe8 &&
            at + 5 + (uint32_t)initial(file, at + 1, 4) == callee->code_gva)
            return true;
    }
    return false;
}

/* $pad is more than a chunk, so the others are in two chunks. */
TEST(small_functions_are_inlined_across_chunks) {
    if (wat_missing(WAT_WORKER) != NULL)
        SKIP("%s", wat_missing(WAT_WORKER));
    enum { PAD = 70000 };
    static const char head[] =
        "(module (memory 1) (func $get (export \"get\") (param i32) (result i32)"
        " (i32.load offset=4 (local.get 0)))"
        " (func $outer (param i32) (result i32) (call $get (i32.add (local.get 0) (i32.const 8))))"
        " (func $pad",
                      tail[] = ") (func (export \"run\") (param i32) (result i32)"
                               " (i32.mul (call $outer (local.get 0)) (call $get (i32.const 4)))))";
    char *wat = malloc(sizeof head + 4 * PAD + sizeof tail);
    CHECK(wat != NULL);
    strcpy(wat, head);
    for (size_t i = 0; i < PAD; i++)
        memcpy(wat + sizeof head - 1 + 4 * i, " nop", 4);
    strcpy(wat + sizeof head - 1 + 4 * PAD, tail);
    size_t count;
    uint8_t *wasm = wat_to_wasm(wat, &count);
    for (int level = 0; level <= 3; level++) {
        struct file file = compile_with(wasm, count, level == 0 ? HUSK_OPT_NONE : level, 1);
        uint64_t inlined = 0;
        image_note_rows(file.note, HUSK_REC_INLINED_CALLS, &inlined);
        CHECK_EQ_U64(calls(&file, 3, 1), level == 0);
        CHECK_EQ_U64(calls(&file, 3, 0), level == 0);
        CHECK_EQ_U64(calls(&file, 1, 0), level == 0);
        CHECK_EQ_U64(inlined, level == 0 ? 0 : 4); /* $get in $outer, and all three in run */
        file_close(&file);
    }
    free(wat);
    free(wasm);
}

/* A call from one instance to a small function of another is none in the code. */
TEST(small_functions_are_inlined_across_instances) {
    if (wat_missing(WAT_WORKER) != NULL)
        SKIP("%s", wat_missing(WAT_WORKER));
    struct husk_module modules[2] = {{.name = "lib"}, {.name = "main"}};
    uint8_t *lib = wat_to_wasm("(module (memory 1) (func (export \"get\") (param i32) (result i32)"
                               " (i32.load offset=4 (local.get 0))))",
                               &modules[0].count);
    uint8_t *main_wasm = wat_to_wasm(
        "(module (import \"lib\" \"get\" (func $get (param i32) (result i32)))"
        " (func (export \"run\") (param i32) (result i32) (i32.mul (call $get (i32.const 8))"
        "  (call $get (local.get 0)))))",
        &modules[1].count);
    modules[0].wasm = lib;
    modules[1].wasm = main_wasm;
    for (int level = 0; level <= 3; level++) {
        const struct husk_compile_options options =
            options_of(level == 0 ? HUSK_OPT_NONE : level, 1);
        struct husk_error err;
        uint64_t inlined = 0;
        int fd = -1;
        CHECK_OK(husk_compile_linked(modules, 2, &options, &fd, &err), err);
        struct file file = file_of(fd);
        image_note_rows(file.note, HUSK_REC_INLINED_CALLS, &inlined);
        CHECK_EQ_U64(calls(&file, 1, 0), level == 0);
        CHECK_EQ_U64(inlined, level == 0 ? 0 : 2);
        file_close(&file);
    }
    free(lib);
    free(main_wasm);
}

TEST(libhusk_opens_it) {
    struct file file = compile(
        "(module $named (import \"env\" \"h\" (func (param i32))) (memory (export \"memory\") 1)"
        " (func (export \"f\") (param i32 f64) (result i64) i64.const 0))");
    struct husk_error err;
    husk_image *image = NULL;
    CHECK_OK(husk_image_open_fd(NULL, file.fd, NULL, &image, &err), err);
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    husk_image_info(image, &info);
    CHECK_STR(info.module_name, "named");
    CHECK_STR(info.target_cpu, "x86-64-v2");
    CHECK_CONTAINS(info.compiler, "LLVM");
    CHECK_EQ_I64(info.opt_level, 2);
    CHECK_EQ_U64(info.functions_count, 2);
    CHECK_EQ_U64(husk_image_imports_count(image), 1);
    CHECK_EQ_U64(husk_image_exports_count(image), 2);
    husk_image_unref(image);
    uint8_t *copy = malloc(file.count);
    CHECK(copy != NULL);
    memcpy(copy, file.bytes, file.count);
    copy[file.count / 2] ^= 1;
    image = NULL;
    CHECK_STATUS(
        husk_image_open_buffer(NULL, (struct husk_buffer){copy, file.count}, NULL, &image, &err),
        HUSK_E_BAD_IMAGE);
    free(copy);
    file_close(&file);
}

TEST(readelf_likes_it) {
    if (access("/usr/bin/readelf", X_OK) != 0)
        SKIP("no readelf (Debian package binutils)");
    struct file file = compile(
        "(module (memory 1) (table 3 9 funcref) (elem (i32.const 0) $f) (data (i32.const 5) \"x\")"
        " (global (mut i32) (i32.const 5)) (func $f (export \"f\") (result f64) f64.const 3.25))");
    char command[128], line[512], all[65536] = "";
    snprintf(command, sizeof command, "LC_ALL=C readelf -a -W /proc/%d/fd/%d 2>&1", (int)getpid(),
             file.fd);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    while (fgets(line, sizeof line, pipe) != NULL)
        if (strlen(all) + strlen(line) < sizeof all)
            strcat(all, line);
    CHECK(pclose(pipe) == 0);
    CHECK_MSG(strstr(all, "Warning") == NULL && strstr(all, "Error") == NULL,
              "readelf complains:\n%s", all);
    CHECK_CONTAINS(all, "EXEC (Executable file)");
    CHECK_CONTAINS(all, " husk.entry");
    CHECK_CONTAINS(all, ".memory.0");
    file_close(&file);
}

TEST_MAIN()
