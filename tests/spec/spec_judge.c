/* tests/spec/spec_judge.c: see spec_judge.h. */
#include "spec_judge.h"

#include "husk_compile.h"

int judge_wasm_2_0(const void *wasm, size_t count, struct husk_error *err) {
    return husk_validate(wasm, count, err);
}
