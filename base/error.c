/*
 * base/error.c: fills struct husk_error, without allocation or globals. Names and texts of statuses
 * come from the list in husk.h.
 */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static void error_format(struct husk_error *err, int status, int sys_errno, uint64_t offset,
                         const char *format, va_list args) {
    err->status = status;
    err->sys_errno = sys_errno;
    err->offset = offset;
    vsnprintf(err->message, sizeof err->message, format, args);
}

int error_set(struct husk_error *err, int status, const char *format, ...) {
    if (err == NULL)
        return status;
    va_list args;
    va_start(args, format);
    error_format(err, status, 0, HUSK_NO_OFFSET, format, args);
    va_end(args);
    return status;
}

int error_at(struct husk_error *err, int status, uint64_t offset, const char *format, ...) {
    if (err == NULL)
        return status;
    va_list args;
    va_start(args, format);
    error_format(err, status, 0, offset, format, args);
    va_end(args);
    return status;
}

__attribute__((format(printf, 2, 3))) static void error_append(struct husk_error *err,
                                                               const char *format, ...) {
    size_t used = strlen(err->message);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message + used, sizeof err->message - used, format, args);
    va_end(args);
}

int error_sys(struct husk_error *err, int sys_errno, const char *format, ...) {
    int status = sys_errno == ENOMEM ? HUSK_E_NOMEM : HUSK_E_SYS;
    if (err == NULL)
        return status;
    va_list args;
    va_start(args, format);
    error_format(err, status, sys_errno, HUSK_NO_OFFSET, format, args);
    va_end(args);
    const char *text = strerrordesc_np(sys_errno); /* unlike strerror(), safe from any thread */
    error_append(err, ": %s", text != NULL ? text : "unknown error");
    struct rlimit limit;
    if (sys_errno == EFBIG && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
        limit.rlim_cur != RLIM_INFINITY)
        error_append(err, " (this process has a file size limit of %llu bytes, see ulimit -f)",
                     (unsigned long long)limit.rlim_cur);
    return status;
}

int error_while(struct husk_error *err, int status, const char *format, ...) {
    if (err == NULL)
        return status;
    char context[256];
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    error_append(err, " (while %s)", context);
    return status;
}

const char *husk_status_name(int status) {
    switch (status) {
    case HUSK_OK: return "HUSK_OK";
#define STATUS_NAME(name, number, text)                                                            \
    case HUSK_E_##name: return "HUSK_E_" #name;
        HUSK_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    default: return "HUSK_E_?";
    }
}

const char *husk_status_text(int status) {
    switch (status) {
    case HUSK_OK: return "no error";
#define STATUS_TEXT(name, number, text)                                                            \
    case HUSK_E_##name: return text;
        HUSK_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    default: return "unknown status";
    }
}
