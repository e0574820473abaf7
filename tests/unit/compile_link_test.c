/* husk_compile_linked(): arguments, what is refused, limits, one module, the cache. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "husk_compile.h"
#include "small_module.h"
#include "wat.h"

static struct husk_error err;

/* The status of compiling these modules. */
static int link_all(const struct husk_module *modules, size_t count) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    int fd = -1;
    options.worker_path = WAT_WORKER;
    options.opt_level = HUSK_OPT_NONE;
    int status = husk_compile_linked(modules, count, &options, &fd, &err);
    if (status == 0)
        close(fd);
    return status;
}

static struct husk_module small(const char *name) {
    return (struct husk_module){.name = name, .wasm = small_wasm, .count = sizeof small_wasm};
}

TEST(bad_arguments) {
    const struct husk_alias nameless = {.module = "a", .name = "b", .instance = "c"};
    struct husk_module modules[2] = {small("a"), small("b")};
    int fd = -1;
    CHECK_STATUS(husk_compile_linked(modules, 2, NULL, NULL, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_compile_linked_cached(modules, 2, NULL, NULL, &err), HUSK_E_INVAL);
    CHECK_STATUS(husk_compile_linked(NULL, 2, NULL, &fd, &err), HUSK_E_INVAL);
    CHECK_STATUS(link_all(modules, 0), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "0 modules to link");
    CHECK_STATUS(link_all(modules, 1001), HUSK_E_INVAL);
    modules[1].name = "";
    CHECK_STATUS(link_all(modules, 2), HUSK_E_INVAL);
    modules[1] = (struct husk_module){.name = "b", .count = 5};
    CHECK_STATUS(link_all(modules, 2), HUSK_E_INVAL);
    modules[1] = small("b");
    modules[1].aliases_count = 1;
    CHECK_STATUS(link_all(modules, 2), HUSK_E_INVAL);
    modules[1].aliases = &nameless;
    CHECK_STATUS(link_all(modules, 2), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "alias 0 lacks a name");
    modules[1] = small("b");
    modules[1].count = ((size_t)1 << 30) + 1;
    CHECK_STATUS(link_all(modules, 2), HUSK_E_LIMIT);
}

TEST(refused_by_the_linker) {
    need_worker();
    const struct husk_module twice[2] = {small("a"), small("a")};
    CHECK_STATUS(link_all(twice, 2), HUSK_E_INVAL);
    CHECK_CONTAINS(err.message, "two modules have the name");
    const struct husk_module damaged[2] = {
        small("good"), {.name = "bad", .wasm = small_wasm, .count = sizeof small_wasm - 1}};
    CHECK_STATUS(link_all(damaged, 2), HUSK_E_BAD_WASM);
    CHECK_CONTAINS(err.message, "reading the module \"bad\"");
    CHECK(err.offset <= sizeof small_wasm);
}

TEST(the_same_module_twice) {
    need_worker();
    const struct husk_module modules[2] = {small("a"), small("b")};
    CHECK_OK(link_all(modules, 2), err);
}

/* Counts of all modules together. */
TEST(too_much_together) {
    need_worker();
    SKIP_WITHOUT_COMPILER();
    enum { MODULES = 20 };
    size_t count = 0;
    char names[MODULES][8];
    struct husk_module modules[MODULES];
    uint8_t *wasm =
        wat_to_wasm("(module (memory 1) (memory 1) (memory 1) (memory 1) (memory 1))", &count);
    for (int i = 0; i < MODULES; i++) {
        snprintf(names[i], sizeof names[i], "m%d", i);
        modules[i] = (struct husk_module){.name = names[i], .wasm = wasm, .count = count};
    }
    CHECK_STATUS(link_all(modules, MODULES), HUSK_E_LIMIT);
    CHECK_CONTAINS(err.message, "have 100 memories together");
    free(wasm);
}

static bool compile_cached(const char *dir, const struct husk_module *modules, size_t count) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_compiled compiled = HUSK_COMPILED_INIT;
    options.worker_path = WAT_WORKER;
    options.opt_level = HUSK_OPT_NONE;
    options.cache_dir = dir;
    CHECK_OK(husk_compile_linked_cached(modules, count, &options, &compiled, &err), err);
    close(compiled.fd);
    return compiled.was_cached;
}

TEST(the_cache_knows_names_and_modules) {
    need_worker();
    char dir[] = "/tmp/husk-link-cache-XXXXXX", command[80];
    CHECK(mkdtemp(dir) != NULL);
    const struct husk_module ab[2] = {small("a"), small("b")}, ac[2] = {small("a"), small("c")};
    CHECK(!compile_cached(dir, ab, 2));
    CHECK(compile_cached(dir, ab, 2));
    CHECK(!compile_cached(dir, ac, 2));
    CHECK(!compile_cached(dir, ab, 1)); /* alone: as husk_compile_cached() */
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0);
}

TEST_MAIN()
