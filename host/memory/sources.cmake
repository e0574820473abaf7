# Machines: memory, page tables, restore; the pool of idle ones.
set(sources
    arena.c
    hotset.c
    large.c
    large_copy.c
    machine.c
    machine_space.c
    page_copy_x86_64.c
    park.c
    pool.c
    read_pages.c
    rebase.c
    restore.c
    space_layout.c
    spare.c
    takeover.c)
