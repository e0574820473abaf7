/*
 * tests/spec/spec_judge.h: decodes and validates by the rules of WebAssembly 2.0 alone. The library
 * also accepts multi-memory and extended constant expressions. With those, some modules are valid
 * that the 2.0 suite calls invalid.
 */
#ifndef SPEC_JUDGE_H
#define SPEC_JUDGE_H

#include <stddef.h>

#include "husk.h"

int judge_wasm_2_0(const void *wasm, size_t count, struct husk_error *err);

#endif
