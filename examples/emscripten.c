/*
 * emscripten.c: runs a module of emscripten without its JavaScript: Lua 5.4 from npm (package
 * wasmoon, file dist/glue.wasm).
 *
 *   emscripten glue.wasm 'word = "hello" print(word)' 'print(word)'
 *
 * A table here replaces the JavaScript functions that the module imports. Imports that are not in
 * the table trap when called. Lua's errors use setjmp() and longjmp(), which emscripten turns into
 * calls to the host and back (invoke_vii). Lua is initialised once. Every script starts from a
 * snapshot of that state, so no script sees another one's state.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "example.h"

#define MEMORY_BYTES_MAX (64u << 20)
#define SCRIPT_NS_MAX 1000000000 /* 1 s */
#define DEPTH_MAX 256            /* calls to the host and back; Lua nests 200 errors at most */

struct lua {
    husk_engine *engine;
    husk_imports *imports;
    husk_image *image, *ready; /* the module; and Lua, initialised */
    husk_sandbox *sandbox;
    uint32_t table_idx; /* the table of functions to which the guest has addresses */
    int32_t state;      /* address of the lua_State in the guest */
    bool is_jumping;    /* the innermost call ends because of longjmp() */
};

/* ---- Calls into the guest ---- */

static int guest_call(husk_sandbox *sandbox, const char *name,
                      const struct example_numbers *numbers, int32_t *ret_number,
                      struct husk_error *err) {
    return example_call(&(struct example_call){sandbox, name, numbers, SCRIPT_NS_MAX}, ret_number,
                        err);
}

/* ---- setjmp() and longjmp() ----
 *
 * A function that calls setjmp() makes its other calls through the host: invoke_vii(f, a, b) is
 * f(a, b), where f is an entry of the guest's table. longjmp() notes the target in the guest, and
 * calls _emscripten_throw_longjmp(). That must end every call up to the innermost invoke_…, which a
 * host function does by failing. invoke_… then restores the guest's stack pointer, because nobody
 * else does. It calls setThrew(), so that the guest looks at the noted target. The letters are the
 * types of result and arguments: v is none, i is an i32. Other modules need other invoke_…
 * functions, which differ only in the number of values that they pass on. */

static int throw_longjmp(husk_caller *caller, void *user, const struct husk_value *args,
                         struct husk_value *results) {
    struct lua *lua = user;
    (void)args;
    (void)results;
    lua->is_jumping = true;
    return husk_caller_fail(caller, "a jump out of all calls");
}

/* The called function did not return. */
static int invoke_ended(husk_caller *caller, struct lua *lua, const struct husk_outcome *outcome,
                        int32_t stack) {
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    struct husk_error err;
    if (outcome->kind == HUSK_EXITED)
        return husk_caller_exit(caller, outcome->exit_code);
    if (outcome->trap != HUSK_TRAP_HOST_FUNCTION || !lua->is_jumping)
        return husk_caller_fail(caller, "%s", outcome->message);
    lua->is_jumping = false;
    int status =
        guest_call(sandbox, "stackRestore", &(struct example_numbers){1, {stack}}, NULL, &err);
    if (status == 0)
        status = guest_call(sandbox, "setThrew", &(struct example_numbers){2, {1, 0}}, NULL, &err);
    return status == 0 ? 0 : husk_caller_fail(caller, "invoke_vii: %s", err.message);
}

static int invoke_vii(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    struct lua *lua = user;
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value entry;
    struct husk_error err;
    int32_t stack = 0;
    (void)results;
    call.args = args + 1;
    call.args_count = 2;
    int status = guest_call(sandbox, "stackSave", &(struct example_numbers){0}, &stack, &err);
    if (status == 0)
        status = husk_table_get(sandbox, lua->table_idx, (uint32_t)args[0].of.i32, &entry, &err);
    if (status == 0)
        status = husk_func_from_ref(sandbox, &entry, &call.func, NULL, &err);
    if (status == 0) /* checks the types, too: the entry is the guest's choice */
        status = husk_call(sandbox, &call, &outcome, &err);
    if (status != 0)
        return husk_caller_fail(caller, "invoke_vii: %s", err.message);
    return outcome.kind == HUSK_RETURNED ? 0 : invoke_ended(caller, lua, &outcome, stack);
}

/* ---- The other imports ---- */

/* The guest asks for a memory of so many bytes. 1: it has them; 0: Lua reports that memory is
 * short. */
static int resize_heap(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    husk_sandbox *sandbox = husk_caller_sandbox(caller);
    const uint64_t have = husk_memory_bytes(sandbox, 0), want = (uint32_t)args[0].of.i32;
    const uint64_t pages = want > have ? (want - have + 65535) / 65536 : 0;
    (void)user;
    results[0].of.i32 = husk_memory_grow(sandbox, 0, pages, NULL, NULL) == 0;
    return 0;
}

static int date_now(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    struct timespec now;
    (void)caller;
    (void)user;
    (void)args;
    clock_gettime(CLOCK_REALTIME, &now);
    results[0].of.f64 = (double)now.tv_sec * 1e3 + (double)(now.tv_nsec / 1000000);
    return 0;
}

static int leave(husk_caller *caller, void *user, const struct husk_value *args,
                 struct husk_value *results) {
    (void)user;
    (void)results;
    return husk_caller_exit(caller, args[0].of.i32);
}

/* user: the number to return */
static int give_number(husk_caller *caller, void *user, const struct husk_value *args,
                       struct husk_value *results) {
    (void)caller;
    (void)args;
    results[0].of.i32 = *(const int32_t *)user;
    return 0;
}

static int define_imports(struct lua *lua, struct husk_error *err) {
    static const husk_type i32[] = {HUSK_I32, HUSK_I32, HUSK_I32, HUSK_I32}, f64[] = {HUSK_F64};
    static const struct husk_functype to_void = {NULL, 0, NULL, 0}, to_f64 = {NULL, 0, f64, 1},
                                      to_i32 = {NULL, 0, i32, 1}, i_to_void = {i32, 1, NULL, 0},
                                      i_to_i32 = {i32, 1, i32, 1}, iii_to_void = {i32, 3, NULL, 0},
                                      iii_to_i32 = {i32, 3, i32, 1}, iiii_to_i32 = {i32, 4, i32, 1};
    static int32_t one = 1, no_such_file = -44, no_terminal = -59; /* emscripten's numbers */
    const struct husk_host_func rows[] = {
        {"env", 0, "invoke_vii", 0, &iii_to_void, invoke_vii, lua, NULL},
        {"env", 0, "_emscripten_throw_longjmp", 0, &to_void, throw_longjmp, lua, NULL},
        {"env", 0, "emscripten_resize_heap", 0, &i_to_i32, resize_heap, NULL, NULL},
        {"env", 0, "emscripten_date_now", 0, &to_f64, date_now, NULL, NULL},
        {"env", 0, "_emscripten_get_now_is_monotonic", 0, &to_i32, give_number, &one, NULL},
        {"env", 0, "exit", 0, &i_to_void, leave, NULL, NULL},
        {"env", 0, "__syscall_openat", 0, &iiii_to_i32, give_number, &no_such_file, NULL},
        {"env", 0, "__syscall_ioctl", 0, &iii_to_i32, give_number, &no_terminal, NULL},
    };
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    wasi.stdout_fd = STDOUT_FILENO;
    wasi.stderr_fd = STDERR_FILENO;
    wasi.stdout_rights = wasi.stderr_rights = HUSK_WASI_WRITE;
    int status = husk_imports_wasi(lua->imports, &wasi, err);
    if (status == 0)
        status = husk_imports_funcs(lua->imports, rows, sizeof rows / sizeof rows[0], err);
    if (status == 0) /* os.rename(), os.date() and the like */
        status = husk_imports_unknown(lua->imports, HUSK_UNKNOWN_TRAP, err);
    return status;
}

/* ---- Lua ---- */

/* Do once all that is the same for every script. */
static int make_ready(struct lua *lua, struct husk_error *err) {
    const char *const table = "__indirect_function_table";
    int status = husk_image_table(lua->image, table, strlen(table), &lua->table_idx, err);
    if (status == 0)
        status =
            guest_call(lua->sandbox, "__wasm_call_ctors", &(struct example_numbers){0}, NULL, err);
    if (status == 0)
        status = guest_call(lua->sandbox, "luaL_newstate", &(struct example_numbers){0},
                            &lua->state, err);
    if (status == 0 && lua->state == 0)
        return example_fail(err, "Lua has no memory", "");
    if (status == 0)
        status = guest_call(lua->sandbox, "luaL_openlibs",
                            &(struct example_numbers){1, {lua->state}}, NULL, err);
    if (status == 0)
        status = husk_sandbox_snapshot(lua->sandbox, &lua->ready, err);
    return status;
}

/* Put the script and a name for it into a block of the guest. Nobody frees the block: the next
 * script starts from the snapshot. */
static int put_script(const struct lua *lua, const char *script, struct example_numbers *ret_load,
                      struct husk_error *err) {
    static const char name[] = "=script";
    const size_t count = strlen(script);
    int32_t addr = 0;
    if (count > MEMORY_BYTES_MAX)
        return example_fail(err, "the script is too long", "");
    int status =
        guest_call(lua->sandbox, "malloc",
                   &(struct example_numbers){1, {(int32_t)(count + sizeof name)}}, &addr, err);
    if (status == 0 && addr == 0)
        return example_fail(err, "Lua has no memory for the script", "");
    const struct husk_range text = {.addr = (uint32_t)addr, .count = count},
                            behind = {.addr = (uint64_t)(uint32_t)addr + count,
                                      .count = sizeof name};
    if (status == 0)
        status = husk_memory_write(lua->sandbox, &text, script, err);
    if (status == 0)
        status = husk_memory_write(lua->sandbox, &behind, name, err);
    *ret_load = (struct example_numbers){
        5, {lua->state, addr, (int32_t)count, (int32_t)((uint32_t)addr + (uint32_t)count), 0}};
    return status;
}

/* Make the text on top of Lua's stack the message of a failure. */
static int take_message(const struct lua *lua, struct husk_error *err) {
    const struct example_numbers top = {3, {lua->state, -1, 0}}, length_of = {2, {lua->state, -1}};
    char text[256] = "an error that is no text";
    int32_t addr = 0, length = 0;
    int status = guest_call(lua->sandbox, "lua_tolstring", &top, &addr, err);
    if (status == 0)
        status = guest_call(lua->sandbox, "lua_rawlen", &length_of, &length, err);
    if (status == 0 && addr != 0) {
        const uint32_t count = (uint32_t)length < sizeof text ? (uint32_t)length : sizeof text - 1;
        const struct husk_range range = {.addr = (uint32_t)addr, .count = count};
        status = husk_memory_read(lua->sandbox, &range, text, err);
        text[count] = 0;
    }
    return status != 0 ? status : example_fail(err, "", text);
}

static int run_script(struct lua *lua, const char *script, struct husk_error *err) {
    const struct example_numbers run = {6, {lua->state, 0, 0, 0, 0, 0}}, all = {1, {0}};
    struct example_numbers load;
    int32_t failure = 0;
    lua->is_jumping = false;
    int status = husk_sandbox_restore(lua->sandbox, lua->ready, err);
    if (status == 0)
        status = put_script(lua, script, &load, err);
    if (status == 0)
        status = guest_call(lua->sandbox, "luaL_loadbufferx", &load, &failure, err);
    if (status == 0 && failure == 0)
        status = guest_call(lua->sandbox, "lua_pcallk", &run, &failure, err);
    if (status == 0) /* the script's output may still be in a buffer of the guest */
        status = guest_call(lua->sandbox, "fflush", &all, &(int32_t){0}, err);
    return status == 0 && failure != 0 ? take_message(lua, err) : status;
}

static int open_lua(struct lua *lua, const char *path, struct husk_error *err) {
    struct husk_sandbox_options options = HUSK_SANDBOX_OPTIONS_INIT;
    options.memory_max_bytes = MEMORY_BYTES_MAX;
    options.host_call_depth_max = DEPTH_MAX;
    int status = husk_engine_new(NULL, &lua->engine, err);
    if (status == 0)
        status = husk_imports_new(lua->engine, &lua->imports, err);
    if (status == 0)
        status = define_imports(lua, err);
    if (status != 0)
        return status;
    lua->image = example_load(lua->engine, path);
    if (lua->image == NULL)
        return example_fail(err, "there is no Lua", "");
    status = husk_sandbox_new(lua->image, lua->imports, &options, &lua->sandbox, err);
    return status != 0 ? status : make_ready(lua, err);
}

int main(int argc, char **argv) {
    struct husk_error err = {0};
    struct lua lua = {0};
    int code = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: emscripten glue.wasm SCRIPT…\n");
        return 2;
    }
    if (open_lua(&lua, argv[1], &err) != 0) {
        fprintf(stderr, "emscripten: %s\n", err.message);
        code = 1;
    }
    for (int i = 2; lua.ready != NULL && i < argc; i++) {
        if (run_script(&lua, argv[i], &err) == 0)
            continue;
        fprintf(stderr, "script %d: %s\n", i - 1, err.message);
        code = 1;
    }
    husk_sandbox_free(lua.sandbox);
    husk_image_unref(lua.ready);
    husk_image_unref(lua.image);
    husk_imports_free(lua.imports);
    husk_engine_unref(lua.engine);
    return code;
}
