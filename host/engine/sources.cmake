# The process-wide object: backend, counters, log.
set(sources
    engine.c
    labels.c
    pagemap.c
    prometheus.c
    stats.c
    stopwatch_x86_64.c)
