# Calls: the run loop, host calls, traps, outcomes.
set(sources
    backtrace.c
    bytes.c
    call.c
    hostcall.c
    outcome.c
    run.c
    sandbox_wait.c
    trap.c)
