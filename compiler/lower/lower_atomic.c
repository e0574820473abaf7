/*
 * compiler/lower/lower_atomic.c: the proposal threads: atomic accesses, wait, notify, fence. They
 * are sequentially consistent, as LLVM's atomics are. They are volatile in every mode: else LLVM
 * makes a mere fence of a read-modify-write that changes nothing, and its trap is lost.
 *
 * Addresses are those of lower_memory.c, and the page fault is the trap here, too. But first, an
 * access must be aligned: index + offset must be a multiple of the width. The low bits of the sum
 * are right whether or not it wraps around, so the check needs no wider addition. A memory begins
 * at a multiple of all widths, so LLVM may know that the pointer is aligned.
 *
 * A sandbox has one agent. So plain accesses of shared memories (lower_memory.c) are like those of
 * other memories: nobody else writes in between. For the same reason nobody can wake an agent that
 * waits, and wait is a service of the host with nothing but a time-out (abi/mailbox.h).
 */
#include "lower.h"
#include "lower_trap.h"
#include "mailbox.h"

#define SEQ_CST LLVMAtomicOrderingSequentiallyConsistent

/* Results of memory.atomic.wait. */
#define WAIT_NOT_EQUAL 1

static LLVMTypeRef access_type(const struct lower_func *lf) {
    return LLVMIntTypeInContext(lf->lm->ctx, 8u << wasm_op_access_log2(lf->instr.op));
}

/* The index is on top of the stack, and stays there. This trap comes before all others of an
 * access. */
static void check_alignment(struct lower_func *lf) {
    const uint64_t mask = (UINT64_C(1) << wasm_op_access_log2(lf->instr.op)) - 1;
    if (mask == 0)
        return;
    LLVMValueRef index = lf->stack[lf->stack_count - 1];
    LLVMTypeRef type = LLVMTypeOf(index);
    LLVMValueRef sum = index;
    if ((lf->instr.mem.offset & mask) != 0)
        sum = LLVMBuildAdd(lf->builder, index,
                           LLVMConstInt(type, lf->instr.mem.offset & mask, false), "");
    LLVMValueRef rest = LLVMBuildAnd(lf->builder, sum, LLVMConstInt(type, mask, false), "");
    lower_trap_if(lf, LLVMBuildICmp(lf->builder, LLVMIntNE, rest, LLVMConstNull(type), ""),
                  TRAP_UNALIGNED_ATOMIC);
}

/* Pops the index. */
static LLVMValueRef atomic_pointer(struct lower_func *lf) {
    check_alignment(lf);
    return lower_access_pointer(lf);
}

static void finish(const struct lower_func *lf, LLVMValueRef access) {
    LLVMSetVolatile(access, true);
    LLVMSetAlignment(access, 1u << wasm_op_access_log2(lf->instr.op));
}

/* Of the access's own width. */
static LLVMValueRef atomic_load(struct lower_func *lf, LLVMValueRef pointer) {
    LLVMValueRef load = LLVMBuildLoad2(lf->builder, access_type(lf), pointer, "");
    LLVMSetOrdering(load, SEQ_CST);
    finish(lf, load);
    return load;
}

/* An operand, cut to the access's width. */
static LLVMValueRef pop_narrow(struct lower_func *lf) {
    return LLVMBuildTrunc(lf->builder, lower_pop(lf), access_type(lf), "");
}

/* What was read, as the instruction's result. */
static void push_wide(struct lower_func *lf, LLVMValueRef value) {
    LLVMTypeRef type = lower_type(lf->lm, lf->row->result);
    lower_push(lf, LLVMBuildZExt(lf->builder, value, type, ""));
}

static void emit_load(struct lower_func *lf) {
    push_wide(lf, atomic_load(lf, atomic_pointer(lf)));
}

static void emit_store(struct lower_func *lf) {
    LLVMValueRef value = pop_narrow(lf);
    LLVMValueRef store = LLVMBuildStore(lf->builder, value, atomic_pointer(lf));
    LLVMSetOrdering(store, SEQ_CST);
    finish(lf, store);
}

/* arg: enum LLVMAtomicRMWBinOp */
static void emit_rmw(struct lower_func *lf) {
    LLVMValueRef value = pop_narrow(lf);
    LLVMValueRef rmw = LLVMBuildAtomicRMW(lf->builder, (LLVMAtomicRMWBinOp)lf->row->arg,
                                          atomic_pointer(lf), value, SEQ_CST, false);
    finish(lf, rmw);
    push_wide(lf, rmw);
}

static void emit_cmpxchg(struct lower_func *lf) {
    LLVMValueRef replacement = pop_narrow(lf);
    LLVMValueRef expected = pop_narrow(lf);
    LLVMValueRef both = LLVMBuildAtomicCmpXchg(lf->builder, atomic_pointer(lf), expected,
                                               replacement, SEQ_CST, SEQ_CST, false);
    finish(lf, both);
    push_wide(lf, LLVMBuildExtractValue(lf->builder, both, 0, ""));
}

/* The guest compares, and the host waits: nobody writes in between. Of a memory that is not shared,
 * too, an address beyond it traps as that, as in V8 and Wasmtime. */
static void emit_wait(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef timeout_ns = lower_pop(lf);
    LLVMValueRef expected = lower_pop(lf);
    LLVMValueRef loaded = atomic_load(lf, atomic_pointer(lf));
    if (!program_memory(lm->program, lf->instr.mem.memory_idx)->limits.is_shared) {
        lower_trap(lf, TRAP_EXPECTED_SHARED_MEMORY);
        return;
    }
    LLVMBasicBlockRef equal = lower_new_block(lf, "");
    LLVMBasicBlockRef end = lower_new_block(lf, "");
    LLVMValueRef is_equal = LLVMBuildICmp(lf->builder, LLVMIntEQ, loaded, expected, "");
    LLVMBasicBlockRef froms[2] = {LLVMGetInsertBlock(lf->builder)};
    LLVMBuildCondBr(lf->builder, is_equal, equal, end);
    lower_enter_block(lf, equal);
    LLVMValueRef waited = lower_service(lf, HUSK_SERVICE_ATOMIC_WAIT, 0, timeout_ns);
    waited = LLVMBuildTrunc(lf->builder, waited, lm->i32, "");
    froms[1] = LLVMGetInsertBlock(lf->builder);
    LLVMBuildBr(lf->builder, end);
    lower_enter_block(lf, end);
    LLVMValueRef result = LLVMBuildPhi(lf->builder, lm->i32, "");
    LLVMValueRef values[2] = {lower_const_i32(lm, WAIT_NOT_EQUAL), waited};
    LLVMAddIncoming(result, values, froms, 2);
    lower_push(lf, result);
}

/* Nobody waits. What is left is the access, for its trap. */
static void emit_notify(struct lower_func *lf) {
    lower_pop(lf);
    atomic_load(lf, atomic_pointer(lf));
    lower_push(lf, lower_const_i32(lf->lm, 0));
}

static void emit_fence(struct lower_func *lf) {
    LLVMBuildFence(lf->builder, SEQ_CST, false, "");
}

#define RMW_ROWS(op_name, operation)                                                               \
    {.op = WASM_OP_I32_ATOMIC_RMW_##op_name, .emit = emit_rmw, .arg = operation},                  \
        {.op = WASM_OP_I64_ATOMIC_RMW_##op_name, .emit = emit_rmw, .arg = operation},              \
        {.op = WASM_OP_I32_ATOMIC_RMW8_##op_name##_U, .emit = emit_rmw, .arg = operation},         \
        {.op = WASM_OP_I32_ATOMIC_RMW16_##op_name##_U, .emit = emit_rmw, .arg = operation},        \
        {.op = WASM_OP_I64_ATOMIC_RMW8_##op_name##_U, .emit = emit_rmw, .arg = operation},         \
        {.op = WASM_OP_I64_ATOMIC_RMW16_##op_name##_U, .emit = emit_rmw, .arg = operation}, {      \
        .op = WASM_OP_I64_ATOMIC_RMW32_##op_name##_U, .emit = emit_rmw, .arg = operation           \
    }

static const struct lower_row atomic_rows[] = {
    {.op = WASM_OP_MEMORY_ATOMIC_NOTIFY, .emit = emit_notify},
    {.op = WASM_OP_MEMORY_ATOMIC_WAIT32, .emit = emit_wait},
    {.op = WASM_OP_MEMORY_ATOMIC_WAIT64, .emit = emit_wait},
    {.op = WASM_OP_ATOMIC_FENCE, .emit = emit_fence},
    {.op = WASM_OP_I32_ATOMIC_LOAD, .emit = emit_load},
    {.op = WASM_OP_I64_ATOMIC_LOAD, .emit = emit_load},
    {.op = WASM_OP_I32_ATOMIC_LOAD8_U, .emit = emit_load},
    {.op = WASM_OP_I32_ATOMIC_LOAD16_U, .emit = emit_load},
    {.op = WASM_OP_I64_ATOMIC_LOAD8_U, .emit = emit_load},
    {.op = WASM_OP_I64_ATOMIC_LOAD16_U, .emit = emit_load},
    {.op = WASM_OP_I64_ATOMIC_LOAD32_U, .emit = emit_load},
    {.op = WASM_OP_I32_ATOMIC_STORE, .emit = emit_store},
    {.op = WASM_OP_I64_ATOMIC_STORE, .emit = emit_store},
    {.op = WASM_OP_I32_ATOMIC_STORE8, .emit = emit_store},
    {.op = WASM_OP_I32_ATOMIC_STORE16, .emit = emit_store},
    {.op = WASM_OP_I64_ATOMIC_STORE8, .emit = emit_store},
    {.op = WASM_OP_I64_ATOMIC_STORE16, .emit = emit_store},
    {.op = WASM_OP_I64_ATOMIC_STORE32, .emit = emit_store},
    RMW_ROWS(ADD, LLVMAtomicRMWBinOpAdd),
    RMW_ROWS(SUB, LLVMAtomicRMWBinOpSub),
    RMW_ROWS(AND, LLVMAtomicRMWBinOpAnd),
    RMW_ROWS(OR, LLVMAtomicRMWBinOpOr),
    RMW_ROWS(XOR, LLVMAtomicRMWBinOpXor),
    RMW_ROWS(XCHG, LLVMAtomicRMWBinOpXchg),
    {.op = WASM_OP_I32_ATOMIC_RMW_CMPXCHG, .emit = emit_cmpxchg},
    {.op = WASM_OP_I64_ATOMIC_RMW_CMPXCHG, .emit = emit_cmpxchg},
    {.op = WASM_OP_I32_ATOMIC_RMW8_CMPXCHG_U, .emit = emit_cmpxchg},
    {.op = WASM_OP_I32_ATOMIC_RMW16_CMPXCHG_U, .emit = emit_cmpxchg},
    {.op = WASM_OP_I64_ATOMIC_RMW8_CMPXCHG_U, .emit = emit_cmpxchg},
    {.op = WASM_OP_I64_ATOMIC_RMW16_CMPXCHG_U, .emit = emit_cmpxchg},
    {.op = WASM_OP_I64_ATOMIC_RMW32_CMPXCHG_U, .emit = emit_cmpxchg},
};
const struct lower_rows lower_atomic_rows = {atomic_rows,
                                             sizeof atomic_rows / sizeof atomic_rows[0]};
