/* trace_values.h: values in the form of plans and traces (TYPE:BITS), and the results of stubs. */
#ifndef TRACE_VALUES_H
#define TRACE_VALUES_H

#include <stdint.h>
#include <stdio.h>

#include "husk.h"

/* The type with this name of `bytes` characters; HUSK_I32 for an unknown one. */
husk_type value_type(const char *name, size_t bytes);

/* Parse TYPE:BITS, or null, which gets the type `expected`. */
struct husk_value value_parse(const char *text, husk_type expected);

/* Write " TYPE:BITS". Any NaN is "nan", because the standard leaves its bits open (core 2.0,
 * 4.3.3). */
void value_print(FILE *out, const struct husk_value *value);

/* The result of a stub: a function of the call's seed (0: always zero) and of n, the number of the
 * value in this call. The same function is in v8_trace.mjs and wasmtime_trace.py. */
struct husk_value value_of_stub(husk_type type, uint32_t seed, uint32_t n);

/* CRC-32 as zlib computes it. */
uint32_t crc32_of(const void *bytes, size_t count);

#endif
