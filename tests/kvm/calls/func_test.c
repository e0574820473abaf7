/* tests/kvm/calls/func_test.c: a husk_func belongs to a module; the sandboxes that accept it. */
#include <stdlib.h>
#include <unistd.h>

#include "wat.h"
#include "literals.h"

static const char one_wat[] =
    "(module (memory 1) (global $n (mut i32) (i32.const 0))"
    " (func (export \"one\") (result i32)"
    "  (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))";
static const char two_wat[] = "(module (func (export \"two\") (result i32) i32.const 2))";

static int call(struct wat_lab *lab, husk_sandbox *sandbox, husk_func func, int32_t *ret_number) {
    struct husk_value result = value_i32(-1);
    int status = husk_call(sandbox, CALL(.func = func, .results = &result, .results_count = 1),
                           &lab->outcome, &lab->err);
    *ret_number = result.of.i32;
    return status;
}

static void check_returns(struct wat_lab *lab, husk_sandbox *sandbox, husk_func func,
                          int32_t expected) {
    int32_t number;
    CHECK_OK(call(lab, sandbox, func, &number), lab->err);
    CHECK_EQ_U64(lab->outcome.kind, HUSK_RETURNED);
    CHECK_EQ_I64(number, expected);
}

static husk_sandbox *sandbox_of(struct wat_lab *lab, husk_image *image) {
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &sandbox, &lab->err), lab->err);
    return sandbox;
}

TEST(another_modules_function_is_refused) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func one, two;
    int32_t number;
    wat_lab_init(&lab);
    wat_lab_open(&lab, one_wat, NULL);
    husk_image *other = wat_image_with(lab.engine, two_wat, WAT_WORKER);
    husk_sandbox *sandbox = sandbox_of(&lab, other);
    CHECK_OK(husk_image_func(lab.image, "one", 0, &one, &lab.err), lab.err);
    CHECK_OK(husk_image_func(other, "two", 0, &two, &lab.err), lab.err);
    CHECK_STATUS(call(&lab, sandbox, one, &number), HUSK_E_INVAL);
    CHECK_CONTAINS(lab.err.message, "another module");
    CHECK_EQ_I64(number, -1);
    CHECK_STATUS(call(&lab, lab.sandbox, two, &number), HUSK_E_INVAL);
    check_returns(&lab, lab.sandbox, one, 1);
    check_returns(&lab, sandbox, two, 2);

    /* The image that is loaded now decides. */
    CHECK_OK(husk_sandbox_load(sandbox, lab.image, NULL, &lab.err), lab.err);
    CHECK_STATUS(call(&lab, sandbox, two, &number), HUSK_E_INVAL);
    check_returns(&lab, sandbox, one, 1);
    CHECK_OK(husk_sandbox_unload(sandbox, &lab.err), lab.err);
    CHECK_STATUS(call(&lab, sandbox, one, &number), HUSK_E_STATE);
    husk_sandbox_free(sandbox);
    husk_image_unref(other);
    wat_lab_close(&lab);
}

TEST(the_same_modules_images_share_it) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func one, from_snapshot;
    wat_lab_init(&lab);
    wat_lab_open(&lab, one_wat, NULL);
    CHECK_OK(husk_image_func(lab.image, "one", 0, &one, &lab.err), lab.err);
    check_returns(&lab, lab.sandbox, one, 1);

    husk_image *snapshot, *reopened, *again = wat_image_with(lab.engine, one_wat, WAT_WORKER);
    char path[] = "/tmp/husk-func-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_OK(husk_sandbox_snapshot(lab.sandbox, &snapshot, &lab.err), lab.err);
    CHECK_OK(husk_image_save(snapshot, path, &lab.err), lab.err);
    CHECK_OK(husk_image_open(lab.engine, path, NULL, &reopened, &lab.err), lab.err);
    unlink(path);

    husk_sandbox *of_snapshot = sandbox_of(&lab, snapshot), *of_file = sandbox_of(&lab, reopened),
                 *of_again = sandbox_of(&lab, again);
    CHECK_OK(husk_image_func(reopened, "one", 0, &from_snapshot, &lab.err), lab.err);
    check_returns(&lab, of_snapshot, one, 2);
    check_returns(&lab, of_file, one, 2);
    check_returns(&lab, of_again, one, 1);
    check_returns(&lab, lab.sandbox, from_snapshot, 2);
    CHECK_OK(husk_sandbox_restore(lab.sandbox, reopened, &lab.err), lab.err);
    check_returns(&lab, lab.sandbox, one, 2);

    husk_sandbox_free(of_snapshot);
    husk_sandbox_free(of_file);
    husk_sandbox_free(of_again);
    husk_image_unref(snapshot);
    husk_image_unref(reopened);
    husk_image_unref(again);
    wat_lab_close(&lab);
}

/* It holds no pointer: the image in which it was found may be gone. */
TEST(it_outlives_its_image) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    husk_func one, gone;
    int32_t number;
    wat_lab_init(&lab);
    wat_lab_open(&lab, one_wat, NULL);
    husk_image *other = wat_image_with(lab.engine, two_wat, WAT_WORKER);
    CHECK_OK(husk_image_func(other, "two", 0, &gone, &lab.err), lab.err);
    husk_image_unref(other);
    CHECK_STATUS(call(&lab, lab.sandbox, gone, &number), HUSK_E_INVAL);

    other = wat_image_with(lab.engine, one_wat, WAT_WORKER);
    CHECK_OK(husk_image_func(other, "one", 0, &one, &lab.err), lab.err);
    husk_image_unref(other);
    check_returns(&lab, lab.sandbox, one, 1);
    wat_lab_close(&lab);
}

TEST_MAIN()
