/*
 * compiler/lower/lower_control.c: blocks and branches (core spec 4.4.8). The label of a block is a
 * basic block with one phi per value that it takes. Unreachable code is not emitted: its
 * instructions are skipped and its blocks counted.
 */
#include <stdlib.h>
#include <string.h>

#include "lower.h"
#include "lower_trap.h"

/* Few functions have more: interpreters, such as SQLite's main loop (75). */
#define NEST_LOOPS_MAX 64

LLVMValueRef *lower_values_copy(struct lower_func *lf, uint32_t count) {
    LLVMValueRef *values = malloc((count + 1u) * sizeof *values);
    if (values == NULL)
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
    else if (count > 0)
        memcpy(values, lf->stack + lf->stack_count - count, count * sizeof *values);
    return values;
}

static void frame_free(struct lower_frame *frame) {
    free(frame->label_phis);
    free(frame->else_params);
    free(frame->caught);
}

void lower_frames_free(struct lower_func *lf) {
    for (uint32_t i = 0; i < lf->frames_count; i++)
        frame_free(&lf->frames[i]);
    free(lf->frames);
    lf->frames = NULL;
    lf->frames_count = lf->frames_cap = 0;
}

static bool frames_reserve(struct lower_func *lf) {
    if (lf->frames_count < lf->frames_cap)
        return true;
    uint32_t cap = lf->frames_cap == 0 ? 16 : lf->frames_cap * 2;
    struct lower_frame *frames = realloc(lf->frames, cap * sizeof *frames);
    if (frames == NULL) {
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
        return false;
    }
    lf->frames = frames;
    lf->frames_cap = cap;
    return true;
}

/* The block's parameters are on top of the operand stack. */
void lower_frame_push(struct lower_func *lf, enum lower_frame_kind kind,
                      const struct wasm_functype *type) {
    if (!frames_reserve(lf))
        return;
    struct lower_frame *frame = &lf->frames[lf->frames_count++];
    memset(frame, 0, sizeof *frame);
    frame->kind = kind;
    frame->handler = lf->frames_count > 1 ? frame[-1].handler : NULL;
    frame->is_in_loop = lf->frames_count > 1 && frame[-1].is_in_loop;
    frame->is_dead = !lf->is_reachable;
    if (frame->is_dead)
        return;
    frame->params_count = type->params_count;
    frame->results_count = type->results_count;
    frame->params = type->params;
    frame->results = type->results;
    frame->result = type->results_count == 1 ? type->results[0] : VALTYPE_NONE;
    frame->stack_height = lf->stack_count - type->params_count;
}

struct lower_frame *lower_frame_at(struct lower_func *lf, uint32_t depth) {
    return &lf->frames[lf->frames_count - 1 - depth];
}

static uint32_t label_arity(const struct lower_frame *frame) {
    return frame->kind == LOWER_LOOP ? frame->params_count : frame->results_count;
}

static valtype_t label_type(const struct lower_frame *frame, uint32_t idx) {
    if (frame->kind == LOWER_LOOP)
        return frame->params[idx];
    return frame->results_count == 1 ? frame->result : frame->results[idx];
}

/* The label's block, made on the first branch to it. */
static LLVMBasicBlockRef label_block(struct lower_func *lf, struct lower_frame *frame) {
    if (frame->label != NULL)
        return frame->label;
    uint32_t count = label_arity(frame);
    frame->label_phis = malloc((count + 1u) * sizeof *frame->label_phis);
    if (frame->label_phis == NULL) {
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
        return lf->entry;
    }
    frame->label = lower_new_block(lf, "");
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMPositionBuilderAtEnd(lf->builder, frame->label);
    for (uint32_t i = 0; i < count; i++)
        frame->label_phis[i] =
            LLVMBuildPhi(lf->builder, lower_type(lf->lm, label_type(frame, i)), "");
    LLVMPositionBuilderAtEnd(lf->builder, current);
    return frame->label;
}

/* The values on top of the stack go to the label's phis along the edge from `from`. */
static void label_add_edge(struct lower_func *lf, struct lower_frame *frame,
                           LLVMBasicBlockRef from) {
    uint32_t count = label_arity(frame);
    if (frame->label_phis == NULL)
        return;
    LLVMValueRef *values = lf->stack + lf->stack_count - count;
    for (uint32_t i = 0; i < count; i++)
        LLVMAddIncoming(frame->label_phis[i], &values[i], &from, 1);
}

void lower_branch_to(struct lower_func *lf, struct lower_frame *frame) {
    LLVMBasicBlockRef label = label_block(lf, frame);
    label_add_edge(lf, frame, LLVMGetInsertBlock(lf->builder));
    LLVMBuildBr(lf->builder, label);
}

/* ---- return ---- */

static void return_in_memory(struct lower_func *lf, LLVMValueRef *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef index = lower_const_i64(lf->lm, (uint64_t)i * LOWER_RESULT_BYTES);
        LLVMBuildStore(lf->builder, values[i],
                       LLVMBuildGEP2(lf->builder, lf->lm->i8, lf->results_area, &index, 1, ""));
    }
    LLVMBuildRetVoid(lf->builder);
}

/* Return the function's results from the top of the stack. */
void lower_return(struct lower_func *lf) {
    uint32_t count = lf->type->results_count;
    LLVMValueRef *values = lf->stack + lf->stack_count - count;
    if (count == 0)
        LLVMBuildRetVoid(lf->builder);
    else if (lf->results_area != NULL)
        return_in_memory(lf, values, count);
    else if (count == 1)
        LLVMBuildRet(lf->builder, values[0]);
    else
        LLVMBuildAggregateRet(lf->builder, values, count);
    lf->is_reachable = false;
}

/* ---- instructions ---- */

static void emit_nop(struct lower_func *lf) {
    (void)lf;
}

static void emit_unreachable(struct lower_func *lf) {
    lower_trap(lf, TRAP_UNREACHABLE);
}

static struct lower_frame *frame_open(struct lower_func *lf, enum lower_frame_kind kind,
                                      const struct wasm_blocktype *block) {
    struct wasm_functype type = wasm_block_functype(lf->lm->program->types, block);
    lower_frame_push(lf, kind, &type);
    return lf->status == 0 ? lower_frame_at(lf, 0) : NULL;
}

struct lower_frame *lower_frame_open(struct lower_func *lf, const struct wasm_blocktype *block) {
    return frame_open(lf, LOWER_BLOCK, block);
}

static void emit_block(struct lower_func *lf) {
    frame_open(lf, LOWER_BLOCK, &lf->instr.block);
}

/* In a function with such a nest no loop is vectorised or unrolled in part: both have
 * ScalarEvolution forget the whole nest at each loop that they change, and find all of it out again
 * for the next. That is quadratic: a nest of 100 loops took 10 s, now 0.6. */
static void count_loop(struct lower_func *lf, struct lower_frame *frame) {
    const bool is_outermost = lf->frames_count == 1 || !frame[-1].is_in_loop;
    frame->is_in_loop = true;
    lf->nest_loops = is_outermost ? 1 : lf->nest_loops + 1;
    if (lf->nest_loops == NEST_LOOPS_MAX + 1)
        LLVMAddTargetDependentFunctionAttr(lf->fn, LOWER_NOT_VECTORISED, "");
}

static void emit_loop(struct lower_func *lf) {
    struct lower_frame *frame = frame_open(lf, LOWER_LOOP, &lf->instr.block);
    if (frame == NULL)
        return;
    count_loop(lf, frame);
    lower_branch_to(lf, frame);
    if (lf->status != 0)
        return;
    lower_enter_block(lf, frame->label);
    if (frame->params_count > 0)
        memcpy(lf->stack + frame->stack_height, frame->label_phis,
               frame->params_count * sizeof *lf->stack);
}

static void emit_if(struct lower_func *lf) {
    LLVMValueRef condition = lower_truth(lf, lower_pop(lf));
    struct lower_frame *frame = frame_open(lf, LOWER_IF, &lf->instr.block);
    if (frame == NULL)
        return;
    frame->else_params = lower_values_copy(lf, frame->params_count);
    frame->else_block = lower_new_block(lf, "");
    LLVMBasicBlockRef then = lower_new_block(lf, "");
    LLVMBuildCondBr(lf->builder, condition, then, frame->else_block);
    lower_enter_block(lf, then);
}

/* Back to the state at the `if`, in its other branch. */
static void frame_enter_else(struct lower_func *lf, struct lower_frame *frame) {
    frame->has_else = true;
    lower_enter_block(lf, frame->else_block);
    lf->stack_count = frame->stack_height;
    for (uint32_t i = 0; i < frame->params_count; i++)
        lower_push(lf, frame->else_params[i]);
    lf->is_reachable = true;
}

static void emit_else(struct lower_func *lf) {
    struct lower_frame *frame = lower_frame_at(lf, 0);
    if (frame->is_dead)
        return;
    if (lf->is_reachable)
        lower_branch_to(lf, frame);
    frame_enter_else(lf, frame);
}

/* Code goes on after the block if its end was reached or something branched there. */
static void frame_enter_end(struct lower_func *lf, struct lower_frame *frame) {
    if (frame->kind ==
        LOWER_LOOP) { /* branches to a loop go to its start: its end is just the next instruction */
        return;
    }
    if (frame->label == NULL)
        return; /* nobody branches here: straight on, reachable or not */
    if (lf->is_reachable)
        lower_branch_to(lf, frame);
    lower_enter_block(lf, frame->label);
    lf->stack_count = frame->stack_height;
    for (uint32_t i = 0; i < frame->results_count; i++)
        lower_push(lf, frame->label_phis[i]);
    lf->is_reachable = true;
}

void lower_end(struct lower_func *lf) {
    struct lower_frame *frame = lower_frame_at(lf, 0);
    if (!frame->is_dead) {
        if (frame->kind == LOWER_IF && !frame->has_else) {
            if (lf->is_reachable)
                lower_branch_to(lf, frame);
            frame_enter_else(lf, frame);
        }
        frame_enter_end(lf, frame);
        if (frame->kind == LOWER_BODY && lf->is_reachable && lf->type != NULL)
            lower_return(lf);
    }
    frame_free(frame);
    lf->frames_count--;
}

/* True if the instruction lies in unreachable code and is done with. `else`, `catch` and `end` of
 * blocks that were opened in reachable code are not: their other branch, a handler, or what
 * follows, may be reachable. */
bool lower_skip_dead(struct lower_func *lf) {
    struct wasm_functype none = {0};
    switch (lf->instr.op) {
    case WASM_OP_BLOCK:
    case WASM_OP_LOOP:
    case WASM_OP_IF:
    case WASM_OP_TRY:
    case WASM_OP_TRY_TABLE: lower_frame_push(lf, LOWER_BLOCK, &none); return true;
    case WASM_OP_ELSE:
    case WASM_OP_CATCH:
    case WASM_OP_CATCH_ALL:
    case WASM_OP_DELEGATE:
    case WASM_OP_END: return false;
    default: return true;
    }
}

static void emit_br(struct lower_func *lf) {
    lower_branch_to(lf, lower_frame_at(lf, lf->instr.idx));
    lf->is_reachable = false;
}

void lower_branch_if(struct lower_func *lf, uint32_t depth, LLVMValueRef condition) {
    struct lower_frame *frame = lower_frame_at(lf, depth);
    LLVMBasicBlockRef label = label_block(lf, frame);
    LLVMBasicBlockRef next = lower_new_block(lf, "");
    label_add_edge(lf, frame, LLVMGetInsertBlock(lf->builder));
    LLVMBuildCondBr(lf->builder, condition, label, next);
    lower_enter_block(lf, next);
}

static void emit_br_if(struct lower_func *lf) {
    lower_branch_if(lf, lf->instr.idx, lower_truth(lf, lower_pop(lf)));
}

/* Where a br_table's case goes. Labels that take values get one block in between per br_table: a
 * phi wants one entry per edge, and 60,000 cases to the same label would each be one. */
static LLVMBasicBlockRef table_target(struct lower_func *lf, uint32_t depth) {
    struct lower_frame *frame = lower_frame_at(lf, depth);
    if (label_arity(frame) == 0)
        return label_block(lf, frame);
    if (frame->stamp == lf->stamp)
        return frame->stamp_block;
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMBasicBlockRef between = lower_new_block(lf, "");
    LLVMPositionBuilderAtEnd(lf->builder, between);
    lower_branch_to(lf, frame);
    LLVMPositionBuilderAtEnd(lf->builder, current);
    frame->stamp = lf->stamp;
    frame->stamp_block = between;
    return between;
}

static void emit_br_table(struct lower_func *lf) {
    struct wasm_bytes labels = lf->instr.br_table.labels;
    uint32_t count = lf->instr.br_table.count;
    uint32_t depth = 0;
    LLVMValueRef index = lower_pop(lf);
    lf->stamp++;
    LLVMBasicBlockRef *targets = malloc((count + 1u) * sizeof *targets);
    if (targets == NULL) {
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
        return;
    }
    for (uint32_t i = 0; i <= count; i++) {
        if (wasm_read_label(&labels, &depth) != 0) {
            lower_fail(lf, HUSK_E_COMPILER, "the labels of a validated br_table could not be read");
            free(targets);
            return;
        }
        targets[i] = table_target(lf, depth);
    }
    LLVMValueRef choice = LLVMBuildSwitch(lf->builder, index, targets[count], count);
    for (uint32_t i = 0; i < count; i++)
        if (targets[i] != targets[count])
            LLVMAddCase(choice, lower_const_i32(lf->lm, i), targets[i]);
    free(targets);
    lf->is_reachable = false;
}

static void emit_return(struct lower_func *lf) {
    lower_return(lf);
}

static const struct lower_row control_rows[] = {
    {.op = WASM_OP_UNREACHABLE, .emit = emit_unreachable},
    {.op = WASM_OP_NOP, .emit = emit_nop},
    {.op = WASM_OP_BLOCK, .emit = emit_block},
    {.op = WASM_OP_LOOP, .emit = emit_loop},
    {.op = WASM_OP_IF, .emit = emit_if},
    {.op = WASM_OP_ELSE, .emit = emit_else},
    {.op = WASM_OP_END, .emit = lower_end},
    {.op = WASM_OP_BR, .emit = emit_br},
    {.op = WASM_OP_BR_IF, .emit = emit_br_if},
    {.op = WASM_OP_BR_TABLE, .emit = emit_br_table},
    {.op = WASM_OP_RETURN, .emit = emit_return},
};
const struct lower_rows lower_control_rows = {control_rows,
                                              sizeof control_rows / sizeof control_rows[0]};
