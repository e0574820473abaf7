/*
 * tests/unit/parts_test.c: which functions of a module a pipeline runs on
 * (compiler/lower/codegen_parts.c), and that the code generator sees nothing of it.
 */
#include <llvm-c/IRReader.h>
#include <string.h>

#include "codegen_internal.h"
#include "harness.h"

static const char ir[] = "declare void @outside()\n"
                         "define i32 @plain(i32 %a) {\n  %b = add i32 %a, 1\n  ret i32 %b\n}\n"
                         "define double @floats(double %a) {\n  br label %next\n"
                         "next:\n  %b = fmul double %a, %a\n  ret double %b\n}\n"
                         "define <4 x float> @vector(<4 x float> %a) {\n"
                         "  %b = fadd <4 x float> %a, %a\n  ret <4 x float> %b\n}\n"
                         "define i64 @rolled() \"husk-rerolled\" {\n  ret i64 0\n}\n"
                         "define i64 @crowded() \"husk-not-vectorised\" {\n  ret i64 0\n}\n"
                         "define double @crowded_floats(double %a) \"husk-not-vectorised\" {\n"
                         "  %b = fmul double %a, %a\n  ret double %b\n}\n";

static const char *const names[] = {"plain",  "floats",  "vector",
                                    "rolled", "crowded", "crowded_floats"};
enum { NAMES = sizeof names / sizeof names[0] };

static bool is_left_out(const struct lower_module *lm, const char *name) {
    unsigned kind = LLVMGetEnumAttributeKindForName("optnone", 7);
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, name);
    return LLVMGetEnumAttributeAtIndex(fn, LOWER_ATTRIBUTES, kind) != NULL;
}

static void lab_open(struct lower_module *lm, const char *text) {
    char *message = NULL;
    *lm = (struct lower_module){.ctx = LLVMContextCreate()};
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRange(text, strlen(text), "ir", true);
    CHECK_MSG(LLVMParseIRInContext(lm->ctx, buffer, &lm->mod, &message) == 0, "%s", message);
}

static void lab_close(struct lower_module *lm) {
    LLVMDisposeModule(lm->mod);
    LLVMContextDispose(lm->ctx);
}

/* wanted: a letter for each of `names`, x for those that the pipeline runs on. */
static void check_part(enum codegen_part part, const char *wanted) {
    struct lower_module lm;
    lab_open(&lm, ir);
    CHECK(codegen_part_begin(&lm, part));
    for (int i = 0; i < NAMES; i++)
        CHECK_MSG(is_left_out(&lm, names[i]) == (wanted[i] != 'x'), "%s", names[i]);
    codegen_part_end(&lm);
    for (int i = 0; i < NAMES; i++)
        CHECK_MSG(!is_left_out(&lm, names[i]), "%s", names[i]);
    lab_close(&lm);
}

TEST(a_part_is_hidden_from_a_pipeline_and_shown_again) {
    check_part(CODEGEN_VECTORS, "xxxx..");
    check_part(CODEGEN_FLOATS, ".xx...");
    check_part(CODEGEN_NO_FLOATS, "x..x..");
    check_part(CODEGEN_REROLLED, "...x..");
}

TEST(a_part_may_have_no_function) {
    struct lower_module lm;
    lab_open(&lm, "declare void @outside()\ndefine void @plain() {\n  ret void\n}\n");
    CHECK(!codegen_part_begin(&lm, CODEGEN_FLOATS));
    codegen_part_end(&lm);
    CHECK(!codegen_part_begin(&lm, CODEGEN_REROLLED));
    codegen_part_end(&lm);
    CHECK(codegen_part_begin(&lm, CODEGEN_NO_FLOATS));
    codegen_part_end(&lm);
    lab_close(&lm);
}
TEST_MAIN()
