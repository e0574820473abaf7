/* host/call/bytes.h: for pending.c: how to go on with a husk_call_bytes() that became pending in
 * one of its calls. */
#ifndef HOST_BYTES_H
#define HOST_BYTES_H

#include "call_state.h"

struct exchange;

/* HUSK_E_INVAL: the struct has no room for the output. */
int exchange_check_room(const struct husk_bytes *bytes, struct husk_error *err);
/* The array for the results of the pending call. */
struct husk_value *exchange_results(struct exchange *exchange);
/* The pending call has returned: take its results, and make the calls that follow. */
int exchange_go_on(struct exchange *exchange, const struct call_limits *limits,
                   struct husk_outcome *ret_outcome, struct husk_error *err);
/* The exchange has ended, or its call did not return. Gives the output if all calls were made. The
 * exchange is not freed. */
void exchange_leave(struct exchange *exchange, struct husk_bytes *bytes);

#endif
