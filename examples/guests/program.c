/*
 * A program in C for WASI that does what a command-line tool does: arguments, environment, standard
 * streams, exit code. It also fails in a few ways on purpose. Tests of the husk command use it.
 *
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated -O2 -g -c program.c
 *   clang --target=wasm32-wasi --sysroot=/usr -Wno-deprecated program.o -o program.wasm
 *   husk run program.wasm args a b
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int show_args(int argc, char **argv) {
    for (int i = 0; i < argc; i++)
        printf("%d: %s\n", i, argv[i]);
    return 0;
}

static int show_env(const char *name) {
    const char *value = getenv(name);
    printf("%s=%s\n", name, value != NULL ? value : "(not set)");
    return 0;
}

static int copy_input(void) {
    char buffer[4096];
    size_t got;
    while ((got = fread(buffer, 1, sizeof buffer, stdin)) > 0)
        if (fwrite(buffer, 1, got, stdout) != got)
            return 3;
    return fflush(stdout) == 0 ? 0 : 3;
}

static int count_input(void) {
    size_t bytes = 0, lines = 0, words = 0;
    int is_word = 0, c;
    while ((c = getchar()) != EOF) {
        int is_blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        bytes++;
        lines += c == '\n';
        words += !is_blank && !is_word;
        is_word = !is_blank;
    }
    printf("%zu lines, %zu words, %zu bytes\n", lines, words, bytes);
    return 0;
}

__attribute__((noinline)) static int recurse(volatile int *depth) {
    volatile char frame[256];
    frame[0] = (char)++*depth;
    return recurse(depth) + frame[0];
}

__attribute__((noinline)) static int wild_read(unsigned long address) {
    return *(volatile int *)address;
}

__attribute__((noinline)) static int divide(int a, volatile int b) {
    return a / b;
}

static int fail_as_told(const char *how) {
    if (strcmp(how, "read") == 0)
        return wild_read(0xfffffff0);
    if (strcmp(how, "divide") == 0)
        return divide(1000, 0);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "recurse") == 0) {
        volatile int depth = 0;
        return recurse(&depth);
    }
    if (strcmp(how, "spin") == 0)
        for (volatile unsigned i = 0;; i++)
            ;
    fprintf(stderr, "cannot fail by '%s'\n", how);
    return 2;
}

static int sleep_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return nanosleep(&time, NULL) == 0 ? 0 : 4;
}

static void print_time(char end) {
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    printf("%lld.%03ld%c", (long long)now.tv_sec, now.tv_nsec / 1000000, end);
}

/* Now, again, and a second later. */
static int show_time(void) {
    print_time(' ');
    print_time(' ');
    if (sleep_ms(1000) != 0)
        return 4;
    print_time('\n');
    return 0;
}

static int show_random(void) {
    unsigned long long number = 0;
    if (getentropy(&number, sizeof number) != 0)
        return 7;
    return printf("%016llx\n", number) < 0;
}

static int open_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL)
        perror(path);
    return file != NULL ? 0 : 5;
}

/* Lines until the reader is gone. */
static int write_forever(void) {
    while (puts("y") >= 0)
        ;
    perror("stdout");
    return 6;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "hello";
    const char *arg = argc > 2 ? argv[2] : "";
    if (strcmp(what, "hello") == 0)
        return puts("hello, world") < 0;
    if (strcmp(what, "args") == 0)
        return show_args(argc, argv);
    if (strcmp(what, "env") == 0)
        return show_env(arg);
    if (strcmp(what, "cat") == 0)
        return copy_input();
    if (strcmp(what, "count") == 0)
        return count_input();
    if (strcmp(what, "exit") == 0)
        return atoi(arg);
    if (strcmp(what, "stderr") == 0)
        return fputs("to stderr\n", stderr) < 0;
    if (strcmp(what, "fail") == 0)
        return fail_as_told(arg);
    if (strcmp(what, "sleep") == 0)
        return sleep_ms(atol(arg));
    if (strcmp(what, "time") == 0)
        return show_time();
    if (strcmp(what, "random") == 0)
        return show_random();
    if (strcmp(what, "open") == 0)
        return open_file(arg);
    if (strcmp(what, "tty") == 0)
        return printf("%d%d%d\n", isatty(0), isatty(1), isatty(2)) < 0;
    if (strcmp(what, "yes") == 0)
        return write_forever();
    fprintf(stderr, "program: what is '%s'?\n", what);
    return 2;
}
