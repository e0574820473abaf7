/*
 * compiler/lower/codegen_parts.c: which functions of a module a pipeline runs on. LLVM's passes
 * leave a function alone that has the attribute optnone. A part of the functions gets it while a
 * pipeline runs, and loses it then: the code generator must not see it.
 */
#include <llvm-c/Core.h>

#include "codegen_internal.h"

static unsigned optnone_kind(void) {
    return LLVMGetEnumAttributeKindForName("optnone", 7);
}

static bool computes_floats(LLVMValueRef fn) {
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
         block = LLVMGetNextBasicBlock(block))
        for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
             at = LLVMGetNextInstruction(at))
            switch (LLVMGetInstructionOpcode(at)) {
            case LLVMFAdd:
            case LLVMFSub:
            case LLVMFMul:
            case LLVMFDiv: return true;
            default: break;
            }
    return false;
}

static bool is_rerolled(LLVMValueRef fn) {
    return LLVMGetStringAttributeAtIndex(fn, LOWER_ATTRIBUTES, LOWER_REROLLED,
                                         sizeof LOWER_REROLLED - 1) != NULL;
}

static bool is_in_part(LLVMValueRef fn, enum codegen_part part) {
    switch (part) {
    case CODEGEN_ALL: break;
    case CODEGEN_FLOATS: return computes_floats(fn);
    case CODEGEN_NO_FLOATS: return !computes_floats(fn);
    case CODEGEN_REROLLED: return is_rerolled(fn);
    }
    return true;
}

bool codegen_part_begin(struct lower_module *lm, enum codegen_part part) {
    LLVMAttributeRef optnone = LLVMCreateEnumAttribute(lm->ctx, optnone_kind(), 0);
    bool has_any = false;
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL;
         fn = LLVMGetNextFunction(fn)) {
        if (LLVMIsDeclaration(fn))
            continue;
        if (is_in_part(fn, part))
            has_any = true;
        else
            LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, optnone);
    }
    return has_any;
}

void codegen_part_end(struct lower_module *lm) {
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        LLVMRemoveEnumAttributeAtIndex(fn, LOWER_ATTRIBUTES, optnone_kind());
}
