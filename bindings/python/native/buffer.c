/*
 * native/buffer.c: the extension module husk._buffer. A guest's memory by Python's buffer protocol.
 *
 * A Keeper belongs to one instance of a sandbox. It counts the buffers that somebody holds, and
 * keeps an object (the sandbox's handle) alive as long as there are any. A Span is a range of
 * memory; each buffer of it counts. numpy arrays, memoryviews and their slices hold such a buffer
 * until they are freed.
 *
 * Deliberately not written in Python: __release_buffer__ exists only since Python 3.12.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

struct keeper {
    PyObject ob_base;
    PyObject *kept; /* alive as long as this is */
    Py_ssize_t buffers_count;
};

struct span {
    PyObject ob_base;
    struct keeper *owner;
    void *bytes;
    Py_ssize_t count;
    int is_readonly;
};

static PyTypeObject *keeper_type;

/* ---- Keeper(kept) ---- */

static PyObject *keeper_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *kept = NULL;
    static char *names[] = {"kept", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O", names, &kept))
        return NULL;
    struct keeper *self = (struct keeper *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->kept = Py_NewRef(kept);
    return (PyObject *)self;
}

/* Deliberately without tp_traverse: what is kept is a handle of C, which refers to no Python
 * object, so there is no cycle. And the collector must not clear it while a buffer is in use. */
static void keeper_free(PyObject *object) {
    struct keeper *self = (struct keeper *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_CLEAR(self->kept);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef keeper_members[] = {
    {"buffers", T_PYSSIZET, offsetof(struct keeper, buffers_count), READONLY,
     "How many buffers are held now."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot keeper_slots[] = {
    {Py_tp_doc, "Counts the buffers of an instance's memory, and keeps it mapped."},
    {Py_tp_new, keeper_new},
    {Py_tp_dealloc, keeper_free},
    {Py_tp_members, keeper_members},
    {0, NULL},
};

static PyType_Spec keeper_spec = {
    .name = "husk._buffer.Keeper",
    .basicsize = sizeof(struct keeper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = keeper_slots,
};

/* ---- Span(keeper, address, count, readonly) ---- */

static PyObject *span_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    struct keeper *owner = NULL;
    unsigned long long address = 0;
    Py_ssize_t count = 0;
    int is_readonly = 0;
    static char *names[] = {"keeper", "address", "count", "readonly", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!Kn|p", names, keeper_type, &owner, &address,
                                     &count, &is_readonly))
        return NULL;
    if (count < 0) {
        PyErr_SetString(PyExc_ValueError, "a span's count must not be negative");
        return NULL;
    }
    struct span *self = (struct span *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->owner = (struct keeper *)Py_NewRef((PyObject *)owner);
    self->bytes = (void *)(uintptr_t)address;
    self->count = count;
    self->is_readonly = is_readonly;
    return (PyObject *)self;
}

static void span_free(PyObject *object) {
    struct span *self = (struct span *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_CLEAR(self->owner);
    type->tp_free(object);
    Py_DECREF(type);
}

static int span_get(PyObject *object, Py_buffer *view, int flags) {
    struct span *self = (struct span *)object;
    int status =
        PyBuffer_FillInfo(view, object, self->bytes, self->count, self->is_readonly, flags);
    if (status == 0)
        self->owner->buffers_count++;
    return status;
}

static void span_release(PyObject *object, Py_buffer *view) {
    (void)view;
    struct span *self = (struct span *)object;
    self->owner->buffers_count--;
}

static PyType_Slot span_slots[] = {
    {Py_tp_doc, "A range of a guest's memory, for memoryview()."},
    {Py_tp_new, span_new},
    {Py_tp_dealloc, span_free},
    {Py_bf_getbuffer, span_get},
    {Py_bf_releasebuffer, span_release},
    {0, NULL},
};

static PyType_Spec span_spec = {
    .name = "husk._buffer.Span",
    .basicsize = sizeof(struct span),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = span_slots,
};

/* ---- the module ---- */

static int module_fill(PyObject *module) {
    keeper_type = (PyTypeObject *)PyType_FromSpec(&keeper_spec);
    PyObject *span_type = PyType_FromSpec(&span_spec);
    int status = keeper_type == NULL || span_type == NULL ? -1 : 0;
    if (status == 0)
        status = PyModule_AddObjectRef(module, "Keeper", (PyObject *)keeper_type);
    if (status == 0)
        status = PyModule_AddObjectRef(module, "Span", span_type);
    Py_XDECREF(span_type);
    return status;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "husk._buffer",
                                        .m_size = -1,
                                        .m_doc = "A guest's memory by the buffer protocol."};

PyMODINIT_FUNC PyInit__buffer(void);
PyMODINIT_FUNC PyInit__buffer(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && module_fill(module) != 0)
        Py_CLEAR(module);
    return module;
}
