/*
 * compiler/lower/lower_exceptions.c: throws, and the blocks that catch (core specification 3.0,
 * section 4.6.5): throw, throw_ref, try_table. lower_legacy.c has the older instructions, which use
 * the same parts.
 *
 * A call inside a try is an invoke. All invokes of one try have one landing pad, and its code is
 * off the path of code that does not throw: nothing else is done when a try begins or ends. The
 * unwinder (guest/throw.c) walks the stack to the first frame with a landing pad that names the
 * exception's tag, and passes the tag. So a landing pad names the tags of all tries around it in
 * the function. The code behind it compares the tag with the clauses, innermost try first. The
 * values lie in the pending exception (abi/exception.h), where the handler reads them.
 *
 * A throw that is caught in the same function is a branch.
 */
#include <stdlib.h>

#include "exception.h"
#include "lower.h"

/* A landing pad's list: tags, and clauses looked at; and different tags in the lists of a function,
 * among which LLVM searches one by one. Beyond them the list catches all: the frame is found for
 * every exception, and code throws those on that no clause catches. */
#define PAD_TAGS_MAX 64
#define PAD_STEPS_MAX 256
#define FUNC_TAGS_MAX 512
/* Landing pads of a function, among which LLVM searches, too. Tries beyond them share one. */
#define FUNC_PADS_MAX 1000

static struct lower_try *handler_of(const struct lower_func *lf) {
    return lf->frames_count > 0 ? lf->frames[lf->frames_count - 1].handler : NULL;
}

/* ---- the pending exception ---- */

static LLVMValueRef pending_field(struct lower_module *lm, uint32_t offset) {
    uint32_t gva = lm->plan->exception_gva;
    if (lm->tier == LOWER_TIER_FAST)
        return LLVMConstIntToPtr(lower_const_i64(lm, gva + offset), lm->ptr);
    LLVMValueRef pending = lower_absolute(lm, "husk.exception", UINT32_MAX, lm->bytes, gva);
    LLVMValueRef index = lower_const_i64(lm, offset);
    return LLVMConstGEP2(lm->i8, pending, &index, 1);
}

static LLVMValueRef pending_value(struct lower_module *lm, uint32_t idx) {
    return pending_field(lm,
                         (uint32_t)offsetof(struct husk_exception, values) + idx * HUSK_SLOT_BYTES);
}

void lower_push_caught(struct lower_func *lf, uint32_t tag_idx) {
    const struct wasm_functype *type = program_tag_type(lf->lm->program, tag_idx);
    for (uint32_t i = 0; i < type->params_count; i++)
        lower_push(lf, LLVMBuildLoad2(lf->builder, lower_type(lf->lm, type->params[i]),
                                      pending_value(lf->lm, i), ""));
}

/* ---- functions of the runtime ---- */

static LLVMValueRef runtime_func(struct lower_module *lm, const char *name, LLVMTypeRef result,
                                 LLVMTypeRef *param) {
    LLVMValueRef fn = LLVMGetNamedFunction(lm->mod, name);
    if (fn != NULL)
        return fn;
    fn = LLVMAddFunction(lm->mod, name, LLVMFunctionType(result, param, param != NULL, false));
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    return fn;
}

LLVMValueRef lower_take_caught(struct lower_func *lf, uint64_t offset) {
    struct lower_module *lm = lf->lm;
    LLVMValueRef fn = runtime_func(lm, "husk.exn_take", lm->i64, NULL);
    lower_set_nounwind(lm, fn);
    uint64_t current = lf->instr.offset;
    lf->instr.offset = offset;
    lower_locate(lf);
    lf->instr.offset = current;
    LLVMValueRef ref = LLVMBuildCall2(lf->builder, LLVMGlobalGetValueType(fn), fn, NULL, 0, "");
    LLVMSetCurrentDebugLocation2(lf->builder, NULL);
    return ref;
}

/* husk.throw and husk.throw_ref: they do not return. */
static LLVMValueRef throwing_func(struct lower_module *lm, const char *name, LLVMTypeRef param) {
    LLVMValueRef fn = runtime_func(lm, name, lm->void_type, &param);
    unsigned noreturn = LLVMGetEnumAttributeKindForName("noreturn", 8);
    unsigned cold = LLVMGetEnumAttributeKindForName("cold", 4);
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, LLVMCreateEnumAttribute(lm->ctx, noreturn, 0));
    LLVMAddAttributeAtIndex(fn, LOWER_ATTRIBUTES, LLVMCreateEnumAttribute(lm->ctx, cold, 0));
    return fn;
}

static void call_throwing(struct lower_func *lf, const char *name, LLVMValueRef arg) {
    LLVMValueRef fn = throwing_func(lf->lm, name, LLVMTypeOf(arg));
    LLVMValueRef call = lower_call_or_invoke(lf, LLVMGlobalGetValueType(fn), fn, &arg, 1);
    LLVMAddCallSiteAttribute(call, LOWER_ATTRIBUTES,
                             lf->lm->nomerge); /* backtraces tell them apart */
    LLVMBuildUnreachable(lf->builder);
    lf->is_reachable = false;
}

/* ---- what a try's clauses become ---- */

/* Where a clause begins. That of a try_table is done at once: it goes to a label. */
static LLVMBasicBlockRef clause_block(struct lower_func *lf, const struct lower_try *try,
                                      struct lower_clause *clause) {
    if (clause->block != NULL)
        return clause->block;
    clause->block = lower_new_block(lf, "");
    if (try->is_legacy)
        return clause->block;
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    uint32_t height = lf->stack_count;
    LLVMPositionBuilderAtEnd(lf->builder, clause->block);
    if (clause->kind == WASM_CATCH || clause->kind == WASM_CATCH_REF)
        lower_push_caught(lf, clause->tag_idx);
    if (clause->kind == WASM_CATCH_REF || clause->kind == WASM_CATCH_ALL_REF)
        lower_push(lf, lower_take_caught(lf, try->offset));
    if (lf->status == 0)
        lower_branch_to(lf, &lf->frames[clause->frame_idx]);
    lf->stack_count = height;
    LLVMPositionBuilderAtEnd(lf->builder, current);
    return clause->block;
}

static bool has_tag(const struct lower_clause *clause) {
    return clause->kind == WASM_CATCH || clause->kind == WASM_CATCH_REF;
}

/* The block that finds the clause for a tag; filled by dispatch_fill(). */
static LLVMBasicBlockRef dispatch_block(struct lower_func *lf, struct lower_try *try) {
    if (try->dispatch != NULL)
        return try->dispatch;
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    try->dispatch = lower_new_block(lf, "");
    LLVMPositionBuilderAtEnd(lf->builder, try->dispatch);
    try->selector = LLVMBuildPhi(lf->builder, lf->lm->i32, "");
    LLVMPositionBuilderAtEnd(lf->builder, current);
    return try->dispatch;
}

/* No clause catches it: to the try around this one, or thrown on. The unwinder chose this frame, so
 * the latter is for landing pads that catch all for want of room, and for those that LLVM gives
 * more clauses when it inlines the function. */
static LLVMBasicBlockRef otherwise(struct lower_func *lf, struct lower_try *try) {
    struct lower_module *lm = lf->lm;
    if (try->outer != NULL) {
        LLVMBasicBlockRef outer = dispatch_block(lf, try->outer);
        LLVMAddIncoming(try->outer->selector, &try->selector, &try->dispatch, 1);
        return outer;
    }
    LLVMBasicBlockRef block = lower_new_block(lf, "");
    LLVMPositionBuilderAtEnd(lf->builder, block);
    LLVMValueRef fn = throwing_func(lm, "husk.throw", lm->i32);
    lower_locate(lf);
    LLVMBuildCall2(lf->builder, LLVMGlobalGetValueType(fn), fn, &try->selector, 1, "");
    LLVMSetCurrentDebugLocation2(lf->builder, NULL);
    LLVMBuildUnreachable(lf->builder);
    return block;
}

/* In order: a clause after one for the same tag, or after a catch_all, never catches. */
static void dispatch_fill(struct lower_func *lf, struct lower_try *try) {
    struct lower_module *lm = lf->lm;
    LLVMBasicBlockRef block = dispatch_block(lf, try), otherwise_block = NULL;
    uint32_t end = 0;
    while (end < try->clauses_count && has_tag(&try->clauses[end]))
        end++;
    otherwise_block =
        end < try->clauses_count ? clause_block(lf, try, &try->clauses[end]) : otherwise(lf, try);
    LLVMPositionBuilderAtEnd(lf->builder, block);
    LLVMValueRef choice = LLVMBuildSwitch(lf->builder, try->selector, otherwise_block, end);
    lm->tag_stamp++;
    for (uint32_t i = 0; i < end; i++) {
        struct lower_clause *clause = &try->clauses[i];
        if (lm->tag_stamps[clause->tag_idx] == lm->tag_stamp)
            continue;
        lm->tag_stamps[clause->tag_idx] = lm->tag_stamp;
        LLVMAddCase(choice, lower_const_i32(lm, clause->tag_idx), clause_block(lf, try, clause));
    }
    try->is_dispatched = true;
}

/* ---- landing pads ---- */

static bool names_more(struct lower_func *lf, uint32_t tag_idx) {
    struct lower_module *lm = lf->lm;
    if (lm->tag_names[tag_idx] == lm->funcs_made)
        return true;
    if (lf->named_tags == FUNC_TAGS_MAX)
        return false;
    lm->tag_names[tag_idx] = lm->funcs_made;
    lf->named_tags++;
    return true;
}

/* The tags that the try and those around it catch. False: it catches all. */
static bool pad_add_tags(struct lower_func *lf, LLVMValueRef pad, const struct lower_try *try) {
    struct lower_module *lm = lf->lm;
    uint32_t steps = 0, tags = 0;
    lm->tag_stamp++;
    for (; try != NULL; try = try->outer, steps++)
        for (uint32_t i = 0; i < try->clauses_count; i++, steps++) {
            const struct lower_clause *clause = &try->clauses[i];
            if (!has_tag(clause) || steps >= PAD_STEPS_MAX)
                return false;
            if (lm->tag_stamps[clause->tag_idx] == lm->tag_stamp)
                continue;
            lm->tag_stamps[clause->tag_idx] = lm->tag_stamp;
            if (tags++ == PAD_TAGS_MAX || !names_more(lf, clause->tag_idx))
                return false;
            LLVMAddClause(pad, lower_linker_symbol(lm, "i0.tag", clause->tag_idx));
        }
    return steps < PAD_STEPS_MAX;
}

static LLVMValueRef build_pad(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMTypeRef types[2] = {lm->ptr, lm->i32};
    LLVMValueRef personality = runtime_func(lm, "husk.personality", lm->void_type, NULL);
    return LLVMBuildLandingPad(lf->builder, LLVMStructTypeInContext(lm->ctx, types, 2, false),
                               personality, 0, "");
}

/* Exceptions may come to this try, and then to those around it. */
static void dispatch_all(struct lower_func *lf, struct lower_try *try) {
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    for (; try != NULL && try->dispatch != NULL && !try->is_dispatched; try = try->outer)
        dispatch_fill(lf, try);
    LLVMPositionBuilderAtEnd(lf->builder, current);
}

static LLVMBasicBlockRef own_pad(struct lower_func *lf, struct lower_try *try) {
    struct lower_module *lm = lf->lm;
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    lf->pads_count++;
    try->pad = lower_new_block(lf, "");
    LLVMPositionBuilderAtEnd(lf->builder, try->pad);
    LLVMValueRef pad = build_pad(lf);
    if (!pad_add_tags(lf, pad, try))
        LLVMAddClause(pad, LLVMConstNull(lm->ptr));
    LLVMValueRef selector = LLVMBuildExtractValue(lf->builder, pad, 1, "");
    LLVMBuildBr(lf->builder, dispatch_block(lf, try));
    LLVMAddIncoming(try->selector, &selector, &try->pad, 1);
    LLVMPositionBuilderAtEnd(lf->builder, current);
    dispatch_all(lf, try);
    return try->pad;
}

/* The pad of all tries beyond FUNC_PADS_MAX. Before an invoke, code stores the number of its
 * try. */
static void shared_pad_new(struct lower_func *lf) {
    struct lower_module *lm = lf->lm;
    LLVMBasicBlockRef current = LLVMGetInsertBlock(lf->builder);
    lf->shared_slot = lower_alloca(lf, lm->i32, 1);
    lf->shared_pad = lower_new_block(lf, "");
    LLVMPositionBuilderAtEnd(lf->builder, lf->shared_pad);
    LLVMValueRef pad = build_pad(lf);
    LLVMAddClause(pad, LLVMConstNull(lm->ptr));
    lf->shared_selector = LLVMBuildExtractValue(lf->builder, pad, 1, "");
    LLVMValueRef number = LLVMBuildLoad2(lf->builder, lm->i32, lf->shared_slot, "");
    LLVMBasicBlockRef none = lower_new_block(lf, "");
    lf->shared_choice = LLVMBuildSwitch(lf->builder, number, none, 0);
    LLVMPositionBuilderAtEnd(lf->builder, none);
    LLVMBuildUnreachable(lf->builder);
    LLVMPositionBuilderAtEnd(lf->builder, current);
}

static LLVMBasicBlockRef shared_pad(struct lower_func *lf, struct lower_try *try) {
    if (lf->shared_pad == NULL)
        shared_pad_new(lf);
    if (try->number == 0) {
        try->number = ++lf->shared_count;
        LLVMAddCase(lf->shared_choice, lower_const_i32(lf->lm, try->number),
                    dispatch_block(lf, try));
        LLVMAddIncoming(try->selector, &lf->shared_selector, &lf->shared_pad, 1);
        dispatch_all(lf, try);
    }
    LLVMBuildStore(lf->builder, lower_const_i32(lf->lm, try->number), lf->shared_slot);
    return lf->shared_pad;
}

static LLVMBasicBlockRef landing_pad(struct lower_func *lf, struct lower_try *try) {
    if (try->pad != NULL)
        return try->pad;
    return lf->pads_count < FUNC_PADS_MAX ? own_pad(lf, try) : shared_pad(lf, try);
}

static bool is_quiet(LLVMValueRef callee) {
    unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    return LLVMIsAFunction(callee) != NULL &&
           LLVMGetEnumAttributeAtIndex(callee, LOWER_ATTRIBUTES, nounwind) != NULL;
}

LLVMValueRef lower_call_or_invoke(struct lower_func *lf, LLVMTypeRef type, LLVMValueRef callee,
                                  LLVMValueRef *args, uint32_t args_count) {
    struct lower_try *handler = handler_of(lf);
    if (handler == NULL || is_quiet(callee)) {
        lower_locate(lf);
        return LLVMBuildCall2(lf->builder, type, callee, args, args_count, "");
    }
    LLVMBasicBlockRef pad = landing_pad(lf, handler);
    LLVMBasicBlockRef next = lower_new_block(lf, "");
    lower_locate(lf);
    LLVMValueRef call =
        LLVMBuildInvoke2(lf->builder, type, callee, args, args_count, next, pad, "");
    lower_enter_block(lf, next);
    return call;
}

/* ---- tries ---- */

static bool make_stamps(struct lower_module *lm) {
    size_t count = lm->program->tags_count + 1u;
    if (lm->tag_stamps == NULL)
        lm->tag_stamps = calloc(count, sizeof *lm->tag_stamps);
    if (lm->tag_names == NULL)
        lm->tag_names = calloc(count, sizeof *lm->tag_names);
    return lm->tag_stamps != NULL && lm->tag_names != NULL;
}

struct lower_try *lower_try_new(struct lower_func *lf, uint32_t clauses_count) {
    struct lower_try *try = calloc(1, sizeof *try + clauses_count * sizeof try->clauses[0]);
    if (try == NULL || !make_stamps(lf->lm)) {
        free(try);
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
        return NULL;
    }
    try->outer = handler_of(lf);
    try->offset = lf->instr.offset;
    try->clauses_count = clauses_count;
    try->made_before = lf->tries;
    lf->tries = try;
    return try;
}

void lower_tries_free(struct lower_func *lf) {
    while (lf->tries != NULL) {
        struct lower_try *try = lf->tries;
        lf->tries = try->made_before;
        free(try);
    }
}

static void emit_try_table(struct lower_func *lf) {
    const struct wasm_instr *instr = &lf->instr;
    struct wasm_bytes catches = instr->try_table.catches;
    struct lower_try *try = lower_try_new(lf, instr->try_table.count);
    for (uint32_t i = 0; try != NULL && i < try->clauses_count; i++) {
        struct wasm_catch clause;
        if (program_read_catch(lf->instance, &catches, &clause) != 0) {
            lower_fail(lf, HUSK_E_COMPILER, "a clause of a validated try_table could not be read");
            return;
        }
        try->clauses[i] = (struct lower_clause){.kind = clause.kind,
                                                .tag_idx = clause.tag_idx,
                                                .frame_idx = lf->frames_count - 1 - clause.depth};
    }
    struct lower_frame *frame = try == NULL ? NULL : lower_frame_open(lf, &instr->try_table.block);
    if (frame != NULL && try->clauses_count > 0)
        frame->handler = try;
}

/* ---- throws ---- */

/* The clause of this function that catches the tag; NULL: none, or too many to look at. */
static struct lower_clause *find_clause(struct lower_func *lf, uint32_t tag_idx,
                                        struct lower_try **ret_try) {
    uint32_t steps = 0;
    for (struct lower_try *try = handler_of(lf); try != NULL; try = try->outer, steps++)
        for (uint32_t i = 0; i < try->clauses_count && steps < PAD_STEPS_MAX; i++, steps++)
            if (!has_tag(&try->clauses[i]) || try->clauses[i].tag_idx == tag_idx) {
                *ret_try = try;
                return &try->clauses[i];
            }
    return NULL;
}

void lower_throw(struct lower_func *lf, uint32_t tag_idx, const LLVMValueRef *values) {
    struct lower_module *lm = lf->lm;
    const struct wasm_functype *type = program_tag_type(lm->program, tag_idx);
    struct lower_try *try = NULL;
    for (uint32_t i = 0; i < type->params_count; i++)
        LLVMBuildStore(lf->builder, values[i], pending_value(lm, i));
    struct lower_clause *clause = find_clause(lf, tag_idx, &try);
    if (clause == NULL) {
        call_throwing(lf, "husk.throw", lower_const_i32(lm, tag_idx));
        return;
    }
    LLVMBuildStore(lf->builder, lower_const_i32(lm, tag_idx + 1),
                   pending_field(lm, (uint32_t)offsetof(struct husk_exception, tag)));
    LLVMBuildBr(lf->builder, clause_block(lf, try, clause));
    lf->is_reachable = false;
}

void lower_throw_ref(struct lower_func *lf, LLVMValueRef ref) {
    call_throwing(lf, "husk.throw_ref", ref);
}

static void emit_throw(struct lower_func *lf) {
    lf->stack_count -= program_tag_type(lf->lm->program, lf->instr.idx)->params_count;
    lower_throw(lf, lf->instr.idx, lf->stack + lf->stack_count);
}

static void emit_throw_ref(struct lower_func *lf) {
    lower_throw_ref(lf, lower_pop(lf));
}

static const struct lower_row exception_rows[] = {
    {.op = WASM_OP_THROW, .emit = emit_throw},
    {.op = WASM_OP_THROW_REF, .emit = emit_throw_ref},
    {.op = WASM_OP_TRY_TABLE, .emit = emit_try_table},
};
const struct lower_rows lower_exception_rows = {exception_rows,
                                                sizeof exception_rows / sizeof exception_rows[0]};
