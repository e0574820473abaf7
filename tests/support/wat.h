/*
 * tests/support/wat.h: makes a sandbox from WebAssembly text in one line, with wabt's wat2wasm and
 * the real compiler. Without KVM, wat2wasm or the compiler worker, a suite is skipped with the
 * reason.
 */
#ifndef TESTS_SUPPORT_WAT_H
#define TESTS_SUPPORT_WAT_H

#include "harness.h"
#include "husk_compile.h"

/* Convert text to malloc()ed wasm. Ends the test if wat2wasm refuses the text. */
uint8_t *wat_to_wasm(const char *wat, size_t *ret_count);
/* A descriptor of the image, compiled now or in advance (ready_image.h). */
int wat_compile(const char *wat, const char *worker_path);
husk_image *wat_image_with(husk_engine *engine, const char *wat, const char *worker_path);
/* The reason why a test cannot run, or NULL. */
const char *wat_missing(const char *worker_path);

#define WAT_WORKER HUSK_TEST_BUILD_DIR "/husk-compile-worker"
#define SKIP_WITHOUT_COMPILER()                                                                    \
    do {                                                                                           \
        SKIP_WITHOUT_KVM();                                                                        \
        if (wat_missing(WAT_WORKER) != NULL) {                                                     \
            SKIP("%s", wat_missing(WAT_WORKER));                                                   \
        }                                                                                          \
    } while (0)

/* An engine, an image, a set of imports and a sandbox: wat_lab_init(), then wat_lab_open(). */
struct wat_lab {
    husk_engine *engine;
    husk_image *image;
    husk_imports *imports;
    husk_sandbox *sandbox;
    struct husk_error err;
    struct husk_outcome outcome;
};

/* Make the engine and the imports, so that host functions can be defined. */
void wat_lab_init(struct wat_lab *lab);
void wat_lab_open_with(struct wat_lab *lab, const char *wat,
                       const struct husk_sandbox_options *options, const char *worker_path);
#define wat_lab_open(lab, wat, options) wat_lab_open_with(lab, wat, options, WAT_WORKER)
void wat_lab_close(struct wat_lab *lab);

/* Save a snapshot to a file, and open that. */
husk_image *wat_saved(struct wat_lab *lab, const husk_image *snapshot);

/* A module to link: its name, its text, and for the aliases of husk_compile_linked(). */
struct wat_module {
    const char *name, *wat;
    const struct husk_alias *aliases;
    size_t aliases_count;
};
#define WAT_MODULES_MAX 8
/* Open modules that are linked. Call wat_lab_init() before. */
void wat_lab_open_linked(struct wat_lab *lab, const struct wat_module *modules, size_t count,
                         const struct husk_sandbox_options *options);

/* Define a host function with husk_imports_funcs(). Types are letters, as in "iIfF>i" (v v128, c
 * funcref, e externref, x exnref). */
void wat_lab_func(struct wat_lab *lab, const char *name, const char *types, husk_host_fn fn,
                  void *user);
/* Host functions that end the guest's call: the first fails with the message "no", the second exits
 * with code 3. */
int wat_host_fail(husk_caller *caller, void *user, const struct husk_value *args,
                  struct husk_value *results);
int wat_host_leave(husk_caller *caller, void *user, const struct husk_value *args,
                   struct husk_value *results);

static inline struct husk_value value_i32(int32_t number) {
    return (struct husk_value){.type = HUSK_I32, .of.i32 = number};
}
static inline struct husk_value value_i64(int64_t number) {
    return (struct husk_value){.type = HUSK_I64, .of.i64 = number};
}

/* Make a call that must return. The function has at most one argument and one result. */
int64_t wat_call_i32(struct wat_lab *lab, const char *name, int32_t argument);
/* Make any call. The outcome is in the lab. Returns the status. */
int wat_call(struct wat_lab *lab, const char *name, const struct husk_value *args,
             size_t args_count, struct husk_value *results, size_t results_count);
/* The same with arguments of the function's own types, i32 or i64, at most three. Returns its
 * result, or 0 as an i64 if it has none or did not return. */
struct husk_value wat_call_numbers(struct wat_lab *lab, const char *name, const int64_t *args);
/* husk_call_bytes() with `count` bytes of input. It initialises `bytes`, which gets the output. */
int wat_call_bytes(struct wat_lab *lab, const char *name, const void *input, size_t count,
                   struct husk_bytes *bytes);

/* The pending call that a snapshot brought goes on: its host function is called again, and the call
 * must end so. Returns its result, an i32. */
int32_t wat_again(struct wat_lab *lab, husk_sandbox *sandbox, enum husk_outcome_kind expected);

#endif
