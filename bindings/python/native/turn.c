/*
 * native/turn.c: whose turn it is to use a sandbox. Part of husk._fast. All is changed under the
 * GIL.
 */
#include "fast.h"

#include <stddef.h>
#include <structmember.h>

/* ---- Turn: who may use a sandbox ---- */

PyTypeObject *turn_type;

/* Turn(sandbox): a weakref. */
static PyObject *turn_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *sandbox = NULL;
    static char *names[] = {"sandbox", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O", names, &sandbox))
        return NULL;
    if (!PyWeakref_CheckRef(sandbox))
        return PyErr_Format(PyExc_TypeError, "a weakref is wanted");
    struct turn *self = (struct turn *)type->tp_alloc(type, 0);
    if (self != NULL)
        self->sandbox = Py_NewRef(sandbox);
    return (PyObject *)self;
}

static PyObject *turn_acquire(PyObject *object, PyObject *unused) {
    (void)unused;
    struct turn *self = (struct turn *)object;
    if (self->is_held)
        Py_RETURN_FALSE;
    self->is_held = true;
    Py_RETURN_TRUE;
}

static PyObject *turn_release(PyObject *object, PyObject *unused) {
    (void)unused;
    ((struct turn *)object)->is_held = false;
    Py_RETURN_NONE;
}

static void turn_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_CLEAR(((struct turn *)object)->sandbox);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef turn_methods[] = {
    {"acquire", turn_acquire, METH_NOARGS, "Take the turn. False: somebody has it."},
    {"release", turn_release, METH_NOARGS, "Give the turn back."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef turn_members[] = {
    {"depth", T_PYSSIZET, offsetof(struct turn, depth), 0, "How many calls run."},
    {"is_held", T_BOOL, offsetof(struct turn, is_held), 0, "Whether somebody has it."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot turn_slots[] = {
    {Py_tp_doc, "Whose turn it is to use a sandbox. Nobody waits for it."},
    {Py_tp_new, turn_new},
    {Py_tp_dealloc, turn_free},
    {Py_tp_methods, turn_methods},
    {Py_tp_members, turn_members},
    {0, NULL},
};

static PyType_Spec turn_spec = {
    .name = "husk._fast.Turn",
    .basicsize = sizeof(struct turn),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = turn_slots,
};

/* ---- Hold: a `with` block in which this thread has the turn ---- */

struct hold {
    PyObject ob_base;
    PyObject *owner; /* husk.turns.Turns */
    struct turn *turn;
    bool runs;        /* a call runs in the block */
    bool is_held;     /* by this block */
    PyObject *around; /* raised_begin() */
};

/* Hold(owner, turn, runs) */
static PyObject *hold_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *owner = NULL, *turn = NULL;
    int runs = 0;
    static char *names[] = {"owner", "turn", "runs", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!p", names, &owner, turn_type, &turn,
                                     &runs))
        return NULL;
    struct hold *self = (struct hold *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->owner = Py_NewRef(owner);
    self->turn = (struct turn *)Py_NewRef(turn);
    self->runs = runs != 0;
    return (PyObject *)self;
}

static void hold_end(struct hold *self) {
    if (!self->is_held)
        return;
    self->is_held = self->turn->is_held = false;
    self->turn->depth -= self->runs;
    raised_end(self->around);
}

/* The library's handle. The owner raises if there is none, or if somebody else has the turn. */
static PyObject *hold_enter(PyObject *object, PyObject *unused) {
    (void)unused;
    struct hold *self = (struct hold *)object;
    if (self->turn->is_held)
        return PyObject_CallMethod(self->owner, "refuse", NULL);
    self->around = raised_begin();
    self->is_held = self->turn->is_held = true;
    self->turn->depth += self->runs;
    PyObject *pointer = PyObject_GetAttrString(self->owner, "pointer");
    if (pointer == NULL)
        hold_end(self);
    return pointer;
}

static PyObject *hold_exit(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    (void)args;
    (void)count;
    hold_end((struct hold *)object);
    Py_RETURN_NONE;
}

static int hold_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct hold *)object)->owner);
    return 0;
}

static int hold_clear(PyObject *object) {
    Py_CLEAR(((struct hold *)object)->owner);
    return 0;
}

static void hold_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    hold_end((struct hold *)object); /* the block was never entered */
    hold_clear(object);
    Py_DECREF(((struct hold *)object)->turn);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef hold_methods[] = {
    {"__enter__", hold_enter, METH_NOARGS, "Take the turn; returns the library's handle."},
    {"__exit__", (PyCFunction)(void (*)(void))hold_exit, METH_FASTCALL, "Give the turn back."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot hold_slots[] = {
    {Py_tp_doc, "A `with` block in which this thread has the turn."},
    {Py_tp_new, hold_new},
    {Py_tp_dealloc, hold_free},
    {Py_tp_traverse, hold_traverse},
    {Py_tp_clear, hold_clear},
    {Py_tp_methods, hold_methods},
    {0, NULL},
};

static PyType_Spec hold_spec = {
    .name = "husk._fast.Hold",
    .basicsize = sizeof(struct hold),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = hold_slots,
};

int turn_types_add(PyObject *module) {
    int status = type_add(module, "Turn", &turn_spec, &turn_type);
    return status == 0 ? type_add(module, "Hold", &hold_spec, NULL) : status;
}
