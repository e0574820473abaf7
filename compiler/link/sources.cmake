# Objects and guest runtime to code at its addresses, and the tables about it.
set(sources
    code_map.c
    dwarf_line.c
    elfobj.c
    link_frames.c
    link_place.c
    linker.c
    lsda.c
    relocate.c
    symbols.c
    throw_link.c
    unwind_x86_64.c)
