/*
 * native/parts.h: what the sources of husk._fast share.
 *
 * A signal's handler, which may raise, can run between any two steps of Python, and in none of C.
 * So what must happen as a whole is here: to take a turn so that a `with` block gives it back, to
 * free a handle, to keep what a handler raised.
 */
#ifndef HUSK_PY_PARTS_H
#define HUSK_PY_PARTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>

/* turn.c */
struct turn {
    PyObject ob_base;
    bool is_held;
    Py_ssize_t depth; /* calls that run */
};
extern PyTypeObject *turn_type;
int turn_types_add(PyObject *module);

/* signals.c */
int signals_add(PyObject *module);
/* What a handler raised while a call of this thread ran is kept until the call's end. A call
 * begins: returns what belongs to the calls around it, which a handler may have interrupted. */
PyObject *raised_begin(void);
void raised_end(PyObject *around);

/* handle.c */
int handle_types_add(PyObject *module);

/* Make a type of a module. ret_type may be NULL. */
int type_add(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **ret_type);

#endif
