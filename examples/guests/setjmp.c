/*
 * examples/guests/setjmp.c: what LLVM's setjmp() and longjmp() for WebAssembly call at run time
 * (clang -mllvm -wasm-enable-sjlj, LLVM 19 and later).
 *
 * A function that calls setjmp() has a variable whose address stands for this call of it. setjmp()
 * notes that address and which setjmp() it is. longjmp() throws the tag __c_longjmp. Each such
 * function that is still active catches it and asks whether the jump is its own. If not, it throws
 * the jump again, by __wasm_longjmp().
 */
#include "setjmp.h"

#include <stdint.h>

/* Debian's compiler-rt for wasm32 has the file that defines this tag, but empty. */
__asm__(".globl __c_longjmp\n"
        ".tagtype __c_longjmp i32\n"
        "__c_longjmp:\n");

#define TAG_LONGJMP 1 /* clang's number of __c_longjmp, whose one value is an address */

void __wasm_setjmp(struct guest_jmp_buf *where, uint32_t label, const void *call);
uint32_t __wasm_setjmp_test(const struct guest_jmp_buf *where, const void *call);
_Noreturn void __wasm_longjmp(struct guest_jmp_buf *where, int value);

void __wasm_setjmp(struct guest_jmp_buf *where, uint32_t label, const void *call) {
    where->call = call;
    where->label = label;
}

/* The label to go on at, or 0 if the jump belongs to another call. */
uint32_t __wasm_setjmp_test(const struct guest_jmp_buf *where, const void *call) {
    return where->call == call ? where->label : 0;
}

_Noreturn void __wasm_longjmp(struct guest_jmp_buf *where, int value) {
    where->jump.where = where;
    where->jump.value = value != 0 ? value : 1; /* C11, 7.13.2.1 */
    __builtin_wasm_throw(TAG_LONGJMP, &where->jump);
}
