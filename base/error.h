/*
 * base/error.h: fills the caller's struct husk_error (include/husk.h). Every function accepts err
 * == NULL and returns the status. The normal form is `return error_set(err, HUSK_E_INVAL, "…")`.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdint.h>

#include "hot.h"
#include "husk.h"

COLD int error_set(struct husk_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* With a byte offset in the input. */
COLD int error_at(struct husk_error *err, int status, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* With an errno, whose text is appended (": No space left on device"). For EFBIG, the message also
 * gives the limit RLIMIT_FSIZE, if there is one; it applies to anonymous files, too. The status is
 * HUSK_E_NOMEM if sys_errno is ENOMEM, else HUSK_E_SYS. */
COLD int error_sys(struct husk_error *err, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Append " (while …)" to a message that is already set. Returns `status`. Each layer adds at most
 * one. */
COLD int error_while(struct husk_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
