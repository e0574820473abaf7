/*
 * base/error.h: filling the caller's struct husk_error (include/husk.h). Every function accepts err
 * == NULL and returns the status, so that `return error_set(err, HUSK_E_INVAL, "…")` is the normal
 * form.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdint.h>

#include "husk.h"

int error_set(struct husk_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* With a byte offset in the input. */
int error_at(struct husk_error *err, int status, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* With errno, whose text is appended (": No space left on device"); for EFBIG with the limit of
 * RLIMIT_FSIZE, if there is one: it holds for anonymous files, too. Status HUSK_E_NOMEM if
 * sys_errno is ENOMEM, else HUSK_E_SYS. */
int error_sys(struct husk_error *err, int sys_errno, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Append " (while …)" to a message that is already set; returns err's status. One per layer. */
int error_while(struct husk_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
