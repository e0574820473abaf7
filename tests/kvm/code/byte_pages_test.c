/*
 * tests/kvm/code/byte_pages_test.c: memories with pages of one byte (custom page sizes), at every
 * level. Their exact size is state: it is in snapshots, and a restore gives it back.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "husk_compile.h"
#include "levels.h"
#include "ready_image.h"

/* wat2wasm does not know page sizes: with_byte_pages() changes the memory's type, and its maximum
 * to 70,000. */
static const char byte_pages[] =
    "(module (memory (export \"mem\") 100 60000)"
    " (data (i32.const 98) \"ab\")"
    " (func (export \"size\") (param i32) (result i32) memory.size)"
    " (func (export \"grow\") (param i32) (result i32) local.get 0 memory.grow)"
    " (func (export \"get\") (param i32) (result i32) local.get 0 i32.load8_u)"
    " (func (export \"get64\") (param i32) (result i64) local.get 0 i64.load offset=3)"
    " (func (export \"add\") (param i32) (result i32)"
    "   local.get 0 i32.const 3 i32.atomic.rmw.add)"
    " (func (export \"put\") (param i32) (result i32)"
    "   local.get 0 i32.const 7 i32.store8 i32.const 1)"
    " (func (export \"fill\") (param i32) (result i32)"
    "   i32.const 0 i32.const 9 local.get 0 memory.fill i32.const 1))";

static const uint8_t memory_before[] = {5, 6, 1, 1, 100, 0xe0, 0xd4, 3};
static const uint8_t memory_after[] = {5, 7, 1, 9, 100, 0xf0, 0xa2, 4, 0};

static uint8_t *with_byte_pages(size_t *ret_count) {
    size_t count = 0;
    uint8_t *before = wat_to_wasm(byte_pages, &count);
    uint8_t *after = malloc(count + 1);
    size_t at = 8;
    while (at + sizeof memory_before <= count &&
           memcmp(before + at, memory_before, sizeof memory_before) != 0)
        at++;
    CHECK_MSG(after != NULL && at + sizeof memory_before <= count, "no memory section");
    memcpy(after, before, at);
    memcpy(after + at, memory_after, sizeof memory_after);
    memcpy(after + at + sizeof memory_after, before + at + sizeof memory_before,
           count - at - sizeof memory_before);
    free(before);
    *ret_count = count + 1;
    return after;
}

/* At the default level; the image may have been made beforehand. */
static void open_ready(struct wat_lab *lab) {
    static const char key[] = "byte_pages";
    size_t count = 0;
    wat_lab_init(lab);
    int fd = ready_image_open(key, sizeof key);
    if (fd < 0) {
        uint8_t *wasm = with_byte_pages(&count);
        fd = ready_image_compile(key, sizeof key, wasm, count, WAT_WORKER);
        free(wasm);
    }
    CHECK_OK(husk_image_open_fd(lab->engine, fd, NULL, &lab->image, &lab->err), lab->err);
    close(fd);
    CHECK_OK(husk_sandbox_new(lab->image, lab->imports, NULL, &lab->sandbox, &lab->err), lab->err);
}

static void check_trap(struct wat_lab *lab, const char *name, int32_t argument,
                       enum husk_trap expected) {
    struct husk_value arg = value_i32(argument);
    struct husk_value result;
    CHECK_OK(wat_call(lab, name, &arg, 1, &result, 1), lab->err);
    CHECK_EQ_I64(lab->outcome.kind, HUSK_TRAPPED);
    CHECK_EQ_I64(lab->outcome.trap, expected);
}

static void check_traps(struct wat_lab *lab, const char *name, int32_t argument) {
    check_trap(lab, name, argument, HUSK_TRAP_MEMORY_OUT_OF_BOUNDS);
}

/* Of 100 bytes, the last four begin at 96. */
static void check_atomics(struct wat_lab *lab) {
    const int32_t before = (int32_t)wat_call_i32(lab, "add", 96);
    CHECK_EQ_I64(wat_call_i32(lab, "add", 96), before + 3);
    check_traps(lab, "add", 100);
    check_traps(lab, "add", 65532);
    check_trap(lab, "add", 98, HUSK_TRAP_UNALIGNED_ATOMIC);
    check_trap(lab, "add", 101, HUSK_TRAP_UNALIGNED_ATOMIC);
}

static void check_memory(struct wat_lab *lab) {
    husk_image *fresh = NULL;
    husk_image *grown = NULL;
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &fresh, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "size", 0), 100);
    CHECK_EQ_I64(wat_call_i32(lab, "get", 99), 'b');
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 1), 100);
    CHECK_EQ_I64(wat_call_i32(lab, "put", 100), 1);
    CHECK_OK(husk_sandbox_snapshot(lab->sandbox, &grown, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 65536), 101);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 4363), 65637);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", 1), -1);
    CHECK_EQ_I64(wat_call_i32(lab, "grow", -1), -1);
    CHECK_EQ_I64(wat_call_i32(lab, "put", 69999), 1);
    check_traps(lab, "put", 70000);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, grown, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "size", 0), 101);
    CHECK_EQ_I64(wat_call_i32(lab, "get", 100), 7);
    check_traps(lab, "get", 101);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, fresh, &lab->err), lab->err);
    check_traps(lab, "get", 100);
    check_traps(lab, "get", -1);
    check_traps(lab, "get64", 90);
    check_traps(lab, "fill", 101);
    CHECK_OK(husk_sandbox_restore(lab->sandbox, fresh, &lab->err), lab->err);
    CHECK_EQ_I64(wat_call_i32(lab, "fill", 100), 1);
    CHECK_EQ_I64(wat_call_i32(lab, "get", 99), 9);
    check_atomics(lab);
    husk_image_unref(fresh);
    husk_image_unref(grown);
}

TEST(one_byte_pages_have_exact_sizes) {
    SKIP_WITHOUT_COMPILER();
    struct wat_lab lab = {0};
    open_ready(&lab);
    check_memory(&lab);
    wat_lab_close(&lab);
}

TEST(one_byte_pages_have_exact_sizes_at_every_level) {
    SKIP_WITHOUT_LEVELS();
    size_t count = 0;
    uint8_t *wasm = with_byte_pages(&count);
    struct wat_lab lab;
    wat_lab_init(&lab);
    for (size_t i = 0; i < LEVELS_COUNT; i++) {
        level_open(&lab, &levels[i], wasm, count);
        check_memory(&lab);
        level_close(&lab);
    }
    free(wasm);
    wat_lab_close(&lab);
}

TEST_MAIN()
