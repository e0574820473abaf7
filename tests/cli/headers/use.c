/*
 * tests/cli/headers/use.c: uses every macro of the public headers, and some of the rest, in code
 * that is both C and C++. tests/cli/headers_test.sh compiles it in every version of both languages.
 */
#include <husk.h>
#include <husk_compile.h>

int statuses(void);
int options(void);
int value(struct husk_value *ret_value);

#define STATUS_NUMBER(name, number, text) +(number)
int statuses(void) {
    return HUSK_OK HUSK_STATUS_LIST(STATUS_NUMBER);
}

int options(void) {
    struct husk_engine_options engine = HUSK_ENGINE_OPTIONS_INIT;
    struct husk_wasi_options wasi = HUSK_WASI_OPTIONS_INIT;
    struct husk_sandbox_options sandbox = HUSK_SANDBOX_OPTIONS_INIT;
    struct husk_limits limits = HUSK_LIMITS_INIT;
    struct husk_call call = HUSK_CALL_INIT;
    struct husk_many many = HUSK_MANY_INIT;
    struct husk_bytes bytes = HUSK_BYTES_INIT;
    struct husk_open_options open = HUSK_OPEN_OPTIONS_INIT;
    struct husk_answer answer = HUSK_ANSWER_INIT;
    struct husk_compile_options compile = HUSK_COMPILE_OPTIONS_INIT;
    struct husk_wasi_stream stream = HUSK_WASI_STREAM_INIT;
    struct husk_wasi_clock clock = HUSK_WASI_CLOCK_INIT;
    struct husk_wasi_request request = HUSK_WASI_REQUEST_INIT;
    struct husk_wasi_output output = HUSK_WASI_OUTPUT_INIT;
    stream.kind = HUSK_WASI_BUFFER;
    clock.kind = HUSK_WASI_CLOCK_FIXED;
    request.stdout_stream = &stream;
    request.clock = &clock;
    wasi.request = &request;
    wasi.stdin_rights = HUSK_WASI_READ | HUSK_WASI_SEEK;
    compile.opt_level = HUSK_OPT_NONE;
    return engine.kick_signal == 0 && wasi.stdin_fd == 0 && sandbox.stack_bytes == 0 &&
           limits.wall_ns == 0 && call.name == 0 && many.count == 0 && bytes.input == 0 &&
           answer.status == 0 && output.count == 0 && !open.skips_hash && compile.opt_level != 0;
}

int value(struct husk_value *ret_value) {
    struct husk_error err;
    struct husk_outcome outcome = HUSK_OUTCOME_INIT;
    struct husk_backtrace backtrace = HUSK_BACKTRACE_INIT;
    ret_value->type = HUSK_I64;
    ret_value->of.i64 = HUSK_VERSION_MAJOR + HUSK_VERSION_MINOR + HUSK_VERSION_PATCH;
    err.offset = HUSK_NO_OFFSET;
    outcome.kind = HUSK_RETURNED;
    return (int)err.offset + (int)outcome.kind + (int)sizeof backtrace.frames / HUSK_FRAMES_MAX +
           HUSK_HISTOGRAM_BUCKETS;
}
