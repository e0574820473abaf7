"""Handles of the library, which are freed by whoever made them, and by nobody else."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, NoReturn, Self

from husk._fast import Drop
from husk._native import ffi, lib

atexit.register(lib.husk_py_end)


def owned(pointer: Any, free: str) -> Any:
    """A handle that the library's function `free` frees when nobody has it any more, but not in a
    child made by fork(): a VM belongs to the process that made it."""
    function = address(ffi.addressof(lib, free))
    return ffi.gc(pointer, Drop(function, address(pointer)))


class Callback:
    """A function that threads of the library call, by a number: such a thread may have the number a
    moment longer than Python has the function."""

    _numbers = itertools.count(1)
    _known: ClassVar[weakref.WeakValueDictionary[int, Callback]] = weakref.WeakValueDictionary()

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        number = next(self._numbers)
        self._known[number] = self
        self.user = ffi.cast("void *", number)

    @classmethod
    def call(cls, user: Any, *args: object) -> None:
        """Call the function, if there still is one. What it raises is shown as Python shows what a
        thread raises."""
        known = cls._known.get(int(ffi.cast("uintptr_t", user)))
        if known is None:
            return
        try:
            known.function(*args)
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)


class Uncopied:
    """A base of what must not be copied, as both copies would free the same."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"a husk.{type(self).__name__} cannot be copied or pickled")


class Closing:
    """A base of what is closed, also at the end of a `with` block."""

    def close(self) -> None:
        """Let go of it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def pointer_of(thing: Any, kind: type) -> Any:
    """The library's handle of an argument, which must be of this kind."""
    if not isinstance(thing, kind):
        raise TypeError(f"a husk.{kind.__name__} is wanted, not {type(thing).__name__}")
    return thing.pointer  # type: ignore[attr-defined]


def new(kind: str, /, **fields: Any) -> Any:
    """A struct of the library with its size, and with the fields given."""
    struct = ffi.new(f"struct {kind} *", fields)
    struct.size = ffi.sizeof(f"struct {kind}")
    return struct


def address(pointer: Any) -> int:
    """The address of a pointer of the library."""
    return int(ffi.cast("uintptr_t", pointer))


def c_path(path: str | bytes | os.PathLike[Any]) -> bytes:
    """A path as the library takes it."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ValueError("a path must not contain a NUL")
    return raw


def c_name(name: str, what: str = "name") -> bytes:
    """A name as the library takes it; it may contain NULs, but must not be empty."""
    if not isinstance(name, str):
        raise TypeError(f"the {what} must be str, not {type(name).__name__}")
    return name.encode("utf-8", "surrogateescape")


def py_name(pointer: Any, count: int) -> str:
    """A name of the library as str. Names of a module are UTF-8."""
    return bytes(ffi.buffer(pointer, count)).decode("utf-8", "surrogateescape") if count else ""
