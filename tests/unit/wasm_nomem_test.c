/*
 * The decoder and the validator when the n-th allocation fails: HUSK_E_NOMEM, nothing leaked,
 * output untouched. This program replaces the C library's allocator. It is skipped under
 * sanitizers, because they replace it, too.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wasm_writer.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif

#ifdef IS_SANITIZED
TEST(nth_allocation_fails) {
    SKIP("the sanitizer owns the allocator");
}
#else
static long allocations_left = -1; /* < 0: no limit; counts the wanted failure down to 0 */
static long live_count;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void __libc_free(void *memory);

static bool allocation_fails(void) {
    return allocations_left >= 0 && allocations_left-- == 0;
}

void *malloc(size_t bytes) {
    void *memory = allocation_fails() ? NULL : __libc_malloc(bytes);
    live_count += memory != NULL ? 1 : 0;
    return memory;
}

void *calloc(size_t count, size_t bytes) {
    void *memory = allocation_fails() ? NULL : __libc_calloc(count, bytes);
    live_count += memory != NULL ? 1 : 0;
    return memory;
}

void *realloc(void *memory, size_t bytes) {
    void *grown = allocation_fails() ? NULL : __libc_realloc(memory, bytes);
    live_count += grown != NULL && memory == NULL ? 1 : 0;
    return grown;
}

void free(void *memory) {
    live_count -= memory != NULL ? 1 : 0;
    __libc_free(memory);
}

static uint8_t wasm[8192];

static size_t sample_read(const char *name) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/tests/fuzz/corpus/wasm/%s.wasm", HUSK_TEST_SOURCE_DIR,
                   name);
    FILE *file = fopen(path, "rbe");
    CHECK_MSG(file != NULL, "cannot read %s", path);
    size_t count = fread(wasm, 1, sizeof wasm, file);
    (void)fclose(file);
    return count;
}

static int judge_sample(size_t count, struct husk_error *err) {
    struct wasm_module *module = NULL;
    int status = wasm_decode(wasm, count, &module, err);
    if (status != 0)
        return module == NULL ? status : 1;
    status = wasm_validate(module, err);
    wasm_module_free(module);
    return status;
}

static void check_wasm(size_t count, long allocations_min) {
    long n = 0;
    for (;; n++) {
        struct husk_error err = {0};
        long live_before = live_count;
        allocations_left = n;
        int status = judge_sample(count, &err);
        bool is_done = allocations_left >= 0;
        allocations_left = -1;
        CHECK_EQ_I64(live_count, live_before);
        if (is_done) {
            CHECK_OK(status, err);
            break;
        }
        CHECK_EQ_I64(status, HUSK_E_NOMEM);
        CHECK_EQ_I64(err.status, HUSK_E_NOMEM);
    }
    CHECK(n >= allocations_min);
}

TEST(nth_allocation_fails) {
    check_wasm(sample_read("control"), 5);
    check_wasm(sample_read("bulk"), 5);
    check_wasm(sample_read("simd"), 4);
    check_wasm(sample_read("every_op"), 10);
}

/* Equal recursion groups with a subtype, a table with an initialiser, tags, clauses, and a local
 * without a default value. */
static struct bytes newer_module(void) {
    struct bytes module = {0}, part = {0};
    put_header(&module);
    PUT(&part, 5, 0x60, 0, 0);                                     /* 0: func */
    PUT(&part, 0x4e, 2, 0x50, 0, 0x5f, 2, 0x63, 2, 1, 0x78, 0);    /* 1: struct */
    PUT(&part, 0x4f, 1, 1, 0x5f, 3, 0x63, 2, 1, 0x78, 0, 0x7f, 0); /* 2: its subtype */
    PUT(&part, 0x5e, 0x63, 1, 1);                                  /* 3: array of 1 */
    PUT(&part, 0x60, 1, 0x7f, 0);                                  /* 4: func (i32) */
    PUT(&part, 0x4e, 2, 0x50, 0, 0x5f, 2, 0x63, 6, 1, 0x78, 0);    /* 5: as 1 */
    PUT(&part, 0x4f, 1, 5, 0x5f, 3, 0x63, 6, 1, 0x78, 0, 0x7f, 0); /* 6: as 2 */
    put_section(&module, 1, &part);
    PUT(&module, 2, 16, 2, 1, 'm', 1, 't', 4, 0, 4);               /* tag 0 */
    PUT(&module, 1, 'm', 1, 'g', 3, 0x63, 1, 0);                   /* global 0 */
    PUT(&module, 3, 2, 1, 0);                                      /* function 0 */
    PUT(&module, 4, 10, 1, 0x40, 0, 0x63, 5, 0, 1, 0x23, 0, 0x0b); /* table of global 0 */
    PUT(&module, 13, 3, 1, 0, 4);                                  /* tag 1 */
    PUT(&module, 6, 8, 1, 0x63, 5, 0, 0xfb, 1, 2, 0x0b);           /* struct.new_default 2 */
    part.count = 0;
    PUT(&part, 1, 31, 1, 1, 0x64, 1);                              /* (local (ref 1)) */
    PUT(&part, 0xfb, 1, 1, 0x21, 0, 0x02, 0x7f, 0x1f, 0x40);       /* try_table in a block */
    PUT(&part, 1, 0, 0, 0, 0x41, 1, 0x08, 1, 0x0b, 0x41, 0, 0x0b); /* throw 1 */
    PUT(&part, 0x1a, 0x20, 0, 0xd1, 0x1a, 0x0b);                   /* ref.is_null of it */
    put_section(&module, 10, &part);
    free(part.data);
    return module;
}

TEST(nth_allocation_fails_for_newer_types) {
    struct bytes module = newer_module();
    memcpy(wasm, module.data, module.count);
    check_wasm(module.count, 14);
    free(module.data);
}
#endif

TEST_MAIN()
