/*
 * tests/spec/spec_json.h: a reader for the JSON that wast2json-like tools write. Strings keep their
 * length, because the standard's suite has export names with NUL in them. Usual C readers cut those
 * off.
 */
#ifndef SPEC_JSON_H
#define SPEC_JSON_H

#include <stdbool.h>
#include <stddef.h>

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_kind kind;
    char *text;         /* STRING: UTF-8, NUL-terminated, may hold more NULs; NUMBER: as written */
    size_t text_bytes;  /* not counting the terminator */
    char *key;          /* of this member, inside an object */
    struct json *items; /* ARRAY, OBJECT: first member */
    struct json *next;
};

/* Parse a text. NULL if it is not JSON or memory ran out; then *ret_offset is the offset of the
 * error. Free the result with json_free(). */
struct json *json_parse(const char *text, size_t bytes, size_t *ret_offset);
void json_free(struct json *json);

/* The member of an object, or NULL. `object` may be NULL. */
const struct json *json_get(const struct json *object, const char *key);
/* The text of a string or number member, or NULL. */
const char *json_text(const struct json *object, const char *key);
size_t json_count(const struct json *array);

#endif
