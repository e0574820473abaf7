/*
 * tests/fake/imports_faults_test.c: sets of imports when the n-th allocation fails, for every n. A
 * set keeps its old definitions, or has all of the new ones.
 */
#include <string.h>

#include "fault_wraps.h"
#include "harness.h"
#include "husk.h"
#include "imports.h"
#include "vm_fake.h"

static void guest_nothing(struct vcpu *vcpu, void *user, struct vm_exit *ret_exit) {
    (void)vcpu, (void)user, (void)ret_exit;
}

static const struct import_group *group_of(const husk_imports *imports, const char *module,
                                           const char *name) {
    const struct import_def *def =
        imports_find(imports, module, strlen(module), name, strlen(name));
    return def != NULL ? def->group : NULL;
}

/* The group of all WASI functions in the set, under both names; fails if there are two. */
static const struct import_group *only_group(const husk_imports *imports) {
    static const char *const names[] = {
#define WASI_FUNC(name, params, has_result, in_unstable) #name,
#include "wasi.def"
#undef WASI_FUNC
    };
    const struct import_group *group = group_of(imports, "wasi_snapshot_preview1", names[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK(group_of(imports, "wasi_snapshot_preview1", names[i]) == group);
        const struct import_group *old = group_of(imports, "wasi_unstable", names[i]);
        CHECK(old == group || (old == NULL && strcmp(names[i], "sock_accept") == 0));
    }
    return group;
}

/* Returns whether there was an n-th allocation. */
static bool define_twice(husk_engine *engine, unsigned nth) {
    struct husk_wasi_options options = HUSK_WASI_OPTIONS_INIT;
    struct husk_error err = {0};
    husk_imports *imports = NULL;
    long blocks = fault_live_blocks();
    CHECK_OK(husk_imports_new(engine, &imports, &err), err);
    CHECK_OK(husk_imports_wasi(imports, &options, &err), err);
    const struct import_group *before = only_group(imports);
    CHECK(before != NULL);
    fault_arm(FAULT_ONCE, nth, NULL);
    int status = husk_imports_wasi(imports, &options, &err);
    fault_disarm();
    const bool has_fired = fault_has_fired();
    CHECK_EQ_I64(status, has_fired ? HUSK_E_NOMEM : 0);
    CHECK_MSG((only_group(imports) == before) == has_fired, "allocation %u", nth);
    husk_imports_free(imports);
    CHECK_MSG(fault_live_blocks() == blocks, "allocation %u failing leaves blocks", nth);
    return has_fired;
}

/* Two groups in one set would be two states in one sandbox, of which a snapshot keeps one. */
TEST(a_set_has_one_wasi_whatever_fails) {
    struct vm_backend backend = {.guest = guest_nothing};
    husk_engine *engine = NULL;
    struct husk_error err;
    unsigned nth = 1;
    CHECK_OK(fake_engine_new(&backend, &engine, &err), err);
    CHECK(!define_twice(engine, FAULT_NEVER));
    while (define_twice(engine, nth))
        nth++;
    CHECK_MSG(nth > 100, "only %u allocations were counted; is the suite linked with --wrap?", nth);
    husk_engine_unref(engine);
}

static bool make_stub(unsigned nth) {
    static const husk_type types[] = {HUSK_I32, HUSK_I64};
    const struct husk_extern wanted = {
        .kind = HUSK_EXTERN_FUNC,
        .module = "env",
        .module_bytes = 3,
        .name = "f",
        .name_bytes = 1,
        .func = {.params = types, .params_count = 1, .results = types + 1, .results_count = 1}};
    struct husk_error err = {0};
    struct import_def *def = NULL;
    long blocks = fault_live_blocks();
    fault_arm(FAULT_ONCE, nth, NULL);
    int status = import_stub_new(&wanted, "the module called it", &def, &err);
    fault_disarm();
    const bool has_fired = fault_has_fired();
    CHECK_EQ_I64(status, has_fired ? HUSK_E_NOMEM : 0);
    CHECK((def == NULL) == has_fired);
    import_def_unref(def);
    CHECK_MSG(fault_live_blocks() == blocks, "allocation %u leaves blocks", nth);
    return has_fired;
}

TEST(a_function_for_an_unknown_import_is_made_whole_or_not_at_all) {
    unsigned nth = 1;
    CHECK(!make_stub(FAULT_NEVER));
    while (make_stub(nth))
        nth++;
    CHECK_EQ_U64(nth, 6); /* the definition, its message, two names, the type */
}

TEST_MAIN()
