"""Handles of the library, which are freed by whoever made them, and by nobody else."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from typing import Any

from husk._native import ffi, lib

atexit.register(lib.husk_py_end)


def owned(pointer: Any, free: Callable[[Any], None]) -> Any:
    """A handle that is freed when nobody has it any more, but not in a child made by fork():
    a VM belongs to the process that made it."""

    def drop(
        pointer: Any,
        free: Callable[[Any], None] = free,
        owner: int = os.getpid(),
        getpid: Callable[[], int] = os.getpid,
    ) -> None:
        if getpid() == owner:
            free(pointer)

    return ffi.gc(pointer, drop)


def new(kind: str, /, **fields: Any) -> Any:
    """A struct of the library with its size, and with the fields given."""
    struct = ffi.new(f"struct {kind} *", fields)
    struct.size = ffi.sizeof(f"struct {kind}")
    return struct


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
