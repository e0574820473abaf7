/*
 * base/name_text.h: shows names from modules and files in messages. A name is hostile text. It may
 * hold control characters, invisible characters, characters that change the direction of the line,
 * NULs, and bytes that are not UTF-8. husk_name_escape() (husk.h) defines how they are shown.
 */
#ifndef BASE_NAME_TEXT_H
#define BASE_NAME_TEXT_H

#include <stddef.h>
#include <string.h>

#define NAME_TEXT_BYTES 88u /* with the NUL; two of them and a type fit a message */

struct name_text {
    char text[NAME_TEXT_BYTES];
};

/* Put the escaped name into `buffer`. A name that does not fit ends with "…". Returns
 * buffer->text. */
const char *name_show(struct name_text *buffer, const char *name, size_t name_bytes);
/* The same for a C string. NAME_SHOWN() gives a text that lives until the end of the block. */
const char *name_show_str(struct name_text *buffer, const char *name);
#define NAME_SHOWN(name) name_show_str(&(struct name_text){{0}}, (name))

/* The length of a name that a caller of husk.h gave: 0 stands for "up to its NUL". Otherwise there
 * need not be a NUL. */
static inline size_t name_length(const char *name, size_t name_bytes) {
    return name_bytes != 0 ? name_bytes : strlen(name);
}

/* Put the first character of a name, which must not be empty, into ret_text: escaped if necessary,
 * with a NUL. Returns the number of bytes that the character has in the name. */
size_t name_escape_character(const char *name, size_t name_bytes, char ret_text[13]);

#endif
