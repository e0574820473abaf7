/*
 * oci/json.c: reads JSON that anybody may have written.
 *
 * By json-c: it keeps the order of members, unsigned numbers of 64 bits (an unlimited rlimit is
 * 2^64 - 1), and the text of fractions, so what husk-oci does not change stays what it was; and
 * its depth is the caller's to limit. Deliberately not Jansson, which refuses such numbers, and not
 * cJSON, which makes doubles of all. It keeps the last of two members of one name, as Go does, so
 * those are found by counting.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci.h"

/* Does json-c keep this number? Of one that its 64 bits cannot hold it makes the nearest that they
 * can. *ret_bytes: its text. */
static bool is_number_kept(const char *text, size_t *ret_bytes) {
    *ret_bytes = strspn(text, "+-.0123456789eE");
    if (strcspn(text, ".eE") < *ret_bytes)
        return true; /* as text */
    errno = 0;
    if (text[0] == '-')
        (void)strtoll(text, NULL, 10);
    else
        (void)strtoull(text, NULL, 10);
    return errno != ERANGE;
}

/* Members in the text: colons outside of strings. NULL, or what is wrong: a NUL in a string ends it
 * early in C. The text is valid JSON. */
static const char *count_members(const char *text, size_t count, size_t *ret_members) {
    bool is_string = false;
    *ret_members = 0;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 1;
        if (is_string && text[i] == '\\') {
            if (count - i > 5 && memcmp(text + i + 1, "u0000", 5) == 0)
                return "a string has a NUL in it";
            i++;
        } else if (text[i] == '"') {
            is_string = !is_string;
        } else if (!is_string && text[i] == ':') {
            ++*ret_members;
        } else if (!is_string && (text[i] == '-' || (text[i] >= '0' && text[i] <= '9'))) {
            if (!is_number_kept(text + i, &bytes))
                return "a number has more than 64 bits";
            i += bytes - 1;
        }
    }
    return NULL;
}

/* Not deeper than CONFIG_MAX_DEPTH. */
static size_t members_of(struct json_object *value) {
    size_t members = 0;
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            members += members_of(json_object_array_get_idx(value, i));
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, name, member) {
            (void)name;
            members += 1 + members_of(member);
        }
    }
    return members;
}

static int check_members(const char *text, size_t count, struct json_object *object,
                         struct husk_error *err) {
    size_t members = 0;
    if (!json_object_is_type(object, json_type_object))
        return error_set(err, HUSK_E_INVAL, "it is not a JSON object");
    const char *wrong = count_members(text, count, &members);
    if (wrong != NULL)
        return error_set(err, HUSK_E_INVAL, "%s", wrong);
    if (members != members_of(object))
        return error_set(err, HUSK_E_INVAL, "an object has two members of the same name");
    return 0;
}

/* Is there nothing but blanks from *at on? Else *at becomes the place of what there is. */
static bool is_blank(const char *text, size_t count, size_t *at) {
    while (*at < count && memchr(" \t\r\n", text[*at], 4) != NULL)
        ++*at;
    return *at == count;
}

int json_parse(const char *text, size_t count, struct json_object **ret_object,
               struct husk_error *err) {
    struct json_tokener *tokener = json_tokener_new_ex(CONFIG_MAX_DEPTH);
    int status = 0;
    if (tokener == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text, (int)count);
    const enum json_tokener_error problem = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    if (problem == json_tokener_continue)
        status = error_set(err, HUSK_E_INVAL, "it is not JSON: it ends too early");
    else if (problem != json_tokener_success)
        status = error_set(err, HUSK_E_INVAL, "it is not JSON: %s, at byte %zu",
                           json_tokener_error_desc(problem), end);
    else if (!is_blank(text, count, &end))
        status = error_set(err, HUSK_E_INVAL, "something follows the JSON, at byte %zu", end);
    else
        status = check_members(text, count, object, err);
    json_tokener_free(tokener);
    if (status == 0)
        *ret_object = object;
    else
        json_object_put(object);
    return status;
}

static const char *type_text(enum json_type type) {
    switch (type) {
    case json_type_object: return "an object";
    case json_type_array: return "an array";
    case json_type_string: return "a string";
    case json_type_int: return "a whole number";
    case json_type_boolean: return "true or false";
    case json_type_null:
    case json_type_double: break;
    }
    return "a number";
}

/* As Go compares the names of members: without case. Two letters outside of ASCII have one in it as
 * their other case: the long s, and the sign for kelvin. */
static bool is_alike(const char *key, const char *name) {
    for (; *name != '\0'; name++) {
        const int letter = tolower((unsigned char)*name);
        if (letter == 's' && strncmp(key, "\u017f", 2) == 0)
            key += 2;
        else if (letter == 'k' && strncmp(key, "\u212a", 3) == 0)
            key += 3;
        else if (tolower((unsigned char)*key) == letter)
            key++;
        else
            return false;
    }
    return *key == '\0';
}

int json_member(struct json_object *object, const char *where, const char *name,
                enum json_type type, struct json_object **ret_member, struct husk_error *err) {
    struct json_object *found = NULL;
    json_object_object_foreach(object, key, member) {
        if (strcmp(key, name) == 0)
            found = member;
        else if (is_alike(key, name))
            return error_set(err, HUSK_E_INVAL, "config.json: %s%s is written '%s'", where, name,
                             key);
    }
    if (found != NULL && !json_object_is_type(found, type))
        return error_set(err, HUSK_E_INVAL, "config.json: %s%s is not %s", where, name,
                         type_text(type));
    *ret_member = found;
    return 0;
}

int json_string_member(struct json_object *object, const char *where, const char *name,
                       const char **ret_text, struct husk_error *err) {
    struct json_object *member;
    int status = json_member(object, where, name, json_type_string, &member, err);
    if (status == 0)
        *ret_text = member != NULL ? json_object_get_string(member) : NULL;
    return status;
}

int json_need_member(struct json_object *object, const char *where, const char *name,
                     enum json_type type, struct json_object **ret_member, struct husk_error *err) {
    struct json_object *member;
    int status = json_member(object, where, name, type, &member, err);
    if (status != 0)
        return status;
    if (member == NULL) {
        member = type == json_type_object ? json_object_new_object() : json_object_new_array();
        if (member == NULL || json_object_object_add(object, name, member) != 0)
            return error_set(err, HUSK_E_NOMEM, "out of memory");
    }
    *ret_member = member;
    return 0;
}

void json_drop_nulls(struct json_object *array) {
    const size_t count = json_object_array_length(array);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct json_object *row = json_object_array_get_idx(array, i);
        if (row == NULL)
            continue;
        if (kept != i)
            (void)json_object_array_put_idx(array, kept, json_object_get(row));
        kept++;
    }
    if (kept < count)
        (void)json_object_array_del_idx(array, kept, count - kept);
}

const char *annotation(struct json_object *config, const char *name) {
    struct json_object *annotations, *value;
    if (!json_object_object_get_ex(config, "annotations", &annotations) ||
        !json_object_is_type(annotations, json_type_object) ||
        !json_object_object_get_ex(annotations, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}
