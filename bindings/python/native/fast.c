/*
 * native/fast.c: the extension module husk._fast. Sandbox.call() of functions whose parameters and
 * results are numbers.
 *
 * After a run of the VM, little of the process is in the CPU's caches. Then each line of Python
 * costs as much as hundreds of instructions: the same in Python took 7 us more. What is not plain
 * goes to Python: Calls calls its fallback, which does everything (husk.instance, husk.calls).
 *
 * All state here is changed under the GIL.
 */
#include "fast.h"

#include <stddef.h>
#if PY_VERSION_HEX < 0x030c0000
#include <cpython/longintrepr.h>
#endif
#include <structmember.h>

/* ---- Fast: a prepared call of numbers ---- */

struct fast {
    PyObject ob_base;
    PyObject *prepared; /* husk.calls.Prepared, whose structs are used */
    husk_sandbox *sandbox;
    struct husk_call *call;
    struct husk_outcome *outcome;
    struct husk_error *err;
    /* of the call, which keeps them: one place less to look at */
    struct husk_value *args, *results;
    size_t args_count, results_count;
    bool is_busy;
};

static PyTypeObject *fast_type;

/* Fast(prepared, sandbox, call, outcome, err): addresses. */
static PyObject *fast_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *prepared = NULL;
    unsigned long long at[4];
    static char *names[] = {"prepared", "sandbox", "call", "outcome", "err", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OKKKK", names, &prepared, &at[0], &at[1],
                                     &at[2], &at[3]))
        return NULL;
    struct fast *self = (struct fast *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->prepared = Py_NewRef(prepared);
    self->sandbox = (husk_sandbox *)(uintptr_t)at[0];
    self->call = (struct husk_call *)(uintptr_t)at[1];
    self->outcome = (struct husk_outcome *)(uintptr_t)at[2];
    self->err = (struct husk_error *)(uintptr_t)at[3];
    self->args = (struct husk_value *)self->call->args;
    self->results = self->call->results;
    self->args_count = self->call->args_count;
    self->results_count = self->call->results_count;
    return (PyObject *)self;
}

static int fast_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((struct fast *)object)->prepared);
    return 0;
}

/* Deliberately without tp_clear: the structs belong to `prepared`. Calls breaks every cycle. */
static void fast_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(((struct fast *)object)->prepared);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef fast_members[] = {
    {"is_busy", T_BOOL, offsetof(struct fast, is_busy), READONLY, "Whether a call uses it."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot fast_slots[] = {
    {Py_tp_doc, "A prepared call of a function with numbers."},
    {Py_tp_new, fast_new},
    {Py_tp_dealloc, fast_free},
    {Py_tp_traverse, fast_traverse},
    {Py_tp_members, fast_members},
    {0, NULL},
};

static PyType_Spec fast_spec = {
    .name = "husk._fast.Fast",
    .basicsize = sizeof(struct fast),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = fast_slots,
};

/* A small integer, without a call of Python's. */
static inline bool small_from(PyObject *from, int64_t *ret_number) {
#if PY_VERSION_HEX >= 0x030c0000
    if (!PyLong_CheckExact(from) || !PyUnstable_Long_IsCompact((PyLongObject *)from))
        return false;
    *ret_number = PyUnstable_Long_CompactValue((PyLongObject *)from);
#else
    if (!PyLong_CheckExact(from) || Py_SIZE(from) < -1 || Py_SIZE(from) > 1)
        return false;
    *ret_number = Py_SIZE(from) * (int64_t)((PyLongObject *)from)->ob_digit[0];
#endif
    return true;
}

/* An integer of `bits` bits, signed or unsigned, as the signed one. */
static inline bool integer_from(PyObject *from, unsigned bits, int64_t *ret_number) {
    int is_over = 0;
    if (small_from(from, ret_number))
        return true;
    if (!PyLong_Check(from))
        return false;
    long long number = PyLong_AsLongLongAndOverflow(from, &is_over);
    if (is_over != 0 || (number == -1 && PyErr_Occurred() != NULL))
        return false;
    if (bits == 32 && (number < INT32_MIN || number > UINT32_MAX))
        return false;
    *ret_number = number;
    return true;
}

bool value_from(PyObject *from, struct husk_value *value) {
    int64_t number = 0;
    switch (value->type) {
    case HUSK_I32:
        if (!integer_from(from, 32, &number))
            return false;
        value->of.i32 = (int32_t)(uint32_t)number;
        return true;
    case HUSK_I64: return integer_from(from, 64, &value->of.i64);
    case HUSK_F32:
    case HUSK_F64:
        if (!PyFloat_Check(from))
            return false;
        if (value->type == HUSK_F64)
            value->of.f64 = PyFloat_AS_DOUBLE(from);
        else
            value->of.f32 = (float)PyFloat_AS_DOUBLE(from);
        return true;
    default: return false;
    }
}

PyObject *value_to(const struct husk_value *value) {
    switch (value->type) {
    case HUSK_I32: return PyLong_FromLong(value->of.i32);
    case HUSK_I64: return PyLong_FromLongLong(value->of.i64);
    case HUSK_F32: return PyFloat_FromDouble(value->of.f32);
    default: return PyFloat_FromDouble(value->of.f64);
    }
}

static inline PyObject *results_of(const struct fast *fast) {
    if (fast->results_count == 1)
        return value_to(fast->results);
    if (fast->results_count == 0)
        Py_RETURN_NONE;
    PyObject *all = PyTuple_New((Py_ssize_t)fast->results_count);
    for (size_t i = 0; all != NULL && i < fast->results_count; i++) {
        PyObject *one = value_to(&fast->results[i]);
        if (one == NULL)
            Py_CLEAR(all);
        else
            PyTuple_SET_ITEM(all, (Py_ssize_t)i, one);
    }
    return all;
}

/* ---- Calls: what sandbox.call is ---- */

static PyTypeObject *calls_type;

/* Its address tells a thread. */
static STATIC_TLS char thread_mark;

struct calls {
    PyObject ob_base;
    vectorcallfunc vectorcall;
    PyObject *fallback; /* Sandbox.call, bound */
    struct turn *turn;
    PyObject *known; /* name → Fast */
    /* The last of them, for which nothing has to be looked up: the name is that of a constant of
     * the caller's code, and so the same object. The Fast is borrowed from
     * `known`. */
    PyObject *last_name;
    struct fast *last;
    const char *thread; /* thread_mark of the one whose calls are plain; NULL: no call is */
    const struct husk_limits *limits; /* of calls without any, on that thread */
    int signal;                       /* that interrupts them (ticks.c); 0: nothing has to */
    PyObject *limits_kept;
};

/* A name that is not the last one. Python's dictionary keeps the first object of equal names. */
static __attribute__((noinline)) struct fast *find_known(struct calls *self, PyObject *name) {
    if (!PyUnicode_CheckExact(name) || self->known == NULL)
        return NULL;
    PyObject *found = PyDict_GetItemWithError(self->known, name);
    if (found == NULL)
        return NULL;
    Py_INCREF(name);
    Py_XSETREF(self->last_name, name);
    self->last = (struct fast *)found;
    return self->last;
}

/* The prepared call, if this one is plain; NULL: it is not. Any exception is to be cleared. */
static inline struct fast *plain_call(struct calls *self, PyObject *name, PyObject *const *args,
                                      size_t count, PyObject *options) {
    if ((options != NULL && PyTuple_GET_SIZE(options) != 0) || self->thread != &thread_mark ||
        self->turn->is_held || self->turn->depth != 0)
        return NULL;
    struct fast *fast = name == self->last_name ? self->last : find_known(self, name);
    if (fast == NULL || fast->is_busy || count != fast->args_count)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (!value_from(args[i], &fast->args[i]))
            return NULL;
    return fast;
}

/* The call is done with the turn held; what it did not return, Python raises. */
static PyObject *fast_run(struct calls *self, struct fast *fast) {
    PyObject *result = NULL;
    struct turn *turn = self->turn;
    Py_INCREF(self); /* a host function may let go of both */
    Py_INCREF(fast);
    fast->call->limits = self->limits;
    PyObject *around = raised_begin();
    turn->is_held = true;
    turn->depth++;
    fast->is_busy = true;
    int status = 0;
    const int signal = self->signal;
    const uint64_t around_ticks = signal != 0 ? ticks_enter(signal) : 0;
    Py_BEGIN_ALLOW_THREADS;
    status = husk_call(fast->sandbox, fast->call, fast->outcome, fast->err);
    if (signal != 0)
        ticks_leave(around_ticks);
    Py_END_ALLOW_THREADS;
    fast->is_busy = false;
    turn->depth--;
    if (status == 0 && fast->outcome->kind == HUSK_RETURNED)
        result = results_of(fast);
    else
        result = PyObject_CallMethod(fast->prepared, "finish", "i", status);
    turn->is_held = false;
    raised_end(around);
    Py_DECREF(fast);
    Py_DECREF(self);
    return result;
}

static PyObject *calls_call(PyObject *object, PyObject *const *args, size_t flags,
                            PyObject *names) {
    struct calls *self = (struct calls *)object;
    size_t count = (size_t)PyVectorcall_NARGS(flags);
    struct fast *fast = count == 0 ? NULL : plain_call(self, args[0], args + 1, count - 1, names);
    if (fast != NULL)
        return fast_run(self, fast);
    PyErr_Clear();
    if (self->fallback == NULL)
        return PyErr_Format(PyExc_ReferenceError, "the sandbox is gone");
    return PyObject_Vectorcall(self->fallback, args, flags & ~PY_VECTORCALL_ARGUMENTS_OFFSET,
                               names);
}

/* Calls(fallback, turn) */
static PyObject *calls_new(PyTypeObject *type, PyObject *args, PyObject *keywords) {
    PyObject *fallback = NULL, *turn = NULL;
    static char *names[] = {"fallback", "turn", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO!", names, &fallback, turn_type, &turn))
        return NULL;
    struct calls *self = (struct calls *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = calls_call;
    self->fallback = Py_NewRef(fallback);
    self->turn = (struct turn *)Py_NewRef(turn);
    self->known = PyDict_New();
    if (self->known == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *calls_add(PyObject *object, PyObject *args) {
    PyObject *name = NULL, *fast = NULL;
    struct calls *self = (struct calls *)object;
    if (!PyArg_ParseTuple(args, "UO!", &name, fast_type, &fast) ||
        PyDict_SetItem(self->known, name, fast) != 0)
        return NULL;
    self->last = NULL; /* it may have been the one that this replaced */
    Py_CLEAR(self->last_name);
    Py_RETURN_NONE;
}

static PyObject *calls_allow(PyObject *object, PyObject *args) {
    struct calls *self = (struct calls *)object;
    unsigned long long limits = 0;
    PyObject *kept = NULL;
    int signal = 0;
    if (!PyArg_ParseTuple(args, "KOi", &limits, &kept, &signal))
        return NULL;
    self->thread = &thread_mark;
    self->signal = signal;
    self->limits = (const struct husk_limits *)(uintptr_t)limits;
    Py_XSETREF(self->limits_kept, Py_NewRef(kept));
    Py_RETURN_NONE;
}

static void calls_stop(struct calls *self) {
    self->thread = NULL;
    self->last = NULL;
    Py_CLEAR(self->last_name);
}

static PyObject *calls_forget(PyObject *object, PyObject *unused) {
    (void)unused;
    struct calls *self = (struct calls *)object;
    calls_stop(self);
    PyDict_Clear(self->known);
    Py_RETURN_NONE;
}

static int calls_traverse(PyObject *object, visitproc visit, void *arg) {
    struct calls *self = (struct calls *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->fallback);
    Py_VISIT(self->known);
    Py_VISIT(self->limits_kept);
    return 0;
}

static int calls_clear(PyObject *object) {
    struct calls *self = (struct calls *)object;
    calls_stop(self);
    Py_CLEAR(self->fallback);
    Py_CLEAR(self->known);
    Py_CLEAR(self->limits_kept);
    return 0;
}

static void calls_free(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    calls_clear(object);
    Py_CLEAR(((struct calls *)object)->turn);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef calls_methods[] = {
    {"add", calls_add, METH_VARARGS, "add(name, fast): calls of this name are plain."},
    {"allow", calls_allow, METH_VARARGS,
     "allow(limits, kept, signal): calls on this thread are plain, with these limits (an address); "
     "a signal interrupts them now and then, unless it is 0."},
    {"forget", calls_forget, METH_NOARGS, "No call is plain any more."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef calls_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct calls, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT_EX, offsetof(struct calls, fallback), READONLY, "Sandbox.call()"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot calls_slots[] = {
    {Py_tp_doc, "Sandbox.call() of one sandbox."},
    {Py_tp_new, calls_new},
    {Py_tp_dealloc, calls_free},
    {Py_tp_traverse, calls_traverse},
    {Py_tp_clear, calls_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_methods, calls_methods},
    {Py_tp_members, calls_members},
    {0, NULL},
};

static PyType_Spec calls_spec = {
    .name = "husk._fast.Calls",
    .basicsize = sizeof(struct calls),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = calls_slots,
};

/* ---- Function: an export; calling it is sandbox.call with its name ---- */

struct function {
    PyObject ob_base;
    vectorcallfunc vectorcall;
    PyObject *call; /* sandbox.call */
    PyObject *name;
    PyObject *type; /* husk.FuncType */
};

#define FEW_ARGS 14

static PyObject *function_call(PyObject *object, PyObject *const *args, size_t flags,
                               PyObject *names) {
    struct function *self = (struct function *)object;
    PyObject *with_name[FEW_ARGS + 1];
    size_t count = (size_t)PyVectorcall_NARGS(flags);
    size_t options_count = names == NULL ? 0 : (size_t)PyTuple_GET_SIZE(names);
    size_t all = count + options_count;
    if (self->call == NULL)
        return PyErr_Format(PyExc_ReferenceError, "the sandbox is gone");
    if (Py_IS_TYPE(self->call, calls_type)) {
        struct calls *calls = (struct calls *)self->call;
        struct fast *fast = plain_call(calls, self->name, args, count, names);
        if (fast != NULL)
            return fast_run(calls, fast);
        PyErr_Clear();
    }
    PyObject **room = with_name;
    if (all > FEW_ARGS)
        room = PyMem_Malloc((all + 1) * sizeof *room);
    if (room == NULL)
        return PyErr_NoMemory();
    room[0] = self->name;
    for (size_t i = 0; i < all; i++)
        room[i + 1] = args[i];
    PyObject *result = PyObject_Vectorcall(self->call, room, count + 1, names);
    if (room != with_name)
        PyMem_Free(room);
    return result;
}

/* Function(call, name, type) */
static PyObject *function_new(PyTypeObject *kind, PyObject *args, PyObject *keywords) {
    PyObject *call = NULL, *name = NULL, *type = NULL;
    static char *names[] = {"call", "name", "type", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OUO", names, &call, &name, &type))
        return NULL;
    struct function *self = (struct function *)kind->tp_alloc(kind, 0);
    if (self == NULL)
        return NULL;
    self->vectorcall = function_call;
    self->call = Py_NewRef(call);
    self->name = Py_NewRef(name);
    self->type = Py_NewRef(type);
    return (PyObject *)self;
}

static PyObject *function_repr(PyObject *object) {
    struct function *self = (struct function *)object;
    return PyUnicode_FromFormat("<husk.Function %U %S>", self->name, self->type);
}

static int function_traverse(PyObject *object, visitproc visit, void *arg) {
    struct function *self = (struct function *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->call);
    Py_VISIT(self->type);
    return 0;
}

static int function_clear(PyObject *object) {
    Py_CLEAR(((struct function *)object)->call);
    return 0;
}

static void function_free(PyObject *object) {
    struct function *self = (struct function *)object;
    PyTypeObject *kind = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_CLEAR(self->call);
    Py_CLEAR(self->name);
    Py_CLEAR(self->type);
    kind->tp_free(object);
    Py_DECREF(kind);
}

static PyMemberDef function_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct function, vectorcall), READONLY, NULL},
    {"name", T_OBJECT_EX, offsetof(struct function, name), READONLY, "The export's name."},
    {"type", T_OBJECT_EX, offsetof(struct function, type), READONLY, "Its husk.FuncType."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot function_slots[] = {
    {Py_tp_doc, "An exported function of a sandbox: calling it is Sandbox.call() with its name."},
    {Py_tp_new, function_new},
    {Py_tp_dealloc, function_free},
    {Py_tp_traverse, function_traverse},
    {Py_tp_clear, function_clear},
    {Py_tp_repr, function_repr},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, function_members},
    {0, NULL},
};

static PyType_Spec function_spec = {
    .name = "husk.Function",
    .basicsize = sizeof(struct function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = function_slots,
};

/* ---- the module ---- */

int type_add(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **ret_type) {
    PyObject *type = PyType_FromSpec(spec);
    if (type == NULL)
        return -1;
    if (ret_type != NULL)
        *ret_type = (PyTypeObject *)Py_NewRef(type);
    int status = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return status;
}

static PyObject *in_main_interpreter(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main());
}

static PyMethodDef module_methods[] = {
    {"in_main_interpreter", in_main_interpreter, METH_NOARGS,
     "Whether this is the main interpreter, and no other of the process."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "husk._fast", .m_size = -1,
                                        .m_methods = module_methods, .m_doc = "Calls of numbers."};

PyMODINIT_FUNC PyInit__fast(void);
PyMODINIT_FUNC PyInit__fast(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL &&
        (signals_add(module) != 0 || turn_types_add(module) != 0 || handle_types_add(module) != 0 ||
         type_add(module, "Fast", &fast_spec, &fast_type) != 0 ||
         type_add(module, "Calls", &calls_spec, &calls_type) != 0 ||
         type_add(module, "Function", &function_spec, NULL) != 0 || host_types_add(module) != 0))
        Py_CLEAR(module);
    return module;
}
