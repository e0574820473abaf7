# The process-wide object: backend, counters, log.
set(sources
    engine.c
    pagemap.c
    stats.c)
