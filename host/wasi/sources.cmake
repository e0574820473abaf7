# WASI preview 1.
set(sources
    wasi.c
    wasi_clock.c
    wasi_fd.c
    wasi_fds.c
    wasi_host_fd.c
    wasi_host_io.c
    wasi_imports.c
    wasi_io.c
    wasi_mem.c
    wasi_path.c
    wasi_poll.c
    wasi_proc.c
    wasi_state.c
    wasi_wait.c)
