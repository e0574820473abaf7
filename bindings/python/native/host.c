/*
 * native/host.c: functions of Python that guests call. husk.imports.HostFunction is a kind of Host.
 *
 * A function whose parameters and results are numbers is called from here. All else is done by
 * methods in Python: serve() (a call that is not plain), settle() (an answer that is not plain),
 * end() (an exception). What these raise themselves, such as RecursionError at the end of Python's
 * stack, or what a signal's handler raises in their first line, ends the guest's call here, and
 * comes out of the call of Python (raised_keep()).
 *
 * All state here is changed under the GIL.
 */
#include "fast.h"

#include <stddef.h>
#include <structmember.h>

#define FEW_PARAMS 16

struct host {
    PyObject ob_base;
    PyObject *function; /* called from here; NULL: serve() does it */
    Py_ssize_t params_count;
    Py_ssize_t results_count;
};

/* ---- One call of the guest ---- */

struct visit {
    struct host *self;
    struct turn *turn;
    PyObject *sandbox;
    husk_caller *caller;
    const struct husk_value *args;
    struct husk_value *results;
};

static unsigned long long address_of(const void *pointer) {
    return (unsigned long long)(uintptr_t)pointer;
}

/* The status of husk_host_fn that a method returned, whose reference is taken. False, with an
 * exception: it raised. */
static bool status_of(PyObject *returned, int *ret_status) {
    if (returned == NULL)
        return false;
    *ret_status = (int)PyLong_AsLong(returned);
    Py_DECREF(returned);
    return PyErr_Occurred() == NULL;
}

/* error_take(); `older`, whose reference is taken, came before it, or is NULL. */
static PyObject *error_take_after(PyObject *older) {
    PyObject *error = error_take();
    if (error != NULL && error != older)
        PyException_SetContext(error, older);
    else
        Py_XDECREF(older);
    return error;
}

/* End the guest's call, because of the exception that is set: by end(), or, if that fails, so that
 * the call of Python raises what it failed by. */
static int visit_fail(const struct visit *visit) {
    int status = HUSK_E_STATE;
    PyObject *error = error_take();
    visit->turn->is_held = true;
    PyObject *ended = PyObject_CallMethod((PyObject *)visit->self, "end", "OKO", visit->sandbox,
                                          address_of(visit->caller), error);
    if (!status_of(ended, &status)) {
        raised_keep(error_take_after(Py_XNewRef(error)));
        status = husk_caller_fail(visit->caller, "a host function failed");
    }
    Py_XDECREF(error);
    return status;
}

/* The guest goes on, once the calls inside the host function have ended. False, with an exception:
 * the handler of a signal raised it meanwhile. */
static bool turn_back(const struct visit *visit, Py_ssize_t depth) {
    struct turn *turn = visit->turn;
    if (!turn->is_held && turn->depth == depth) {
        turn->is_held = true;
        return true;
    }
    PyObject *error = PyErr_Occurred() == NULL ? NULL : error_take();
    PyObject *waited = PyObject_CallMethod(visit->sandbox, "host_ends", "n", depth);
    if (waited == NULL) {
        error_raise(error_take_after(error));
        return false;
    }
    Py_DECREF(waited);
    if (error != NULL)
        error_raise(error);
    return true;
}

/* Give the answer to the guest. False: it is not plain. */
static bool answer_give(const struct visit *visit, PyObject *answer) {
    if (visit->self->results_count == 0)
        return answer == Py_None;
    return visit->self->results_count == 1 && value_from(answer, visit->results);
}

static int answer_settle(const struct visit *visit, PyObject *const *values, PyObject *answer) {
    int status = 0;
    PyObject *all = PyTuple_New(visit->self->params_count);
    for (Py_ssize_t i = 0; all != NULL && i < visit->self->params_count; i++)
        PyTuple_SET_ITEM(all, i, Py_NewRef(values[i]));
    PyObject *settled = NULL;
    if (all != NULL)
        settled =
            PyObject_CallMethod((PyObject *)visit->self, "settle", "OKOKO", visit->sandbox,
                                address_of(visit->caller), all, address_of(visit->results), answer);
    Py_XDECREF(all);
    return status_of(settled, &status) ? status : visit_fail(visit);
}

/* Call the function with these values. */
static int visit_call(const struct visit *visit, PyObject *const *values) {
    Py_ssize_t depth = visit->turn->depth;
    visit->turn->is_held = false;
    PyObject *answer =
        PyObject_Vectorcall(visit->self->function, values, (size_t)visit->self->params_count, NULL);
    int status = 0;
    if (!turn_back(visit, depth) || answer == NULL)
        status = visit_fail(visit);
    else if (!answer_give(visit, answer)) {
        PyErr_Clear();
        status = answer_settle(visit, values, answer);
    }
    Py_XDECREF(answer);
    return status;
}

static int visit_plain(const struct visit *visit) {
    PyObject *values[FEW_PARAMS];
    Py_ssize_t count = 0;
    while (count < visit->self->params_count) {
        values[count] = value_to(&visit->args[count]);
        if (values[count] == NULL)
            break;
        count++;
    }
    int status = count == visit->self->params_count ? visit_call(visit, values) : visit_fail(visit);
    while (count > 0)
        Py_DECREF(values[--count]);
    return status;
}

static int visit_serve(const struct visit *visit) {
    int status = 0;
    PyObject *served = PyObject_CallMethod((PyObject *)visit->self, "serve", "OKKK", visit->sandbox,
                                           address_of(visit->caller), address_of(visit->args),
                                           address_of(visit->results));
    return status_of(served, &status) ? status : visit_fail(visit);
}

/* husk_host_func.fn: `user` is a Host, which the sandbox keeps. */
static int host_serve(husk_caller *caller, void *user, const struct husk_value *args,
                      struct husk_value *results) {
    const uint64_t ticked = ticks_pause();
    PyGILState_STATE gil = PyGILState_Ensure();
    struct turn *turn = husk_sandbox_user(husk_caller_sandbox(caller));
    struct visit visit = {user, turn, NULL, caller, args, results};
    Py_INCREF(visit.self);
    Py_INCREF(turn);
    visit.sandbox = PyObject_CallNoArgs(turn->sandbox); /* which the call keeps alive */
    if (visit.sandbox == NULL) {
        PyErr_Clear();
        visit.sandbox = Py_NewRef(Py_None);
    }
    int status = visit.self->function == NULL ? visit_serve(&visit) : visit_plain(&visit);
    Py_DECREF(visit.sandbox);
    Py_DECREF(turn);
    Py_DECREF(visit.self);
    PyGILState_Release(gil);
    ticks_leave(ticked);
    return status;
}

/* ---- The type ---- */

/* plain(function, params_count, results_count) */
static PyObject *host_plain(PyObject *object, PyObject *args) {
    struct host *self = (struct host *)object;
    PyObject *function = NULL;
    Py_ssize_t params_count = 0, results_count = 0;
    if (!PyArg_ParseTuple(args, "Onn", &function, &params_count, &results_count))
        return NULL;
    if (params_count < 0 || params_count > FEW_PARAMS)
        Py_RETURN_NONE;
    self->params_count = params_count;
    self->results_count = results_count;
    Py_XSETREF(self->function, Py_NewRef(function));
    Py_RETURN_NONE;
}

static PyObject *host_entry(PyObject *type, PyObject *unused) {
    (void)type;
    (void)unused;
    return PyLong_FromUnsignedLongLong((unsigned long long)(uintptr_t)&host_serve);
}

static int host_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct host *)object)->function);
    return 0;
}

static int host_clear(PyObject *object) {
    Py_CLEAR(((struct host *)object)->function);
    return 0;
}

static void host_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    host_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef host_methods[] = {
    {"plain", host_plain, METH_VARARGS,
     "plain(function, params_count, results_count): all of these are numbers."},
    {"entry", host_entry, METH_NOARGS | METH_CLASS,
     "The address of the husk_host_fn, whose user is a Host."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot host_slots[] = {
    {Py_tp_doc, "A function of Python that guests call."},
    {Py_tp_dealloc, host_free},
    {Py_tp_traverse, host_traverse},
    {Py_tp_clear, host_clear},
    {Py_tp_methods, host_methods},
    {0, NULL},
};

static PyType_Spec host_spec = {
    .name = "husk._fast.Host",
    .basicsize = sizeof(struct host),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = host_slots,
};

int host_types_add(PyObject *module) {
    return type_add(module, "Host", &host_spec, NULL);
}
