/*
 * host/call/exceptions.h: exceptions that cross between guest and host. The pending exception lies
 * in guest data (abi/exception.h), so it is hostile: it is copied once, its tag is checked, and the
 * values are read as the tag's type says.
 */
#ifndef HOST_EXCEPTIONS_H
#define HOST_EXCEPTIONS_H

#include "husk.h"

/* Nobody catches the guest's pending exception: end the call. */
void exception_uncaught(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* An exception that was checked: there are as many values as the tag's type has parameters, of
 * their types. */
struct exception {
    uint32_t tag_idx;
    const struct husk_value *values; /* borrowed */
};

/* Check an exception that the embedder wants to throw into the loaded module. HUSK_E_INVAL,
 * HUSK_E_TYPE, HUSK_E_UNSUPPORTED. */
int exception_check(const husk_sandbox *sandbox, const struct husk_throw *given,
                    struct exception *ret_exception, struct husk_error *err);
/* Make the guest's pending exception of it. The guest then resumes at
 * husk_image_module.throw_gva. */
void exception_put(husk_sandbox *sandbox, const struct exception *exception);

#endif
