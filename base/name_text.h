/*
 * base/name_text.h: names from modules and files in messages. A name is hostile text: it may hold
 * control characters, characters that are not seen or turn the line around, NULs, and bytes that
 * are no UTF-8. husk_name_escape() (husk.h) says how they are shown.
 */
#ifndef BASE_NAME_TEXT_H
#define BASE_NAME_TEXT_H

#include <stddef.h>

#define NAME_TEXT_BYTES 88u /* with the NUL; two of them and a type fit a message */

struct name_text {
    char text[NAME_TEXT_BYTES];
};

/* The escaped name for a message, ended by "…" if it is longer than fits. Returns buffer->text. */
const char *name_show(struct name_text *buffer, const char *name, size_t name_bytes);
/* The same of a C string, where a message is made: it lives as long as the block. */
const char *name_show_str(struct name_text *buffer, const char *name);
#define NAME_SHOWN(name) name_show_str(&(struct name_text){{0}}, (name))

/* The first character of a name, which is not empty: escaped, if it needs that, with a NUL. Returns
 * how many bytes of the name it is. */
size_t name_escape_character(const char *name, size_t name_bytes, char ret_text[13]);

#endif
