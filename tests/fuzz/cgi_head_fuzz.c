/*
 * Fuzz target: any bytes as the head of what a guest of husk-serve answers. The first byte tells in
 * what pieces they come. The end is found at the same place in whatever pieces; and no status and
 * no header comes out that would break the answer to the client.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cgi_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int is_true) {
    if (!is_true)
        abort();
}

/* As handler_cgi.c finds it: more bytes each time. */
static size_t find_in_pieces(const char *text, size_t count, size_t piece) {
    size_t seen = 0, found = 0;
    for (size_t there = 0; there < count && found == 0;) {
        there = count - there < piece ? count : there + piece;
        found = cgi_head_find(text, there, &seen);
        require(seen <= there);
    }
    return found;
}

static void check_header(const struct header *header) {
    require(header->name[0] != '\0' && strpbrk(header->name, " \t\r\n:\"(),/") == NULL);
    require(strpbrk(header->value, "\r\n") == NULL);
    require(strcasecmp(header->name, "Transfer-Encoding") != 0);
    require(strcasecmp(header->name, "Content-Length") != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    const size_t piece = 1 + data[0] % 16, count = size - 1;
    char *text = malloc(count + 1); /* what sanitizers see the end of */
    require(text != NULL);
    memcpy(text, data + 1, count);
    size_t seen = 0;
    const size_t end = cgi_head_find(text, count, &seen);
    struct cgi_head head;
    require(end <= count && end == find_in_pieces(text, count, piece));
    if (end != 0 && cgi_head_read(&head, text, end) == NULL) {
        require(head.status >= 200 && head.status <= 599);
        require(head.headers_count <= CGI_HEADERS_MAX);
        for (size_t i = 0; i < head.headers_count; i++)
            check_header(&head.headers[i]);
        cgi_head_done(&head);
    }
    free(text);
    return 0;
}
