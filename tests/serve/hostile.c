/*
 * A guest that does what a server must survive, by the path of the request. What it says has the
 * query in it, so that a test can see whose answer it got.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fcntl.h>

static const char *query;
static char secret[65536]; /* zeros, or somebody else's */

static void head(const char *more) {
    printf("Content-Type: text/plain\n%s\n", more);
}

static int initialised;

__attribute__((export_name("wizer.initialize"))) void initialise(void) {
    initialised++;
}

static int all_zeros(void) {
    for (size_t i = 0; i < sizeof secret; i++)
        if (secret[i] != 0)
            return 0;
    return 1;
}

/* Whose is it? And is anything of the one before still here? */
static int canary(void) {
    const char *is_clean = all_zeros() ? "clean" : secret;
    struct stat st;
    if (stat("/tmp/left", &st) == 0)
        is_clean = "a file was left";
    head("");
    printf("canary %s %s\n", query, is_clean);
    memset(secret, 'x', sizeof secret - 1);
    snprintf(secret, sizeof secret, "secret of %s", query);
    FILE *file = fopen("/tmp/left", "w");
    if (file != NULL) {
        fprintf(file, "%s", query);
        fclose(file);
    }
    return 0;
}

static int trap(void) {
    __builtin_trap();
}

static int late_trap(void) {
    head("");
    for (int i = 0; i < 20000; i++)
        printf("line %d of %s\n", i, query);
    fflush(stdout);
    __builtin_trap();
}

static int loop(void) {
    for (volatile int i = 0;; i++)
        ;
}

static int hog(void) {
    size_t count = 0;
    char *volatile block; /* volatile: clang would see that nobody reads it */
    while ((block = malloc(1 << 20)) != NULL) {
        memset(block, 0x55, 1 << 20);
        count++;
    }
    head("");
    printf("hog %s %s\n", query, count > 0 ? "some" : "none");
    return 0;
}

static int recurse(int depth) {
    volatile char room[4096];
    room[depth & 4095] = (char)depth;
    return recurse(depth + 1) + room[0];
}

static int flood(void) {
    static char line[4096];
    memset(line, 'f', sizeof line);
    head("");
    for (;;)
        if (fwrite(line, 1, sizeof line, stdout) == 0)
            return 1;
}

static int large(void) {
    size_t count = strtoul(query, NULL, 10);
    head("");
    for (size_t i = 0; i < count; i++)
        putchar("0123456789abcdef"[i & 15]);
    return 0;
}

static int log_flood(void) {
    for (int i = 0; i < 3000; i++)
        fprintf(stderr, "log line %d \033[31m of %s\n", i, query);
    head("");
    printf("logged %s\n", query);
    return 0;
}

static int echo(void) {
    static char piece[8192];
    size_t got;
    head("");
    while ((got = fread(piece, 1, sizeof piece, stdin)) > 0)
        fwrite(piece, 1, got, stdout);
    return 0;
}

static int drip(void) { /* says something now, and something later */
    head("");
    printf("first %s\n", query);
    fflush(stdout);
    usleep(700000);
    printf("second %s\n", query);
    return 0;
}

static int nap(void) {
    usleep((useconds_t)strtoul(query, NULL, 10) * 1000);
    head("");
    printf("napped %s\n", query);
    return 0;
}

/* Answers that are none. */
static int bad(void) {
    static const struct {
        const char *name, *text;
    } answers[] = {{"none", ""},
                   {"nothead", "just text\n"},
                   {"emptyhead", "\nbody\n"},
                   {"nohead", "Content-Type: text/plain\n"},
                   {"status", "Status: 99\n\n"},
                   {"status1", "Status: 101 Switching\n\n"},
                   {"control", "X-A: a\rb\nContent-Type: text/plain\n\n"},
                   {"fold", "X-A: a\n b\n\n"},
                   {"lengths", "Content-Length: 1\nContent-Length: 2\n\nab"},
                   {"short", "Content-Length: 10\n\nabc"},
                   {"long", "Content-Length: 2\n\nabcdef"},
                   {"name", "X A: b\n\n"}};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        if (strcmp(query, answers[i].name) == 0)
            fputs(answers[i].text, stdout);
    if (strcmp(query, "nul") == 0)
        fwrite("X-A: a\0b\n\n", 1, 10, stdout);
    if (strcmp(query, "huge") == 0)
        for (int i = 0; i < 100000; i++)
            printf("X-%d: y\n", i);
    return 0;
}

static int good_heads(void) {
    if (strcmp(query, "redirect") == 0)
        fputs("Location: http://example.org/\n\n", stdout);
    else if (strcmp(query, "line") == 0)
        fputs("HTTP/1.1 203 Fine\r\nContent-Type: a/b\r\n\r\nok\n", stdout);
    else if (strcmp(query, "empty") == 0)
        fputs("Status: 204\n\n", stdout);
    else if (strcmp(query, "unchanged") == 0)
        fputs("Status: 304\nContent-Length: 17\nX-Empty:\n\n", stdout);
    else if (strcmp(query, "reset") == 0)
        fputs("Status: 205\n\nbody", stdout);
    else if (strcmp(query, "own") == 0)
        fputs("Content-Type: a/b\nConnection: upgrade\nTransfer-Encoding: x\nX-Kept: yes\n"
              "Set-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 3\n\nabc",
              stdout);
    return 0;
}

static int code(void) {
    if (strchr(query, 'a') != NULL) {
        head("");
        printf("answer %s\n", query);
    }
    fflush(stdout);
    exit(3);
}

static int environment(void) {
    extern char **environ;
    head("");
    for (char **row = environ; *row != NULL; row++)
        puts(*row);
    return 0;
}

static int close_all(void) {
    head("");
    printf("closed %s\n", query);
    fflush(stdout);
    for (int fd = 0; fd < 16; fd++)
        close(fd);
    return 0;
}

static int show_initialised(void) {
    head("");
    printf("initialised %d\n", initialised);
    return 0;
}

static int read_none(void) {
    head("");
    printf("read none %s\n", query);
    return 0;
}

/* For --until stdin: the whole request is there. */
static int stand(void) {
    static char text[65536];
    static int starts;
    starts++;
    fprintf(stderr, "a start\n");
    const size_t count = fread(text, 1, sizeof text - 1, stdin);
    head("");
    printf("start %d\n%.*s", starts, (int)count, text);
    return 0;
}

int main(int argc, char **argv) {
    static const struct {
        const char *path;
        int (*run)(void);
    } rows[] = {{"/canary", canary},
                {"/trap", trap},
                {"/late", late_trap},
                {"/loop", loop},
                {"/hog", hog},
                {"/flood", flood},
                {"/large", large},
                {"/log", log_flood},
                {"/echo", echo},
                {"/drip", drip},
                {"/nap", nap},
                {"/bad", bad},
                {"/good", good_heads},
                {"/code", code},
                {"/environment", environment},
                {"/close", close_all},
                {"/initialised", show_initialised},
                {"/none", read_none}};
    const char *path = getenv("PATH_INFO");
    query = getenv("QUERY_STRING");
    if (argc > 1 && strcmp(argv[1], "stand") == 0)
        return stand();
    if (path == NULL || query == NULL)
        return 9;
    if (strcmp(path, "/recurse") == 0)
        return recurse(0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(path, rows[i].path) == 0)
            return rows[i].run();
    printf("Status: 404\nContent-Type: text/plain\n\nno %s\n", path);
    return 0;
}
