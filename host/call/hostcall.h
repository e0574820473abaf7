/* host/call/hostcall.h: serves the guest's calls of host functions. */
#ifndef HOST_HOSTCALL_H
#define HOST_HOSTCALL_H

#include "husk.h"

/* What the guest does next. */
enum hostcall_next {
    HOSTCALL_RETURNS, /* it resumes with the results */
    HOSTCALL_THROWS,  /* it resumes by throwing the pending exception */
    HOSTCALL_ENDED    /* the call ended, or is pending; see the outcome */
};

/* Serve the host call in the mailbox. */
enum hostcall_next hostcall_serve(husk_sandbox *sandbox, struct husk_outcome *outcome);

/* Check the answer. HUSK_E_TYPE: its values do not fit the pending host function's results. Errors
 * of an exception: exception_check(). */
int hostcall_check_answer(const husk_sandbox *sandbox, const struct husk_answer *answer,
                          struct husk_error *err);
/* Serve the pending host call with a checked answer. The call is not pending any more, and its
 * arguments are the first of linkage.values. */
enum hostcall_next hostcall_answer(husk_sandbox *sandbox, const struct husk_answer *answer,
                                   struct husk_outcome *outcome);

#endif
