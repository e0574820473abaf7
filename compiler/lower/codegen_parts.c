/*
 * compiler/lower/codegen_parts.c: which functions of a module a pipeline runs on. LLVM's passes
 * leave a function alone that has the attribute optnone. A part of the functions gets it while a
 * pipeline runs, and loses it then: the code generator must not see it.
 */
#include <llvm-c/Core.h>
#include <string.h>

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

static bool has_attribute(LLVMValueRef fn, const char *attribute) {
    const unsigned bytes = (unsigned)strlen(attribute);
    return LLVMGetStringAttributeAtIndex(fn, LOWER_ATTRIBUTES, attribute, bytes) != NULL;
}

static bool is_in_part(LLVMValueRef fn, enum codegen_part part) {
    const bool may_be_vectorised = !has_attribute(fn, LOWER_NOT_VECTORISED);
    switch (part) {
    case CODEGEN_VECTORS: return may_be_vectorised;
    case CODEGEN_FLOATS: return may_be_vectorised && computes_floats(fn);
    case CODEGEN_NO_FLOATS: return may_be_vectorised && !computes_floats(fn);
    case CODEGEN_REROLLED: return has_attribute(fn, LOWER_REROLLED);
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
