/* host/instance/caller.c: see caller.h. */
#include "caller.h"

#include <stdarg.h>
#include <stdio.h>

husk_sandbox *husk_caller_sandbox(husk_caller *caller) {
    return caller->sandbox;
}

uint32_t husk_caller_memory(const husk_caller *caller) {
    return caller->memory_idx;
}

int husk_caller_fail(husk_caller *caller, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(caller->message, sizeof caller->message, format, args);
    va_end(args);
    caller->end = CALLER_FAILED;
    return HUSK_E_STATE;
}

int husk_caller_exit(husk_caller *caller, int32_t exit_code) {
    caller->end = CALLER_EXITED;
    caller->exit_code = exit_code;
    return HUSK_E_STATE;
}

int husk_caller_pending(husk_caller *caller) {
    caller->end = CALLER_PENDING;
    return HUSK_E_STATE;
}
