# What is linked into an embedder: starts the worker and checks what it made.
set(sources
    cache.c
    cache_admin.c
    cache_files.c
    cache_limit.c
    cache_store.c
    cache_trim.c
    client.c
    cpu_identity.c
    image_verify.c
    seen.c
    link_job.c
    wasm_describe.c
    wasm_print_api.c
    worker_path.c
    worker_result.c
    worker_run.c)
