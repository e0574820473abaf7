# The process that compiles, and how it closes itself in.
set(sources
    contain.c
    contain_filter_x86_64.c
    link_input.c
    worker_main.c)
