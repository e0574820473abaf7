# The part of libhusk between the API and the VM: images, arenas, sandboxes, calls.
list(APPEND HUSK_HOST_SOURCES
    access.c
    arena.c
    backtrace.c
    bytes.c
    call.c
    engine.c
    grow.c
    hostcall.c
    image.c
    image_check.c
    image_file.c
    image_names.c
    image_read.c
    imports.c
    imports_link.c
    kick.c
    run.c
    sandbox.c
    trap.c
    values.c
    watchdog.c)
