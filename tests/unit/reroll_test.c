/*
 * tests/unit/reroll_test.c: which loops compiler/lower/reroll.c makes one round of again, and which
 * it leaves alone, on LLVM IR written by hand as the passes before it leave it. Whether the code
 * still does the same is for tests/kvm/code/unrolled_test.c and tests/diff/gen-unrolled.
 */
#include <llvm-c/Analysis.h>
#include <llvm-c/IRReader.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "needs.h"
#include "program.h"
#include "reroll.h"

#define IR_MAX 8192

/* ---- one loop ---- */

struct lab {
    struct wasm_module *module;
    struct program *program;
    struct plan *plan;
    struct lower_module lm;
    LLVMModuleRef own; /* of lm, while a test's module is in its place */
};

static void lab_open(struct lab *lab, const char *ir) {
    static const uint8_t empty[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    struct husk_error err = {0};
    memset(lab, 0, sizeof *lab);
    mallopt(M_PERTURB, 0x5a); /* memory that is not set holds large numbers */
    CHECK_OK(wasm_read_supported(empty, sizeof empty, WASM_FEATURES_ALL, &lab->module, &err), err);
    CHECK_OK(program_from_module(lab->module, &lab->program, &err), err);
    CHECK_OK(plan_new(lab->program, &lab->plan, &err), err);
    const struct codegen_options options = {.opt_level = 2};
    CHECK_OK(lower_module_init(&lab->lm, lab->plan, &options, LOWER_TIER_FULL, &err), err);
    LLVMMemoryBufferRef text = LLVMCreateMemoryBufferWithMemoryRange(ir, strlen(ir), "ir", true);
    char *message = NULL;
    LLVMContextSetDiscardValueNames(lab->lm.ctx, false);
    lab->own = lab->lm.mod;
    CHECK_MSG(LLVMParseIRInContext(lab->lm.ctx, text, &lab->lm.mod, &message) == 0, "%s\n%s",
              message, ir);
}

static void lab_close(struct lab *lab) {
    LLVMDisposeModule(lab->lm.mod);
    lab->lm.mod = lab->own;
    lower_module_done(&lab->lm);
    plan_free(lab->plan);
    program_free(lab->program);
    wasm_module_free(lab->module);
}

static uint32_t stores_of(LLVMValueRef fn) {
    uint32_t count = 0;
    LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(fn);
    for (; block != NULL; block = LLVMGetNextBasicBlock(block))
        for (LLVMValueRef at = LLVMGetFirstInstruction(block); at != NULL;
             at = LLVMGetNextInstruction(at))
            count += LLVMIsAStoreInst(at) != NULL || LLVMIsALoadInst(at) != NULL;
    return count;
}

/* How many loads and stores the new loop has; 0: there is none. */
static uint32_t rerolled(const char *ir) {
    struct lab lab;
    char *message = NULL;
    lab_open(&lab, ir);
    LLVMValueRef fn = LLVMGetNamedFunction(lab.lm.mod, "f");
    uint32_t before = stores_of(fn);
    bool has_changed = lower_reroll(&lab.lm, false);
    uint32_t added = stores_of(fn) - before;
    CHECK_MSG(!LLVMVerifyModule(lab.lm.mod, LLVMReturnStatusAction, &message), "%s\n%s", message,
              LLVMPrintModuleToString(lab.lm.mod));
    LLVMDisposeMessage(message);
    CHECK_EQ_U64(has_changed, added != 0);
    lab_close(&lab);
    return added;
}

/* A loop over $i, by `step` as long as it is not %n. %p, %q: invariant numbers. */
static const char *loop(const char *phis, int step, const char *body, const char *result) {
    static char ir[IR_MAX];
    int length = snprintf(ir, sizeof ir,
                          "@m = external hidden global [0 x i8], align 65536\n"
                          "@g = external hidden global i64\n"
                          "declare i32 @llvm.umax.i32(i32, i32)\n"
                          "declare void @h()\n"
                          "define i64 @f(i32 %%n, i32 %%p, i32 %%q, i64 %%w) {\n"
                          "entry:\n  br label %%loop\n"
                          "loop:\n"
                          "  %%i = phi i32 [ 0, %%entry ], [ %%next, %%loop ]\n%s"
                          "%s"
                          "  %%next = add i32 %%i, %d\n"
                          "  %%ends = icmp eq i32 %%next, %%n\n"
                          "  br i1 %%ends, label %%exit, label %%loop\n"
                          "exit:\n  ret i64 %s\n}\n",
                          phis, body, step, result);
    CHECK(length > 0 && length < IR_MAX);
    return ir;
}

/* ---- pieces: X is the name of what is made ---- */

/* A pointer to m + zext(i + number) + offset. */
#define AT(x, number, offset)                                                                      \
    "  %" x ".a = add i32 %i, " number "\n"                                                        \
    "  %" x ".z = zext i32 %" x ".a to i64\n"                                                      \
    "  %" x ".g = getelementptr i8, ptr @m, i64 %" x ".z\n"                                        \
    "  %" x ".p = getelementptr i8, ptr %" x ".g, i64 " offset "\n"
#define LOAD(x, number, offset) AT(x, number, offset) "  %" x " = load i32, ptr %" x ".p, align 1\n"
#define STORE(x, value, number, offset)                                                            \
    AT(x, number, offset) "  store i32 " value ", ptr %" x ".p, align 1\n"
#define OP(x, op, a, b) "  %" x " = " op " i32 " a ", " b "\n"
/* b[i] = a[i] + %p */
#define ROUND(x, offset)                                                                           \
    LOAD(x "l", "64", offset) OP(x, "add", "%" x "l", "%p") STORE(x "s", "%" x, "4096", offset)

TEST(rounds_that_store) {
    CHECK_EQ_U64(rerolled(loop("", 8, ROUND("a", "0") ROUND("b", "4"), "0")), 2);
    CHECK_EQ_U64(
        rerolled(
            loop("", 16, ROUND("a", "0") ROUND("b", "4") ROUND("c", "8") ROUND("d", "12"), "0")),
        2);
    /* by a number that is added, and by another one in the other access */
    CHECK_EQ_U64(rerolled(loop("", 8,
                               LOAD("al", "64", "0") STORE("as", "%al", "%q", "4")
                                   LOAD("bl", "68", "0") STORE("bs", "%bl", "%q", "8"),
                               "0")),
                 2);
    /* the counter as a number, in a commutative operation */
    CHECK_EQ_U64(
        rerolled(loop("", 2,
                      OP("k", "add", "%i", "1") LOAD("al", "64", "0") OP("as", "xor", "%al", "%i")
                          STORE("ax", "%as", "900", "0") LOAD("bl", "64", "1")
                              OP("bs", "xor", "%k", "%bl") STORE("bx", "%bs", "900", "1"),
                      "0")),
        2);
}

TEST(rounds_that_add_up) {
#define SUM(op, a, b)                                                                              \
    loop("  %s = phi i32 [ 7, %entry ], [ %t, %loop ]\n", 8,                                       \
         LOAD("a", "64", "0") OP("s1", op, a, b) LOAD("b", "64", "4") OP("t", op, "%s1", "%b"),    \
         "0")
    CHECK_EQ_U64(rerolled(SUM("add", "%s", "%a")), 1);
    CHECK_EQ_U64(rerolled(SUM("xor", "%a", "%s")), 1);
    CHECK_EQ_U64(rerolled(SUM("mul", "%a", "%s")), 1);
    CHECK_EQ_U64(rerolled(SUM("sub", "%s", "%a")), 0); /* not worth it: LLVM makes it an addition */
    /* the order of operands matters, of a subtraction */
    CHECK_EQ_U64(rerolled(SUM("sub", "%a", "%s")), 0);
    CHECK_EQ_U64(
        rerolled(loop("  %s = phi i32 [ 0, %entry ], [ %t, %loop ]\n", 8,
                      LOAD("a", "64", "0") "  %s1 = call i32 @llvm.umax.i32(i32 %a, i32 %s)\n" LOAD(
                          "b", "64", "4") "  %t = call i32 @llvm.umax.i32(i32 %s1, i32 %b)\n",
                      "0")),
        1);
    /* s = s * 31 + a[i] cannot be vectorised */
    CHECK_EQ_U64(rerolled(loop("  %s = phi i32 [ 0, %entry ], [ %t, %loop ]\n", 8,
                               LOAD("a", "64", "0") OP("m1", "mul", "%s", "31")
                                   OP("s1", "add", "%m1", "%a") LOAD("b", "64", "4")
                                       OP("m2", "mul", "%s1", "31") OP("t", "add", "%m2", "%b"),
                               "0")),
                 0);
}

TEST(loads_that_serve_two_rounds) {
    /* b[i] = a[i] + a[i + 1], in another memory than a store could reach */
    CHECK_EQ_U64(rerolled(loop("  %s = phi i32 [ 0, %entry ], [ %t, %loop ]\n", 8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4") LOAD("c", "64", "8")
                                   OP("x", "mul", "%a", "%b") OP("y", "mul", "%b", "%c")
                                       OP("s1", "add", "%s", "%x") OP("t", "add", "%s1", "%y"),
                               "0")),
                 2);
    /* the value of the round before */
    CHECK_EQ_U64(rerolled(loop("  %s = phi i32 [ 0, %entry ], [ %t, %loop ]\n"
                               "  %k = phi i32 [ %p, %entry ], [ %b, %loop ]\n",
                               8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4") OP("x", "mul", "%a", "%k")
                                   OP("y", "mul", "%b", "%a") OP("s1", "add", "%s", "%x")
                                       OP("t", "add", "%s1", "%y"),
                               "0")),
                 1);
}

TEST(accesses_in_another_order) {
    /* both loads first: the second one must not come behind the first store, which may hit it */
    CHECK_EQ_U64(rerolled(loop("", 8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4") STORE("x", "%a", "%q", "0")
                                   STORE("y", "%b", "%q", "4"),
                               "0")),
                 0);
    /* here it cannot */
    CHECK_EQ_U64(rerolled(loop("", 8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4")
                                   STORE("x", "%a", "64", "16") STORE("y", "%b", "64", "20"),
                               "0")),
                 2);
    /* here it does */
    CHECK_EQ_U64(rerolled(loop("", 8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4") STORE("x", "%a", "64", "4")
                                   STORE("y", "%b", "64", "8"),
                               "0")),
                 0);
    CHECK_EQ_U64(rerolled(loop("", 8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4") STORE("x", "%a", "64", "1")
                                   STORE("y", "%b", "64", "5"),
                               "0")),
                 0);
    /* stores in reverse */
    CHECK_EQ_U64(rerolled(loop("", 8,
                               LOAD("a", "64", "0") LOAD("b", "64", "4") STORE("y", "%b", "%q", "4")
                                   STORE("x", "%a", "%q", "0"),
                               "0")),
                 0);
}

TEST(rounds_that_differ) {
    static const char *const others[] = {
        LOAD("bl", "64", "5") OP("b", "add", "%bl", "%p") STORE("bs", "%b", "4096", "4"),
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "%q") STORE("bs", "%b", "4096", "4"),
        LOAD("bl", "64", "4") OP("b", "sub", "%bl", "%p") STORE("bs", "%b", "4096", "4"),
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "1") STORE("bs", "%b", "4096", "4"),
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "%p") STORE("bs", "%b", "4096", "8"),
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "%p") STORE("bs", "%al", "4096", "4"),
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "%p") AT(
            "bs", "4096", "4") "  %bt = trunc i32 %b to i16\n  store i16 %bt, ptr %bs.p, align 1\n",
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "%p")
            AT("bs", "4096", "4") "  store volatile i32 %b, ptr %bs.p, align 1\n",
        LOAD("bl", "64", "4")
            OP("b", "add", "%bl", "%p") "  call void @h()\n" STORE("bs", "%b", "4096", "4"),
        LOAD("bl", "64", "4") OP("b", "add", "%bl", "%p") STORE("bs", "%b", "4096", "4")
            LOAD("c", "9", "9"),
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char body[IR_MAX];
        snprintf(body, sizeof body, "%s%s", ROUND("a", "0"), others[i]);
        CHECK_MSG(rerolled(loop("", 8, body, "0")) == 0, "case %zu", i);
    }
    /* a step that is none of the rounds' */
    CHECK_EQ_U64(rerolled(loop("", 12, ROUND("a", "0") ROUND("b", "4"), "0")), 0);
    /* counting down, the second one comes first: not if it must not */
    CHECK_EQ_U64(rerolled(loop("", -8, ROUND("a", "0") ROUND("b", "4"), "0")), 2);
    CHECK_EQ_U64(rerolled(loop("", -8,
                               LOAD("al", "64", "0") STORE("as", "%al", "%q", "0")
                                   LOAD("bl", "64", "4") STORE("bs", "%bl", "%q", "4"),
                               "0")),
                 0);
}

TEST(what_is_used_behind_the_loop) {
    static const char body[] =
        ROUND("a", "0") ROUND("b", "4") "  %ra = zext i32 %a to i64\n  %rb = zext i32 %b to i64\n";
    static const char counter[] = ROUND("a", "0") ROUND("b", "4");
    CHECK_EQ_U64(rerolled(loop("", 8, body, "%ra")), 0); /* of a round in the middle */
    char ir[IR_MAX];
    /* of the last round, and counters */
    static const char *const results[] = {"%b", "%next", "%i", "%bl.a"};
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        snprintf(ir, sizeof ir, "%s", loop("", 8, counter, "%r"));
        char *exit = strstr(ir, "exit:\n");
        CHECK(exit != NULL);
        snprintf(exit, sizeof ir - (size_t)(exit - ir),
                 "exit:\n  %%c = phi i32 [ %s, %%loop ]\n  %%r = zext i32 %%c to i64\n"
                 "  ret i64 %%r\n}\n",
                 results[i]);
        CHECK_MSG(rerolled(ir) == 2, "%s", results[i]);
    }
}

/* The second round's address has nothing in common with the first one's: they may be equal. */
TEST(places_that_only_look_different) {
    CHECK_EQ_U64(
        rerolled(loop(
            "  %d = phi i32 [ %q, %entry ], [ %d2, %loop ]\n", 2,
            LOAD("a", "64", "0") "  %dz = zext i32 %d to i64\n"
                                 "  %dp = getelementptr i8, ptr @m, i64 %dz\n"
                                 "  store i32 %a, ptr %dp, align 1\n" LOAD("b", "64", "1")
                                     OP("x", "xor", "%i", "1073741822") OP("y", "add", "%x", "%p")
                                         OP("z", "shl", "%y",
                                            "2") "  %zz = zext i32 %z to i64\n"
                                                 "  %zp = getelementptr i8, ptr @m, i64 %zz\n"
                                                 "  store i32 %b, ptr %zp, align 1\n"
                                                 "  %d2 = add i32 %d, -8\n",
            "0")),
        2);
    /* flipped bits that are not all the counter has */
    CHECK_EQ_U64(
        rerolled(
            loop("  %d = phi i32 [ %q, %entry ], [ %d2, %loop ]\n", 2,
                 LOAD("a", "64", "0") "  %dz = zext i32 %d to i64\n"
                                      "  %dp = getelementptr i8, ptr @m, i64 %dz\n"
                                      "  store i32 %a, ptr %dp, align 1\n" LOAD("b", "64", "1")
                                          OP("x", "xor", "%i", "1022") OP("y", "add", "%x", "%p")
                                              OP("z", "shl", "%y",
                                                 "2") "  %zz = zext i32 %z to i64\n"
                                                      "  %zp = getelementptr i8, ptr @m, i64 %zz\n"
                                                      "  store i32 %b, ptr %zp, align 1\n"
                                                      "  %d2 = add i32 %d, -8\n",
                 "0")),
        0);
}

/* Floats are added in order, which LLVM does not vectorise. */
TEST(floats_stay_in_order) {
    CHECK_EQ_U64(
        rerolled(loop("  %s = phi float [ 0.0, %entry ], [ %t, %loop ]\n", 8,
                      LOAD("a", "64", "0") LOAD("b", "64", "4") "  %af = sitofp i32 %a to float\n"
                                                                "  %bf = sitofp i32 %b to float\n"
                                                                "  %s1 = fadd float %s, %af\n"
                                                                "  %t = fadd float %s1, %bf\n",
                      "0")),
        0);
}
TEST_MAIN()
