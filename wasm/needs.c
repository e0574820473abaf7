/*
 * wasm/needs.c: see needs.h. Walks a module that was refused, so the bytes may be unknown or wrong.
 * If a section or a function body becomes unreadable, the walk goes on at the next one, whose place
 * is known. Beside the flow: only for messages.
 */
#include "needs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "read.h"

#define NEED_SIMD "SIMD"

static bool has(wasm_features_t set, unsigned feature) {
    return (set >> feature & 1) != 0;
}

struct walk {
    struct wasm_reader reader; /* of a section, or of a body */
    wasm_features_t found;
};

static void found(struct walk *walk, const char *name) {
    for (unsigned i = 0; name != NULL && i < WASM_FEATURE_COUNT; i++)
        if (strcmp(wasm_feature_rows[i].text, name) == 0)
            walk->found |= UINT32_C(1) << i;
}

/* 0 behind the end, where is_at_end() is true. */
static uint8_t next_byte(struct walk *walk) {
    uint8_t byte = 0;
    if (wasm_read_byte(&walk->reader, "", &byte) != 0)
        walk->reader.end = walk->reader.pos;
    return byte;
}

/* Of up to 64 bits, signed or not; 0 for what is longer, which ends the walk. */
static uint64_t next_leb(struct walk *walk) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = next_byte(walk);
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte < 0x80)
            return value;
    }
    walk->reader.end = walk->reader.pos;
    return 0;
}

static bool is_at_end(const struct walk *walk) {
    return walk->reader.pos >= walk->reader.end;
}

static void skip_bytes(struct walk *walk, uint64_t count) {
    size_t left = wasm_reader_left(&walk->reader);
    walk->reader.pos += count < left ? count : left;
}

/* ---- types ---- */

static void walk_type(struct walk *walk) {
    uint8_t byte = next_byte(walk);
    valtype_t type = valtype_from_byte(byte);
    if (type == WASM_V128)
        found(walk, NEED_SIMD);
    else if (type == VALTYPE_NONE)
        found(walk, wasm_type_proposal(byte));
    if (byte == 0x63 || byte == 0x64) { /* (ref null? heap type): an index, or a type in one byte */
        uint8_t heap = is_at_end(walk) ? 0 : *walk->reader.pos;
        found(walk, wasm_type_proposal(heap));
        (void)next_leb(walk);
    }
}

static void walk_field(struct walk *walk) {
    if (!is_at_end(walk) && (*walk->reader.pos == 0x77 || *walk->reader.pos == 0x78))
        (void)next_byte(walk); /* i16, i8 */
    else
        walk_type(walk);
    (void)next_byte(walk); /* mutability */
}

/* One function, struct or array type, with its supertypes before it. */
static void walk_composite(struct walk *walk) {
    uint8_t form = next_byte(walk);
    if (form != 0x60)
        found(walk, "garbage collection");
    if (form == 0x4f || form == 0x50) {
        for (uint64_t i = next_leb(walk); i > 0 && !is_at_end(walk); i--)
            (void)next_leb(walk);
        form = next_byte(walk);
    }
    for (int list = 0; form == 0x60 && list < 2; list++)
        for (uint64_t i = next_leb(walk); i > 0 && !is_at_end(walk); i--)
            walk_type(walk);
    if (form == 0x5e)
        walk_field(walk);
    for (uint64_t i = form == 0x5f ? next_leb(walk) : 0; i > 0 && !is_at_end(walk); i--)
        walk_field(walk);
}

static void walk_types(struct walk *walk) {
    for (uint64_t i = next_leb(walk); i > 0 && !is_at_end(walk); i--) {
        uint64_t count = 1;
        if (*walk->reader.pos == 0x4e) { /* a recursive group */
            (void)next_byte(walk);
            found(walk, "garbage collection");
            count = next_leb(walk);
        }
        for (; count > 0 && !is_at_end(walk); count--)
            walk_composite(walk);
    }
}

static void walk_limits(struct walk *walk) {
    uint8_t flags = next_byte(walk);
    found(walk, (flags & 2) != 0 ? "threads" : NULL);
    found(walk, (flags & 4) != 0 ? "memory64" : NULL);
    found(walk, (flags & 8) != 0 ? "custom page sizes" : NULL);
    for (int i = 1 + (flags & 1) + ((flags & 8) != 0); i > 0; i--)
        (void)next_leb(walk);
}

static void walk_table(struct walk *walk) {
    bool has_init = !is_at_end(walk) && *walk->reader.pos == 0x40;
    if (has_init) {
        found(walk, "typed function references");
        /* an expression follows the type: the rest is not looked at */
        walk->reader.end = walk->reader.pos;
        return;
    }
    walk_type(walk);
    walk_limits(walk);
}

static void walk_import(struct walk *walk) {
    skip_bytes(walk, next_leb(walk));
    skip_bytes(walk, next_leb(walk));
    switch (next_byte(walk)) {
    case WASM_KIND_FUNC: (void)next_leb(walk); break;
    case WASM_KIND_TABLE: walk_table(walk); break;
    case WASM_KIND_MEMORY: walk_limits(walk); break;
    case WASM_KIND_GLOBAL:
        walk_type(walk);
        (void)next_byte(walk);
        break;
    case 4: /* a tag */
        found(walk, "exception handling");
        (void)next_byte(walk);
        (void)next_leb(walk);
        break;
    default: walk->reader.end = walk->reader.pos; break;
    }
}

/* ---- code ---- */

static void walk_catches(struct walk *walk) {
    for (uint64_t i = next_leb(walk); i > 0 && !is_at_end(walk); i--) {
        if (next_byte(walk) < 2) { /* catch, catch_ref: with a tag */
            (void)next_leb(walk);
        }
        (void)next_leb(walk);
    }
}

/* The immediates of a later proposal's instruction, which wasm_read_instr() does not know. */
static void walk_later(struct walk *walk, uint8_t prefix, uint32_t code, uint8_t lebs_count) {
    const bool is_try = prefix == 0 && (code == 0x06 || code == 0x1f);
    if (is_try && !is_at_end(walk) && (*walk->reader.pos == 0x63 || *walk->reader.pos == 0x64)) {
        walk_type(walk);
        lebs_count = 0;
    }
    for (; lebs_count > 0; lebs_count--)
        (void)next_leb(walk);
    if (is_try && code == 0x1f)
        walk_catches(walk);
}

/* False: it cannot be followed. */
static bool walk_instr(struct walk *walk) {
    const uint8_t *start = walk->reader.pos;
    struct wasm_instr instr;
    int status = wasm_read_instr(&walk->reader, &instr);
    if (status == 0) {
        walk->found |= UINT32_C(1) << wasm_opinfo(instr.op)->feature & ~wasm_features_lowered();
        return true;
    }
    walk->reader.pos = start;
    uint8_t prefix = next_byte(walk);
    uint32_t code = prefix;
    if (prefix >= 0xfb && prefix <= 0xfe)
        code = (uint32_t)next_leb(walk);
    else
        prefix = 0;
    const struct wasm_later *later = wasm_later_find(prefix, code);
    if (later == NULL) { /* a known one with an immediate of a later proposal, or nonsense */
        found(walk, status == HUSK_E_UNSUPPORTED && !is_at_end(walk)
                        ? wasm_type_proposal(*walk->reader.pos)
                        : NULL);
        return false;
    }
    found(walk, later->proposal);
    walk_later(walk, prefix, code, later->lebs_count);
    return true;
}

static void walk_bodies(struct walk *walk) {
    for (uint64_t i = next_leb(walk); i > 0 && !is_at_end(walk); i--) {
        uint64_t size = next_leb(walk);
        if (size > wasm_reader_left(&walk->reader))
            return;
        struct walk body = *walk;
        body.reader.end = body.reader.pos + size;
        for (uint64_t runs = next_leb(&body); runs > 0 && !is_at_end(&body); runs--) {
            (void)next_leb(&body);
            walk_type(&body);
        }
        while (!is_at_end(&body) && walk_instr(&body)) {
        }
        walk->found |= body.found;
        walk->reader.pos += size;
    }
}

/* A vector of things that are read one like the other; stops where one cannot be followed. */
static void walk_vector(struct walk *walk, void (*one)(struct walk *)) {
    for (uint64_t i = next_leb(walk); i > 0 && !is_at_end(walk); i--)
        one(walk);
}

/* A global's type and its constant expression. */
static void walk_global(struct walk *walk) {
    walk_type(walk);
    (void)next_byte(walk);
    while (!is_at_end(walk) && *walk->reader.pos != 0x0b)
        if (!walk_instr(walk))
            walk->reader.end = walk->reader.pos;
    (void)next_byte(walk);
}

static void walk_section(struct walk *walk, uint8_t id) {
    switch (id) {
    case 1: walk_types(walk); break;
    case 2: walk_vector(walk, walk_import); break;
    case 4: walk_vector(walk, walk_table); break;
    case 5: walk_vector(walk, walk_limits); break;
    case 6: walk_vector(walk, walk_global); break;
    case 10: walk_bodies(walk); break;
    case 13: found(walk, "exception handling"); break;
    default: break;
    }
}

static uint32_t walk_module(struct wasm_bytes wasm) {
    struct walk whole = {.found = 0};
    wasm_reader_init(&whole.reader, wasm, NULL);
    skip_bytes(&whole, 8);
    while (!is_at_end(&whole)) {
        uint8_t id = next_byte(&whole);
        uint64_t size = next_leb(&whole);
        if (size > wasm_reader_left(&whole.reader))
            break;
        struct walk section = whole;
        section.reader.end = section.reader.pos + size;
        walk_section(&section, id);
        whole.found |= section.found;
        whole.reader.pos += size;
    }
    return whole.found;
}

/* ---- the message ---- */

__attribute__((format(printf, 2, 3))) static void append(struct husk_error *err, const char *format,
                                                         ...) {
    size_t used = strlen(err->message);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message + used, sizeof err->message - used, format, args);
    va_end(args);
}

/* "; the module needs A, B and C: build it without (x; y)". */
static void append_needs(struct husk_error *err, wasm_features_t set) {
    const char *separator = "; the module needs ";
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++) {
        if (has(set, i)) {
            append(err, "%s%s", separator, wasm_feature_rows[i].text);
            wasm_features_t rest = set >> i >> 1;
            separator = (rest & (rest - 1)) != 0 ? ", " : " and ";
        }
    }
    separator = ": build it without (";
    const char *last = "";
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++) {
        const char *without = wasm_feature_rows[i].without;
        if (has(set, i) && without != NULL && strcmp(without, last) != 0) {
            append(err, "%s%s", separator, without);
            separator = "; ";
            last = without;
        }
    }
    append(err, "%s", separator[0] == ';' ? ")" : "");
}

int wasm_error_needs(struct wasm_bytes wasm, int status, struct husk_error *err) {
    if (status == HUSK_E_UNSUPPORTED && err != NULL)
        append_needs(err, walk_module(wasm));
    return status;
}

int wasm_check_supported(const struct wasm_module *module, wasm_features_t enabled,
                         struct husk_error *err) {
    const wasm_features_t lowered = wasm_features_lowered();
    const wasm_features_t missing =
        module->used.set & ~(enabled & lowered) & (WASM_FEATURE_BIT(MVP) - 1);
    unsigned first = WASM_FEATURE_COUNT;
    for (unsigned i = 0; i < WASM_FEATURE_COUNT; i++)
        if (has(missing, i) && (first == WASM_FEATURE_COUNT ||
                                module->used.first[i].offset < module->used.first[first].offset))
            first = i;
    if (first == WASM_FEATURE_COUNT)
        return 0;
    (void)wasm_error(err, HUSK_E_UNSUPPORTED, module->used.first[first].offset, "uses %s (%s), %s",
                     wasm_feature_rows[first].text, module->used.first[first].what,
                     has(lowered, first) ? "which is disabled" : "not supported yet");
    if (err != NULL)
        append_needs(err, missing);
    return HUSK_E_UNSUPPORTED;
}
