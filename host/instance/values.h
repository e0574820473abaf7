/* host/instance/values.h: husk_value <-> 16-byte mailbox slots (abi/mailbox.h). */
#ifndef HOST_VALUES_H
#define HOST_VALUES_H

#include "husk.h"
#include "mailbox.h"

bool type_is_known(husk_type type);
void value_to_slot(const struct husk_value *value, struct husk_slot *slot);
/* Read a slot. It may be guest memory, so it is read once. */
struct husk_value value_from_slot(husk_type type, const struct husk_slot *slot);
/* HUSK_E_TYPE unless there are types_count values of these types. `what` is for messages:
 * "argument". */
int values_check_all(const husk_type *types, size_t types_count, const struct husk_value *values,
                     size_t count, const char *what, struct husk_error *err);
static inline int values_check(const husk_type *types, size_t types_count,
                               const struct husk_value *values, size_t count, const char *what,
                               struct husk_error *err) {
    return (types_count | count) == 0
               ? 0
               : values_check_all(types, types_count, values, count, what, err);
}
/* Write the type as "(i32, i64) -> (f32)", cut to fit. */
void functype_format(const struct husk_functype *type, char *text, size_t bytes);
/* Only the parameters, as "(i32, i64)". */
void params_format(const struct husk_functype *type, char *text, size_t bytes);
/* Write values as " (i32 5, f64 0.5)", cut to fit, with "…" if some are missing. */
void values_format(const struct husk_value *values, size_t count, char *text, size_t bytes);
bool functype_equal(const struct husk_functype *a, const struct husk_functype *b);

#endif
