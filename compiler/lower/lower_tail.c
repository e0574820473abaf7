/*
 * compiler/lower/lower_tail.c: tail calls, and what they ask of all calls in a program that has
 * some.
 *
 * A tail call is a jump that leaves the caller's frame behind, so the callee must find its
 * arguments without one. Those in registers are no problem. Those that the psABI puts on the stack
 * would lie where the caller's own arguments are, of which there may be fewer. So in a program with
 * tail calls, a parameter that has no register goes through memory: the caller leaves it in a slot
 * of the mailbox, those of host calls, and the callee reads it first of all. There is one stack and
 * one thread, so nothing comes in between. Results beyond registers go where the caller's caller
 * wants them.
 *
 * Deliberately not on the stack, as LLVM's tailcc would have it: the callee then removes its
 * arguments, so that backtraces and exceptions cannot know a caller's stack pointer. LLVM 22 also
 * forgets to write such arguments (its issue 199224), and writes wrong unwind tables where an
 * argument area grows.
 *
 * Programs without tail calls are compiled as if this file did not exist.
 */
#include "lower.h"

/* LLVM's numbers */
#define CONV_FAST 8
#define CONV_TAIL 18

/* What LLVM's fastcc has: of parameters as in the psABI (3.2.3), of results f32 and f64 two. */
#define INTEGER_REGISTERS 6
#define VECTOR_REGISTERS 8
#define VECTOR_RESULTS 2

/* An attribute of a tail call, which stays when inlining makes it a call. */
#define TAIL_MARK "husk-tail"

/* LLVM's passes allow a tail call of a function of another type only in tailcc. */
unsigned lower_call_conv(const struct lower_module *lm) {
    return lm->has_tail_calls ? CONV_TAIL : CONV_FAST;
}

static bool is_in_vector_register(valtype_t type) {
    const enum valtype_kind kind = valtype_kind(type);
    return kind == VALTYPE_F32 || kind == VALTYPE_F64 || kind == VALTYPE_V128;
}

bool lower_results_in_memory(const struct lower_module *lm, const struct wasm_functype *type) {
    uint32_t vectors = 0;
    if (type->results_count > LOWER_STRUCT_RESULTS)
        return true;
    for (uint32_t i = 0; i < type->results_count; i++)
        vectors += is_in_vector_register(type->results[i]);
    return lm->has_tail_calls && vectors > VECTOR_RESULTS;
}

struct lower_registers lower_registers_of(const struct lower_module *lm,
                                          const struct wasm_functype *type) {
    return (struct lower_registers){.integers = lower_results_in_memory(lm, type) ? 1 : 0};
}

bool lower_param_in_register(const struct lower_module *lm, struct lower_registers *registers,
                             valtype_t type) {
    if (!lm->has_tail_calls)
        return true;
    return is_in_vector_register(type) ? registers->vectors++ < VECTOR_REGISTERS
                                       : registers->integers++ < INTEGER_REGISTERS;
}

void lower_mark_tail_call(struct lower_module *lm, LLVMValueRef call) {
    LLVMSetTailCallKind(call, LLVMTailCallKindMustTail);
    LLVMAddCallSiteAttribute(
        call, LOWER_ATTRIBUTES,
        LLVMCreateStringAttribute(lm->ctx, TAIL_MARK, sizeof TAIL_MARK - 1, "", 0));
}

bool lower_was_tail_call(LLVMValueRef instruction) {
    const bool is_call =
        LLVMIsACallInst(instruction) != NULL || LLVMIsAInvokeInst(instruction) != NULL;
    return is_call && LLVMGetCallSiteStringAttribute(instruction, LOWER_ATTRIBUTES, TAIL_MARK,
                                                     sizeof TAIL_MARK - 1) != NULL;
}

static void block_to_fast(LLVMBasicBlockRef block) {
    for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
         at = LLVMGetNextInstruction(at))
        if ((LLVMIsACallInst(at) || LLVMIsAInvokeInst(at)) &&
            LLVMGetInstructionCallConv(at) == CONV_TAIL)
            LLVMSetInstructionCallConv(at, CONV_FAST);
}

/* In machine code tailcc differs: the callee always removes 8 bytes at least. No tail call has
 * arguments on the stack, so fastcc does as well. */
void lower_tails_finish(struct lower_module *lm) {
    if (!lm->has_tail_calls)
        return;
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL;
         fn = LLVMGetNextFunction(fn)) {
        if (LLVMGetFunctionCallConv(fn) == CONV_TAIL)
            LLVMSetFunctionCallConv(fn, CONV_FAST);
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
             block = LLVMGetNextBasicBlock(block))
            block_to_fast(block);
    }
}
