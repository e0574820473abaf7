# The program, and where everything of it lies.
set(sources
    plan.c
    program.c
    program_flat.c
    program_link.c
    program_match.c
    program_names.c
    program_types.c)
