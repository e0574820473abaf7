/*
 * Images with damaged tables of exceptions (guest/throw_tables.h). They are rodata that only ring 3
 * reads, so libhusk opens them. What the guest then does ends as every guest's call ends, and
 * within the deadline.
 */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "literals.h"
#include "wat.h"

/* Exceptions through frames that have registers on the stack; references; one that nobody
 * catches. */
static const char wat[] =
    "(module (tag $t (param i32)) (memory 1)"
    "  (func $deep (param i32) (result i32) (local i32)"
    "    (local.set 1 (i32.load (local.get 0)))"
    "    (if (i32.eqz (local.get 0)) (then (throw $t (i32.const 7))))"
    "    (i32.add (local.get 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))"
    "  (func $again (param i32) (result i32)"
    "    (try (result i32) (do (call $deep (local.get 0))) (catch_all (rethrow 0))))"
    "  (func (export \"f\") (param i32) (result i32)"
    "    (try (result i32) (do (call $again (local.get 0))) (catch $t)))"
    "  (func (export \"uncaught\") (param i32) (result i32) (call $again (local.get 0))))";

struct image_bytes {
    uint8_t *bytes;
    size_t count;
    uint8_t *rodata;
    size_t rodata_count;
};

static struct image_bytes image_compile(void) {
    struct image_bytes image = {0};
    struct husk_error err;
    char path[64];
    int fd = wat_compile(wat, WAT_WORKER);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK_OK(file_read(path, 64u << 20, &image.bytes, &image.count, &err), err);
    close(fd);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(const void *)image.bytes;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(const void *)(image.bytes + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type != PT_LOAD || segments[i].p_flags != PF_R)
            continue;
        image.rodata = image.bytes + segments[i].p_offset;
        image.rodata_count = segments[i].p_filesz;
    }
    CHECK(image.rodata_count > 0);
    return image;
}

static husk_sandbox *sandbox_open(husk_engine *engine, const struct image_bytes *bytes) {
    struct husk_error err;
    husk_image *image = NULL;
    husk_sandbox *sandbox = NULL;
    CHECK_OK(husk_image_open_buffer(engine, (struct husk_buffer){bytes->bytes, bytes->count},
                                    SKIP_HASH, &image, &err),
             err);
    CHECK_OK(husk_sandbox_new(image, NULL, NULL, &sandbox, &err), err);
    husk_image_unref(image);
    return sandbox;
}

static enum husk_outcome_kind call(husk_sandbox *sandbox, const char *name, int32_t depth,
                                   int32_t *ret_result) {
    struct husk_error err;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_outcome outcome = {.size = sizeof outcome};
    struct husk_value argument = value_i32(depth), result = value_i32(0);
    limits.wall_ns = 200000000;
    CHECK_OK(husk_call(sandbox,
                       CALL(.name = name, .args = &argument, .args_count = 1, .results = &result,
                            .results_count = 1, .limits = &limits),
                       &outcome, &err),
             err);
    *ret_result = result.of.i32;
    return outcome.kind;
}

static void check_good(husk_engine *engine, const struct image_bytes *image) {
    int32_t result;
    husk_sandbox *sandbox = sandbox_open(engine, image);
    CHECK_EQ_I64(call(sandbox, "f", 10, &result), HUSK_RETURNED);
    CHECK_EQ_I64(result, 7);
    CHECK_EQ_I64(call(sandbox, "uncaught", 10, &result), HUSK_THREW);
    CHECK_EQ_I64(call(sandbox, "f", 1000, &result), HUSK_RETURNED);
    husk_sandbox_free(sandbox);
}

/* Any outcome will do, and a backtrace is made of any stack. */
static void run_damaged(husk_engine *engine, const struct image_bytes *image, unsigned *counts) {
    static const char *const names[] = {"f", "uncaught"};
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_error err;
    int32_t result;
    for (int i = 0; i < 2; i++) {
        husk_sandbox *sandbox = sandbox_open(engine, image);
        const enum husk_outcome_kind kind = call(sandbox, names[i], 10, &result);
        CHECK(kind == HUSK_RETURNED || kind == HUSK_TRAPPED || kind == HUSK_GUEST_VIOLATION ||
              kind == HUSK_DEADLINE || kind == HUSK_THREW);
        counts[kind]++;
        CHECK_OK(husk_sandbox_backtrace(sandbox, &backtrace, &err), err);
        husk_sandbox_free(sandbox);
    }
}

TEST(damaged_tables) {
    SKIP_WITHOUT_COMPILER();
    struct husk_error err;
    husk_engine *engine = NULL;
    CHECK_OK(husk_engine_new(NULL, &engine, &err), err);
    struct image_bytes image = image_compile();
    uint8_t *whole = malloc(image.rodata_count);
    unsigned counts[16] = {0};
    uint32_t random = 2026;
    CHECK(whole != NULL);
    memcpy(whole, image.rodata, image.rodata_count);
    check_good(engine, &image);
    for (int round = 0; round < 150; round++) {
        for (int flips = 0; flips <= round % 5; flips++) {
            random = random * 1664525 + 1013904223;
            image.rodata[(random >> 4) % image.rodata_count] ^= (uint8_t)(1u << (random >> 29));
        }
        run_damaged(engine, &image, counts);
        memcpy(image.rodata, whole, image.rodata_count);
    }
    memset(image.rodata, 0xff, image.rodata_count);
    run_damaged(engine, &image, counts);
    memset(image.rodata, 0, image.rodata_count);
    run_damaged(engine, &image, counts);
    memcpy(image.rodata, whole, image.rodata_count);
    check_good(engine, &image);
    CHECK(counts[HUSK_GUEST_VIOLATION] > 0 && counts[HUSK_THREW] > 0 && counts[HUSK_RETURNED] > 0);
    free(whole);
    free(image.bytes);
    husk_engine_unref(engine);
}

TEST_MAIN()
