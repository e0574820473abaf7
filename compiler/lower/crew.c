/*
 * compiler/lower/crew.c: see crew.h. One crew_run() is a round. It increments the round number, and
 * each thread works once per number.
 */
#include "crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "error.h"

#define THREADS_MAX 64u

struct crew {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[THREADS_MAX];
    uint32_t threads_count, ready_count;
    uint32_t round;
    uint32_t busy_count; /* threads that have not finished this round */
    bool is_over;
    void (*work)(void *arg);
    void *arg;
};

static void *crew_thread(void *arg) {
    struct crew *crew = arg;
    pthread_mutex_lock(&crew->lock);
    crew->ready_count++;
    pthread_cond_broadcast(&crew->changed);
    for (uint32_t done_round = 0;;) {
        while (!crew->is_over && crew->round == done_round)
            pthread_cond_wait(&crew->changed, &crew->lock);
        if (crew->is_over)
            break;
        done_round = crew->round;
        pthread_mutex_unlock(&crew->lock);
        crew->work(crew->arg);
        pthread_mutex_lock(&crew->lock);
        if (--crew->busy_count == 0)
            pthread_cond_broadcast(&crew->changed);
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

/* EAGAIN means both: no address space for the stack, and no thread more. */
static bool has_room_for_stack(void) {
    void *stack =
        mmap(NULL, CREW_STACK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED)
        return false;
    munmap(stack, CREW_STACK_BYTES);
    return true;
}

static int no_thread(int number, struct husk_error *err) {
    if (number == EAGAIN && has_room_for_stack())
        return error_set(err, HUSK_E_LIMIT,
                         "cannot start a compiler thread: this user, or the container, has as many "
                         "processes and threads as it may (ulimit -u; pids.max of the cgroup)");
    return error_sys(err, number, "cannot start a compiler thread");
}

int crew_new(uint32_t wanted, struct crew **ret_crew, struct husk_error *err) {
    struct crew *crew = calloc(1, sizeof *crew);
    if (crew == NULL)
        return error_set(err, HUSK_E_NOMEM, "out of memory");
    pthread_attr_t attributes;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, CREW_STACK_BYTES);
    int failed = 0;
    do {
        failed =
            pthread_create(&crew->threads[crew->threads_count], &attributes, crew_thread, crew);
        crew->threads_count += failed == 0;
    } while (failed == 0 && crew->threads_count < wanted && crew->threads_count < THREADS_MAX);
    pthread_attr_destroy(&attributes);
    if (crew->threads_count == 0) {
        crew_free(crew);
        return no_thread(failed, err);
    }
    pthread_mutex_lock(&crew->lock);
    /* What a thread does to start may not be allowed later. */
    while (crew->ready_count < crew->threads_count)
        pthread_cond_wait(&crew->changed, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
    *ret_crew = crew;
    return 0;
}

void crew_run(struct crew *crew, void (*work)(void *arg), void *arg) {
    pthread_mutex_lock(&crew->lock);
    crew->work = work;
    crew->arg = arg;
    crew->busy_count = crew->threads_count;
    crew->round++;
    pthread_cond_broadcast(&crew->changed);
    while (crew->busy_count > 0)
        pthread_cond_wait(&crew->changed, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

void crew_free(struct crew *crew) {
    if (crew == NULL)
        return;
    pthread_mutex_lock(&crew->lock);
    crew->is_over = true;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    for (uint32_t i = 0; i < crew->threads_count; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}
