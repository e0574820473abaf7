/*
 * compiler/lower/codegen_passes.c: LLVM's set-up and the pass pipelines. A pipeline is text for
 * LLVMRunPasses.
 *
 * SROA runs first and alone: lower_keep_loads() and lower_quiet_nans() need locals in SSA form and
 * everything else untouched. Before it, calls of small functions are inlined (lower_inline.c).
 * Deliberately no function-attrs: it would let LLVM drop calls whose only
 * effect is a trap. Deliberately no loop-idiom: its memset would fault in the runtime.
 * Guests have loops that clang has unrolled, and vectorising those makes shuffles. lower_reroll()
 * makes one round of them again where it can, after all that makes addresses and rounds look alike.
 * vector-combine, after the vectoriser, removes shuffles of the others.
 * Level 3 unrolls by O2's thresholds. O3's thresholds unroll vectorised loops completely, and LLVM
 * selects poor code for the resulting long blocks of illegally wide vectors (matmul: 5 times
 * native).
 *
 * The only debug information is positions (lower_locate()), no variables. LLVM's older analysis of
 * variables (-experimental-debug-variable-locations=false) finds that at once. The newer one
 * follows every register all the same, which took 11 % of the time.
 *
 * The x86 cmov converter is off. It makes branches of the selects that the guest's compiler has
 * chosen, where a model of the CPU expects a gain that the module's data does not give (sort: 1.07
 * to 0.79 of native without it). Also, it may move a folded load behind a branch, but traps must
 * stay exact (lower_trap.c).
 */
#include <llvm-c/Support.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "codegen_internal.h"
#include "error.h"

#define TRIPLE "x86_64-unknown-linux-gnu"
#define IC "instcombine<no-verify-fixpoint>"

static const char *const pipeline_ssa = "function(sroa)";
/* What makes selects of branches and finds constants: lower_keep_clamps() looks for both. */
static const char *const pipeline_first = "function<eager-inv>(early-cse<memssa>,simplifycfg)";
/* Of modules with 64-bit memories, from level 2 on. A loop that stores nothing compares its indices
 * with the memory's window once, before its first round (indvars makes exits invariant). That must
 * come before instcombine, which writes compares of neighbouring indices in ways that indvars does
 * not know. Then the loop can be vectorised. */
static const char *const pipeline_windows =
    "function<eager-inv>(loop-mssa(loop-rotate,licm),loop(indvars))";
/* After lower_reroll(), in the functions that it changed: guards that are always true, and the
 * loops that go with them. */
static const char *const pipeline_rerolled = "function(" IC ",simplifycfg)";
static const char *const pipeline_inline = "always-inline,elim-avail-extern,function(sroa)";

/* Up to the vectoriser, and from it on: lower_hide_widths() runs in between, and no pass that could
 * undo it (instcombine) before the last one that assumes and checks (loop-vectorize,
 * loop-load-elim). The third part is what comes after unrolling. */
static const char *const pipelines[4][3] = {
    [1] = {"function<eager-inv>(" IC ",loop-mssa(loop-rotate,licm),gvn,simplifycfg," IC ")"},
    [2] = {"function<eager-inv>(" IC
           ",loop-mssa(loop-rotate,licm,simple-loop-unswitch),simplifycfg,"
           "loop(indvars,loop-deletion,loop-unroll-full),gvn," IC ",bdce,dse,simplifycfg)",
           "function<eager-inv>(loop-vectorize,vector-combine,loop-unroll<O2>)",
           "function<eager-inv>(early-cse," IC ",loop-mssa(licm),adce,simplifycfg)"},
    [3] = {"function<eager-inv>(" IC
           ",jump-threading,correlated-propagation,simplifycfg,reassociate,"
           "loop-mssa(loop-rotate,licm,simple-loop-unswitch),simplifycfg," IC ","
           "loop(indvars,loop-deletion,loop-unroll-full),sroa,mldst-motion,gvn,sccp,bdce," IC ","
           "jump-threading,correlated-propagation,adce,dse,loop-mssa(licm),simplifycfg," IC ")",
           "function<eager-inv>("
           "loop-vectorize,loop-load-elim," IC ",simplifycfg,slp-vectorizer,vector-combine," IC
           ",loop-unroll<O2>)",
           "function<eager-inv>(early-cse," IC ",loop-mssa(licm),simplifycfg)"},
};

/* Instead of the second part at level 2, in functions that compute in floating point. Elsewhere the
 * SLP vectoriser takes a tenth of the time of a compilation, and code does not get faster by it. */
static const char *const pipeline_floats =
    "function<eager-inv>(loop-vectorize,slp-vectorizer,vector-combine,loop-unroll<O2>)";

/* The SLP vectoriser's budget limits how far it moves instructions of a block. It is a twentieth of
 * LLVM's. One function of SQLite's took a twentieth of the time of the compilation; no kernel of
 * bench/ gets other code. */
static void llvm_init_once(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    static const char *const args[] = {"husk",
                                       "-align-loops=32",
                                       "-enable-misched=0",
                                       "-post-RA-scheduler=0",
                                       "-indvars-widen-indvars=false",
                                       "-experimental-debug-variable-locations=false",
                                       "-x86-cmov-converter=false",
                                       "-slp-schedule-budget=5000"};
    LLVMParseCommandLineOptions(sizeof args / sizeof args[0], args, "");
}

void codegen_llvm_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, llvm_init_once);
}

static LLVMCodeGenOptLevel machine_level(int opt_level, enum lower_tier tier) {
    if (tier == LOWER_TIER_FAST)
        return LLVMCodeGenLevelNone;
    static const LLVMCodeGenOptLevel levels[4] = {LLVMCodeGenLevelNone, LLVMCodeGenLevelLess,
                                                  LLVMCodeGenLevelDefault,
                                                  LLVMCodeGenLevelAggressive};
    return levels[opt_level];
}

/* Small code model, static relocations: everything that code refers to lies below 2 GiB
 * (abi/layout.h). */
LLVMTargetMachineRef codegen_machine_new(const struct codegen_options *options,
                                         enum lower_tier tier) {
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(TRIPLE, &target, &message) != 0) {
        LLVMDisposeMessage(message);
        return NULL;
    }
    LLVMTargetMachineOptionsRef settings = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(settings, options->cpu);
    LLVMTargetMachineOptionsSetFeatures(settings, options->features);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(settings, machine_level(options->opt_level, tier));
    LLVMTargetMachineOptionsSetRelocMode(settings, LLVMRelocStatic);
    LLVMTargetMachineOptionsSetCodeModel(settings, LLVMCodeModelSmall);
    LLVMTargetMachineRef machine = LLVMCreateTargetMachineWithOptions(target, TRIPLE, settings);
    LLVMDisposeTargetMachineOptions(settings);
    return machine;
}

static bool has_64_bit_memory(const struct program *program) {
    for (uint32_t i = 0; i < program->memories_count; i++)
        if (program_memory(program, i)->limits.is_64)
            return true;
    return false;
}

/* LLVM prefers vectors of 256 bits on these. Loops that lower_reroll() finds are faster with 512
 * there (measured on emeraldrapids), but code of other kinds is slower (nbody). Deliberately not
 * their predecessors, whose clock slows down for some time after a wide multiplication. */
static bool cpu_may_be_wide(const char *cpu) {
    static const char *const cpus[] = {"sapphirerapids", "emeraldrapids", "graniterapids",
                                       "graniterapids-d"};
    for (size_t i = 0; i < sizeof cpus / sizeof cpus[0]; i++)
        if (strcmp(cpu, cpus[i]) == 0)
            return true;
    return false;
}

static int passes_run(struct lower_module *lm, const char *passes, LLVMTargetMachineRef machine,
                      const struct codegen_options *options) {
    LLVMPassBuilderOptionsRef settings = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopVectorization(settings, options->opt_level >= 2);
    LLVMPassBuilderOptionsSetSLPVectorization(settings, options->opt_level >= 2);
    LLVMPassBuilderOptionsSetLoopInterleaving(settings, options->opt_level >= 2);
    LLVMPassBuilderOptionsSetLoopUnrolling(settings, options->opt_level >= 2);
    LLVMErrorRef error = LLVMRunPasses(lm->mod, passes, machine, settings);
    LLVMDisposePassBuilderOptions(settings);
    if (error == NULL)
        return 0;
    char *message = LLVMGetErrorMessage(error);
    int status = error_set(lm->err, HUSK_E_COMPILER, "LLVM's passes failed: %s", message);
    LLVMDisposeErrorMessage(message);
    return status;
}

static int part_run(struct lower_module *lm, enum codegen_part part, const char *passes,
                    LLVMTargetMachineRef machine, const struct codegen_options *options) {
    int status = 0;
    if (codegen_part_begin(lm, part))
        status = passes_run(lm, passes, machine, options);
    codegen_part_end(lm);
    return status;
}

static int vectorise(struct lower_module *lm, LLVMTargetMachineRef machine,
                     const struct codegen_options *options) {
    const char *passes = pipelines[options->opt_level][1];
    int status = 0;
    if (lower_reroll(lm, cpu_may_be_wide(options->cpu)))
        status = part_run(lm, CODEGEN_REROLLED, pipeline_rerolled, machine, options);
    lower_hide_widths(lm);
    if (status != 0)
        return status;
    if (options->opt_level != 2)
        return part_run(lm, CODEGEN_VECTORS, passes, machine, options);
    status = part_run(lm, CODEGEN_NO_FLOATS, passes, machine, options);
    return status == 0 ? part_run(lm, CODEGEN_FLOATS, pipeline_floats, machine, options) : status;
}

int codegen_optimise(struct lower_module *lm, LLVMTargetMachineRef machine,
                     const struct codegen_options *options, enum lower_tier tier) {
    if (tier == LOWER_TIER_FAST) {
        lower_quiet_nans(lm); /* the instruction selector folds x * 1, too */
        lower_locate_folds(lm);
        lower_tails_finish(lm);
        return 0;
    }
    bool inlines = lm->inlining.wanted.count > 0;
    int status = passes_run(lm, inlines ? pipeline_inline : pipeline_ssa, machine, options);
    if (status != 0)
        return status;
    lower_keep_loads(lm);
    lower_quiet_nans(lm);
    lower_use_facts(lm);
    lower_locate_folds(lm);
    const char *const *pipeline = pipelines[options->opt_level];
    status = passes_run(lm, pipeline_first, machine, options);
    lower_keep_clamps(lm);
    if (status == 0 && options->opt_level >= 2 && has_64_bit_memory(lm->program))
        status = passes_run(lm, pipeline_windows, machine, options);
    if (status == 0)
        status = passes_run(lm, pipeline[0], machine, options);
    if (status == 0 && pipeline[1] != NULL) {
        status = vectorise(lm, machine, options);
        lower_use_facts(lm); /* once more: the rounds of an unrolled loop are neighbours */
        if (status == 0)
            status = passes_run(lm, pipeline[2], machine, options);
    }
    lower_widen_indices(lm);
    lower_traps_finish(lm);
    lower_locate_folds(lm);
    lower_tails_finish(lm);
    return status == 0 ? lower_inline_finish(lm) : status;
}
