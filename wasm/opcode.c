/*
 * wasm/opcode.c: the table of instructions made from opcode.def. Read by the instruction reader,
 * the validator, the lowering and the printer.
 */
#include "module.h"

const struct wasm_opinfo wasm_opinfos[WASM_OP_COUNT] = {
#define OP(name, prefix, code, text, imm, sig, feature)                                            \
    [WASM_OP_##name] = {text, sig, prefix, code, WASM_IMM_##imm, WASM_FEATURE_##feature},
#include "opcode.def"
#undef OP
};

/* The decimal number behind `mark` in a signature. */
static uint32_t sig_number(const char *sig, char mark) {
    while (*sig != '\0' && *sig != mark)
        sig++;
    uint32_t number = 0;
    for (const char *digit = *sig == mark ? sig + 1 : sig; *digit >= '0' && *digit <= '9'; digit++)
        number = number * 10 + (uint32_t)(*digit - '0');
    return number;
}

uint32_t wasm_op_access_log2(enum wasm_op op) {
    return sig_number(wasm_opinfos[op].sig, '@');
}

uint32_t wasm_op_lanes(enum wasm_op op) {
    return sig_number(wasm_opinfos[op].sig, '#');
}

bool wasm_op_opens(enum wasm_op op) {
    return op == WASM_OP_BLOCK || op == WASM_OP_LOOP || op == WASM_OP_IF || op == WASM_OP_TRY ||
           op == WASM_OP_TRY_TABLE;
}

bool wasm_op_closes(enum wasm_op op) {
    return op == WASM_OP_END || op == WASM_OP_DELEGATE || op == WASM_OP_ELSE ||
           op == WASM_OP_CATCH || op == WASM_OP_CATCH_ALL;
}
