/*
 * bench/peers/wasmtime.h: Wasmtime in this process, through the library inside PyPI's package. It
 * comes without headers, and is opened at run time: husk_peers builds where it is absent. The
 * layouts are those of the package's own bindings (wasmtime/_bindings.py, version 50).
 */
#ifndef BENCH_WASMTIME_H
#define BENCH_WASMTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wasm_byte_vec {
    size_t size;
    char *data;
};

struct wasmtime_func {
    uint64_t store_id;
    void *private_data;
};

struct wasmtime_instance {
    uint64_t store_id;
    size_t private_data;
};

enum { WASMTIME_EXTERN_FUNC = 0 };
struct wasmtime_extern {
    uint8_t kind;
    union {
        struct wasmtime_func func;
        uint64_t space[3];
    } of;
};

/* An argument, or a result, of wasmtime_func_call_unchecked(). */
union wasmtime_raw {
    int32_t i32;
    int64_t i64;
    uint8_t v128[16];
};

_Static_assert(sizeof(struct wasmtime_extern) == 32, "as in the package's bindings");
_Static_assert(sizeof(union wasmtime_raw) == 16, "as in the package's bindings");

/* Nothing is known of these but their names. */
struct wasm_config;
struct wasm_engine;
struct wasm_trap;
struct wasmtime_context;
struct wasmtime_error;
struct wasmtime_instance_pre;
struct wasmtime_linker;
struct wasmtime_module;
struct wasmtime_pooling;
struct wasmtime_store;

/* Its functions, under their own names: wt->wasm_config_new(). */
struct wasmtime {
#define WASMTIME_FN(result, name, arguments) result(*name) arguments;
#include "wasmtime.def"
#undef WASMTIME_FN
};

/* Open the library. It stays open until the process ends. Returns 0, or prints the reason and
 * returns -1. */
int wasmtime_open(const char *path, struct wasmtime *ret_wt);

/* True if neither an error nor a trap; otherwise prints and frees them. */
bool wasmtime_succeeded(const struct wasmtime *wt, struct wasmtime_error *error,
                        struct wasm_trap *trap, const char *what);

enum wasmtime_strategy { WASMTIME_AUTO = 0, WASMTIME_CRANELIFT = 1, WASMTIME_WINCH = 2 };
enum wasmtime_memory {
    WASMTIME_ON_DEMAND,      /* new memory for each instance */
    WASMTIME_POOLED,         /* slots; what was written is given back to the kernel */
    WASMTIME_POOLED_RESIDENT /* slots; all memory is kept, and written over */
};
struct wasmtime_settings {
    enum wasmtime_strategy strategy;
    enum wasmtime_memory memory;
    bool has_epochs; /* loops and functions ask whether a deadline has passed */
};
/* NULL after a message. */
struct wasm_engine *wasmtime_engine_new(const struct wasmtime *wt,
                                        const struct wasmtime_settings *settings);

/* An instance with a store of its own, and one of its functions. */
struct wasmtime_run {
    struct wasmtime_store *store;
    struct wasmtime_context *context;
    struct wasmtime_func func;
};

/* A module without imports, ready to be instantiated. */
struct wasmtime_program {
    struct wasm_engine *engine; /* borrowed */
    struct wasmtime_module *module;
    struct wasmtime_linker *linker;
    struct wasmtime_instance_pre *pre;
};

/* Both return 0, or print the reason and return -1; what they made is freed in both cases by
 * _done(), which takes all zeros too. */
int wasmtime_program_init(const struct wasmtime *wt, struct wasm_engine *engine, const char *path,
                          struct wasmtime_program *ret_program);
int wasmtime_run_init(const struct wasmtime *wt, const struct wasmtime_program *program,
                      const char *export_name, struct wasmtime_run *ret_run);
void wasmtime_program_done(const struct wasmtime *wt, struct wasmtime_program *program);
void wasmtime_run_done(const struct wasmtime *wt, struct wasmtime_run *run);

/* Call the function; results replace the arguments. Returns 0 or -1 after a message. */
int wasmtime_run_call(const struct wasmtime *wt, struct wasmtime_run *run,
                      union wasmtime_raw *values, size_t count);

#endif
