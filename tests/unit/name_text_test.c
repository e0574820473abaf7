/* How names are shown: reversibly, on one line, without invisible characters. */
#include "name_text.h"

#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "husk.h"

static void check_escape(const char *name, size_t count, const char *expected) {
    char out[256];
    CHECK_EQ_U64(husk_name_escape(name, count, out, sizeof out), strlen(expected));
    CHECK_STR(out, expected);
}
#define CHECK_ESCAPE(name, expected) check_escape(name, sizeof(name) - 1, expected)

TEST(plain_names_stay) {
    CHECK_ESCAPE("", "");
    CHECK_ESCAPE("memory.grow $x <T as U>::f", "memory.grow $x <T as U>::f");
    CHECK_ESCAPE("Größe 大きさ 😀", "Größe 大きさ 😀");
}

TEST(what_would_be_ambiguous_is_escaped) {
    CHECK_ESCAPE("a\\b\"c", "a\\\\b\\\"c");
    CHECK_ESCAPE("a\\00b", "a\\\\00b"); /* not the next one */
    CHECK_ESCAPE("a\0b", "a\\00b");
    CHECK_ESCAPE("\x1b[2J\r\n\t\x7f", "\\1b[2J\\0d\\0a\\09\\7f");
}

TEST(unseen_characters_are_escaped) {
    CHECK_ESCAPE("\xc2\x85", "\\c2\\85");                 /* C1: next line */
    CHECK_ESCAPE("\xc2\xa0\xc2\xad", "\\c2\\a0\\c2\\ad"); /* no-break space, soft hyphen */
    CHECK_ESCAPE("a\xe2\x80\x8b"
                 "b",
                 "a\\e2\\80\\8bb");               /* zero-width space */
    CHECK_ESCAPE("\xe2\x80\xae", "\\e2\\80\\ae"); /* right-to-left override */
    CHECK_ESCAPE("\xe2\x81\xa6\xe2\x81\xa9", "\\e2\\81\\a6\\e2\\81\\a9"); /* isolates */
    CHECK_ESCAPE("\xd8\x9c\xef\xbb\xbf", "\\d8\\9c\\ef\\bb\\bf"); /* Arabic letter mark, BOM */
    /* line separator, wide space */
    CHECK_ESCAPE("\xe2\x80\xa8\xe3\x80\x80", "\\e2\\80\\a8\\e3\\80\\80");
    CHECK_ESCAPE("\xf3\xa0\x81\xa1", "\\f3\\a0\\81\\a1"); /* a tag */
    CHECK_ESCAPE("\xef\xb8\x8f", "\\ef\\b8\\8f");         /* variation selector */
    /* neighbours are seen: ‐ ‧ */
    CHECK_ESCAPE("\xe2\x80\x90\xe2\x80\xa7", "\xe2\x80\x90\xe2\x80\xa7");
}

TEST(what_is_not_utf8_is_escaped) {
    CHECK_ESCAPE("\x80\xff", "\\80\\ff");
    CHECK_ESCAPE("\xc0\xaf", "\\c0\\af"); /* overlong */
    CHECK_ESCAPE("\xe0\x80\xaf", "\\e0\\80\\af");
    CHECK_ESCAPE("\xf0\x80\x80\xaf", "\\f0\\80\\80\\af");
    CHECK_ESCAPE("\xed\xa0\x80", "\\ed\\a0\\80");         /* a surrogate */
    CHECK_ESCAPE("\xf4\x90\x80\x80", "\\f4\\90\\80\\80"); /* above U+10FFFF */
    CHECK_ESCAPE("\xf8\x88\x80\x80\x80", "\\f8\\88\\80\\80\\80");
    CHECK_ESCAPE("a\xe2\x82", "a\\e2\\82"); /* cut */
}

/* Escapes are undone to the bytes that were there: no two names look the same. */
TEST(every_pair_of_bytes_comes_back) {
    for (unsigned pair = 0; pair < 65536; pair++) {
        const char name[2] = {(char)(pair >> 8), (char)(pair & 255)};
        char out[16], back[16];
        size_t count = 0;
        CHECK(husk_name_escape(name, 2, out, sizeof out) < sizeof out);
        for (const char *at = out; *at != '\0';) {
            unsigned byte = (unsigned char)*at++;
            if (byte == '\\' && (*at == '\\' || *at == '"')) {
                byte = (unsigned char)*at++;
            } else if (byte == '\\') {
                CHECK(sscanf(at, "%2x", &byte) == 1);
                at += 2;
            }
            back[count++] = (char)byte;
        }
        CHECK_EQ_U64(count, 2);
        CHECK(memcmp(back, name, 2) == 0);
    }
}

TEST(a_buffer_that_is_too_small_gets_whole_characters) {
    char out[8] = "xxxxxxx";
    CHECK_EQ_U64(husk_name_escape("a\0b", 3, out, 4), 5);
    CHECK_STR(out, "a"); /* not "a\0", not "ab" */
    CHECK_EQ_U64(husk_name_escape("ab", 2, NULL, 0), 2);
    CHECK_EQ_U64(husk_name_escape("ab", 2, out, 1), 2);
    CHECK_STR(out, "");
}

TEST(long_names_are_cut_with_an_ellipsis) {
    char name[300];
    struct name_text text;
    memset(name, 'n', sizeof name);
    CHECK_STR(name_show(&text, name, NAME_TEXT_BYTES - 1) + NAME_TEXT_BYTES - 3, "nn");
    CHECK_STR(name_show(&text, name, sizeof name) + NAME_TEXT_BYTES - 6, "nn…");
    memset(name, 0x1b, sizeof name);
    name_show(&text, name, sizeof name);
    CHECK_STR(text.text + strlen(text.text) - 6, "\\1b…");
}

TEST_MAIN()
