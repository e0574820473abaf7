# The process-wide object: backend, pool, counters, log.
set(sources
    engine.c
    pagemap.c
    pool.c
    stats.c)
