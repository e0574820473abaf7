/*
 * tests/serve/serve_client.c: clients that a test of husk serve needs, and curl is not.
 *
 *   client load PORT CONNECTIONS SECONDS [good]   many connections at once, each with good and
 *       hostile requests in any order; every answer is checked: whose is it, and is it whole
 *   client raw PORT half|hold|drop MS   sends standard input, a byte each MS (0: at once); then
 *       closes its half, or not, or all of it at once; prints what comes back until the end
 *   client silent PORT COUNT SECONDS   opens connections, and says nothing
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define ANSWER_MAX_BYTES (1u << 20)
#define LATENCIES_MAX 4000000u

static struct {
    uint16_t port;
    bool is_good_only;
    uint64_t until_ns;
    pthread_mutex_t lock;
    uint64_t counts[8], wrong, refused, lost, ended;
    uint32_t *latencies_us;
    uint64_t latencies_count;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int connect_to(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct timeval limit = {.tv_sec = 30};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool send_all(int fd, const char *at, size_t count) {
    while (count > 0) {
        const ssize_t done = send(fd, at, count, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        at += done;
        count -= (size_t)done;
    }
    return true;
}

/* ---- load ---- */

enum wish { WISH_CANARY, WISH_ECHO, WISH_NAP, WISH_TRAP, WISH_LOOP, WISH_HOG, WISH_FLOOD, WISHES };
static const char *const wish_names[WISHES] = {"canary", "echo", "nap",  "trap",
                                               "loop",   "hog",  "flood"};

struct talk {
    int fd;
    uint64_t seed, id;
    char *answer; /* head and body, ANSWER_MAX_BYTES + 1 */
    size_t count;
    unsigned status;
    bool is_whole, must_close;
    char *body;
    size_t body_count;
};

static uint64_t next_random(struct talk *talk) { /* xorshift64 */
    talk->seed ^= talk->seed << 13;
    talk->seed ^= talk->seed >> 7;
    talk->seed ^= talk->seed << 17;
    return talk->seed;
}

/* Out of the chunks, in place. False: they do not end. */
static bool join_chunks(struct talk *talk) {
    char *from = talk->body, *to = talk->body, *end = talk->answer + talk->count;
    for (;;) {
        char *line_end = memmem(from, (size_t)(end - from), "\r\n", 2);
        if (line_end == NULL)
            return false;
        const size_t count = strtoul(from, NULL, 16);
        from = line_end + 2;
        if (count == 0)
            break;
        if ((size_t)(end - from) < count + 2)
            return false;
        memmove(to, from, count);
        to += count;
        from += count + 2;
    }
    talk->body_count = (size_t)(to - talk->body);
    return end - from >= 2;
}

/* Is all of the answer there? */
static bool is_complete(struct talk *talk) {
    talk->answer[talk->count] = '\0';
    char *blank = strstr(talk->answer, "\r\n\r\n");
    if (blank == NULL)
        return false;
    const char *length = strcasestr(talk->answer, "\r\nContent-Length:");
    talk->body = blank + 4;
    talk->body_count = talk->count - (size_t)(talk->body - talk->answer);
    if (length != NULL && length < blank)
        return talk->body_count >= strtoul(length + 17, NULL, 10);
    const size_t tail = 5;
    return talk->body_count >= tail &&
           memcmp(talk->answer + talk->count - tail, "0\r\n\r\n", tail) == 0 && join_chunks(talk);
}

/* False: the connection ended before anything came. */
static bool receive(struct talk *talk) {
    talk->count = 0;
    talk->is_whole = talk->must_close = false;
    while (!talk->is_whole && talk->count < ANSWER_MAX_BYTES) {
        const ssize_t got =
            recv(talk->fd, talk->answer + talk->count, ANSWER_MAX_BYTES - talk->count, 0);
        if (got <= 0)
            break;
        talk->count += (size_t)got;
        talk->is_whole = is_complete(talk);
    }
    talk->answer[talk->count] = '\0';
    talk->status = talk->count > 12 ? (unsigned)strtoul(talk->answer + 9, NULL, 10) : 0;
    talk->must_close = !talk->is_whole || strcasestr(talk->answer, "\r\nConnection: close") != NULL;
    return talk->count != 0;
}

static enum wish choose(struct talk *talk) {
    const unsigned number = (unsigned)(next_random(talk) % 1000);
    if (all.is_good_only)
        return number < 900 ? WISH_CANARY : WISH_ECHO;
    return number < 600   ? WISH_CANARY
           : number < 800 ? WISH_ECHO
           : number < 850 ? WISH_NAP
           : number < 920 ? WISH_TRAP
           : number < 940 ? WISH_HOG
           : number < 990 ? WISH_FLOOD
                          : WISH_LOOP;
}

static bool ask(struct talk *talk, enum wish wish) {
    char text[512], body[64];
    const int body_count = wish == WISH_ECHO ? snprintf(body, sizeof body, "body of %016llx",
                                                        (unsigned long long)talk->id)
                                             : 0;
    char query[64];
    snprintf(query, sizeof query, wish == WISH_NAP ? "5" : "%016llx", (unsigned long long)talk->id);
    const int count = snprintf(text, sizeof text,
                               "%s /%s?%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
                               "%.*s",
                               body_count != 0 ? "POST" : "GET", wish_names[wish], query,
                               body_count, body_count, body);
    return send_all(talk->fd, text, (size_t)count);
}

static bool body_is(const struct talk *talk, const char *format) {
    char text[128];
    const int count = snprintf(text, sizeof text, format, (unsigned long long)talk->id);
    return talk->is_whole && talk->body_count == (size_t)count &&
           memcmp(talk->body, text, (size_t)count) == 0;
}

static bool is_right(const struct talk *talk, enum wish wish) {
    switch (wish) {
    case WISH_CANARY: return talk->status == 200 && body_is(talk, "canary %016llx clean\n");
    case WISH_ECHO: return talk->status == 200 && body_is(talk, "body of %016llx");
    case WISH_NAP: return talk->status == 200 && body_is(talk, "napped 5\n");
    case WISH_TRAP: return talk->status == 500 && talk->is_whole;
    case WISH_LOOP: return talk->status == 504 && talk->is_whole;
    case WISH_HOG: /* on a machine that is busy it takes its time */
        return (talk->status == 200 && body_is(talk, "hog %016llx some\n")) ||
               (talk->status == 504 && talk->is_whole);
    case WISH_FLOOD: /* cut, or refused if it was soon */
        return (talk->status == 200 && !talk->is_whole) || (talk->status == 502 && talk->is_whole);
    case WISHES: break;
    }
    return false;
}

static void count_answer(struct talk *talk, enum wish wish, uint64_t took_ns) {
    pthread_mutex_lock(&all.lock);
    all.counts[wish]++;
    if (talk->status == 503 && talk->is_whole)
        all.refused++;
    else if (!is_right(talk, wish) && all.wrong++ < 5)
        printf("wrong: %s of %016llx: %.200s\n", wish_names[wish], (unsigned long long)talk->id,
               talk->answer);
    if (all.latencies_count < LATENCIES_MAX)
        all.latencies_us[all.latencies_count++] = (uint32_t)(took_ns / 1000);
    pthread_mutex_unlock(&all.lock);
}

/* One request on the connection. False: the connection has ended. */
static bool talk_once(struct talk *talk) {
    const enum wish wish = choose(talk);
    const uint64_t begin_ns = now_ns();
    talk->id = next_random(talk);
    if (!ask(talk, wish) || !receive(talk)) {
        pthread_mutex_lock(&all.lock);
        all.lost++;
        pthread_mutex_unlock(&all.lock);
        return false;
    }
    count_answer(talk, wish, now_ns() - begin_ns);
    return !talk->must_close;
}

static void *talk_long(void *user) {
    struct talk talk = {.fd = -1, .seed = (uint64_t)(uintptr_t)user * 0x9e3779b97f4a7c15u + 1};
    talk.answer = malloc(ANSWER_MAX_BYTES + 1);
    while (talk.answer != NULL && now_ns() < all.until_ns) {
        if (talk.fd < 0 && (talk.fd = connect_to(all.port)) < 0) {
            pthread_mutex_lock(&all.lock);
            all.ended++;
            pthread_mutex_unlock(&all.lock);
            break; /* nobody listens any more */
        }
        if (talk_once(&talk))
            continue;
        close(talk.fd);
        talk.fd = -1;
    }
    if (talk.fd >= 0)
        close(talk.fd);
    free(talk.answer);
    return NULL;
}

static int compare(const void *a, const void *b) {
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static int load(int argc, char **argv) {
    static pthread_t threads[CONNECTIONS_MAX];
    const size_t connections = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
    if (argc < 5 || connections == 0 || connections > CONNECTIONS_MAX)
        return 2;
    all.until_ns = now_ns() + strtoul(argv[4], NULL, 10) * 1000000000u;
    all.is_good_only = argc > 5;
    all.latencies_us = calloc(LATENCIES_MAX, sizeof *all.latencies_us);
    if (all.latencies_us == NULL)
        return 2;
    for (size_t i = 0; i < connections; i++)
        if (pthread_create(&threads[i], NULL, talk_long, (void *)(uintptr_t)(i + 1)) != 0)
            return 2;
    for (size_t i = 0; i < connections; i++)
        pthread_join(threads[i], NULL);
    qsort(all.latencies_us, all.latencies_count, sizeof *all.latencies_us, compare);
    for (int i = 0; i < WISHES; i++)
        printf("%s %llu ", wish_names[i], (unsigned long long)all.counts[i]);
    printf("wrong %llu refused %llu lost %llu ended %llu", (unsigned long long)all.wrong,
           (unsigned long long)all.refused, (unsigned long long)all.lost,
           (unsigned long long)all.ended);
    if (all.latencies_count != 0)
        printf(" p50_us %u p99_us %u", all.latencies_us[all.latencies_count / 2],
               all.latencies_us[all.latencies_count * 99 / 100]);
    putchar('\n');
    free(all.latencies_us);
    return all.wrong != 0;
}

/* ---- raw, silent ---- */

static int raw(int argc, char **argv) {
    static char text[1 << 20], piece[65536];
    const unsigned delay_ms = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
    const char *how = argc > 3 ? argv[3] : "half";
    const size_t count = fread(text, 1, sizeof text, stdin);
    const int fd = connect_to(all.port);
    ssize_t got;
    if (fd < 0)
        return 1;
    for (size_t at = 0; at < count && delay_ms != 0; at++) {
        if (!send_all(fd, text + at, 1))
            break;
        usleep(delay_ms * 1000);
    }
    if (delay_ms == 0)
        (void)send_all(fd, text, count);
    if (strcmp(how, "drop") == 0) {
        usleep(200000);
        close(fd);
        return 0;
    }
    if (strcmp(how, "half") == 0)
        (void)shutdown(fd, SHUT_WR);
    while ((got = recv(fd, piece, sizeof piece, 0)) > 0)
        fwrite(piece, 1, (size_t)got, stdout);
    close(fd);
    return 0;
}

static int silent(int argc, char **argv) {
    const unsigned long count = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    for (unsigned long i = 0; i < count; i++)
        if (connect_to(all.port) < 0) {
            fprintf(stderr, "connection %lu: %s\n", i, strerror(errno));
            return 1;
        }
    puts("open");
    fflush(stdout);
    sleep(argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1);
    return 0;
}

int main(int argc, char **argv) {
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 3)
        return 2;
    all.port = (uint16_t)strtoul(argv[2], NULL, 10);
    if (strcmp(argv[1], "load") == 0)
        return load(argc, argv);
    if (strcmp(argv[1], "raw") == 0)
        return raw(argc, argv);
    return strcmp(argv[1], "silent") == 0 ? silent(argc, argv) : 2;
}
