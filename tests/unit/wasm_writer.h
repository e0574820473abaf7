/*
 * tests/unit/wasm_writer.h: writes WebAssembly modules byte by byte and judges them, for the suites
 * of the decoder and the validator. Larger samples come from tests/fuzz/corpus/wasm.
 */
#ifndef TESTS_WASM_WRITER_H
#define TESTS_WASM_WRITER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "module.h"

struct bytes {
    uint8_t *data;
    size_t count, cap;
};

static inline void put(struct bytes *bytes, const void *data, size_t count) {
    if (bytes->count + count > bytes->cap) {
        bytes->cap = (bytes->count + count) * 2 + 64;
        bytes->data = realloc(bytes->data, bytes->cap);
        if (bytes->data == NULL)
            abort();
    }
    if (count != 0)
        memcpy(bytes->data + bytes->count, data, count);
    bytes->count += count;
}

static inline void put_byte(struct bytes *bytes, unsigned byte) {
    uint8_t one = (uint8_t)byte;
    put(bytes, &one, 1);
}

static inline void put_u32(struct bytes *bytes, uint32_t value) {
    for (; value >= 0x80; value >>= 7)
        put_byte(bytes, (value & 0x7f) | 0x80);
    put_byte(bytes, value);
}

#define PUT(bytes, ...)                                                                            \
    put(bytes, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline void put_header(struct bytes *wasm) {
    PUT(wasm, 0, 'a', 's', 'm', 1, 0, 0, 0);
}

static inline void put_section(struct bytes *wasm, unsigned id, const struct bytes *contents) {
    put_byte(wasm, id);
    put_u32(wasm, (uint32_t)contents->count);
    put(wasm, contents->data, contents->count);
}

/* A module with one type, one memory, and one function of that type with this body (locals and
 * code). */
static inline struct bytes module_of(const struct bytes *type, const struct bytes *body) {
    struct bytes wasm = {0};
    struct bytes code = {0};
    put_header(&wasm);
    put_section(&wasm, 1, type);
    PUT(&wasm, 3, 2, 1, 0);    /* function 0: type 0 */
    PUT(&wasm, 5, 3, 1, 0, 1); /* memory of one page */
    PUT(&code, 1);
    put_u32(&code, (uint32_t)body->count);
    put(&code, body->data, body->count);
    put_section(&wasm, 10, &code);
    free(code.data);
    return wasm;
}

static inline int judge(const struct bytes *wasm, struct husk_error *err) {
    struct wasm_module *module = NULL;
    int status = wasm_decode(wasm->data, wasm->count, &module, err);
    if (status == 0) {
        status = wasm_validate(module, err);
        wasm_module_free(module);
    } else if (module != NULL) {
        FAIL("wasm_decode() set its output on failure");
    }
    return status;
}

/* Judge a function () -> () with this body, and free the body. */
static inline int judge_body(struct bytes *body, struct husk_error *err) {
    struct bytes type = {0};
    PUT(&type, 1, 0x60, 0, 0);
    struct bytes wasm = module_of(&type, body);
    int status = judge(&wasm, err);
    free(wasm.data);
    free(type.data);
    free(body->data);
    *body = (struct bytes){0};
    return status;
}

#define JUDGE_CODE(err, ...)                                                                       \
    __extension__({                                                                                \
        struct bytes code_bytes = {0};                                                             \
        PUT(&code_bytes, 0, __VA_ARGS__);                                                          \
        judge_body(&code_bytes, err);                                                              \
    })

static inline struct bytes file_bytes(const char *name) {
    char path[4096];
    struct bytes bytes = {0};
    (void)snprintf(path, sizeof path, "%s/tests/fuzz/corpus/wasm/%s.wasm", HUSK_TEST_SOURCE_DIR,
                   name);
    FILE *file = fopen(path, "rbe");
    CHECK_MSG(file != NULL, "cannot read %s", path);
    uint8_t buffer[4096];
    size_t count = 0;
    while ((count = fread(buffer, 1, sizeof buffer, file)) > 0)
        put(&bytes, buffer, count);
    (void)fclose(file);
    return bytes;
}

static inline int judge_raw(struct husk_error *err, const uint8_t *sections, size_t count) {
    struct bytes wasm = {0};
    put_header(&wasm);
    put(&wasm, sections, count);
    int status = judge(&wasm, err);
    free(wasm.data);
    return status;
}

#define JUDGE_SECTIONS(err, ...)                                                                   \
    judge_raw(err, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
