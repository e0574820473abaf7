/*
 * tests/spec/spec_json.c: parses JSON (RFC 8259) by recursive descent into a tree. The suite's
 * files are trusted, so the depth is simply bounded.
 */
#include "spec_json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 64

struct parser {
    const char *pos, *end;
    int depth;
};

static struct json *parse_value(struct parser *parser);

void json_free(struct json *json) {
    while (json != NULL) {
        struct json *next = json->next;
        json_free(json->items);
        free(json->text);
        free(json->key);
        free(json);
        json = next;
    }
}

static void skip_space(struct parser *parser) {
    while (parser->pos < parser->end && strchr(" \t\r\n", *parser->pos) != NULL)
        parser->pos++;
}

static bool take(struct parser *parser, char c) {
    skip_space(parser);
    if (parser->pos < parser->end && *parser->pos == c) {
        parser->pos++;
        return true;
    }
    return false;
}

static bool hex4(struct parser *parser, uint32_t *ret_unit) {
    uint32_t unit = 0;
    if (parser->end - parser->pos < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef";
        char c = *parser->pos++;
        const char *digit = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
        if (digit == NULL)
            return false;
        unit = unit << 4 | (uint32_t)(digit - digits);
    }
    *ret_unit = unit;
    return true;
}

static char *put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    *out++ = (char)(lead[more] | code >> (6 * more));
    while (more-- > 0)
        *out++ = (char)(0x80 | (code >> (6 * more) & 0x3f));
    return out;
}

static char *parse_escape(struct parser *parser, char *out) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    char c = *parser->pos++;
    const char *name = c == '\0' ? NULL : strchr(names, c);
    if (name != NULL) {
        *out++ = values[name - names];
        return out;
    }
    uint32_t code = 0;
    if (c != 'u' || !hex4(parser, &code))
        return NULL;
    if (code >= 0xd800 && code < 0xdc00) {
        uint32_t low = 0;
        if (parser->end - parser->pos < 6 || parser->pos[0] != '\\' || parser->pos[1] != 'u')
            return NULL;
        parser->pos += 2;
        if (!hex4(parser, &low))
            return NULL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(out, code);
}

/* The opening quote is taken already. */
static char *parse_string(struct parser *parser, size_t *ret_bytes) {
    const char *close = parser->pos;
    while (close < parser->end && *close != '"')
        close += *close == '\\' && close + 1 < parser->end ? 2 : 1;
    if (close >= parser->end)
        return NULL;
    char *text = malloc((size_t)(close - parser->pos) + 1); /* unescaped is never longer */
    char *out = text;
    while (out != NULL && parser->pos < close) {
        if (*parser->pos != '\\') {
            *out++ = *parser->pos++;
        } else {
            parser->pos++;
            out = parse_escape(parser, out);
        }
    }
    if (out == NULL) {
        free(text);
        return NULL;
    }
    parser->pos = close + 1;
    *out = '\0';
    *ret_bytes = (size_t)(out - text);
    return text;
}

static bool parse_member(struct parser *parser, bool is_object, struct json **ret_item) {
    char *key = NULL;
    size_t key_bytes = 0;
    if (is_object) {
        key = take(parser, '"') ? parse_string(parser, &key_bytes) : NULL;
        if (key == NULL || !take(parser, ':')) {
            free(key);
            return false;
        }
    }
    struct json *item = parse_value(parser);
    if (item == NULL) {
        free(key);
        return false;
    }
    item->key = key;
    *ret_item = item;
    return true;
}

static bool parse_items(struct parser *parser, struct json *json, char close) {
    struct json **tail = &json->items;
    if (take(parser, close))
        return true;
    do {
        if (!parse_member(parser, close == '}', tail))
            return false;
        tail = &(*tail)->next;
    } while (take(parser, ','));
    return take(parser, close);
}

static bool parse_word(struct parser *parser, struct json *json) {
    const char *start = parser->pos;
    while (parser->pos < parser->end && strchr(",]} \t\r\n", *parser->pos) == NULL)
        parser->pos++;
    size_t bytes = (size_t)(parser->pos - start);
    json->text = bytes == 0 ? NULL : strndup(start, bytes);
    json->text_bytes = bytes;
    if (json->text == NULL)
        return false;
    bool is_bool = strcmp(json->text, "true") == 0 || strcmp(json->text, "false") == 0;
    json->kind = is_bool ? JSON_BOOL : strcmp(json->text, "null") == 0 ? JSON_NULL : JSON_NUMBER;
    return json->kind != JSON_NUMBER || strchr("-0123456789", *start) != NULL;
}

static struct json *parse_value(struct parser *parser) {
    struct json *json = calloc(1, sizeof *json);
    if (json == NULL || parser->depth >= DEPTH_MAX) {
        free(json);
        return NULL;
    }
    parser->depth++;
    bool is_good = false;
    if (take(parser, '{')) {
        json->kind = JSON_OBJECT;
        is_good = parse_items(parser, json, '}');
    } else if (take(parser, '[')) {
        json->kind = JSON_ARRAY;
        is_good = parse_items(parser, json, ']');
    } else if (take(parser, '"')) {
        json->kind = JSON_STRING;
        json->text = parse_string(parser, &json->text_bytes);
        is_good = json->text != NULL;
    } else {
        is_good = parse_word(parser, json);
    }
    parser->depth--;
    if (!is_good) {
        json_free(json);
        return NULL;
    }
    return json;
}

struct json *json_parse(const char *text, size_t bytes, size_t *ret_offset) {
    struct parser parser = {.pos = text, .end = text + bytes};
    struct json *json = parse_value(&parser);
    skip_space(&parser);
    if (json == NULL || parser.pos != parser.end) {
        *ret_offset = (size_t)(parser.pos - text);
        json_free(json);
        return NULL;
    }
    return json;
}

const struct json *json_get(const struct json *object, const char *key) {
    if (object == NULL || object->kind != JSON_OBJECT)
        return NULL;
    const struct json *item = object->items;
    while (item != NULL && strcmp(item->key, key) != 0)
        item = item->next;
    return item;
}

const char *json_text(const struct json *object, const char *key) {
    const struct json *item = json_get(object, key);
    return item != NULL && (item->kind == JSON_STRING || item->kind == JSON_NUMBER) ? item->text
                                                                                    : NULL;
}

size_t json_count(const struct json *array) {
    size_t count = 0;
    for (const struct json *item = array != NULL ? array->items : NULL; item != NULL;
         item = item->next)
        count++;
    return count;
}
