/*
 * compiler/lower/lower_trap.c: the explicit traps: unreachable, division, conversion, tables,
 * indirect calls, bulk instructions. They must be exact at every level: all earlier writes are in
 * memory, globals and tables (core spec 4.4).
 *
 * LLVM assumes that llvm.ubsantrap accesses only inaccessible memory, so LLVM may delete or sink a
 * store before it. Therefore a trap is a call of husk.trap while LLVM optimises. That function has
 * no body and may read all memory. So stores stay in front of it, and it hinders no other
 * optimisation. Right before code is emitted, lower_traps_finish() turns the call into the one
 * trapping instruction. The fast tier is not optimised and uses llvm.ubsantrap from the start.
 */
#include "lower.h"

#define TRAP_FUNC "husk.trap"
/* An intrinsic that reads memory and does nothing else. */
#define READING_INTRINSIC "llvm.read_register"

static void add_attribute(struct lower_module *lm, LLVMValueRef fn, const char *name,
                          size_t bytes) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, bytes);
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, LLVMCreateEnumAttribute(lm->ctx, kind, 0));
}

/* memory(read). Its encoding differs between versions of LLVM, and is not public: taken from an
 * intrinsic that has it. */
static void add_memory_read(struct lower_module *lm, LLVMValueRef fn) {
    unsigned id = LLVMLookupIntrinsicID(READING_INTRINSIC, sizeof READING_INTRINSIC - 1);
    LLVMValueRef reading = LLVMGetIntrinsicDeclaration(lm->mod, id, &lm->i64, 1);
    unsigned kind = LLVMGetEnumAttributeKindForName("memory", 6);
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES,
                            LLVMGetEnumAttributeAtIndex(reading, LOWER_ATTRIBUTES, kind));
    LLVMDeleteFunction(reading);
}

static LLVMValueRef trap_func(struct lower_module *lm) {
    if (lm->tier == LOWER_TIER_FAST)
        return LLVMGetIntrinsicDeclaration(lm->mod, lm->intrinsic_ids[LOWER_UBSANTRAP], NULL, 0);
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, TRAP_FUNC);
    if (fn != NULL)
        return fn;
    fn = LLVMAddFunction(lm->mod, TRAP_FUNC, LLVMFunctionType(lm->void_type, &lm->i8, 1, false));
    /* Deliberately no willreturn: it would let LLVM delete the call, whose result nobody needs. */
    add_attribute(lm, fn, "cold", 4);
    add_attribute(lm, fn, "noreturn", 8);
    add_attribute(lm, fn, "nounwind", 8);
    add_memory_read(lm, fn);
    return fn;
}

static LLVMValueRef build_trap(struct lower_module *lm, LLVMValueRef fn, LLVMValueRef number) {
    LLVMValueRef call = LLVMBuildCall2(lm->builder, LLVMGlobalGetValueType(fn), fn, &number, 1, "");
    LLVMAddCallSiteAttribute(call, LOWER_ATTRIBUTES, lm->nomerge);
    return call;
}

void lower_trap(struct lower_func *lf, uint8_t kind) {
    lower_locate(lf);
    build_trap(lf->lm, trap_func(lf->lm), LLVMConstInt(lf->lm->i8, kind, false));
    LLVMBuildUnreachable(lf->builder);
    lf->is_reachable = false;
}

void lower_trap_if(struct lower_func *lf, LLVMValueRef condition, uint8_t kind) {
    if (LLVMIsAConstantInt(condition) && LLVMConstIntGetZExtValue(condition) == 0)
        return;
    LLVMBasicBlockRef trap = lower_new_block(lf, "trap");
    LLVMBasicBlockRef next = lower_new_block(lf, "");
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    LLVMValueRef branch = LLVMBuildCondBr(lf->builder, condition, trap, next);
    LLVMSetMetadata(branch, lf->lm->prof_kind, lf->lm->unlikely);
    LLVMPositionBuilderAtEnd(lf->builder, trap);
    lower_trap(lf, kind);
    lf->is_reachable = true;
    LLVMMoveBasicBlockAfter(next, current);
    LLVMPositionBuilderAtEnd(lf->builder, next);
}

void lower_traps_finish(struct lower_module *lm) {
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, TRAP_FUNC);
    if (fn == NULL)
        return;
    LLVMValueRef ubsantrap =
        LLVMGetIntrinsicDeclaration(lm->mod, lm->intrinsic_ids[LOWER_UBSANTRAP], NULL, 0);
    for (LLVMUseRef use = LLVMGetFirstUse(fn); use != NULL; use = LLVMGetFirstUse(fn)) {
        LLVMValueRef call = LLVMGetUser(use);
        LLVMPositionBuilderBefore(lm->builder, call);
        LLVMSetCurrentDebugLocation2(lm->builder, LLVMInstructionGetDebugLoc(call));
        build_trap(lm, ubsantrap, LLVMGetOperand(call, 0));
        LLVMInstructionEraseFromParent(call);
    }
    LLVMDeleteFunction(fn);
    LLVMSetCurrentDebugLocation2(lm->builder, NULL);
}
