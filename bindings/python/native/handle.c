/*
 * native/handle.c: frees a handle of the library. Part of husk._fast.
 */
#include "fast.h"

#include <stddef.h>
#include <stdint.h>
#include <structmember.h>
#include <unistd.h>

struct drop {
    PyObject ob_base;
    vectorcallfunc vectorcall;
    void (*free_it)(void *handle);
    void *handle;
    pid_t owner;
};

/* The library's functions that free take a pointer to the kind of their own. */
static PyObject *drop_call(PyObject *object, PyObject *const *args, size_t flags, PyObject *names) {
    (void)args;
    (void)flags;
    (void)names;
    struct drop *self = (struct drop *)object;
    void *handle = self->handle;
    self->handle = NULL;
    if (handle != NULL && getpid() == self->owner) {
        Py_BEGIN_ALLOW_THREADS;
        self->free_it(handle);
        Py_END_ALLOW_THREADS;
    }
    Py_RETURN_NONE;
}

/* Drop(function, handle): addresses. */
static PyObject *drop_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    unsigned long long function = 0, handle = 0;
    static char *names[] = {"function", "handle", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "KK", names, &function, &handle))
        return NULL;
    struct drop *self = (struct drop *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = drop_call;
    self->free_it = (void (*)(void *))(uintptr_t)function;
    self->handle = (void *)(uintptr_t)handle;
    self->owner = getpid();
    return (PyObject *)self;
}

static void drop_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef drop_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct drop, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot drop_slots[] = {
    {Py_tp_doc, "Calling it frees a handle, once, in the process that made it."},
    {Py_tp_new, drop_new},
    {Py_tp_dealloc, drop_free},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, drop_members},
    {0, NULL},
};

static PyType_Spec drop_spec = {
    .name = "husk._fast.Drop",
    .basicsize = sizeof(struct drop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = drop_slots,
};

int handle_types_add(PyObject *module) {
    return type_add(module, "Drop", &drop_spec, NULL);
}
