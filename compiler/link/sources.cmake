# Objects and guest runtime to code at its addresses, and the tables about it.
set(sources
    code_map.c
    dwarf_line.c
    elfobj.c
    linker.c
    symbols.c
    unwind_x86_64.c)
