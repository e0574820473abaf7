/*
 * tests/kvm/linked/memory64_linked_test.c: instances that share memories of both widths of
 * addresses. A program is linked only if importers know the width.
 */
#include <stdlib.h>
#include <string.h>

#include "husk_compile.h"
#include "ready_image.h"
#include "wat.h"

#define OWNER                                                                                      \
    {                                                                                              \
        .name = "owner",                                                                           \
        .wat =                                                                                     \
            "(module (memory $w (export \"wide\") i64 2 10) (memory $n (export \"narrow\") 1 4)"   \
            " (data (memory $w) (i64.const 8) \"owner's\")"                                        \
            " (func (export \"grow\") (param i64) (result i64)"                                    \
            "  (memory.grow $w (local.get 0))))"                                                   \
    }
#define COPIER                                                                                     \
    {                                                                                              \
        .name = "copier", .wat =                                                                   \
                              "(module (import \"owner\" \"narrow\" (memory $n 1))"                \
                              " (import \"owner\" \"wide\" (memory $w i64 1 10))"                  \
                              " (data (memory $w) (i64.const 0x1fffc) \"end.\")"                   \
                              " (func (export \"copy\") (param i64 i32 i32)"                       \
                              "  (memory.copy $w $n (local.get 0) (local.get 1) (local.get 2))))"  \
    }
#define MAIN                                                                                       \
    {                                                                                              \
        .name = "main",                                                                            \
        .wat = "(module (import \"owner\" \"wide\" (memory $w i64 2))"                             \
               " (import \"owner\" \"narrow\" (memory $n 1))"                                      \
               " (import \"owner\" \"grow\" (func $grow (param i64) (result i64)))"                \
               " (import \"copier\" \"copy\" (func $copy (param i64 i32 i32)))"                    \
               " (func (export \"get\") (param i64) (result i32) (i32.load8_u $w (local.get 0)))"  \
               " (func (export \"move\") (param i64) (result i32)"                                 \
               "  (memory.copy $n $w (i32.const 100) (i64.const 8) (i32.const 7))"                 \
               "  (drop (call $grow (i64.const 1)))"                                               \
               "  (call $copy (local.get 0) (i32.const 100) (i32.const 7))"                        \
               "  (i32.load8_u $w offset=6 (local.get 0))))"                                       \
    }
static const struct wat_module three[] = {OWNER, COPIER, MAIN};

static int64_t call(struct wat_lab *lab, const char *name, int64_t argument) {
    struct husk_value arg = value_i64(argument), result = value_i32(0);
    CHECK_OK(wat_call(lab, name, &arg, 1, &result, 1), lab->err);
    CHECK_MSG(lab->outcome.kind == HUSK_RETURNED, "%s: %s", name, lab->outcome.message);
    return result.of.i32;
}

TEST(instances_share_memories_of_both_widths) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab;
    wat_lab_init(&lab);
    wat_lab_open_linked(&lab, three, 3, NULL);
    CHECK_EQ_I64(call(&lab, "get", 0x1fffc), 'e');
    CHECK_EQ_I64(call(&lab, "move", 2 * 65536 + 50), 's');
    CHECK_EQ_U64(husk_memory_bytes(lab.sandbox, 0), 3 * 65536);
    wat_lab_close(&lab);
}

static void check_refused(const char *owner, const char *importer, const char *message) {
    struct husk_compile_options options = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_module modules[2] = {{.name = "owner"}, {.name = "main"}};
    struct husk_error err;
    int fd = -1;
    options.worker_path = WAT_WORKER;
    uint8_t *first = wat_to_wasm(owner, &modules[0].count);
    uint8_t *second = wat_to_wasm(importer, &modules[1].count);
    modules[0].wasm = first;
    modules[1].wasm = second;
    CHECK_EQ_I64(husk_compile_linked(modules, 2, &options, &fd, &err), HUSK_E_LINK);
    CHECK_CONTAINS(err.message, message);
    free(first);
    free(second);
}

TEST(an_import_of_the_other_width_is_refused) {
    SKIP_WITHOUT_COMPILER();
    if (ready_images_only())
        SKIP("needs the compiler, and there are ready images only");
    check_refused("(module (memory (export \"m\") i64 1 2))",
                  "(module (import \"owner\" \"m\" (memory 1 2)))",
                  "imports memory \"owner.m\": 1 to 2; \"owner.m\" is a memory: 1 to 2, i64 "
                  "addresses");
    check_refused("(module (memory (export \"m\") 1 2))",
                  "(module (import \"owner\" \"m\" (memory i64 1 2)))", "1 to 2, i64 addresses; ");
}

TEST_MAIN()
