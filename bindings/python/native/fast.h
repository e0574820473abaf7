/*
 * native/fast.h: what the sources of the extension module husk._fast share.
 *
 * A signal's handler, which may raise, can run between any two steps of Python, and in none of C.
 * So what must happen as a whole is here: to take a turn so that a `with` block gives it back, to
 * free a handle, to keep what a handler raised, to end a guest's call of a host function.
 */
#ifndef HUSK_PY_FAST_H
#define HUSK_PY_FAST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "husk.h"

/* Of a thread, without a call of the dynamic linker's. There is room for little of it. */
#define STATIC_TLS _Thread_local __attribute__((tls_model("initial-exec")))

/* turn.c */
/* Who may use a sandbox. The library's sandbox has it as its user pointer. */
struct turn {
    PyObject ob_base;
    bool is_held;
    Py_ssize_t depth;  /* calls that run */
    PyObject *sandbox; /* a weakref to the husk.Sandbox */
};
extern PyTypeObject *turn_type;
int turn_types_add(PyObject *module);

/* signals.c */
int signals_add(PyObject *module);
/* The exception that is set, with its traceback. None is set afterwards. NULL: none was. */
PyObject *error_take(void);
/* Set an exception, whose reference is taken. */
void error_raise(PyObject *error);
/* What a handler raised while a guest of this thread ran, until its call has ended. */
extern STATIC_TLS __attribute__((visibility("hidden"))) PyObject *raised;
/* A call begins: returns what belongs to the calls around it, which a handler may have
 * interrupted. */
static inline PyObject *raised_begin(void) {
    PyObject *around = raised;
    raised = NULL;
    return around;
}
static inline void raised_end(PyObject *around) {
    Py_XSETREF(raised, around);
}
/* Keep an exception, whose reference is taken: the call of this thread raises it at its end. */
void raised_keep(PyObject *error);

/* ticks.c */
/* What a thread says of the plain calls that it makes. It alone writes here. */
struct ticks_call {
    _Atomic uint64_t running; /* the number of the one whose guest runs; 0: none */
    _Atomic uint64_t last;    /* the number of the last one */
    atomic_int signal;        /* that interrupts it */
};
extern STATIC_TLS __attribute__((visibility("hidden"))) struct ticks_call ticks_call;
extern __attribute__((visibility("hidden"))) atomic_uint ticks_are_awake;
/* Calls of this thread, the main one, are interrupted from now on if they say that they run. False:
 * they are not. */
bool ticks_start(void);
/* Python ends, and with it the interrupts. */
void ticks_end(void);
void ticks_wake(void);
/* A call of this thread runs until ticks_leave(), which gets what this returned. */
static inline uint64_t ticks_enter(int signal) {
    const uint64_t around = atomic_load_explicit(&ticks_call.running, memory_order_relaxed);
    const uint64_t number = atomic_load_explicit(&ticks_call.last, memory_order_relaxed) + 1;
    atomic_store_explicit(&ticks_call.signal, signal, memory_order_relaxed);
    atomic_store_explicit(&ticks_call.last, number, memory_order_relaxed);
    atomic_store_explicit(&ticks_call.running, number, memory_order_release);
    if (atomic_load_explicit(&ticks_are_awake, memory_order_relaxed) == 0)
        ticks_wake();
    return around;
}
static inline void ticks_leave(uint64_t around) {
    atomic_store_explicit(&ticks_call.running, around, memory_order_relaxed);
}
/* A host function runs, which nothing interrupts, until ticks_leave(). */
static inline uint64_t ticks_pause(void) {
    const uint64_t around = atomic_load_explicit(&ticks_call.running, memory_order_relaxed);
    ticks_leave(0);
    return around;
}

/* handle.c */
int handle_types_add(PyObject *module);

/* host.c */
int host_types_add(PyObject *module);

/* fast.c */
/* Set a value from an object of Python's own kinds. False, without an exception: Python looks at
 * it. */
bool value_from(PyObject *from, struct husk_value *value);
/* A number. NULL, with an exception: no memory. */
PyObject *value_to(const struct husk_value *value);
/* Make a type of a module. ret_type may be NULL. */
int type_add(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **ret_type);

#endif
