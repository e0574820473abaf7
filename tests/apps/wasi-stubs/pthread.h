/*
 * tests/apps/wasi-stubs/pthread.h: once-functions and thread-specific values, for programs of one
 * thread. wasi-libc without threads has none.
 */
#ifndef APP_STUBS_PTHREAD_H
#define APP_STUBS_PTHREAD_H

#define PTHREAD_ONCE_INIT 0

typedef int pthread_once_t;
typedef unsigned pthread_key_t;

int pthread_once(pthread_once_t *once, void (*function)(void));
int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)); /* which never runs */
int pthread_setspecific(pthread_key_t key, const void *value);
void *pthread_getspecific(pthread_key_t key);

#endif
