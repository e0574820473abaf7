/*
 * host_function.c: a guest calls functions of its host. The host accesses the guest's memory with
 * checks. It also shows a host function that fails.
 *
 *   host_function host_function.wasm      (guests/host_function.c)
 */
#include <stdio.h>
#include <string.h>

#include "example.h"

struct shop {
    const char *articles[2];
    double prices[2];
    int questions;
};

/* A string that the guest passes as (address, length): never trusted, so a span, which is
 * checked. */
static int guest_string(husk_caller *caller, const struct husk_value *args, char *out,
                        size_t out_bytes) {
    void *span = NULL;
    struct husk_error err;
    uint32_t count = (uint32_t)args[1].of.i32;
    if (count >= out_bytes)
        return husk_caller_fail(caller, "a string of %u bytes is too long", count);
    if (husk_memory_span(husk_caller_sandbox(caller),
                         &(struct husk_range){.addr = (uint32_t)args[0].of.i32, .count = count},
                         &span, &err) != 0)
        return husk_caller_fail(caller, "a string outside of memory: %s", err.message);
    memcpy(out, span, count);
    out[count] = 0;
    return 0;
}

static int shop_price(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    struct shop *shop = user;
    char article[32];
    int status = guest_string(caller, args, article, sizeof article);
    if (status != 0)
        return status;
    shop->questions++;
    for (int i = 0; i < 2; i++) {
        if (strcmp(shop->articles[i], article) != 0)
            continue;
        results[0].of.f64 = shop->prices[i];
        return 0;
    }
    return husk_caller_fail(caller, "there is no price for '%s'", article);
}

static int shop_log(husk_caller *caller, void *user, const struct husk_value *args,
                    struct husk_value *results) {
    char text[128];
    (void)user;
    (void)results;
    int status = guest_string(caller, args, text, sizeof text);
    if (status == 0)
        printf("guest says: %s\n", text);
    return status;
}

static int define_shop(husk_imports *imports, struct shop *shop, struct husk_error *err) {
    static const husk_type string[] = {HUSK_I32, HUSK_I32}, price[] = {HUSK_F64};
    struct husk_functype price_type = {string, 2, price, 1}, log_type = {string, 2, NULL, 0};
    const struct husk_host_func rows[] = {
        {.module = "host", .name = "price", .type = &price_type, .fn = shop_price, .user = shop},
        {.module = "host", .name = "log", .type = &log_type, .fn = shop_log, .user = shop},
    };
    return husk_imports_funcs(imports, rows, sizeof rows / sizeof rows[0], err);
}

/* A call that did not return has left things half-done: on the guest's own stack, for one, which
 * is a part of its memory. Restoring to the image costs about a microsecond. */
static int use_shop(husk_sandbox *sandbox, husk_image *image, struct husk_error *err) {
    struct husk_value total, args[2] = {husk_i32(3), husk_i32(4)};
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    call.name = "total";
    call.args = args;
    call.args_count = 2;
    call.results = &total;
    call.results_count = 1;
    int status = husk_call(sandbox, &call, &outcome, err);
    if (status != 0)
        return status;
    printf("3 apples and 4 pears: %.2f\n", total.of.f64);
    struct husk_call plums = call;
    plums.name = "total_of_plums";
    plums.args_count = 1;
    status = husk_call(sandbox, &plums, &outcome, err);
    if (status != 0)
        return status;
    printf("plums: %s%s\n", outcome.kind == HUSK_TRAPPED ? "trap: " : "", outcome.message);
    if (outcome.kind != HUSK_RETURNED)
        status = husk_sandbox_restore(sandbox, image, err);
    return status != 0 ? status : husk_call(sandbox, &call, &outcome, err);
}

int main(int argc, char **argv) {
    struct shop shop = {.articles = {"apple", "pear"}, .prices = {0.5, 0.75}};
    struct husk_error err = {0};
    husk_engine *engine = NULL;
    husk_imports *imports = NULL;
    husk_sandbox *sandbox = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: host_function host_function.wasm\n");
        return 2;
    }
    if (husk_engine_new(NULL, &engine, &err) != 0) {
        fprintf(stderr, "host_function: %s\n", err.message);
        return 1;
    }
    husk_image *image = example_load(engine, argv[1]);
    int status = image != NULL ? husk_imports_new(engine, &imports, &err) : HUSK_E_INVAL;
    if (status == 0)
        status = define_shop(imports, &shop, &err);
    if (status == 0)
        status = husk_sandbox_new(image, imports, NULL, &sandbox, &err);
    if (status == 0)
        status = use_shop(sandbox, image, &err);
    if (status != 0 && image != NULL)
        fprintf(stderr, "host_function: %s\n", err.message);
    if (status == 0)
        printf("prices asked for: %d\n", shop.questions);
    husk_sandbox_free(sandbox);
    husk_imports_free(imports);
    husk_image_unref(image);
    husk_engine_unref(engine);
    return status != 0 ? 1 : 0;
}
