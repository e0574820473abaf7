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
#include <stdbool.h>

#include "husk.h"

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
/* What a handler raised while a call of this thread ran is kept until the call's end. A call
 * begins: returns what belongs to the calls around it, which a handler may have interrupted. */
PyObject *raised_begin(void);
void raised_end(PyObject *around);
/* Keep an exception, whose reference is taken: the call of this thread raises it at its end. */
void raised_keep(PyObject *error);

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
