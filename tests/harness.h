/*
 * tests/harness.h: the test harness. One program is one suite:
 *
 *   #include "harness.h"
 *   TEST(reads_an_empty_file) { CHECK(...); CHECK_EQ_U64(a, b); CHECK_STR(text, "expected"); }
 *   TEST_MAIN()
 *
 * Tests run in the order of the file. A failed CHECK prints file:line and ends its test. In another
 * thread than the test's own, it only records the failure. `suite_test NAME…` runs the tests whose
 * names contain one of the words; `--list` lists them. The last line is `suite: N passed, N failed,
 * N skipped`. The exit code is 1 if a test failed.
 */
#ifndef TESTS_HARNESS_H
#define TESTS_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Set with AddressSanitizer or ThreadSanitizer. They hold freed memory back, use mappings and
 * address space themselves, and make everything slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HARNESS_SANITIZED 1
#elif defined(__has_feature)
#define HARNESS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define HARNESS_SANITIZED 0
#endif

struct harness_test {
    const char *name;
    void (*run)(void);
    struct harness_test *next;
};

void harness_add(struct harness_test *test);
int harness_main(int argc, char **argv);

/* End the test as failed or skipped. In threads that are not the test's own, they return. */
void harness_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void harness_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

void harness_check_u64(const char *file, int line, const char *what, uint64_t got,
                       uint64_t expected);
void harness_check_i64(const char *file, int line, const char *what, int64_t got, int64_t expected);
void harness_check_str(const char *file, int line, const char *what, const char *got,
                       const char *expected);
void harness_check_contains(const char *file, int line, const char *what, const char *text,
                            const char *part);
void harness_check_mem(const char *file, int line, const void *got, const void *expected,
                       size_t count);

/* NULL if this process can open /dev/kvm, else the reason as text. */
const char *harness_kvm_missing(void);

#define TEST(test_name)                                                                            \
    static void test_name(void);                                                                   \
    __attribute__((constructor)) static void test_name##_add(void) {                               \
        static struct harness_test test = {#test_name, test_name, NULL};                           \
        harness_add(&test);                                                                        \
    }                                                                                              \
    static void test_name(void)

#define TEST_MAIN()                                                                                \
    int main(int argc, char **argv) {                                                              \
        return harness_main(argc, argv);                                                           \
    }

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            harness_fail(__FILE__, __LINE__, "CHECK(%s)", #cond);                                  \
        }                                                                                          \
    } while (0)
/* CHECK with a message. */
#define CHECK_MSG(cond, ...)                                                                       \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            harness_fail(__FILE__, __LINE__, __VA_ARGS__);                                         \
        }                                                                                          \
    } while (0)
#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK_EQ_U64(got, expected)                                                                \
    harness_check_u64(__FILE__, __LINE__, #got, (uint64_t)(got), (uint64_t)(expected))
#define CHECK_EQ_I64(got, expected)                                                                \
    harness_check_i64(__FILE__, __LINE__, #got, (int64_t)(got), (int64_t)(expected))
#define CHECK_STR(got, expected) harness_check_str(__FILE__, __LINE__, #got, got, expected)
#define CHECK_CONTAINS(text, part) harness_check_contains(__FILE__, __LINE__, #text, text, part)
#define CHECK_MEM(got, expected, count) harness_check_mem(__FILE__, __LINE__, got, expected, count)
/* A husk call that must succeed, or must fail with this status. `err` is the struct husk_error that
 * the call fills. */
#define CHECK_OK(call, err)                                                                        \
    do {                                                                                           \
        int check_status = (call);                                                                 \
        if (check_status != 0) {                                                                   \
            harness_fail(__FILE__, __LINE__, "%s: status %d: %s", #call, check_status,             \
                         (err).message);                                                           \
        }                                                                                          \
    } while (0)
#define CHECK_STATUS(call, expected) CHECK_EQ_I64(call, expected)
#define SKIP(...) harness_skip(__VA_ARGS__)
#define SKIP_WITHOUT_KVM()                                                                         \
    do {                                                                                           \
        if (harness_kvm_missing() != NULL) {                                                       \
            harness_skip("%s", harness_kvm_missing());                                             \
        }                                                                                          \
    } while (0)

#endif
