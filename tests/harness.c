/*
 * tests/harness.c: runs the tests of one program and counts. Linked into every test program. It
 * needs only libc, so it also works statically linked inside a bare virtual machine.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum outcome { OUTCOME_PASSED = 0, OUTCOME_FAILED = 1, OUTCOME_SKIPPED = 2 };

static struct harness_test *first_test;
static struct harness_test *last_test;
static const char *volatile current_name;
static pthread_t test_thread;
static sigjmp_buf test_end;
static atomic_int test_failures;

void harness_add(struct harness_test *test) {
    if (last_test == NULL)
        first_test = test;
    else
        last_test->next = test;
    last_test = test;
}

static bool in_test_thread(void) {
    return pthread_equal(pthread_self(), test_thread) != 0;
}

void harness_fail(const char *file, int line, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("%s:%d: %s: %s\n", file, line, current_name, text);
    fflush(stdout);
    atomic_fetch_add(&test_failures, 1);
    if (in_test_thread())
        siglongjmp(test_end, OUTCOME_FAILED);
}

void harness_skip(const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("skipped: %s: %s\n", current_name, text);
    fflush(stdout);
    if (in_test_thread())
        siglongjmp(test_end, OUTCOME_SKIPPED);
}

void harness_check_u64(const char *file, int line, const char *what, uint64_t got,
                       uint64_t expected) {
    if (got != expected)
        harness_fail(file, line, "%s is %llu (0x%llx), expected %llu (0x%llx)", what,
                     (unsigned long long)got, (unsigned long long)got, (unsigned long long)expected,
                     (unsigned long long)expected);
}

void harness_check_i64(const char *file, int line, const char *what, int64_t got,
                       int64_t expected) {
    if (got != expected)
        harness_fail(file, line, "%s is %lld, expected %lld", what, (long long)got,
                     (long long)expected);
}

void harness_check_str(const char *file, int line, const char *what, const char *got,
                       const char *expected) {
    if (got == NULL || expected == NULL ? got != expected : strcmp(got, expected) != 0)
        harness_fail(file, line, "%s is \"%s\", expected \"%s\"", what,
                     got != NULL ? got : "(null)", expected != NULL ? expected : "(null)");
}

void harness_check_contains(const char *file, int line, const char *what, const char *text,
                            const char *part) {
    if (text == NULL || strstr(text, part) == NULL)
        harness_fail(file, line, "%s is \"%s\", expected \"%s\" in it", what,
                     text != NULL ? text : "(null)", part);
}

void harness_check_mem(const char *file, int line, const void *got, const void *expected,
                       size_t count) {
    const uint8_t *got_bytes = got;
    const uint8_t *expected_bytes = expected;
    for (size_t i = 0; i < count; i++) {
        if (got_bytes[i] != expected_bytes[i]) {
            harness_fail(file, line, "byte %zu of %zu is 0x%02x, expected 0x%02x", i, count,
                         got_bytes[i], expected_bytes[i]);
            return;
        }
    }
}

const char *harness_kvm_missing(void) {
    static char reason[128];
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        int open_errno = errno;
        (void)snprintf(reason, sizeof reason, "cannot open /dev/kvm: %s", strerror(open_errno));
        return reason;
    }
    (void)close(fd);
    return NULL;
}

/* Says which test died; SA_RESETHAND lets the signal kill us right after. Async-signal-safe calls
 * only. */
static void on_crash(int sig) {
    const char *name = current_name != NULL ? current_name : "(no test)";
    static const char text[] = ": died of a signal in this test\n";
    ssize_t ignored = write(STDOUT_FILENO, name, strlen(name));
    ignored = write(STDOUT_FILENO, text, sizeof text - 1);
    (void)ignored;
    (void)raise(sig);
}

static void catch_crashes(void) {
#if !HARNESS_SANITIZED
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)sigaction(signals[i], &action, NULL);
#else
    (void)on_crash;
#endif
}

static enum outcome run_test(const struct harness_test *test) {
    current_name = test->name;
    test_thread = pthread_self();
    atomic_store(&test_failures, 0);
    int end = sigsetjmp(test_end, 1);
    if (end == 0)
        test->run();
    fflush(stdout);
    if (atomic_load(&test_failures) != 0)
        return OUTCOME_FAILED;
    return end == OUTCOME_SKIPPED ? OUTCOME_SKIPPED : OUTCOME_PASSED;
}

static bool is_wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL)
            return true;
    return argc < 2;
}

int harness_main(int argc, char **argv) {
    const char *slash = strrchr(argv[0], '/');
    const char *suite = slash != NULL ? slash + 1 : argv[0];
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (const struct harness_test *test = first_test; test != NULL; test = test->next)
            puts(test->name);
        return 0;
    }
    catch_crashes();
    unsigned counts[3] = {0, 0, 0};
    for (const struct harness_test *test = first_test; test != NULL; test = test->next)
        if (is_wanted(test->name, argc, argv))
            counts[run_test(test)]++;
    printf("%s: %u passed, %u failed, %u skipped\n", suite, counts[OUTCOME_PASSED],
           counts[OUTCOME_FAILED], counts[OUTCOME_SKIPPED]);
    return counts[OUTCOME_FAILED] != 0 ? 1 : 0;
}
