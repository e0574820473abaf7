/* tests/spec/spec_write.h: writes the words and lines of a pack (spec_pack.h). */
#ifndef SPEC_WRITE_H
#define SPEC_WRITE_H

#include <stddef.h>
#include <stdio.h>

#include "spec_json.h"

/* As hex digits; NULL: none. */
void write_name(FILE *out, const char *name, size_t bytes);
void write_text(FILE *out, const char *text);
/* An array of values of the suite, or NULL. */
void write_values(FILE *out, const struct json *values);
/* An image: the bytes of a file. */
void write_image(FILE *out, size_t image, size_t instances, int fd);

#endif
