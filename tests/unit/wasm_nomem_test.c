/*
 * The decoder and the validator when the n-th allocation fails: HUSK_E_NOMEM, nothing leaked,
 * output untouched. This program replaces the C library's allocator. It is skipped under
 * sanitizers, because they replace it, too.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "module.h"

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

static uint8_t wasm[4096];

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

static int judge(size_t count, struct husk_error *err) {
    struct wasm_module *module = NULL;
    int status = wasm_decode(wasm, count, &module, err);
    if (status != 0)
        return module == NULL ? status : 1;
    status = wasm_validate(module, err);
    wasm_module_free(module);
    return status;
}

static void check_sample(const char *name, long allocations_min) {
    size_t count = sample_read(name);
    long n = 0;
    for (;; n++) {
        struct husk_error err = {0};
        long live_before = live_count;
        allocations_left = n;
        int status = judge(count, &err);
        bool is_done = allocations_left >= 0;
        allocations_left = -1;
        CHECK_EQ_I64(live_count, live_before);
        if (is_done) {
            CHECK_EQ_I64(status, 0);
            break;
        }
        CHECK_EQ_I64(status, HUSK_E_NOMEM);
        CHECK_EQ_I64(err.status, HUSK_E_NOMEM);
    }
    CHECK(n >= allocations_min);
}

TEST(nth_allocation_fails) {
    check_sample("control", 5);
    check_sample("bulk", 5);
    check_sample("simd", 4);
}
#endif

TEST_MAIN()
