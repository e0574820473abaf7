/* base/utf8.h: is a text UTF-8 (RFC 3629)? Names in modules and paths of guests must be. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool utf8_is_valid(const uint8_t *data, size_t count);

#endif
