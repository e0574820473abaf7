/*
 * tests/spec/spec_judge.h: decodes and validates by the rules that a suite was written for. The
 * library accepts more: some modules are valid that an older suite calls invalid.
 */
#ifndef SPEC_JUDGE_H
#define SPEC_JUDGE_H

#include <stddef.h>

#include "husk.h"

/* By the rules of WebAssembly 2.0 alone. */
int judge_wasm_2_0(const void *wasm, size_t count, struct husk_error *err);

/* By the rules of a group, "wg-2.0/core". The suite of the threads proposal knows one memory and
 * one table at most. */
int judge_wasm(const char *group, const void *wasm, size_t count, struct husk_error *err);

#endif
