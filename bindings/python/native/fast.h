/*
 * native/fast.h: what the files of the extension module husk._fast share.
 */
#ifndef HUSK_PY_FAST_H
#define HUSK_PY_FAST_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

#include "husk.h"

/* Who may use a sandbox. The library's sandbox has it as its user pointer. */
struct turn {
    PyObject ob_base;
    bool is_held;
    Py_ssize_t depth;  /* calls that run */
    PyObject *sandbox; /* a weakref to the husk.Sandbox, or None */
};

/* Set a value from an object of Python's own kinds. False, without an exception: Python looks at
 * it. */
bool value_from(PyObject *from, struct husk_value *value);
/* A number. NULL, with an exception: no memory. */
PyObject *value_to(const struct husk_value *value);

extern PyType_Spec host_spec;

#endif
