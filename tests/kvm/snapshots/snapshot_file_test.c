/*
 * tests/kvm/snapshots/snapshot_file_test.c: snapshots as files: the errors for which a file is
 * refused, and their messages. A file that is opened without verification, whatever its contents,
 * leads to an outcome.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "harness.h"
#include "image_builder.h"
#include "image_records.h"
#include "wat.h"
#include "literals.h"

/* ---- A module that imports one of each kind ---- */

static const char module[] =
    "(module"
    " (import \"env\" \"twice\" (func $twice (param i32) (result i32)))"
    " (import \"env\" \"base\" (global $base i32))"
    " (import \"env\" \"counter\" (global $counter (mut i64)))"
    " (import \"env\" \"memory\" (memory 1 16))"
    " (import \"env\" \"table\" (table 4 funcref))"
    " (import \"wasi_snapshot_preview1\" \"fd_fdstat_get\" (func $stat (param i32 i32) (result "
    "i32)))"
    " (import \"wasi_unstable\" \"fd_close\" (func $close (param i32) (result i32)))"
    " (export \"memory\" (memory 0))"
    " (table $own 8 200 funcref)"
    " (elem (i32.const 0) $one) (elem declare func $one)"
    " (data (i32.const 5000) \"data behind the stack\")"
    " (func $one (result i32) i32.const 1)"
    " (func (export \"init\") (param i32) (result i32)"
    "   (i32.store (i32.const 64) (local.get 0)) (i32.store (i32.const 1064) (local.get 0))"
    "   (drop (memory.grow (i32.const 2))) (i32.store (i32.const 190000) (local.get 0))"
    "   (drop (table.grow $own (ref.func $one) (i32.const 100)))"
    "   (global.set $counter (i64.extend_i32_s (local.get 0)))"
    "   (call $close (i32.const 1)))"
    " (func (export \"sum\") (param i32) (result i32)"
    "   (i32.add (i32.add (i32.load (i32.const 64)) (i32.load (i32.const 190000)))"
    "     (i32.add (call $twice (local.get 0)) (i32.add (table.size $own)"
    "       (i32.add (global.get $base) (i32.wrap_i64 (global.get $counter)))))))"
    " (func (export \"close\") (param i32) (result i32) (call $close (local.get 0)))"
    " (func (export \"is_open\") (param i32) (result i32) (call $stat (local.get 0) (i32.const "
    "2048))))";

static int host_twice(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    (void)caller, (void)user;
    results[0].of.i32 = 2 * args[0].of.i32;
    return 0;
}

/* What a set defines otherwise than the module wants. */
enum change {
    CHANGE_NOTHING,
    CHANGE_NO_FUNC,
    CHANGE_FUNC_TYPE,
    CHANGE_FUNC_KIND,
    CHANGE_NO_GLOBAL,
    CHANGE_GLOBAL_TYPE,
    CHANGE_GLOBAL_CONST,
    CHANGE_NO_MEMORY,
    CHANGE_MEMORY_MAX,
    CHANGE_NO_TABLE,
    CHANGE_TABLE_TYPE,
    CHANGE_TABLE_MIN,
    CHANGE_NO_WASI,
    CHANGE_MEMORY_SMALL,
};

static void define_func(husk_imports *imports, enum change change, struct husk_error *err) {
    static const husk_type i32_type = HUSK_I32, i64_type = HUSK_I64;
    const struct husk_value one = value_i32(1);
    const struct husk_functype type = {change == CHANGE_FUNC_TYPE ? &i64_type : &i32_type, 1,
                                       &i32_type, 1};
    if (change == CHANGE_FUNC_KIND)
        CHECK_OK(husk_imports_define(imports, EXTERN(GLOBAL, "env", "twice", .type = one.type),
                                     &one, err),
                 *err);
    else if (change != CHANGE_NO_FUNC)
        CHECK_OK(husk_imports_funcs(
                     imports,
                     &(struct husk_host_func){
                         .module = "env", .name = "twice", .type = &type, .fn = host_twice},
                     1, err),
                 *err);
}

static husk_imports *make_imports(husk_engine *engine, enum change change) {
    struct husk_error err;
    husk_imports *imports = NULL;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    const struct husk_value base = value_i32(1000), counter = value_i64(5);
    wasi.stdout_fd = STDOUT_FILENO;
    wasi.stderr_fd = STDERR_FILENO;
    wasi.stdout_rights = wasi.stderr_rights = HUSK_WASI_WRITE;
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    define_func(imports, change, &err);
    if (change != CHANGE_NO_GLOBAL)
        CHECK_OK(husk_imports_define(
                     imports,
                     &(struct husk_extern){
                         .size = sizeof(struct husk_extern),
                         .kind = HUSK_EXTERN_GLOBAL,
                         .module = "env",
                         .name = "base",
                         .type = (change == CHANGE_GLOBAL_TYPE ? &counter : &base)->type},
                     change == CHANGE_GLOBAL_TYPE ? &counter : &base, &err),
                 err);
    CHECK_OK(husk_imports_define(imports,
                                 EXTERN(GLOBAL, "env", "counter", .type = counter.type,
                                        .is_mutable = change != CHANGE_GLOBAL_CONST),
                                 &counter, &err),
             err);
    if (change != CHANGE_NO_MEMORY)
        CHECK_OK(husk_imports_define(imports,
                                     EXTERN(MEMORY, "env", "memory", .min = 1, .has_max = true,
                                            .max = change == CHANGE_MEMORY_MAX     ? 17
                                                   : change == CHANGE_MEMORY_SMALL ? 2
                                                                                   : 16),
                                     NULL, &err),
                 err);
    if (change != CHANGE_NO_TABLE)
        CHECK_OK(husk_imports_define(
                     imports,
                     EXTERN(TABLE, "env", "table",
                            .type = change == CHANGE_TABLE_TYPE ? HUSK_EXTERNREF : HUSK_FUNCREF,
                            .min = change == CHANGE_TABLE_MIN ? 3 : 4),
                     NULL, &err),
                 err);
    if (change != CHANGE_NO_WASI)
        CHECK_OK(husk_imports_wasi(imports, &wasi, &err), err);
    return imports;
}

struct lab {
    struct wat_lab wat;
    char path[64];
    uint8_t *bytes; /* of the saved file */
    size_t count;
};

static void lab_open(struct lab *lab) {
    husk_image *snapshot = NULL;
    strcpy(lab->path, "/tmp/husk-file-XXXXXX");
    int fd = mkstemp(lab->path);
    CHECK(fd >= 0);
    close(fd);
    wat_lab_init(&lab->wat);
    husk_imports_free(lab->wat.imports);
    lab->wat.imports = make_imports(lab->wat.engine, CHANGE_NOTHING);
    wat_lab_open(&lab->wat, module, NULL);
    CHECK_EQ_I64(wat_call_i32(&lab->wat, "init", 7), 0);
    CHECK_OK(husk_sandbox_snapshot(lab->wat.sandbox, &snapshot, &lab->wat.err), lab->wat.err);
    CHECK_OK(husk_image_save(snapshot, lab->path, &lab->wat.err), lab->wat.err);
    husk_image_unref(snapshot);
    CHECK_OK(file_read(lab->path, 1 << 20, &lab->bytes, &lab->count, &lab->wat.err), lab->wat.err);
}

static void lab_close(struct lab *lab) {
    wat_lab_close(&lab->wat);
    unlink(lab->path);
    free(lab->bytes);
}

static husk_image *open_file(struct lab *lab) {
    husk_image *image = NULL;
    CHECK_OK(husk_image_open(lab->wat.engine, lab->path, NULL, &image, &lab->wat.err),
             lab->wat.err);
    return image;
}

static int64_t call_on(struct lab *lab, husk_sandbox *sandbox, const char *name, int32_t argument) {
    struct husk_value arg = value_i32(argument), result = value_i32(0);
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = 1, .results = &result,
                            .results_count = 1),
                       &lab->wat.outcome, &lab->wat.err),
             lab->wat.err);
    CHECK_MSG(lab->wat.outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->wat.outcome.message);
    return result.of.i32;
}

/* Imported memories, tables and globals are as they were; the state of WASI is one for both of its
 * names. */
TEST(a_file_goes_on_where_it_was) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    husk_sandbox *fresh = NULL;
    lab_open(&lab);
    husk_image *image = open_file(&lab);
    CHECK_OK(husk_sandbox_new(image, lab.wat.imports, NULL, &fresh, &lab.wat.err), lab.wat.err);
    for (int round = 0; round < 3; round++) {
        CHECK_EQ_I64(call_on(&lab, fresh, "sum", 50), 7 + 7 + 100 + 108 + 1000 + 7);
        CHECK_EQ_I64(call_on(&lab, fresh, "is_open", 1), 8); /* EBADF: closed by "wasi_unstable" */
        CHECK_EQ_I64(call_on(&lab, fresh, "is_open", 2), 0);
        CHECK_EQ_U64(husk_memory_bytes(fresh, 0), 3 * 65536);
        call_on(&lab, fresh, "init", round);
        CHECK_EQ_I64(call_on(&lab, fresh, "close", 2), 0); /* a restore opens it again */
        CHECK_EQ_I64(call_on(&lab, fresh, "is_open", 2), 8);
        CHECK_OK(husk_sandbox_restore(fresh, image, &lab.wat.err), lab.wat.err);
    }
    husk_sandbox_free(fresh);
    husk_image_unref(image);
    lab_close(&lab);
}

TEST(imports_that_are_missing_or_of_another_type) {
    SKIP_WITHOUT_COMPILER();
    static const struct {
        enum change change;
        const char *parts[3];
    } cases[] = {
        {CHANGE_NO_FUNC, {"unknown import", "function \"env.twice\"", "(i32) -> (i32)"}},
        {CHANGE_FUNC_TYPE,
         {"incompatible import type", "function \"env.twice\"", "(i64) -> (i32)"}},
        {CHANGE_FUNC_KIND, {"incompatible import type", "function \"env.twice\"", "global"}},
        {CHANGE_NO_GLOBAL, {"unknown import", "global \"env.base\"", "i32"}},
        {CHANGE_GLOBAL_TYPE, {"incompatible import type", "global \"env.base\"", "i64"}},
        {CHANGE_GLOBAL_CONST,
         {"incompatible import type", "global \"env.counter\"", "mutable i64"}},
        {CHANGE_NO_MEMORY, {"unknown import", "memory \"env.memory\"", "1 to 16 pages"}},
        {CHANGE_MEMORY_MAX, {"incompatible import type", "memory \"env.memory\"", "1 to 17 pages"}},
        {CHANGE_NO_TABLE, {"unknown import", "table \"env.table\"", "at least 4"}},
        {CHANGE_TABLE_TYPE, {"incompatible import type", "table \"env.table\"", "externref"}},
        {CHANGE_TABLE_MIN, {"incompatible import type", "table \"env.table\"", "at least 3"}},
        {CHANGE_NO_WASI, {"unknown import", "wasi_", "(i32"}},
    };
    struct lab lab;
    lab_open(&lab);
    husk_image *image = open_file(&lab);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        husk_imports *imports = make_imports(lab.wat.engine, cases[i].change);
        husk_sandbox *fresh = NULL;
        CHECK_STATUS(husk_sandbox_new(image, imports, NULL, &fresh, &lab.wat.err), HUSK_E_LINK);
        for (int k = 0; k < 3; k++)
            CHECK_CONTAINS(lab.wat.err.message, cases[i].parts[k]);
        CHECK_STATUS(husk_sandbox_load(lab.wat.sandbox, image, imports, &lab.wat.err), HUSK_E_LINK);
        CHECK_EQ_I64(call_on(&lab, lab.wat.sandbox, "sum", 50), 1229); /* as it was */
        CHECK(fresh == NULL);
        husk_imports_free(imports);
    }
    husk_image_unref(image);
    lab_close(&lab);
}

TEST(limits_that_are_too_small) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    lab_open(&lab);
    husk_image *image = open_file(&lab);
    for (int what = 0; what < 3; what++) {
        struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
        husk_imports *imports =
            make_imports(lab.wat.engine, what == 2 ? CHANGE_MEMORY_SMALL : CHANGE_NOTHING);
        static const char *const parts[] = {
            "the snapshot starts with 196608 bytes of linear memory",
            "the snapshot starts with 112 table entries",
            "memory 0 has 3 pages in the snapshot; the import given allows 2"};
        husk_sandbox *fresh = NULL;
        options.memory_max_bytes = what == 0 ? 3 * 65536 - 1 : 0;
        options.table_max_entries = what == 1 ? 111 : 0;
        CHECK_STATUS(husk_sandbox_new(image, imports, &options, &fresh, &lab.wat.err),
                     HUSK_E_LIMIT);
        CHECK_CONTAINS(lab.wat.err.message, parts[what]);
        CHECK(fresh == NULL);
        if (what == 2)
            CHECK_STATUS(husk_sandbox_load(lab.wat.sandbox, image, imports, &lab.wat.err),
                         HUSK_E_LIMIT);
        options.memory_max_bytes = what == 0 ? 3 * 65536 : 0;
        options.table_max_entries = what == 1 ? 112 : 0;
        CHECK_OK(husk_sandbox_new(image, lab.wat.imports, &options, &fresh, &lab.wat.err),
                 lab.wat.err);
        CHECK_EQ_I64(call_on(&lab, fresh, "sum", 50), 1229);
        husk_sandbox_free(fresh);
        husk_imports_free(imports);
    }
    husk_image_unref(image);
    lab_close(&lab);
}

/* ---- Other bytes ---- */

static void *record(const struct lab *lab, enum husk_image_record_id id, uint64_t *ret_count) {
    return image_note_rows(image_note_find(lab->bytes, lab->count), id, ret_count);
}

static int open_bytes(struct lab *lab, husk_engine *engine, husk_image **ret_image) {
    lab->wat.err = (struct husk_error){0};
    return husk_image_open_buffer(engine, (struct husk_buffer){lab->bytes, lab->count}, NULL,
                                  ret_image, &lab->wat.err);
}

TEST(cpu_features_that_are_missing) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    struct husk_host_info host = HUSK_HOST_INFO_INIT;
    husk_image *image = NULL;
    unsigned missing = 0, unknown = 63;
    lab_open(&lab);
    struct husk_image_module *properties = record(&lab, HUSK_REC_MODULE, NULL);
    husk_engine_host_info(lab.wat.engine, &host);
    while (missing < 64 &&
           ((host.cpu_features >> missing & 1) != 0 || husk_cpu_feature_name(missing) == NULL))
        missing++;
    for (unsigned i = 0; i < 2; i++) {
        const unsigned bit = i == 0 ? unknown : missing;
        if (bit == 64)
            continue; /* this CPU has all that there are */
        const uint64_t before = properties->cpu_features;
        properties->cpu_features |= 1ull << bit;
        image_hash_again(lab.bytes, lab.count);
        CHECK_STATUS(open_bytes(&lab, lab.wat.engine, &image), HUSK_E_CPU);
        CHECK_CONTAINS(lab.wat.err.message, i == 0 ? "does not know" : husk_cpu_feature_name(bit));
        if (i == 1) {
            CHECK_CONTAINS(lab.wat.err.message, "take the snapshot again");
            CHECK_OK(open_bytes(&lab, NULL, &image), lab.wat.err); /* to look at it */
            husk_image_unref(image);
        }
        properties->cpu_features = before;
    }
    image_hash_again(lab.bytes, lab.count);
    CHECK_OK(open_bytes(&lab, lab.wat.engine, &image), lab.wat.err);
    husk_image_unref(image);
    lab_close(&lab);
}

/* A call of whatever was opened may end in any way, but it ends. */
static void try_to_run(struct lab *lab, husk_image *image) {
    struct husk_limits options = HUSK_LIMITS_INIT;
    husk_sandbox *sandbox = NULL;
    options.cpu_ns = 50u * 1000 * 1000;
    options.wall_ns = 500u * 1000 * 1000;
    struct husk_sandbox_options limits = HUSK_SANDBOX_OPTIONS_INIT;
    limits.memory_max_bytes = 64u << 20;
    if (husk_sandbox_new(image, lab->wat.imports, &limits, &sandbox, &lab->wat.err) != 0) {
        CHECK(lab->wat.err.message[0] != '\0' && sandbox == NULL);
        return;
    }
    static const char *const names[] = {"sum", "init", "is_open"};
    for (int i = 0; i < 3; i++) {
        struct husk_value arg = value_i32(50), result = value_i32(0);
        int status = husk_call(sandbox,
                               CALL(.name = names[i], .args = &arg, .args_count = 1,
                                    .results = &result, .results_count = 1, .limits = &options),
                               &lab->wat.outcome, &lab->wat.err);
        CHECK_MSG(status == 0 || lab->wat.err.message[0] != '\0', "%s: %d", names[i], status);
        if (status == HUSK_E_POISONED)
            CHECK_OK(husk_sandbox_restore(sandbox, image, &lab->wat.err), lab->wat.err);
    }
    husk_sandbox_free(sandbox);
}

/* One byte changed: never opened if verified; else refused, or run. */
static void flip(struct lab *lab, size_t at, uint8_t bits) {
    husk_image *image = NULL;
    lab->bytes[at] ^= bits;
    int status = open_bytes(lab, lab->wat.engine, &image);
    CHECK_MSG((status == HUSK_E_BAD_IMAGE || status == HUSK_E_IMAGE_VERSION) && image == NULL,
              "byte 0x%zx ^ %u: status %d", at, bits, status);
    CHECK(lab->wat.err.message[0] != '\0');
    if (husk_image_open_buffer(lab->wat.engine, (struct husk_buffer){lab->bytes, lab->count},
                               SKIP_HASH, &image, &lab->wat.err) == 0) {
        try_to_run(lab, image);
        husk_image_unref(image);
    }
    lab->bytes[at] ^= bits;
}

/* Some bytes of a part, the first and the last among them. */
static void flip_in(struct lab *lab, size_t start, size_t count) {
    static const uint8_t bits[] = {0x01, 0x80, 0x10, 0x04};
    const size_t step = count / 5 + 1;
    for (size_t at = 0, i = 0; at < count; at += step, i++)
        flip(lab, start + at, bits[i % 4]);
    if (count > 1)
        flip(lab, start + count - 1, 0x40);
}

TEST(damage_anywhere) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    Elf64_Ehdr ehdr;
    husk_image *image = NULL;
    lab_open(&lab);
    memcpy(&ehdr, lab.bytes, sizeof ehdr);
    flip_in(&lab, 0, sizeof ehdr);
    for (unsigned i = 0; i < ehdr.e_phnum; i++) {
        Elf64_Phdr header;
        const size_t at = ehdr.e_phoff + i * sizeof header;
        memcpy(&header, lab.bytes + at, sizeof header);
        flip_in(&lab, at, sizeof header);
        flip_in(&lab, header.p_offset, header.p_filesz);
    }
    const size_t note_at = (size_t)(image_note_find(lab.bytes, lab.count) - lab.bytes);
    flip_in(&lab, note_at, sizeof(struct husk_image_header));
    for (uint32_t i = 0; i < HUSK_REC_COUNT; i++) {
        uint64_t rows_count = 0;
        uint8_t *rows = record(&lab, i, &rows_count);
        flip_in(&lab,
                note_at + sizeof(struct husk_image_header) + i * sizeof(struct husk_image_record),
                sizeof(struct husk_image_record));
        if (rows != NULL)
            flip_in(&lab, (size_t)(rows - lab.bytes), rows_count * image_record_kinds[i].row_bytes);
    }
    flip_in(&lab, ehdr.e_shoff, lab.count - ehdr.e_shoff);
    CHECK_OK(open_bytes(&lab, lab.wat.engine, &image), lab.wat.err); /* every byte is back */
    husk_image_unref(image);
    CHECK_EQ_I64(call_on(&lab, lab.wat.sandbox, "sum", 50), 1229);
    lab_close(&lab);
}

/* What is cut off behind the segments are symbols: those nobody needs to run it. */
TEST(truncated_anywhere) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    Elf64_Ehdr ehdr;
    Elf64_Phdr last;
    husk_image *image = NULL;
    lab_open(&lab);
    memcpy(&ehdr, lab.bytes, sizeof ehdr);
    memcpy(&last, lab.bytes + ehdr.e_phoff + (ehdr.e_phnum - 1u) * sizeof last, sizeof last);
    const size_t whole = lab.count, needed = last.p_offset + last.p_filesz;
    for (size_t cut = 0; cut < whole; cut += cut < 1024 || whole - cut < 1024 ? 1 : 97) {
        lab.count = cut;
        CHECK_STATUS(open_bytes(&lab, lab.wat.engine, &image), HUSK_E_BAD_IMAGE);
        CHECK(lab.wat.err.message[0] != '\0');
        int status = husk_image_open_buffer(lab.wat.engine, (struct husk_buffer){lab.bytes, cut},
                                            SKIP_HASH, &image, &lab.wat.err);
        CHECK_MSG((status == 0) == (cut >= needed), "cut at %zu of %zu: %d", cut, whole, status);
        if (status == 0)
            husk_image_unref(image);
        else if (cut > ehdr.e_phoff + ehdr.e_phnum * sizeof last)
            CHECK_CONTAINS(lab.wat.err.message, "truncated");
    }
    lab.count = whole;
    lab_close(&lab);
}

/* Sizes that are within the module's limits, and not what the memory has: that is the guest's
 * affair. */
TEST(sizes_that_lie) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    husk_image *image = NULL;
    lab_open(&lab);
    uint8_t *sizes = record(&lab, HUSK_REC_MEMORY_SIZES, NULL);
    const uint64_t more = 16, beyond = 17;
    memcpy(sizes, &beyond, 8);
    image_hash_again(lab.bytes, lab.count);
    CHECK_STATUS(open_bytes(&lab, lab.wat.engine, &image), HUSK_E_BAD_IMAGE);
    CHECK_CONTAINS(lab.wat.err.message, "memory 0: its size is outside its limits");
    memcpy(sizes, &more, 8);
    image_hash_again(lab.bytes, lab.count);
    CHECK_OK(open_bytes(&lab, lab.wat.engine, &image), lab.wat.err);
    husk_sandbox *fresh = NULL;
    CHECK_OK(husk_sandbox_new(image, lab.wat.imports, NULL, &fresh, &lab.wat.err), lab.wat.err);
    CHECK_EQ_U64(husk_memory_bytes(fresh, 0), 16 * 65536);
    CHECK_EQ_I64(call_on(&lab, fresh, "sum", 50), 1229);
    husk_sandbox_free(fresh);
    husk_image_unref(image);
    lab_close(&lab);
}

/* The state of WASI is checked when it is brought back: nothing is made of it then. */
TEST(host_state_that_is_damaged) {
    SKIP_WITHOUT_COMPILER();
    struct lab lab;
    lab_open(&lab);
    uint8_t *state = record(&lab, HUSK_REC_HOST_STATE, NULL);
    CHECK(state != NULL);
    uint8_t *rows[] = {state + 4, state + 16,
                       state + 16 + 40 + 8}; /* its size; its version; the first stream */
    static const int statuses[] = {HUSK_E_BAD_IMAGE, HUSK_E_IMAGE_VERSION, HUSK_E_BAD_IMAGE};
    for (int i = 0; i < 3; i++) {
        husk_image *image = NULL;
        husk_sandbox *fresh = NULL;
        const uint8_t before = *rows[i];
        *rows[i] = 77;
        image_hash_again(lab.bytes, lab.count);
        int status = open_bytes(&lab, lab.wat.engine, &image);
        if (status == 0) {
            status = husk_sandbox_load(lab.wat.sandbox, image, lab.wat.imports, &lab.wat.err);
            /* it holds what it held */
            CHECK_EQ_I64(call_on(&lab, lab.wat.sandbox, "sum", 50), 1229);
            CHECK_EQ_I64(husk_sandbox_new(image, lab.wat.imports, NULL, &fresh, &lab.wat.err),
                         status);
            CHECK_CONTAINS(lab.wat.err.message, "wasi");
        }
        CHECK_MSG(status == statuses[i] && fresh == NULL, "%d: status %d: %s", i, status,
                  lab.wat.err.message);
        husk_image_unref(image);
        *rows[i] = before;
    }
    lab_close(&lab);
}

TEST_MAIN()
