/*
 * compiler/lower/lower_legacy.c: the exceptions of the legacy proposal: try, catch, catch_all,
 * delegate, rethrow. They are made of the parts of lower_exceptions.c.
 *
 * The clauses of a try come after its body, whose landing pad needs them. So lower_legacy_scan()
 * reads the function once before it is lowered.
 */
#include <stdlib.h>
#include <string.h>

#include "lower.h"

#define NONE UINT32_MAX

/* What comes after a try's body. */
struct legacy_try {
    uint64_t offset;       /* of the try */
    uint32_t first_clause; /* NONE: none */
    uint32_t last_clause;
    uint32_t clauses_count;
    uint32_t delegate; /* the label; NONE: it does not delegate */
};

struct legacy_clause {
    uint32_t tag_idx; /* flat; NONE: catch_all */
    uint32_t next;    /* of the same try */
    bool is_rethrown; /* a rethrow refers to it */
};

/* ---- before the function is lowered ---- */

/* A block that is open; for a try that is in its body, clause_idx is NONE. */
struct open_block {
    uint32_t try_idx, clause_idx;
};

struct legacy_scan {
    struct lower_func *lf;
    struct open_block *open;
    uint32_t open_count, open_cap;
};

static struct legacy_try *try_at(struct lower_func *lf, uint32_t idx) {
    return &((struct legacy_try *)(void *)lf->legacy_tries.data)[idx];
}

static struct legacy_clause *clause_at(struct lower_func *lf, uint32_t idx) {
    return &((struct legacy_clause *)(void *)lf->legacy_clauses.data)[idx];
}

static bool scan_open(struct legacy_scan *scan, uint32_t try_idx) {
    if (scan->open_count == scan->open_cap) {
        uint32_t cap = scan->open_cap == 0 ? 64 : scan->open_cap * 2;
        struct open_block *open = realloc(scan->open, cap * sizeof *open);
        if (open == NULL)
            return false;
        scan->open = open;
        scan->open_cap = cap;
    }
    scan->open[scan->open_count++] = (struct open_block){try_idx, NONE};
    return true;
}

static bool scan_try(struct legacy_scan *scan, const struct wasm_instr *instr) {
    struct buf *tries = &scan->lf->legacy_tries;
    const struct legacy_try row = {
        .offset = instr->offset, .first_clause = NONE, .last_clause = NONE, .delegate = NONE};
    uint32_t idx = (uint32_t)(tries->count / sizeof row);
    buf_append(tries, &row, sizeof row);
    return !tries->failed && scan_open(scan, idx);
}

static bool scan_catch(struct legacy_scan *scan, const struct wasm_instr *instr) {
    struct lower_func *lf = scan->lf;
    struct open_block *open = &scan->open[scan->open_count - 1];
    const struct legacy_clause row = {.tag_idx = instr->op == WASM_OP_CATCH ? instr->idx : NONE,
                                      .next = NONE};
    uint32_t idx = (uint32_t)(lf->legacy_clauses.count / sizeof row);
    buf_append(&lf->legacy_clauses, &row, sizeof row);
    if (lf->legacy_clauses.failed)
        return false;
    struct legacy_try *try = try_at(lf, open->try_idx);
    if (try->first_clause == NONE)
        try->first_clause = idx;
    else
        clause_at(lf, try->last_clause)->next = idx;
    try->last_clause = idx;
    try->clauses_count++;
    open->clause_idx = idx;
    return true;
}

static bool scan_instr(struct legacy_scan *scan, const struct wasm_instr *instr) {
    struct lower_func *lf = scan->lf;
    switch (instr->op) {
    case WASM_OP_BLOCK:
    case WASM_OP_LOOP:
    case WASM_OP_IF:
    case WASM_OP_TRY_TABLE: return scan_open(scan, NONE);
    case WASM_OP_TRY: return scan_try(scan, instr);
    case WASM_OP_CATCH:
    case WASM_OP_CATCH_ALL: return scan_catch(scan, instr);
    case WASM_OP_RETHROW:
        clause_at(lf, scan->open[scan->open_count - 1 - instr->idx].clause_idx)->is_rethrown = true;
        return true;
    case WASM_OP_DELEGATE:
        try_at(lf, scan->open[--scan->open_count].try_idx)->delegate = instr->idx;
        return true;
    case WASM_OP_END: scan->open_count--; return true;
    default: return true;
    }
}

void lower_legacy_scan(struct lower_func *lf, struct wasm_bytes code) {
    struct legacy_scan scan = {.lf = lf};
    struct wasm_reader reader;
    struct wasm_instr instr;
    if ((lf->instance->module->used.set & WASM_FEATURE_BIT(LEGACY_EXCEPTIONS)) == 0)
        return;
    wasm_reader_init(&reader, code, NULL);
    bool is_good = scan_open(&scan, NONE);
    while (is_good && reader.pos < reader.end) {
        if (program_read_instr(lf->instance, &reader, &instr) != 0) {
            lower_fail(lf, HUSK_E_COMPILER, "an instruction of a validated body could not be read");
            break;
        }
        is_good = scan_instr(&scan, &instr);
    }
    if (!is_good)
        lower_fail(lf, HUSK_E_NOMEM, "out of memory");
    free(scan.open);
}

/* ---- try ---- */

static struct legacy_try *find_try(struct lower_func *lf) {
    uint32_t low = 0, high = (uint32_t)(lf->legacy_tries.count / sizeof(struct legacy_try));
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (try_at(lf, middle)->offset <= lf->instr.offset)
            low = middle;
        else
            high = middle;
    }
    return try_at(lf, low);
}

static struct lower_try *make_try(struct lower_func *lf, const struct legacy_try *row) {
    struct lower_try *try = lower_try_new(lf, row->clauses_count);
    uint32_t next = row->first_clause;
    for (uint32_t i = 0; try != NULL && i < row->clauses_count; i++) {
        const struct legacy_clause *clause = clause_at(lf, next);
        try->clauses[i].kind = clause->tag_idx == NONE ? WASM_CATCH_ALL : WASM_CATCH;
        try->clauses[i].tag_idx = clause->tag_idx;
        try->clauses[i].is_rethrown = clause->is_rethrown;
        next = clause->next;
    }
    if (try != NULL)
        try->is_legacy = true;
    return try;
}

/* A try that delegates throws where its label's block would throw. */
static void emit_try(struct lower_func *lf) {
    const struct legacy_try *row = find_try(lf);
    struct lower_try *target = NULL, *try = NULL;
    if (row->delegate != NONE)
        target = lower_frame_at(lf, row->delegate)->handler;
    else if (row->clauses_count > 0)
        try = make_try(lf, row);
    struct lower_frame *frame = lf->status == 0 ? lower_frame_open(lf, &lf->instr.block) : NULL;
    if (frame == NULL)
        return;
    frame->legacy = try;
    if (try != NULL || row->delegate != NONE)
        frame->handler = try != NULL ? try : target
            ;
}

/* ---- handlers ---- */

static void keep_caught(struct lower_func *lf, struct lower_frame *frame,
                        const struct lower_clause *clause) {
    if (!clause->is_rethrown)
        return;
    frame->caught = lower_values_copy(lf, lf->stack_count - frame->stack_height);
    if (frame->caught == NULL)
        return;
    if (clause->kind == WASM_CATCH_ALL)
        frame->caught[0] = lower_take_caught(lf, lf->instr.offset);
    frame->caught_by = clause;
}

/* catch, catch_all: the end of the part before, and the start of a handler, which throws to the
 * tries around this one. A handler to which nothing throws is unreachable. */
static void emit_catch(struct lower_func *lf) {
    struct lower_frame *frame = lower_frame_at(lf, 0);
    if (frame->is_dead)
        return;
    if (lf->is_reachable)
        lower_branch_to(lf, frame);
    struct lower_clause *clause = &frame->legacy->clauses[frame->clauses_done++];
    free(frame->caught);
    frame->caught = NULL;
    frame->handler = frame->legacy->outer;
    lf->stack_count = frame->stack_height;
    lf->is_reachable = clause->block != NULL;
    if (clause->block == NULL)
        return;
    lower_enter_block(lf, clause->block);
    if (clause->kind == WASM_CATCH)
        lower_push_caught(lf, clause->tag_idx);
    keep_caught(lf, frame, clause);
}

static void emit_rethrow(struct lower_func *lf) {
    const struct lower_frame *frame = lower_frame_at(lf, lf->instr.idx);
    if (frame->caught_by->kind == WASM_CATCH_ALL)
        lower_throw_ref(lf, frame->caught[0]);
    else
        lower_throw(lf, frame->caught_by->tag_idx, frame->caught);
}

static const struct lower_row legacy_rows[] = {
    {.op = WASM_OP_TRY, .emit = emit_try},         {.op = WASM_OP_CATCH, .emit = emit_catch},
    {.op = WASM_OP_CATCH_ALL, .emit = emit_catch}, {.op = WASM_OP_DELEGATE, .emit = lower_end},
    {.op = WASM_OP_RETHROW, .emit = emit_rethrow},
};
const struct lower_rows lower_legacy_rows = {legacy_rows,
                                             sizeof legacy_rows / sizeof legacy_rows[0]};
