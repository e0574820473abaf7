# Sandboxes: imports, sizes, snapshots, growth.
set(sources
    access.c
    call_state.c
    caller.c
    grow.c
    imports.c
    imports_define.c
    imports_link.c
    linkage.c
    memory_image.c
    sandbox.c
    sandbox_files.c
    sandbox_stats.c
    sizing_make.c
    snapshot.c
    table_access.c
    values.c)
