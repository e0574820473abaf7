# The program, and where everything of it lies.
set(sources
    plan.c
    program.c)
