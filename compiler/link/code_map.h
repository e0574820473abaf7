/*
 * compiler/link/code_map.h: maps code addresses to functions and wasm offsets, for traps and
 * backtraces. Used by linker.c.
 */
#ifndef COMPILER_CODE_MAP_H
#define COMPILER_CODE_MAP_H

#include "buf.h"
#include "dwarf_line.h"
#include "linker.h"

/* Append the rows of one object's line table (address, wasm offset) to `lines`. */
int code_map_read(const struct dwarf_line_input *input, struct buf *lines, struct husk_error *err);
/* Make rows (struct husk_image_code_row of abi/image.h) from all lines and the linked symbols
 * (sorted by address), and append them to `rows`. [runtime_start, runtime_end) are the runtime's
 * memory functions. */
int code_map_build(const struct program *program, const struct linked *linked, struct buf *lines,
                   uint32_t runtime_start, uint32_t runtime_end, struct buf *rows,
                   struct husk_error *err);

#endif
