/* bench/kernels/json.c: writes a JSON text once, then parses it n times by recursive descent into a
 * checksum. */
#include "kernel.h"

enum { TEXT_BYTES = 65536 };
static char text[TEXT_BYTES];

struct parser {
    const char *at;
    uint64_t sum;
    uint32_t depth;
};

static char *text_put(char *to, const char *from) {
    while (*from != '\0')
        *to++ = *from++;
    return to;
}

static char *number_put(char *to, uint32_t number) {
    char digits[12];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    while (count > 0)
        *to++ = digits[--count];
    return to;
}

static void text_make(void) {
    uint32_t seed = 67;
    char *to = text_put(text, "{ \"items\": [");
    while (to < text + TEXT_BYTES - 256) {
        uint32_t r = rng_next(&seed);
        to = number_put(text_put(to, "{\"id\": "), r);
        to = number_put(text_put(to, ", \"weight\": -"), r >> 20);
        to = number_put(text_put(to, "."), r & 1023);
        to = text_put(to, (r & 4) != 0 ? ", \"name\": \"caf\\u00e9 \\\"bar\\\"\""
                                       : ", \"name\": \"plain words here\"");
        to = text_put(to, (r & 8) != 0 ? ", \"tags\": [true, null, [1, 2, 3]]},\n  "
                                       : ", \"ok\": false},\n  ");
    }
    *text_put(to, "0] }") = 0;
}

static void space_skip(struct parser *p) {
    while (*p->at == ' ' || *p->at == '\n' || *p->at == '\t' || *p->at == '\r')
        p->at++;
}

static void string_parse(struct parser *p) {
    for (p->at++; *p->at != '"'; p->at++) {
        if (*p->at == '\0')
            return;
        if (*p->at == '\\')
            p->at++;
        p->sum = sum_mix(p->sum, (uint8_t)*p->at);
    }
    p->at++;
}

static void number_parse(struct parser *p) {
    int is_negative = *p->at == '-';
    double value = 0, scale = 1;
    p->at += is_negative;
    for (; *p->at >= '0' && *p->at <= '9'; p->at++)
        value = value * 10 + (*p->at - '0');
    if (*p->at == '.') {
        for (p->at++; *p->at >= '0' && *p->at <= '9'; p->at++) {
            scale /= 10;
            value += scale * (*p->at - '0');
        }
    }
    p->sum = sum_mix_f64(p->sum, is_negative ? -value : value);
}

static void value_parse(struct parser *p);

static void list_parse(struct parser *p, char end) {
    p->at++;
    space_skip(p);
    while (*p->at != end && *p->at != '\0') {
        if (end == '}') {
            string_parse(p);
            space_skip(p);
            p->at += *p->at == ':';
        }
        value_parse(p);
        space_skip(p);
        p->at += *p->at == ',';
        space_skip(p);
    }
    p->at++;
}

static void value_parse(struct parser *p) {
    space_skip(p);
    p->depth++;
    if (*p->at == '{') {
        list_parse(p, '}');
    } else if (*p->at == '[') {
        list_parse(p, ']');
    } else if (*p->at == '"') {
        string_parse(p);
    } else if (*p->at == '-' || (*p->at >= '0' && *p->at <= '9')) {
        number_parse(p);
    } else {
        p->sum = sum_mix(p->sum, (uint64_t)(uint8_t)*p->at + p->depth);
        p->at += *p->at == 'f' ? 5 : 4;
    }
    p->depth--;
}

KERNEL(json) {
    uint64_t sum = SUM_START;
    text_make();
    for (uint32_t round = 0; round < n; round++) {
        struct parser parser = {.at = text, .sum = sum};
        value_parse(&parser);
        sum = sum_mix(parser.sum, (uint64_t)(parser.at - text));
    }
    return sum;
}
