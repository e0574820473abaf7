/* host/call/bytes.h: a husk_call_bytes() one of whose calls was pending. */
#ifndef HOST_BYTES_H
#define HOST_BYTES_H

#include "call_state.h"

struct exchange;

/* HUSK_E_INVAL: no room for the output. */
int exchange_check_room(const struct husk_bytes *bytes, struct husk_error *err);
/* Where the results of its call go. */
struct husk_value *exchange_results(struct exchange *exchange);
/* Its call has returned: make the calls that follow. */
int exchange_go_on(struct exchange *exchange, const struct call_limits *limits,
                   struct husk_outcome *ret_outcome, struct husk_error *err);
/* Nothing of it is pending any more. Gives the output if all is done. */
void exchange_leave(struct exchange *exchange, struct husk_bytes *bytes);

#endif
