# What is linked into an embedder: starts the worker and checks what it made.
set(sources
    background_job.c
    background_list.c
    background_note.c
    background_start.c
    cache.c
    client.c
    cpu_identity.c
    image_verify.c
    seen.c
    link_job.c
    wasm_describe.c
    wasm_print_api.c
    worker_path.c
    worker_result.c
    worker_run.c
    worker_spawn.c)
