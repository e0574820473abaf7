/*
 * tests/unit/wasm_interface_test.c: husk_wasm_interface(): imports and exports of modules that are
 * not validated.
 */
#include "husk_compile.h"
#include "wasm_writer.h"

struct seen {
    int imports, exports;
    char last[64];
    size_t last_bytes;
    size_t params;
};

static void see(void *user, bool is_import, const struct husk_extern *item) {
    struct seen *seen = user;
    seen->imports += is_import;
    seen->exports += !is_import;
    seen->last_bytes = item->name_bytes;
    memcpy(seen->last, item->name, item->name_bytes + 1);
    seen->params = item->kind == HUSK_EXTERN_FUNC ? item->func.params_count : 99;
    CHECK((item->module != NULL) == is_import);
}

/* One type (i32, i64) -> (), one function of type `type_idx`, an import section and an export
 * section of one item each, and a body. */
static struct bytes module_with(const struct bytes *imports, const struct bytes *exports,
                                unsigned type_idx) {
    struct bytes wasm = {0}, part = {0};
    put_header(&wasm);
    PUT(&part, 1, 0x60, 2, 0x7f, 0x7e, 0);
    put_section(&wasm, 1, &part);
    if (imports->count != 0)
        put_section(&wasm, 2, imports);
    part.count = 0;
    PUT(&part, 1, 0);
    part.data[1] = (uint8_t)type_idx;
    put_section(&wasm, 3, &part);
    if (exports->count != 0)
        put_section(&wasm, 7, exports);
    part.count = 0;
    /* drops what is not there: malformed for the validator only */
    PUT(&part, 1, 4, 0, 0x1a, 0x1a, 0x0b);
    put_section(&wasm, 10, &part);
    free(part.data);
    return wasm;
}

static int interface_of(const struct bytes *imports, const struct bytes *exports, unsigned type_idx,
                        struct seen *seen, struct husk_error *err) {
    struct bytes wasm = module_with(imports, exports, type_idx);
    *seen = (struct seen){0};
    CHECK(husk_validate(wasm.data, wasm.count, NULL) != 0);
    int status = husk_wasm_interface(wasm.data, wasm.count, see, seen, err);
    free(wasm.data);
    return status;
}

TEST(bodies_are_not_looked_at) {
    struct bytes imports = {0}, exports = {0};
    struct seen seen;
    struct husk_error err;
    PUT(&imports, 1, 1, 'm', 3, 'a', 0, 'b', 0, 0); /* m.a\0b, function of type 0 */
    PUT(&exports, 1, 2, 'f', 'g', 0, 1);
    CHECK_EQ_I64(interface_of(&imports, &exports, 0, &seen, &err), 0);
    CHECK_EQ_I64(seen.imports, 1);
    CHECK_EQ_I64(seen.exports, 1);
    CHECK_STR(seen.last, "fg");
    CHECK_EQ_U64(seen.params, 2);
    struct bytes none = {0};
    CHECK_EQ_I64(interface_of(&imports, &none, 0, &seen, &err), 0);
    CHECK_EQ_U64(seen.last_bytes, 3);
    CHECK(memcmp(seen.last, "a\0b", 4) == 0);
    free(imports.data);
    free(exports.data);
}

TEST(indices_that_do_not_exist_are_refused_before_anything_is_visited) {
    static const struct {
        uint8_t import_type, export_kind, export_idx, func_type;
    } cases[] = {{7, 0, 1, 0}, {0, 0, 2, 0}, {0, 1, 0, 0},
                 {0, 2, 0, 0}, {0, 3, 0, 0}, {0, 0, 1, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes imports = {0}, exports = {0};
        struct seen seen;
        struct husk_error err;
        PUT(&imports, 1, 1, 'm', 1, 'f', 0, cases[i].import_type);
        PUT(&exports, 1, 1, 'e', cases[i].export_kind, cases[i].export_idx);
        CHECK_EQ_I64(interface_of(&imports, &exports, cases[i].func_type, &seen, &err),
                     HUSK_E_INVALID_WASM);
        CHECK_EQ_I64(seen.imports + seen.exports, 0);
        CHECK_CONTAINS(err.message, i == 0 ? "the import \"f\"" : "the export \"e\"");
        CHECK(err.offset != HUSK_NO_OFFSET);
        free(imports.data);
        free(exports.data);
    }
}

TEST(what_cannot_be_decoded_is_an_error) {
    struct seen seen = {0};
    struct husk_error err;
    CHECK_EQ_I64(husk_wasm_interface("\0asm\1\0\0\0\1", 9, see, &seen, &err), HUSK_E_BAD_WASM);
    CHECK_EQ_I64(husk_wasm_interface("text", 4, see, &seen, &err), HUSK_E_BAD_WASM);
    CHECK_EQ_I64(husk_wasm_interface(NULL, 4, see, &seen, &err), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_wasm_interface("\0asm\1\0\0\0", 8, NULL, &seen, &err), HUSK_E_INVAL);
    CHECK_EQ_I64(husk_wasm_interface("\0asm\1\0\0\0", 8, see, &seen, &err), 0);
    CHECK_EQ_I64(seen.imports + seen.exports, 0);
}

/* Type 0 takes (ref 9), type 1 is a struct; an import of this kind and type. */
static void check_refused(const uint8_t *import, size_t count) {
    struct bytes wasm = {0}, part = {0};
    struct seen seen = {0};
    struct husk_error err;
    put_header(&wasm);
    PUT(&part, 2, 0x60, 1, 0x64, 9, 0, 0x5f, 1, 0x78, 1);
    put_section(&wasm, 1, &part);
    part.count = 0;
    PUT(&part, 1, 1, 'm', 1, 'f');
    put(&part, import, count);
    put_section(&wasm, 2, &part);
    CHECK_EQ_I64(husk_wasm_interface(wasm.data, wasm.count, see, &seen, &err), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "the import \"f\" has a type that does not exist");
    CHECK_EQ_I64(seen.imports, 0);
    free(part.data);
    free(wasm.data);
}

TEST(types_that_do_not_exist_are_refused) {
    static const uint8_t takes_unknown[] = {0, 0}, is_struct[] = {0, 1};
    static const uint8_t table[] = {1, 0x63, 0xbf, 0x84, 0x3d, 0, 0}; /* (ref null 999999) */
    static const uint8_t global[] = {3, 0x63, 0xbf, 0x84, 0x3d, 0};
    check_refused(takes_unknown, sizeof takes_unknown);
    check_refused(is_struct, sizeof is_struct);
    check_refused(table, sizeof table);
    check_refused(global, sizeof global);
}

TEST_MAIN()
