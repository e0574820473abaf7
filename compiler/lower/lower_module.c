/*
 * compiler/lower/lower_module.c: makes the LLVM module of a chunk: types, debug information, and
 * symbols, which are declared when first used. It is the start of lowering; lower_func.c fills in
 * the functions.
 *
 * Everything an instance has is an absolute symbol (compiler/lower/codegen.h). Deliberately not an
 * integer cast to a pointer. Only symbols both vectorise and fold into displacements. They also
 * tell LLVM that globals, tables and memory do not alias. The fast tier uses integers: FastISel
 * leaves every use of an absolute symbol to the slow selector.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "layout.h"
#include "lower.h"
#include "mailbox.h"

static const char *const intrinsic_names[LOWER_INTRINSICS_COUNT] = {
    [LOWER_CTLZ] = "llvm.ctlz",
    [LOWER_CTTZ] = "llvm.cttz",
    [LOWER_CTPOP] = "llvm.ctpop",
    [LOWER_FSHL] = "llvm.fshl",
    [LOWER_FSHR] = "llvm.fshr",
    [LOWER_FABS] = "llvm.fabs",
    [LOWER_CEIL] = "llvm.ceil",
    [LOWER_FLOOR] = "llvm.floor",
    [LOWER_TRUNC] = "llvm.trunc",
    [LOWER_ROUNDEVEN] = "llvm.roundeven",
    [LOWER_SQRT] = "llvm.sqrt",
    [LOWER_MINIMUM] = "llvm.minimum",
    [LOWER_MAXIMUM] = "llvm.maximum",
    [LOWER_COPYSIGN] = "llvm.copysign",
    [LOWER_FPTOSI_SAT] = "llvm.fptosi.sat",
    [LOWER_FPTOUI_SAT] = "llvm.fptoui.sat",
    [LOWER_UBSANTRAP] = "llvm.ubsantrap",
    [LOWER_PREFETCH] = "llvm.prefetch",
    [LOWER_SMIN] = "llvm.smin",
    [LOWER_UMIN] = "llvm.umin",
    [LOWER_SMAX] = "llvm.smax",
    [LOWER_UMAX] = "llvm.umax",
    [LOWER_SADD_SAT] = "llvm.sadd.sat",
    [LOWER_UADD_SAT] = "llvm.uadd.sat",
    [LOWER_SSUB_SAT] = "llvm.ssub.sat",
    [LOWER_USUB_SAT] = "llvm.usub.sat",
    [LOWER_ABS] = "llvm.abs",
    [LOWER_X86_PSHUFB] = "llvm.x86.ssse3.pshuf.b.128",
    [LOWER_X86_PMULHRSW] = "llvm.x86.ssse3.pmul.hr.sw.128",
    [LOWER_X86_PMADDUBSW] = "llvm.x86.ssse3.pmadd.ub.sw.128",
    [LOWER_X86_PMADDWD] = "llvm.x86.sse2.pmadd.wd",
    [LOWER_X86_PACKSSWB] = "llvm.x86.sse2.packsswb.128",
    [LOWER_X86_PACKUSWB] = "llvm.x86.sse2.packuswb.128",
    [LOWER_X86_PACKSSDW] = "llvm.x86.sse2.packssdw.128",
    [LOWER_X86_PACKUSDW] = "llvm.x86.sse41.packusdw",
    [LOWER_X86_MINPS] = "llvm.x86.sse.min.ps",
    [LOWER_X86_MAXPS] = "llvm.x86.sse.max.ps",
    [LOWER_X86_MINPD] = "llvm.x86.sse2.min.pd",
    [LOWER_X86_MAXPD] = "llvm.x86.sse2.max.pd",
    [LOWER_X86_CVTTPS2DQ] = "llvm.x86.sse2.cvttps2dq",
    [LOWER_X86_CVTTPD2DQ] = "llvm.x86.sse2.cvttpd2dq",
};

static void module_set_types(struct lower_module *lm) {
    lm->i1 = LLVMInt1TypeInContext(lm->ctx);
    lm->i8 = LLVMInt8TypeInContext(lm->ctx);
    lm->i16 = LLVMInt16TypeInContext(lm->ctx);
    lm->i32 = LLVMInt32TypeInContext(lm->ctx);
    lm->i64 = LLVMInt64TypeInContext(lm->ctx);
    lm->f32 = LLVMFloatTypeInContext(lm->ctx);
    lm->f64 = LLVMDoubleTypeInContext(lm->ctx);
    lm->ptr = LLVMPointerTypeInContext(lm->ctx, 0);
    lm->void_type = LLVMVoidTypeInContext(lm->ctx);
    lm->v128 = LLVMVectorType(lm->i64, 2);
    lm->bytes = LLVMArrayType2(lm->i8, 0);
    lm->hostcall_type = LLVMFunctionType(lm->void_type, NULL, 0, false);
}

static void module_add_flag(struct lower_module *lm, const char *name, uint32_t value) {
    LLVMAddModuleFlag(lm->mod, LLVMModuleFlagBehaviorWarning, name, strlen(name),
                      LLVMValueAsMetadata(lower_const_i32(lm, value)));
}

static void module_set_debug(struct lower_module *lm) {
    module_add_flag(lm, "Dwarf Version", 5);
    module_add_flag(lm, "Debug Info Version", LLVMDebugMetadataVersion());
    lm->di = LLVMCreateDIBuilder(lm->mod);
    lm->di_file = LLVMDIBuilderCreateFile(lm->di, "wasm", 4, "", 0);
    LLVMDIBuilderCreateCompileUnit(lm->di, LLVMDWARFSourceLanguageC, lm->di_file, "husk", 4, true,
                                   "", 0, 0, "", 0, LLVMDWARFEmissionLineTablesOnly, 0, false,
                                   false, "", 0, "", 0);
    lm->di_functype =
        LLVMDIBuilderCreateSubroutineType(lm->di, lm->di_file, NULL, 0, LLVMDIFlagZero);
}

static void module_set_metadata(struct lower_module *lm) {
    for (int i = 0; i < LOWER_INTRINSICS_COUNT; i++)
        lm->intrinsic_ids[i] =
            LLVMLookupIntrinsicID(intrinsic_names[i], strlen(intrinsic_names[i]));
    lm->absolute_symbol_kind = LLVMGetMDKindIDInContext(lm->ctx, "absolute_symbol", 15);
    lm->prof_kind = LLVMGetMDKindIDInContext(lm->ctx, "prof", 4);
    LLVMMetadataRef weights[3] = {LLVMMDStringInContext2(lm->ctx, "branch_weights", 14),
                                  LLVMValueAsMetadata(lower_const_i32(lm, 1)),
                                  LLVMValueAsMetadata(lower_const_i32(lm, 1u << 20))};
    lm->unlikely = LLVMMetadataAsValue(lm->ctx, LLVMMDNodeInContext2(lm->ctx, weights, 3));
    lm->nomerge =
        LLVMCreateEnumAttribute(lm->ctx, LLVMGetEnumAttributeKindForName("nomerge", 7), 0);
}

/* A table's size is a constant if nothing in the program can grow it and nobody else has it. */
static int module_find_fixed_tables(struct lower_module *lm) {
    const struct program *program = lm->program;
    lm->table_may_change = calloc(program->tables_count + 1u, sizeof(bool));
    if (lm->table_may_change == NULL)
        return error_set(lm->err, HUSK_E_NOMEM, "out of memory");
    for (uint32_t i = 0; i < program->tables_count; i++) {
        const struct wasm_table *table = program_table(program, i);
        lm->table_may_change[i] =
            table->is_import || !table->limits.has_max || table->limits.max != table->limits.min;
    }
    return 0;
}

int lower_module_init(struct lower_module *lm, const struct plan *plan,
                      const struct codegen_options *options, enum lower_tier tier,
                      struct husk_error *err) {
    memset(lm, 0, sizeof *lm);
    lm->plan = plan;
    lm->program = plan->program;
    lm->err = err;
    int status = module_find_fixed_tables(lm);
    if (status != 0)
        return status;
    lm->ctx = LLVMContextCreate();
    LLVMContextSetDiscardValueNames(lm->ctx, true);
    lm->mod = LLVMModuleCreateWithNameInContext("wasm", lm->ctx);
    lm->builder = LLVMCreateBuilderInContext(lm->ctx);
    lm->tier = tier;
    lm->is_strict = options->strict || tier == LOWER_TIER_FAST;
    module_set_types(lm);
    module_set_debug(lm);
    module_set_metadata(lm);
    return 0;
}

void lower_module_finish(struct lower_module *lm) {
    LLVMDIBuilderFinalize(lm->di);
}

void lower_module_done(struct lower_module *lm) {
    if (lm->di != NULL)
        LLVMDisposeDIBuilder(lm->di);
    if (lm->builder != NULL)
        LLVMDisposeBuilder(lm->builder);
    if (lm->mod != NULL)
        LLVMDisposeModule(lm->mod);
    if (lm->ctx != NULL)
        LLVMContextDispose(lm->ctx);
    free(lm->table_may_change);
    free(lm->tag_stamps);
    free(lm->tag_names);
    memset(lm, 0, sizeof *lm);
}

LLVMValueRef lower_const_i32(const struct lower_module *lm, uint32_t value) {
    return LLVMConstInt(lm->i32, value, false);
}

LLVMValueRef lower_const_i64(const struct lower_module *lm, uint64_t value) {
    return LLVMConstInt(lm->i64, value, false);
}

LLVMTypeRef lower_type(const struct lower_module *lm, valtype_t type) {
    if (valtype_is_ref(type))
        return lm->i64;
    switch (valtype_kind(type)) {
    case VALTYPE_I32: return lm->i32;
    case VALTYPE_F32: return lm->f32;
    case VALTYPE_F64: return lm->f64;
    case VALTYPE_I64:
    case VALTYPE_FUNCREF:
    case VALTYPE_EXTERNREF:
    case VALTYPE_EXNREF: return lm->i64;
    case VALTYPE_V128: return lm->v128;
    case VALTYPE_NONE: break;
    }
    return NULL;
}

LLVMTypeRef lower_functype(const struct lower_module *lm, const struct wasm_functype *type) {
    LLVMTypeRef small[17];
    size_t count = type->params_count + 1u;
    LLVMTypeRef *params = count <= 17 ? small : malloc(count * sizeof *params);
    if (params == NULL)
        return NULL;
    uint32_t used = 0;
    if (lower_results_in_memory(lm, type))
        params[used++] = lm->ptr;
    struct lower_registers registers = lower_registers_of(lm, type);
    for (uint32_t i = 0; i < type->params_count; i++)
        if (lower_param_in_register(lm, &registers, type->params[i]))
            params[used++] = lower_type(lm, type->params[i]);
    LLVMTypeRef result = lm->void_type;
    if (type->results_count == 1) {
        result = lower_type(lm, type->results[0]);
    } else if (type->results_count > 1 && !lower_results_in_memory(lm, type)) {
        LLVMTypeRef fields[LOWER_STRUCT_RESULTS];
        for (uint32_t i = 0; i < type->results_count; i++)
            fields[i] = lower_type(lm, type->results[i]);
        result = LLVMStructTypeInContext(lm->ctx, fields, type->results_count, false);
    }
    LLVMTypeRef functype = LLVMFunctionType(result, params, used, false);
    if (params != small)
        free(params);
    return functype;
}

static void attribute_add(struct lower_module *lm, LLVMValueRef fn, const char *name,
                          const char *value) {
    LLVMAttributeRef attribute = LLVMCreateStringAttribute(lm->ctx, name, (unsigned)strlen(name),
                                                           value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, attribute);
}

void lower_set_nounwind(struct lower_module *lm, LLVMValueRef fn) {
    unsigned kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, LLVMCreateEnumAttribute(lm->ctx, kind, 0));
}

/*
 * disable-tail-calls: endless recursion must exhaust the stack, not become a loop. no-builtins: a
 * loop must not become a call of memset, whose page faults would come from the runtime and not from
 * a function of the module. Frames below 1 MiB need no probe: every call pushes its return address,
 * and the guard below the stack is far bigger (abi/layout.h). Deliberately no mustprogress and no
 * willreturn: an endless loop stays one.
 */
void lower_func_attributes(struct lower_module *lm, LLVMValueRef fn) {
    unsigned uwtable = LLVMGetEnumAttributeKindForName("uwtable", 7);
    if (!lm->program->has_exceptions)
        lower_set_nounwind(lm, fn);
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, LLVMCreateEnumAttribute(lm->ctx, uwtable, 2));
    attribute_add(lm, fn, "disable-tail-calls", "true");
    attribute_add(lm, fn, "no-builtins", "");
    attribute_add(lm, fn, "probe-stack", "inline-asm");
    attribute_add(lm, fn, "stack-probe-size", "1048576");
}

LLVMValueRef lower_func_symbol(struct lower_module *lm, uint32_t func_idx) {
    char name[32];
    snprintf(name, sizeof name, "i0.f%" PRIu32, func_idx);
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, name);
    if (fn != NULL)
        return fn;
    fn = LLVMAddFunction(lm->mod, name,
                         lower_functype(lm, program_func_type(lm->program, func_idx)));
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    LLVMSetFunctionCallConv(fn, lower_call_conv(lm));
    if (lm->is_quiet != NULL && lm->is_quiet[func_idx])
        lower_set_nounwind(lm, fn);
    return fn;
}

static LLVMValueRef symbol_get(struct lower_module *lm, const char *name, LLVMTypeRef type,
                               bool *ret_is_new) {
    LLVMValueRef global = LLVMGetNamedGlobal(lm->mod, name);
    *ret_is_new = global == NULL;
    if (global == NULL) {
        global = LLVMAddGlobal(lm->mod, type, name);
        LLVMSetLinkage(global, LLVMExternalLinkage);
        LLVMSetVisibility(global, LLVMHiddenVisibility);
    }
    return global;
}

static void symbol_name(char *ret_name, size_t size, const char *stem, uint32_t idx) {
    if (idx == UINT32_MAX)
        snprintf(ret_name, size, "%s", stem);
    else
        snprintf(ret_name, size, "%s%" PRIu32, stem, idx);
}

LLVMValueRef lower_absolute(struct lower_module *lm, const char *stem, uint32_t idx,
                            LLVMTypeRef type, uint64_t address) {
    char name[32];
    bool is_new;
    if (lm->tier == LOWER_TIER_FAST)
        return LLVMConstIntToPtr(lower_const_i64(lm, address), lm->ptr);
    symbol_name(name, sizeof name, stem, idx);
    LLVMValueRef global = symbol_get(lm, name, type, &is_new);
    if (is_new) {
        LLVMMetadataRef range[2] = {LLVMValueAsMetadata(lower_const_i64(lm, address)),
                                    LLVMValueAsMetadata(lower_const_i64(lm, address + 1))};
        LLVMGlobalSetMetadata(global, lm->absolute_symbol_kind,
                              LLVMMDNodeInContext2(lm->ctx, range, 2));
        LLVMSetAlignment(global, address % HUSK_WASM_PAGE_SIZE == 0 ? HUSK_WASM_PAGE_SIZE : 8);
    }
    return global;
}

LLVMValueRef lower_linker_symbol(struct lower_module *lm, const char *stem, uint32_t idx) {
    char name[32];
    bool is_new;
    symbol_name(name, sizeof name, stem, idx);
    return symbol_get(lm, name, lm->bytes, &is_new);
}

LLVMValueRef lower_runtime_func(struct lower_module *lm, const char *name) {
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, name);
    if (fn != NULL)
        return fn;
    fn = LLVMAddFunction(lm->mod, name, lm->hostcall_type);
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    /* a host function may throw */
    if (!lm->program->has_exceptions || strcmp(name, "husk.service") == 0)
        lower_set_nounwind(lm, fn);
    return fn;
}

LLVMValueRef lower_mailbox_field(struct lower_module *lm, uint32_t offset) {
    if (lm->tier == LOWER_TIER_FAST)
        return LLVMConstIntToPtr(lower_const_i64(lm, HUSK_MAILBOX_GVA + offset), lm->ptr);
    LLVMValueRef mailbox =
        lower_absolute(lm, "husk.mailbox", UINT32_MAX, lm->bytes, HUSK_MAILBOX_GVA);
    LLVMValueRef index = lower_const_i64(lm, offset);
    return LLVMConstGEP2(lm->i8, mailbox, &index, 1);
}

LLVMValueRef lower_param_slot(struct lower_module *lm, uint32_t param_idx) {
    return lower_mailbox_field(lm, HUSK_MBOX_HOST_SLOTS + param_idx * HUSK_SLOT_BYTES);
}
