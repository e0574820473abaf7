/*
 * compiler/lower/lower_folds.c: says where loads are that LLVM folds into what uses them.
 *
 * Only instructions that may trap have a location (lower_locate()). But LLVM makes one machine
 * instruction of a load and an addition, or loads only the lane that is taken out. Such an
 * instruction has the user's location. If that had none, a trap would be shown at the instruction
 * before it, and in another function if the load was inlined. So users of loads get the load's
 * location, after optimisation: they cannot trap themselves.
 *
 * Deliberately not a location for every instruction: the line tables would be several times as
 * long, and a user that stands in the caller would still hide an inlined function.
 */
#include "lower.h"

static bool is_comparison(LLVMValueRef value) {
    return LLVMIsAICmpInst(value) != NULL || LLVMIsAFCmpInst(value) != NULL;
}

/* Of one value that is computed, such as a cast, a lane, or an addition of a constant; or a
 * comparison, which is one instruction with the branch behind it. LLVM looks through several. */
static bool is_looked_through(LLVMValueRef value) {
    int computed = 0;
    if (is_comparison(value))
        return true;
    if (LLVMIsAStoreInst(value) || LLVMIsACallInst(value) || LLVMIsATerminatorInst(value))
        return false;
    for (int i = 0; i < LLVMGetNumOperands(value); i++)
        computed += LLVMIsConstant(LLVMGetOperand(value, (unsigned)i)) ? 0 : 1;
    return computed == 1;
}

/* Instructions of a block that have a load's location and pass it on: the last ones. */
#define PASSING_MAX 16
struct passing {
    LLVMValueRef values[PASSING_MAX];
    uint32_t count;
};

static bool passes_on(const struct passing *passing, LLVMValueRef value) {
    for (uint32_t i = 0; i < PASSING_MAX && i < passing->count; i++)
        if (passing->values[i] == value)
            return true;
    return false;
}

/* The second operand's, if both have one: that is the one that LLVM folds first. */
static LLVMMetadataRef operand_location(const struct passing *passing, LLVMValueRef user) {
    LLVMMetadataRef found = NULL;
    for (int i = LLVMGetNumOperands(user) - 1; i >= 0 && found == NULL; i--) {
        LLVMValueRef operand = LLVMGetOperand(user, (unsigned)i);
        bool is_load = LLVMIsAInstruction(operand) && LLVMIsALoadInst(operand) &&
                       LLVMGetInstructionParent(operand) == LLVMGetInstructionParent(user);
        if (is_load || passes_on(passing, operand))
            found = LLVMInstructionGetDebugLoc(operand);
    }
    return found;
}

static void locate_user(struct passing *passing, LLVMValueRef user) {
    if (LLVMIsAPHINode(user) || LLVMInstructionGetDebugLoc(user) != NULL)
        return;
    LLVMMetadataRef location = operand_location(passing, user);
    if (location == NULL)
        return;
    LLVMInstructionSetDebugLoc(user, location);
    if (is_looked_through(user))
        passing->values[passing->count++ % PASSING_MAX] = user;
}

void lower_locate_folds(struct lower_module *lm) {
    for (LLVMValueRef fn = LLVMGetFirstFunction(lm->mod); fn != NULL; fn = LLVMGetNextFunction(fn))
        for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn); block != NULL;
             block = LLVMGetNextBasicBlock(block)) {
            struct passing passing = {.count = 0};
            for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
                 at = LLVMGetNextInstruction(at))
                locate_user(&passing, at);
        }
}
