/*
 * native/signals.c: signals while a call runs (husk.signals), and work that handlers of signals
 * must not leave half done. Part of husk._fast.
 */
#include "fast.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

STATIC_TLS PyObject *raised;

void raised_keep(PyObject *error) {
    Py_XSETREF(raised, error);
}

PyObject *error_take(void) {
    PyObject *kind = NULL, *error = NULL, *traceback = NULL;
    PyErr_Fetch(&kind, &error, &traceback);
    PyErr_NormalizeException(&kind, &error, &traceback);
    if (traceback != NULL && PyException_SetTraceback(error, traceback) != 0)
        PyErr_Clear();
    Py_XDECREF(kind);
    Py_XDECREF(traceback);
    return error;
}

void error_raise(PyObject *error) {
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

/* ---- the hook ---- */

/* Set when the interpreter ends: a thread that entered Python then would never come back. */
static atomic_bool has_ended;

/* husk_limits.interrupted: runs the handlers of signals that came, on the main thread. `user`: a
 * function of Python to ask, too, or NULL. Not 0: the call ends. */
static int hook(void *user) {
    if (atomic_load(&has_ended))
        return 0;
    const uint64_t ticked = ticks_pause();
    PyGILState_STATE state = PyGILState_Ensure();
    int answer = PyErr_CheckSignals();
    if (answer == 0 && user != NULL) {
        PyObject *goes_on = PyObject_CallNoArgs(user);
        answer = goes_on != NULL && PyObject_IsTrue(goes_on) == 1 ? 0 : -1;
        Py_XDECREF(goes_on);
    }
    if (PyErr_Occurred() != NULL)
        raised_keep(error_take());
    PyGILState_Release(state);
    ticks_leave(ticked);
    return answer;
}

static PyObject *hook_address(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyLong_FromUnsignedLongLong((uintptr_t)&hook);
}

static PyObject *hook_end(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    atomic_store(&has_ended, true);
    ticks_end();
    Py_RETURN_NONE;
}

/* ---- what was raised ---- */

static PyObject *keep(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "keep() takes an exception as cffi gives it");
    if (args[2] != Py_None && PyException_SetTraceback(args[1], args[2]) != 0)
        PyErr_Clear();
    raised_keep(Py_NewRef(args[1]));
    Py_RETURN_NONE;
}

static PyObject *take(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    PyObject *error = raised;
    raised = NULL;
    return error != NULL ? error : Py_NewRef(Py_None);
}

/* ---- work that ends ---- */

/* Deliberately an end: a function that always raises is a fault of the package. */
#define TRIES_MAX 1000

static PyObject *insist(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    PyObject *error = NULL, *result = NULL;
    if (count < 1)
        return PyErr_Format(PyExc_TypeError, "insist() takes a function and its arguments");
    for (int i = 0; i < TRIES_MAX && result == NULL; i++) {
        result = PyObject_Vectorcall(args[0], args + 1, (size_t)count - 1, NULL);
        if (result == NULL)
            Py_XSETREF(error, error_take());
    }
    if (error == NULL)
        return result;
    Py_XDECREF(result);
    error_raise(error);
    return NULL;
}

static PyObject *start_ticks(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyBool_FromLong(ticks_start());
}

static PyMethodDef functions[] = {
    {"start_ticks", start_ticks, METH_NOARGS,
     "Whether plain calls of this thread, the main one, can be interrupted now and then."},
    {"hook", hook_address, METH_NOARGS, "The address of the function for husk_limits.interrupted."},
    {"end_hook", hook_end, METH_NOARGS, "The interpreter ends."},
    {"keep", (PyCFunction)(void (*)(void))keep, METH_FASTCALL,
     "keep(kind, error, traceback): `onerror` of cffi's callbacks."},
    {"take", take, METH_NOARGS, "The exception that was kept on this thread; or None."},
    {"insist", (PyCFunction)(void (*)(void))insist, METH_FASTCALL,
     "insist(function, *args): Call it again and again until it returns. Raises the last exception "
     "of those that did not."},
    {NULL, NULL, 0, NULL},
};

int signals_add(PyObject *module) {
    return PyModule_AddFunctions(module, functions);
}
