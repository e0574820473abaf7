/* threads.c: a program built with POSIX threads that has one: atomics, mutexes, condition variables
 * with a time-out, semaphores, thread-local variables; pthread_create() says EAGAIN. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NS 1000000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t table = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_int counter;
static _Atomic long long wide;
static _Thread_local int mine = 5;
static int onces;

static void count_once(void) {
    onces++;
}

static void *run(void *argument) {
    counter = 0;
    return argument;
}

static void count(void) {
    for (int i = 0; i < 99999; i++) {
        pthread_mutex_lock(&lock);
        atomic_fetch_add(&counter, 1);
        atomic_fetch_xor(&wide, (long long)i << 32 | i);
        pthread_mutex_unlock(&lock);
    }
    pthread_once(&once, count_once);
    pthread_once(&once, count_once);
    printf("counter %d, wide %llx, once %d, own %d\n", counter, wide, onces, mine++);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (long long)time.tv_sec * NS + time.tv_nsec;
}

static void wait_a_little(void) {
    const long long end = now() + 30000000;
    const struct timespec until = {.tv_sec = end / NS, .tv_nsec = (long)(end % NS)};
    pthread_mutex_lock(&lock);
    int error = pthread_cond_timedwait(&changed, &lock, &until);
    pthread_mutex_unlock(&lock);
    pthread_cond_signal(&changed);
    pthread_cond_broadcast(&changed);
    printf("wait: %s, %s\n", error == ETIMEDOUT ? "ETIMEDOUT" : strerror(error),
           now() >= end ? "in time" : "early");
}

static void take_turns(void) {
    sem_t turns;
    pthread_rwlock_rdlock(&table);
    pthread_rwlock_unlock(&table);
    pthread_rwlock_wrlock(&table);
    pthread_rwlock_unlock(&table);
    sem_init(&turns, 0, 1);
    sem_wait(&turns);
    int is_taken = sem_trywait(&turns) == -1 && errno == EAGAIN;
    sem_post(&turns);
    printf("semaphore: %d\n", is_taken && sem_trywait(&turns) == 0);
}

int main(void) {
    pthread_t thread;
    count();
    wait_a_little();
    take_turns();
    for (int i = 0; i < 2; i++) {
        int error = pthread_create(&thread, NULL, run, NULL);
        printf("pthread_create: %s\n", error == EAGAIN ? "EAGAIN" : strerror(error));
    }
    char *bytes = malloc(4 << 20);
    memset(bytes, 1, 4 << 20);
    printf("counter %d, own %d, %d\n", counter, mine, bytes[12345]);
    return 3;
}
