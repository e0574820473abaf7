# Machines: memory, page tables, restore.
set(sources
    arena.c
    hotset.c
    machine.c
    page_copy_x86_64.c
    restore.c)
