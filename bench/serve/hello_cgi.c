/*
 * The smallest program by CGI. bench/serve/run compiles it for wasm and natively, and serves both.
 */
#include <stdio.h>

int main(void) {
    fputs("Content-Type: text/plain\n\nhello, world\n", stdout);
    return 0;
}
