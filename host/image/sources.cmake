# Images: reading, checking, layers, saving.
set(sources
    image.c
    image_check.c
    image_costs.c
    image_file.c
    image_files.c
    image_funcs.c
    image_hash.c
    image_layers.c
    image_names.c
    image_open.c
    image_read.c
    image_records.c
    image_runs.c
    image_save.c
    image_stream.c
    image_tags.c)
