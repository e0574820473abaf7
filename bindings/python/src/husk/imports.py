"""What the host gives a module: functions, globals, memories, tables and tags."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from husk._buffer import Span
from husk._fast import Host
from husk._native import ffi, lib
from husk._wasi_calls import imports_wasi
from husk.engine import Engine, default_engine
from husk.errors import Exited, GuestException, LimitError, StateError, check, error_new
from husk.handles import c_name, new, owned
from husk.image import Extern, ExternKind, Snapshot, extern_new
from husk.memory import Memory, memory_span
from husk.values import (
    EXTERNREF,
    F32,
    F64,
    FUNCREF,
    I32,
    I64,
    NUMBERS,
    V128,
    ExternTable,
    FuncRef,
    FuncType,
    Type,
    cell_get,
    cell_put,
    cells_fill,
    cells_new,
    functype_new,
    numbers_reader,
)
from husk.wasi import Wasi

if TYPE_CHECKING:
    from husk.instance import Sandbox

_F = TypeVar("_F", bound=Callable[..., Any])


class _Pending:
    """The type of husk.PENDING."""

    def __repr__(self) -> str:
        return "husk.PENDING"


PENDING = _Pending()
"""What a host function returns that has no answer yet: see Sandbox.resume()."""


class Caller:
    """The guest's call that a host function serves. It is gone when the host function returns.

    A host function gets it as its first argument if that is annotated with husk.Caller, or if it
    was defined with caller=True.
    """

    __slots__ = ("_pointer", "_views", "sandbox")

    def __init__(self, pointer: Any, sandbox: Sandbox) -> None:
        self._pointer = pointer
        self._views: list[tuple[memoryview, Any]] = []
        self.sandbox = sandbox

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        if self._pointer is None:
            raise ReferenceError("the host function has returned")
        return self._pointer

    @property
    def memory(self) -> Memory:
        """The memory of the instance that imports the function."""
        return Memory(self.sandbox, lib.husk_caller_memory(self.pointer))

    def span(self, address: int, count: int) -> memoryview:
        """Bytes of that memory, without a copy and without making restores slower. They are gone
        when the host function returns. Raises LimitError."""
        place = self.memory.place(address, count)
        with self.sandbox.locked():
            found = lib.husk_caller_span(self.pointer, place)
        if found == ffi.NULL:
            raise LimitError(f"[{address}, {address} + {count}) is out of bounds of the memory")
        number = int(ffi.cast("uintptr_t", found))
        view = memoryview(Span(self.sandbox.keeper, number, count))
        self._views.append((view, place))
        return view

    def snapshot(self) -> Snapshot:
        """A snapshot as it is now, with the call that this host function serves. A sandbox that
        gets it has that call as a pending one; resume(again=True) calls this host function again.

        Raises StateError (a call inside another one, …), GuestError.
        """
        out = ffi.new("husk_image **")
        err = error_new()
        with self.sandbox.locked():
            check(lib.husk_caller_snapshot(self.pointer, out, err), err)
            return self.sandbox.snapshot_of(out[0])

    def close(self) -> None:
        """For the package: the host function has returned."""
        self._pointer = None
        for view, place in self._views:
            try:
                view.release()
            except BufferError:  # somebody holds it, so restores must look at these pages
                memory_span(self.sandbox.pointer, place)


_ANNOTATIONS: dict[Any, Type] = {
    int: I64,
    float: F64,
    bool: I32,
    bytes: V128,
    FuncRef: FUNCREF,
    object: EXTERNREF,
    Any: EXTERNREF,
}


def _annotated(annotation: Any, what: str) -> Type:
    """The type that an annotation means: husk.I32 and its like, "i32", or a type of Python."""
    if isinstance(annotation, Type):
        return annotation
    for extra in getattr(annotation, "__metadata__", ()):  # Annotated[int, husk.I32]
        if isinstance(extra, Type):
            return extra
    if annotation in _ANNOTATIONS:
        return _ANNOTATIONS[annotation]
    raise TypeError(f"{what}: no type of WebAssembly belongs to the annotation {annotation!r}")


def _results_of(annotation: Any, what: str) -> list[Type]:
    if annotation is None or annotation is type(None):
        return []
    if typing.get_origin(annotation) is tuple:
        return [_annotated(part, what) for part in typing.get_args(annotation)]
    return [_annotated(annotation, what)]


def functype_of_annotations(function: Callable[..., Any]) -> tuple[FuncType, bool]:
    """The type that a function's annotations mean, and whether it takes a husk.Caller first."""
    name = getattr(function, "__qualname__", repr(function))
    hints = typing.get_type_hints(function, include_extras=True)
    params = list(inspect.signature(function).parameters.values())
    wants_caller = bool(params) and hints.get(params[0].name) is Caller
    types = []
    for param in params[1:] if wants_caller else params:
        if param.kind not in (param.POSITIONAL_ONLY, param.POSITIONAL_OR_KEYWORD):
            raise TypeError(f"{name}: parameter {param.name} must be positional")
        if param.name not in hints:
            raise TypeError(f"{name}: parameter {param.name} has no annotation: give params=")
        types.append(_annotated(hints[param.name], name))
    if "return" not in hints:
        raise TypeError(f"{name}: the result has no annotation: give results=")
    return FuncType(types, _results_of(hints["return"], name)), wants_caller


# ---- Host functions ----


_CALLER = ffi.typeof("husk_caller *")
_VALUES = ffi.typeof("struct husk_value *")


class HostFunction(Host):
    """A function of Python that guests call (native/host.c). Calls that are not plain come to
    serve(), answers that are not plain to settle(), exceptions to end(). These return what
    husk_host_fn returns; pointers come as addresses."""

    def __init__(
        self,
        module: str,
        name: str,
        function: Callable[..., Any],
        functype: FuncType,
        wants_caller: bool,
    ) -> None:
        self.module = module
        self.name = name
        self.function = function
        self.type = functype
        self.wants_caller = wants_caller
        self._read = numbers_reader(functype.params)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__  # of an object with `async def __call__`
        )
        if self.is_async and wants_caller:
            raise TypeError(f"{module}.{name}: a coroutine gets no husk.Caller; see aio.current()")
        if not self.is_async and not wants_caller and NUMBERS.issuperset(functype.params):
            self.plain(function, len(functype.params), len(functype.results))

    def serve(self, sandbox: Sandbox, caller_at: int, args_at: int, results_at: int) -> int:
        """Serve a guest's call."""
        caller, args = ffi.cast(_CALLER, caller_at), ffi.cast(_VALUES, args_at)
        handle = Caller(caller, sandbox) if self.wants_caller else None
        try:
            if self._read is not None:
                values = self._read(args)
            else:
                values = [cell_get(sandbox, args[i]) for i in range(len(self.type.params))]
            if self.is_async:
                answer: Any = self._later(sandbox, values)
            else:
                depth = sandbox.host_begins()
                try:
                    given = values if handle is None else (handle, *values)
                    answer = self.function(*given)
                finally:
                    sandbox.host_ends(depth)
            return self.settle(sandbox, caller_at, tuple(values), results_at, answer)
        finally:
            if handle is not None:
                handle._pointer = None  # before anything can fail
                sandbox.hold()
                handle.close()

    def settle(
        self,
        sandbox: Sandbox,
        caller_at: int,
        values: tuple[Any, ...],
        results_at: int,
        answer: Any,
    ) -> int:
        """Give the answer to the guest."""
        if answer is PENDING:
            sandbox.pending_begins(self, values)
            return int(lib.husk_caller_pending(ffi.cast(_CALLER, caller_at)))
        try:
            self._give(sandbox, ffi.cast(_VALUES, results_at), answer)
        except Exception as error:  # nothing else says whose answer it was
            error.add_note(f"the answer of the host function {self.module}.{self.name}")
            raise
        return 0

    def _later(self, sandbox: Sandbox, values: list[Any]) -> _Pending:
        """The function is a coroutine: the task that made the call runs it."""
        name = f"{self.module}.{self.name}"
        if sandbox.awaits is None:
            raise StateError(f"{name} is a coroutine: await Sandbox.call_async()")
        if sandbox.depth != 1 or sandbox.pending is not None:
            raise StateError(f"{name} is a coroutine: a call inside another cannot wait for it")
        sandbox.awaits.awaited = (self.function, tuple(values))
        return PENDING

    def _give(self, sandbox: Sandbox, results: Any, answer: Any) -> None:
        types = self.type.results
        if not types:
            if answer is not None:
                raise TypeError(
                    f"{self.module}.{self.name} has no results, and returned {answer!r}"
                )
            return
        if len(types) == 1:
            cell_put(sandbox, results, 0, types[0])(answer)
        else:
            cells_fill(sandbox, results, types, tuple(answer))

    def end(self, sandbox: Sandbox, caller_at: int, error: BaseException) -> int:
        """End the guest's call, or throw. The call of Python raises the same exception again."""
        caller = ffi.cast(_CALLER, caller_at)
        if isinstance(error, Exited):
            return int(lib.husk_caller_exit(caller, error.code))
        if isinstance(error, GuestException):
            throw, _kept = throw_new(sandbox, error)
            return int(lib.husk_caller_throw(caller, throw))
        sandbox.raised = error
        text = f"{type(error).__name__} in the host function {self.module}.{self.name}"
        line = text.encode("utf-8", "replace")[:200]
        return int(lib.husk_caller_fail(caller, b"%s", ffi.new("char[]", line)))


def throw_new(sandbox: Sandbox, error: GuestException) -> tuple[Any, Any]:
    """A struct husk_throw, and what it points to."""
    values = cells_new(error.tag.type.params)
    cells_fill(sandbox, values, error.tag.type.params, error.values)
    throw = new("husk_throw", values=values, values_count=len(error.values))
    throw.tag = error.tag.tag
    return throw, values


# ---- Sets ----


class Imports:
    """What sandboxes get for their modules' imports. Define all, then make sandboxes from any
    thread; a sandbox keeps what it was made with.

    unknown: "refuse", or "trap": imports that nobody defined trap when the guest calls them.
    """

    def __init__(
        self, engine: Engine | None = None, *, unknown: Literal["refuse", "trap"] = "refuse"
    ) -> None:
        self.engine = default_engine() if engine is None else engine
        out = ffi.new("husk_imports **")
        err = error_new()
        check(lib.husk_imports_new(self.engine.pointer, out, err), err)
        self._pointer = owned(out[0], "husk_imports_free")
        self._functions: list[HostFunction] = []
        self._kept: list[Any] = []
        self.has_wasi = False
        self.externs = ExternTable()
        self._unknown: Literal["refuse", "trap"] = "refuse"
        if unknown != "refuse":
            self.unknown = unknown

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        return self._pointer

    def kept(self) -> list[Any]:
        """What a sandbox of this set must keep alive."""
        return [*self._functions, *self._kept]

    def keep(self, thing: Any) -> None:
        """Keep something alive as long as the set and its sandboxes."""
        self._kept.append(thing)

    @property
    def unknown(self) -> Literal["refuse", "trap"]:
        """How to treat imports that the set does not define."""
        return self._unknown

    @unknown.setter
    def unknown(self, unknown: Literal["refuse", "trap"]) -> None:
        kinds = {"refuse": lib.HUSK_UNKNOWN_REFUSED, "trap": lib.HUSK_UNKNOWN_TRAP}
        if unknown not in kinds:
            raise ValueError(f"unknown must be 'refuse' or 'trap', not {unknown!r}")
        err = error_new()
        check(lib.husk_imports_unknown(self._pointer, kinds[unknown], err), err)
        self._unknown = unknown

    def func(
        self,
        module: str,
        name: str,
        function: Callable[..., Any],
        *,
        params: Iterable[Type | str] | None = None,
        results: Iterable[Type | str] | None = None,
        caller: bool = False,
    ) -> None:
        """Define a function. Its type is given by params and results, or by its annotations: int is
        i64, float f64, bool i32, bytes v128, object externref, husk.FuncRef funcref; others as
        Annotated[int, husk.I32] or husk.I32 itself.

        It returns None, a value, or a tuple of several. What it raises ends the guest's call, and
        comes out of Sandbox.call(): the same exception, with its traceback. husk.GuestException
        throws an exception of WebAssembly, husk.Exited ends the program, and the result
        husk.PENDING says that the answer comes later. It runs on the thread that made the call.

        caller: it gets a husk.Caller first. Raises TypeError, InvalidArgumentError, LimitError.
        """
        if not callable(function):
            raise TypeError(f"{module}.{name} must be a function, not {type(function).__name__}")
        if params is None and results is None:
            functype, wants_caller = functype_of_annotations(function)
            wants_caller = wants_caller or caller
        else:
            functype, wants_caller = FuncType(params or (), results or ()), caller
        self._define(HostFunction(module, name, function, functype, wants_caller))

    def _define(self, host: HostFunction) -> None:
        struct, _arrays = functype_new(host.type)
        module, name = c_name(host.module, "module"), c_name(host.name)
        rows = ffi.new("struct husk_host_func[1]")
        module_text, name_text = ffi.new("char[]", module), ffi.new("char[]", name)
        rows[0].module, rows[0].module_bytes = module_text, len(module)
        rows[0].name, rows[0].name_bytes = name_text, len(name)
        rows[0].type = struct
        rows[0].fn = ffi.cast("husk_host_fn", Host.entry())
        rows[0].user = ffi.cast("void *", id(host))
        rows[0].user_free = ffi.addressof(lib, "husk_py_user_free")
        err = error_new()
        lib.husk_py_count_user()
        self._functions.append(host)
        status = lib.husk_imports_funcs(self._pointer, rows, 1, err)
        if status != 0:
            lib.husk_py_user_free(ffi.NULL)
            self._functions.remove(host)
        check(status, err)

    def function(self, module: str, name: str | None = None, **options: Any) -> Callable[[_F], _F]:
        """A decorator: @imports.function("env"). The name is the function's, unless it is given.
        Options are those of func()."""

        def define(function: _F) -> _F:
            self.func(module, name or function.__name__, function, **options)
            return function

        return define

    def define(self, item: Extern, initial: Any = None) -> None:
        """Define a memory, a table, a global or a tag, by its names, kind and type; image.imports
        has such items. initial: the value of a global. Every sandbox gets its own.

        Raises InvalidArgumentError, LimitError.
        """
        struct, _kept = extern_new(item)
        value: Any = ffi.NULL
        if item.kind is ExternKind.GLOBAL:
            kind = Type(item.type)  # type: ignore[arg-type]
            value = cells_new([kind])
            if initial is not None or kind in _ANNOTATIONS.values():
                cells_fill(self, value, [kind], [_zero(kind) if initial is None else initial])  # type: ignore[arg-type]
        err = error_new()
        check(lib.husk_imports_define(self._pointer, struct, value, err), err)

    def wasi(self, wasi: Wasi) -> None:
        """Define WASI preview 1 (and the older wasi_unstable), and say what its guests get.

        File objects of streams and listeners are kept as long as the set and its sandboxes;
        descriptors that are given as numbers must stay open as long. Raises InvalidArgumentError,
        LimitError, SystemCallError (a directory cannot be opened), UnsupportedError (the kernel has
        no openat2()).
        """
        self.keep(imports_wasi(self._pointer, wasi))
        self.has_wasi = True

    def match(self, item: Extern) -> None:
        """Raise LinkError if the set does not define this import of a module."""
        struct, _kept = extern_new(item)
        err = error_new()
        check(lib.husk_imports_match(self._pointer, struct, err), err)


def _zero(kind: Type) -> Any:
    if kind in (I32, I64, F32, F64):
        return 0
    return bytes(16) if kind == V128 else None
