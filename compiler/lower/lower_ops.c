/*
 * compiler/lower/lower_ops.c: joins the rows of all lower_*.c files into one table, indexed by
 * opcode, for lower_func.c.
 */
#include <string.h>

#include "lower.h"

static const struct lower_rows *const all_rows[] = {
    &lower_control_rows, &lower_call_rows,        &lower_integer_rows,      &lower_float_rows,
    &lower_convert_rows, &lower_memory_rows,      &lower_table_rows,        &lower_variable_rows,
    &lower_simd_rows,    &lower_simd_memory_rows, &lower_simd_integer_rows, &lower_simd_float_rows,
    &lower_wide_rows,    &lower_ref_rows,         &lower_exception_rows,    &lower_legacy_rows,
    &lower_atomic_rows,
};

static void row_set_types(struct lower_row *row) {
    const char *sig = wasm_opinfo(row->op)->sig;
    const char *arrow = strchr(sig, '>');
    if (arrow == NULL)
        return;
    row->operand = valtype_from_letter(sig[0]); /* of '>', '@', '#' and the end: none */
    row->result = valtype_from_letter(arrow[1]);
}

void lower_ops_join(struct lower_row *ret_rows) {
    memset(ret_rows, 0, sizeof *ret_rows * WASM_OP_COUNT);
    for (size_t i = 0; i < sizeof all_rows / sizeof all_rows[0]; i++) {
        for (size_t j = 0; j < all_rows[i]->count; j++) {
            struct lower_row row = all_rows[i]->rows[j];
            row_set_types(&row);
            ret_rows[row.op] = row;
        }
    }
}
