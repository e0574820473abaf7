/*
 * compiler/link/code_map.h: maps code addresses to functions and wasm offsets, for traps and
 * backtraces. Used by linker.c.
 */
#ifndef COMPILER_CODE_MAP_H
#define COMPILER_CODE_MAP_H

#include "buf.h"
#include "dwarf_line.h"
#include "linker.h"

struct code_lines {
    struct buf lines;   /* private */
    struct buf inlined; /* struct codegen_inlined, of all objects; `outer` counts in this array */
};

struct code_map {
    struct buf rows;         /* struct husk_image_code_row */
    struct buf inlined_rows; /* struct husk_image_inlined_row */
};

/* Append the rows of one object's line table (address, wasm offset) and its inlined calls. */
int code_map_read(const struct dwarf_line_input *input, const struct codegen_object *object,
                  struct code_lines *lines, struct husk_error *err);
/* Make the map from all lines and the linked symbols (sorted by address). [runtime_start,
 * runtime_end) are the runtime's memory functions. The caller frees the buffers of the map, also
 * after a failure. */
int code_map_build(const struct program *program, const struct linked *linked,
                   struct code_lines *lines, uint32_t runtime_start, uint32_t runtime_end,
                   struct code_map *map, struct husk_error *err);
void code_lines_done(struct code_lines *lines);

#endif
