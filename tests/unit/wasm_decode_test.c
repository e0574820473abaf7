/*
 * The decoder, the validator and the printer on hand-made modules: their results and messages.
 * Hostile ones: wasm_hostile_test.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "module.h"
#include "print.h"
#include "wasm_writer.h"

/* ---- what a module keeps ---- */

TEST(keeps_what_the_module_says) {
    struct bytes wasm = file_bytes("control");
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    CHECK_OK(wasm_validate(module, &err), err);
    CHECK_EQ_U64(module->imports_count, 2);
    CHECK_EQ_U64(module->imported_funcs_count, 1);
    CHECK_EQ_U64(module->funcs_count, 8);
    CHECK_EQ_U64(module->imported_globals_count, 1);
    CHECK_EQ_U64(module->globals_count, 2);
    CHECK(module->globals[1].is_mutable && module->globals[1].type == WASM_I64);
    CHECK_EQ_U64(module->memories[0].limits.max, 16);
    CHECK_EQ_U64(module->tables[0].limits.min, 4);
    CHECK(module->has_start && module->start_func_idx == 7);
    CHECK_EQ_U64(module->name.count, 7);
    CHECK_MEM(module->name.data, "control", 7);
    CHECK_MEM(module->funcs[2].name.data, "max", 3);
    const struct wasm_func *func = &module->funcs[4]; /* switch: i32 parameter, i32 f64 i32 */
    CHECK_EQ_U64(func->locals_count, 4);
    CHECK_EQ_U64(wasm_local_type(module, func, 0), WASM_I32);
    CHECK_EQ_U64(wasm_local_type(module, func, 2), WASM_F64);
    CHECK_EQ_U64(wasm_local_type(module, func, 3), WASM_I32);
    CHECK(module->funcs[1].is_declared && module->funcs[4].is_declared &&
          !module->funcs[3].is_declared);
    CHECK_EQ_U64(module->elems[0].count, 2);
    CHECK_EQ_U64(module->elems[0].func_idxs[1], 2);
    CHECK_EQ_U64(module->datas[0].bytes.count, 11);
    CHECK_MEM(wasm.data + module->datas[0].bytes.offset, "hello", 5);
    CHECK((module->used.set & WASM_FEATURE_BIT(SIMD)) == 0);
    wasm_module_free(module);
    free(wasm.data);
}

TEST(simd_is_noticed) {
    struct bytes wasm = file_bytes("simd");
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    CHECK_OK(wasm_validate(module, &err), err);
    CHECK((module->used.set & WASM_FEATURE_BIT(SIMD)) != 0);
    wasm_module_free(module);
    free(wasm.data);
}

TEST(equal_types_share_a_canonical_index) {
    struct bytes wasm = {0};
    struct bytes types = {0};
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    put_header(&wasm);
    PUT(&types, 5, 0x60, 1, 0x7f, 0, 0x60, 0, 1, 0x7f, 0x60, 1, 0x7f, 0, 0x60, 0, 0, 0x60, 0, 1,
        0x7f);
    put_section(&wasm, 1, &types);
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    static const uint32_t expected[5] = {0, 1, 0, 3, 1};
    for (uint32_t i = 0; i < 5; i++)
        CHECK_EQ_U64(module->types[i].canonical_idx, expected[i]);
    wasm_module_free(module);
    free(types.data);
    free(wasm.data);
}

/* Decoded, not pointers into the module's bytes. */
TEST(types_do_not_change_with_the_bytes) {
    struct bytes wasm = {0};
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    put_header(&wasm);
    PUT(&wasm, 1, 8, 1, 0x60, 3, 0x7f, 0x7b, 0x70, 1, 0x6f);
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    memset(wasm.data, 0x7c, wasm.count);
    static const valtype_t params[3] = {WASM_I32, WASM_V128, WASM_FUNCREF};
    CHECK_MEM(module->types[0].params, params, sizeof params);
    CHECK_EQ_U64(module->types[0].results[0], WASM_EXTERNREF);
    wasm_module_free(module);
    free(wasm.data);
}

/* A name section: garbage in it loses names, never the module. */
static void name_section(const struct bytes *subsections, struct bytes *ret_wasm) {
    struct bytes custom = {0};
    PUT(&custom, 4, 'n', 'a', 'm', 'e');
    put(&custom, subsections->data, subsections->count);
    *ret_wasm = (struct bytes){0};
    put_header(ret_wasm);
    PUT(ret_wasm, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 4, 1, 2, 0, 0x0b);
    put_section(ret_wasm, 0, &custom);
    free(custom.data);
}

TEST(bad_name_sections_are_ignored) {
    static const uint8_t good[] = {0, 2, 1, 'm', 1, 4, 1, 0, 1, 'f'};
    static const uint8_t bad_utf8[] = {1, 5, 1, 0, 2, 0xff, 0xff};
    static const uint8_t out_of_range[] = {1, 4, 1, 9, 1, 'f'};
    static const uint8_t lying[] = {1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0};
    static const struct {
        const uint8_t *data;
        size_t count;
        uint32_t name_count;
    } cases[] = {{good, sizeof good, 1},
                 {bad_utf8, sizeof bad_utf8, 0},
                 {out_of_range, sizeof out_of_range, 0},
                 {lying, sizeof lying, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes subsections = {0};
        struct bytes wasm;
        struct wasm_module *module = NULL;
        struct husk_error err = {0};
        put(&subsections, cases[i].data, cases[i].count);
        name_section(&subsections, &wasm);
        CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
        CHECK_EQ_U64(module->funcs[0].name.count, cases[i].name_count);
        CHECK_OK(wasm_validate(module, &err), err);
        wasm_module_free(module);
        free(wasm.data);
        free(subsections.data);
    }
}

/* ---- what is said ---- */

TEST(messages_say_what_and_where) {
    struct husk_error err = {0};
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0x43, 0, 0, 0, 0, 0x6a, 0x1a, 0x0b),
                 HUSK_E_INVALID_WASM);
    CHECK_STR(err.message, "type mismatch: i32.add needs i32, the stack holds f32 at offset 0x23 "
                           "(while validating function 0)");
    CHECK_EQ_U64(err.offset, 0x23);
    CHECK_STATUS(JUDGE_CODE(&err, 0x1a, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "drop needs a value, the stack is empty at offset 0x1c");
    CHECK_STATUS(JUDGE_CODE(&err, 0x10, 7, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "unknown function 7: call names it, there are 1");
    CHECK_STATUS(JUDGE_CODE(&err, 0x0b, 0x01), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "unexpected content after the last end");
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0x28, 3, 0, 0x1a, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "i32.load has 2^3, the access is 2^2 bytes");
    CHECK_STATUS(JUDGE_CODE(NULL, 0x1a, 0x0b), HUSK_E_INVALID_WASM);
}

TEST(later_proposals_are_refused_by_name) {
    struct husk_error err = {0};
    CHECK_STATUS(JUDGE_CODE(&err, 0xe0, 0, 0x0b), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message,
                   "uses stack switching (cont.new), not supported yet at offset 0x1c");
    CHECK_STATUS(JUDGE_CODE(&err, 0xfb, 0x22, 0, 0x0b), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "custom descriptors (ref.get_desc)");
    CHECK_STATUS(JUDGE_CODE(&err, 0xfd, 0x80, 0x02, 0x0b), HUSK_E_INVALID_WASM); /* relaxed SIMD */
    CHECK_STATUS(JUDGE_CODE(&err, 0xfd, 0x94, 0x02, 0x0b), HUSK_E_BAD_WASM);
    CHECK_STATUS(JUDGE_CODE(&err, 0xff, 0x0b), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "illegal opcode 0xff");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 1, 4, 1, 0x5d, 0, 0), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "uses stack switching (type form 0x5d)");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 1, 5, 1, 0x60, 1, 0x65, 0), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "uses shared-everything threads (value type 0x65)");
    CHECK_STATUS(JUDGE_CODE(&err, 0xfe, 0x72, 0x0b), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "uses shared-everything threads (ref.i31_shared)");
    CHECK_STATUS(JUDGE_CODE(&err, 0xfc, 0x12, 0, 0x0b), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "uses memory control (memory.discard)");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 2, 8, 1, 1, 'm', 0, 0x7f, 1, 0, 0), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "uses compact imports (import kind 0x7f)");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 2, 8, 1, 1, 'm', 1, 'n', 0x7f, 0, 0), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "malformed import kind 0x7f");
    static const uint8_t component[] = {0, 'a', 's', 'm', 0x0d, 0, 1, 0};
    struct wasm_module *module = NULL;
    CHECK_STATUS(wasm_decode(component, sizeof component, &module, &err), HUSK_E_UNSUPPORTED);
    CHECK_CONTAINS(err.message, "component");
}

TEST(limits_and_alignments_of_3_0) {
    struct husk_error err = {0};
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 3, 1, 4, 1), 0);
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 3, 1, 16, 1), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "malformed limits flags 0x10");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 4, 5, 1, 0x70, 3, 1, 1), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "malformed limits flags 0x03");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 3, 1, 2, 1), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "shared memory must have maximum");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 5, 4, 1, 8, 1, 12), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "invalid custom page size of 2^12 bytes");
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0x41, 0, 0xfe, 0x1e, 1, 0, 0x1a, 0x0b),
                 HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "atomic alignment must be natural: i32.atomic.rmw.add has 2^1");
    CHECK_STATUS(JUDGE_CODE(&err, 0xfe, 0x03, 1, 0x0b), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "zero byte expected");
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0x28, 2, 0x80, 0x80, 0x80, 0x80, 0x10, 0x1a, 0x0b),
                 HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "offset out of range: i32.load at +4294967296");
}

TEST(exceptions_are_nested_as_they_must_be) {
    struct husk_error err = {0};
    CHECK_STATUS(JUDGE_CODE(&err, 0x07, 0, 0x0b), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "END opcode expected: catch without try");
    CHECK_STATUS(JUDGE_CODE(&err, 0x06, 0x40, 0x19, 0x19, 0x0b, 0x0b), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "END opcode expected: catch_all without try");
    CHECK_STATUS(JUDGE_CODE(&err, 0x06, 0x40, 0x09, 0, 0x0b, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "invalid rethrow label 0");
    CHECK_STATUS(JUDGE_CODE(&err, 0x06, 0x40, 0x18, 0, 0x0b), 0);
    CHECK_STATUS(JUDGE_CODE(&err, 0x06, 0x40, 0x18, 1, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "unknown label 1: delegate names it, there are 1");
    CHECK_STATUS(JUDGE_CODE(&err, 0x1f, 0x40, 1, 2, 0, 0x0b, 0x0b), 0); /* catch_all 0 */
    CHECK_STATUS(JUDGE_CODE(&err, 0x1f, 0x40, 1, 3, 0, 0x0b, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "a catch clause of try_table has other values");
    CHECK_STATUS(JUDGE_CODE(&err, 0x1f, 0x40, 1, 4, 0, 0x0b, 0x0b), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "malformed catch clause 0x04");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 1, 5, 1, 0x60, 0, 1, 0x7f, 13, 3, 1, 0, 0),
                 HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "non-empty tag result type: type 0 of tag 0");
}

TEST(messages_name_types_as_the_text_format_does) {
    struct husk_error err = {0};
    /* ref.null 0, i32.eqz */
    CHECK_STATUS(JUDGE_CODE(&err, 0xd0, 0, 0x45, 0x1a, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "i32.eqz needs i32, the stack holds (ref null 0)");
    /* i32.const 0, ref.eq */
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0xd3, 0x1a, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "ref.eq needs eqref, the stack holds i32");
    /* i32.const 0, ref.i31, call_ref 0 */
    CHECK_STATUS(JUDGE_CODE(&err, 0x41, 0, 0xfb, 0x1c, 0x14, 0, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "call_ref needs (ref null 0), the stack holds (ref i31)");
    /* struct.new 0 */
    CHECK_STATUS(JUDGE_CODE(&err, 0xfb, 0, 0, 0x1a, 0x0b), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "struct.new needs a struct type, type 0 is a function");
}

TEST(additions_to_2_0_can_be_switched_off) {
    struct bytes wasm = file_bytes("bulk"); /* two memories, arithmetic in a constant expression */
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    CHECK_OK(wasm_validate(module, &err), err);
    CHECK_STATUS(wasm_validate_features(module, wasm_features_of_2_0(), &err), HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "multiple memories");
    wasm_module_free(module);
    free(wasm.data);
}

/* (global i32 (i32.const 1)) (global i32 (global.get N)) */
TEST(constants_may_use_earlier_globals) {
    struct husk_error err = {0};
    CHECK_STATUS(JUDGE_SECTIONS(&err, 6, 11, 2, 0x7f, 0, 0x41, 1, 0x0b, 0x7f, 0, 0x23, 0, 0x0b), 0);
    CHECK_STATUS(JUDGE_SECTIONS(&err, 6, 11, 2, 0x7f, 0, 0x41, 1, 0x0b, 0x7f, 0, 0x23, 1, 0x0b),
                 HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "unknown global 1");
    CHECK_STATUS(JUDGE_SECTIONS(&err, 6, 11, 2, 0x7f, 1, 0x41, 1, 0x0b, 0x7f, 0, 0x23, 0, 0x0b),
                 HUSK_E_INVALID_WASM);
    CHECK_CONTAINS(err.message, "global 0 is mutable");
    static const uint8_t wasm[] = {0,    'a', 's',  'm', 1,    0,    0, 0,    6, 11,  2,
                                   0x7f, 0,   0x41, 1,   0x0b, 0x7f, 0, 0x23, 0, 0x0b};
    struct wasm_module *module = NULL;
    CHECK_OK(wasm_decode(wasm, sizeof wasm, &module, &err), err);
    CHECK_STATUS(wasm_validate_features(module, wasm_features_of_2_0(), &err), HUSK_E_INVALID_WASM);
    wasm_module_free(module);
}

/* ---- every instruction ---- */

/* A type that fits the instruction, of those in module_with_op(). */
static unsigned type_for(enum wasm_op op) {
    switch (op) {
    case WASM_OP_CALL_REF:
    case WASM_OP_RETURN_CALL_REF: return 0; /* func */
    case WASM_OP_STRUCT_GET_S:
    case WASM_OP_STRUCT_GET_U: return 3; /* struct (mut i8) */
    case WASM_OP_ARRAY_GET_S:
    case WASM_OP_ARRAY_GET_U: return 4; /* array (mut i16) */
    case WASM_OP_ARRAY_NEW_ELEM:
    case WASM_OP_ARRAY_INIT_ELEM: return 5; /* array (mut funcref) */
    default:                                /* struct (mut i32), array (mut i32) */
        return strncmp(wasm_opinfo(op)->text, "struct", 6) == 0 ? 1 : 2;
    }
}

static void put_imm(struct bytes *code, enum wasm_op op) {
    switch ((enum wasm_imm)wasm_opinfo(op)->imm) {
    case WASM_IMM_NONE: break;
    case WASM_IMM_BLOCKTYPE: PUT(code, 0x40); break;
    case WASM_IMM_SELECT_T: PUT(code, 1, 0x7f); break;
    case WASM_IMM_REFTYPE:
    case WASM_IMM_HEAPTYPE: PUT(code, 0x70); break;
    case WASM_IMM_CAST: PUT(code, 3, 0, 0x6e, 0x6e); break;
    case WASM_IMM_TYPE: put_byte(code, type_for(op)); break;
    case WASM_IMM_TYPE_FIELD:
    case WASM_IMM_TYPE_COUNT:
    case WASM_IMM_TYPE_DATA:
    case WASM_IMM_TYPE_ELEM: PUT(code, (uint8_t)type_for(op), 0); break;
    case WASM_IMM_TYPE2: PUT(code, 2, 2); break;
    case WASM_IMM_BR_TABLE:
    case WASM_IMM_CALL_INDIRECT:
    case WASM_IMM_MEMORY2:
    case WASM_IMM_MEMORY_INIT:
    case WASM_IMM_TABLE_INIT:
    case WASM_IMM_TABLE2: PUT(code, 0, 0); break;
    case WASM_IMM_MEMARG: PUT(code, (uint8_t)wasm_op_access_log2(op), 0); break;
    case WASM_IMM_TRY_TABLE: PUT(code, 0x40, 1, 2, 0); break; /* catch_all 0 */
    case WASM_IMM_MEMARG_LANE: PUT(code, 0, 0, 0); break;
    case WASM_IMM_F32: PUT(code, 0, 0, 0, 0); break;
    case WASM_IMM_F64: PUT(code, 0, 0, 0, 0, 0, 0, 0, 0); break;
    case WASM_IMM_V128:
    case WASM_IMM_SHUFFLE: PUT(code, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0); break;
    default: PUT(code, 0); break;
    }
}

static void put_op(struct bytes *code, enum wasm_op op) {
    const struct wasm_opinfo *info = wasm_opinfo(op);
    if (info->prefix != 0) {
        put_byte(code, info->prefix);
        put_u32(code, info->code);
    } else {
        put_byte(code, info->code);
    }
    put_imm(code, op);
}

/* Does it stand in a try? */
static bool needs_try(enum wasm_op op) {
    return op == WASM_OP_CATCH || op == WASM_OP_CATCH_ALL || op == WASM_OP_DELEGATE ||
           op == WASM_OP_RETHROW;
}

/* Does the label take a reference? */
static bool takes_ref(enum wasm_op op) {
    return op == WASM_OP_BR_ON_NON_NULL || wasm_opinfo(op)->imm == WASM_IMM_CAST;
}

/* One of everything to name: types, a tag, an import-free function () -> (), table, memory, mutable
 * global, element and data segment. */
static struct bytes module_with_op(enum wasm_op op) {
    struct bytes body = {0};
    struct bytes code = {0};
    struct bytes wasm = {0};
    PUT(&body, 1, 1, 0x7f);
    if (op == WASM_OP_ELSE)
        PUT(&body, 0x41, 0, 0x04, 0x40);
    if (needs_try(op))
        PUT(&body, 0x06, 0x40);
    if (op == WASM_OP_RETHROW)
        PUT(&body, 0x19); /* catch_all */
    if (takes_ref(op))
        PUT(&body, 0x02, 0x6e); /* block (result anyref) */
    PUT(&body, 0x00);           /* unreachable: whatever the instruction takes is there */
    if (op != WASM_OP_END)
        put_op(&body, op);
    PUT(&body, 0x00, 0x0b);
    if (wasm_op_opens(op) || op == WASM_OP_ELSE || (needs_try(op) && op != WASM_OP_DELEGATE))
        PUT(&body, 0x0b);
    if (takes_ref(op))
        PUT(&body, 0x00, 0x0b);
    put_header(&wasm);
    PUT(&wasm, 1, 21, 6, 0x60, 0, 0, 0x5f, 1, 0x7f, 1, 0x5e, 0x7f, 1, 0x5f, 1, 0x78, 1, 0x5e, 0x77,
        1, 0x5e, 0x70, 1);
    PUT(&wasm, 3, 2, 1, 0, 4, 4, 1, 0x70, 0, 1, 5, 3, 1, 0, 1, 13, 3, 1, 0, 0);
    PUT(&wasm, 6, 6, 1, 0x7f, 1, 0x41, 0, 0x0b);
    PUT(&wasm, 9, 5, 1, 1, 0, 1, 0, 12, 1, 1);
    put_byte(&code, 1);
    put_u32(&code, (uint32_t)body.count);
    put(&code, body.data, body.count);
    put_section(&wasm, 10, &code);
    PUT(&wasm, 11, 3, 1, 1, 0);
    free(code.data);
    free(body.data);
    return wasm;
}

struct text {
    char data[8192];
    size_t count;
};

static int text_append(void *user, const void *text, size_t count) {
    struct text *out = user;
    if (count >= sizeof out->data - out->count)
        return 1;
    memcpy(out->data + out->count, text, count);
    out->count += count;
    out->data[out->count] = '\0';
    return 0;
}

TEST(every_instruction_validates_and_prints) {
    static struct text text;
    uint32_t simd_count = 0, relaxed_count = 0;
    for (uint32_t op = 0; op < WASM_OP_COUNT; op++) {
        struct bytes wasm = module_with_op((enum wasm_op)op);
        struct wasm_module *module = NULL;
        struct husk_error err = {0};
        CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
        int status = wasm_validate(module, &err);
        CHECK_MSG(status == 0, "%s: %s", wasm_opinfo((enum wasm_op)op)->text, err.message);
        text.count = 0;
        struct wasm_print_options options = {
            .with_code = true, .write = text_append, .user = &text};
        CHECK_OK(wasm_print(module, &options, &err), err);
        CHECK_CONTAINS(text.data, wasm_opinfo((enum wasm_op)op)->text);
        simd_count += wasm_opinfo((enum wasm_op)op)->feature == WASM_FEATURE_SIMD ? 1 : 0;
        relaxed_count +=
            wasm_opinfo((enum wasm_op)op)->feature == WASM_FEATURE_RELAXED_SIMD ? 1 : 0;
        wasm_module_free(module);
        free(wasm.data);
    }
    CHECK_EQ_U64(simd_count, 236);
    CHECK_EQ_U64(relaxed_count, 20);
}

TEST(prints_what_a_reader_looks_for) {
    static struct text text;
    static const char *const parts[] = {
        "(module \"control\" ;; 496 bytes",
        "(import \"env\" \"log\" (func 0 (type ",
        "(memory 0 1 16)",
        "(global 1 (mut i64) (i64.const 7))",
        "(export \"switch\" (func 4))",
        "(start 7)",
        "(elem 0 (table 0) (i32.const 0) func 1 2)",
        "(data 0 (memory 0) (i32.const 16) ;; 11 bytes at 0x",
        "(func 4 \"switch\" (type ",
        "br_table 0 1 2 0",
        "i32.store16 offset=4 align=1",
        "i32.load8_u offset=65535",
        "call_indirect 0 (type ",
        "i64.const -123456789012345",
        "f64.const nan:0x8000000000001",
        "f64.const 0.1875",
    };
    struct bytes wasm = file_bytes("control");
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    text.count = 0;
    struct wasm_print_options options = {.with_code = true, .write = text_append, .user = &text};
    CHECK_OK(wasm_print(module, &options, &err), err);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        CHECK_CONTAINS(text.data, parts[i]);
    text.count = sizeof text.data - 10; /* a writer that fails ends it, and its number comes back */
    CHECK_EQ_I64(wasm_print(module, &options, &err), 1);
    wasm_module_free(module);
    free(wasm.data);
}

TEST(names_cannot_reach_the_terminal) {
    struct bytes subsections = {0};
    struct bytes wasm;
    struct wasm_module *module = NULL;
    struct husk_error err = {0};
    static struct text text;
    PUT(&subsections, 0, 7, 6, 'a', 0x1b, '"', 0xc2, 0x9b, 'b');
    name_section(&subsections, &wasm);
    CHECK_OK(wasm_decode(wasm.data, wasm.count, &module, &err), err);
    struct wasm_print_options options = {.write = text_append, .user = &text};
    CHECK_OK(wasm_print(module, &options, &err), err);
    CHECK_CONTAINS(text.data, "(module \"a\\1b\\\"\\c2\\9bb\"");
    wasm_module_free(module);
    free(wasm.data);
    free(subsections.data);
}

TEST_MAIN()
