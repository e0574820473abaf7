# Calls: the run loop, host calls, traps, outcomes.
set(sources
    backtrace.c
    bytes.c
    bytes_exports.c
    bytes_routine.c
    call.c
    exceptions.c
    guest_code_x86_64.c
    hostcall.c
    many.c
    outcome.c
    pending.c
    run.c
    sandbox_wait.c
    trap.c)
