/*
 * compiler/lower/codegen.c: compiles valid wasm and its plan to objects. It cuts the program into
 * chunks (codegen_scan.c). Threads take one chunk after the other. A thread lowers its chunk to an
 * LLVM module in a separate context (lower_*.c), optimises it (codegen_passes.c), and emits an ELF
 * object. Chunks share only their inputs, so the objects do not depend on the number of threads.
 */
#include <llvm-c/Analysis.h>
#include <llvm-c/Core.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "codegen_internal.h"
#include "error.h"

struct job_queue {
    const struct plan *plan;
    const struct codegen_options *options;
    const struct chunks *chunks;
    struct codegen_object *objects;
    atomic_uint next;
    pthread_mutex_t lock; /* of what follows */
    uint32_t funcs_done, funcs_total;
    uint32_t failed_chunk;
    int status;
    struct husk_error err;
};

static int item_lower(struct lower_module *lm, const struct item *item) {
    switch (item->kind) {
    case ITEM_FUNC: return lower_function(lm, item->idx);
    case ITEM_IMPORT_STUB: return lower_import_stub(lm, item->idx);
    case ITEM_THUNK: return lower_thunk(lm, item->idx);
    case ITEM_INIT: return lower_init(lm, item->idx);
    }
    return 0;
}

/* Functions of other chunks, for LLVM to inline; no code is emitted for them. */
static int copies_lower(struct lower_module *lm) {
    uint32_t func_idx;
    int status = 0;
    while (status == 0 && lower_inline_next(lm, &func_idx)) {
        status = lower_function(lm, func_idx);
        LLVMSetLinkage(lower_func_symbol(lm, func_idx), LLVMAvailableExternallyLinkage);
    }
    return status;
}

static int chunk_lower(struct job_queue *queue, const struct chunk *chunk,
                       struct lower_module *lm) {
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct item *item = &queue->chunks->items[chunk->first + i];
        int status = item->tier == chunk->tier ? item_lower(lm, item) : 0;
        if (status != 0)
            return status;
    }
    int status = copies_lower(lm);
    if (status == 0)
        lower_module_finish(lm);
    return status;
}

static int module_verify(struct lower_module *lm) {
#ifdef HUSK_VERIFY_IR
    char *message = NULL;
    if (LLVMVerifyModule(lm->mod, LLVMReturnStatusAction, &message))
        return error_set(lm->err, HUSK_E_COMPILER, "bad LLVM IR: %s", message);
    LLVMDisposeMessage(message);
#else
    (void)lm;
#endif
    return 0;
}

static int module_emit(struct lower_module *lm, LLVMTargetMachineRef machine,
                       struct codegen_object *ret_object) {
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, lm->mod, LLVMObjectFile, &message, &buffer) !=
        0) {
        int status = error_set(lm->err, HUSK_E_COMPILER, "LLVM could not emit code: %s", message);
        LLVMDisposeMessage(message);
        return status;
    }
    size_t bytes = LLVMGetBufferSize(buffer);
    uint8_t *elf = malloc(bytes);
    if (elf != NULL)
        memcpy(elf, LLVMGetBufferStart(buffer), bytes);
    LLVMDisposeMemoryBuffer(buffer);
    if (elf == NULL)
        return error_set(lm->err, HUSK_E_NOMEM, "out of memory");
    struct buf *calls = &lm->inlining.calls;
    *ret_object = (struct codegen_object){
        .elf = elf,
        .bytes = bytes,
        .inlined = (struct codegen_inlined *)(void *)calls->data,
        .inlined_count = (uint32_t)(calls->count / sizeof(struct codegen_inlined))};
    *calls = (struct buf){0};
    return 0;
}

static int chunk_compile(struct job_queue *queue, const struct chunk *chunk,
                         struct codegen_object *ret_object, struct husk_error *err) {
    struct lower_module lm;
    LLVMTargetMachineRef machine = codegen_machine_new(queue->options, chunk->tier);
    if (machine == NULL)
        return error_set(err, HUSK_E_COMPILER, "LLVM has no x86-64 target");
    int status = lower_module_init(&lm, queue->plan, queue->options, chunk->tier, err);
    if (status == 0) {
        lower_ops_join(lm.rows);
        lm.has_tail_calls = queue->chunks->has_tail_calls;
        lm.is_quiet = queue->chunks->is_quiet;
        lm.smalls = chunk->tier == LOWER_TIER_FULL ? queue->chunks->smalls : NULL;
        LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
        LLVMSetModuleDataLayout(lm.mod, layout);
        LLVMDisposeTargetData(layout);
        LLVMSetTarget(lm.mod, "x86_64-unknown-linux-gnu");
        status = chunk_lower(queue, chunk, &lm);
    }
    if (status == 0)
        status = module_verify(&lm);
    if (status == 0)
        status = codegen_optimise(&lm, machine, queue->options, chunk->tier);
    if (status == 0)
        status = module_emit(&lm, machine, ret_object);
    lower_inline_done(&lm);
    lower_module_done(&lm);
    LLVMDisposeTargetMachine(machine);
    return status;
}

/* The error of the lowest chunk wins, whatever the order in which threads come to them. */
static void queue_note(struct job_queue *queue, uint32_t chunk_idx, int status,
                       const struct husk_error *err) {
    pthread_mutex_lock(&queue->lock);
    if (status != 0 && (queue->status == 0 || chunk_idx < queue->failed_chunk)) {
        queue->status = status;
        queue->failed_chunk = chunk_idx;
        queue->err = *err;
    }
    queue->funcs_done += queue->chunks->chunks[chunk_idx].funcs_count;
    if (queue->options->progress != NULL)
        queue->options->progress(queue->options->progress_user, queue->funcs_done,
                                 queue->funcs_total);
    pthread_mutex_unlock(&queue->lock);
}

static void queue_work(void *arg) {
    struct job_queue *queue = arg;
    for (;;) {
        uint32_t idx = atomic_fetch_add(&queue->next, 1);
        if (idx >= queue->chunks->chunks_count)
            return;
        struct husk_error err = {0};
        int status = chunk_compile(queue, &queue->chunks->chunks[idx], &queue->objects[idx], &err);
        queue_note(queue, idx, status, &err);
        if (status != 0)
            atomic_store(&queue->next, queue->chunks->chunks_count);
    }
}

static int queue_run(struct job_queue *queue, struct husk_error *err) {
    struct crew *own = NULL;
    uint32_t wanted = queue->options->threads, chunks_count = queue->chunks->chunks_count;
    if (queue->options->crew == NULL) {
        int status = crew_new(wanted < chunks_count ? wanted : chunks_count, &own, err);
        if (status != 0)
            return status;
    }
    crew_run(own != NULL ? own : queue->options->crew, queue_work, queue);
    crew_free(own);
    if (queue->status != 0 && err != NULL)
        *err = queue->err;
    return queue->status;
}

static int queue_prepare(struct job_queue *queue, struct husk_error *err) {
    for (uint32_t i = 0; i < queue->chunks->chunks_count; i++)
        queue->funcs_total += queue->chunks->chunks[i].funcs_count;
    queue->objects = calloc(queue->chunks->chunks_count + 1u, sizeof *queue->objects);
    return queue->objects != NULL ? 0 : error_set(err, HUSK_E_NOMEM, "out of memory");
}

int codegen_run(const struct plan *plan, const struct codegen_options *options,
                struct codegen_result *ret_result, struct husk_error *err) {
    struct chunks chunks = {0};
    if (options->opt_level < 0 || options->opt_level > 3)
        return error_set(err, HUSK_E_INVAL, "optimisation level %d: use 0 to 3",
                         options->opt_level);
    int status = codegen_scan(plan, options, &chunks, err);
    if (status == 0 && plan->program->has_exceptions)
        status = codegen_find_quiet(plan->program, &chunks.is_quiet, err);
    if (status == 0 && options->opt_level > 0)
        status = codegen_find_small(plan->program, &chunks.smalls, err);
    if (status != 0) {
        chunks_done(&chunks);
        return status;
    }
    codegen_llvm_init();
    struct job_queue queue = {.plan = plan, .options = options, .chunks = &chunks};
    pthread_mutex_init(&queue.lock, NULL);
    status = queue_prepare(&queue, err);
    if (status == 0)
        status = queue_run(&queue, err);
    struct codegen_result result = {.objects = queue.objects, .objects_count = chunks.chunks_count};
    if (status == 0)
        *ret_result = result;
    else
        codegen_result_free(&result);
    pthread_mutex_destroy(&queue.lock);
    chunks_done(&chunks);
    return status;
}

void codegen_result_free(struct codegen_result *result) {
    for (uint32_t i = 0; result->objects != NULL && i < result->objects_count; i++) {
        free(result->objects[i].elf);
        free(result->objects[i].inlined);
    }
    free(result->objects);
    *result = (struct codegen_result){0};
}
