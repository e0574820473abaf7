/* tests/literals.h: literals for arguments of husk.h, so that a call fits on one line. */
#ifndef TESTS_LITERALS_H
#define TESTS_LITERALS_H

#include "husk.h"

/* husk_call(sandbox, CALL(.name = "add", .args = args, .args_count = 2), &outcome, &err) */
#define CALL(...) (&(struct husk_call){.size = sizeof(struct husk_call), __VA_ARGS__})

/* EXTERN(MEMORY, "env", "memory", .min = 1) */
#define EXTERN(of_kind, of_module, of_name, ...)                                                   \
    (&(struct husk_extern){.size = sizeof(struct husk_extern),                                     \
                           .kind = HUSK_EXTERN_##of_kind,                                          \
                           .module = (of_module),                                                  \
                           .name = (of_name),                                                      \
                           __VA_ARGS__})

/* RANGE(address, count, memory) */
#define RANGE(...) (&(struct husk_range){__VA_ARGS__})

/* An argument of husk_image_open…(), for bytes that the test itself made. */
#define SKIP_HASH                                                                                  \
    (&(struct husk_open_options){.size = sizeof(struct husk_open_options), .skips_hash = true})

#endif
