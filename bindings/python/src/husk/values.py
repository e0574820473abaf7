"""Values of WebAssembly as Python's: types, references, and cells of the library's arrays.

i32, i64: int. Results are signed; arguments may be signed or unsigned. f32, f64: float. v128: 16
bytes, little-endian. funcref: FuncRef or None. externref: any object; None is null. exnref: ExnRef
or None.
"""

from __future__ import annotations

import enum
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any

from husk._native import ffi, lib
from husk.errors import InvalidArgumentError, ValueTypeError, check, error_new

if TYPE_CHECKING:
    from husk.instance import Sandbox


class Type(enum.IntEnum):
    """The types of values. The numbers are those of the binary format."""

    I32 = lib.HUSK_I32
    I64 = lib.HUSK_I64
    F32 = lib.HUSK_F32
    F64 = lib.HUSK_F64
    V128 = lib.HUSK_V128
    FUNCREF = lib.HUSK_FUNCREF
    EXTERNREF = lib.HUSK_EXTERNREF
    EXNREF = lib.HUSK_EXNREF

    def __str__(self) -> str:
        return str(ffi.string(lib.husk_type_name(int(self))).decode())


I32, I64, F32, F64, V128 = Type.I32, Type.I64, Type.F32, Type.F64, Type.V128
FUNCREF, EXTERNREF, EXNREF = Type.FUNCREF, Type.EXTERNREF, Type.EXNREF

_BY_NAME = {str(kind): kind for kind in Type}


def as_type(kind: Type | str | int) -> Type:
    """A type from husk.I32, "i32" or its number."""
    if isinstance(kind, str):
        if kind not in _BY_NAME:
            raise ValueError(f"there is no type {kind!r}; types are {', '.join(_BY_NAME)}")
        return _BY_NAME[kind]
    return Type(kind)


@dataclass(frozen=True, slots=True)
class FuncType:
    """The type of a function, or of a tag (without results)."""

    params: tuple[Type, ...] = ()
    results: tuple[Type, ...] = ()

    def __init__(
        self,
        params: Iterable[Type | str | int] = (),
        results: Iterable[Type | str | int] = (),
    ) -> None:
        object.__setattr__(self, "params", tuple(as_type(kind) for kind in params))
        object.__setattr__(self, "results", tuple(as_type(kind) for kind in results))

    def __str__(self) -> str:
        params = " ".join(str(kind) for kind in self.params)
        results = " ".join(str(kind) for kind in self.results)
        return f"({params}) -> ({results})"


def functype_of(functype: Any) -> FuncType:
    """A struct husk_functype of the library."""
    return FuncType(
        [functype.params[i] for i in range(functype.params_count)],
        [functype.results[i] for i in range(functype.results_count)],
    )


def functype_new(functype: FuncType) -> tuple[Any, Any]:
    """A struct husk_functype, and what it points to, which must live as long."""
    params = ffi.new("husk_type[]", [int(kind) for kind in functype.params])
    results = ffi.new("husk_type[]", [int(kind) for kind in functype.results])
    struct = ffi.new(
        "struct husk_functype *",
        (params, len(functype.params), results, len(functype.results)),
    )
    return struct, (params, results)


# ---- References ----


class FuncRef:
    """A function of a sandbox's module. It can be called, and passed to that sandbox's guest."""

    __slots__ = ("_func", "_sandbox", "type")

    def __init__(self, sandbox: Sandbox, func: Any, functype: FuncType) -> None:
        self._sandbox = sandbox
        self._func = func
        self.type = functype

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call the function, as Sandbox.call() does."""
        return self._sandbox.call_func(self, *args, **options)

    @property
    def func(self) -> Any:
        """The library's struct husk_func."""
        return self._func

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox whose function it is."""
        return self._sandbox

    def _key(self) -> tuple[int, int, int]:
        return (id(self._sandbox), self._func.opaque[0], self._func.opaque[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FuncRef) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"<husk.FuncRef {self.type}>"


@dataclass(frozen=True, slots=True)
class ExnRef:
    """An exception of a guest's, for passing back to it."""

    number: int


@dataclass(frozen=True, slots=True)
class Extern:
    """An externref that is no object of this process: it came with a snapshot's file."""

    number: int


# Begins anywhere, so that numbers in a snapshot's file do not name objects of this process.
_extern_numbers = itertools.count(random.SystemRandom().randrange(1 << 32, 1 << 62))


class ExternTable:
    """The Python objects that a guest may hold, by number. They live until the sandbox is restored
    to a state from before, loads something else, or is gone."""

    __slots__ = ("_numbers", "_objects")

    def __init__(self, other: ExternTable | None = None) -> None:
        self._objects: dict[int, object] = {} if other is None else dict(other._objects)
        self._numbers: dict[int, int] = {} if other is None else dict(other._numbers)

    def __len__(self) -> int:
        return len(self._objects)

    def add(self, other: ExternTable) -> None:
        """Take the objects of another table, too."""
        self._objects.update(other._objects)
        self._numbers.update(other._numbers)

    def number(self, value: object) -> int:
        """The number of an object; the same object keeps its number."""
        if value is None:
            return 0
        if isinstance(value, Extern):
            return value.number
        known = self._numbers.get(id(value))
        if known is None:
            known = self._numbers[id(value)] = next(_extern_numbers)
            self._objects[known] = value
        return known

    def object(self, number: int) -> object:
        """The object of a number, which the guest may have made up."""
        if number == 0:
            return None
        try:
            return self._objects[number]
        except KeyError:
            return Extern(number)


# ---- Cells ----

_CELL_BYTES = ffi.sizeof("struct husk_value")
_OF = ffi.offsetof("struct husk_value", "of")
assert (_CELL_BYTES, _OF) == (24, 8)

# Numbers are read and written through an array of their own type, which makes no object of cffi for
# each: the array's type, how many of its entries a cell has, and which of them is the value.
_VIEWS = {
    I32: (ffi.typeof("int32_t *"), 6, 2),
    I64: (ffi.typeof("int64_t *"), 3, 1),
    F32: (ffi.typeof("float *"), 6, 2),
    F64: (ffi.typeof("double *"), 3, 1),
}
NUMBERS = frozenset(_VIEWS)

Get = Callable[[], Any]
Put = Callable[[Any], None]


def brief(number: int) -> str:
    """A number for a message: Python does not write those of thousands of digits."""
    count = number.bit_length()
    return str(number) if count <= 128 else f"a number of {count} bits"


def _misfit(kind: Type, value: object) -> ValueTypeError:
    article = "a" if kind in (V128, FUNCREF) else "an"
    return ValueTypeError(f"{article} {kind} is wanted, not {type(value).__name__}")


def _int_set(view: Any, at: int, kind: Type, value: Any) -> None:
    try:
        view[at] = index(value)
    except OverflowError:
        number, bits = index(value), 32 if kind == I32 else 64
        if not 0 <= number < 1 << bits:
            raise OverflowError(f"{brief(number)} does not fit in {bits} bits") from None
        view[at] = number - (1 << bits)
    except TypeError:
        raise _misfit(kind, value) from None


def _float_set(view: Any, at: int, kind: Type, value: Any) -> None:
    try:
        view[at] = value
    except TypeError:
        raise _misfit(kind, value) from None


_SETS = {I32: _int_set, I64: _int_set, F32: _float_set, F64: _float_set}


def _v128_put(cell: Any) -> Put:
    target = ffi.buffer(ffi.addressof(cell.of, "v128"))

    def put(value: Any) -> None:
        raw = bytes(value) if not isinstance(value, int) else value.to_bytes(16, "little")
        if len(raw) != 16:
            raise ValueTypeError(f"a v128 is 16 bytes, not {len(raw)}")
        target[:] = raw

    return put


def func_of(sandbox: Sandbox, value: Any) -> Any:
    """The struct husk_func of a reference, which must be this sandbox's: the library would take
    it as its own function of the same number."""
    if not isinstance(value, FuncRef):
        raise _misfit(FUNCREF, value)
    if value.sandbox is not sandbox:
        raise InvalidArgumentError("the function is another sandbox's")
    return value.func


def _func_ref(sandbox: Sandbox, value: Any) -> int:
    if value is None:
        return 0
    func = func_of(sandbox, value)
    out = ffi.new("struct husk_value *")
    err = error_new()
    check(lib.husk_func_to_ref(sandbox.pointer, func, out, err), err)
    return int(out.of.ref)


def _ref_func(sandbox: Sandbox, cell: Any) -> FuncRef | None:
    if cell.of.ref == 0:
        return None
    func = ffi.new("husk_func *")
    functype = ffi.new("struct husk_functype *")
    err = error_new()
    value = ffi.new("struct husk_value *", (lib.HUSK_FUNCREF,))
    value.of.ref = cell.of.ref
    check(lib.husk_func_from_ref(sandbox.pointer, value, func, functype, err), err)
    return FuncRef(sandbox, func[0], functype_of(functype))


def _ref_put(sandbox: Sandbox, cell: Any, kind: Type) -> Put:
    if kind == EXTERNREF:

        def put(value: Any) -> None:
            cell.of.ref = sandbox.externs.number(value)

    elif kind == FUNCREF:

        def put(value: Any) -> None:
            cell.of.ref = _func_ref(sandbox, value)

    else:

        def put(value: Any) -> None:
            if value is not None and not isinstance(value, ExnRef):
                raise _misfit(kind, value)
            cell.of.ref = 0 if value is None else value.number

    return put


def cell_put(sandbox: Sandbox, cells: Any, i: int, kind: Type) -> Put:
    """A function that sets cell i of an array of struct husk_value."""
    if kind in _VIEWS:
        view_type, per_cell, first = _VIEWS[kind]
        view, at = ffi.cast(view_type, cells), i * per_cell + first
        return partial(_SETS[kind], view, at, kind)
    if kind == V128:
        return _v128_put(cells[i])
    return _ref_put(sandbox, cells[i], kind)


def cell_get(sandbox: Sandbox, cell: Any) -> Any:
    """The value of a cell that has its type."""
    kind = cell.type
    of = cell.of
    if kind == I32:
        return of.i32
    if kind == I64:
        return of.i64
    if kind == F64:
        return of.f64
    if kind == F32:
        return of.f32
    if kind == V128:
        return bytes(of.v128)
    if kind == EXTERNREF:
        return sandbox.externs.object(of.ref)
    if kind == FUNCREF:
        return _ref_func(sandbox, cell)
    return None if of.ref == 0 else ExnRef(of.ref)


def cell_getter(sandbox: Sandbox, cells: Any, i: int, kind: Type) -> Get:
    """A function that gets cell i of an array of struct husk_value."""
    if kind in _VIEWS:
        view_type, per_cell, first = _VIEWS[kind]
        view, at = ffi.cast(view_type, cells), i * per_cell + first
        return lambda: view[at]
    cell = cells[i]
    return lambda: cell_get(sandbox, cell)


def cells_new(types: Sequence[Type], rows: int = 1) -> Any:
    """An array of values of these types, `rows` times, all zeros; at least one cell."""
    cells = ffi.new("struct husk_value[]", max(1, len(types)))
    for i, kind in enumerate(types):
        cells[i].type = int(kind)
    if rows == 1 or not types:
        return cells
    many = ffi.new("struct husk_value[]", max(1, len(types) * rows))
    ffi.buffer(many)[: ffi.sizeof(cells) * rows] = bytes(ffi.buffer(cells)) * rows
    return many


def rows_fill(
    sandbox: Sandbox, cells: Any, types: Sequence[Type], rows: Sequence[Sequence[Any]]
) -> None:
    """Set the cells of many rows, which have as many values as there are types."""
    for i, kind in enumerate(types):
        if kind in _VIEWS:
            view_type, per_cell, first = _VIEWS[kind]
            view, set_one = ffi.cast(view_type, cells), _SETS[kind]
            at, step = i * per_cell + first, len(types) * per_cell
            for row in rows:
                set_one(view, at, kind, row[i])
                at += step
        else:
            for k, row in enumerate(rows):
                cell_put(sandbox, cells, k * len(types) + i, kind)(row[i])


def column_read(
    sandbox: Sandbox, cells: Any, types: Sequence[Type], i: int, rows: int
) -> list[Any]:
    """The values of column i of many rows."""
    kind, width = types[i], len(types)
    if kind not in _VIEWS:
        return [cell_get(sandbox, cells[k * width + i]) for k in range(rows)]
    view_type, per_cell, first = _VIEWS[kind]
    view, at, step = ffi.cast(view_type, cells), i * per_cell + first, width * per_cell
    return [view[at + k * step] for k in range(rows)]


def cells_fill(sandbox: Sandbox, cells: Any, types: Sequence[Type], values: Sequence[Any]) -> None:
    """Set all cells; the number of values must be that of the types."""
    if len(values) != len(types):
        raise ValueTypeError(f"{len(types)} values are wanted, not {len(values)}")
    for i, kind in enumerate(types):
        cells[i].type = int(kind)
        cell_put(sandbox, cells, i, kind)(values[i])


def numbers_reader(types: Sequence[Type]) -> Callable[[Any], list[Any]] | None:
    """A function that reads an array of numbers of these types; None: some are no numbers."""
    if any(kind not in _VIEWS for kind in types):
        return None
    places = []
    for i, kind in enumerate(types):
        view_type, per_cell, first = _VIEWS[kind]
        places.append((view_type, i * per_cell + first))
    cast = ffi.cast

    def read(cells: Any) -> list[Any]:
        return [cast(view_type, cells)[at] for view_type, at in places]

    return read


def cells_read(sandbox: Sandbox, cells: Any, count: int) -> tuple[Any, ...]:
    """The values of `count` cells."""
    return tuple(cell_get(sandbox, cells[i]) for i in range(count))
