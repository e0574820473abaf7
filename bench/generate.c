/*
 * bench/generate.c: writes the generated module of the compile benchmark (WebAssembly core
 * specification 2.0, section 5).
 */
#include "generate.h"

#include <stdlib.h>
#include <string.h>

struct bytes {
    uint8_t *at;
    size_t count, capacity;
    int has_failed;
};

static void byte_put(struct bytes *bytes, uint8_t byte) {
    if (bytes->count == bytes->capacity) {
        size_t capacity = bytes->capacity * 2 + 4096;
        uint8_t *grown = realloc(bytes->at, capacity);
        if (grown == NULL) {
            bytes->has_failed = 1;
            return;
        }
        bytes->at = grown;
        bytes->capacity = capacity;
    }
    bytes->at[bytes->count++] = byte;
}

static void op_put(struct bytes *bytes, size_t count, const uint8_t *ops) {
    for (size_t i = 0; i < count; i++)
        byte_put(bytes, ops[i]);
}
#define PUT(bytes, ...)                                                                            \
    op_put(bytes, sizeof((const uint8_t[]){__VA_ARGS__}), (const uint8_t[]){__VA_ARGS__})

static void u32_put(struct bytes *bytes, uint32_t value) {
    for (; value >= 128; value >>= 7)
        byte_put(bytes, (uint8_t)(value | 128));
    byte_put(bytes, (uint8_t)value);
}

/* A signed LEB of a value below 2^30. */
static void const_put(struct bytes *bytes, uint32_t value) {
    byte_put(bytes, 0x41); /* i32.const */
    for (; value >= 64; value >>= 7)
        byte_put(bytes, (uint8_t)(value | 128));
    byte_put(bytes, (uint8_t)value);
}

static void section_put(struct bytes *module, uint8_t id, struct bytes *content) {
    byte_put(module, id);
    u32_put(module, (uint32_t)content->count);
    for (size_t i = 0; i < content->count; i++)
        byte_put(module, content->at[i]);
    module->has_failed |= content->has_failed;
    free(content->at);
    *content = (struct bytes){0};
}

static uint32_t random_next(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* local.get a; local.get b; binary operator; local.set c. Locals 0-1: parameters; 2-5: variables;
 * 6: the loop's counter. */
static void statement_arithmetic(struct bytes *code, uint32_t *seed) {
    static const uint8_t operators[] = {0x6a, 0x6b, 0x6c, 0x71, 0x72, 0x73, 0x74, 0x76, 0x48, 0x4f};
    uint8_t a = (uint8_t)(random_next(seed) % 6), b = (uint8_t)(random_next(seed) % 6);
    uint8_t target = (uint8_t)(2 + random_next(seed) % 4);
    PUT(code, 0x20, a, 0x20, b, operators[random_next(seed) % sizeof operators], 0x21, target);
}

static void statement_memory(struct bytes *code, uint32_t *seed) {
    uint8_t address = (uint8_t)(random_next(seed) % 6), value = (uint8_t)(random_next(seed) % 6);
    PUT(code, 0x20, address);
    const_put(code, 0xfffc);
    if (random_next(seed) % 2 == 0) {
        PUT(code, 0x71, 0x28, 2); /* i32.and; i32.load */
        u32_put(code, random_next(seed) % 1000);
        PUT(code, 0x21, (uint8_t)(2 + value % 4));
    } else {
        PUT(code, 0x71, 0x20, value, 0x36, 2); /* i32.and; local.get; i32.store */
        u32_put(code, random_next(seed) % 1000);
    }
}

static void statement_branch(struct bytes *code, uint32_t *seed) {
    PUT(code, 0x20, (uint8_t)(random_next(seed) % 6));
    const_put(code, random_next(seed) % 100000);
    PUT(code, 0x48, 0x04, 0x40); /* i32.lt_s; if */
    statement_arithmetic(code, seed);
    PUT(code, 0x05); /* else */
    statement_memory(code, seed);
    PUT(code, 0x0b);
}

static void statement_call(struct bytes *code, uint32_t func_idx, uint32_t *seed) {
    if (func_idx == 0)
        return;
    PUT(code, 0x20, (uint8_t)(random_next(seed) % 6), 0x20, (uint8_t)(random_next(seed) % 6), 0x10);
    u32_put(code, random_next(seed) % func_idx);
    PUT(code, 0x21, (uint8_t)(2 + random_next(seed) % 4));
}

static void statements_put(struct bytes *code, uint32_t func_idx, uint32_t count, uint32_t *seed) {
    for (uint32_t i = 0; i < count; i++) {
        switch (random_next(seed) % 8) {
        case 0:
        case 1:
        case 2: statement_arithmetic(code, seed); break;
        case 3:
        case 4: statement_memory(code, seed); break;
        case 5:
        case 6: statement_branch(code, seed); break;
        default: statement_call(code, func_idx, seed);
        }
    }
}

static void function_put(struct bytes *section, uint32_t func_idx, uint32_t *seed) {
    struct bytes code = {0};
    PUT(&code, 1, 5, 0x7f); /* five i32 locals */
    statements_put(&code, func_idx, 8, seed);
    PUT(&code, 0x03, 0x40); /* loop */
    statements_put(&code, func_idx, 10, seed);
    PUT(&code, 0x20, 6, 0x41, 1, 0x6a, 0x22, 6); /* counter + 1 */
    const_put(&code, 3);
    PUT(&code, 0x48, 0x0d, 0, 0x0b); /* i32.lt_s; br_if 0; end */
    statements_put(&code, func_idx, 6, seed);
    PUT(&code, 0x20, 2, 0x20, 3, 0x73, 0x20, 4, 0x6a, 0x20, 5, 0x73, 0x0b);
    u32_put(section, (uint32_t)code.count);
    op_put(section, code.count, code.at);
    section->has_failed |= code.has_failed;
    free(code.at);
}

int generate_module(uint32_t functions_count, uint8_t **ret_wasm, size_t *ret_count) {
    struct bytes module = {0}, content = {0};
    uint32_t seed = 1;
    PUT(&module, 0, 'a', 's', 'm', 1, 0, 0, 0);
    PUT(&content, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f);
    section_put(&module, 1, &content);
    u32_put(&content, functions_count);
    for (uint32_t i = 0; i < functions_count; i++)
        byte_put(&content, 0);
    section_put(&module, 3, &content);
    PUT(&content, 1, 0, 2); /* one memory of at least two pages: 0xfffc + 1000 + 4 bytes fit */
    section_put(&module, 5, &content);
    PUT(&content, 1, 3, 'r', 'u', 'n', 0);
    u32_put(&content, functions_count - 1);
    section_put(&module, 7, &content);
    u32_put(&content, functions_count);
    for (uint32_t i = 0; i < functions_count; i++)
        function_put(&content, i, &seed);
    section_put(&module, 10, &content);
    if (module.has_failed) {
        free(module.at);
        return -1;
    }
    *ret_wasm = module.at;
    *ret_count = module.count;
    return 0;
}
