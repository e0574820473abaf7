/*
 * A program that answers a request by CGI: the request is in its environment and on standard input,
 * its answer goes to standard output: lines of the head, an empty line, the body.
 *
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -O2 -g -c cgi.c
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated cgi.o -o cgi.wasm
 *   husk serve cgi.wasm
 *   curl 'http://127.0.0.1:8080/greet?you'        curl -d 'some text' http://127.0.0.1:8080/upper
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value != NULL ? value : "";
}

static int visits; /* each request finds 0 here, whatever the one before it did */

static int greet(void) {
    const char *who = variable("QUERY_STRING");
    printf("Content-Type: text/plain\n\nHello, %s! This is visit %d.\n",
           who[0] != '\0' ? who : "world", ++visits);
    return 0;
}

/* Piece by piece: neither the request nor the answer has to fit into memory. */
static int upper(void) {
    char piece[4096];
    size_t got;
    printf("Content-Type: text/plain\n\n");
    while ((got = fread(piece, 1, sizeof piece, stdin)) > 0) {
        for (size_t i = 0; i < got; i++)
            piece[i] = (char)toupper((unsigned char)piece[i]);
        fwrite(piece, 1, got, stdout);
    }
    return 0;
}

static int show_environment(void) {
    extern char **environ;
    printf("Content-Type: text/plain\n\n");
    for (char **row = environ; *row != NULL; row++)
        printf("%s\n", *row);
    return 0;
}

int main(void) {
    const char *path = variable("PATH_INFO");
    if (strcmp(path, "/") == 0 || strcmp(path, "/greet") == 0)
        return greet();
    if (strcmp(path, "/upper") == 0)
        return upper();
    if (strcmp(path, "/environment") == 0)
        return show_environment();
    printf("Status: 404 Not Found\nContent-Type: text/plain\n\nThere is no %s\n", path);
    return 0;
}
