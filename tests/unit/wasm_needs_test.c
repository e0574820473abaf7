/*
 * tests/unit/wasm_needs_test.c: the message for a refused module names all proposals that the
 * module needs, and how to build without them. The message for a file that is not a module names
 * its kind.
 */
#include "husk_compile.h"
#include "needs.h"
#include "wasm_writer.h"

/* (type (func)), (func), and what is given; each section's contents. */
struct parts {
    struct bytes types, imports, tables, memories, globals, tags, code;
};

static void put_part(struct bytes *wasm, unsigned id, const struct bytes *part) {
    if (part->count != 0)
        put_section(wasm, id, part);
    free(part->data);
}

static int judge_features(struct parts *parts, wasm_features_t enabled, struct husk_error *err) {
    struct bytes wasm = {0}, funcs = {0};
    put_header(&wasm);
    if (parts->types.count == 0)
        PUT(&parts->types, 1, 0x60, 0, 0);
    if (parts->code.count != 0)
        PUT(&funcs, parts->code.data[0], 0, 0, 0);
    funcs.count = parts->code.count != 0 ? 1u + parts->code.data[0] : 0;
    put_part(&wasm, 1, &parts->types);
    put_part(&wasm, 2, &parts->imports);
    put_part(&wasm, 3, &funcs);
    put_part(&wasm, 4, &parts->tables);
    put_part(&wasm, 5, &parts->memories);
    put_part(&wasm, 13, &parts->tags);
    put_part(&wasm, 6, &parts->globals);
    put_part(&wasm, 10, &parts->code);
    struct wasm_module *module = NULL;
    int status = husk_validate(wasm.data, wasm.count, err);
    if (status == 0) {
        CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, err), *err);
        CHECK_OK(wasm_validate(module, err), *err);
        status = wasm_check_supported(module, enabled, err);
        wasm_module_free(module);
    }
    free(wasm.data);
    return status;
}

/* As if the compiler supported none of them, whichever of them it does. */
#define UNSUPPORTED                                                                                \
    (WASM_FEATURE_BIT(EXCEPTIONS) | WASM_FEATURE_BIT(LEGACY_EXCEPTIONS) |                          \
     WASM_FEATURE_BIT(THREADS) | WASM_FEATURE_BIT(TAIL_CALLS) | WASM_FEATURE_BIT(MEMORY64) |       \
     WASM_FEATURE_BIT(GC))

static int judge_parts(struct parts *parts, struct husk_error *err) {
    return judge_features(parts, WASM_FEATURES_ALL & ~UNSUPPORTED, err);
}

#define CHECK_NEEDS(parts, expected)                                                               \
    do {                                                                                           \
        struct husk_error err = {0};                                                               \
        CHECK_EQ_I64(judge_parts(&(parts), &err), HUSK_E_UNSUPPORTED);                             \
        CHECK_CONTAINS(err.message, " at offset 0x");                                              \
        CHECK_CONTAINS(err.message, expected);                                                     \
    } while (0)

TEST(one_proposal_and_how_to_do_without) {
    struct parts parts = {0};
    PUT(&parts.code, 1, 4, 0, 0x12, 0, 0x0b); /* return_call 0 */
    CHECK_NEEDS(parts, "; the module needs tail calls: build it without (clang -mno-tail-call)");
}

/* Of several bodies. */
TEST(every_body_is_looked_at) {
    struct parts parts = {0};
    PUT(&parts.memories, 1, 0, 1);
    PUT(&parts.tags, 1, 0, 0);
    PUT(&parts.code, 3,                                         /* three bodies */
        7, 0, 0x06, 0x40, 0x08, 0, 0x0b, 0x0b,                  /* try (throw 0) end */
        9, 1, 1, 0x7b, 0x20, 0, 0x1a, 0x12, 0, 0x0b,            /* a v128 local; return_call */
        11, 0, 0x41, 0, 0x41, 1, 0xfe, 0x1e, 2, 0, 0x1a, 0x0b); /* i32.atomic.rmw.add */
    CHECK_NEEDS(parts, "the module needs exception handling, legacy exception handling, "
                       "threads and tail calls: build it without (clang -fno-exceptions");
}

TEST(two_are_joined_by_and) {
    struct parts parts = {0};
    PUT(&parts.memories, 1, 3, 1, 1); /* shared */
    PUT(&parts.code, 1, 9, 0, 0x41, 0, 0xfd, 0x0f, 0x1a, 0x12, 0, 0x0b);
    CHECK_NEEDS(parts, "the module needs threads and tail calls: build it without (without "
                       "-pthread; clang -mno-atomics; clang -mno-tail-call)");
    struct parts memory64 = {0};
    PUT(&memory64.memories, 1, 4, 1);
    PUT(&memory64.code, 1, 5, 0, 0xd0, 0x70, 0x1a, 0x0b);
    CHECK_NEEDS(memory64, "the module needs memory64: build it without (for wasm32;");
}

TEST(types_imports_and_tables) {
    struct parts gc = {0};
    PUT(&gc.types, 2, 0x60, 0, 0, 0x4e, 2, 0x50, 0, 0x5f, 1, 0x7b, 1, 0x5e, 0x78,
        0); /* rec: struct v128, array i8 */
    CHECK_NEEDS(gc, "the module needs garbage collection");
    struct parts tag = {0};
    /* a tag, a shared memory */
    PUT(&tag.imports, 2, 1, 'm', 1, 't', 4, 0, 0, 1, 'm', 1, 'x', 2, 3, 1, 1);
    CHECK_NEEDS(tag, "the module needs exception handling and threads: ");
    struct parts refs = {0};
    PUT(&refs.tables, 2, 0x6e, 0, 1, 0x70, 4, 1); /* anyref; funcref with i64 indices */
    CHECK_NEEDS(refs, "the module needs memory64 and garbage collection");
    struct parts global = {0};
    PUT(&global.globals, 2, 0x7b, 0, 0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x0b, 0x69, 0, 0xd0, 0x69, 0x0b); /* v128, exnref */
    CHECK_NEEDS(global, "the module needs exception handling: ");
}

TEST(what_is_not_lowered_is_not_supported_yet) {
    struct husk_error err = {0};
    struct parts gc = {0};
    PUT(&gc.types, 2, 0x60, 0, 0, 0x5f, 1, 0x7f, 1); /* struct i32 */
    CHECK_EQ_I64(judge_features(&gc, WASM_FEATURES_ALL, &err), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "not supported yet at offset 0x");
}

TEST(a_disabled_feature_is_refused_by_name) {
    struct husk_error err = {0};
    struct bytes wasm = {0};
    struct wasm_module *module = NULL;
    put_header(&wasm);
    PUT(&wasm, 5, 5, 2, 0, 1, 0, 1); /* two memories */
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    CHECK_OK(wasm_validate(module, &err), err);
    CHECK_OK(wasm_check_supported(module, WASM_FEATURES_ALL, &err), err);
    CHECK_EQ_I64(
        wasm_check_supported(module, WASM_FEATURES_ALL & ~WASM_FEATURE_BIT(MULTI_MEMORY), &err),
        HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "uses multiple memories (a second memory), which is disabled at "
                                "offset 0xd; the module needs multiple memories");
    wasm_module_free(module);
    free(wasm.data);
}

static void check_disabled(struct parts *parts, wasm_features_t features, const char *expected) {
    struct husk_error err = {0};
    CHECK_EQ_I64(judge_features(parts, WASM_FEATURES_ALL & ~features, &err),
                 expected != NULL ? HUSK_E_UNSUPPORTED : 0);
    if (expected != NULL)
        CHECK_CONTAINS(err.message, expected);
}

TEST(blocks_and_value_types_count_as_uses) {
    struct parts index = {0};
    PUT(&index.code, 1, 5, 0, 0x02, 0, 0x0b, 0x0b); /* block (type 0) */
    check_disabled(&index, WASM_FEATURE_BIT(MULTI_VALUE), "(a block with a type index)");
    struct parts ref = {0};
    PUT(&ref.code, 1, 8, 0, 0x02, 0x70, 0xd0, 0x70, 0x0b, 0x1a, 0x0b); /* block (result funcref) */
    check_disabled(&ref, WASM_FEATURE_BIT(MULTI_VALUE), NULL);
    struct parts param = {0};
    PUT(&param.types, 1, 0x60, 1, 0x70, 0);
    check_disabled(&param, WASM_FEATURE_BIT(REFTYPES), "(funcref as a value type)");
    struct parts table = {0};
    PUT(&table.tables, 1, 0x70, 0, 1);
    check_disabled(&table, WASM_FEATURE_BIT(REFTYPES), NULL);
}

TEST(supported_and_invalid_modules_are_not_told_of_needs) {
    struct husk_error err = {0};
    struct parts parts = {0};
    PUT(&parts.code, 1, 5, 0, 0x41, 0, 0x0b, 0); /* a value too many */
    CHECK(judge_parts(&parts, &err) != HUSK_E_UNSUPPORTED);
    CHECK(strstr(err.message, "the module needs") == NULL);
}

/* ---- what is no module ---- */

static void check_foreign(const void *bytes, size_t count, const char *expected) {
    struct husk_error err = {0};
    CHECK_EQ_I64(husk_validate(bytes, count, &err), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "magic header not detected: this is ");
    CHECK_CONTAINS(err.message, expected);
    CHECK_EQ_U64(err.offset, 0);
}
#define CHECK_FOREIGN(bytes, expected) check_foreign(bytes, sizeof(bytes) - 1, expected)

TEST(other_files_are_named) {
    CHECK_FOREIGN("\x28\xb5\x2f\xfd\x04", "zstd -d FILE");
    CHECK_FOREIGN("\x1f\x8b\x08", "gzip -d FILE");
    CHECK_FOREIGN("\xfd"
                  "7zXZ",
                  "xz -d FILE");
    CHECK_FOREIGN("BZh91AY", "bzip2 -d FILE");
    CHECK_FOREIGN("PK\x03\x04", "zip archive");
    CHECK_FOREIGN("\x7f"
                  "ELF\x02",
                  "an ELF file");
    CHECK_FOREIGN("!<arch>\n", "library of object files");
    CHECK_FOREIGN("BC\xc0\xde", "LLVM bitcode");
    CHECK_FOREIGN("AGFzbQEAAAA=", "base64 -d FILE");
    CHECK_FOREIGN("version https://git-lfs.github.com/spec/v1\n", "git lfs pull");
    CHECK_FOREIGN("(module)", "WebAssembly text");
    CHECK_FOREIGN("\xef\xbb\xbf ;; text\n(; (; ;)\n (module)", "WebAssembly text");
    CHECK_FOREIGN("// made by emscripten\n/* and */ var Module = {}", "JavaScript");
    CHECK_FOREIGN("export default 1", "JavaScript");
    CHECK_FOREIGN("<!DOCTYPE html>", "a web page");
    char tar[512] = {0};
    memcpy(tar + 257, "ustar", 5);
    check_foreign(tar, sizeof tar, "tar archive");
}

TEST(unknown_files_are_not_named) {
    CHECK_FOREIGN("hello", "not WebAssembly (5 bytes)");
    CHECK_FOREIGN("variable", "not WebAssembly (8 bytes)");
    CHECK_FOREIGN("/* never ended", "not WebAssembly");
}

TEST_MAIN()
