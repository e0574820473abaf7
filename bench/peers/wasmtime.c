/* bench/peers/wasmtime.c: see wasmtime.h. */
#include "wasmtime.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* Memory of a slot of the pool; the guests here have 1 MiB. */
enum { POOL_MEMORY_BYTES = 64 << 20, POOL_TABLE_BYTES = 65536, POOL_COUNT = 100 };

/* POSIX says that the address fits a pointer to a function; C has no cast for it. */
static int symbol_take(void *library, const char *name, void *ret_function) {
    void *address = dlsym(library, name);
    if (address == NULL) {
        fprintf(stderr, "husk_peers: the library has no function %s\n", name);
        return -1;
    }
    memcpy(ret_function, &address, sizeof address);
    return 0;
}

int wasmtime_open(const char *path, struct wasmtime *ret_wt) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int result = 0;
    if (library == NULL) {
        fprintf(stderr, "husk_peers: %s\n", dlerror());
        return -1;
    }
#define WASMTIME_FN(type, name, arguments) result |= symbol_take(library, #name, &ret_wt->name);
#include "wasmtime.def"
#undef WASMTIME_FN
    return result;
}

bool wasmtime_succeeded(const struct wasmtime *wt, struct wasmtime_error *error,
                        struct wasm_trap *trap, const char *what) {
    struct wasm_byte_vec message;
    if (error == NULL && trap == NULL)
        return true;
    if (error != NULL)
        wt->wasmtime_error_message(error, &message);
    else
        wt->wasm_trap_message(trap, &message);
    fprintf(stderr, "husk_peers: Wasmtime: %s: %.*s\n", what, (int)message.size, message.data);
    wt->wasm_byte_vec_delete(&message);
    if (error != NULL)
        wt->wasmtime_error_delete(error);
    if (trap != NULL)
        wt->wasm_trap_delete(trap);
    return false;
}

static void pool_set(const struct wasmtime *wt, struct wasm_config *config, bool is_resident) {
    struct wasmtime_pooling *pool = wt->wasmtime_pooling_allocation_config_new();
    wt->wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(
        pool, is_resident ? POOL_MEMORY_BYTES : 0);
    wt->wasmtime_pooling_allocation_config_table_keep_resident_set(
        pool, is_resident ? POOL_TABLE_BYTES : 0);
    wt->wasmtime_pooling_allocation_config_max_memory_size_set(pool, POOL_MEMORY_BYTES);
    wt->wasmtime_pooling_allocation_config_total_memories_set(pool, POOL_COUNT);
    wt->wasmtime_pooling_allocation_config_total_core_instances_set(pool, POOL_COUNT);
    wt->wasmtime_pooling_allocation_strategy_set(config, pool);
    wt->wasmtime_pooling_allocation_config_delete(pool);
}

struct wasm_engine *wasmtime_engine_new(const struct wasmtime *wt,
                                        const struct wasmtime_settings *settings) {
    struct wasm_config *config = wt->wasm_config_new();
    wt->wasmtime_config_epoch_interruption_set(config, settings->has_epochs);
    wt->wasmtime_config_strategy_set(config, (uint8_t)settings->strategy);
    if (settings->memory != WASMTIME_ON_DEMAND)
        pool_set(wt, config, settings->memory == WASMTIME_POOLED_RESIDENT);
    struct wasm_engine *engine = wt->wasm_engine_new_with_config(config);
    if (engine == NULL)
        fprintf(stderr, "husk_peers: Wasmtime refuses to make an engine\n");
    return engine;
}

int wasmtime_program_init(const struct wasmtime *wt, struct wasm_engine *engine, const char *path,
                          struct wasmtime_program *ret_program) {
    struct wasmtime_program *program = ret_program;
    uint8_t *wasm;
    size_t count;
    *program = (struct wasmtime_program){.engine = engine};
    if (module_read(path, &wasm, &count) != 0)
        return -1;
    bool is_made = wasmtime_succeeded(
        wt, wt->wasmtime_module_new(engine, wasm, count, &program->module), NULL, path);
    free(wasm);
    if (!is_made)
        return -1;
    program->linker = wt->wasmtime_linker_new(engine);
    struct wasmtime_error *error =
        wt->wasmtime_linker_instantiate_pre(program->linker, program->module, &program->pre);
    return wasmtime_succeeded(wt, error, NULL, path) ? 0 : -1;
}

void wasmtime_program_done(const struct wasmtime *wt, struct wasmtime_program *program) {
    if (program->pre != NULL)
        wt->wasmtime_instance_pre_delete(program->pre);
    if (program->linker != NULL)
        wt->wasmtime_linker_delete(program->linker);
    if (program->module != NULL)
        wt->wasmtime_module_delete(program->module);
}

/* The deadline is one epoch ahead and never comes, as nothing counts epochs. */
int wasmtime_run_init(const struct wasmtime *wt, const struct wasmtime_program *program,
                      const char *export_name, struct wasmtime_run *ret_run) {
    struct wasmtime_instance instance;
    struct wasmtime_extern item;
    struct wasm_trap *trap = NULL;
    ret_run->store = wt->wasmtime_store_new(program->engine, NULL, NULL);
    ret_run->context = wt->wasmtime_store_context(ret_run->store);
    wt->wasmtime_context_set_epoch_deadline(ret_run->context, 1);
    struct wasmtime_error *error =
        wt->wasmtime_instance_pre_instantiate(program->pre, ret_run->context, &instance, &trap);
    if (!wasmtime_succeeded(wt, error, trap, "instantiate"))
        return -1;
    if (!wt->wasmtime_instance_export_get(ret_run->context, &instance, export_name,
                                          strlen(export_name), &item) ||
        item.kind != WASMTIME_EXTERN_FUNC) {
        fprintf(stderr, "husk_peers: Wasmtime: no exported function %s\n", export_name);
        return -1;
    }
    ret_run->func = item.of.func;
    return 0;
}

void wasmtime_run_done(const struct wasmtime *wt, struct wasmtime_run *run) {
    if (run->store != NULL)
        wt->wasmtime_store_delete(run->store);
}

int wasmtime_run_call(const struct wasmtime *wt, struct wasmtime_run *run,
                      union wasmtime_raw *values, size_t count) {
    struct wasm_trap *trap = NULL;
    struct wasmtime_error *error =
        wt->wasmtime_func_call_unchecked(run->context, &run->func, values, count, &trap);
    return wasmtime_succeeded(wt, error, trap, "call") ? 0 : -1;
}
