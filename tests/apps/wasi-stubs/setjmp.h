/*
 * tests/apps/wasi-stubs/setjmp.h: for C libraries without setjmp (wasi-libc before wasm
 * exceptions). Programs that never throw work. A program that throws ends in a trap.
 */
#ifndef APP_SETJMP_H
#define APP_SETJMP_H

typedef int jmp_buf[1];

#define setjmp(env) ((void)(env), 0)
static inline _Noreturn void longjmp(jmp_buf env, int value) {
    (void)env;
    (void)value;
    __builtin_trap();
}

#endif
