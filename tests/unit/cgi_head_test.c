/*
 * The head of a guest's answer by CGI: what is taken, what is refused, in whatever pieces it comes;
 * and that no head, however it is made, gives a header or a status that would break an answer.
 */
#include "cgi_head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "byte_queue.h"
#include "harness.h"

#define PIECES_ROUNDS 200
#define RANDOM_ROUNDS 200000

static const char *read_text(struct cgi_head *head, const char *text) {
    size_t seen = 0;
    const size_t count = cgi_head_find(text, strlen(text), &seen);
    CHECK_MSG(count != 0, "no end was found in: %s", text);
    return cgi_head_read(head, text, count);
}

TEST(takes_what_cgi_has) {
    static const struct {
        const char *text;
        unsigned status;
        size_t headers;
        uint64_t length;
    } rows[] = {{"Content-Type: a/b\n\nbody", 200, 1, CGI_NO_LENGTH},
                {"Content-Type:a/b\r\n\r\n", 200, 1, CGI_NO_LENGTH},
                {"Status: 404 Not Found\n\n", 404, 0, CGI_NO_LENGTH},
                {"status: 599\nX: y\n\n", 599, 1, CGI_NO_LENGTH},
                {"Location: /x\n\n", 302, 1, CGI_NO_LENGTH},
                {"Location: /x\nStatus: 201\n\n", 201, 1, CGI_NO_LENGTH},
                {"HTTP/1.1 203 Fine\r\nA: b\r\n\r\n", 203, 1, CGI_NO_LENGTH},
                {"Content-Length: 0\nConnection: close\nUpgrade: x\n\n", 200, 0, 0},
                {"CONTENT-LENGTH:  123456789012345678 \n\n", 200, 0, 123456789012345678u},
                {"X:\nX:\t a \t\n\n", 200, 2, CGI_NO_LENGTH}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cgi_head head;
        const char *why = read_text(&head, rows[i].text);
        CHECK_MSG(why == NULL, "%s: %s", rows[i].text, why);
        CHECK_EQ_U64(head.status, rows[i].status);
        CHECK_EQ_U64(head.headers_count, rows[i].headers);
        CHECK_EQ_U64(head.content_length, rows[i].length);
        cgi_head_done(&head);
    }
}

TEST(refuses_the_rest) {
    static const char *const texts[] = {"\n",
                                        "\r\n",
                                        "no colon\n\n",
                                        "A : b\n\n",
                                        ": b\n\n",
                                        "A: b\n c\n\n",
                                        "A: b\rc\n\n",
                                        "A: \x01\n\n",
                                        "A: \x7f\n\n",
                                        "Status: 99\n\n",
                                        "Status: 101\n\n",
                                        "Status: 600\n\n",
                                        "Status: 200x\n\n",
                                        "Status: 200\nStatus: 201\n\n",
                                        "Status:\n\n",
                                        "Content-Length: 1\nContent-Length: 1\n\n",
                                        "Content-Length: -1\n\n",
                                        "Content-Length: 1 2\n\n",
                                        "Content-Length: 1234567890123456789\n\n",
                                        "HTTP/1.1\n\n",
                                        "HTTP/1.1 20\n\n",
                                        "A: b\nHTTP/1.1 200 OK\n\n",
                                        "HTTP/1.1 200 OK\nStatus: 200\n\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct cgi_head head;
        CHECK_MSG(read_text(&head, texts[i]) != NULL, "taken: %s", texts[i]);
    }
    struct cgi_head head;
    CHECK(cgi_head_read(&head, "A: b\0c\n\n", 8) != NULL);
    char many[CGI_HEADERS_MAX * 8 + 32] = "";
    for (unsigned i = 0; i <= CGI_HEADERS_MAX; i++)
        strcat(many, "A: b\n");
    strcat(many, "\n");
    CHECK(read_text(&head, many) != NULL);
}

/* In pieces of any size, the end is found where it is. */
TEST(finds_the_end_in_pieces) {
    static const char text[] = "Content-Type: a/b\r\nX: y\n\r\nbody\n\n";
    const size_t end = (size_t)(strstr(text, "body") - text);
    srand(1);
    for (int round = 0; round < PIECES_ROUNDS; round++) {
        struct bytes bytes = {0};
        size_t seen = 0, at = 0, found = 0;
        while (found == 0) {
            size_t piece = (size_t)rand() % 4 + 1;
            if (piece > sizeof text - 1 - at)
                piece = sizeof text - 1 - at;
            CHECK(bytes_put(&bytes, text + at, piece));
            at += piece;
            found = cgi_head_find(bytes_front(&bytes), bytes.count, &seen);
        }
        CHECK_EQ_U64(found, end);
        bytes_done(&bytes);
    }
}

static void check_header(const struct header *header) {
    CHECK(header->name[0] != '\0' && strpbrk(header->name, " \t\r\n:\"(),/") == NULL);
    CHECK(strpbrk(header->value, "\r\n") == NULL);
    CHECK(strcasecmp(header->name, "Transfer-Encoding") != 0);
    CHECK(strcasecmp(header->name, "Content-Length") != 0);
}

TEST(nothing_harmful_comes_out) {
    static const char *const parts[] = {
        "A: b",   "\n",   "\r\n", "\r", ":",   " ",           "Status: 2", "00",
        "HTTP/1", ".1 2", "\t",   "X",  "\0z", "Content-Len", "gth: 5",    "Transfer-Encoding: x"};
    size_t good = 0;
    srand(2);
    for (int round = 0; round < RANDOM_ROUNDS; round++) {
        char text[256];
        size_t count = 0, seen = 0;
        for (int i = rand() % 12; i >= 0; i--) {
            const char *part = parts[(size_t)rand() % (sizeof parts / sizeof parts[0])];
            const size_t bytes = part[0] != '\0' ? strlen(part) : 2;
            memcpy(text + count, part, bytes);
            count += bytes;
        }
        struct cgi_head head;
        const size_t end = cgi_head_find(text, count, &seen);
        CHECK(end <= count);
        if (end == 0 || cgi_head_read(&head, text, end) != NULL)
            continue;
        good++;
        CHECK(head.status >= 200 && head.status <= 599);
        for (size_t i = 0; i < head.headers_count; i++)
            check_header(&head.headers[i]);
        cgi_head_done(&head);
    }
    CHECK_MSG(good > 1000, "only %zu heads were good", good);
}

TEST(a_queue_keeps_its_bytes_in_order) {
    struct bytes bytes = {0};
    unsigned char in = 0, out = 0, piece[600];
    srand(3);
    for (int round = 0; round < 20000; round++) {
        size_t count = (size_t)rand() % sizeof piece;
        if (rand() % 2 == 0) {
            for (size_t i = 0; i < count; i++)
                piece[i] = in++;
            CHECK(bytes_put(&bytes, piece, count));
        } else {
            const size_t there = bytes.count;
            const size_t got = bytes_take(&bytes, piece, count);
            CHECK_EQ_U64(got, there < count ? there : count);
            for (size_t i = 0; i < got; i++)
                CHECK_EQ_U64(piece[i], out++);
        }
    }
    bytes_done(&bytes);
    CHECK_EQ_U64(bytes.count, 0);
    CHECK_STR(bytes_front(&bytes), "");
}

TEST_MAIN()
