# Writing the image.
set(sources
    image_data.c
    image_note.c
    image_write.c
    wasm_lines.c)
