/*
 * hello.c: compile a module, run it in a virtual machine of its own, print what it returned.
 *
 *   cc hello.c $(pkg-config --cflags --libs husk husk-compile) -o hello && ./hello
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <husk.h>
#include <husk_compile.h>

/* (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)) */
static const unsigned char wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x07, 0x01, 0x60, 0x02, 0x7f,
    0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x07, 0x07, 0x01, 0x03, 0x61, 0x64, 0x64,
    0x00, 0x00, 0x0a, 0x09, 0x01, 0x07, 0x00, 0x20, 0x00, 0x20, 0x01, 0x6a, 0x0b};

static struct husk_error err;

static void check(int status) {
    if (status != 0) {
        fprintf(stderr, "hello: %s\n", err.message);
        exit(1);
    }
}

int main(void) {
    husk_engine *engine;
    husk_image *image;
    husk_sandbox *sandbox;
    int fd;
    check(husk_engine_new(NULL, &engine, &err));
    check(husk_compile(wasm, sizeof wasm, NULL, &fd, &err));
    check(husk_image_open_fd(engine, fd, NULL, &image, &err));
    close(fd);
    check(husk_sandbox_new(image, NULL, NULL, &sandbox, &err));

    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value sum, args[2] = {husk_i32(19), husk_i32(23)};
    struct husk_call call = HUSK_CALL_INIT;
    call.name = "add";
    call.args = args;
    call.args_count = 2;
    call.results = &sum;
    call.results_count = 1;
    check(husk_call(sandbox, &call, &outcome, &err));
    if (outcome.kind == HUSK_RETURNED)
        printf("hello from a virtual machine: 19 + 23 = %d\n", sum.of.i32);
    else
        printf("the guest did not return: %s\n", outcome.message);
    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_engine_unref(engine);
    return outcome.kind != HUSK_RETURNED;
}
