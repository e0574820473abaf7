/*
 * exceptions.c: a host function throws an exception that the guest knows. One export of the guest
 * catches it. Another one does not, and the host sees what nobody caught.
 */
#include <stdio.h>
#include <unistd.h>

#include <husk.h>
#include <husk_compile.h>

/*
 * (module
 *   (import "shop" "price" (func $price (param i32) (result i32)))
 *   (tag $unknown (export "unknown_article") (param i32))
 *   (func $price_or_0 (param i32) (result i32)
 *     (block $caught (result i32)
 *       (return (try_table (result i32) (catch $unknown $caught) (call $price (local.get 0)))))
 *     drop i32.const 0)
 *   (func (export "estimate") (param i32 i32) (result i32)
 *     (i32.add (call $price_or_0 (local.get 0)) (call $price_or_0 (local.get 1))))
 *   (func (export "total") (param i32 i32) (result i32)
 *     (i32.add (call $price (local.get 0)) (call $price (local.get 1)))))
 */
static const unsigned char wasm[] = {
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x10, 0x03, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x60, 0x01, 0x7f, 0x00, 0x60, 0x02, 0x7f, 0x7f, 0x01, 0x7f, 0x02, 0x0e, 0x01, 0x04, 0x73, 0x68,
    0x6f, 0x70, 0x05, 0x70, 0x72, 0x69, 0x63, 0x65, 0x00, 0x00, 0x03, 0x04, 0x03, 0x00, 0x02, 0x02,
    0x0d, 0x03, 0x01, 0x00, 0x01, 0x07, 0x26, 0x03, 0x0f, 0x75, 0x6e, 0x6b, 0x6e, 0x6f, 0x77, 0x6e,
    0x5f, 0x61, 0x72, 0x74, 0x69, 0x63, 0x6c, 0x65, 0x04, 0x00, 0x08, 0x65, 0x73, 0x74, 0x69, 0x6d,
    0x61, 0x74, 0x65, 0x00, 0x02, 0x05, 0x74, 0x6f, 0x74, 0x61, 0x6c, 0x00, 0x03, 0x0a, 0x2e, 0x03,
    0x14, 0x00, 0x02, 0x7f, 0x1f, 0x7f, 0x01, 0x00, 0x00, 0x00, 0x20, 0x00, 0x10, 0x00, 0x0b, 0x0f,
    0x0b, 0x1a, 0x41, 0x00, 0x0b, 0x0b, 0x00, 0x20, 0x00, 0x10, 0x01, 0x20, 0x01, 0x10, 0x01, 0x6a,
    0x0b, 0x0b, 0x00, 0x20, 0x00, 0x10, 0x00, 0x20, 0x01, 0x10, 0x00, 0x6a, 0x0b};

struct shop {
    husk_tag unknown_article;
    int32_t prices[3];
};

/* There are articles 0 to 2. Any other number is thrown back. */
static int shop_price(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    const struct shop *shop = user;
    if (args[0].of.i32 < 0 || args[0].of.i32 > 2) {
        struct husk_throw unknown = HUSK_THROW_INIT;
        unknown.tag = shop->unknown_article;
        unknown.values = args;
        unknown.values_count = 1;
        return husk_caller_throw(caller, &unknown);
    }
    results[0].of.i32 = shop->prices[args[0].of.i32];
    return 0;
}

/* A call of an export with two articles. What nobody caught has a tag and values. */
static int sell(husk_sandbox *sandbox, const char *name, int32_t first, int32_t second,
                struct husk_error *err) {
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_exception_info thrown = HUSK_EXCEPTION_INFO_INIT;
    struct husk_value sum, args[2] = {husk_i32(first), husk_i32(second)};
    struct husk_call call = HUSK_CALL_INIT;
    call.name = name;
    call.args = args;
    call.args_count = 2;
    call.results = &sum;
    call.results_count = 1;
    int status = husk_call(sandbox, &call, &outcome, err);
    if (status == 0 && outcome.kind == HUSK_RETURNED) {
        printf("%s of %d and %d: %d\n", name, first, second, sum.of.i32);
    } else if (status == 0 && outcome.kind == HUSK_THREW) {
        status = husk_sandbox_exception(sandbox, &thrown, err);
        if (status == 0 && thrown.values_count == 1 && thrown.values[0].type == HUSK_I32)
            printf("%s of %d and %d: %s: %d\n", name, first, second, thrown.name,
                   thrown.values[0].of.i32);
    } else if (status == 0) {
        printf("%s of %d and %d: %s\n", name, first, second, outcome.message);
    }
    return status;
}

static int define_shop(husk_imports *imports, struct shop *shop, struct husk_error *err) {
    static const husk_type i32[] = {HUSK_I32};
    const struct husk_functype type = {i32, 1, i32, 1};
    const struct husk_host_func row = {
        .module = "shop", .name = "price", .type = &type, .fn = shop_price, .user = shop};
    return husk_imports_funcs(imports, &row, 1, err);
}

static int run(husk_engine *engine, husk_image *image, struct husk_error *err) {
    struct shop shop = {.prices = {120, 250, 80}};
    husk_imports *imports = NULL;
    husk_sandbox *sandbox = NULL;
    int status = husk_image_tag(image, "unknown_article", 0, &shop.unknown_article, err);
    if (status == 0)
        status = husk_imports_new(engine, &imports, err);
    if (status == 0)
        status = define_shop(imports, &shop, err);
    if (status == 0)
        status = husk_sandbox_new(image, imports, NULL, &sandbox, err);
    if (status == 0)
        status = sell(sandbox, "estimate", 0, 1, err);
    if (status == 0)
        status = sell(sandbox, "estimate", 0, 9, err);
    if (status == 0)
        status = sell(sandbox, "total", 0, 1, err);
    if (status == 0)
        status = sell(sandbox, "total", 0, 9, err);
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
    return status;
}

int main(void) {
    husk_engine *engine = NULL;
    husk_image *image = NULL;
    struct husk_error err;
    int fd = -1;
    int status = husk_engine_new(NULL, &engine, &err);
    if (status == 0)
        status = husk_compile(wasm, sizeof wasm, NULL, &fd, &err);
    if (status == 0)
        status = husk_image_open_fd(engine, fd, NULL, &image, &err);
    if (fd >= 0)
        close(fd);
    if (status == 0)
        status = run(engine, image, &err);
    if (status != 0)
        fprintf(stderr, "exceptions: %s\n", err.message);
    husk_image_unref(image);
    husk_engine_unref(engine);
    return status != 0;
}
