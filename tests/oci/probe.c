/*
 * tests/oci/probe.c: a program that is run in containers, and does what its words say, one after
 * the other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void print_file(const char *path) {
    char text[256];
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    while (fgets(text, sizeof text, file) != NULL)
        fputs(text, stdout);
    fclose(file);
}

static void write_file(const char *path) {
    FILE *file = fopen(path, "w");
    if (file == NULL || fputs("written\n", file) < 0 || fclose(file) != 0)
        printf("%s: %s\n", path, strerror(errno));
    else
        printf("%s: written\n", path);
}

/* All memory that there is, touched; then a trap. */
static void take_memory(void) {
    size_t taken = 0;
    volatile char *page;
    while ((page = malloc(65536)) != NULL) {
        for (size_t i = 0; i < 65536; i += 512)
            page[i] = 1;
        taken += 65536;
    }
    printf("took %zu MiB\n", taken >> 20);
    fflush(stdout);
    abort();
}

static void wait_ms(long ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void print_env(void) {
    for (char **row = environ; *row != NULL; row++)
        puts(*row);
}

static void print_input(void) {
    char line[256];
    if (fgets(line, sizeof line, stdin) != NULL)
        printf("read: %s", line);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *next = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(word, "args") == 0)
            for (int j = 0; j < argc; j++)
                puts(argv[j]);
        else if (strcmp(word, "env") == 0)
            print_env();
        else if (strcmp(word, "cat") == 0)
            print_file(next);
        else if (strcmp(word, "write") == 0)
            write_file(next);
        else if (strcmp(word, "memory") == 0)
            take_memory();
        else if (strcmp(word, "trap") == 0)
            abort();
        else if (strcmp(word, "sleep") == 0)
            wait_ms(atol(next));
        else if (strcmp(word, "read") == 0)
            print_input();
        else if (strcmp(word, "tty") == 0)
            puts(isatty(0) && isatty(1) ? "a terminal" : "no terminal");
        else if (strcmp(word, "spin") == 0)
            for (volatile unsigned turns = 0;; turns++)
                ;
        else if (strcmp(word, "exit") == 0)
            return atoi(next);
        fflush(stdout);
    }
    return 0;
}
