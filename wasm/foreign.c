/*
 * wasm/foreign.c: recognises files that people give in place of a module, by their first bytes.
 * decode.c then prints a message that says what to do. This file accepts or refuses nothing.
 */
#include <string.h>

#include "decode.h"

struct foreign {
    uint16_t offset; /* of the bytes below in the file */
    uint8_t count;
    const char *bytes;
    const char *text; /* continues "this is …" */
};

#define FOREIGN(offset, bytes, text)                                                               \
    { offset, sizeof bytes - 1, bytes, text }

static const struct foreign foreigns[] = {
    FOREIGN(0, "\x28\xb5\x2f\xfd", "a zstd-compressed file; decompress it first: zstd -d FILE"),
    FOREIGN(0, "\x1f\x8b", "a gzip-compressed file; decompress it first: gzip -d FILE"),
    FOREIGN(0,
            "\xfd"
            "7zXZ",
            "an xz-compressed file; decompress it first: xz -d FILE"),
    FOREIGN(0, "BZh", "a bzip2-compressed file; decompress it first: bzip2 -d FILE"),
    FOREIGN(0, "\x04\x22\x4d\x18", "an lz4-compressed file; decompress it first: lz4 -d FILE"),
    FOREIGN(0, "PK\x03\x04", "a zip archive; unpack it first, and name the .wasm file in it"),
    FOREIGN(257, "ustar", "a tar archive; unpack it first, and name the .wasm file in it"),
    FOREIGN(0,
            "\x7f"
            "ELF",
            "an ELF file: a native program or object, or a husk image, but not a module"),
    FOREIGN(0, "!<arch>\n",
            "a library of object files (.a); link it to a module first, as with wasm-ld"),
    FOREIGN(0, "BC\xc0\xde",
            "LLVM bitcode; compile it for a wasm32 target first, without -emit-llvm"),
    FOREIGN(0, "MZ", "a Windows program, not a module"),
    FOREIGN(0, "\xcf\xfa\xed\xfe", "a macOS program, not a module"),
    FOREIGN(0, "\xca\xfe\xba\xbe", "a Java class or a macOS program, not a module"),
    FOREIGN(0, "AGFzbQ", "a module in base64; decode it first: base64 -d FILE"),
    FOREIGN(0, "data:", "a data URL; the module is what stands behind the comma: base64 -d"),
    FOREIGN(0, "version https://git-lfs",
            "a Git LFS pointer in place of the file; fetch that: git lfs pull"),
    FOREIGN(0, "#!", "a script, not a module; the .wasm file that it loads may be meant"),
};

/* Programs that come with a module, and pages that were downloaded in its place; after blanks and
 * comments. */
static const struct foreign texts[] = {
    FOREIGN(0, "(", "WebAssembly text; convert it with: wat2wasm FILE.wat"),
    FOREIGN(0, "<", "a web page or XML, perhaps downloaded in place of a module"),
    FOREIGN(0, "#include", "C or C++ source; compile it for a wasm32 target first"),
    FOREIGN(0, "var ", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "let ", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "const ", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "import ", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "import{", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "export ", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "async ", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "function", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "\"use strict\"", "JavaScript, not a module; the .wasm file that it loads is meant"),
    FOREIGN(0, "'use strict'", "JavaScript, not a module; the .wasm file that it loads is meant"),
};

static const char *find(const struct foreign *rows, size_t rows_count, const uint8_t *bytes,
                        size_t count) {
    for (size_t i = 0; i < rows_count; i++) {
        const struct foreign *row = &rows[i];
        if (count >= (size_t)row->offset + row->count &&
            memcmp(bytes + row->offset, row->bytes, row->count) == 0)
            return row->text;
    }
    return NULL;
}

/* How many bytes a comment takes, in the text format or JavaScript: ;; or // to the end of the
 * line, and from (; or slash-star to its end (nested ones are not looked for). 0: it is none. */
static size_t comment_bytes(const uint8_t *bytes, size_t count) {
    static const char *const ends[][2] = {{";;", "\n"}, {"//", "\n"}, {"(;", ";)"}, {"/*", "*/"}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && count >= 2; i++) {
        if (memcmp(bytes, ends[i][0], 2) != 0)
            continue;
        const uint8_t *end = memmem(bytes + 2, count - 2, ends[i][1], strlen(ends[i][1]));
        return end == NULL ? count : (size_t)(end - bytes) + strlen(ends[i][1]);
    }
    return 0;
}

const char *wasm_foreign_kind(struct wasm_bytes file) {
    const char *text = find(foreigns, sizeof foreigns / sizeof foreigns[0], file.data, file.count);
    /* byte order mark */
    size_t at = file.count >= 3 && memcmp(file.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (text == NULL && at < file.count) {
        size_t skipped = strchr(" \t\r\n", file.data[at]) != NULL && file.data[at] != 0
                             ? 1
                             : comment_bytes(file.data + at, file.count - at);
        if (skipped == 0)
            return find(texts, sizeof texts / sizeof texts[0], file.data + at, file.count - at);
        at += skipped;
    }
    return text;
}
