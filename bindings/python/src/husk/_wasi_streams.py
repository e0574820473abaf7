"""Streams that functions of Python serve: what the library calls, and what they raise.

A stream of a set of imports serves all sandboxes of the set, on their threads, and the library does
not say which one calls. So what a function raises is kept for its thread: the call that it ends
runs on the same thread, and takes it (take_raised()).
"""

from __future__ import annotations

import threading
from typing import Any

from husk._fast import keep
from husk._native import ffi, lib
from husk.wasi import Callback

_FAILED = lib.HUSK_E_STATE
"""Ends the guest's call with the trap HUSK_TRAP_HOST_FUNCTION."""


class _Raised(threading.local):
    error: BaseException | None = None


_raised = _Raised()


def take_raised(outcome: Any) -> BaseException | None:
    """What a stream's function raised on this thread, if it can have ended a call like this."""
    error, _raised.error = _raised.error, None
    if error is None:
        return None
    # A call that a failure of the system ended took nothing. The next one's trap is another one.
    is_trap = outcome.kind == lib.HUSK_TRAPPED
    if is_trap and not ffi.string(outcome.message).startswith(b'host function "wasi_'):
        return None
    return error


def _read(stream: Callback, pointer: Any, count: int) -> int:
    assert stream.read is not None
    data = stream.read(count)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"a stream's read() must return bytes, not {type(data).__name__}")
    size = memoryview(data).nbytes
    if size > count:
        raise ValueError(f"a stream's read() returned {size} bytes, and {count} were asked for")
    ffi.memmove(pointer, data, size)
    return size


def _write(stream: Callback, pointer: Any, count: int) -> int:
    assert stream.write is not None
    taken = stream.write(bytes(ffi.buffer(pointer, count)))
    if taken is None:
        return count
    if isinstance(taken, bool) or not isinstance(taken, int):
        raise TypeError(f"a stream's write() must return an int, not {type(taken).__name__}")
    if not 0 <= taken <= count:
        raise ValueError(f"a stream's write() took {taken} of {count} bytes")
    return taken


@ffi.def_extern(error=_FAILED, onerror=keep)  # type: ignore[untyped-decorator]
def husk_py_stream_read(user: Any, pointer: Any, count: int) -> int:
    """The guest reads."""
    try:
        return _read(ffi.from_handle(user), pointer, count)
    except BaseException as error:
        _raised.error = error
        return int(_FAILED)


@ffi.def_extern(error=_FAILED, onerror=keep)  # type: ignore[untyped-decorator]
def husk_py_stream_write(user: Any, pointer: Any, count: int) -> int:
    """The guest writes."""
    try:
        return _write(ffi.from_handle(user), pointer, count)
    except BaseException as error:
        _raised.error = error
        return int(_FAILED)
