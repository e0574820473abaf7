/*
 * compiler/link/dwarf_line.h: reads DWARF line number programs, version 4 and 5 (DWARF 5, section
 * 6.2). It has two users. code_map.c reads LLVM's .debug_line, whose "lines" are wasm offsets.
 * wasm_lines.c reads the module's .debug_line, for source lines in backtraces. The second is
 * hostile: every access is bounds-checked, and malformed data is an error.
 */
#ifndef COMPILER_DWARF_LINE_H
#define COMPILER_DWARF_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "husk.h"

struct dwarf_bytes {
    const uint8_t *data;
    size_t count;
};

struct dwarf_line_input {
    struct dwarf_bytes line;     /* .debug_line */
    struct dwarf_bytes str;      /* .debug_str; may be empty */
    struct dwarf_bytes line_str; /* .debug_line_str; may be empty */
};

struct dwarf_row {
    uint64_t address;
    uint32_t file_id; /* from the file callback; UINT32_MAX if the file is not in the table */
    uint32_t line;
    uint32_t column;
    bool is_end; /* ends a sequence: the address is one past its last instruction */
};

struct dwarf_sink {
    void *user;
    /* Called for each file of a unit, before the unit's rows. folder and name are valid only during
     * the call. May be NULL. */
    int (*file)(void *user, const char *folder, const char *name, uint32_t *ret_file_id,
                struct husk_error *err);
    int (*row)(void *user, const struct dwarf_row *row, struct husk_error *err);
};

/* HUSK_E_COMPILER if malformed, HUSK_E_NOMEM, or a callback's status. */
int dwarf_line_read(const struct dwarf_line_input *input, const struct dwarf_sink *sink,
                    struct husk_error *err);

#endif
