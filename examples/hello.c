/*
 * hello.c: compile a module, run it in a virtual machine of its own, print what it returned.
 *
 *   cc hello.c $(pkg-config --cflags --libs husk husk-compile) -o hello && ./hello
 */
#include <stdio.h>
#include <unistd.h>

#include <husk.h>
#include <husk_compile.h>

/* (module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)) */
static const unsigned char wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x07, 0x01, 0x60, 0x02, 0x7f,
    0x7f, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x07, 0x07, 0x01, 0x03, 0x61, 0x64, 0x64,
    0x00, 0x00, 0x0a, 0x09, 0x01, 0x07, 0x00, 0x20, 0x00, 0x20, 0x01, 0x6a, 0x0b};

static int fail(const struct husk_error *err) {
    fprintf(stderr, "hello: %s\n", err->message);
    return 1;
}

int main(void) {
    struct husk_error err;
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_value args[2] = {{.type = HUSK_I32, .of.i32 = 19},
                                 {.type = HUSK_I32, .of.i32 = 23}},
                      sum;
    int fd = -1;

    if (husk_engine_new(NULL, &engine, &err) != 0)
        return fail(&err);
    if (husk_compile(wasm, sizeof wasm, NULL, &fd, &err) != 0)
        return fail(&err);
    if (husk_image_open_fd(engine, fd, false, &image, &err) != 0)
        return fail(&err);
    close(fd);
    if (husk_sandbox_new(engine, image, NULL, NULL, &sandbox, &err) != 0)
        return fail(&err);
    if (husk_call(sandbox, "add", args, 2, &sum, 1, NULL, &outcome, &err) != 0)
        return fail(&err);

    if (outcome.kind == HUSK_RETURNED)
        printf("hello from a virtual machine: 19 + 23 = %d\n", sum.of.i32);
    else
        printf("the guest did not return: %s\n", outcome.message);
    int code = outcome.kind == HUSK_RETURNED ? 0 : 1;

    husk_sandbox_free(sandbox);
    husk_image_unref(image);
    husk_engine_unref(engine);
    return code;
}
