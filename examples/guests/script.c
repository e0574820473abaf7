/*
 * Guest of run_script.c: Lua as a reactor. tools/build-guests builds it with Lua's own sources:
 *
 *   clang --target=wasm32-wasi --sysroot=/usr -mexec-model=reactor -O2 -include script.h \
 *       -Wl,--export=__stack_pointer script.c lapi.c … (all of Lua but lua.c and luac.c) -lm
 *
 * _initialize() makes a Lua with its libraries; run() runs the script on standard input.
 */
#include <stdio.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

#include "script.h"

static lua_State *lua;

__attribute__((constructor)) static void start(void) {
    lua = luaL_newstate();
    if (lua == NULL)
        abort();
    luaL_openlibs(lua);
}

/* 0, or 1 with the error on standard error. */
__attribute__((export_name("run"))) int run(void) {
    int failed = luaL_dofile(lua, NULL);
    if (failed != 0)
        fprintf(stderr, "%s\n", luaL_tolstring(lua, -1, NULL));
    fflush(NULL);
    return failed != 0;
}

/* ---- Errors (script.h) ---- */

__attribute__((import_module("script"), import_name("protect"))) int
script_protect_host(script_fn *fn, struct lua_State *state, void *user);
__attribute__((import_module("script"), import_name("throw"), noreturn)) void
script_throw_host(void);

__attribute__((export_name("call"))) void call(script_fn *fn, struct lua_State *state, void *user) {
    fn(state, user);
}

void script_protect(script_fn *fn, struct lua_State *state, void *user) {
    (void)script_protect_host(fn, state, user);
}

void script_throw(void) {
    script_throw_host();
}
