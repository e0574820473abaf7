/* compiler/worker/link_input.h: reads a job of several modules (client/worker_proto.h). */
#ifndef COMPILER_LINK_INPUT_H
#define COMPILER_LINK_INPUT_H

#include "program.h"

struct link_input {
    struct wasm_bytes bytes; /* must outlive the program */
    uint32_t modules_count;  /* at least 1 */
    bool is_staged;
    wasm_features_t features; /* those that modules may use */
};

/* Decode and validate one module, and check that the compiler supports it. What was made is never
 * freed, here and below: it goes with the process. Errors of wasm_decode(), wasm_validate() and
 * wasm_check_supported(). */
int link_module_read(struct wasm_bytes wasm, wasm_features_t features,
                     struct wasm_module **ret_module, struct husk_error *err);

/* Read and link the modules of the input. Errors of link_module_read() and program_link();
 * HUSK_E_COMPILER: the input is damaged. */
int link_input_read(const struct link_input *input, struct program **ret_program,
                    struct husk_error *err);

#endif
