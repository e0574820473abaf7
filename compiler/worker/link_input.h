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

/* Read and link the modules of the input. What was made is never freed: it goes with the process.
 * Errors of wasm_read_supported() and program_link(); HUSK_E_COMPILER: the input is damaged. */
int link_input_read(const struct link_input *input, struct program **ret_program,
                    struct husk_error *err);

#endif
