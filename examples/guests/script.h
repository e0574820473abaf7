/*
 * How Lua's errors leave the functions in between, without setjmp() and longjmp(), which wasi-libc
 * does not have: the host calls the protected function (run_script.c), and throwing ends that call.
 * Lua's ldo.c takes these macros instead of its own.
 */
#ifndef EXAMPLES_SCRIPT_H
#define EXAMPLES_SCRIPT_H

struct lua_State;
typedef void script_fn(struct lua_State *state, void *user);

void script_protect(script_fn *fn, struct lua_State *state, void *user);
void script_throw(void) __attribute__((noreturn));

#define LUAI_TRY(L, c, a) script_protect(f, (L), ud)
#define LUAI_THROW(L, c) script_throw()
#define luai_jmpbuf int /* not used */

#endif
