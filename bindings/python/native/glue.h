/*
 * native/glue.h: the few functions between libhusk and Python that are better in C. Part of
 * husk._native.
 */
#ifndef HUSK_PY_GLUE_H
#define HUSK_PY_GLUE_H

#include <stdatomic.h>
#include <stdlib.h>

#include "husk.h"

static void husk_py_log_line(void *user, enum husk_log_level level, const char *message);
static void husk_py_passed_call(void *user);

/* Set when the interpreter ends: a thread of the library that entered Python then would never come
 * back, and might hold a lock of the engine. */
static atomic_bool husk_py_has_ended;

static void husk_py_end(void) {
    atomic_store(&husk_py_has_ended, true);
}

/* husk_engine_options.log: called from any thread. */
static void husk_py_log(void *user, enum husk_log_level level, const char *message) {
    if (!atomic_load(&husk_py_has_ended))
        husk_py_log_line(user, level, message);
}

/* husk_limits.passed: called from a thread of the library. */
static void husk_py_passed(void *user) {
    if (!atomic_load(&husk_py_has_ended))
        husk_py_passed_call(user);
}

/* How many host functions the library refers to. Deliberately not a function of Python: the library
 * may free the last ones when the interpreter has ended. The Python objects are kept by those of
 * the sandboxes and sets, so that the garbage collector sees them. */
static atomic_llong husk_py_users;

static void husk_py_count_user(void) {
    atomic_fetch_add(&husk_py_users, 1);
}

static void husk_py_user_free(void *user) {
    (void)user;
    atomic_fetch_sub(&husk_py_users, 1);
}

static int64_t husk_py_users_alive(void) {
    return atomic_load(&husk_py_users);
}

#endif
