/*
 * examples/guests/setjmp.h: setjmp() and longjmp() for C libraries that lack them (wasi-libc of
 * Debian 12 and 13), by WebAssembly's exception handling. Link setjmp.c, and compile every file
 * that calls setjmp() with -mllvm -wasm-enable-sjlj (docs/guests.md). Needs LLVM 19 or later.
 */
#ifndef GUEST_SETJMP_H
#define GUEST_SETJMP_H

#ifdef __cplusplus
extern "C" {
#endif

/* Written by setjmp() and by longjmp(), read by code that LLVM makes. */
typedef struct guest_jmp_buf {
    const void *call; /* the call of the function that called setjmp() */
    unsigned label;   /* which setjmp() of that function, from 1 */
    struct guest_jump {
        struct guest_jmp_buf *where; /* what a longjmp() throws: the order is LLVM's */
        int value;
    } jump;
} jmp_buf[1];

typedef jmp_buf sigjmp_buf; /* there are no signals */

int setjmp(jmp_buf where) __attribute__((returns_twice)); /* LLVM replaces the calls of both */
void longjmp(jmp_buf where, int value) __attribute__((noreturn));

#define setjmp(where) setjmp(where)
#define _setjmp(where) setjmp(where)
#define _longjmp(where, value) longjmp(where, value)
#define sigsetjmp(where, saves_signals) ((void)(saves_signals), setjmp(where))
#define siglongjmp(where, value) longjmp(where, value)

#ifdef __cplusplus
}
#endif

#endif
