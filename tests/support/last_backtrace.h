/* tests/support/last_backtrace.h: the backtrace of a sandbox's last call. Ends the test on
 * failure. */
#ifndef TESTS_SUPPORT_LAST_BACKTRACE_H
#define TESTS_SUPPORT_LAST_BACKTRACE_H

#include "harness.h"
#include "husk.h"

static inline struct husk_backtrace last_backtrace(husk_sandbox *sandbox) {
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    struct husk_error err;
    CHECK_OK(husk_sandbox_backtrace(sandbox, &backtrace, &err), err);
    return backtrace;
}

#endif
