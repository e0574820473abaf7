/*
 * base/options.c: reads all option structs with one function, by the layouts of options.def. Like
 * Linux's copy_struct_from_user(), it refuses an unknown option that is set, because the caller may
 * rely on it as a limit.
 */
#include "options.h"

#include <string.h>

#include "error.h"
#include "hot.h"

struct field {
    const char *name;
    size_t offset, bytes;
};

struct layout {
    const char *name;
    size_t bytes;
    const struct field *fields;
    size_t reserved_offset, reserved_bytes; /* 0: nothing is reserved */
};

static const struct field *field_at(const struct layout *layout, size_t offset) {
    const struct field *field = layout->fields;
    while (offset - field->offset >= field->bytes)
        field++;
    return field;
}

HOT static int check_size(const struct layout *layout, size_t size, struct husk_error *err) {
    if (size < sizeof size || size > OPTIONS_BYTES_MAX)
        return error_set(err, HUSK_E_INVAL,
                         "%s.size is %zu; set it to sizeof(struct %s), as the HUSK_…_INIT macro "
                         "does",
                         layout->name, size, layout->name);
    if (size >= layout->bytes)
        return 0;
    const struct field *field = field_at(layout, size);
    if (size == field->offset)
        return 0;
    return error_set(
        err, HUSK_E_INVAL, "%s.size is %zu, which ends inside the field %s (bytes %zu to %zu)",
        layout->name, size, field->name, field->offset, field->offset + field->bytes - 1);
}

/* Check that no byte is set that this library does not know. */
HOT static int check_unknown(const struct layout *layout, const uint8_t *given, size_t size,
                             struct husk_error *err) {
    size_t at = layout->reserved_offset;
    const size_t reserved_end = at + layout->reserved_bytes;
    while (at < reserved_end && at < size && given[at] == 0)
        at++;
    if (at < reserved_end && at < size)
        return error_set(err, HUSK_E_INVAL,
                         "%s.reserved is set (byte %zu of the struct); it must be zero in this "
                         "version of the library",
                         layout->name, at);
    for (at = layout->bytes; at < size && given[at] == 0;)
        at++;
    if (at >= size)
        return 0;
    return error_set(err, HUSK_E_INVAL,
                     "%s has an option set (byte %zu of %zu) that this version of the library does "
                     "not know: its struct has %zu bytes. The program was built for a later "
                     "version",
                     layout->name, at, size, layout->bytes);
}

HOT static int options_read(const struct layout *layout, const void *given, void *ret_options,
                            struct husk_error *err) {
    size_t size = 0;
    if (given != NULL) {
        memcpy(&size, given, sizeof size);
        int status = check_size(layout, size, err);
        if (status == 0)
            status = check_unknown(layout, given, size, err);
        if (status != 0)
            return status;
    }
    const size_t known = size < layout->bytes ? size : layout->bytes;
    memset(ret_options, 0, layout->bytes);
    if (known > 0)
        memcpy(ret_options, given, known);
    memcpy(ret_options, &layout->bytes, sizeof layout->bytes);
    return 0;
}

/* The fields of each struct, … */
#define BEGIN(of) static const struct field of##_fields[] = {
#define FIELD(of, field)                                                                           \
    {#field, offsetof(struct husk_##of, field), sizeof((struct husk_##of){0}.field)},
#define RESERVED(of) FIELD(of, reserved)
#define END(of)                                                                                    \
    }                                                                                              \
    ;
#include "options.def"

/* … which are all that it has, without gaps, … */
#define BEGIN(of)                                                                                  \
    _Static_assert(offsetof(struct husk_##of, size) == 0 && sizeof(struct husk_##of) == 0
#define FIELD(of, field) +sizeof((struct husk_##of){0}.field)
#define RESERVED(of) FIELD(of, reserved)
#define END(of) , "husk_" #of " has fields that options.def does not list, or gaps");
#include "options.def"

/* … where its reserved bytes are, and its function. */
#define BEGIN(of)                                                                                  \
    int of##_read(const struct husk_##of *given, struct husk_##of *ret_options,                    \
                  struct husk_error *err) {                                                        \
        static const struct layout layout = {                                                      \
            .name = "husk_" #of, .bytes = sizeof(struct husk_##of), .fields = of##_fields,
#define RESERVED(of)                                                                               \
    .reserved_offset = offsetof(struct husk_##of, reserved),                                       \
    .reserved_bytes = sizeof((struct husk_##of){0}.reserved),
#define END(of)                                                                                    \
    }                                                                                              \
    ;                                                                                              \
    return options_read(&layout, given, ret_options, err);                                         \
    }
#include "options.def"

/* ---- Structs that the library fills ---- */

HOT int output_check(const char *name, const void *ret, struct husk_error *err) {
    size_t size;
    if (ret == NULL)
        return error_set(err, HUSK_E_INVAL, "%s: a NULL argument", name);
    memcpy(&size, ret, sizeof size);
    if (size >= sizeof size && size <= OPTIONS_BYTES_MAX)
        return 0;
    return error_set(err, HUSK_E_INVAL,
                     "%s.size is %zu; set it to sizeof(struct %s), as the HUSK_…_INIT macro does",
                     name, size, name);
}

HOT void output_fill(void *ret, const void *whole, size_t bytes) {
    size_t size;
    memcpy(&size, ret, sizeof size);
    const size_t known = size < bytes ? size : bytes;
    memcpy((uint8_t *)ret + sizeof size, (const uint8_t *)whole + sizeof size, known - sizeof size);
    memset((uint8_t *)ret + known, 0, size - known);
}
