/*
 * hello.c: compile a module, run it in a virtual machine of its own, print what it returned.
 *
 *   cc hello.c $(pkg-config --cflags --libs husk husk-compile) -o hello && ./hello
 */
#include <stdio.h>

#include <husk.h>
#include <husk_compile.h>

/* (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)) */
static const unsigned char wasm[] = "\0asm\1\0\0\0\1\7\1\x60\2\x7f\x7f\1\x7f\3\2\1\0\7\7\1\3"
                                    "add\0\0\x0a\x9\1\7\0\x20\0\x20\1\x6a\xb";

int main(void) {
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    struct husk_error err;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value sum, args[2] = {husk_i32(19), husk_i32(23)};
    struct husk_call call = {.size = sizeof call, .name = "add"};
    call.args = args, call.args_count = 2;
    call.results = &sum, call.results_count = 1;
    int fd; /* of the image; closed when the program ends */
    int failed = husk_engine_new(NULL, &engine, &err) != 0 ||
                 husk_compile(wasm, sizeof wasm - 1, NULL, &fd, &err) != 0 ||
                 husk_image_open_fd(engine, fd, NULL, &image, &err) != 0 ||
                 husk_sandbox_new(image, NULL, NULL, &sandbox, &err) != 0 ||
                 husk_call(sandbox, &call, &outcome, &err) != 0;
    if (failed != 0)
        fprintf(stderr, "hello: %s\n", err.message);
    else if (outcome.kind == HUSK_RETURNED)
        printf("hello from a virtual machine: 19 + 23 = %d\n", sum.of.i32);
    else
        printf("the guest did not return: %s\n", outcome.message);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_engine_unref(engine);
    return failed;
}
