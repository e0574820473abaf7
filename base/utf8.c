/* base/utf8.c: see utf8.h. */
#include "utf8.h"

/* Bytes of the sequence that starts with `lead`, 0 if none does. RFC 3629, section 4. */
static uint32_t utf8_length(uint8_t lead) {
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if ((lead & 0xf0) == 0xe0)
        return 3;
    return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/* The second byte's range excludes overlong forms, surrogates and code points above 0x10ffff. */
static bool utf8_second_ok(uint8_t lead, uint8_t second) {
    switch (lead) {
    case 0xe0: return second >= 0xa0 && second <= 0xbf;
    case 0xed: return second >= 0x80 && second <= 0x9f;
    case 0xf0: return second >= 0x90 && second <= 0xbf;
    case 0xf4: return second >= 0x80 && second <= 0x8f;
    default: return (second & 0xc0) == 0x80;
    }
}

bool utf8_is_valid(const uint8_t *data, size_t count) {
    for (size_t i = 0; i < count;) {
        uint32_t length = utf8_length(data[i]);
        if (length == 0 || length > count - i)
            return false;
        if (length > 1 && !utf8_second_ok(data[i], data[i + 1]))
            return false;
        for (uint32_t k = 2; k < length; k++)
            if ((data[i + k] & 0xc0) != 0x80)
                return false;
        i += length;
    }
    return true;
}
