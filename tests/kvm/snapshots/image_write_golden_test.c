/*
 * tests/kvm/snapshots/image_write_golden_test.c: image files of earlier versions still open, give
 * the same information, and run. Or they are refused, and the message says what to do. See
 * tests/golden.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "harness.h"
#include "husk.h"
#include "last_backtrace.h"
#include "literals.h"

#define GOLDEN HUSK_TEST_SOURCE_DIR "/tests/golden/"
#define TINY GOLDEN "v2-tiny.husk"
#define HASHED GOLDEN "v2-hash-tiny.husk" /* the same, with today's hash */
#define SNAPSHOT GOLDEN "v2-snapshot.husk"
#define FILES GOLDEN "v2-files.husk"

static void check_opens(const char *path) {
    struct husk_error err;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    husk_image *image = NULL;
    CHECK_OK(husk_image_open(NULL, path, NULL, &image, &err), err);
    husk_image_info(image, &info);
    CHECK_STR(info.module_name, "tiny");
    CHECK_STR(info.target_cpu, "x86-64-v2");
    CHECK_EQ_U64(info.functions_count, 6);
    CHECK_EQ_U64(husk_image_imports_count(image), 1);
    CHECK_EQ_U64(husk_image_exports_count(image), 5);
    husk_func func;
    struct husk_functype type;
    CHECK_OK(husk_image_func(image, "answer", 0, &func, &err), err);
    CHECK_OK(husk_image_func_type(image, func, &type, &err), err);
    CHECK(type.params_count == 1 && type.results_count == 1);
    husk_image_unref(image);
}

TEST(tiny_opens) {
    check_opens(TINY);
    check_opens(HASHED);
}

/* By the hash, whichever it is; damage before it in the headers may be called something else. */
static void check_damage(const char *path) {
    struct husk_error err;
    uint8_t *bytes;
    size_t count;
    CHECK_OK(file_read(path, 1 << 20, &bytes, &count, &err), err);
    for (size_t at = 0; at < count; at += at < 4096 ? 1 : 97) {
        husk_image *image = NULL;
        bytes[at] ^= 0x10;
        int status =
            husk_image_open_buffer(NULL, (struct husk_buffer){bytes, count}, NULL, &image, &err);
        CHECK_MSG(status == HUSK_E_BAD_IMAGE || (at < 4096 && status == HUSK_E_IMAGE_VERSION),
                  "%s: byte %zu: status %d", path, at, status);
        if (at >= 4096)
            CHECK_CONTAINS(err.message, "do not match its hash");
        husk_image_unref(image);
        bytes[at] ^= 0x10;
    }
    free(bytes);
}

TEST(damage_is_found) {
    check_damage(TINY);
    check_damage(HASHED);
}

static int add_one(husk_caller *caller, void *user, const struct husk_value *args,
                   struct husk_value *results) {
    (void)caller;
    (void)user;
    results[0].of.i32 = args[0].of.i32 + 1;
    return 0;
}

static struct husk_outcome outcome = HUSK_OUTCOME_INIT;

static int32_t call(husk_sandbox *sandbox, const char *name, const int32_t *argument) {
    struct husk_error err;
    struct husk_value arg = {.type = HUSK_I32, .of.i32 = argument != NULL ? *argument : 0}, result;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = argument != NULL,
                            .results = &result, .results_count = 1),
                       &outcome, &err),
             err);
    return outcome.kind == HUSK_RETURNED ? result.of.i32 : -1;
}

/* An image without the routine: each call has an entry. */
static void call_many(husk_sandbox *sandbox) {
    struct husk_error err;
    struct husk_many three = {.size = sizeof three, .count = 3};
    const struct husk_value args[3] = {husk_i32(1), husk_i32(2), husk_i32(3)};
    struct husk_value results[3];
    for (int i = 0; i < 3; i++)
        CHECK(call(sandbox, "answer", &args[i].of.i32) != -1);
    CHECK_OK(husk_call_many(sandbox,
                            CALL(.name = "answer", .args = args, .args_count = 3,
                                 .results = results, .results_count = 3),
                            &three, &outcome, &err),
             err);
    CHECK_EQ_U64(three.returned, 3);
    for (int i = 0; i < 3; i++)
        CHECK_EQ_I64(results[i].of.i32, call(sandbox, "answer", &args[i].of.i32));
}

static void check_runs(const char *path) {
    struct husk_error err;
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    husk_imports *imports = NULL;
    husk_sandbox *sandbox = NULL;
    const husk_type i32 = HUSK_I32;
    const struct husk_functype unary = {
        .params = &i32, .params_count = 1, .results = &i32, .results_count = 1};
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_image_open(engine, path, NULL, &image, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(
        husk_imports_funcs(imports,
                           &(struct husk_host_func){
                               .module = "env", .name = "add_one", .type = &unary, .fn = add_one},
                           1, &err),
        err);
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    const int32_t number = 50, offset = 5;
    CHECK_EQ_I64(call(sandbox, "answer", &number), 101);
    CHECK_EQ_I64(call(sandbox, "byte", &offset), 'n');
    call(sandbox, "trap", NULL);
    CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_U64(outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
    const struct husk_backtrace backtrace = last_backtrace(sandbox);
    CHECK_EQ_U64(backtrace.frames_count, 2);
    CHECK_STR(backtrace.frames[0].func_name, "deep");
    struct husk_value calls;
    CHECK_OK(husk_global_get(sandbox, "calls", 0, &calls, &err), err);
    CHECK_EQ_I64(calls.of.i32, 1);
    call_many(sandbox);
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
    husk_image_unref(image);
    husk_engine_unref(engine);
}

TEST(tiny_runs) {
    SKIP_WITHOUT_KVM();
    check_runs(TINY);
    check_runs(HASHED);
}

/* Saved after init(41): memory and a table had grown, segments were dropped, a descriptor was
 * closed. */
TEST(snapshot_opens) {
    struct husk_error err;
    struct husk_image_info info = HUSK_IMAGE_INFO_INIT;
    husk_image *image = NULL;
    CHECK_OK(husk_image_open(NULL, SNAPSHOT, NULL, &image, &err), err);
    CHECK(husk_image_is_snapshot(image));
    husk_image_info(image, &info);
    CHECK_STR(info.module_name, "snapshot");
    CHECK_EQ_U64(info.memory_pages, 3);
    CHECK_EQ_U64(info.table_entries, 1203 + 4);
    CHECK(!info.needs_init);
    husk_image_unref(image);
}

static int64_t golden_call(husk_sandbox *sandbox, const char *name, int32_t argument,
                           husk_type type, size_t results_count) {
    static const char *const without[] = {"size", "next", "passive"};
    struct husk_error err;
    struct husk_value arg = {.type = HUSK_I32, .of.i32 = argument}, result = {.type = type};
    size_t args_count = 1;
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
        args_count = strcmp(name, without[i]) == 0 ? 0 : args_count;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &arg, .args_count = args_count,
                            .results = &result, .results_count = results_count),
                       &outcome, &err),
             err);
    return type == HUSK_I64 ? result.of.i64 : result.of.i32;
}

static void check_golden_snapshot(husk_sandbox *sandbox) {
    static const struct {
        const char *name;
        int32_t argument, result;
    } calls[] = {{"load", 64, 64},     {"load", 1064, 41},  {"load", 5000, 0x646c6f67},
                 {"load", 150000, 41}, {"load", 149996, 0}, {"size", 0, 1206},
                 {"call", 700, 2},     {"call", 1202, 3},   {"is_open", 1, 0},
                 {"is_open", 2, 8}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        int64_t result = golden_call(sandbox, calls[i].name, calls[i].argument, HUSK_I32, 1);
        CHECK_MSG(outcome.kind == HUSK_RETURNED && result == calls[i].result, "%s(%d): %lld",
                  calls[i].name, calls[i].argument, (long long)result);
    }
    CHECK_EQ_I64(golden_call(sandbox, "next", 0, HUSK_I64, 1), 42);
    golden_call(sandbox, "call", 0, HUSK_I32, 1);
    CHECK_EQ_U64(outcome.trap, HUSK_TRAP_UNINITIALIZED_ELEMENT);
    golden_call(sandbox, "passive", 0, HUSK_I32, 0);
    CHECK_EQ_U64(outcome.kind, HUSK_TRAPPED);
    golden_call(sandbox, "load", 3 * 65536 - 3, HUSK_I32, 1);
    CHECK_EQ_U64(outcome.trap, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

TEST(snapshot_runs) {
    SKIP_WITHOUT_KVM();
    struct husk_error err;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    husk_imports *imports = NULL;
    husk_sandbox *sandbox = NULL;
    wasi.stdout_fd = STDOUT_FILENO;
    wasi.stderr_fd = STDERR_FILENO;
    wasi.stdout_rights = wasi.stderr_rights = HUSK_WASI_WRITE;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_image_open(engine, SNAPSHOT, NULL, &image, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_wasi(imports, &wasi, &err), err);
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    check_golden_snapshot(sandbox);
    CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
    check_golden_snapshot(sandbox);
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
    husk_image_unref(image);
    husk_engine_unref(engine);
}

struct listing {
    char text[256];
    size_t used;
};

static int note_file(void *user, const struct husk_image_file *file) {
    struct listing *listing = user;
    listing->used += (size_t)snprintf(
        listing->text + listing->used, sizeof listing->text - listing->used, "%.*s %d %llu\n",
        (int)file->path_bytes, file->path, (int)file->kind, (unsigned long long)file->bytes);
    return 0;
}

/* Saved after init(65): a directory, a file with two names, a symbolic link, and an open file that
 * has no name any more. */
TEST(files_open) {
    struct husk_error err;
    struct listing listing = {.used = 0};
    husk_image *image = NULL;
    CHECK_OK(husk_image_open(NULL, FILES, NULL, &image, &err), err);
    CHECK_OK(husk_image_files(image, note_file, &listing, &err), err);
    CHECK_STR(listing.text, ". 1 0\ndir 1 0\ndir/file 0 5001\nname 0 5001\nsoft 2 8\n");
    husk_image_unref(image);
}

static int32_t files_read(husk_sandbox *sandbox, int32_t name, int32_t bytes) {
    struct husk_error err;
    const struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = name},
                                       {.type = HUSK_I32, .of.i32 = bytes}};
    struct husk_value result = {.type = HUSK_I32};
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = "read", .args = args, .args_count = 2, .results = &result,
                            .results_count = 1),
                       &outcome, &err),
             err);
    return result.of.i32;
}

TEST(files_are_read) {
    SKIP_WITHOUT_KVM();
    struct husk_error err;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    const struct husk_wasi_dir dir = {.kind = HUSK_WASI_DIR_MEM,
                                      .guest_path = "/work",
                                      .rights = HUSK_WASI_READ | HUSK_WASI_WRITE};
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    husk_imports *imports = NULL;
    husk_sandbox *sandbox = NULL;
    wasi.dirs = &dir;
    wasi.dirs_count = 1;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    CHECK_OK(husk_image_open(engine, FILES, NULL, &image, &err), err);
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_wasi(imports, &wasi, &err), err);
    CHECK_OK(husk_sandbox_new(image, imports, NULL, &sandbox, &err), err);
    for (int round = 0; round < 2; round++) {
        CHECK_EQ_I64(files_read(sandbox, 24, 8), 65); /* dir/file */
        CHECK_EQ_I64(files_read(sandbox, 40, 4), 65); /* name */
        CHECK_EQ_I64(files_read(sandbox, 56, 4), 65); /* soft */
        CHECK_EQ_I64(call(sandbox, "gone", NULL), 66);
        CHECK_OK(husk_sandbox_restore(sandbox, image, &err), err);
    }
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
    husk_image_unref(image);
    husk_engine_unref(engine);
}

TEST(format_1_is_refused) {
    static const char *const paths[] = {GOLDEN "v1-tiny.husk", GOLDEN "v1-snapshot.husk"};
    for (size_t i = 0; i < 4; i++) {
        struct husk_error err;
        husk_image *image = NULL;
        CHECK_STATUS(
            husk_image_open(NULL, paths[i / 2], i % 2 != 0 ? NULL : SKIP_HASH, &image, &err),
            HUSK_E_IMAGE_VERSION);
        CHECK_CONTAINS(err.message, "image format 1, ABI 1; this husk reads format 2, ABI 1");
        CHECK_CONTAINS(err.message, "of an older husk: use that husk, or compile the module again");
        CHECK(image == NULL);
    }
}

TEST_MAIN()
