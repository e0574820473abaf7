/*
 * base/name_text.c: husk_name_escape(), which every shown name goes through, and its short form for
 * messages; see name_text.h.
 */
#include "name_text.h"

#include <stdio.h>
#include <string.h>

#include "husk.h"

struct code_range {
    uint32_t first, last;
};

/* Not seen, or seen as something else: controls, white space other than U+0020, and
 * Default_Ignorable_Code_Point, which has the zero-width and the bidirectional ones (Unicode
 * Character Database 15: PropList.txt, DerivedCoreProperties.txt). Ascending. */
static const struct code_range unseen[] = {
    {0x0000, 0x001f},   {0x007f, 0x00a0},   {0x00ad, 0x00ad},   {0x034f, 0x034f}, {0x061c, 0x061c},
    {0x115f, 0x1160},   {0x1680, 0x1680},   {0x17b4, 0x17b5},   {0x180b, 0x180f}, {0x2000, 0x200f},
    {0x2028, 0x202f},   {0x205f, 0x206f},   {0x2800, 0x2800},   {0x3000, 0x3000}, {0x3164, 0x3164},
    {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb}, {0xfffe, 0xffff},
    {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff} /* with the private planes */
};

static bool is_unseen(uint32_t code_point) {
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0] && code_point >= unseen[i].first; i++)
        if (code_point <= unseen[i].last)
            return true;
    return false;
}

/* The Unicode Standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t utf8_sequence(const uint8_t *text, size_t count, uint32_t *ret_code_point) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t first = text[0];
    const size_t bytes = first < 0x80   ? 1
                         : first < 0xc2 ? 0
                         : first < 0xe0 ? 2
                         : first < 0xf0 ? 3
                                        : 4;
    if (bytes == 0 || bytes > count || first > 0xf4)
        return 0;
    uint32_t code_point = bytes == 1 ? first : first & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code_point = code_point << 6 | (text[i] & 0x3fu);
    }
    if (code_point < least[bytes] || code_point > 0x10ffff ||
        (code_point >= 0xd800 && code_point < 0xe000))
        return 0;
    *ret_code_point = code_point;
    return bytes;
}

size_t name_escape_character(const char *name, size_t name_bytes, char ret_text[13]) {
    uint32_t code_point = 0;
    size_t bytes = utf8_sequence((const uint8_t *)name, name_bytes, &code_point);
    if (bytes != 0 && !is_unseen(code_point)) {
        const bool is_quoting = *name == '"' || *name == '\\';
        snprintf(ret_text, 13, "%s%.*s", is_quoting ? "\\" : "", (int)bytes, name);
        return bytes;
    }
    if (bytes == 0)
        bytes = 1;
    for (size_t i = 0; i < bytes; i++)
        snprintf(ret_text + 3 * i, 4, "\\%02x", (unsigned char)name[i]);
    return bytes;
}

size_t husk_name_escape(const char *name, size_t name_bytes, char *out, size_t out_bytes) {
    size_t needed = 0, used = 0;
    for (size_t at = 0; at < name_bytes;) {
        char one[13];
        at += name_escape_character(name + at, name_bytes - at, one);
        const size_t bytes = strlen(one);
        if (needed == used &&
            used + bytes < out_bytes) { /* what does not fit ends it, so that a prefix is left */
            memcpy(out + used, one, bytes);
            used += bytes;
        }
        needed += bytes;
    }
    if (out_bytes > 0)
        out[used] = 0;
    return needed;
}

const char *name_show(struct name_text *buffer, const char *name, size_t name_bytes) {
    static const char more[] = "…";
    if (husk_name_escape(name, name_bytes, buffer->text, sizeof buffer->text) < sizeof buffer->text)
        return buffer->text;
    husk_name_escape(name, name_bytes, buffer->text, sizeof buffer->text - (sizeof more - 1));
    memcpy(buffer->text + strlen(buffer->text), more, sizeof more);
    return buffer->text;
}

const char *name_show_str(struct name_text *buffer, const char *name) {
    return name_show(buffer, name, strlen(name));
}
