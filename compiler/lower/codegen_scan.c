/*
 * compiler/lower/codegen_scan.c: reads every function before any is lowered. It finds
 * the functions that are too big for the optimiser, and cuts the program into chunks.
 */
#include <stdlib.h>
#include <string.h>

#include "codegen_internal.h"
#include "error.h"

/* Chunks: big enough that LLVM's fixed cost per module (about 2 ms) does not count, small enough to
 * share out evenly. */
#define CHUNK_BYTES_FULL 65536
#define CHUNK_BYTES_FAST 262144

/* Beyond these a function gets FastISel: passes that are quadratic in them would take minutes.
 * Measured with generated functions. */
#define FULL_BODY_BYTES_MAX 200000
#define FULL_BLOCK_ACCESSES_MAX 2000
#define FULL_LABELS_MAX 20000
#define FULL_BLOCKS_MAX 7000
#define FULL_TRIES_MAX 1000
/* Locals times calls in functions with tries: a landing pad has a phi for each of the former, with
 * an entry for each of the latter. */
#define FULL_PAD_VALUES_MAX 500000u
#define FULL_CALL_VALUES_MAX 50000
/* In a program with tail calls most of them go through memory (lower_tail.c). */
#define FULL_CALL_VALUES_IN_MEMORY_MAX 12500
/* Divisions and truncations: InstCombine asks every condition on the divisor at each of them. */
#define FULL_CHECK_BLOCKS_MAX 4000
#define FULL_LOCALS_MAX 5000
#define FULL_LOCALS_TIMES_BLOCKS_MAX 8000000u

struct scan {
    uint64_t blocks, labels, check_blocks;
    uint64_t call_values; /* arguments and results of all calls, throws and catches */
    uint64_t calls, tries;
    uint32_t block_accesses, block_accesses_max;
    bool is_after_access;
};

/* lower_atomic.c checks its address. */
static bool is_aligned_access(enum wasm_op op) {
    return wasm_opinfo(op)->feature == WASM_FEATURE_THREADS &&
           wasm_opinfo(op)->imm == WASM_IMM_MEMARG && wasm_op_access_log2(op) != 0;
}

/* A check makes blocks, too: for its trap, and for what follows. */
uint32_t codegen_check_blocks(enum wasm_op op) {
    switch (op) {
    case WASM_OP_I32_DIV_S:
    case WASM_OP_I64_DIV_S: return 4;
    case WASM_OP_I32_TRUNC_F32_S:
    case WASM_OP_I32_TRUNC_F32_U:
    case WASM_OP_I32_TRUNC_F64_S:
    case WASM_OP_I32_TRUNC_F64_U:
    case WASM_OP_I64_TRUNC_F32_S:
    case WASM_OP_I64_TRUNC_F32_U:
    case WASM_OP_I64_TRUNC_F64_S:
    case WASM_OP_I64_TRUNC_F64_U: return 4;
    case WASM_OP_I32_DIV_U:
    case WASM_OP_I64_DIV_U:
    case WASM_OP_I32_REM_S:
    case WASM_OP_I64_REM_S:
    case WASM_OP_I32_REM_U:
    case WASM_OP_I64_REM_U: return 2;
    case WASM_OP_MEMORY_ATOMIC_WAIT32:
    case WASM_OP_MEMORY_ATOMIC_WAIT64: return 4;
    default: return is_aligned_access(op) ? 2 : 0;
    }
}

static void scan_call(struct scan *scan, const struct wasm_functype *type) {
    scan->call_values += (uint64_t)type->params_count + type->results_count;
    scan->calls++;
}

/* A clause and a handler are blocks, and so is what follows a call in a try: see scan_is_huge(). */
static void scan_tag(struct scan *scan, const struct program *program,
                     const struct wasm_instr *instr) {
    scan->call_values += program_tag_type(program, instr->idx)->params_count;
    scan->block_accesses = 0;
    scan->blocks += 2;
}

static void scan_try(struct scan *scan, uint32_t clauses_count) {
    scan->labels += clauses_count;
    scan->blocks += 3 + (uint64_t)clauses_count;
    scan->block_accesses = 0;
    scan->tries++;
}

/* Blocks for the checks that an access makes itself. */
static void scan_access(struct scan *scan, const struct program *program,
                        const struct wasm_instr *instr) {
    const bool is_access = wasm_opinfo(instr->op)->imm == WASM_IMM_MEMARG ||
                           wasm_opinfo(instr->op)->imm == WASM_IMM_MEMARG_LANE;
    if (is_access && program_memory(program, instr->mem.memory_idx)->has_byte_pages)
        scan->check_blocks += 2; /* lower_pages.c checks each access */
    /* lower_memory64.c, too. These conditions are simpler: 4,000 of one pointer take 11 s. */
    if (is_access && program_memory(program, instr->mem.memory_idx)->limits.is_64)
        scan->check_blocks++;
    if (instr->op == WASM_OP_DROP && scan->is_after_access)
        scan->check_blocks += 2; /* lower_touch.c */
    scan->is_after_access = is_access;
}

static void scan_instr(struct scan *scan, const struct program *program,
                       const struct wasm_instr *instr) {
    scan->check_blocks += codegen_check_blocks(instr->op);
    scan_access(scan, program, instr);
    switch (wasm_opinfo(instr->op)->imm) {
    case WASM_IMM_MEMARG:
    case WASM_IMM_MEMARG_LANE:
    case WASM_IMM_MEMORY:
    case WASM_IMM_GLOBAL:
        if (++scan->block_accesses > scan->block_accesses_max)
            scan->block_accesses_max = scan->block_accesses;
        break;
    case WASM_IMM_BR_TABLE:
        scan->labels += instr->br_table.count + 1u;
        scan->block_accesses = 0;
        scan->blocks++;
        break;
    case WASM_IMM_TAG: scan_tag(scan, program, instr); break;
    case WASM_IMM_TRY_TABLE: scan_try(scan, instr->try_table.count); break;
    case WASM_IMM_BLOCKTYPE:
    case WASM_IMM_LABEL:
        if (instr->op == WASM_OP_TRY)
            scan_try(scan, 0);
        scan->block_accesses = 0;
        scan->blocks++;
        break;
    case WASM_IMM_FUNC:
        if (instr->op == WASM_OP_CALL || instr->op == WASM_OP_RETURN_CALL)
            scan_call(scan, program_func_type(program, instr->idx));
        break;
    case WASM_IMM_TYPE: /* call_ref, return_call_ref: of the others, none is lowered */
    case WASM_IMM_CALL_INDIRECT:
        scan_call(scan, &program->types[instr->idx]);
        scan->blocks += 4;
        break;
    case WASM_IMM_TABLE:
    case WASM_IMM_TABLE2:
    case WASM_IMM_TABLE_INIT:
    case WASM_IMM_MEMORY2:
    case WASM_IMM_MEMORY_INIT: scan->blocks += 4; break;
    default: break;
    }
}

static bool scan_is_huge(const struct scan *scan, const struct wasm_func *func,
                         bool has_tail_calls) {
    const uint64_t blocks = scan->blocks + (scan->tries > 0 ? scan->calls : 0);
    const uint64_t call_values_max =
        has_tail_calls ? FULL_CALL_VALUES_IN_MEMORY_MAX : FULL_CALL_VALUES_MAX;
    return func->code.count > FULL_BODY_BYTES_MAX ||
           scan->block_accesses_max > FULL_BLOCK_ACCESSES_MAX || scan->labels > FULL_LABELS_MAX ||
           blocks > FULL_BLOCKS_MAX || scan->tries > FULL_TRIES_MAX ||
           scan->call_values > call_values_max || scan->check_blocks > FULL_CHECK_BLOCKS_MAX ||
           func->locals_count > FULL_LOCALS_MAX ||
           func->locals_count * blocks > FULL_LOCALS_TIMES_BLOCKS_MAX ||
           (scan->tries > 0 && func->locals_count * scan->calls > FULL_PAD_VALUES_MAX);
}

static int scan_body(const struct program *program, uint32_t func_idx, bool has_tail_calls,
                     bool *ret_is_huge, struct husk_error *err) {
    const struct wasm_func *func = program_func(program, func_idx);
    struct scan scan = {0};
    struct wasm_reader reader;
    struct wasm_instr instr;
    wasm_reader_init(&reader, func->code, err);
    while (reader.pos < reader.end) {
        int status = program_read_instr(program_instance(program, program->funcs[func_idx]),
                                        &reader, &instr);
        if (status != 0)
            return status;
        scan_instr(&scan, program, &instr);
    }
    *ret_is_huge = scan_is_huge(&scan, func, has_tail_calls);
    return 0;
}

static void item_add(struct chunks *chunks, struct item item) {
    chunks->items[chunks->items_count++] = item;
}

static int scan_func(const struct program *program, uint32_t func_idx, int opt_level,
                     struct chunks *chunks, struct husk_error *err) {
    const struct wasm_func *func = program_func(program, func_idx);
    struct item item = {.kind = ITEM_IMPORT_STUB, .idx = func_idx, .weight = 64};
    bool is_huge = false;
    if (!func->is_import) {
        int status = scan_body(program, func_idx, chunks->has_tail_calls, &is_huge, err);
        if (status != 0)
            return status;
        item.kind = ITEM_FUNC;
        item.weight = func->code.count + 16;
    }
    item.tier = is_huge || opt_level == 0 ? LOWER_TIER_FAST : LOWER_TIER_FULL;
    item_add(chunks, item);
    return 0;
}

static bool program_has_tail_calls(const struct program *program) {
    bool result = false;
    for (uint32_t i = 0; i < program->instances_count; i++)
        result |= (program->instances[i].module->used.set & WASM_FEATURE_BIT(TAIL_CALLS)) != 0;
    return result;
}

static int scan_program(const struct program *program, int opt_level, struct chunks *chunks,
                        struct husk_error *err) {
    for (uint32_t i = 0; i < program->funcs_count; i++) {
        int status = scan_func(program, i, opt_level, chunks, err);
        if (status != 0)
            return status;
    }
    return 0;
}

/* A thunk for each type of a function that can be called from outside or as a value. */
static void scan_thunks(const struct plan *plan, int opt_level, struct chunks *chunks, bool *seen) {
    const struct program *program = plan->program;
    enum lower_tier tier = opt_level == 0 ? LOWER_TIER_FAST : LOWER_TIER_FULL;
    for (uint32_t i = 0; i < program->funcs_count; i++) {
        uint32_t type_idx = program_func_type_idx(program, i);
        if (seen[type_idx])
            continue;
        seen[type_idx] = true;
        const struct wasm_functype *type = &program->types[type_idx];
        uint32_t weight = 64 + 16 * (type->params_count + type->results_count);
        item_add(chunks, (struct item){
                             .kind = ITEM_THUNK, .idx = type_idx, .weight = weight, .tier = tier});
    }
}

/* Init functions are big, straight and run once. */
static void scan_init(const struct plan *plan, struct chunks *chunks) {
    struct item item = {.kind = ITEM_INIT, .idx = LOWER_INIT_ALL, .weight = 1024};
    item.tier = LOWER_TIER_FAST;
    if (plan->needs_init)
        item_add(chunks, item);
    if (plan->program->instances_count == 1)
        return;
    for (item.idx = 0; item.idx < plan->program->instances_count; item.idx++)
        if (plan->instance_needs_init[item.idx])
            item_add(chunks, item);
}

/* Next fit, in order of the items, one open chunk per tier. */
static void chunks_cut(struct chunks *chunks, enum lower_tier tier, uint32_t bytes_max) {
    uint64_t bytes = 0;
    struct chunk *open = NULL;
    for (uint32_t i = 0; i < chunks->items_count; i++) {
        if (chunks->items[i].tier != tier)
            continue;
        if (open == NULL || bytes + chunks->items[i].weight > bytes_max) {
            open = &chunks->chunks[chunks->chunks_count++];
            *open = (struct chunk){.tier = tier, .first = i};
            bytes = 0;
        }
        bytes += chunks->items[i].weight;
        open->count = i + 1 - open->first; /* items of the other tier in between are passed over */
        open->funcs_count += chunks->items[i].kind == ITEM_FUNC;
    }
}

int codegen_scan(const struct plan *plan, const struct codegen_options *options,
                 struct chunks *ret_chunks, struct husk_error *err) {
    const struct program *program = plan->program;
    struct chunks chunks = {.has_tail_calls = program_has_tail_calls(program)};
    size_t items_max =
        (size_t)program->funcs_count + program->types_count + program->instances_count + 1;
    chunks.items = calloc(items_max, sizeof *chunks.items);
    chunks.chunks = calloc(items_max, sizeof *chunks.chunks);
    bool *seen = calloc(program->types_count + 1u, sizeof(bool));
    int status = 0;
    if (chunks.items == NULL || chunks.chunks == NULL || seen == NULL)
        status = error_set(err, HUSK_E_NOMEM, "out of memory");
    if (status == 0)
        status = scan_program(program, options->opt_level, &chunks, err);
    if (status == 0) {
        scan_thunks(plan, options->opt_level, &chunks, seen);
        scan_init(plan, &chunks);
        chunks_cut(&chunks, LOWER_TIER_FULL, CHUNK_BYTES_FULL);
        chunks_cut(&chunks, LOWER_TIER_FAST, CHUNK_BYTES_FAST);
        *ret_chunks = chunks;
    } else {
        chunks_done(&chunks);
    }
    free(seen);
    return status;
}

void chunks_done(struct chunks *chunks) {
    free(chunks->items);
    free(chunks->chunks);
    free(chunks->is_quiet);
    free(chunks->smalls);
}
